"""Many browsers at one moment, as threads on a real database: what may happen once happens once."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from authn.events import EventKind
from authn.refusals import Retirement
from models import RecoveryCode, SecurityKey, Session, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import few_of
from tests.support.cookies import opened, set_cookies
from tests.support.endings import end_all_at_once
from tests.support.guesses import (
    GUESS_EVENTS,
    GUESS_IDS,
    GUESSES,
    guesser,
    right_one,
    wrong_one_time_code,
    wrong_password,
    wrong_recovery_code,
)
from tests.support.pages import Browser, csrf
from tests.support.people import (
    PASSWORD,
    WELL_FORMED,
    Clock,
    Person,
    full,
    give_password,
    half,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    step_up,
    use_recovery_code,
)
from tests.support.races import all_send, at_once, past_the_password
from tests.support.security_key import SecurityKey as NewKey
from tests.support.security_key import add_key, options_of
from tests.support.tables import count, forget_failures, kinds, live_codes, rows, secret_of

pytestmark = pytest.mark.databases


# One code -------------------------------------------------------------------------------------------------------------


THREADS = 16
ADDRESSES = [f"198.51.100.{number}" for number in range(50)]  # of one alone at most three stand in the line for hashing


def test_of_16_threads_spending_one_recovery_code_exactly_one_wins(app: Flask, omar: Person, rounds: int) -> None:
    for _ in range(rounds):
        waiting = [past_the_password(app, omar, "/login/recovery") for _ in range(THREADS)]
        forget_failures(app)
        pages = all_send(waiting, recovery_code=omar.recovery_code)
        assert sum(page.status == 303 for page in pages) == 1
        assert {page.status for page in pages} <= {303, 422, 429}
        ((winner, _),) = [pair for pair, page in zip(waiting, pages, strict=True) if page.status == 303]
        page = save_new_code(winner, winner.get("/mfa/recovery-code"), omar)
        assert winner.submit(page, still_have="yes").h1 == "Security"
    assert count(app, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == rounds
    assert live_codes(app) == 1


def test_of_16_threads_sending_one_six_digit_code_exactly_one_wins(
    app: Flask, omar: Person, clock, rounds: int
) -> None:
    for number in range(rounds):
        if number % 10 == 0:  # before their time is over
            waiting = [past_the_password(app, omar, "/login/code") for _ in range(THREADS)]
        forget_failures(app)
        pages = all_send(waiting, code=omar.code())
        (winner,) = (n for n, page in enumerate(pages) if page.status == 303)
        assert {page.status for page in pages} <= {303, 422, 429}
        waiting[winner] = past_the_password(app, omar, "/login/code")
        clock.pass_by(30)
    assert count(app, Session, Session.step == "signed_in") == rounds
    assert count(app, TotpAuthenticator) == 1


def test_a_double_click_by_threads_of_one_session_spends_one_code_and_signs_in_once(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    page = browser.get("/login/recovery")
    copies = [browser.copy() for _ in range(THREADS)]
    pages = at_once([lambda b=b: b.send(page, {"recovery_code": omar.recovery_code}) for b in copies])
    assert {page.status for page in pages} <= {303, 429}
    prompt = browser.get("/mfa/recovery-code")
    pages = at_once([lambda b=b: b.send(prompt, {"saved": "yes"}) for b in copies])
    assert sum(page.headers["Location"] == "/mfa/lost-device" for page in pages) == 1
    assert sum("Set-Cookie" in page.headers for page in pages) == 1, "the late ones leave the new cookie alone"
    assert count(app, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == 1
    assert count(app, Session) == 1


def test_using_a_code_and_saving_a_new_one_at_once_leaves_one_that_works(
    app: Flask, omar: Person, clock, rounds: int
) -> None:
    owner = Browser(app)
    sign_in(owner, omar)
    for _ in range(rounds):
        new = owner.press(owner.get("/account/recovery-code"), "Make a new code")
        other = Browser(app)
        give_password(other, omar)
        use = other.get("/login/recovery")
        saved, used = at_once(
            [
                partial(owner.send, new, {"saved": "yes"}),
                partial(other.send, use, {"recovery_code": omar.recovery_code}),
            ]
        )
        assert {saved.status, used.status} <= {303, 422}
        assert 1 <= live_codes(app) <= 2
        if saved.status == 422:  # the other's replacement has taken the place of the new code
            new = saved
            assert owner.submit(new, saved="yes").path == "/account"
        omar.recovery_code = shown_code(new)
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")


def test_claiming_while_signing_out_is_no_error(app: Flask, omar: Person, rounds: int) -> None:
    for _ in range(rounds):
        browser = Browser(app)
        give_password(browser, omar)
        form = browser.get("/login/recovery")
        leave = browser.copy()
        answers = at_once(
            [
                partial(browser.send, form, {"recovery_code": omar.recovery_code}),
                partial(leave.open, "/logout", method="POST", data=form.form_with("recovery_code").fields),
            ]
        )
        assert {answer.status for answer in answers} == {303}
        with app.app_context():
            Session.delete().execute()
            Throttle.delete().execute()
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Recovery codes are on, and of 50 people at once nobody finds the line for hashing full."""
    return make_app(RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_SLOTS=50)


