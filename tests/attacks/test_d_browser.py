"""What other sites, shared caches, proxies and windows can do through somebody's browser: forged forms, framing, open
redirects, script injection, kept pages, leaked addresses, forged hosts, odd verbs."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from json import dumps
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from flask import Flask

from blueprints import signin
from models import Event, Kind, Session
from tests.support import acts
from tests.support.apps import KEY, ROOT
from tests.support.forms import (
    FORMS,
    URLENCODED,
    Site,
    Visit,
    _code,
    _lost_device,
    _new_code,
    _prompt,
    _setup,
    arrive,
    bare,
)
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import kinds, rows

pytestmark = pytest.mark.pages

OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
STALE = "This page was open too long"


# Every form that changes something ------------------------------------------------------------------------------------


@pytest.fixture
def site(make_app: Callable[..., Flask], make_person: Callable[..., Person]) -> Site:
    return Site(make_app, make_person)


def test_every_form_that_is_posted_is_attacked_below(site: Site) -> None:
    """D36, WEB-1. A new view that takes a POST must be added to the table."""
    assert set(FORMS) == {rule.endpoint for rule in site.app.url_map.iter_rules() if "POST" in (rule.methods or ())}


# Forged forms ---------------------------------------------------------------------------------------------------------


def _without(data: dict[str, str], **others: str) -> dict[str, str]:
    return {name: value for name, value in {**data, **others}.items() if name != "csrf_token"}


def _with_header(name: str, value: str) -> Callable[[Visit, dict[str, str]], Any]:
    return lambda visit, data: visit.post(data, headers={name: value})


def _with_token_of_another(visit: Visit, data: dict[str, str]) -> Any:
    theirs = Browser(visit.browser.app).open("/login").forms[0].fields["csrf_token"]
    return visit.post({**data, "csrf_token": theirs})


def _with_token_in_a_cookie(visit: Visit, data: dict[str, str]) -> Any:
    visit.browser.client.set_cookie("csrf_token", data["csrf_token"])
    return visit.post(_without(data))


FORGERIES: dict[str, Callable[[Visit, dict[str, str]], Any]] = {
    "no token": lambda visit, data: visit.post(_without(data)),
    "an empty token": lambda visit, data: visit.post({**data, "csrf_token": ""}),
    "half a token": lambda visit, data: visit.post({**data, "csrf_token": data["csrf_token"][:-2]}),
    "another session's token": _with_token_of_another,
    "an old token": lambda visit, data: visit.post({**data, "csrf_token": visit.old}),
    "an old token in the header": lambda visit, data: visit.post(_without(data), headers={"X-CSRFToken": visit.old}),
    "the token in the address": lambda visit, data: visit.post(_without(data), query_string=data),
    "the token in a cookie": _with_token_in_a_cookie,
    "JSON": lambda visit, data: visit.post(dumps(data), content_type="application/json"),
    "JSON sent as a form can": lambda visit, data: visit.post(dumps(data), content_type="text/plain"),
    "plain text": lambda visit, data: visit.post(urlencode(data), content_type="text/plain"),
    "said to be a GET": lambda visit, data: visit.post(
        _without(data, _method="GET"), headers=dict.fromkeys(OVERRIDES, "GET")
    ),
    **{
        f"Sec-Fetch-Site: {value}": _with_header("Sec-Fetch-Site", value)
        for value in ("cross-site", "same-site", "CROSS-SITE", "same-origin, cross-site", "")
    },
    **{
        f"Origin: {value}": _with_header("Origin", value)
        for value in (
            *("null", "https://evil.test", "http://localhost.evil.test", "http://evil.test#localhost"),
            *("http://localhost:81", "http://127.0.0.1", "http://localhost@evil.test", "localhost", ""),
        )
    },
}


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_forged_form_changes_nothing_and_is_recorded(site: Site, endpoint: str) -> None:
    """D36, WEB-1, WEB-2, WEB-4, LO-2. On every form; then the same form, sent by the page itself, does its work."""
    visit = arrive(site, endpoint)
    before = site.tables(Event)
    data, happened = visit.data(), kinds(site.app)
    for name, forge in FORGERIES.items():
        answer = forge(visit, data)
        assert (answer.status_code, STALE in answer.text) == (400, True), name
        assert "Set-Cookie" not in answer.headers, name
    assert site.tables(Event) == before
    assert kinds(site.app) == [*happened, *[Kind.REQUEST_REFUSED] * len(FORGERIES)]

    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost", "Referer": "http://localhost/"}
    refused = site.tables()
    assert visit.send(data, headers=own).status in (200, 303)
    assert (site.tables() != refused) == (endpoint != "demo.phone")


@pytest.mark.parametrize("endpoint", FORMS)
def test_no_link_or_picture_does_what_a_form_does(site: Site, endpoint: str) -> None:
    """D38, WEB-3. Enrolling, replacing, revoking, saving, resetting: a GET with everything a form would send."""
    visit = arrive(site, endpoint)
    data, before = visit.data(), site.tables()
    for kwargs in (
        {},
        {"headers": dict.fromkeys(OVERRIDES, "POST")},
        {"data": urlencode(data), "content_type": URLENCODED, "headers": dict.fromkeys(OVERRIDES, "POST")},
        {"headers": {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}},
    ):
        for method in ("GET", "HEAD"):
            answer = bare(visit.browser, visit.path, method, query_string={**data, "_method": "POST"}, **kwargs)
            assert answer.status_code in (200, 303, 405)
    assert site.tables() == before
    assert visit.send(data).status in (200, 303)
    assert (site.tables() != before) == (endpoint != "demo.phone")


def test_another_site_signs_nobody_out(site: Site) -> None:
    """D37, WEB-2, WEB-3, SE-14. By a link, a picture, a form without a token, or a form with the attacker's token."""
    browser, attacker = Browser(site.app), Browser(site.app)
    page = sign_in(browser, site.omar)
    theirs = attacker.open("/login").forms[0].fields
    for method, data in (("GET", None), ("HEAD", None), ("POST", None), ("POST", theirs)):
        assert bare(browser, "/logout", method, data=data).status_code in (400, 405)
        assert is_signed_in(browser)
    assert browser.press(page, "Sign out").notice == "You're signed out."
    assert not is_signed_in(browser)


