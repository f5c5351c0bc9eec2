"""Where somebody wanted to go: after the last step that page of this site opens, or else the account page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from models import Session
from tests.support.apps import left_to_the_sweep
from tests.support.forms import Site
from tests.support.pages import Browser, Page
from tests.support.people import PASSWORD, Clock, Person, give_password, scan, shown_code, sign_in
from tests.support.tables import rows

CASES = json.loads(Path(__file__).with_name("next_payloads.json").read_text(encoding="utf-8"))


def is_local(location: str) -> bool:
    """Whether every browser reads it as a path of this site."""
    return bool(re.fullmatch(r"/[!-\[\]-~]*", location)) and "//" not in location and "evil" not in location


class WatchfulBrowser(Browser):
    """Looks at every Location it is given."""

    def open(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        page = super().open(path, method, **kwargs)
        assert is_local(page.headers.get("Location", "/")), (path, page.headers["Location"])
        return page


@pytest.fixture
def browser(app: Flask) -> Browser:
    return WatchfulBrowser(app)


@pytest.mark.parametrize("payload", [case["next"] for case in CASES if case["offsite"]])
def test_the_look_at_a_location_tells_what_leads_away(payload: str) -> None:
    assert not is_local(payload)


PAYLOADS = [case["next"] for case in CASES]
GOOD = ["/account", "/account?x=1#y", "/account/recovery-code"]
IN_HTML = [payload for payload in PAYLOADS if not re.search("[\0\1\x85]", payload)]  # what a page can repeat


def by_address(browser: Browser, person: Person, wanted: str) -> Page:
    """Give the password on the page with ?next=."""
    page = browser.get(login(wanted))
    return browser.submit(page, email=person.email, password=person.password)


def by_field(browser: Browser, person: Person, wanted: str) -> Page:
    return browser.submit("/login", email=person.email, password=person.password, next=wanted)


def login(wanted: str) -> str:
    return f"/login?{urlencode({'next': wanted})}"


def end_of_sign_in(browser: Browser, person: Person, start: Callable[..., Page], wanted: str) -> Page:
    return browser.send(start(browser, person, wanted), {"code": person.code()})


def where(page: Page) -> str:
    """Where the page sends the browser, without the notice to be shown there."""
    assert page.status == 303
    return re.sub(r"[?&]notice=[a-z-]+", "", page.headers["Location"])


def opened(payload: str) -> str:
    return payload if payload in GOOD else "/account"


@pytest.mark.parametrize(
    ("start", "payloads"),
    [(by_address, IN_HTML[::6]), (by_field, PAYLOADS), *left_to_the_sweep([(by_address, IN_HTML)])],
)
def test_a_sign_in_ends_on_this_site_whatever_next_says(app, omar, clock, start, payloads) -> None:
    for payload in payloads:
        browser = WatchfulBrowser(app)
        assert where(end_of_sign_in(browser, omar, start, payload)) == opened(payload), payload
        clock.pass_by(30)


def by_both(browser: Browser, person: Person, wanted: str) -> Page:
    data = {**browser.get("/login").form_with("next").fields, "email": person.email, "password": person.password}
    return browser.follow(browser.open(login(wanted), method="POST", data={**data, "next": wanted}))


def test_what_cannot_be_seen_is_not_shown_again(browser: Browser, omar: Person) -> None:
    page = browser.submit("/login", email=omar.email, password="not it", next="/a\0b\x1b\x7f\x85\ufffec")
    assert page.status == 422
    assert all(character.isprintable() or character == "\n" for character in page.text)
    assert page.form_with("password").fields["next"] == "/a b    c"
    assert browser.submit(page, email=omar.email, password=PASSWORD).h1 == "Enter your code"


def end_of_enrollment(browser: Browser, person: Person, start: Callable[..., Page], wanted: str) -> Page:
    page = start(browser, person, wanted)
    page = browser.submit(page, code=scan(page, person).code())
    return browser.send(page, {"saved": "yes"})


@pytest.mark.parametrize("payloads", [PAYLOADS[::6], *left_to_the_sweep([PAYLOADS])])
def test_an_enrollment_ends_on_this_site_whatever_next_says(app, make_person, payloads) -> None:
    for number, payload in enumerate(payloads):
        person = make_person(f"maya{number}@example.com", enrolled=False)
        page = end_of_enrollment(WatchfulBrowser(app), person, by_both, payload)
        assert where(page) == opened(payload), payload


def end_of_recovery(browser: Browser, person: Person, start: Callable[..., Page], wanted: str) -> Page:
    start(browser, person, wanted)
    page = browser.submit("/login/recovery", recovery_code=person.recovery_code)
    person.recovery_code = shown_code(page)
    return browser.send(browser.submit(page, saved="yes"), {"still_have": "yes"})


@pytest.mark.parametrize("payloads", [PAYLOADS[::6], *left_to_the_sweep([PAYLOADS])])
def test_a_recovery_sign_in_ends_on_this_site_whatever_next_says(app, omar, payloads) -> None:
    for payload in payloads:
        assert where(end_of_recovery(WatchfulBrowser(app), omar, by_both, payload)) == opened(payload), payload


def test_confirming_who_you_are_ends_on_this_site_whatever_next_says(browser, omar, clock) -> None:
    sign_in(browser, omar)
    for payload in PAYLOADS:
        clock.pass_by(30)
        page = browser.open(f"/verify?{urlencode({'next': payload})}")
        fields = {**page.form_with("password").fields, "password": omar.password, "code": omar.code()}
        assert where(browser.open(page.url, method="POST", data={**fields, "next": "//evil.test"})) == opened(payload)


def test_the_sign_in_page_sends_whoever_is_past_it_to_what_is_due(browser, omar) -> None:
    give_password(browser, omar)
    assert {where(browser.open(login(payload))) for payload in PAYLOADS} == {"/login/code"}
    browser.submit("/login/code", code=omar.code())
    assert {where(browser.open(login(payload))) for payload in PAYLOADS} == {"/account", "/account?x=1#y"}


@pytest.mark.parametrize("wanted", GOOD)
@pytest.mark.parametrize("start", [by_address, by_field])
def test_a_page_of_this_site_is_opened_at_the_end(app, make_person, omar, clock, start, wanted) -> None:
    maya = make_person("maya@example.com", enrolled=False)
    assert where(end_of_sign_in(WatchfulBrowser(app), omar, start, wanted)) == wanted
    assert where(end_of_enrollment(WatchfulBrowser(app), maya, start, wanted)) == wanted
    browser = WatchfulBrowser(app)
    page = end_of_recovery(browser, omar, start, wanted)
    assert where(page) == wanted
    assert browser.follow(page).status == 200


def test_what_cannot_be_opened_falls_back_to_the_account_page(app, omar, clock) -> None:
    for path in ("/logout", "/mfa/finish", "/login", "/nothing", "/account/", "/static/app.css", "/%61ccount"):
        assert where(end_of_sign_in(WatchfulBrowser(app), omar, by_field, path)) == "/account", path
        clock.pass_by(30)
    assert where(end_of_sign_in(WatchfulBrowser(app), omar, by_field, "/account/recovery-code")) != "/account"


def test_an_odd_query_is_as_good_as_none(app, omar, clock) -> None:
    for query in (
        "next=%FF",
        "next=/account%FF",
        "next=%ED%A0%80",
        "next=/%C0%AFevil.test",
        "next=%2F%2Fevil.test",
        "next=/account%0D%0ASet-Cookie:%20x=1",
        f"next=/{'a' * 10_000}",
        "next=//evil.test&next=/account/recovery-code",
        "next[]=//evil.test",
    ):
        browser = WatchfulBrowser(app)
        page = browser.submit(f"/login?{query}", email=omar.email, password=omar.password)
        assert where(browser.send(page, {"code": omar.code()})) == "/account", query
        clock.pass_by(30)


def test_it_is_kept_over_slips_wrong_tries_and_changes_of_mind(browser, omar) -> None:
    page = browser.get(login("/account?x=1#y"))
    page = browser.submit(page, email=omar.email, password="")
    page = browser.submit(page, email=omar.email, password="another one")
    page = browser.submit(page, email=omar.email, password=omar.password)
    page = browser.submit(page, code="12")
    page = browser.submit(page, code=omar.wrong_code())
    browser.submit("/login/recovery", recovery_code="7F3K")
    browser.get(login("/account/recovery-code"))
    assert where(browser.send(browser.get("/login/code"), {"code": omar.code()})) == "/account?x=1#y"


def test_the_page_that_a_stranger_asked_for_opens_once_they_are_signed_in(browser, omar) -> None:
    page = browser.get("/account?x=1")
    assert (page.path, page.notice) == ("/login", "Sign in to see that page.")
    page = browser.submit(page, email=omar.email, password=omar.password)
    assert where(browser.send(page, {"code": omar.code()})) == "/account?x=1"


@pytest.mark.parametrize("asked_for", ["/account?//evil.test", "/account?x=/\\evil.test", "/account?x=%0A//evil.test"])
def test_nothing_odd_is_kept_of_what_a_stranger_asked_for(browser, omar, asked_for) -> None:
    page = browser.submit(browser.get(asked_for), email=omar.email, password=omar.password)
    assert where(browser.send(page, {"code": omar.code()})) == "/account"


def test_a_page_that_asks_who_you_are_opens_once_you_have_said_so(browser, omar, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(600)
    page = browser.get("/account/recovery-code")
    assert page.path == "/verify"
    page = browser.submit(page, password="another one", code=omar.code())
    page = browser.submit(page, password=omar.password, code=omar.code())
    assert (page.path, page.status) == ("/account/recovery-code", 200)


def test_it_is_checked_at_the_start_and_again_at_the_end(app, browser, omar) -> None:
    by_both(browser, omar, "//evil.test")
    assert [row["next_path"] for row in rows(app, Session)] == [""]
    with app.app_context():
        Session.update(next_path="//evil.test").execute()
    assert where(browser.send(browser.get("/login/code"), {"code": omar.code()})) == "/account"


@pytest.mark.parametrize(("body", "end"), [(GOOD[2], GOOD[2]), ("//evil.test", "/account"), ("", "/account")])
def test_the_first_in_the_form_counts(browser, omar, body: str, end: str) -> None:
    fields = browser.get("/login").form_with("next").fields
    data = {**fields, "email": omar.email, "password": omar.password, "next": [body, "/account?x=1"]}
    page = browser.follow(browser.open(login("/account?x=2"), method="POST", data=data))
    assert where(browser.send(page, {"code": omar.code()})) == end


def test_signing_out_leads_to_the_sign_in_page_whatever_next_says(browser, omar) -> None:
    sign_in(browser, omar)
    fields = next(form for form in browser.get("/account").forms if form.action == "/logout").fields
    answer = browser.open(f"/logout?{urlencode({'next': '//evil.test'})}", method="POST", data=fields)
    assert answer.headers["Location"] == "/login?notice=signed-out"


@pytest.mark.parametrize(
    ("wanted", "end"),
    [
        ("/verify?next=%2f%2fevil.test", "/account"),
        ("/verify?next=/verify%3Fnext%3Dhttps:evil.test", "/verify?next=https:evil.test"),
        ("/verify?next=/account/activity", "/account/activity"),
    ],
)
def test_a_next_inside_a_next_ends_on_this_site(site: Site, clock: Clock, wanted: str, end: str) -> None:
    """The first is a page of ours; what it carries is looked at when it is followed."""
    browser = Browser(site.app)
    page = browser.get(f"/login?{urlencode({'next': wanted})}")
    page = browser.submit(page, email=site.omar.email, password=PASSWORD)
    page = browser.submit(page, code=site.omar.code())
    assert page.url == wanted
    clock.pass_by(30)
    assert browser.send(page, {"password": PASSWORD, "code": site.omar.code()}).headers["Location"] == end


def test_a_next_slipped_in_at_a_later_step_is_not_followed(site: Site) -> None:
    """It is fixed with the password; what is sent along with the code is not looked at."""
    browser = Browser(site.app)
    page = give_password(browser, site.omar, "/account/activity")
    evil = {"next": "//evil.test", "next_path": "//evil.test", "notice": "//evil.test"}
    data = {**page.form_with("code").fields, "code": site.omar.code(), **evil}
    answer = browser.open(f"/login/code?{urlencode(evil)}", "POST", data=data)
    assert answer.headers["Location"] == "/account/activity"


def test_of_several_tabs_at_the_sign_in_each_leads_to_its_own_page(browser: Browser, omar: Person) -> None:
    """Whoever has signed in in one of them is signed in in all. Half a sign-in leads to what is due."""
    half = give_password(browser, omar)
    assert browser.get("/login?next=/account/activity").path == "/login/code"
    browser.submit(half, code=omar.code())
    for path, page in {"/account/activity": "Activity", "//evil.test": "Security", "": "Security"}.items():
        assert browser.get(f"/login?next={path}").h1 == page