def test_of_one_code_typed_at_sign_in_and_at_step_up_at_the_same_moment_one_is_taken(
    app, omar, clock, rounds: int
) -> None:
    own = full(app, omar, clock)
    for _ in range(rounds):
        own_page = own.get("/verify")
        half_browser = half(app, omar)
        page = half_browser.get("/login/code")
        sends = [partial(half_browser.copy().send, page, {"code": omar.code()}) for _ in range(8)]
        copies = [own.copy(address) for address in ADDRESSES[:8]]
        sends += [partial(copy.send, own_page, {"password": PASSWORD, "code": omar.code()}) for copy in copies]
        before = kinds(app)
        answers = at_once(sends)
        assert {answer.status for answer in answers} <= {303, 422, 429}
        assert sum("Set-Cookie" in answer.headers for answer in answers) == 1
        new = Counter(kinds(app)) - Counter(before)
        assert new[EventKind.SIGNED_IN] + new[EventKind.STEPPED_UP] == 1
        clock.pass_by(30)
        own = next((copy for copy in copies if is_signed_in(copy)), own)
        with app.app_context():
            Throttle.delete().execute()
    assert step_up(own, omar.code()).h1 == "Security"


# One of two -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("browsers", [1, 2], ids=["two tabs", "two browsers"])
def test_two_enrollments_confirmed_at_the_same_moment_leave_one_app(
    app: Flask, omar: Person, clock: Clock, browsers: int, rounds: int
) -> None:
    for _ in range(rounds):
        pages, apps = [], []
        visitors = [Browser(app) for _ in range(browsers)]
        for visitor in visitors:
            clock.pass_by(30)
            sign_in(visitor, omar)
        for visitor in visitors * (2 // browsers):
            pages.append((visitor.copy(), visitor.get("/mfa/setup")))
            apps.append(scan(pages[-1][1], Person(omar.email, clock)))
        clock.pass_by(30)
        sends = [partial(b.send, page, {"code": a.code()}) for (b, page), a in zip(pages, apps, strict=True)]
        answers = at_once(sends)
        assert [answer.headers["Location"] for answer in answers].count("/account?notice=app-ready") == 1
        assert count(app, TotpAuthenticator) == count(app, Session) == 1
        with app.app_context():
            omar.secret = secret_of(omar)
        winners = [a for a, answer in zip(apps, answers, strict=True) if "app-ready" in answer.headers["Location"]]
        assert [winner.secret for winner in winners] == [omar.secret]


@pytest.mark.parametrize("undo", [acts.reset, acts.deactivate])
def test_a_code_typed_in_the_very_moment_an_admin_acts_leaves_nobody_signed_in(
    app, make_person, undo, rounds: int
) -> None:

    for number in range(rounds):
        person = make_person(f"somebody{number}@example.com")
        by_code, by_app = half(app, person), half(app, person)
        forms = by_code.get("/login/recovery"), by_app.get("/login/code")
        copies = [by_code.copy() for _ in range(4)], [by_app.copy() for _ in range(2)]
        sends = [partial(copy.send, forms[0], {"recovery_code": person.recovery_code}) for copy in copies[0]]
        sends += [partial(copy.send, forms[1], {"code": person.code()}) for copy in copies[1]]
        answers = at_once([*sends, partial(undo, app, person.email)])
        assert {answer.status for answer in answers[:-1]} <= {303, 422}
        assert [opened(copy) for copy in (*copies[0], *copies[1])] == [[]] * 6
        assert count(app, Session) == 0
    other = make_person("other@example.com")
    assert use_recovery_code(Browser(app), other).h1.startswith("You're in")


def test_requests_in_the_moment_of_signing_out_bring_nothing_back(app, omar, clock, rounds: int) -> None:
    for _ in range(rounds):
        browser = Browser(app)
        page = sign_in(browser, omar)
        clock.pass_by(60)  # so that each of the requests notes that the person is active
        token, copies = csrf(page), [browser.copy() for _ in range(10)]
        acts = [
            partial(copy.open, path) for copy, path in zip(copies, ["/account", "/account/activity"] * 4, strict=False)
        ]
        acts += [partial(copy.open, "/logout", method="POST", data=token) for copy in copies[8:]]
        answers = at_once(acts)
        assert {answer.status for answer in answers} <= {200, 303}
        assert answers[-1].headers["Location"].startswith("/login?")
        assert [set_cookies(answer) for answer in answers[:8]] == [{}] * 8
        assert [opened(copy) for copy in (browser, *copies)] == [[]] * 11
        assert count(app, Session) == 0
    assert sign_in(browser, omar).h1 == "Security"


def test_two_admins_who_remove_each_other_at_once_leave_one(app: Flask, make_person, rounds: int) -> None:
    for number in range(rounds):
        with app.app_context():
            User.update(is_admin=False).execute()
        for name in ("first", "second"):
            make_person(f"{name}{number}@example.com", admin=True)
        at_once([partial(acts.remove_admin, app, f"{name}{number}@example.com") for name in ("first", "second")])
        assert count(app, User, User.is_admin) == 1


def test_two_admins_who_reset_each_other_at_once_both_do(app: Flask, make_person, clock, rounds: int) -> None:
    for number in range(rounds):
        pair = [f"{name}{number}@example.com" for name in ("first", "second")]
        for email in pair:
            make_person(email, admin=True)
        links = at_once([partial(acts.reset, app, one, by=other) for one, other in (pair, pair[::-1])])
        assert all(Browser(app).get(link).h1 == "Choose your password" for link in links)


def test_whatever_ends_sessions_at_one_moment_every_request_is_answered(make_app, make_person, rounds: int) -> None:
    """With room for all of them in the line for hashing."""
    app = make_app(RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_SLOTS=50)
    others = [make_person(f"other{number}@example.com", on=app) for number in range(3)]
    ada = make_person("ada@example.com", admin=True, on=app)
    for number in range(rounds):
        pages = end_all_at_once(app, [make_person(f"somebody{number}@example.com", on=app)], ada, others)
        assert {page.status for page in pages} <= {200, 303, 404, 422}


# Security keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [True, False])
def test_of_two_browsers_sending_one_answer_of_a_key_exactly_one_gets_in(
    app: Flask, omar: Person, clock: Clock, rounds: int, counts: bool
) -> None:
    key = add_key(full(app, omar, clock), counts=counts)
    for number in range(rounds):
        browser, page = past_the_password(app, omar, "/login/key")
        sent = {"answer": key.get(options_of(page))}
        other, theirs = past_the_password(app, omar, "/login/key")
        pages = at_once(
            [partial(b.send, page, sent) for b in (browser.copy(), browser.copy())]
            + [partial(other.send, theirs, sent)]
        )
        led = sorted(page.headers.get("Location", "refused").partition("?")[0] for page in pages)
        assert led == ["/account", "/login", "refused"]
        assert sum("Set-Cookie" in page.headers for page in pages[:2]) == 1
        assert count(app, Session, Session.second_factor == "key") == number + 1
    assert kinds(app).count(EventKind.SIGNED_IN) == rounds + 1
    (row,) = rows(app, SecurityKey)
    assert row["count"] == (key.count if counts else 0)


def test_a_key_that_is_removed_and_used_at_once_is_one_of_the_two(
    app: Flask, omar: Person, clock: Clock, rounds: int
) -> None:
    owner = full(app, omar, clock)
    for _ in range(rounds):
        key = add_key(owner)
        browser, page = past_the_password(app, omar, "/login/key")
        account = owner.get("/account")
        (remove,) = [form for form in account.forms if form.action.endswith("/remove")]
        used, removed = at_once(
            [
                partial(browser.send, page, {"answer": key.get(options_of(page))}),
                partial(owner.open, remove.action, method="POST", data=remove.fields),
            ]
        )
        assert (used.status, removed.status) == (303, 303)
        assert not is_signed_in(browser), "removing a key signs everybody else out"
        assert is_signed_in(owner)
        assert (count(app, SecurityKey), rows(app, User)[0]["key_count"]) == (0, 0)


def test_of_two_people_adding_one_key_at_once_one_gets_it(
    app: Flask, omar: Person, noor: Person, clock: Clock, rounds: int
) -> None:
    browsers = [full(app, omar, clock), full(app, noor, clock)]
    for number in range(1, rounds + 1):
        if number % 9 == 0:  # an account has room for ten
            browsers = [full(app, person, clock) for person in (omar, noor)]
            with app.app_context():
                SecurityKey.delete().execute()
        key, before = NewKey(), count(app, SecurityKey)
        pages = [browser.get("/account/keys/new") for browser in browsers]
        sent = [{"name": "blue key", "answer": key.create(options_of(page))} for page in pages]
        answers = at_once(
            [partial(b.send, *what) for b, what in zip(browsers, zip(pages, sent, strict=True), strict=True)]
        )
        assert sorted(answer.status for answer in answers) == [303, 422]
        assert count(app, SecurityKey) == before + 1


# Guesses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("already", few_of([0, 1], 0))
@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_of_50_guesses_at_the_same_moment_no_more_are_compared_than_are_free(app, omar, guess, free, already) -> None:
    browser = guesser(app, omar, guess)
    for _ in range((free - 1) * already):
        assert guess(browser, omar).status == 422
    path, values = {
        wrong_password: ("/login", {"email": omar.email, "password": "a guess"}),
        wrong_one_time_code: ("/login/code", {"code": omar.wrong_code()}),
        wrong_recovery_code: ("/login/recovery", {"recovery_code": WELL_FORMED}),
    }[guess]
    page = browser.get(path)
    answers = Counter(
        answer.status for answer in at_once([partial(browser.copy(a).send, page, values) for a in ADDRESSES])
    )
    left = 1 if already else free
    assert answers == {422: left, 429: 50 - left}
    compared = [kind for kind in kinds(app) if kind in GUESS_EVENTS]
    assert len(compared) == free == max(row["failures"] for row in rows(app, Throttle))
    omar.clock.pass_by(30)
    assert right_one(app, omar, guess).status == 200


@pytest.mark.parametrize(("guess", "most"), [(wrong_password, 5), (wrong_one_time_code, 9), (wrong_recovery_code, 10)])
def test_one_right_guess_among_50_at_the_same_moment_gives_the_others_no_new_tries(app, omar, guess, most: int) -> None:
    """Only the six-digit code finishes the sign-in, which clears its count: four before it, five after."""
    browser = guesser(app, omar, guess)
    path, wrong, right = {
        wrong_password: ("/login", {"email": omar.email, "password": "a guess"}, {"password": PASSWORD}),
        wrong_one_time_code: ("/login/code", {"code": omar.wrong_code()}, {"code": omar.code()}),
        wrong_recovery_code: ("/login/recovery", {"recovery_code": WELL_FORMED}, {"recovery_code": omar.recovery_code}),
    }[guess]
    page = browser.get(path)
    guesses = [*[wrong] * 3, {**wrong, **right}, *[wrong] * 46]
    pairs = zip(ADDRESSES, guesses, strict=True)
    answers = at_once([partial(browser.copy(address).send, page, values) for address, values in pairs])
    assert {answer.status for answer in answers} <= {303, 422, 429}
    assert len([kind for kind in kinds(app) if kind in GUESS_EVENTS]) <= most
    assert count(app, Session, Session.user == 1) <= 1
    omar.clock.pass_by(3600)
    assert right_one(app, omar, guess).status == 200