@pytest.mark.parametrize("where", ["a stranger", "half signed in", "signed in"])
def test_another_site_signs_nobody_in_as_the_attacker(site: Site, where: str) -> None:
    """D37, WEB-2. So the victim cannot be made to enrol or store things in the attacker's account; even somebody who
    sends the form by hand stays who they are until they sign out."""
    attacker, browser = site.person("eve@example.com"), Browser(site.app)
    stolen = Browser(site.app).open("/login").forms[0].fields
    if where != "a stranger":
        give_password(browser, site.omar)
    if where == "signed in":
        browser.submit("/login/code", code=site.omar.code())
    before, cookie = site.rows(Session), browser.cookie()
    theirs = {"email": attacker.email, "password": attacker.password}
    for kwargs in ({}, {"headers": {"Sec-Fetch-Site": "cross-site"}}, {"headers": {"Origin": "https://evil.test"}}):
        assert browser.open("/login", "POST", data={**stolen, **theirs}, **kwargs).status == 400
        assert (site.rows(Session), browser.cookie()) == (before, cookie)
    page = browser.get("/")
    by_hand = browser.open("/login", "POST", data={**theirs, "csrf_token": page.forms[0].fields["csrf_token"]})
    assert by_hand.status == 303
    shown = browser.get("/").text
    assert (attacker.email in shown) == (where == "a stranger")
    assert (site.omar.email in shown) == (where != "a stranger")


# Headers --------------------------------------------------------------------------------------------------------------

PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


