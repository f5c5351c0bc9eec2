"""Whatever is put into a form: the page's own answer comes, nothing is half done, and the right value works next."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask

from models import TABLES, Event, Throttle
from tests.conftest import (
    Person,
    give_password,
    rows,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.pages import Browser, Form, Page

NEW = "new@example.com"  # enrolls here; everybody else has an app and a saved code


def nobody_yet(browser: Browser, person: Person) -> None:
    browser.open("/login")


def password_given(browser: Browser, person: Person) -> None:
    page = give_password(browser, person)
    if page.by_id("setup-key") is not None:
        scan(page, person)


def at_the_prompt(browser: Browser, person: Person) -> None:
    password_given(browser, person)
    browser.submit("/mfa/setup", code=person.code())


def signed_in(browser: Browser, person: Person) -> None:
    sign_in(browser, person)
    person.clock.pass_by(30)


def after_recovery(browser: Browser, person: Person) -> None:
    save_new_code(browser, use_recovery_code(browser, person), person)


@dataclass
class Place:
    """A form: how somebody gets to it, what is right in its fields, and the page that follows."""

    path: str
    arrive: Callable[[Browser, Person], None]
    right: Callable[[Person], dict[str, str]]
    leads_to: str
    enrolled: bool = True


LOGIN = Place(
    "/login", nobody_yet, lambda p: {"email": p.email, "password": p.password, "next": "/account"}, "/login/code"
)
CODE = Place("/login/code", password_given, lambda p: {"code": p.code()}, "/account")
SETUP = Place("/mfa/setup", password_given, lambda p: {"code": p.code()}, "/mfa/recovery-code", enrolled=False)
VERIFY = Place("/verify", signed_in, lambda p: {"password": p.password, "code": p.code()}, "/account")
RECOVERY = Place(
    "/login/recovery", password_given, lambda p: {"recovery_code": p.recovery_code or ""}, "/mfa/recovery-code"
)
PROMPT = Place("/mfa/recovery-code", at_the_prompt, lambda p: {"saved": "yes"}, "/account", enrolled=False)
LOST = Place("/mfa/lost-device", after_recovery, lambda p: {"still_have": "later"}, "/account")
PHONE = Place("/demo/phone", nobody_yet, lambda p: {"key": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"}, "/demo/phone")

FIELDS = [
    (LOGIN, "email"),
    (LOGIN, "password"),
    (LOGIN, "next"),
    (CODE, "code"),
    (SETUP, "code"),
    (VERIFY, "password"),
    (VERIFY, "code"),
    (RECOVERY, "recovery_code"),
    (PROMPT, "saved"),
    (PROMPT, "shown"),
    (LOST, "still_have"),
    (PHONE, "key"),
]

BAD = {  # as they stand in the body
    "empty": b"",
    "10 kB": b"9" * 10_000,
    "NUL": b"12%0034",
    "control character": b"12%0134",
    "lone surrogate": b"%ED%A0%80",
    "not UTF-8": b"%FF",
    "full-width digits": quote("１２３４５６").encode(),  # noqa: RUF001
    "Arabic digits": quote("١٢٣٤٥٦").encode(),
    "line break": b"12%0D%0A34",
    "right-to-left mark": quote("12\u200f34").encode(),
    "combining marks": ("\u0301" * 30_000).encode(),
}
EMPTY = {"missing", "empty", "repeated", "file", "JSON"}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, DEMO=True)


@dataclass
class Visit:
    """Somebody at a form."""

    browser: Browser
    place: Place
    person: Person
    page: Page
    form: Form
    right: dict[str, str]

    def send(self, body: bytes, **kwargs: Any) -> Page:
        kwargs = {"content_type": "application/x-www-form-urlencoded", **kwargs}
        return self.browser.open(self.form.action, method="POST", data=body, **kwargs)

    def others(self, field: str) -> bytes:
        """The body with the right values, without this field."""
        values = {**self.form.fields, **self.right}
        return urlencode({name: value for name, value in values.items() if name != field}).encode()

    def send_bad(self, field: str, bad: str) -> Page:
        others, right = self.others(field), {**self.form.fields, **self.right}[field]
        if bad in BAD:
            return self.send(others + f"&{field}=".encode() + BAD[bad])
        if bad == "missing":
            return self.send(others)
        if bad == "repeated":
            return self.send(others + f"&{field}=&{field}={quote(right)}".encode())
        if bad == "raw bytes":
            return self.send(others + f"&{field}=".encode() + b"\xed\xa0\x80\xff")
        if bad == "more than the limit":
            return self.send(others + f"&{field}=".encode() + b"9" * 70_000)
        if bad == "file":
            values = {**self.form.fields, **self.right, field: (BytesIO(right.encode()), "right.txt")}
            return self.browser.open(self.form.action, method="POST", data=values)
        token = {"X-CSRFToken": self.form.fields["csrf_token"]}
        return self.browser.open(self.form.action, method="POST", json={**self.right, field: [1]}, headers=token)

    def send_right(self) -> Page:
        return self.browser.follow(self.browser.send(self.browser.get(self.place.path), self.right))


@pytest.fixture
def visit(browser: Browser, make_person: Callable[..., Person]) -> Callable[[Place], Visit]:
    def arrive(place: Place) -> Visit:
        person = make_person("omar@example.com") if place.enrolled else make_person(NEW, enrolled=False)
        place.arrive(browser, person)
        page, right = browser.get(place.path), place.right(person)
        return Visit(browser, place, person, page, page.form_with(*right), right)

    return arrive


def state(app: Flask) -> dict[str, Any]:
    """All rows but the record of what happened and the counts of failures."""
    return {table.__name__: rows(app, table) for table in TABLES if table not in (Event, Throttle)}


def expected(field: str, bad: str) -> int:
    if bad == "raw bytes":
        return 400  # nothing of such a body can be read, the CSRF token neither
    if bad == "more than the limit":
        return 413
    if bad == "JSON":
        return 422
    if field == "next" or (field == "saved" and bad not in EMPTY):
        return 303  # a bad next is left out; a box is ticked or it isn't
    return 422


@pytest.mark.parametrize("bad", [*BAD, "missing", "repeated", "raw bytes", "more than the limit", "file", "JSON"])
@pytest.mark.parametrize(("place", "field"), FIELDS, ids=lambda value: getattr(value, "path", value))
def test_a_bad_value_gets_the_pages_own_answer_and_the_right_one_works_next(app, visit, place, field, bad) -> None:
    here = visit(place)
    before = state(app)
    answer = here.send_bad(field, bad)
    assert answer.status == expected(field, bad)
    if answer.status == 303:
        assert here.browser.follow(answer).path == place.leads_to
        return
    assert state(app) == before
    if answer.status == 422:
        assert (answer.path, answer.h1) == (place.path, here.page.h1)
        assert answer.errors
    assert here.send_right().path == place.leads_to
