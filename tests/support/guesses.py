"""Guessing at a secret: wrong ones and right ones, where each is typed, and what is counted of it."""

from collections.abc import Callable

from flask import Flask

from authn.events import EventKind
from authn.throttle import KNOWN
from models import Throttle
from tests.support.pages import Browser, Page
from tests.support.people import WELL_FORMED, Person, give_password, half, scan, use_recovery_code
from tests.support.tables import rows


def wrong_password(browser: Browser, person: Person) -> Page:
    return browser.submit("/login", email=person.email, password="a guess")


def wrong_one_time_code(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/code", code=person.wrong_code())


def wrong_recovery_code(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/recovery", recovery_code=WELL_FORMED)


GUESSES = [(wrong_password, 5), (wrong_one_time_code, 5), (wrong_recovery_code, 10)]
GUESS_IDS = ["password", "one-time code", "recovery code"]
GUESS_EVENTS = [EventKind.PASSWORD_WRONG, EventKind.CODE_WRONG, EventKind.RECOVERY_CODE_WRONG]


def guesser(app: Flask, person: Person, guess: Callable[..., Page], address: str = "203.0.113.7") -> Browser:
    """A browser at the page where this is guessed."""
    return Browser(app, address) if guess is wrong_password else half(app, person, address)


def right_one(app: Flask, person: Person, guess: Callable[..., Page]) -> Page:
    """The right secret where this is guessed."""
    if guess is wrong_password:
        return give_password(Browser(app), person)
    if guess is wrong_recovery_code:
        return use_recovery_code(Browser(app), person)
    return half(app, person).submit("/login/code", code=person.code())


def failures(app: Flask, kind: str) -> int:
    """Of strangers and of each known browser."""
    counted = [row for row in rows(app, Throttle) if row["key"].startswith(f"{kind}:")]
    return sum(row["failures"] for row in counted if not row["key"].endswith(f":{KNOWN}"))


USED, WRONG = "You've already used", "That code didn't match"


def taken_at_enrollment(app: Flask, person: Person, own: Browser) -> str:
    page = own.get("/mfa/setup")
    assert own.submit(page, code=scan(page, person).code()).h1 == "Security"
    return person.code()