class World:
    """A site on https, and the ways to be answered with each status."""

    def __init__(self, site: Site) -> None:
        self.site, self.browser = site, Browser(site.app, base_url="https://app.test")

    def wrong(self) -> Page:
        return self.browser.submit("/login", email="nobody@example.com", password="a guess")

    def paused(self) -> Page:
        for _ in range(5):
            self.wrong()
        return self.wrong()

    def admin_page(self) -> Page:
        sign_in(self.browser, self.site.omar)
        return self.browser.open("/admin/people")

    def off(self) -> Page:
        self.site.switch(False)
        return self.browser.open("/login/recovery")

    def slip(self) -> Page:
        sign_in(self.browser, self.site.omar)
        self.browser.press(self.browser.get("/account/recovery-code"), "Make a new code")
        return self.browser.open("/mfa/recovery-code.txt")

    def broken(self) -> Page:
        def view() -> str:
            raise LookupError("nobody foresaw this")

        self.site.app.add_url_rule("/broken", "broken", signin.public(view))
        return self.browser.open("/broken")

    def away(self) -> Page:
        database = self.site.app.extensions["store"].database
        with self.site.app.app_context():
            database.execute_sql("ALTER TABLE schema_migration RENAME TO elsewhere")
        try:
            return self.browser.open("/healthz")
        finally:
            with self.site.app.app_context():
                database.execute_sql("ALTER TABLE elsewhere RENAME TO schema_migration")

    def not_modified(self) -> Page:
        etag = self.browser.open("/static/app.css", buffered=True).headers["ETag"]
        return self.browser.open("/static/app.css", headers={"If-None-Match": etag}, buffered=True)

    def opens(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        return self.browser.open(path, method, buffered=True, **kwargs)


STATIC = "/static/app.css"
ANSWERS: dict[str, tuple[int, Callable[[World], Page]]] = {
    "page": (200, lambda world: world.opens("/login")),
    "health": (200, lambda world: world.opens("/healthz")),
    "signed in": (200, lambda world: sign_in(world.browser, world.site.omar)),
    "slip": (200, World.slip),
    "redirect": (303, lambda world: world.opens("/account")),
    "forged": (400, lambda world: world.opens("/login", "POST")),
    "other host": (400, lambda world: world.opens("/login", headers={"Host": "evil.test"})),
    "no host": (400, lambda world: world.opens("/login", headers={"Host": "[::1"})),
    "codes off": (403, World.off),
    "no admin": (403, World.admin_page),
    "no page": (404, lambda world: world.opens("/nowhere")),
    "no link": (404, lambda world: world.opens("/welcome/nobody-has-this")),
    "wrong verb": (405, lambda world: world.opens("/logout")),
    "too much": (413, lambda world: world.opens("/login", "POST", data={"email": "x" * 70_000})),
    "wrong": (422, World.wrong),
    "paused": (429, World.paused),
    "broken": (500, World.broken),
    "away": (503, World.away),
    "file": (200, lambda world: world.opens(STATIC)),
    "part of a file": (206, lambda world: world.opens(STATIC, headers={"Range": "bytes=0-9"})),
    "file known": (304, World.not_modified),
    "no file": (404, lambda world: world.opens("/static/app.css.map")),
    "wrong verb for a file": (405, lambda world: world.opens(STATIC, "POST")),
    "no such part": (416, lambda world: world.opens(STATIC, headers={"Range": "bytes=999999-"})),
}


def policy_of(page: Page) -> dict[str, str]:
    (policy,) = page.headers.getlist("Content-Security-Policy")
    return dict(directive.strip().split(" ", 1) for directive in policy.split(";"))


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_can_be_framed_sniffed_kept_or_reached_from_another_window(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], answer: str
) -> None:
    """D39, WEB-5, WEB-6, WEB-7, WEB-8, WEB-9, WEB-10, WEB-11. Whatever its status; each header once."""
    config = {"DEMO": False, "SITE_URL": "https://app.test", "PROPAGATE_EXCEPTIONS": False}
    status, ask = ANSWERS[answer]
    page = ask(World(Site(make_app, make_person, **config)))
    assert page.status == status
    assert policy_of(page) == POLICY
    for name, value in PAGE_HEADERS.items():
        assert page.headers.getlist(name) == [value], name
    (hsts,) = page.headers.getlist("Strict-Transport-Security")
    assert int(re.findall(r"max-age=(\d+)", hsts)[0]) >= 31536000
    assert "includeSubDomains" in hsts
    kept = "file" in answer and status < 400
    assert page.headers.getlist("Cache-Control") == (["no-cache"] if kept else ["no-store"])
    assert page.headers.get("Content-Type", "text/; charset").startswith("text/")
    assert "charset" in page.headers.get("Content-Type", "charset")
    assert not {"Server", "X-Powered-By", "Access-Control-Allow-Origin"} & {name for name, _ in page.headers}


def test_plain_http_promises_no_https(site: Site) -> None:
    """D39, WEB-7. On this machine a promise of https would lock people out of every local site."""
    assert "Strict-Transport-Security" not in Browser(site.app).open("/login").headers


# Redirects ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "referer",
    [
        *("https://evil.test//evil.test/x", "https://evil.test/\\evil.test", "//evil.test", "https://evil.test/logout"),
        *("http://localhost/login", "http://localhost/%2f%2fevil.test", "http://localhost/nothing", "http://[evil", ""),
    ],
)
def test_where_a_stale_form_came_from_leads_nowhere_else(site: Site, clock: Clock, referer: str) -> None:
    """D40, WEB-14. "Confirm it's you" goes back by the Referer, which another site could choose."""
    visit = arrive(site, "account.new_recovery_code")
    clock.pass_by(601)
    answer = visit.send(headers={"Referer": referer})
    location = urlsplit(answer.headers["Location"])
    assert (answer.status, location.netloc, location.path) == (303, "", "/verify")
    assert parse_qs(location.query) == {"next": [visit.path]}
    page = visit.browser.submit(visit.browser.follow(answer), password=PASSWORD, code=site.omar.code())
    assert (page.path, page.status) == (visit.path, 200)


@pytest.mark.parametrize(
    ("wanted", "end"),
    [
        ("/verify?next=%2f%2fevil.test", "/account"),
        ("/verify?next=/verify%3Fnext%3Dhttps:evil.test", "/verify?next=https:evil.test"),
        ("/verify?next=/account/activity", "/account/activity"),
    ],
)
def test_a_next_inside_a_next_ends_on_this_site(site: Site, clock: Clock, wanted: str, end: str) -> None:
    """D40, WEB-14. The first is a page of ours; what it carries is looked at when it is followed."""
    browser = Browser(site.app)
    page = browser.get(f"/login?{urlencode({'next': wanted})}")
    page = browser.submit(page, email=site.omar.email, password=PASSWORD)
    page = browser.submit(page, code=site.omar.code())
    assert page.url == wanted
    clock.pass_by(30)
    assert browser.send(page, {"password": PASSWORD, "code": site.omar.code()}).headers["Location"] == end


