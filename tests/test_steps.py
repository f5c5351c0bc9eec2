"""Which step opens what: no page before its turn, no two sign-ins that become one, and no easier way."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from authn.events import EventKind
from models import RecoveryCode, Session, Throttle, TotpAuthenticator
from tests.support.apps import left_to_the_sweep
from tests.support.commands import command
from tests.support.pages import Browser, Page, csrf, post
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    sign_in,
)
from tests.support.routes import PUBLIC, ask, requests_to
from tests.support.security_key import SecurityKey, add_key, options_of
from tests.support.tables import count, everything, kinds, rows

# What a step may open -------------------------------------------------------------------------------------------------


Make = Callable[..., Flask]


@pytest.mark.parametrize("demo", [False, True], ids=["not a demo", "demo"])
def test_a_stranger_may_open_only_the_public_pages(make_app: Make, demo: bool) -> None:
    app = make_app(DEMO=demo, RECOVERY_CODES_ENABLED=True)
    open_to_all = {}
    for endpoint, path, method in requests_to(app):
        answer = ask(Browser(app), path, method)
        assert answer.status in (200, 303, 404 if endpoint == "account.welcome" else 422), (endpoint, method)
        if not answer.headers.get("Location", "").startswith("/login?notice=needed"):
            open_to_all[endpoint] = path
    assert open_to_all == PUBLIC | ({"demo.phone": "/demo/phone"} if demo else {})


# The page that is due at each step of an unfinished sign-in.
DUE = {
    "challenge": "/login/code",
    "enroll": "/mfa/setup",
    "save_code": "/mfa/recovery-code",
    "replace_code": "/mfa/recovery-code",
    "lost_device": "/mfa/lost-device",
    "replace_device": "/mfa/setup",
}
MAY_OPEN: dict[str, set[str]] = {
    **{endpoint: set(DUE) for endpoint in (*PUBLIC, "demo.phone", "login.sign_out")},
    "login.start": set(),
    "login.password": set(),
    "login.code": {"challenge"},
    "security_keys.challenge": set(),  # nobody here has a key
    "security_keys.add": set(),
    "security_keys.remove": set(),
    "security_keys.only_key": set(),
    "recovery.challenge": {"challenge"},
    "enrollment.setup": {"enroll", "replace_device"},
    "recovery.prompt": {"save_code", "replace_code"},
    "recovery.download": {"save_code", "replace_code"},
    "recovery.finish_without_code": set(),  # see FINISH
    "recovery.lost_device": {"lost_device", "replace_device"},
    "login.verify": set(),
    "account.overview": set(),
    "account.activity": set(),
    "account.dismiss_recovery_notice": set(),
    "account.dismiss_wrong_codes_notice": set(),
    "account.password": set(),
    "account.new_recovery_code": set(),
    "account.revoke_session": set(),
    "account.revoke_others": set(),
    "admin.people": set(),
    "admin.reset_mfa": set(),
    "admin.invite": set(),
    "admin.groups": set(),
    "admin.new_people": set(),
    "admin.change": set(),
    "admin.settings": set(),
    "admin.switch_recovery_codes": set(),
    "admin.audit": set(),
}
NEED_CODES = {"recovery.challenge", "recovery.prompt", "recovery.download", "account.new_recovery_code"}
FINISH = ("recovery.finish_without_code", "save_code")  # opens when codes are turned off in the middle
SAID_ELSEWHERE = {"login.sign_out": "/login?notice=signed-out", FINISH[0]: "/account"}


@pytest.fixture
def walked(make_app: Make) -> Flask:
    return make_app("walked", DEMO=True, RECOVERY_CODES_ENABLED=True)


@pytest.fixture
def arrive(walked: Flask, make_person: Callable[..., Person]) -> Callable[[str], Browser]:
    """A browser of somebody new whose sign-in has come to this place."""
    emails = (f"person{number}@example.com" for number in range(1000))

    def arrive(place: str) -> Browser:
        browser = Browser(walked)
        has_code = place not in ("enroll", "save_code")
        person = make_person(next(emails), enrolled=place != "enroll", code=has_code, on=walked)
        page = give_password(browser, person)
        if place == "save_code":
            page = browser.submit(page, code=person.code())
        elif place in ("replace_code", "lost_device", "replace_device"):
            page = browser.submit("/login/recovery", recovery_code=person.recovery_code)
        if place in ("lost_device", "replace_device"):
            page = save_new_code(browser, page, person)
        if place == "replace_device":
            page = browser.submit(page, still_have="no")
        assert page.path == DUE[place]
        return browser

    return arrive


def outcome(answer: Page, endpoint: str, due: str) -> str:
    if answer.status == 403:
        return "off"
    if answer.status != 303:
        opened = answer.status in (200, 404 if endpoint == "account.welcome" else 422)
        return "open" if opened else str(answer.status)
    to = answer.headers["Location"]
    return "due" if to == due else "open" if to == SAID_ELSEWHERE.get(endpoint) else to


@pytest.mark.parametrize(
    ("place", "codes_on"),
    # Turning codes off at replace_code ends the sign-in.
    [
        *((place, True) for place in DUE),
        *left_to_the_sweep((place, False) for place in DUE if place != "replace_code"),
    ],
    ids=lambda value: value if isinstance(value, str) else "codes on" if value else "codes turned off",
)
def test_an_unfinished_sign_in_may_open_only_what_its_step_needs(
    walked: Flask, arrive: Callable[[str], Browser], place: str, codes_on: bool
) -> None:
    def there() -> Browser:
        walked.config["RECOVERY_CODES_ENABLED"] = True
        browser = arrive(place)
        walked.config["RECOVERY_CODES_ENABLED"] = codes_on
        return browser

    def expected(endpoint: str) -> str:
        if endpoint in NEED_CODES and not codes_on:
            return "off"
        may_open = place in MAY_OPEN[endpoint] or (not codes_on and (endpoint, place) == FINISH)
        return "open" if may_open else "due"

    visitor, wrong = there(), []
    for endpoint, path, method in requests_to(walked):
        goes_on = method == "POST" and expected(endpoint) == "open"  # all others leave the sign-in where it is
        answer = ask(there() if goes_on else visitor, path, method)
        if (seen := outcome(answer, endpoint, DUE[place])) != expected(endpoint):
            wrong.append((method, path, seen))
    assert wrong == []


def test_every_page_is_in_the_table_of_what_a_step_may_open(walked: Flask) -> None:
    assert {rule.endpoint for rule in walked.url_map.iter_rules()} == set(MAY_OPEN)


# Out of turn ----------------------------------------------------------------------------------------------------------


STEP_PAGES = {  # what an unfinished sign-in may post to, each at its own step
    "login.code",
    "login.sign_out",
    "security_keys.challenge",
    "recovery.challenge",
    "recovery.prompt",
    "recovery.finish_without_code",
    "recovery.lost_device",
    "enrollment.setup",
}
OF_THE_CHALLENGE = {"login.code", "login.sign_out", "recovery.challenge", "security_keys.challenge"}


def raw(browser: Browser, method: str, path: str, data: dict[str, str]) -> TestResponse:
    """One request whose path reaches the app as it is spelled."""
    as_spelled = {"PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "REMOTE_ADDR": browser.address}
    return browser.client.open("/", method=method, data=data, base_url="http://localhost", environ_overrides=as_spelled)


def spellings(path: str) -> list[str]:
    return [
        *(path + tail for tail in ("/", "//", "/.", "%00", "%20", "%2f", "%2e", ";.css", ".css", "%0a", "%ff")),
        *(
            head + path
            for head in ("/", "//", "/.", "/%2e", "/static/..", "/static/%2e%2e", "/login/../.", "/x/%2e%2e")
        ),
        path.upper(),
        path.title(),
        path.replace("/", "\\"),
        path.replace("/", "//"),
        path.replace("a", "%61").replace("i", "%2569"),
        path.replace("a", "\uff41"),
    ]


@pytest.mark.parametrize(
    ("who", "every"), [("nobody", 6), ("half", 6), *left_to_the_sweep([("nobody", 1), ("half", 1)])]
)
def test_no_spelling_of_a_path_and_no_method_opens_a_page_before_its_turn(
    app: Flask, browser: Browser, omar: Person, ada: Person, who: str, every: int
) -> None:
    page = give_password(browser, ada) if who == "half" else browser.get("/login")
    before, token = everything(app), csrf(page)
    may_open = {*PUBLIC, *OF_THE_CHALLENGE} if who == "half" else PUBLIC
    sent_to = "/login/code" if who == "half" else "/login?notice=needed"
    closed = {endpoint: path for endpoint, path, _ in requests_to(app) if endpoint not in may_open}
    assert len(closed) > 15
    for endpoint, path in list(closed.items())[::every]:
        tries = [("OPTIONS", path), ("HEAD", path), ("PUT", path), ("PATCH", path), ("DELETE", path), ("TRACE", path)]
        tries += [(method, spelled) for method in ("GET", "POST") for spelled in (path, *spellings(path))]
        for method, spelled in tries:
            answer = raw(browser, method, spelled, token if method in ("POST", "PUT", "PATCH", "DELETE") else {})
            assert answer.status_code in (303, 308, 404, 405), (method, spelled)
            if answer.status_code == 303:
                assert answer.location.startswith(sent_to), (method, spelled)
            assert "Set-Cookie" not in answer.headers, (endpoint, method)
    assert everything(app) == before

    if who == "nobody":
        give_password(browser, ada)
    assert browser.submit("/login/code", code=ada.code()).h1 == "Security"
    pages = {endpoint: path for endpoint, path, method in requests_to(app) if method == "GET" and endpoint in closed}
    mine = set(pages) - STEP_PAGES - {"recovery.download", "admin.switch_recovery_codes"}  # none due; fixed here
    assert {raw(browser, "GET", pages[endpoint], {}).status_code for endpoint in mine} == {200}


DEEDS: dict[
    str, tuple[str, dict[str, str], EventKind]
] = {  # all that a finished sign-in can do, and the event it leaves
    "account.password": (
        "/account/password",
        {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        EventKind.PASSWORD_CHANGED,
    ),
    "account.new_recovery_code": ("/account/recovery-code", {}, EventKind.RECOVERY_CODE_MADE),
    "account.revoke_session": ("/account/sessions/1/revoke", {}, EventKind.SESSION_REVOKED),
    "account.revoke_others": ("/account/sessions/revoke-others", {}, EventKind.SESSION_REVOKED),
    "account.dismiss_recovery_notice": ("/account/recovery-notice/dismiss", {}, EventKind.RECOVERY_NOTICE_DISMISSED),
    "account.dismiss_wrong_codes_notice": (
        "/account/wrong-codes-notice/dismiss",
        {},
        EventKind.WRONG_CODES_DISMISSED,
    ),
    "login.verify": ("/verify", {"password": PASSWORD, "code": "now"}, EventKind.STEPPED_UP),
    "security_keys.add": ("/account/keys/new", {"name": "red key", "answer": "now"}, EventKind.SECURITY_KEY_ADDED),
    "security_keys.remove": ("/account/keys/1/remove", {}, EventKind.SECURITY_KEY_REMOVED),
    "security_keys.only_key": ("/account/only-key", {"turn": "on"}, EventKind.ONLY_KEY_ON),
    "admin.reset_mfa": ("/admin/people/2/reset-mfa", {"reason": "lost"}, EventKind.MFA_RESET),
    "admin.invite": ("/admin/people/2/invite", {}, EventKind.USER_INVITED),
    "admin.groups": ("/admin/people/2/groups", {"groups": "ops"}, EventKind.GROUPS_CHANGED),
    "admin.new_people": ("/admin/people/new", {"emails": "nora@example.com"}, EventKind.USER_INVITED),
    "admin.change": ("/admin/people/2/deactivate", {}, EventKind.USER_DEACTIVATED),
    "admin.switch_recovery_codes": (
        "/admin/settings/recovery-codes",
        {"turn": "off"},
        EventKind.RECOVERY_CODES_DISABLED,
    ),
}


def test_every_form_of_a_finished_sign_in_is_among_the_attacked(app: Flask) -> None:
    forms = {endpoint for endpoint, _, method in requests_to(app) if method == "POST"}
    assert forms == {*DEEDS, *STEP_PAGES, "login.password", "account.welcome"}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_form_filled_in_rightly_does_nothing_before_the_second_factor(make_app, make_person, clock, deed) -> None:
    app = make_app("switched")
    command(app, "recovery-codes", "enable")
    ada, _ = make_person("ada@example.com", admin=True, on=app), make_person("omar@example.com", on=app)
    sign_in(first := Browser(app), ada)  # session 1
    if deed in ("security_keys.remove", "security_keys.only_key"):
        add_key(first)
    clock.pass_by(30)
    browser = Browser(app)
    page = give_password(browser, ada)
    due, (path, values, kind) = page.path, DEEDS[deed]
    values = {name: ada.code() if value == "now" else value for name, value in values.items()}
    before = everything(app)
    assert post(browser, path, csrf(page), **values).headers["Location"] == due
    assert everything(app) == before

    page = browser.submit("/login/code", code=ada.code())
    clock.pass_by(30)
    values = {name: ada.code() if name == "code" else value for name, value in values.items()}
    if "answer" in values:
        values["answer"] = SecurityKey().create(options_of(browser.get(path)))
    assert post(browser, path, csrf(page), **values).status in (200, 303)
    assert kind in kinds(app) and kind not in [event["kind"] for event in before["Event"]]


def test_a_stranger_who_holds_every_right_code_uses_none_of_them_without_the_password(
    app: Flask, browser: Browser, omar: Person
) -> None:
    right = {"code": omar.code(), "recovery_code": omar.recovery_code, "password": PASSWORD, "saved": "yes"}
    right |= {"still_have": "yes", "current_password": PASSWORD, "new_password": NEW_PASSWORD, "email": omar.email}
    right |= {"shown": rows(app, RecoveryCode)[0]["digest"]}
    token, before = csrf(browser.get("/login")), everything(app)
    for endpoint, path, method in requests_to(app):
        if method == "POST" and endpoint not in PUBLIC:
            assert post(browser, path, token, **right).headers["Location"].startswith("/login?"), path
    assert everything(app) == before, "nothing used up, nobody charged"

    page = give_password(browser, omar)
    assert post(browser, "/login/code", csrf(page), **right).headers["Location"] == "/account"
    other = Browser(app)
    page = give_password(other, omar)
    assert post(other, "/login/recovery", csrf(page), **right).headers["Location"] == "/mfa/recovery-code"


# Two at once ----------------------------------------------------------------------------------------------------------


def test_two_sign_ins_in_two_tabs_never_become_one(app: Flask, browser: Browser, omar: Person, noor: Person) -> None:
    first = give_password(browser, omar)
    second = post(browser, "/login", csrf(first), email=noor.email, password=noor.password)
    assert second.headers["Location"] == "/login/code"
    assert [row["user"] for row in rows(app, Session)] == [1], "the second password was not looked at"
    assert count(app, Throttle, Throttle.failures > 0) == 0
    assert browser.submit(first, code=noor.code()).status == 422

    page = browser.press(browser.get("/login/code"), "Sign in as someone else")
    page = browser.submit(page, email=noor.email, password=noor.password)
    assert browser.send(first, {"code": omar.code()}).status == 400, "the first tab is of a sign-in that is over"
    assert browser.submit(page, code=omar.code()).status == 422
    assert "noor@example.com" in browser.submit(page, code=noor.code()).text
    assert "omar@example.com" in sign_in(Browser(app), omar).text


def test_a_password_of_somebody_else_sent_by_a_signed_in_browser_is_not_looked_at(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
    token = csrf(sign_in(browser, noor))
    before = everything(app)
    for password in (omar.password, "wrong"):
        answer = post(browser, "/login", token, email=omar.email, password=password)
        assert answer.headers["Location"] == "/account"
    assert everything(app) == before
    assert "noor@example.com" in browser.get("/account").text
    browser.press(browser.get("/account"), "Sign out")
    assert "omar@example.com" in sign_in(browser, omar).text


# An easier way --------------------------------------------------------------------------------------------------------


WISHES = {  # what a careless app might take from the visitor
    "step": "done",
    "mfa": "0",
    "mfa_verified": "1",
    "second_factor": "totp",
    "verified_at": "9999999999",
    "is_signed_in": "true",
    "skip": "1",
    "remember": "1",
    "method": "none",
    "factor": "recovery",
    "user_id": "1",
    "is_admin": "1",
    "_method": "GET",
}


@pytest.mark.parametrize("where", ["query", "form", "cookie", "JSON", "headers"])
def test_no_word_of_the_visitors_moves_a_sign_in_on_or_chooses_a_weaker_factor(
    app: Flask, browser: Browser, omar: Person, where: str
) -> None:
    page = give_password(browser, omar)
    before, token = everything(app), csrf(page)
    if where == "cookie":
        for name, value in WISHES.items():
            browser.client.set_cookie(name, value)
    headers = {name.replace("_", "-"): value for name, value in WISHES.items()} if where == "headers" else {}
    query = WISHES if where == "query" else {}
    for method, path in (
        ("GET", "/account"),
        ("GET", "/login/code"),
        ("POST", "/login/code"),
        ("POST", "/login/recovery"),
    ):
        sent: dict[str, Any] = {"query_string": query, "headers": {**headers, "X-CSRFToken": token["csrf_token"]}}
        if method == "POST" and where == "JSON":
            sent["json"] = WISHES
        elif method == "POST":
            sent["data"] = WISHES if where == "form" else {}
        answer = browser.open(path, method=method, **sent)
        expected = {"/account": 303}.get(path, 422 if method == "POST" else 200)
        assert (answer.status, answer.headers.get("Location")) == (expected, "/login/code" if expected == 303 else None)
    assert everything(app) == before
    answer = browser.open(
        "/login/code", method="POST", data={**token, **WISHES, "code": omar.code()}, query_string=WISHES
    )
    assert answer.headers["Location"] == "/account"
    assert browser.open("/admin/people").status == 403


def test_no_request_takes_an_app_away_or_signs_in_without_one(app: Flask, omar: Person, ada: Person, clock) -> None:
    mine, admin = Browser(app), Browser(app)
    token = csrf(sign_in(mine, omar))
    before = rows(app, TotpAuthenticator)
    for endpoint, path, method in requests_to(app):
        if method == "POST" and endpoint not in ("login.sign_out", "account.new_recovery_code"):
            post(mine, path, token, code="", method="none", turn="off")
    assert [row["sealed_secret"] for row in rows(app, TotpAuthenticator)] == [row["sealed_secret"] for row in before]
    assert is_signed_in(mine)

    sign_in(admin, ada)
    page = admin.submit("/admin/people/1/reset-mfa", reason="lost")
    link = page.text_of("link").removeprefix("http://localhost:5000")
    app.config["RECOVERY_CODES_ENABLED"] = False
    page = mine.submit(link, new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    page = mine.submit(page, email=omar.email, password=NEW_PASSWORD)
    assert page.h1 == "Set up your authenticator app"
    assert mine.open("/account").headers["Location"] == "/mfa/setup"
    assert mine.submit(page, code=scan(page, omar).code()).h1 == "Security"
