"""What answers tell, by their bytes and by their time: who is here, how somebody signs in, whose a code or a link is.

Told on purpose: a pause is told to whoever brought it about, for every address alike; how somebody signs in is told
after the right password; after a change of PASSWORD_HASH_COST an account costs what its old hash costs until its owner
signs in. There is no registration, no reset by address and no WebAuthn that could tell more."""

import logging
import math
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn.passwords import Cost, Hasher
from blueprints import signin
from models import RecoveryCode, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.forms import Site, bare
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    enroll,
    give_password,
    save_new_code,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import live_codes

pytestmark = pytest.mark.pages

NOBODY = "nobody@example.com"
WRONG = "a guess of somebody"


@pytest.fixture
def site(make_app: Callable[..., Flask], make_person: Callable[..., Person]) -> Site:
    return Site(make_app, make_person)


def change(site: Site, person: Person, act: Callable[[Flask, str], Any]) -> Person:
    act(site.app, person.email)
    return person


def invited(site: Site) -> Person:
    acts.add_person(site.app, "new@example.com", None, now=site.omar.clock.now)
    acts.invite(site.app, "new@example.com")
    return Person("new@example.com", site.omar.clock)


def half_enrolled(site: Site) -> Person:
    maya = site.person("maya@example.com", enrolled=False)
    give_password(Browser(site.app), maya)
    return maya


def stopped_at_the_code(site: Site) -> Person:
    browser = Browser(site.app)
    give_password(browser, site.omar)
    for _ in range(6):
        browser.submit("/login/code", code=site.omar.wrong_code())
    return site.omar


# Whoever it is, and with what password; each looks like an address that nobody has.
PEOPLE: dict[str, tuple[Callable[[Site], Person], str]] = {
    "with an app and a saved code": (lambda site: site.omar, WRONG),
    "an admin": (lambda site: site.ines, WRONG),
    "without an app": (lambda site: site.person("maya@example.com", enrolled=False), WRONG),
    "at the setup of an app": (half_enrolled, WRONG),
    "without a recovery code": (lambda site: site.person("rosa@example.com", code=False), WRONG),
    "signed in elsewhere": (lambda site: (sign_in(Browser(site.app), site.omar), site.omar)[1], WRONG),
    "stopped at the six-digit code": (stopped_at_the_code, WRONG),
    "deactivated, wrong password": (lambda site: change(site, site.omar, acts.deactivate), WRONG),
    "deactivated, right password": (lambda site: change(site, site.omar, acts.deactivate), PASSWORD),
    "reset, old password": (lambda site: change(site, site.omar, acts.reset), PASSWORD),
    "invited, no password yet": (invited, PASSWORD),
    "empty-looking password": (lambda site: site.omar, " "),
    "password of 4,097 characters": (lambda site: site.omar, "x" * 4097),
    "password with a NUL": (lambda site: site.omar, f"{PASSWORD}\0"),
}


def try_password(site: Site, email: str, password: str) -> tuple[int, Any, str]:
    """All that an answer says, without the token of the form, the address that was typed and the cookie's value."""
    browser = Browser(site.app)
    token = browser.open("/login").form_with("email").fields["csrf_token"]
    data = {"csrf_token": token, "email": email, "password": password}
    answer = bare(browser, "/login", "POST", data=data)
    body = re.sub(r'name="csrf_token" value="[^"]*"', "", answer.text.replace(email, "ADDRESS"))
    headers = {name: re.sub("=[^;]*", "=", value, count=1) for name, value in answer.headers}
    assert headers.pop("Content-Length") == str(len(answer.data))
    return answer.status_code, headers, body


WITH_CODES_OFF = ["with an app and a saved code", "without a recovery code", "without an app"]


@pytest.mark.parametrize(
    ("who", "codes_on"), [*((who, True) for who in PEOPLE), *((who, False) for who in WITH_CODES_OFF)]
)
def test_a_refused_password_looks_the_same_whoever_it_is(site: Site, who: str, codes_on: bool) -> None:
    """F53, TH-8, TH-10, PW-16. Every byte but token and address, and again at each try until the pause and after it."""
    make, password = PEOPLE[who]
    site.switch(codes_on)
    person = make(site)
    seen = []
    for email in (person.email, NOBODY):
        answers = [try_password(site, email, password) for _ in range(6)]
        site.omar.clock.pass_by(29)
        answers.append(try_password(site, email, password))
        site.omar.clock.pass_by(1)
        answers += [try_password(site, email, password), try_password(site, email, password)]
        site.omar.clock.pass_by(-30)
        seen.append(answers)
    assert seen[0] == seen[1]
    assert [status for status, *_ in seen[0]] == [422] * 5 + [429, 429, 422, 429]


