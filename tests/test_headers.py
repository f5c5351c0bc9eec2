"""The headers of every answer, so that none is framed, sniffed or kept, and nothing secret passes by in one."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from blueprints import access
from tests.support.forms import Site, arrive
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    save_new_code,
    scan,
    shown_code,
    sign_in,
)

# Of every answer ------------------------------------------------------------------------------------------------------


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

        self.site.app.add_url_rule("/broken", "broken", access.public(view))
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
    """Whatever its status; each header once."""
    config = {"DEMO": False, "SITE_URL": "https://app.test", "PROPAGATE_EXCEPTIONS": False}
    status, ask = ANSWERS[answer]
    page = ask(World(Site(make_app, make_person, **config)))
    assert page.status == status
    assert policy_of(page) == POLICY
    expected = {**PAGE_HEADERS, "Referrer-Policy": "no-referrer"} if answer == "no link" else PAGE_HEADERS
    for name, value in expected.items():
        assert page.headers.getlist(name) == [value], name
    promises = page.headers.getlist("Strict-Transport-Security")
    assert len(promises) == (0 if answer in ("other host", "no host") else 1), "and for no other host"
    assert all(int(re.findall(r"max-age=(\d+)", hsts)[0]) >= 31536000 for hsts in promises)
    assert all("includeSubDomains" in hsts for hsts in promises)
    kept = "file" in answer and status < 400
    assert page.headers.getlist("Cache-Control") == (["no-cache"] if kept else ["no-store"])
    assert page.headers.get("Content-Type", "text/; charset").startswith("text/")
    assert "charset" in page.headers.get("Content-Type", "charset")
    assert not {"Server", "X-Powered-By", "Access-Control-Allow-Origin"} & {name for name, _ in page.headers}


def test_a_one_time_link_is_no_referrer_whatever_its_answer(site: Site) -> None:
    """Or the request for the style sheet would carry the token into the log of whatever stands in front."""
    visit = arrive(site, "account.welcome")
    answers = [
        visit.browser.open(visit.path),
        visit.send({**visit.data(), "new_password": "short"}),
        visit.send({}),
        visit.browser.open(visit.path, "PUT"),
        visit.send(),
        visit.browser.open(visit.path),
    ]
    assert [answer.status for answer in answers] == [200, 422, 400, 405, 303, 404]
    assert {answer.headers["Referrer-Policy"] for answer in answers} == {"no-referrer"}
    assert visit.browser.open("/login").headers["Referrer-Policy"] == "same-origin"


def test_plain_http_promises_no_https(site: Site) -> None:
    """On this machine a promise of https would lock people out of every local site."""
    assert "Strict-Transport-Security" not in Browser(site.app).open("/login").headers


def test_a_file_is_the_same_for_everybody(site: Site) -> None:
    """A window that opened ours learns nothing by it of who is signed in."""
    browser, stranger = Browser(site.app), Browser(site.app)
    sign_in(browser, site.omar)
    files = [dict(who.open("/static/app.js", buffered=True).headers) for who in (browser, stranger)]
    assert [file.pop("Date") is not None for file in files] == [True, True]
    assert files[0] == files[1]
    assert "Set-Cookie" not in files[0]


# Kept pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{"If-None-Match": "*"}, {"If-Modified-Since": "Fri, 31 Dec 2100 00:00:00 GMT"}])
@pytest.mark.parametrize("path", ["/account", "/mfa/setup", "/mfa/recovery-code", "/mfa/recovery-code.txt"])
def test_a_private_page_is_never_answered_from_a_cache(site: Site, path: str, known: dict[str, str]) -> None:
    """No validator to compare, no "not modified", and nothing to be had in parts."""
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
    """Web cache deception: the person is signed in, the address looks like a style sheet."""
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
    """Enrollment, sign-in and recovery, each wrong once; the app's own link on the phone aside."""
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
    """The field says what it is, so that a browser offers it to its password manager alone."""
    visit = arrive(site, endpoint)
    page = visit.send({**visit.data(), secret: wrong})
    assert page.status == 422
    assert wrong not in page.raw
    field = page.by_id(secret)
    assert field is not None
    assert field.get("autocomplete") in ("current-password", "new-password", "one-time-code")
    assert visit.send().status == 303
