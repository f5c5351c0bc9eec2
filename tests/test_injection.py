"""What people type is text: to browsers, to the database, and in every list."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest
from flask import Flask

from authn.email_addresses import fold
from authn.events import EventKind
from models import Event, Throttle
from tests.support.apps import few_of
from tests.support.forms import WITH_FIELDS, Site, arrive, bare, refuses, still_works
from tests.support.pages import Browser, Page
from tests.support.people import Clock, Person, give_password, save_new_code, scan, sign_in

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
    """Address, browser, proxy's address, reason, next and setup key, to the person and to admins."""
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


SQL = [
    "' OR 1=1--",
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE user; --",
    "\\' UNION SELECT password_hash FROM user --",
    "'||(SELECT email FROM user LIMIT 1)||'",
    "%",
    "_" * 24,
    "*@*.*",
    "'or/**/1=1--@example.com",
    "%@example.com",
    "omar@example.co_",
    "$$; SELECT pg_sleep(9); --",
    "%s %(x)s ? :1 $1",
]


@pytest.mark.parametrize("endpoint", few_of(WITH_FIELDS, "login.password", "recovery.challenge"))
def test_the_words_of_a_database_are_text_in_every_field(site: Site, endpoint: str) -> None:
    """Wrong like any other wrong value, and nothing is read, matched or dropped by them."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right.keys() - {"name"}:  # of a key, which may have any
        for text in SQL if field != "new_password" else ["'; --", "%", "_"]:
            if field != "emails" or fold(text) is None:  # or somebody has this address from now on
                assert refuses(site, visit, {field: text}), (field, text)
    assert site.tables(Event, Throttle) == before
    assert still_works(site, visit)


def test_the_words_of_a_database_are_text_in_every_address_and_reason(site: Site) -> None:
    """Pages of lists, ids in paths and queries, and the reason that admins give."""
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    before = site.tables(Event)
    for text in SQL:
        typed = quote(text, safe="")
        assert "omar@example.com" in admin.get(f"/admin/audit?person={typed}&before={typed}").text
        for path in (f"/admin/people?after={typed}", f"/account/activity?before={typed}", f"/login?next={typed}"):
            assert admin.get(path).status == 200
        for path in (f"/welcome/{typed}", f"/admin/people/{typed}/reset-mfa", f"/account/sessions/{typed}/revoke"):
            assert admin.open(path).status in (404, 405)
    assert site.tables(Event) == before
    people = "/admin/people?after=%25"
    assert [email in admin.get(people).text for email in ("ines@example.com", "omar@example.com")] == [True, True]
    assert "omar@example.com" not in admin.get("/admin/people?after=omar@example.com").text
    page = admin.submit(f"/admin/people/{site.id_of(site.omar)}/reset-mfa", reason=SQL[3])
    assert page.h1 == "Hand over this link"
    assert [row["detail"] for row in site.rows(Event) if row["kind"] == EventKind.MFA_RESET] == [SQL[3]]


ODD_IDS = ["0", "-1", "1e3", "0x1", "1.0", "%2B1", "NaN", "null", "%00", "1%00"]
HUGE_IDS = [str(2**bits + more) for bits in (31, 63, 64) for more in (-1, 0)]


def test_an_id_that_no_row_has_is_no_page(site: Site) -> None:
    """Larger than a database holds, negative, no number: 404 in a path, and no filter in a query."""
    admin = Browser(site.app)
    data = {"csrf_token": sign_in(admin, site.ines).forms[0].fields["csrf_token"]}
    before, real = site.tables(), site.id_of(site.ines)
    for ident in [*ODD_IDS, *HUGE_IDS, str(10**30), "9" * 5000]:
        for path, method in (
            (f"/account/sessions/{ident}/revoke", "POST"),
            (f"/admin/people/{ident}/invite", "POST"),
            (f"/admin/people/{ident}/deactivate", "POST"),
            (f"/admin/people/{ident}/reset-mfa", "GET"),
        ):
            assert bare(admin, path, method, data=data if method == "POST" else None).status_code == 404, path
        for path in (f"/admin/audit?before={ident}", f"/account/activity?before={ident}"):
            assert bare(admin, path, "GET").status_code == 200
        assert bare(admin, f"/admin/audit?person={ident}", "GET").status_code in (200, 404)
    assert site.tables() == before
    assert admin.open(f"/admin/people/{real}/invite", "POST", data=data).status == 200
