"""Wrong six-digit codes after a right password, in a browser that is not known: the owner is told that it is known."""

from flask import Flask

from authn.events import EventKind
from tests.support.commands import command
from tests.support.guesses import wrong_one_time_code
from tests.support.pages import Browser
from tests.support.people import NEW_PASSWORD, PASSWORD, Clock, Person, full, half, step_up
from tests.support.tables import kinds

KNOWN = "Somebody who knows your password typed"


def notice(browser: Browser) -> str:
    found = browser.get("/account").notice
    return found if KNOWN in found else ""


def test_the_owner_is_told_from_the_third_wrong_code_on(app: Flask, omar: Person, clock: Clock) -> None:
    own, stranger = full(app, omar, clock), half(app, omar, "198.51.100.7")
    for number in range(1, 5):
        assert wrong_one_time_code(stranger, omar).status == 422
        assert bool(notice(own)) == (number >= 3), number
        clock.pass_by(60)
    assert notice(own).startswith(
        "Somebody who knows your password typed 4 wrong codes since 30 November 2026, 01:00 UTC, "
        "the last one from 198.51.100.7. Change your password."
    )
    assert kinds(app).count(EventKind.PASSWORD_KNOWN) == 1
    assert notice(full(app, omar, clock)), "no sign-in takes it away"


def test_it_is_told_until_the_password_is_another(app: Flask, omar: Person, clock: Clock) -> None:
    own, stranger = full(app, omar, clock), half(app, omar)
    for _ in range(3):
        wrong_one_time_code(stranger, omar)
    assert "/account/password" in own.get("/account").links
    own.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert not notice(own)
    omar.password = NEW_PASSWORD
    stranger = half(app, omar)
    for _ in range(2):
        wrong_one_time_code(stranger, omar)
    assert not notice(own), "it begins anew"


def test_it_is_dismissed_after_step_up(app: Flask, omar: Person, clock: Clock) -> None:
    own, stranger = full(app, omar, clock), half(app, omar)
    for _ in range(3):
        wrong_one_time_code(stranger, omar)
    clock.pass_by(601)
    assert own.press(own.get("/account"), "It was me").h1 == "Confirm it's you"
    assert notice(own)
    step_up(own, omar.code())
    assert own.press(own.get("/account"), "It was me").h1 == "Security"
    assert not notice(own)


def test_wrong_codes_in_a_known_browser_and_wrong_passwords_tell_of_nobody(app: Flask, omar: Person, clock) -> None:
    own = full(app, omar, clock)
    own.press(own.get("/account"), "Sign out")
    own.submit("/login", email=omar.email, password=PASSWORD)
    for _ in range(4):
        assert wrong_one_time_code(own, omar).status == 422
        Browser(app).submit("/login", email=omar.email, password="wrong")
    command(app, "users", "unlock", omar.email)
    assert own.submit("/login/code", code=omar.code()).h1 == "Security"
    assert not notice(own)
    clock.pass_by(30)
    stranger = half(app, omar)
    for _ in range(3):
        assert wrong_one_time_code(stranger, omar).status == 422
    assert notice(own)