def test_a_right_password_does_look_different(site: Site) -> None:
    """F53, TH-8. So that the comparison above is not one of two deaf pages."""
    assert try_password(site, site.omar.email, PASSWORD) != try_password(site, NOBODY, PASSWORD)
    assert try_password(site, site.omar.email, WRONG)[2] == try_password(site, NOBODY, WRONG)[2]


def statements(caplog: pytest.LogCaptureFixture, act: Callable[[], Any]) -> list[str]:
    """What the database was asked meanwhile, without the values."""
    with caplog.at_level(logging.DEBUG, "peewee"):
        caplog.clear()
        act()
        return [str(record.msg[0]) for record in caplog.records if record.name == "peewee"]  # type: ignore[index]


@pytest.mark.parametrize("who", PEOPLE)
def test_the_database_is_asked_the_same_whoever_it_is(site: Site, who: str, caplog: pytest.LogCaptureFixture) -> None:
    """F53, TH-9. One charge, one look-up, one record, so that no query tells by its time what the hash does not."""
    make, password = PEOPLE[who]
    person = make(site)
    asked = [statements(caplog, partial(try_password, site, email, password)) for email in (person.email, NOBODY)]
    assert asked[0] == asked[1]
    assert len(asked[0]) >= 3
    if who == "with an app and a saved code":
        assert statements(caplog, partial(try_password, site, person.email, PASSWORD)) != asked[0]


# By time --------------------------------------------------------------------------------------------------------------

SAMPLES = 25
PLAIN = 3.0  # standard deviations; by chance one comparison in 370 lies beyond, three in a row one in 50 million


def u_test(a: list[float], b: list[float]) -> float:
    """Mann and Whitney's U as a number of standard deviations from what equal sides would give."""
    u = sum((x > y) + (x == y) / 2 for x in a for y in b)
    middle = len(a) * len(b) / 2
    return abs(u - middle) / math.sqrt(middle * (len(a) + len(b) + 1) / 6)


def test_the_rank_test_tells_what_differs_from_what_does_not() -> None:
    """F53, TH-9. The measure itself: complete separation is far beyond the bound, a shuffled side is within it."""
    side = [float(number) for number in range(SAMPLES)]
    assert u_test(side, [number + SAMPLES for number in side]) > 2 * PLAIN
    assert u_test(side[::2], side[1::2]) < PLAIN


def are_separable(site: Site, tries: list[tuple[str, str]], goes: int) -> bool:
    """Whether the times that refusing these takes can be told apart, by interleaved samples of processor time, in each
    of so many goes: other work on the machine does not repeat itself."""
    browser = Browser(site.app)
    token = browser.open("/login").form_with("email").fields["csrf_token"]

    def seconds(email: str, password: str) -> float:
        data = {"csrf_token": token, "email": email, "password": password}
        started = time.process_time()
        answer = bare(browser, "/login", "POST", data=data)
        taken = time.process_time() - started
        assert answer.status_code == 422
        return taken

    for _ in range(goes):
        times: list[list[float]] = [[] for _ in tries]
        for number in range(SAMPLES + 1):
            site.omar.clock.pass_by(3600)  # past every pause
            for side, (email, password) in enumerate(tries):
                taken = seconds(email, password)
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
    """F53, TH-9, TH-10. Nobody, a wrong password, a deactivated person's right one, and one too long to be hashed."""
    away = change(dear, dear.person("away@example.com"), acts.deactivate)
    tries = [(NOBODY, WRONG), (dear.omar.email, WRONG), (away.email, PASSWORD), (dear.ines.email, "x" * 4097)]
    assert not are_separable(dear, tries, goes=3)


@pytest.mark.parametrize("dummy", [Cost(8, 1, 1), Cost(19456, 1, 1)], ids=["nearly none", "half as dear"])
def test_that_time_would_tell_were_nobodys_password_cheaper(dear: Site, dummy: Cost) -> None:
    """F53, TH-9. The same measure, on a site whose stand-in for a missing hash costs nothing, or half of it."""
    policy = dear.app.extensions["store"].policy
    real, policy._nobody = policy._nobody, Hasher(dummy)._nobody
    assert are_separable(dear, [(NOBODY, WRONG), (dear.omar.email, WRONG)], goes=1)
    policy._nobody = real