def test_a_next_slipped_in_at_a_later_step_is_not_followed(site: Site) -> None:
    """D40, WEB-14, WEB-18. It is fixed with the password; what is sent along with the code is not looked at."""
    browser = Browser(site.app)
    page = give_password(browser, site.omar, "/account/activity")
    evil = {"next": "//evil.test", "next_path": "//evil.test", "notice": "//evil.test"}
    data = {**page.form_with("code").fields, "code": site.omar.code(), **evil}
    answer = browser.open(f"/login/code?{urlencode(evil)}", "POST", data=data)
    assert answer.headers["Location"] == "/account/activity"


# Injection ------------------------------------------------------------------------------------------------------------

NASTY = """"'><img src=x onerror=alert(1)><script>alert(2)</script>{{'a'*9}}${'a'*9}{%25}&lt;"""
ADDRESS = """"'><img/src=x/onerror=alert(1)>{{'a'*9}}@example.com"""
EVALUATED = "aaaaaaaaa"


def inert(page: Page, typed: str = "") -> Page:
    """The page, which holds nothing but its own markup, and shows what was typed as it was typed."""
    for element in page.tree.iter():
        assert element.tag not in ("img", "iframe", "object", "embed", "base", "style")
        assert element.tag != "script" or (element.get("src", "").startswith("/static/") and not element.text)
        assert not [name for name in element.attrib if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            assert element.get(name, "/").startswith(("/", "#", "otpauth://totp/"))
    assert EVALUATED not in page.raw
    assert " ".join(typed.split()) in page.text + "".join(i.get("value", "") for i in page.all("input"))
    return page


def test_what_people_type_is_shown_as_text_on_every_page(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], clock: Clock
) -> None:
    """D41, WEB-16. Address, browser, proxy's address, reason, next and setup key, to the person and to admins."""
    site = Site(make_app, make_person, SITE_NAME=NASTY, SUPPORT_CONTACT=NASTY, TRUSTED_PROXIES=1)
    eve, browser = site.person(ADDRESS, enrolled=False), Browser(site.app)
    browser.client.environ_base |= {"HTTP_USER_AGENT": f"Firefox/{NASTY}", "HTTP_X_FORWARDED_FOR": NASTY[:40]}

    page = inert(browser.get(f"/login?{urlencode({'next': NASTY, 'notice': NASTY})}"), NASTY)
    page = inert(browser.submit(page, email=ADDRESS, password=NASTY, next=NASTY), ADDRESS)
    page = inert(browser.submit("/demo/phone", key=NASTY), NASTY)
    page = inert(give_password(browser, eve), ADDRESS)
    (uri,) = [link for link in page.links if link.startswith("otpauth:")]
    label, query = urlsplit(uri).path[1:], parse_qs(urlsplit(uri).query)
    assert (unquote(label), query["issuer"]) == (f"{NASTY}:{ADDRESS}", [NASTY])
    assert set(query) == {"secret", "issuer"}
    assert not re.search("[\"'<>{ ]", uri)
    inert(browser.submit(page, code=NASTY), NASTY)
    page = inert(browser.submit(page, code=scan(page, eve).code()), ADDRESS)
    slip = browser.open("/mfa/recovery-code.txt")
    assert slip.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="?[a-z0-9.-]+\.txt"?', slip.headers["Content-Disposition"])
    page = inert(save_new_code(browser, page, eve), ADDRESS)
    assert NASTY[:40] in page.text
    for path in ("/account/activity", f"/nothing/{NASTY}", "/admin/people", "/account?notice={{'a'*9}}"):
        inert(browser.get(path), NASTY)

    clock.pass_by(30)
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    reset = f"/admin/people/{site.id_of(eve)}/reset-mfa"
    inert(admin.submit(reset, reason=NASTY * 3), NASTY * 3)
    inert(admin.submit(reset, reason=NASTY), ADDRESS)
    inert(admin.get("/admin/people"), ADDRESS)
    page = inert(admin.get(f"/admin/audit?person={site.id_of(eve)}"), f"Authenticator reset ({NASTY})")
    assert NASTY[:40] in page.text
    inert(admin.get("/account/password"), NASTY)
    inert(admin.get(f"/admin/people?after={ADDRESS}"))


