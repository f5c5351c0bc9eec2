"""The first step: an address and a password, and the second: a six-digit code."""

from collections.abc import Callable
from functools import partial
from threading import Barrier

import pytest
from flask import Flask

from authn.events import EventKind
from models import Session, Throttle, User
from tests.support import acts
from tests.support.forms import Site
from tests.support.guesses import USED, WRONG, failures, taken_at_enrollment
from tests.support.pages import Browser, Page
from tests.support.people import (
    PASSWORD,
    Clock,
    Person,
    enroll,
    full,
    give_password,
    half,
    is_signed_in,
    sign_in,
    step_up,
)
from tests.support.races import at_once
from tests.support.tables import count, forget_failures, kinds, rows, update

# The password ---------------------------------------------------------------------------------------------------------


NO_MATCH = "That email address and password don't match an account here. Check both and try again."


@pytest.mark.parametrize(
    ("email", "password", "error"),
    [
        ("", "x", "Enter your email address"),
        ("maya", "x", "Enter an email address in the form name@example.com"),
        ("maya@example.com", "", "Enter your password"),
        ("maya@example.com", "wrong", NO_MATCH),
        ("nobody@example.com", "wrong", NO_MATCH),
    ],
)
def test_a_refused_password_says_what_to_do_and_keeps_the_address(
    app: Flask, browser: Browser, maya: Person, email: str, password: str, error: str
) -> None:
    page = browser.submit("/login", email=email, password=password)
    assert (page.status, page.errors, page.title) == (422, [error], "Error: Sign in – Sparekey")
    assert page.form_with("email").fields["email"] == email
    assert page.form_with("email").fields["password"] == ""
    assert count(app, Session) == 0
    assert browser.submit(page, email=maya.email, password=maya.password).h1 == "Set up your authenticator app"


@pytest.mark.parametrize("spelling", ["MAYA@example.com", " maya@example.com ", "ｍaya@example.com"])
def test_one_address_in_any_spelling_is_one_account(browser: Browser, maya: Person, spelling: str) -> None:
    page = browser.submit("/login", email=spelling, password=maya.password)
    assert page.h1 == "Set up your authenticator app"


def test_a_hash_of_another_cost_is_renewed_by_a_right_password_only(make_app, make_person) -> None:
    app = make_app("cheap")
    maya = make_person("maya@example.com", enrolled=False, on=app)
    dearer = make_app("cheap", PASSWORD_HASH_COST="m=16,t=1,p=1")
    browser = Browser(dearer)

    def stored() -> str:
        return str(rows(dearer, User)[0]["password_hash"])

    browser.submit("/login", email=maya.email, password="wrong")
    assert "m=8,t=1,p=1" in stored()
    give_password(browser, maya)
    assert "m=16,t=1,p=1" in stored()
    browser.press(browser.get("/mfa/setup"), "Cancel and sign out")
    assert give_password(browser, maya).h1 == "Set up your authenticator app"


@pytest.mark.databases
def test_of_two_whose_hash_is_renewed_at_once_both_get_on(make_app, make_person, monkeypatch) -> None:
    app = make_app("cheap")
    maya = make_person("maya@example.com", enrolled=False, on=app)
    dearer = make_app("cheap", PASSWORD_HASH_COST="m=16,t=1,p=1")
    policy, both_compared, first_time = dearer.extensions["store"].policy, Barrier(2), ["one", "the other"]
    verify = policy.verify

    def verify_together(password: str, stored: str | None) -> tuple[bool, str | None]:
        found = verify(password, stored)
        if first_time:
            first_time.pop()
            both_compared.wait(10)
        return found

    monkeypatch.setattr(policy, "verify", verify_together)
    pages = at_once([partial(give_password, Browser(dearer), maya) for _ in range(2)])
    assert [page.h1 for page in pages] == ["Set up your authenticator app"] * 2


Make = Callable[..., Flask]


