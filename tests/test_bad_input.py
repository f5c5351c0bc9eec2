"""Whatever is put into a form: the page's own answer comes, nothing is half done, and the right value works next."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from json import dumps
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask

from models import TABLES, Event, Throttle
from tests.support.pages import Browser, Form, Page
from tests.support.people import Person, give_password, save_new_code, scan, sign_in, use_recovery_code
from tests.support.tables import rows

pytestmark = pytest.mark.pages

URLENCODED = "application/x-www-form-urlencoded"
NEW = "new@example.com"  # enrolls here; everybody else has an app and a saved code


def nobody_yet(browser: Browser, person: Person) -> None:
    browser.open("/login")


def password_given(browser: Browser, person: Person) -> None:
    page = give_password(browser, person)
    if person.secret is None:
        scan(page, person)


def at_the_prompt(browser: Browser, person: Person) -> None:
    page = give_password(browser, person)
    browser.submit(page, code=scan(page, person).code())


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
    changes: tuple[str, ...] = ()  # of the person's own row


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
CHANGE = Place(
    "/account/password",
    signed_in,
    lambda p: {"current_password": p.password, "new_password": "an oar, a pier and a gull"},
    "/account",
    changes=("password_hash", "password_changed_at"),
)
PHONE = Place("/demo/phone", nobody_yet, lambda p: {"key": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"}, "/demo/phone")

PLACES = [LOGIN, CODE, SETUP, VERIFY, RECOVERY, PROMPT, LOST, CHANGE, PHONE]
SHOWN_AGAIN = [  # on the page that refuses it
    (LOGIN, "email"),
    (CODE, "code"),
    (SETUP, "code"),
    (VERIFY, "code"),
    (RECOVERY, "recovery_code"),
    (PHONE, "key"),
]
NOT_SHOWN_AGAIN = [
    (LOGIN, "password"),
    (LOGIN, "next"),
    (VERIFY, "password"),
    (PROMPT, "saved"),
    (PROMPT, "shown"),
    (LOST, "still_have"),
    (CHANGE, "current_password"),
    (CHANGE, "new_password"),
]
FIELDS = [*SHOWN_AGAIN, *NOT_SHOWN_AGAIN]

BAD = {  # as they stand in the body
    "empty": b"",
    "NUL": b"12%0034",
    "control character": b"12%0134",
    "lone surrogate": b"%ED%A0%80",
    "not UTF-8": b"%FF",
    "full-width digits": quote("１２３４５６").encode(),
    "Arabic digits": quote("١٢٣٤٥٦").encode(),
    "line break": b"12%0D%0A34",
    "right-to-left mark": quote("12\u200f34").encode(),
    "10 kB": b"9" * 10_000,
    "combining marks": ("\u0301" * 15_000 + "\u0323" * 15_000).encode(),  # the order that normalizing is slow for
}
NOTHING = ["missing", "empty", "repeated", "file", "JSON"]  # in one way or another
ALL = [*NOTHING, *(bad for bad in BAD if bad not in NOTHING)]


def named(value: Place | str) -> str:
    return value.path if isinstance(value, Place) else value


def visits(place: Place, field: str, bads: list[str]) -> list[Any]:
    """One visit for all of them, unless one ends the visit: a pause after five wrong passwords, a step that is done."""
    at_once = 1 if field == "next" else 4 if "password" in field else len(bads)
    groups = [bads[start : start + at_once] for start in range(0, len(bads), at_once)]
    return [pytest.param(place, field, group, id=f"{place.path} {field}: {', '.join(group)}") for group in groups]


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
        kwargs = {"content_type": URLENCODED, **kwargs}
        return self.browser.open(self.place.path, method="POST", data=body, **kwargs)

    def others(self, field: str) -> bytes:
        """The body with the right values, without this field."""
        values = {**self.form.fields, **self.right}
        return urlencode({name: value for name, value in values.items() if name != field}).encode()

    def send_bad(self, field: str, bad: str) -> Page:
        others, right = self.others(field), self.value(field)
        if bad in BAD:
            return self.send(others + f"&{field}=".encode() + BAD[bad])
        if bad == "missing":
            return self.send(others)
        if bad == "repeated":
            return self.send(others + f"&{field}=&{field}={quote(right)}".encode())
        if bad == "file":
            values = {**self.form.fields, **self.right, field: (BytesIO(right.encode()), "right.txt")}
            return self.browser.open(self.place.path, method="POST", data=values)
        token = {"X-CSRFToken": self.form.fields["csrf_token"]}
        return self.browser.open(self.place.path, method="POST", json={**self.right, field: [1]}, headers=token)

    def value(self, field: str) -> str:
        return {**self.form.fields, **self.right}[field]

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


def state(here: Visit) -> dict[str, Any]:
    """The cookie, and all rows but the record of what happened and the counts of failures."""
    tables = [table for table in TABLES if table not in (Event, Throttle)]
    return {"cookie": here.browser.cookie(), **{table.__name__: rows(here.browser.app, table) for table in tables}}


def expected(field: str, bad: str) -> int:
    if bad == "JSON":
        return 422
    return 303 if field == "next" else 422  # a bad next is left out


@pytest.mark.parametrize(("place", "field", "bads"), [visit for case in FIELDS for visit in visits(*case, ALL)])
def test_a_bad_value_gets_the_pages_own_answer_and_the_right_one_works_next(visit, place, field, bads) -> None:
    here = visit(place)
    before = state(here)
    for bad in bads:
        answer = here.send_bad(field, bad)
        assert answer.status == expected(field, bad), bad
        if answer.status == 303:
            assert here.browser.follow(answer).path == place.leads_to
            return
        assert state(here) == before, bad
        assert (answer.path, answer.h1) == (place.path, here.page.h1)
        assert answer.errors
    assert here.send_right().path == place.leads_to


@pytest.mark.parametrize(("place", "field"), [case for case in FIELDS if case != (LOGIN, "next")], ids=named)
def test_the_first_value_in_the_body_counts_and_none_in_the_address(visit, place, field) -> None:
    here = visit(place)
    before, others, right = state(here), here.others(field), quote(here.value(field))
    for body in (others, others + f"&{field}=&{field}={right}".encode()):
        answer = here.send(body, query_string={field: here.value(field)})
        assert (answer.status, answer.h1) == (422, here.page.h1)
        assert state(here) == before
    answer = here.send(others + f"&{field}={right}&{field}=12".encode(), query_string={field: "12"})
    assert here.browser.follow(answer).path == place.leads_to
    assert answer.status == (200 if place is PHONE else 303)


@pytest.mark.parametrize("place", PLACES, ids=named)
def test_a_body_that_cannot_be_read_is_refused_and_changes_nothing(visit, place) -> None:
    here = visit(place)
    before, values = state(here), {**here.form.fields, **here.right}
    right = urlencode(values).encode()
    for body, kind, status in (
        (right + b"&x=\xed\xa0\x80", URLENCODED, 400),
        (right + b"&x=\xff", URLENCODED, 400),
        (right, "text/plain", 400),
        (dumps(values).encode(), "application/json", 400),
        (right, "multipart/form-data", 400),
        (b"--x\r\n\r\n" + right, "multipart/form-data; boundary=x", 400),
        (right + b"&x=" + b"9" * 70_000, URLENCODED, 413),
    ):
        assert here.send(body, content_type=kind).status == status
        assert state(here) == before
    assert here.browser.follow(here.send(right)).path == place.leads_to


def test_thousands_of_fields_and_a_deep_json_body_are_nothing_special(visit) -> None:
    here = visit(LOGIN)
    token = {"X-CSRFToken": here.form.fields["csrf_token"]}
    assert here.send(b"[" * 60_000, content_type="application/json", headers=token).status == 422
    answer = here.send(here.others("next") + b"&x=1" * 15_000)
    assert here.browser.follow(answer).path == LOGIN.leads_to


@pytest.mark.parametrize("place", PLACES, ids=named)
def test_fields_that_the_form_does_not_have_change_nothing(app, visit, place) -> None:
    here = visit(place)
    columns = {
        name for table in TABLES for column in table._meta.sorted_fields for name in (column.name, column.column_name)
    }
    names = (columns | {"admin", "role", "mfa", "session_id"}) - {*here.form.fields, *here.right}
    assert {"is_admin", "user", "user_id", "step", "second_factor", "retired_at", "last_step"} <= names
    mark = "987654321"
    extras = dict.fromkeys(names, mark) | {"is_active": "", "password_hash": ""}
    before, body = state(here), urlencode(extras).encode()
    refused = {**here.form.fields, **dict.fromkeys(here.right, "")}
    assert here.send(urlencode(refused).encode() + b"&" + body, query_string=extras).status == 422
    assert state(here) == before
    right = {**here.form.fields, **here.right}
    answer = here.send(urlencode(right).encode() + b"&" + body, query_string=extras)
    assert here.browser.follow(answer).path == place.leads_to
    after = {table.__name__: rows(app, table) for table in TABLES}
    ((was,), (now,)) = before["User"], after["User"]
    assert {column for column in now if now[column] != was[column]} == set(place.changes)
    assert here.person.email in repr(after)
    assert mark not in repr(after)