# Kept pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{"If-None-Match": "*"}, {"If-Modified-Since": "Fri, 31 Dec 2100 00:00:00 GMT"}])
@pytest.mark.parametrize("path", ["/account", "/mfa/setup", "/mfa/recovery-code", "/mfa/recovery-code.txt"])
def test_a_private_page_is_never_answered_from_a_cache(site: Site, path: str, known: dict[str, str]) -> None:
    """D42, WEB-11, RC-15. No validator to compare, no "not modified", and nothing to be had in parts."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    whole = browser.open(path)
    for headers in (known, {"Range": "bytes=0-9"}, {"Range": "bytes=0-9", "If-Range": "*"}):
        answer = browser.open(path, headers=headers)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        assert len(answer.raw) == len(whole.raw)
        assert not {"ETag", "Last-Modified", "Expires", "Accept-Ranges"} & set(dict(answer.headers))


@pytest.mark.parametrize("page", ["/account", "/mfa/setup", "/mfa/recovery-code"])
def test_a_private_page_does_not_pass_for_a_file_that_a_cache_would_keep(site: Site, page: str) -> None:
    """D42, WEB-11. Web cache deception: the person is signed in, the address looks like a style sheet."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    ends = [
        "/x.css",
        ";x.css",
        "%2Fx.css",
        "%3Bx.css",
        "%00.css",
        "%0A.css",
        "%23.css",
        "%3Fx.css",
        ".css",
        "/..%2fx.js",
    ]
    paths = [*(page + end for end in ends), *(f"/static/{dots}{page}" for dots in ("..", "%2e%2e", "..%2f", "x/../.."))]
    for path in paths:
        answer = browser.open(path, buffered=True)
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store"), path
    assert browser.get(page).status == 200


def test_after_signing_out_the_back_button_finds_nothing(site: Site) -> None:
    """D42, WEB-12, RC-15. Neither in the browser's own cache, nor when the address is asked for again."""
    browser = Browser(site.app)
    page = sign_in(browser, site.omar)
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    code = shown_code(browser.get("/mfa/recovery-code"))
    answer = browser.open("/logout", "POST", data=page.forms[0].fields)
    assert {'"cache"', '"storage"'} <= set(answer.headers["Clear-Site-Data"].split(", "))
    for path in ("/account", "/mfa/recovery-code", "/mfa/recovery-code.txt", "/mfa/setup"):
        page = browser.get(path)
        assert page.h1 == "Sign in"
        assert code not in page.raw
        assert site.omar.email not in page.raw


# Secrets in passing ---------------------------------------------------------------------------------------------------


class Witness(Browser):
    """Keeps what a browser's history, a proxy's log or the next site's Referer would: addresses, titles, file names;
    and every page."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.seen: list[str] = []
        self.pages: list[Page] = []

    def open(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        page = super().open(path, method, **kwargs)
        headers = [value for name, value in page.headers if name != "Set-Cookie"]
        comments = re.findall("<!--.*?-->", page.raw, re.DOTALL)
        self.seen += [path, page.title, *headers, *comments, *page.links]
        self.pages.append(page)
        return page


def spellings(code: str) -> set[str]:
    bare = re.sub("[ -]", "", code)
    return {code, bare, bare.lower(), code.replace(" ", "%20"), code.replace(" ", "+")}


def test_no_secret_passes_through_an_address_a_title_a_header_or_a_file_name(site: Site, clock: Clock) -> None:
    """D43, TO-12, RC-15. Enrollment, sign-in and recovery, each wrong once; the app's own link on the phone aside."""
    maya, browser, secrets = site.person("maya@example.com", enrolled=False), Witness(site.app), {PASSWORD}
    browser.submit("/login", email=maya.email, password=NEW_PASSWORD)
    page = give_password(browser, maya)
    secrets |= spellings(page.text_of("setup-key"))
    scan(page, maya)
    browser.submit(page, code=maya.wrong_code())
    page = browser.submit(page, code=maya.code())
    first = shown_code(page)
    browser.open("/mfa/recovery-code.txt")
    browser.press(save_new_code(browser, page, maya), "Sign out")
    clock.pass_by(30)
    give_password(browser, maya)
    browser.submit("/login/recovery", recovery_code="7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3")
    page = browser.submit("/login/recovery", recovery_code=first)
    second = shown_code(page)
    page = browser.submit(save_new_code(browser, page, maya), still_have="yes")
    secrets |= {NEW_PASSWORD, maya.code(), maya.wrong_code(), *spellings(first), *spellings(second)}
    secrets |= {field for page in browser.pages for form in page.forms if (field := form.fields.get("csrf_token"))}
    on_the_phone = [link for link in browser.seen if link.startswith("otpauth:")]
    passing = "\n".join(text for text in browser.seen if text not in on_the_phone)
    assert on_the_phone
    assert "/login/recovery" in passing
    assert maya.email.partition("@")[0] in passing, "in the name of the file"
    assert [secret for secret in secrets if secret in passing] == []
    assert not [page for page in browser.pages if "<!--" in page.raw]

    def holds(page: Page, code: str) -> bool:
        return any(spelling in re.sub(r"<[^>]*>|\s", "", page.raw) for spelling in spellings(code))

    for code in (first, second):
        assert {page.path.removesuffix(".txt") for page in browser.pages if holds(page, code)} == {"/mfa/recovery-code"}


