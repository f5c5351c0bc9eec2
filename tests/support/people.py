"""The people of the tests, the clock they hold, and what they do in a browser."""

from dataclasses import dataclass

from flask import Flask

from authn import totp
from tests.support.pages import Browser, Page

PASSWORD = "a lamp, a boat and a heron"
NEW_PASSWORD = "three herons and a lighthouse"


class Clock:
    """Stands still until a test moves it. It starts 10 s into a 30-second step."""

    def __init__(self) -> None:
        self.now = 1_796_000_400 // 30 * 30 + 10

    def __call__(self) -> float:
        return float(self.now)

    def pass_by(self, seconds: int) -> None:
        self.now += seconds


@dataclass
class Person:
    email: str
    clock: Clock
    secret: bytes | None = None
    recovery_code: str | None = None
    password: str = PASSWORD

    def code(self, ahead: int = 0) -> str:
        """What their app shows, `ahead` seconds from now."""
        assert self.secret is not None
        return totp.code_at(self.secret, self.clock.now + ahead)

    def wrong_code(self) -> str:
        """Six digits that are none of the three the app would take."""
        right = {self.code(-30), self.code(), self.code(30)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in right)


def give_password(browser: Browser, person: Person, next_path: str = "") -> Page:
    where = f"/login?next={next_path}" if next_path else "/login"
    return browser.submit(where, email=person.email, password=person.password)


def scan(page: Page, person: Person) -> Person:
    """Put the setup key of the page into the person's app."""
    person.secret = totp.read_setup_key(page.text_of("setup-key"))
    return person


def shown_code(page: Page) -> str:
    return page.text_of("recovery-code").replace(" ", "")


def enroll(browser: Browser, person: Person) -> Page:
    """From the password to the end of enrollment, prompt and all."""
    page = give_password(browser, person)
    scan(page, person)
    page = browser.submit(page, code=person.code())
    if page.by_id("recovery-code") is not None:
        person.recovery_code = shown_code(page)
        page = browser.submit(page, saved="yes")
    return page


def sign_in(browser: Browser, person: Person, next_path: str = "") -> Page:
    """With password and six-digit code."""
    give_password(browser, person, next_path)
    return browser.submit("/login/code", code=person.code())


def use_recovery_code(browser: Browser, person: Person, typed: str | None = None) -> Page:
    """Password and recovery code; the page that follows."""
    give_password(browser, person)
    return browser.submit("/login/recovery", recovery_code=typed or person.recovery_code)


def save_new_code(browser: Browser, page: Page, person: Person) -> Page:
    person.recovery_code = shown_code(page)
    return browser.submit(page, saved="yes")


def is_signed_in(browser: Browser) -> bool:
    return browser.open("/account").status == 200


WELL_FORMED = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"


def half(app: Flask, person: Person, address: str = "203.0.113.7") -> Browser:
    browser = Browser(app, address)
    assert give_password(browser, person).h1 == "Enter your code"
    return browser


def full(app: Flask, person: Person, clock: Clock) -> Browser:
    """Somebody's own browser, known to their account; its code is used up and the next one shown."""
    browser = Browser(app)
    assert sign_in(browser, person).h1 == "Security"
    clock.pass_by(30)
    return browser


def step_up(browser: Browser, code: str) -> Page:
    return browser.submit("/verify", password=PASSWORD, code=code)