# Other oracles --------------------------------------------------------------------------------------------------------


def masked(page: Page) -> tuple[int, str]:
    """Without the CSRF token, which is another one each second."""
    return page.status, re.sub(r'value="[^"]*"', "", page.raw)


def test_a_link_that_does_not_work_never_says_why(site: Site, clock: Clock) -> None:
    """F54, PW-22. Never made, used, replaced, run out, or somebody's who is deactivated: one page."""

    def link(person: Person) -> str:
        return acts.invite(site.app, person.email)

    rosa, away = site.person("rosa@example.com"), site.person("away@example.com")
    used, replaced, run_out, deactivated = link(site.omar), link(site.ines), link(rosa), link(away)
    assert {Browser(site.app).open(path).status for path in (used, replaced, run_out, deactivated)} == {200}
    Browser(site.app).submit(used, new_password=NEW_PASSWORD)
    link(site.ines)
    change(site, away, acts.deactivate)
    early = {masked(Browser(site.app).open(path)) for path in (used, replaced, deactivated, "/welcome/never-made")}
    clock.pass_by(72 * 3600)
    assert early | {masked(Browser(site.app).open(run_out))} == early
    assert len(early) == 1


def test_a_session_of_somebody_else_is_as_unknown_as_one_that_never_was(site: Site) -> None:
    """F54, SE-13, RC-9. By status, bytes and headers."""
    theirs, mine = Browser(site.app), Browser(site.app)
    sign_in(theirs, site.ines)
    page = sign_in(mine, site.omar)
    data = {"csrf_token": page.forms[0].fields["csrf_token"]}
    answers = [mine.open(f"/account/sessions/{ident}/revoke", "POST", data=data) for ident in (1, 2, 3, 99)]
    assert {(masked(answer), str(answer.headers)) for answer in answers} == {
        (masked(answers[0]), str(answers[0].headers))
    }
    assert answers[0].status == 404


def test_only_admins_learn_which_people_there_are(site: Site) -> None:
    """F54, AD-1. For others an id that is somebody's is refused like one that is nobody's."""
    browser = Browser(site.app)
    data = {"csrf_token": sign_in(browser, site.omar).forms[0].fields["csrf_token"]}
    for act, method in (("reset-mfa", "GET"), ("reset-mfa", "POST"), ("invite", "POST"), ("demote", "POST")):
        paths = [f"/admin/people/{ident}/{act}" for ident in (site.id_of(site.ines), 9999)]
        pages = [browser.open(path, method, data=data if method == "POST" else None) for path in paths]
        assert [page.status for page in pages] == [403, 403]
        assert masked(pages[0]) == masked(pages[1])
        admin = Browser(site.app)
        site.ines.clock.pass_by(30)
        sign_in(admin, site.ines)
    assert [admin.open(f"/admin/people/{ident}/reset-mfa").status for ident in (site.id_of(site.omar), 9999)] == [
        200,
        404,
    ]


def test_somebody_elses_recovery_code_is_as_wrong_as_one_that_never_was(site: Site) -> None:
    """F54, F55, RC-9, TH-8. Live, spent or waiting to be saved: whose it is stays untold, and it stays as it is."""
    browser, theirs = Browser(site.app), Browser(site.app)
    spent = site.ines.recovery_code
    save_new_code(theirs, use_recovery_code(theirs, site.ines), site.ines)
    theirs.submit("/mfa/lost-device", still_have="yes")
    site.ines.clock.pass_by(30)
    theirs.submit("/verify", password=PASSWORD, code=site.ines.code())
    unsaved = shown_code(theirs.press(theirs.get("/account/recovery-code"), "Make a new code"))
    give_password(browser, site.omar)
    never = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
    pages = [
        browser.submit("/login/recovery", recovery_code=code)
        for code in (spent, site.ines.recovery_code, unsaved, never)
    ]
    assert len({masked(page) for page in pages}) == 1
    assert pages[0].errors[0].startswith("That recovery code isn't right.")
    assert live_codes(site.app) == 3
    assert browser.submit("/login/recovery", recovery_code=site.omar.recovery_code).h1.startswith("You're in")
    assert use_recovery_code(Browser(site.app), site.ines).h1.startswith("You're in")


