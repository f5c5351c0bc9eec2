"""What somebody who is not signed in can bring about as often as they like is one row an hour with a count: it cannot
fill the owner's record."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn.events import EventKind
from flows.audit import recorded
from mail import SUBJECTS
from models import Event
from tests.support import acts
from tests.support.apps import few_of
from tests.support.commands import run
from tests.support.forms import Site, bare
from tests.support.pages import Browser, words
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    WELL_FORMED,
    Clock,
    Person,
    full,
    give_password,
    half,
    is_signed_in,
    sign_in,
)
from tests.support.races import at_once
from tests.support.tables import forget_failures

AWAY = "198.51.100.9"


def record_of(site: Site, person: Person | None) -> list[dict[str, Any]]:
    about = site.id_of(person) if person else None
    return [row for row in site.rows(Event) if row["user"] == about]


def wrong_password(browser: Browser, person: Person) -> None:
    assert browser.submit("/login", email=person.email, password="a guess").status == 422


# For nobody -----------------------------------------------------------------------------------------------------------


def a_stale_form(site: Site, browser: Browser) -> None:
    assert browser.open("/logout", "POST", data={"csrf_token": "of another day"}).status == 400


def a_pause(site: Site, browser: Browser) -> None:
    where = "/verify" if is_signed_in(browser) else "/login/code"
    page = browser.get(where)
    typed = {"code": site.omar.wrong_code()} | ({"password": PASSWORD} if where == "/verify" else {})
    assert [browser.send(page, typed).status for _ in range(6)] == [422] * 5 + [429]


def a_code_while_they_are_off(site: Site, browser: Browser) -> None:
    data = browser.get("/").forms[0].fields
    site.switch(False)
    assert browser.open("/login/recovery", "POST", data=data).status == 403
    site.switch(True)


@pytest.mark.parametrize(
    ("refuse", "kind"),
    [
        (a_stale_form, EventKind.REQUEST_REFUSED),
        (a_pause, EventKind.PAUSED),
        (a_code_while_they_are_off, EventKind.RECOVERY_CODE_WHILE_OFF),
    ],
)
def test_what_is_refused_before_somebody_is_signed_in_is_recorded_for_nobody(
    site: Site, clock: Clock, refuse: Callable[[Site, Browser], None], kind: EventKind
) -> None:
    refuse(site, half(site.app, site.omar, AWAY))
    assert [row["remote_addr"] for row in record_of(site, None) if row["kind"] == kind] == [AWAY]
    assert [row for row in record_of(site, site.omar) if row["kind"] == kind] == []
    acts.unlock(site.app, site.omar.email)
    refuse(site, full(site.app, site.omar, clock))
    assert [row["count"] for row in record_of(site, site.omar) if row["kind"] == kind] == [1]


# With the password alone ----------------------------------------------------------------------------------------------


def do_mischief(site: Site, person: Person, browser: Browser, number: int) -> int:
    """All that the password alone can do, once, in yet another browser. How many forms that was."""
    browser.client.environ_base["HTTP_USER_AGENT"] = f"a browser {number}"
    browser.address = f"2001:db8::{number:x}"
    forms, token = 0, browser.get("/login").form_with("email").fields["csrf_token"]

    def post(path: str, **typed: str) -> int:
        nonlocal forms
        forms += 1
        return int(bare(browser, path, "POST", data={"csrf_token": token, **typed}).status_code)

    assert post("/login", email=person.email, password=person.password) == 303
    page = browser.get("/")
    token = page.forms[0].fields["csrf_token"]
    for _ in range(3):
        assert post(page.path, code=person.wrong_code() if person.secret else "000000") == 422
    for code in (WELL_FORMED, f"{number:024}", "x"):
        post("/login/recovery", recovery_code=code)
    for path in (page.path, "/login/recovery", "/logout", "/account/password"):
        assert post(path, csrf_token=f"stale {number}") == 400
    site.app.config["RECOVERY_CODES_ENABLED"] = False
    assert post("/login/recovery", recovery_code=WELL_FORMED) == 403
    site.app.config["RECOVERY_CODES_ENABLED"] = True
    assert post("/logout") == 303
    assert post("/login", email=person.email, password=f"a guess {number}") == 400, "the form is another session's"
    token = browser.get("/login").form_with("email").fields["csrf_token"]
    assert post("/login", email=person.email, password=f"a guess {number}") == 422
    forget_failures(site.app)  # as if no pause kept anybody from going on
    return forms


@pytest.mark.databases
@pytest.mark.parametrize("times", few_of([12, 200], 12))
def test_somebody_with_the_password_alone_adds_few_rows_an_hour_to_the_owners_record(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], clock: Clock, times: int
) -> None:
    """However many forms they send, and whatever their browser calls itself."""
    site = Site(make_app, make_person, ADDRESS_LIMIT=0)
    maya, own = site.person("maya@example.com", enrolled=False), full(site.app, site.omar, clock)
    before, browser, forms = len(site.rows(Event)), Browser(site.app), 0
    for person, only in (
        (site.omar, "code_wrong recovery_code_wrong password_known"),
        (maya, "enrollment_started enrollment_code_wrong"),
    ):
        theirs = len(record_of(site, person))
        forms += sum(do_mischief(site, person, browser, number) for number in range(times))
        added = record_of(site, person)[theirs:]
        assert sorted(row["kind"] for row in added) == sorted(
            f"password_right password_wrong signed_out {only}".split()
        )
        assert min(row["count"] for row in added if row["kind"] != "password_known") >= times
    assert forms >= 28 * times
    assert len(site.rows(Event)) - before < 20
    recent = [words(cell) for cell in own.get("/account").all("td") if cell.get("class") == "col-what"]
    assert {"Signed in", f"Right password ({times} times)"} <= set(recent)
    assert len(recent) <= 10


# What is one row ------------------------------------------------------------------------------------------------------


def counts(site: Site, kind: EventKind) -> list[int]:
    return [row["count"] for row in site.rows(Event) if row["kind"] == kind]


def test_another_hour_network_or_person_is_another_row(site: Site, clock: Clock) -> None:
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        wrong_password(Browser(site.app, address), site.omar)
    assert counts(site, EventKind.PASSWORD_WRONG) == [2, 1]
    wrong_password(Browser(site.app, "2001:db8::1"), site.ines)
    assert counts(site, EventKind.PASSWORD_WRONG) == [2, 1, 1]
    clock.pass_by(3600 - clock.now % 3600 - 1)
    wrong_password(Browser(site.app, "2001:db8::3"), site.omar)
    clock.pass_by(1)
    wrong_password(Browser(site.app, "2001:db8::3"), site.omar)
    assert counts(site, EventKind.PASSWORD_WRONG) == [3, 1, 1, 1]


def test_what_only_the_owner_or_an_admin_can_do_is_a_row_each_time(site: Site, clock: Clock) -> None:
    own = full(site.app, site.omar, clock)
    for old, new in ((PASSWORD, NEW_PASSWORD), (NEW_PASSWORD, PASSWORD)):
        own.submit("/account/password", current_password=old, new_password=new)
    assert counts(site, EventKind.PASSWORD_CHANGED) == [1, 1]
    sign_in(Browser(site.app), site.omar)
    assert counts(site, EventKind.SIGNED_IN) == [1, 1]
    for _ in range(2):
        acts.reset(site.app, site.omar.email)
    assert counts(site, EventKind.MFA_RESET) == [1, 1]


@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_is_mailed_is_a_row_each_time(site: Site, kind: EventKind) -> None:
    for _ in range(2):
        acts.record(site.app, kind, site.omar.email)
    assert counts(site, kind) == [1, 1]


def test_the_count_is_told_on_pages_by_the_command_and_to_receivers(site: Site, clock: Clock) -> None:
    own, told = full(site.app, site.omar, clock), list[tuple[str, int]]()

    def receive(_store: Any, event: Event) -> None:
        told.append((event.kind, event.count))

    with recorded.connected_to(receive, site.app.extensions["store"]):
        for _ in range(3):
            wrong_password(Browser(site.app, AWAY), site.omar)
    assert told == [(EventKind.PASSWORD_WRONG, count) for count in (1, 2, 3)]
    sign_in(admin := Browser(site.app), site.ines)
    for page in (own.get("/account"), own.get("/account/activity"), admin.get("/admin/audit")):
        assert "Wrong password (3 times)" in page.text
        assert "Signed in (" not in page.text
    assert f"{site.omar.email}: Wrong password (3 times), from {AWAY}\n" in run(site.app, "events").stdout
    facts = [json.loads(line) for line in run(site.app, "events", "--json").stdout.splitlines()]
    assert [fact["count"] for fact in facts if fact["event"] == EventKind.PASSWORD_WRONG] == [3]


@pytest.mark.databases
def test_events_at_one_moment_are_all_counted_and_keep_nobody_waiting(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], clock: Clock, rounds: int
) -> None:
    """Of one person, from one network: right and wrong passwords, codes, setups and sign-outs, each in a transaction
    of its own."""
    site = Site(make_app, make_person, ADDRESS_LIMIT=0)
    maya = site.person("maya@example.com", enrolled=False)
    for number in range(1, rounds + 1):
        setups, halves = [Browser(site.app) for _ in range(4)], [half(site.app, site.omar) for _ in range(4)]
        for browser in setups:
            give_password(browser, maya)
        leaving, typing = halves[:2], [(browser, browser.get("/login/recovery")) for browser in halves[2:]]
        pages = [(browser, browser.get("/mfa/setup")) for browser in setups]
        doors = [(browser, browser.get("/login")) for browser in (Browser(site.app), Browser(site.app))]
        exits = [(browser, browser.get("/login/code")) for browser in leaving]
        right = {"email": maya.email, "password": maya.password}
        answers = at_once(
            [
                *[partial(browser.send, page, {"code": "000000"}) for browser, page in pages],
                *[partial(browser.send, page, right) for browser, page in doors],
                *[partial(browser.send, page, {"recovery_code": WELL_FORMED}) for browser, page in typing],
                *[partial(browser.press, page, "Sign in as someone else") for browser, page in exits],
            ]
        )
        assert [answer.status for answer in answers] == [422] * 4 + [303] * 2 + [422] * 2 + [200] * 2
        forget_failures(site.app)
        assert counts(site, EventKind.ENROLLMENT_CODE_WRONG) == [4 * number]
        assert counts(site, EventKind.RECOVERY_CODE_WRONG) == [2 * number]
        assert counts(site, EventKind.SIGNED_OUT) == [2 * number]
        assert counts(site, EventKind.PASSWORD_RIGHT) == [4 * number, 6 * number]
