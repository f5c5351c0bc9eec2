"""Whatever is put into a form: the page's own answer comes, nothing is half done, and the right value works next."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from json import dumps
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask

from authn.events import EventKind
from models import TABLES, Event, RecoveryCode, Throttle, User
from tests.support.apps import few_of, left_to_the_sweep
from tests.support.forms import FORMS, URLENCODED, WITH_FIELDS, Site, arrive, bare, still_works
from tests.support.pages import Browser, Form, Page
from tests.support.people import Person, give_password, save_new_code, scan, sign_in, use_recovery_code
from tests.support.tables import count, kinds, known_of, rows

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
)
PHONE = Place("/demo/phone", nobody_yet, lambda p: {"key": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"}, "/demo/phone")
FIELDS = [
    (LOGIN, "email"),
    (CODE, "code"),
    (SETUP, "code"),
    (VERIFY, "code"),
    (RECOVERY, "recovery_code"),
    (PHONE, "key"),
    (LOGIN, "password"),
    (LOGIN, "next"),
    (VERIFY, "password"),
    (PROMPT, "saved"),
    (PROMPT, "shown"),
    (LOST, "still_have"),
    (CHANGE, "current_password"),
    (CHANGE, "new_password"),
]
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


def visits(place: Place, field: str, bads: list[str]) -> list[Any]:
    """One visit for all of them, unless one ends the visit: a pause after five wrong passwords, a step that is done."""
    at_once = 1 if field == "next" else 4 if "password" in field else len(bads)
    groups = [bads[start : start + at_once] for start in range(0, len(bads), at_once)]
    return [pytest.param(place, field, group, id=f"{place.path} {field}: {', '.join(group)}") for group in groups]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, DEMO=True)


@dataclass
class AtForm:
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
def visit(browser: Browser, make_person: Callable[..., Person]) -> Callable[[Place], AtForm]:
    def arrive(place: Place) -> AtForm:
        person = make_person("omar@example.com") if place.enrolled else make_person(NEW, enrolled=False)
        place.arrive(browser, person)
        page, right = browser.get(place.path), place.right(person)
        return AtForm(browser, place, person, page, page.form_with(*right), right)

    return arrive


def state(here: AtForm) -> dict[str, Any]:
    """The cookie, and all rows but the record of what happened and the counts of failures."""
    tables = [table for table in TABLES if table not in (Event, Throttle)]
    return {"cookie": here.browser.cookie(), **{table.__name__: rows(here.browser.app, table) for table in tables}}


def expected(field: str, bad: str) -> int:
    if bad == "JSON":
        return 422
    return 303 if field == "next" else 422  # a bad next is left out


EACH_ONCE = [visit for case in FIELDS for visit in visits(*case, ALL if case == (CODE, "code") else ["missing", "NUL"])]
ALL_IN_ALL = [visit for case in FIELDS for visit in visits(*case, ALL)]


@pytest.mark.parametrize(("place", "field", "bads"), [*EACH_ONCE, *left_to_the_sweep(ALL_IN_ALL)])
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


PLACES = [LOGIN, CODE, SETUP, VERIFY, RECOVERY, PROMPT, LOST, CHANGE, PHONE]


def named(value: Place | str) -> str:
    return value.path if isinstance(value, Place) else value


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


# Of another kind ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", few_of(WITH_FIELDS, "login.password", "login.code", "recovery.prompt"))
def test_a_value_of_another_kind_is_a_field_left_empty(site: Site, endpoint: str) -> None:
    """A list, a file, a JSON document, a number, an index, another encoding."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right:
        data, value = visit.data(), visit.right[field]
        others = {name: other for name, other in data.items() if name != field}
        token = {"X-CSRFToken": data["csrf_token"]}
        for name, kwargs in {
            "missing": {"data": others},
            "a list": {"data": {**others, f"{field}[]": value}},
            "indexed": {"data": {**others, f"{field}[0]": value}},
            "nested": {"data": {**others, f"form[{field}]": value}},
            "upper case": {"data": {**others, field.upper(): value}},
            "with a space": {"data": {**others, f" {field}": value}},
            "after a NUL": {"data": {**others, f"\0{field}": value}},
            "file": {"data": {**others, field: (BytesIO(value.encode()), "right.txt")}},
            "empty first": {"data": {**others, field: ["", value]}},
            "in the address": {"data": others, "query_string": {field: value}},
            "in a header": {"data": others, "headers": {"X-" + field.replace("_", "-"): " ".join(value.split())}},
            "JSON": {"json": visit.right, "headers": token},
            "JSON list": {"json": [visit.right], "headers": token},
            "JSON null": {"json": dict.fromkeys(visit.right), "headers": token},
            "in UTF-16": {"data": urlencode(data).encode("utf-16"), "content_type": URLENCODED, "headers": token},
            "no type": {"data": urlencode(data), "content_type": "", "headers": token},
        }.items():
            if (field, name) == ("groups", "empty first"):  # which means no group
                continue
            answer = bare(visit.browser, visit.path, "POST", **kwargs)
            assert answer.status_code in (400, 422), (field, name)
        assert site.tables(Event, Throttle) == before, field
    assert still_works(site, visit)