@pytest.mark.parametrize("hash_", ["junk", "$argon2id$v=19$m=8,t=1,p=1$cut", "$2b$12$" + "x" * 53, PASSWORD, "*"])
def test_a_hash_that_cannot_be_read_is_nobodys_password(
    make_app: Make, make_person: Callable[..., Person], hash_: str
) -> None:
    """The verifier fails, and nobody is let in by that: not even who types the text of the hash."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)
    right = next(row["password_hash"] for row in site.rows(User) if row["email"] == site.omar.email)
    update(site.app, User.password_hash, hash_, User.email == site.omar.email)
    for typed in (PASSWORD, hash_):
        page = Browser(site.app).submit("/login", email=site.omar.email, password=typed)
        assert page.status in (422, 500)
    assert count(site.app, Session) == 0
    update(site.app, User.password_hash, right, User.email == site.omar.email)
    assert give_password(Browser(site.app), site.omar).h1 == "Enter your code"


def test_a_right_password_takes_back_its_charge_and_the_address_with_it(app: Flask, omar: Person) -> None:
    for _ in range(20):
        assert acts.try_password(app, omar.email, PASSWORD)
    assert rows(app, Throttle) == []
    assert acts.try_password(app, omar.email, "wrong") is None
    assert {row["failures"] for row in rows(app, Throttle)} == {1}


# The six-digit code ---------------------------------------------------------------------------------------------------


def test_a_wrong_code_is_refused_and_a_right_one_signs_in(browser: Browser, omar: Person) -> None:
    give_password(browser, omar)
    for typed, error in (
        ("", "Enter the six-digit code your app shows"),
        ("12 34", "The code has six digits. Check it and try again."),
        (omar.wrong_code(), "That code didn't match. Type the newest code your app shows for Sparekey."),
    ):
        page = browser.submit("/login/code", code=typed)
        assert (page.status, page.errors) == (422, [error])
        assert not is_signed_in(browser)
    code = omar.code()
    assert browser.submit("/login/code", code=f" {code[:3]} {code[3:]}\n").h1 == "Security"


def test_a_code_is_accepted_once(app: Flask, omar: Person, clock) -> None:
    first, second = Browser(app), Browser(app)
    sign_in(first, omar)
    give_password(second, omar)
    page = second.submit("/login/code", code=omar.code())
    assert page.errors == ["You've already used that code. Wait for the next one (about 20 seconds)."]
    clock.pass_by(29)
    assert second.submit("/login/code", code=omar.code(-29)).status == 422
    assert second.submit("/login/code", code=omar.code()).h1 == "Security"


@pytest.mark.parametrize(("ahead", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_one_step_either_side_is_accepted(browser: Browser, omar: Person, ahead: int, accepted: bool) -> None:
    give_password(browser, omar)
    browser.submit("/login/code", code=omar.code(ahead))
    assert is_signed_in(browser) == accepted


def test_codes_typed_into_each_others_fields_are_no_tries_and_stay_good(app, omar, clock) -> None:
    own, other = full(app, omar, clock), half(app, omar)
    for _ in range(12):
        assert other.submit("/login/code", code=omar.recovery_code).errors[0].startswith("The code has six digits")
        assert other.submit("/login/recovery", recovery_code=omar.code()).errors[0].startswith("That looks like a code")
        assert step_up(own, omar.recovery_code).errors[0].startswith("The code has six digits")
    assert failures(app, "one-time code") == failures(app, "recovery code") == 0
    assert other.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")
    assert step_up(own, omar.code()).h1 == "Security"


# Taken once -----------------------------------------------------------------------------------------------------------


def taken_at_sign_in(app: Flask, person: Person, own: Browser) -> str:
    assert half(app, person).submit("/login/code", code=person.code()).h1 == "Security"
    return person.code()


def taken_at_step_up(app: Flask, person: Person, own: Browser) -> str:
    assert step_up(own, person.code()).h1 == "Security"
    return person.code()


AGAIN: dict[str, Callable[[Flask, Person, Browser, str], Page]] = {
    "sign-in": lambda app, person, own, code: half(app, person).submit("/login/code", code=code),
    "sign-in from elsewhere": lambda app, person, own, code: half(app, person, "2001:db8::9").submit(
        "/login/code", code=f" {code[:3]}-{code[3:]}\n"
    ),
    "step-up": lambda app, person, own, code: step_up(own, code),
}


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("taken", [taken_at_enrollment, taken_at_sign_in, taken_at_step_up], ids=lambda f: f.__name__)
def test_a_code_taken_anywhere_is_used_up_everywhere(app, omar, clock, taken, again: str) -> None:
    own = full(app, omar, clock)
    code = taken(app, omar, own)
    for seconds in (0, 20, 29):  # in its own step, 10 s into the next one, in the last second that would take it
        clock.pass_by(seconds)
        page = AGAIN[again](app, omar, own, code)
        assert page.status == 422
        assert page.errors[0].startswith(USED)
    assert failures(app, "one-time code") == kinds(app).count(EventKind.CODE_REPLAYED) == 3
    clock.pass_by(1)
    assert AGAIN[again](app, omar, own, code).errors[0].startswith(WRONG)
    assert AGAIN[again](app, omar, own, omar.code()).h1 == "Security"


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("taken", [taken_at_enrollment, taken_at_sign_in, taken_at_step_up], ids=lambda f: f.__name__)
def test_a_code_that_is_older_than_one_taken_is_refused_everywhere(app, omar, clock, taken, again: str) -> None:
    own = full(app, omar, clock)
    clock.pass_by(30)
    taken(app, omar, own)
    clock.pass_by(-30)  # the next server's clock is a step behind
    for older in (omar.code(-30), omar.code()):
        assert AGAIN[again](app, omar, own, older).errors[0].startswith(USED)
    assert AGAIN[again](app, omar, own, omar.code(30)).errors[0].startswith(USED)
    clock.pass_by(60)
    assert AGAIN[again](app, omar, own, omar.code()).h1 == "Security"


def test_neither_the_replaced_app_nor_another_persons_opens_anything(app, omar, noor, clock) -> None:
    own, lost = full(app, omar, clock), Person(omar.email, clock, omar.secret)
    taken_at_enrollment(app, omar, own)
    clock.pass_by(30)
    for other in (lost, noor):
        for ahead in (-30, 0):
            assert half(app, omar).submit("/login/code", code=other.code(ahead)).errors[0].startswith(WRONG)
            assert step_up(own, other.code(ahead)).errors[0].startswith(WRONG)
            forget_failures(app)
    page = own.get("/mfa/setup")
    for other in (lost, noor, omar):
        assert own.send(page, {"code": other.code()}).errors[0].startswith(WRONG)
    assert step_up(own, omar.code()).h1 == "Security"
    clock.pass_by(30)
    assert half(app, omar).submit("/login/code", code=omar.code()).h1 == "Security"
    assert half(app, noor).submit("/login/code", code=noor.code()).h1 == "Security"


@pytest.mark.parametrize("back", [3600, 86400, 30 * 86400])
def test_a_clock_set_back_makes_no_used_code_good_again_and_shuts_nobody_out(app, omar, clock, back: int) -> None:
    """Neither then, nor when it has caught up."""
    own = full(app, omar, clock)
    assert step_up(own, omar.code()).h1 == "Security"
    used, ahead = [omar.code(-30), omar.code()], clock.now
    clock.pass_by(-back)
    assert sign_in(Browser(app), omar).h1 == "Security"
    browser = half(app, omar)
    for seconds in (-30, 0):
        assert browser.submit("/login/code", code=omar.code(seconds)).errors[0].startswith(USED)
    clock.now = ahead
    browser = half(app, omar)
    for code in used:
        assert browser.submit("/login/code", code=code).errors[0].startswith(USED)
    assert browser.submit("/login/code", code=omar.code(30)).h1 == "Security"


def test_a_clock_set_back_by_a_moment_takes_no_older_code(app: Flask, omar: Person, clock: Clock) -> None:
    full(app, omar, clock)
    clock.pass_by(-31)
    browser = half(app, omar)
    for ahead in (-30, 0):
        assert browser.submit("/login/code", code=omar.code(ahead)).errors[0].startswith(USED)
    clock.pass_by(61)
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


def test_the_setup_code_cannot_be_used_to_sign_in_and_the_next_one_can(
    app: Flask, browser: Browser, maya: Person, clock
) -> None:
    enroll(browser, maya)
    other = Browser(app)
    give_password(other, maya)
    page = other.submit("/login/code", code=maya.code())
    assert page.errors[0].startswith("You've already used that code.")
    clock.pass_by(30)
    assert other.submit("/login/code", code=maya.code()).h1 == "Security"


def test_a_code_shown_for_a_removed_person_is_no_error(app: Flask, browser: Browser, omar: Person) -> None:
    form = give_password(browser, omar)
    acts.remove_person(app, omar.email)
    assert browser.follow(browser.send(form, {"code": omar.code()})).h1 == "Sign in"
    assert EventKind.SIGNED_IN not in kinds(app)


# Leaving --------------------------------------------------------------------------------------------------------------


def test_a_signed_in_person_who_opens_the_sign_in_page_is_sent_to_the_account(browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    assert browser.open("/login").headers["Location"] == "/account"
    assert browser.open("/").headers["Location"] == "/account"


def test_signing_out_clears_the_cache_but_not_the_cookie_of_a_known_browser(browser: Browser, omar: Person) -> None:
    page = sign_in(browser, omar)
    known = browser.cookie("known-browser")
    answer = browser.open("/logout", method="POST", data=page.forms[0].fields)
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert browser.cookie() is None
    assert known == browser.cookie("known-browser") is not None


def test_a_notice_does_not_travel_through_a_sign_in(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    page = browser.get("/account?notice=code-saved")
    browser.submit(page, email=omar.email, password=PASSWORD)
    page = browser.submit("/login/code", code=omar.code())
    assert (page.url, page.notice) == ("/account", "")
