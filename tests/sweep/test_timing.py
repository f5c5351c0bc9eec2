"""What answers tell by their time."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn import passwords
from authn.passwords import Cost, Policy
from flows import forgot
from models import Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.forms import Site, bare
from tests.support.guesses import GUESS_IDS, GUESSES, guesser, wrong_one_time_code, wrong_password, wrong_recovery_code
from tests.support.inbox import Inbox, listening, until
from tests.support.mails import answered, mail_url
from tests.support.pages import HERE, Browser
from tests.support.people import PASSWORD, Person, give_password

# Of a password --------------------------------------------------------------------------------------------------------


SAMPLES = 25
PLAIN = 3.0  # standard deviations; by chance one comparison in 370 lies beyond, three in a row one in 50 million


def u_test(a: list[float], b: list[float]) -> float:
    """Mann and Whitney's U as a number of standard deviations from what equal sides would give."""
    u = sum((x > y) + (x == y) / 2 for x in a for y in b)
    middle = len(a) * len(b) / 2
    return abs(u - middle) / math.sqrt(middle * (len(a) + len(b) + 1) / 6)


def test_the_rank_test_tells_what_differs_from_what_does_not() -> None:
    """The measure itself: complete separation is far beyond the bound, a shuffled side is within it."""
    side = [float(number) for number in range(SAMPLES)]
    assert u_test(side, [number + SAMPLES for number in side]) > 2 * PLAIN
    assert u_test(side[::2], side[1::2]) < PLAIN


NOBODY = "nobody@example.com"
WRONG = "a guess of somebody"


def are_separable(site: Site, tries: list[tuple[str, str]], goes: int) -> bool:
    """Whether the times that refusing these takes can be told apart."""
    browser = Browser(site.app)
    token = browser.open("/login").form_with("email").fields["csrf_token"]

    def seconds(email: str, password: str) -> float:
        data = {"csrf_token": token, "email": email, "password": password}
        started = time.process_time()
        answer = bare(browser, "/login", "POST", data=data)
        taken = time.process_time() - started
        assert answer.status_code == 422
        return taken

    return differ(site, [partial(seconds, *each) for each in tries], goes)


def differ(site: Site, tries: list[Callable[[], float]], goes: int) -> bool:
    """Whether the times that these say they take can be told apart, by interleaved samples of processor time, in each
    of so many goes: other work on the machine does not repeat itself."""
    for _ in range(goes):
        times: list[list[float]] = [[] for _ in tries]
        for number in range(SAMPLES + 1):
            site.omar.clock.pass_by(3600)  # past every pause
            for side, take in enumerate(tries):
                taken = take()
                times[side] += [taken] if number else []  # the first one warms up
        with site.app.app_context():
            Throttle.delete().execute()  # a hundred in a row would stop an account for good
        if max(u_test(times[0], side) for side in times[1:]) < PLAIN:
            return False
    return True


@pytest.fixture
def dear(make_app: Callable[..., Flask], make_person: Callable[..., Person]) -> Site:
    """A site where a password costs what OWASP asks for at least."""
    return Site(make_app, make_person, PASSWORD_HASH_COST="m=19456,t=2,p=1", ADDRESS_LIMIT=0)


def test_no_time_tells_who_is_here(dear: Site) -> None:
    """Nobody, a wrong password, a deactivated person's right one, and one too long to be hashed."""
    away = dear.person("away@example.com")
    acts.deactivate(dear.app, away.email)
    tries = [(NOBODY, WRONG), (dear.omar.email, WRONG), (away.email, PASSWORD), (dear.ines.email, "x" * 4097)]
    assert not are_separable(dear, tries, goes=3)


@pytest.mark.parametrize("dummy", [Cost(8, 1, 1), Cost(19456, 1, 1)], ids=["nearly none", "half as dear"])
def test_that_time_would_tell_were_nobodys_password_cheaper(dear: Site, dummy: Cost, monkeypatch) -> None:
    """The same measure, on a site whose stand-in for a missing hash costs nothing, or half of it."""
    policy = dear.app.extensions["store"].policy
    verify, verify_nobodys = policy.verify, Policy(dummy).verify
    monkeypatch.setattr(policy, "verify", lambda typed, stored: (verify if stored else verify_nobodys)(typed, stored))
    assert are_separable(dear, [(NOBODY, WRONG), (dear.omar.email, WRONG)], goes=1)