REFUSED = [
    ("login.password", "password", "a wrong password of mine"),
    ("login.code", "code", "345678"),
    ("login.verify", "password", "a wrong password of mine"),
    ("login.verify", "code", "345678"),
    ("enrollment.setup", "code", "345678"),
    ("account.password", "current_password", "a wrong password of mine"),
    ("account.password", "new_password", "short"),
    ("account.welcome", "new_password", "short"),
]


@pytest.mark.parametrize(("endpoint", "secret", "wrong"), REFUSED)
def test_a_refused_password_or_code_does_not_come_back_and_is_kept_by_no_form_history(
    site: Site, endpoint: str, secret: str, wrong: str
) -> None:
    """D43, PW-11, WEB-25. The field says what it is, so that a browser offers it to its password manager alone."""
    visit = arrive(site, endpoint)
    page = visit.send({**visit.data(), secret: wrong})
    assert page.status == 422
    assert wrong not in page.raw
    field = page.by_id(secret)
    assert field is not None
    assert field.get("autocomplete") in ("current-password", "new-password", "one-time-code")
    assert visit.send().status == 303


def test_browsers_are_asked_to_remember_no_recovery_code(site: Site) -> None:
    """D43, WEB-25. It works once, so a browser that offers it again would be of no use to its owner."""
    field = arrive(site, "recovery.challenge").browser.get("/login/recovery").by_id("recovery_code")
    assert field is not None
    assert field.get("autocomplete") == "off"


# Other windows --------------------------------------------------------------------------------------------------------


def test_a_window_that_opened_ours_learns_nothing_of_who_is_signed_in(site: Site) -> None:
    """D44, WEB-10. Every hop severs the opener, so its frames, its redirects and its lengths cannot be counted; a
    request from inside another page carries no cookie, and a file is the same for everybody."""
    browser, stranger = Browser(site.app), Browser(site.app)
    for step in (lambda: browser.open("/login"), lambda: give_password(browser, site.omar)):
        step()
        for path in ("/", "/login", "/login/code", "/account", "/mfa/setup", "/nothing"):
            page = browser.open(path)
            assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin", path
            assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin", path
    answer = browser.send(browser.get("/login/code"), {"code": site.omar.code()})
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("SameSite=Lax" in cookie and "HttpOnly" in cookie and "Domain" not in cookie for cookie in cookies)
    files = [dict(who.open("/static/app.js", buffered=True).headers) for who in (browser, stranger)]
    assert [file.pop("Date") is not None for file in files] == [True, True]
    assert files[0] == files[1]
    assert "Set-Cookie" not in files[0]


# Hosts and proxies ----------------------------------------------------------------------------------------------------

FOREIGN = ["evil.test", "localhost.evil.test", "evil.test:80", "169.254.169.254", "0.0.0.0", "localhost@evil.test"]  # noqa: S104
FORWARDED = {
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Prefix": "/evil.test",
    "X-Forwarded-Server": "evil.test",
    "X-Forwarded-For": "198.51.100.1",
    "X-Real-IP": "198.51.100.1",
    "X-Client-IP": "198.51.100.1",
    "Forwarded": "for=198.51.100.1;host=evil.test;proto=https",
    "X-Original-URL": "/admin/people",
    "X-Rewrite-URL": "/admin/people",
}


@pytest.mark.parametrize(
    ("site_url", "own"), [("http://localhost", "127.0.0.1:5000"), ("https://app.test", "app.test")]
)
def test_no_page_answers_to_another_host(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], site_url: str, own: str
) -> None:
    """D45, WEB-15. On each rule but the health check, which says nothing; so no link or cookie is made for it."""
    site = Site(make_app, make_person, SITE_URL=site_url, DEMO=False)
    hosts = (
        FOREIGN if own != "app.test" else [*FOREIGN, "localhost", "app.test:444", "www.app.test", "app.test.evil.test"]
    )
    urls = site.app.url_map.bind("localhost")
    values = {"filename": "app.css", "token": "x", "session_id": 1, "person_id": 1, "change": "unlock"}
    for rule in site.app.url_map.iter_rules():
        path = urls.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        method = "GET" if "GET" in (rule.methods or ()) else "POST"
        browser = Browser(site.app)
        for host in hosts:
            answer = bare(browser, path, method, headers={"Host": host})
            assert answer.status_code == (200 if path == "/healthz" else 400), (path, host)
            assert "Set-Cookie" not in answer.headers
            assert "evil" not in answer.text + str(answer.headers)
        served = bare(browser, path, method, headers={"Host": own})
        assert served.status_code != 400 or STALE in served.text, path