def test_a_pause_is_told_for_addresses_that_nobody_has_as_well(site: Site, clock: Clock) -> None:
    """F54, TH-7, TH-8. The message is no oracle, the growing wait neither, and after a hundred it is the same again."""

    def waits(email: str) -> list[str | None]:
        browser, found = Browser(site.app), []
        data = {**browser.open("/login").form_with("email").fields, "email": email, "password": WRONG}
        for number in range(101):
            browser.address = f"203.0.{number}.7"
            answer = bare(browser, "/login", "POST", data=data)
            found.append(answer.text if answer.status_code == 429 else None)
            clock.pass_by(int(answer.headers["Retry-After"]) if found[-1] and number < 20 else 3600)
        return found

    start = clock.now
    known = waits(site.omar.email)
    clock.now = start
    assert waits(NOBODY) == known
    assert known[-1] is not None
    assert "sign-in is stopped until" in known[-1]


# The code's own time --------------------------------------------------------------------------------------------------


def test_checking_a_recovery_code_takes_no_longer_with_many_old_ones(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """F55, RC-8. One look-up by digest, wherever a code stands: the same questions with none and with 500 retired."""

    def asked() -> list[str]:
        browser = Browser(site.app)
        page = give_password(browser, site.omar)
        page = browser.get("/login/recovery")
        wrong = {"recovery_code": "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"}
        return statements(caplog, lambda: browser.send(page, wrong))

    few = asked()
    with site.app.app_context():
        omar = User.get(User.email == site.omar.email)
        old = {"user": omar, "created_at": 1, "saved_at": 1, "retired_at": 2, "retired_by": "replaced"}
        RecoveryCode.insert_many([{**old, "digest": f"{number:064}"} for number in range(500)]).execute()
    assert asked() == few


def test_opening_a_sealed_secret_costs_nothing_that_can_be_timed(site: Site) -> None:
    """F55, TO-2. A checked six-digit code costs a request and no key stretching: far less than one password does."""
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


# What lies about ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/console", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/.git/config", "/.git/HEAD", "/.env"),
        *("/static/", "/static/app.css.map", "/static/app.js.map", "/static/../app.py", "/static/..%2fapp.py"),
        *(
            "/static/..%5capp.py",
            "/static/%2e%2e/instance/secret_key",
            "/static/%5c%5cetc%5cpasswd",
            "/instance/sparekey.db",
        ),
        *("/app.py", "/settings.py", "/templates/base.html", "/requirements.txt", "/server-status", "/metrics"),
        *("/robots.txt~", "/backup.sql", "/sparekey.db", "/debug", "/_debug", "/swagger.json", "/admin", "/admin/"),
    ],
)
def test_nothing_lies_about_that_is_no_page(browser: Browser, path: str) -> None:
    """F56, WEB-20. No debugger, no list of files, no source, no key: each is the page for what is not here."""
    answer = browser.open(path, buffered=True)
    if path.startswith("/?"):
        assert answer.headers["Location"] == "/login"
        return
    assert (answer.status, answer.h1) == (404, "Page not found")
    assert answer.raw == browser.open("/nothing").raw


def test_an_error_nobody_foresaw_tells_a_reference_and_the_log_the_rest(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], caplog: pytest.LogCaptureFixture
) -> None:
    """F56, WEB-19, LO-6. To admins as well; what was in the error's hands is on no page."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)

    def broken() -> str:
        canary = PASSWORD
        raise LookupError(f"a yellow canary and {canary}")

    site.app.add_url_rule("/broken/a-live-token", "broken", signin.public(broken))
    for browser in (Browser(site.app), admin := Browser(site.app)):
        if browser is admin:
            sign_in(admin, site.ines)
        page = browser.open("/broken/a-live-token")
        assert (page.status, page.h1) == (500, "Something broke on our side")
        assert not re.search("canary|LookupError|Traceback|File |line ", page.raw)
        (reference,) = re.findall("The reference is ([0-9a-f]{8})", page.text)
        assert [record.getMessage() for record in caplog.records if reference in record.getMessage()]
    assert "a yellow canary" in caplog.text
    assert "a-live-token" not in caplog.text, "as a path may hold one"
    maya = site.person("maya@example.com", enrolled=False)
    assert enroll(Browser(site.app), maya).h1 == "Security"
    assert site.rows(User)