# Of a forgotten password ----------------------------------------------------------------------------------------------


def are_told_apart_when_asking(
    make_app: Callable[..., Flask], make_person: Any, port: int, goes: int, by_the_page: int = 0
) -> bool:
    """Somebody who gets a link, nobody, somebody deactivated, and somebody without an app. So many times the page
    itself tells the record that somebody gets none."""
    site = Site(make_app, make_person, MAIL_URL=mail_url(port), ADDRESS_LIMIT=0)
    away, maya = site.person("away@example.com"), site.person("maya@example.com", enrolled=False)
    acts.deactivate(site.app, away.email)
    browser = Browser(site.app)
    token = browser.open("/forgot").form_with("email").fields["csrf_token"]

    def seconds(email: str) -> float:
        data, done = {"csrf_token": token, "email": email}, answered(site.app)
        done += by_the_page if email != site.omar.email else 0
        started = time.process_time()
        answer = browser.client.post("/forgot", data=data, base_url=HERE)
        body = answer.get_data()
        taken = time.process_time() - started
        assert (answer.status_code, b"Look in your mail" in body) == (200, True)
        answer.close()  # it has gone, and only now does the rest begin
        assert until(lambda: answered(site.app) > done)
        assert email != site.omar.email or inbox.next()["To"] == email
        return taken

    with listening(Inbox(), port) as inbox:
        return differ(
            site, [partial(seconds, email) for email in (site.omar.email, NOBODY, away.email, maya.email)], goes
        )


@pytest.mark.databases
def test_no_time_tells_who_is_mailed_a_link(make_app, make_person, port: int) -> None:
    assert not are_told_apart_when_asking(make_app, make_person, port, goes=3)


def test_that_time_would_tell_were_the_link_made_before_the_answer(make_app, make_person, port, monkeypatch) -> None:
    """The same measure, on a site whose page itself makes a link for those who get one."""
    ask = forgot.ask
    monkeypatch.setattr(forgot, "ask", lambda email, context: (ask(email, context), forgot.issue(email, context)))
    assert are_told_apart_when_asking(make_app, make_person, port, goes=1, by_the_page=1)


# Of a code ------------------------------------------------------------------------------------------------------------


def test_opening_a_sealed_secret_costs_nothing_that_can_be_timed(site: Site) -> None:
    """A checked six-digit code costs a request and no key stretching: far less than one password does."""
    browser = Browser(site.app)
    page = give_password(browser, site.omar)
    data = {**page.form_with("code").fields, "code": site.omar.wrong_code()}
    with site.app.app_context():
        app = TotpAuthenticator.select().join(User).where(User.email == site.omar.email).get()
        started = time.process_time()
        for _ in range(100):
            app.secret()
        opening = (time.process_time() - started) / 100
    started = time.process_time()
    assert bare(browser, "/login/code", "POST", data=data).status_code == 422
    assert opening < 0.002
    assert time.process_time() - started < 0.2
    browser.submit("/login/code", code=site.omar.code())
    assert browser.get("/account").status == 200


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_a_try_during_a_pause_takes_under_5_ms_and_hashes_nothing(make_app, make_person, guess, free) -> None:
    cost = passwords.Cost(19456, 2, 1)
    app = make_app("dear", RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_COST=cost)
    omar = make_person("omar@example.com", on=app)
    browser = guesser(app, omar, guess)
    for _ in range(free):
        assert guess(browser, omar).status == 422
    path, names = {
        wrong_password: ("/login", ("email", "password")),
        wrong_one_time_code: ("/login/code", ("code",)),
        wrong_recovery_code: ("/login/recovery", ("recovery_code",)),
    }[guess]
    right = {"email": omar.email, "password": PASSWORD, "code": omar.code(), "recovery_code": omar.recovery_code}
    data = {**browser.get(path).form_with(*names).fields, **{name: right[name] for name in names}}

    def took(ask: Callable[[], Any]) -> float:
        started = time.process_time()
        ask()
        return time.process_time() - started

    times = [took(lambda: browser.client.post(path, data=data)) for _ in range(100)]  # a busy machine spoils most
    assert browser.client.post(path, data=data).status_code == 429
    assert min(times) < 0.005 < took(partial(passwords.Policy(cost).verify, "a guess", None))