def test_without_a_proxy_forwarded_headers_mean_nothing(site: Site) -> None:
    """D45, TH-13, WEB-15. Neither for links, nor for cookies, nor for the address that is noted and throttled."""
    browser = Browser(site.app)
    browser.client.environ_base |= {f"HTTP_{name.upper().replace('-', '_')}": FORWARDED[name] for name in FORWARDED}
    answers = [browser.open("/account"), browser.open("/login")]
    assert answers[0].headers["Location"] == "/login?notice=needed&next=/account"
    assert "Secure" not in answers[1].headers["Set-Cookie"]
    sign_in(browser, site.omar)
    pages = [browser.get(path) for path in ("/account", "/mfa/setup", "/account/password")]
    assert "evil" not in "".join(page.raw + str(page.headers) for page in [*answers, *pages])
    assert {row["remote_addr"] for row in site.rows(Session)} == {"203.0.113.7"}
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    link = f"/admin/people/{site.id_of(site.omar)}/invite"
    data = {"csrf_token": admin.get("/account").forms[0].fields["csrf_token"]}
    admin.client.set_cookie("session", admin.cookie() or "", domain="127.0.0.1")
    page = admin.open(link, "POST", data=data, headers={**FORWARDED, "Host": "127.0.0.1:9999"})
    assert page.text_of("link").startswith("http://localhost:5000/welcome/"), "as SITE_URL says"


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_stranger_does_not_choose_the_address_that_is_counted(make_app: Callable[..., Flask], proxies: int) -> None:
    """D45, TH-2, TH-13. Without a proxy the header is ignored; behind one, only what the proxy itself added counts."""
    app = make_app("proxied", TRUSTED_PROXIES=proxies, ADDRESS_LIMIT=3)

    def wrong(number: int, real: str) -> int:
        forged = f"198.51.100.{number}, 192.0.2.{number}"
        if proxies:
            address, headers = "10.0.0.1", {"X-Forwarded-For": f"{forged}, {real}"}
        else:
            address, headers = real, {"X-Forwarded-For": forged}
        browser = Browser(app, address)
        data = {"email": f"nobody{number}@example.com", "password": "a guess"}
        return browser.send(browser.open("/login", headers=headers), data, headers=headers).status

    assert [wrong(number, "203.0.113.7") for number in range(5)] == [422, 422, 422, 429, 429]
    assert wrong(6, "203.0.113.8") == 422
    assert {row["remote_addr"] for row in rows(app, Event)} == {"203.0.113.7", "203.0.113.8"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-Host": "app.test", "X-Forwarded-Proto": "https"}, 200),
        ({"X-Forwarded-Host": "evil.test"}, 400),
        ({"X-Forwarded-Host": "app.test, evil.test"}, 400),
        ({"X-Forwarded-Host": "evil.test, app.test"}, 200),
        ({"X-Forwarded-Prefix": "//evil.test"}, 200),
        ({"Host": "evil.test"}, 400),
    ],
)
def test_behind_a_proxy_only_the_host_it_names_counts(make_app: Callable[..., Flask], headers, status: int) -> None:
    """D45, WEB-15. What the proxy names must be this site's all the same."""
    app = make_app("proxied", TRUSTED_PROXIES=1, SITE_URL="https://app.test")
    browser = Browser(app, base_url="https://app.test")
    page = browser.open("/login", headers=headers)
    assert page.status == status
    assert "evil" not in page.raw + str(page.headers)
    assert browser.open("/account").headers["Location"].startswith("/login?")