# Columns that no form has ---------------------------------------------------------------------------------------------


MARK = "987654321"
CHANGED_USER = {
    "account.password": {"password_hash", "password_changed_at", "browser_generation"},
    "account.revoke_others": {"browser_generation"},
    "security_keys.add": {"key_count", "browser_generation"},
    "security_keys.remove": {"key_count", "browser_generation"},
    "security_keys.only_key": {"only_key"},
    "account.welcome": {"password_hash", "password_changed_at", "browser_generation"},
    "login.code": {"last_sign_in_at"},
    "recovery.prompt": {"last_sign_in_at", "setup_begun_at", "browser_generation"},
    "recovery.finish_without_code": {"last_sign_in_at", "setup_begun_at", "browser_generation"},
    "recovery.lost_device": {"last_sign_in_at", "waiting_since"},
    "account.dismiss_recovery_notice": {"recovery_used_at"},
    "account.dismiss_wrong_codes_notice": {"wrong_codes", "wrong_codes_since"},
    "admin.reset_mfa": {"password_hash", "browser_generation"},
    "admin.change": {"is_active"},
    "admin.groups": {"groups"},
}


@pytest.mark.parametrize("endpoint", few_of(FORMS, "login.password", "login.code", "recovery.challenge", *CHANGED_USER))
def test_no_form_fills_a_column_it_does_not_have(site: Site, endpoint: str) -> None:
    """Every column of every table, sent along with what is right, in the body and the address."""
    visit = arrive(site, endpoint)
    fields = [field for table in TABLES for field in known_of(table).sorted_fields]
    names = {
        name for field in fields for name in (field.name, field.column_name, f"{field.model.__name__}.{field.name}")
    }
    names |= {
        "role",
        "admin",
        "mfa",
        "mfa_verified",
        "second_factor",
        "step",
        "email_verified",
        "RECOVERY_CODES_ENABLED",
    }
    names -= {*visit.right, "csrf_token"}
    assert {"is_admin", "user_id", "retired_at", "last_step", "verified_at", "paused_until"} <= names
    extras = dict.fromkeys(names, MARK) | {"is_active": "", "password_hash": ""}
    before = {row["id"]: row for row in site.rows(User)}
    answer = visit.post({**extras, **visit.data()}, query_string=extras)
    assert answer.status_code in (200, 303)
    assert MARK not in repr(site.tables())
    changed = {name for row in site.rows(User) for name in row if row[name] != before.get(row["id"], row)[name]}
    assert changed == CHANGED_USER.get(endpoint, set())
    if endpoint == "recovery.challenge":
        assert count(site.app, RecoveryCode, RecoveryCode.retired_at.is_null(False)) == 0
    assert EventKind.ADMIN_MADE not in kinds(site.app)