# A real server, for what no test client can send ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of gunicorn, as `make run` starts it, on a database without people."""
    database = tmp_path_factory.mktemp("server") / "server.db"
    env = {"PATH": environ["PATH"], "FLASK_SECRET_KEY": KEY, "FLASK_DATABASE_URL": f"sqlite:///{database}"}
    bin_ = Path(sys.executable).parent
    subprocess.run(
        [bin_ / "flask", "--app", "app", "db", "upgrade"], cwd=ROOT, env=env, check=True, capture_output=True
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [bin_ / "gunicorn", "--threads", "2", "--bind", f"fd://{listener.fileno()}", "app:create_app()"]
        running = subprocess.Popen(
            [*command, "--no-control-socket", "--forwarder-headers", ""],
            cwd=ROOT,
            env=env,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(20)


def say(port: int, request: str, body: bytes = b"") -> tuple[int, str]:
    """Send these very bytes; the status and all of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
    return int(answer.split(" ", 2)[1]), answer


OWN = "Host: localhost\nConnection: close"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (f"GET /login HTTP/1.1\n{OWN}", {200}),
        (f"GET /login HTTP/1.1\nHost: evil.test\n{OWN}", {400}),
        (f"GET /login HTTP/1.1\n{OWN}\nHost: evil.test", {400}),
        (f"GET http://evil.test/login HTTP/1.1\n{OWN}", {200, 400}),
        ("GET http://evil.test/login HTTP/1.1\nHost: evil.test\nConnection: close", {400}),
        (f"GET //evil.test/login HTTP/1.1\n{OWN}", {404}),
        (f"GET //evil.test/..%2f..%2faccount HTTP/1.1\n{OWN}", {404}),
        ("GET /login HTTP/1.1\nConnection: close", {200, 400}),
        ("GET /login HTTP/1.0\nHost:", {400}),
        (f"GET /account HTTP/1.1\n{OWN}\nX_Forwarded_Host: evil.test\nX-Forwarded-Host: evil.test", {303}),
        (f"GET /account HTTP/1.1\n{OWN}\nSCRIPT_NAME: /evil.test\nPATH_INFO: /evil.test", {303}),
        (f"TRACE /login HTTP/1.1\n{OWN}\nCookie: session=evil.test", {405, 501}),
        (f"GET /login HTTP/1.1\n{OWN}\nX-Odd: a\x00evil.test", {400}),
        (f"GET /login HTTP/1.1\n{OWN}\nCookie: {'evil.test' * 2000}", {400, 431}),
    ],
)
def test_no_request_line_or_doubled_host_makes_the_server_speak_for_another(
    server: int, request_: str, statuses
) -> None:
    """D45, WEB-15, WEB-20. On a real server; it names neither itself in a version nor what was forged."""
    status, answer = say(server, request_)
    assert status in statuses
    assert "evil" not in answer
    assert not re.search(r"(?i)^server:.*\d", answer, re.MULTILINE)
    assert not re.search(r"(?i)python|werkzeug|traceback", answer)


# Verbs ----------------------------------------------------------------------------------------------------------------

VALUES = {"filename": "app.css", "token": "nobody-has-this", "session_id": 1, "person_id": 1, "change": "unlock"}


def paths(site: Site) -> Iterator[tuple[str, set[str]]]:
    """Every rule's path, and the verbs it is for; people's and links' are real."""
    token = acts.invite(site.app, site.omar.email).removeprefix("/welcome/")
    values = {**VALUES, "token": token, "person_id": site.id_of(site.omar)}
    urls = site.app.url_map.bind("localhost")
    for rule in site.app.url_map.iter_rules():
        yield urls.build(rule.endpoint, {name: values[name] for name in rule.arguments}), set(rule.methods or ())


def _nobody(site: Site, browser: Browser) -> None:
    browser.open("/login")


def _an_admin(site: Site, browser: Browser) -> None:
    sign_in(browser, site.ines)
    browser.open("/mfa/setup")


def _recovering(site: Site, browser: Browser) -> None:
    use_recovery_code(browser, site.omar)


def _asked_for_a_code(site: Site, browser: Browser) -> None:
    _new_code(site, browser).send()
    browser.open("/mfa/setup")  # the first look begins


WHERE: dict[str, Callable[[Site, Browser], Any]] = {
    "a stranger": _nobody,
    "at the challenge": _code,
    "at setup": _setup,
    "at the prompt": _prompt,
    "at the prompt after a recovery code": _recovering,
    "at the question": _lost_device,
    "with a code to save": _asked_for_a_code,
    "an admin": _an_admin,
}


@pytest.mark.parametrize("where", WHERE)
def test_no_other_verb_than_a_forms_own_changes_anything(site: Site, clock: Clock, where: str) -> None:
    """D46, WEB-3, WEB-20. GET and HEAD twice, OPTIONS, and the verbs nothing here is for, on every rule."""
    browser = Browser(site.app)
    WHERE[where](site, browser)
    clock.pass_by(61)  # so that a visit is noted
    every = list(paths(site))
    before, cookie = site.tables(), browser.cookie()
    opened = 0
    for path, methods in every:
        statuses = {}
        for method in ("GET", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND"):
            answer = bare(browser, path, method)
            statuses[method] = answer.status_code
            if answer.status_code == 405:
                assert set(answer.headers["Allow"].split(", ")) == methods, path
                assert method == "HEAD" or "be used that way" in answer.text
        assert {statuses[verb] for verb in ("TRACE", "PUT", "DELETE", "PATCH", "PROPFIND")} == {405}, path
        assert statuses["HEAD"] == statuses["GET"], path
        assert (statuses["GET"] == 405) == ("GET" not in methods), path
        assert statuses["OPTIONS"] in (200, 303, 403), path
        opened += statuses["GET"] == 200
    assert opened
    assert site.tables() == before
    assert browser.cookie() == cookie


def test_looking_at_a_link_by_any_verb_leaves_it_to_be_used(site: Site) -> None:
    """D46, PW-22. A mail scanner that opens a one-time link, by HEAD or GET and in parts, does not use it up."""
    visit = FORMS["account.welcome"](site, Browser(site.app))
    for method, headers in (("HEAD", {}), ("GET", {}), ("OPTIONS", {}), ("GET", {"Range": "bytes=0-0"})):
        assert bare(Browser(site.app), visit.path, method, headers=headers).status_code == 200
    assert visit.send().status == 303
    assert Browser(site.app).open(visit.path).status == 404
