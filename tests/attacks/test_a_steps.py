"""Attacks on the order of the steps: skipping one, mixing two sign-ins, going back, and choosing an easier way."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from authn import totp
from models import TABLES, Enrollment, Kind, RecoveryCode, Session, Throttle, TotpAuthenticator, User
from tests.support.cookies import opened, send_raw
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
from tests.support.races import at_once
from tests.support.routes import PUBLIC, requests_to
from tests.support.tables import count, kinds, live_codes, rows

WELL_FORMED = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
STEP_PAGES = {  # what an unfinished sign-in may post to, each at its own step
    "login.code",
    "login.sign_out",
    "recovery.challenge",
    "recovery.prompt",
    "recovery.finish_without_code",
    "recovery.lost_device",
    "enrollment.setup",
}
OF_THE_CHALLENGE = {"login.code", "login.sign_out", "recovery.challenge"}


@pytest.fixture
def noor(make_person: Callable[..., Person]) -> Person:
    """Enrolled, recovery code saved; somebody other than Omar."""
    return make_person("noor@example.com")


@pytest.fixture
def ada(make_person: Callable[..., Person]) -> Person:
    """An admin, enrolled, recovery code saved."""
    return make_person("ada@example.com", admin=True)


def everything(app: Flask) -> dict[str, list[dict[str, Any]]]:
    return {table.__name__: rows(app, table) for table in TABLES}


def csrf(page: Page) -> dict[str, str]:
    return {"csrf_token": page.forms[0].fields["csrf_token"]}


def post(browser: Browser, path: str, token: dict[str, str], **values: Any) -> Page:
    return browser.open(path, method="POST", data={**token, **values})


def command(app: Flask, *args: str) -> str:
    result = app.test_cli_runner().invoke(args=list(args))
    assert result.exit_code == 0, result.output
    return str(result.stdout).strip()


def of_an_attacker(person: Person) -> Person:
    """The same account with an app whose secret the attacker has made up."""
    return Person(person.email, person.clock, totp.new_secret())


def secret_of(person: Person) -> bytes | None:
    """What the app holds that now opens this account."""
    return User.get(User.email == person.email).authenticator().secret()


# 1 to 3: pages out of turn --------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("who", ["nobody", "half"])
def test_no_spelling_of_a_path_and_no_method_opens_a_page_before_its_turn(
    app: Flask, browser: Browser, omar: Person, ada: Person, who: str
) -> None:
    """A1, SE-10, WEB-3."""
    page = give_password(browser, ada) if who == "half" else browser.get("/login")
    before, token = everything(app), csrf(page)
    may_open = {*PUBLIC, *OF_THE_CHALLENGE} if who == "half" else PUBLIC
    sent_to = "/login/code" if who == "half" else "/login?notice=needed"
    closed = {endpoint: path for endpoint, path, _ in requests_to(app) if endpoint not in may_open}
    assert len(closed) > 15
    for endpoint, path in closed.items():
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


DEEDS: dict[str, tuple[str, dict[str, str], Kind]] = {  # all that a finished sign-in can do, and the event it leaves
    "account.password": (
        "/account/password",
        {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        Kind.PASSWORD_CHANGED,
    ),
    "account.new_recovery_code": ("/account/recovery-code", {}, Kind.RECOVERY_CODE_MADE),
    "account.revoke_session": ("/account/sessions/1/revoke", {}, Kind.SESSION_REVOKED),
    "account.revoke_others": ("/account/sessions/revoke-others", {}, Kind.SESSION_REVOKED),
    "account.dismiss_recovery_notice": ("/account/recovery-notice/dismiss", {}, Kind.RECOVERY_NOTICE_DISMISSED),
    "login.verify": ("/verify", {"password": PASSWORD, "code": "now"}, Kind.STEPPED_UP),
    "admin.reset_mfa": ("/admin/people/2/reset-mfa", {"reason": "lost"}, Kind.MFA_RESET),
    "admin.invite": ("/admin/people/2/invite", {}, Kind.USER_INVITED),
    "admin.change": ("/admin/people/2/deactivate", {}, Kind.USER_DEACTIVATED),
    "admin.switch_recovery_codes": ("/admin/settings/recovery-codes", {"turn": "off"}, Kind.RECOVERY_CODES_DISABLED),
}


def test_every_form_of_a_finished_sign_in_is_among_the_attacked(app: Flask) -> None:
    """A2, RA-5."""
    forms = {endpoint for endpoint, _, method in requests_to(app) if method == "POST"}
    assert forms == {*DEEDS, *STEP_PAGES, "login.password", "account.welcome"}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_form_filled_in_rightly_does_nothing_before_the_second_factor(make_app, make_person, clock, deed) -> None:
    """A2, SE-10, TO-13, AD-4."""
    app = make_app("switched")
    command(app, "recovery-codes", "enable")
    ada, _ = make_person("ada@example.com", admin=True, on=app), make_person("omar@example.com", on=app)
    sign_in(Browser(app), ada)  # session 1
    clock.pass_by(30)
    browser = Browser(app)
    page = give_password(browser, ada)
    path, values, kind = DEEDS[deed]
    values = {name: ada.code() if value == "now" else value for name, value in values.items()}
    before = everything(app)
    assert post(browser, path, csrf(page), **values).headers["Location"] == "/login/code"
    assert everything(app) == before

    page = browser.submit("/login/code", code=ada.code())
    clock.pass_by(30)
    values = {name: ada.code() if name == "code" else value for name, value in values.items()}
    assert post(browser, path, csrf(page), **values).status in (200, 303)
    assert kind in kinds(app) and kind not in [event["kind"] for event in before["Event"]]


def test_a_stranger_who_holds_every_right_code_uses_none_of_them_without_the_password(
    app: Flask, browser: Browser, omar: Person
) -> None:
    """A3, RC-7, WEB-2."""
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


# 4 to 7: two sign-ins at once -----------------------------------------------------------------------------------------


def test_two_sign_ins_in_two_tabs_never_become_one(app: Flask, browser: Browser, omar: Person, noor: Person) -> None:
    """A4, SE-3."""
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


def test_a_half_cookie_put_beside_or_in_place_of_somebody_elses_gives_neither_more(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
    """A4, SE-3, SE-10."""
    give_password(browser, omar)
    full = Browser(app)
    sign_in(full, noor)
    mine, theirs = f"session={browser.cookie()}", f"session={full.cookie()}"
    assert send_raw(app, "/account", f"{mine}; {theirs}").headers["Location"] == "/login/code"
    assert "noor@example.com" in send_raw(app, "/account", f"{theirs}; {mine}").text

    merged = full.copy()  # with Noor's mark of a known browser
    merged.client.set_cookie("session", browser.cookie() or "")
    noor.clock.pass_by(30)
    page = merged.get("/login/code")
    assert merged.submit(page, code=noor.code()).status == 422
    assert "omar@example.com" in merged.submit(page, code=omar.code()).text
    assert "noor@example.com" in full.get("/account").text


def nothing(app: Flask, person: Person, other: Browser) -> None:
    pass


def password_changed(app: Flask, person: Person, other: Browser) -> None:
    other.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)


def app_replaced(app: Flask, person: Person, other: Browser) -> None:
    page = other.get("/mfa/setup")
    assert other.submit(page, code=scan(page, person).code()).h1 == "Security"


def new_code_saved(app: Flask, person: Person, other: Browser) -> None:
    page = other.press(other.get("/account/recovery-code"), "Make a new code")
    assert other.submit(page, saved="yes").h1 == "Security"


def signed_out_elsewhere(app: Flask, person: Person, other: Browser) -> None:
    other.press(other.get("/account"), "Sign out everywhere else")


def reset(app: Flask, person: Person, other: Browser) -> None:
    command(app, "users", "reset-mfa", person.email)


def deactivated_for_a_moment(app: Flask, person: Person, other: Browser) -> None:
    command(app, "users", "deactivate", person.email)
    command(app, "users", "activate", person.email)


def link_used(app: Flask, person: Person, other: Browser) -> None:
    link = command(app, "users", "invite", person.email).split()[-1].removeprefix("http://localhost:5000")
    assert Browser(app).submit(link, new_password=NEW_PASSWORD).path == "/login"


HAPPENINGS = [
    nothing,
    password_changed,
    app_replaced,
    new_code_saved,
    signed_out_elsewhere,
    reset,
    deactivated_for_a_moment,
    link_used,
]


@pytest.mark.parametrize("stage", ["challenge", "claimed", "lost device"])
@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
def test_an_unfinished_sign_in_dies_when_what_it_was_made_for_changes(
    app: Flask, browser: Browser, omar: Person, clock: Clock, stage: str, happens: Callable[..., None]
) -> None:
    """A5, SE-11, SE-12, TO-16, PW-18."""
    if stage == "challenge":
        page = give_password(browser, omar)
    else:
        page = use_recovery_code(browser, omar)
        if stage == "lost device":
            page = save_new_code(browser, page, omar)
    other = Browser(app)
    sign_in(other, omar)
    clock.pass_by(30)
    happens(app, omar, other)
    clock.pass_by(30)
    before = everything(app)
    values = {"challenge": {"code": omar.code()}, "claimed": {"saved": "yes"}, "lost device": {"still_have": "yes"}}
    answer = browser.send(page, values[stage])
    if happens is nothing:
        assert browser.follow(answer).h1 in ("Security", "Do you still have your authenticator app?")
    else:
        assert answer.headers["Location"].startswith("/login?")
        assert opened(browser) == []
        assert everything(app) == before


@pytest.mark.parametrize("how", ["finished", "signed out", "ran out"])
def test_a_copy_of_an_unfinished_sign_in_cannot_be_finished_again(
    app: Flask, browser: Browser, omar: Person, clock: Clock, how: str
) -> None:
    """A6, SE-3, SE-16."""
    page = give_password(browser, omar)
    copy = browser.copy()
    if how == "finished":
        browser.submit(page, code=omar.code())
    elif how == "signed out":
        browser.press(page, "Sign in as someone else")
    clock.pass_by(600 if how == "ran out" else 30)
    before = everything(app)
    assert copy.send(page, {"code": omar.code()}).headers["Location"].startswith("/login?")
    assert opened(copy) == []
    assert everything(app) == before, "the code was not used up"
    fresh = Browser(app)
    give_password(fresh, omar)
    assert fresh.submit("/login/code", code=omar.code()).h1 == "Security"


def test_a_password_of_somebody_else_sent_by_a_signed_in_browser_is_not_looked_at(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
    """A7, SE-3."""
    token = csrf(sign_in(browser, noor))
    before = everything(app)
    for password in (omar.password, "wrong"):
        answer = post(browser, "/login", token, email=omar.email, password=password)
        assert answer.headers["Location"] == "/account"
    assert everything(app) == before
    assert "noor@example.com" in browser.get("/account").text
    browser.press(browser.get("/account"), "Sign out")
    assert "omar@example.com" in sign_in(browser, omar).text


# 8 to 11: enrollment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes_on", [True, False])
def test_whoever_has_only_the_password_cannot_enroll_over_an_app(
    app: Flask, browser: Browser, omar: Person, codes_on: bool
) -> None:
    """A8, TO-13."""
    app.config["RECOVERY_CODES_ENABLED"] = codes_on
    page, evil = give_password(browser, omar), of_an_attacker(omar)
    for method, path in (("GET", "/mfa/setup"), ("POST", "/mfa/setup"), ("POST", "/mfa/finish")):
        data = {**csrf(page), "code": evil.code(), "secret": str(evil.secret)} if method == "POST" else None
        assert browser.open(path, method=method, data=data).headers["Location"] == "/login/code"
    assert count(app, Enrollment) == 0
    with app.app_context():
        assert secret_of(omar) == omar.secret

    app.config["RECOVERY_CODES_ENABLED"] = True
    page = save_new_code(browser, browser.submit("/login/recovery", recovery_code=omar.recovery_code), omar)
    assert browser.submit(page, still_have="no").h1 == "Set up your authenticator app"


def test_the_key_of_a_tab_left_open_confirms_nothing_once_it_ran_out(
    app: Flask, browser: Browser, omar: Person, clock: Clock
) -> None:
    """A9, TO-14."""
    sign_in(browser, omar)
    tabs = [browser.get("/mfa/setup") for _ in range(2)]
    assert len({tab.text_of("setup-key") for tab in tabs}) == 1, "two tabs of one browser are one enrollment"
    old = scan(tabs[0], Person(omar.email, clock))
    clock.pass_by(900)
    browser.submit("/verify", password=PASSWORD, code=omar.code())
    new = scan(browser.get("/mfa/setup"), Person(omar.email, clock))
    token = csrf(browser.get("/mfa/setup"))
    refused = post(browser, "/mfa/setup", token, code=old.code())
    assert refused.errors[0].startswith("That code didn't match")
    with app.app_context():
        assert secret_of(omar) == omar.secret
    assert post(browser, "/mfa/setup", token, code=new.code()).status == 303
    with app.app_context():
        assert secret_of(omar) == new.secret


@pytest.mark.parametrize("browsers", [1, 2], ids=["two tabs", "two browsers"])
def test_two_enrollments_confirmed_at_the_same_moment_leave_one_app(
    app: Flask, omar: Person, clock: Clock, browsers: int
) -> None:
    """A9, TO-5."""
    for _ in range(5):
        pages, apps = [], []
        visitors = [Browser(app) for _ in range(browsers)]
        for visitor in visitors:
            clock.pass_by(30)
            sign_in(visitor, omar)
        for visitor in visitors * (2 // browsers):
            pages.append((visitor.copy(), visitor.get("/mfa/setup")))
            apps.append(scan(pages[-1][1], Person(omar.email, clock)))
        clock.pass_by(30)
        sends = [partial(b.send, page, {"code": a.code()}) for (b, page), a in zip(pages, apps, strict=True)]
        answers = at_once(sends)
        assert [answer.headers["Location"] for answer in answers].count("/account?notice=app-ready") == 1
        assert count(app, TotpAuthenticator) == count(app, Session) == 1
        with app.app_context():
            omar.secret = secret_of(omar)
        winners = [a for a, answer in zip(apps, answers, strict=True) if "app-ready" in answer.headers["Location"]]
        assert [winner.secret for winner in winners] == [omar.secret]


PLANTED = ("secret", "key", "setup_key", "setup-key", "sealed_secret", "totp_secret", "confirmed_step", "enrollment")


@pytest.mark.parametrize("how", ["data", "query_string", "cookies"])
def test_a_secret_that_the_attacker_chose_is_never_the_one_enrolled(
    app: Flask, browser: Browser, maya: Person, how: str
) -> None:
    """A10, TO-14, WEB-17."""
    page, evil = give_password(browser, maya), of_an_attacker(maya)
    key = totp.setup_key(evil.secret or b"").replace(" ", "")
    planted: dict[str, Any] = {"data": {}, how: dict.fromkeys(PLANTED, key)}
    for name, value in planted.pop("cookies", {}).items():
        browser.client.set_cookie(name, value)

    def confirm(code: str) -> Page:
        data = {**planted["data"], **csrf(page), "code": code}
        return browser.open("/mfa/setup", method="POST", **{**planted, "data": data})

    refused = confirm(evil.code())
    assert refused.errors[0].startswith("That code didn't match")
    assert refused.text_of("setup-key") == page.text_of("setup-key")
    assert confirm(scan(page, maya).code()).headers["Location"] == "/mfa/recovery-code"
    assert browser.submit("/mfa/recovery-code", saved="yes").h1 == "Security"
    with app.app_context():
        assert secret_of(maya) == maya.secret


@pytest.mark.parametrize(("site", "planted"), [("https://app.test", "session"), ("http://localhost", "__Host-session")])
def test_only_a_cookie_that_no_neighbour_can_plant_is_looked_at(make_app, make_person, site: str, planted: str) -> None:
    """A10, B29, SE-4, SE-8: with the password the attacker begins to set up an app in the victim's name and plants
    that sign-in in the victim's browser, so that a secret of theirs would be scanned."""
    app = make_app("site", SITE_URL=site, RECOVERY_CODES_ENABLED=True)
    maya = make_person("maya@example.com", enrolled=False, on=app)
    attacker, victim = Browser(app, base_url=site), Browser(app, base_url=site)
    key = give_password(attacker, maya).text_of("setup-key")
    real, domain = app.config["SESSION_COOKIE_NAME"], site.partition("//")[2]
    value = attacker.client.get_cookie(real, domain=domain).value
    victim.client.set_cookie(planted, value, domain=domain)
    assert victim.get("/login").h1 == "Sign in"
    assert give_password(victim, maya).text_of("setup-key") != key
    victim.client.set_cookie(real, value, domain=domain)
    assert victim.get("/login").text_of("setup-key") == key


def test_another_site_cannot_sign_a_browser_in_and_the_page_says_who_is_being_set_up(
    app: Flask, browser: Browser, maya: Person, make_person: Callable[..., Person]
) -> None:
    """A10, WEB-2, WEB-4."""
    mallory = make_person("mallory@example.com", enrolled=False)
    page, values = browser.get("/login"), {"email": mallory.email, "password": mallory.password}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"}):
        assert browser.send(page, values, headers=headers).status == 400
        assert opened(browser) == []
    page = browser.follow(browser.send(page, values, headers={"Sec-Fetch-Site": "same-origin"}))
    assert "mallory@example.com" in page.text
    mallorys = page.text_of("setup-key")
    page = browser.press(page, "Cancel and sign out")
    assert browser.submit(page, email=maya.email, password=maya.password).text_of("setup-key") != mallorys


@pytest.mark.parametrize("enrolled", [False, True], ids=["first app", "replacement"])
def test_enrollment_is_not_confirmed_without_a_code_of_the_new_app(
    app: Flask, browser: Browser, make_person: Callable[..., Person], clock: Clock, enrolled: bool
) -> None:
    """A11, TO-11, TO-14."""
    person = make_person("noor@example.com", enrolled=enrolled)
    if enrolled:
        sign_in(browser, person)
        clock.pass_by(30)
    page = browser.get("/mfa/setup") if enrolled else give_password(browser, person)
    new = scan(page, Person(person.email, clock))
    before = rows(app, TotpAuthenticator)
    bad: list[dict[str, Any]] = [{}, {"code": ""}, {"code": " "}, {"code": "None"}, {"code": "000000\0"}]
    bad += [{"code[]": new.code()}, {"Code": new.code()}, {"code": ["", new.code()]}, {"code": new.wrong_code()}]
    bad += [{"code": new.code(-60)}, {"code": new.code(60)}, {"code": new.code()[:5]}, {"code": new.code() + "0"}]
    if enrolled:
        bad.append({"code": person.code()})
    for values in bad:
        answer = post(browser, "/mfa/setup", csrf(page), **values)
        assert (answer.status, answer.h1) == (422, page.h1), values
    assert count(app, Enrollment, Enrollment.confirmed_step.is_null(False)) == 0
    assert rows(app, TotpAuthenticator) == before
    answer = post(browser, "/mfa/setup", csrf(page), code=new.code())
    assert answer.headers["Location"] == ("/account?notice=app-ready" if enrolled else "/mfa/recovery-code")


# 12 to 14: the prompt and the flag ------------------------------------------------------------------------------------


def test_the_prompt_cannot_be_confirmed_before_it_was_shown_nor_stepped_over(
    app: Flask, browser: Browser, maya: Person
) -> None:
    """A12, RC-10."""
    page = give_password(browser, maya)
    for path, values in (("/mfa/recovery-code", {"saved": "yes"}), ("/mfa/finish", {}), ("/mfa/lost-device", {})):
        assert post(browser, path, csrf(page), still_have="yes", **values).headers["Location"] == "/mfa/setup"
    prompt = browser.submit(page, code=scan(page, maya).code())
    for values in ({"saved": "yes"}, {"saved": "yes", "shown": ""}, {"saved": "yes", "shown": "0" * 64}):
        answer = post(browser, "/mfa/recovery-code", csrf(prompt), **values)
        assert answer.status == 422
        assert shown_code(answer) == shown_code(prompt)
    for endpoint, path, method in requests_to(app):
        if endpoint not in {*PUBLIC, "login.sign_out", "recovery.prompt", "recovery.download"}:
            answer = browser.open(path, method=method, data=csrf(prompt) if method == "POST" else None)
            assert answer.headers["Location"] == "/mfa/recovery-code", path
    assert count(app, TotpAuthenticator) == live_codes(app) == 0
    assert browser.submit(prompt, saved="yes").h1 == "Security"
    assert count(app, TotpAuthenticator) == live_codes(app) == 1


def test_nobody_confirms_a_prompt_for_somebody_else(app: Flask, ines: Person, make_person, clock: Clock) -> None:
    """A12, RC-9."""
    zoe, mine, theirs = make_person("zoe@example.com", code=False), Browser(app), Browser(app)
    page, other = sign_in(mine, ines), sign_in(theirs, zoe)
    shown = other.form_with("saved").fields["shown"]
    answer = post(mine, "/mfa/recovery-code", csrf(page), saved="yes", shown=shown)
    assert (answer.status, shown_code(answer)) == (422, shown_code(page))
    for prompted in (mine, theirs):
        assert not is_signed_in(prompted)
    assert count(app, RecoveryCode, RecoveryCode.saved_at.is_null(False)) == 0
    assert save_new_code(theirs, other, zoe).path == save_new_code(mine, page, ines).path == "/account"


def without_token(page: Page) -> str:
    return re.sub(r'name="csrf_token" value="[^"]+"', "", page.raw)


@pytest.mark.parametrize("was_on_when_it_began", [True, False])
def test_turning_codes_off_and_on_again_while_somebody_enrolls_leaves_no_way_round_the_prompt(
    app: Flask, browser: Browser, maya: Person, was_on_when_it_began: bool
) -> None:
    """A13, RC-10, RC-11, RC-12."""
    app.config["RECOVERY_CODES_ENABLED"] = was_on_when_it_began
    page = give_password(browser, maya)
    app.config["RECOVERY_CODES_ENABLED"] = True
    prompt = browser.submit(page, code=scan(page, maya).code())
    assert prompt.h1 == "Save your recovery code"
    for _ in range(2):
        app.config["RECOVERY_CODES_ENABLED"] = False
        assert browser.send(prompt, {"saved": "yes"}).status == 403
        assert browser.open("/mfa/recovery-code.txt").status == 403
        app.config["RECOVERY_CODES_ENABLED"] = True
        assert post(browser, "/mfa/finish", csrf(prompt)).headers["Location"] == "/mfa/recovery-code"
        assert shown_code(browser.get("/account")) == shown_code(prompt)
        assert count(app, TotpAuthenticator) == count(app, RecoveryCode) == 0
    assert save_new_code(browser, prompt, maya).h1 == "Security"
    assert use_recovery_code(Browser(app), maya).h1.startswith("You're in")


def test_a_claim_made_before_codes_were_turned_off_is_worth_nothing_when_they_are_on_again(
    app: Flask, browser: Browser, omar: Person
) -> None:
    """A13, RC-12."""
    prompt = use_recovery_code(browser, omar)
    slow = browser.copy()
    app.config["RECOVERY_CODES_ENABLED"] = False
    assert browser.send(prompt, {"saved": "yes"}).status == 403
    app.config["RECOVERY_CODES_ENABLED"] = True
    for visitor in (browser, slow):
        assert visitor.send(prompt, {"saved": "yes"}).headers["Location"].startswith("/login?")
        assert opened(visitor) == []
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 0
    assert save_new_code(browser, use_recovery_code(browser, omar), omar).path == "/mfa/lost-device"


def test_a_hidden_form_sent_by_hand_while_codes_are_off_tells_nothing_of_the_code(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
    """A14, RC-11, TH-8."""
    spent = omar.recovery_code
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="yes")
    half = Browser(app)
    token = csrf(give_password(half, omar))
    app.config["RECOVERY_CODES_ENABLED"] = False
    before = everything(app)
    typed = [omar.recovery_code, spent, noor.recovery_code, WELL_FORMED, "", omar.code(), "x" * 999]
    answers = [post(half, "/login/recovery", token, recovery_code=code) for code in typed]
    assert {answer.status for answer in answers} == {403}
    assert len({without_token(answer) for answer in answers}) == 1
    after = everything(app)
    written = [event["kind"] for event in after.pop("Event")[len(before.pop("Event")) :]]
    assert written == [Kind.RECOVERY_CODE_WHILE_OFF] * len(typed)
    assert after == before
    app.config["RECOVERY_CODES_ENABLED"] = True
    answer = post(half, "/login/recovery", token, recovery_code=omar.recovery_code)
    assert answer.headers["Location"] == "/mfa/recovery-code"


# 15 to 17: an easier way ----------------------------------------------------------------------------------------------

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
    """A15, A17, WEB-17, RA-3."""
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


def test_a_stolen_forged_or_outdated_mark_of_a_known_browser_only_chooses_whose_tries_it_spends(
    make_app, app: Flask, omar: Person, noor: Person, clock: Clock
) -> None:
    """A16, TH-7."""

    def mark_of(person: Person, on: Flask = app) -> str:
        browser = Browser(on)
        assert sign_in(browser, person).h1 == "Security"
        clock.pass_by(30)
        return browser.cookie("known-browser") or ""

    def answers(mark: str) -> tuple[int, list[str]]:
        browser = Browser(app, "198.51.100.1")
        browser.client.set_cookie("known-browser", mark)
        assert opened(browser) == []
        return browser.submit("/login", email=omar.email, password="wrong").status, opened(browser)

    keys = {"SECRET_KEY": "another-key-0123456789-abcdefghijk", "SECRET_KEY_FALLBACKS": [app.config["SECRET_KEY"]]}
    rekeyed = make_app(RECOVERY_CODES_ENABLED=True, **keys)
    before_the_change = mark_of(omar)
    owner = Browser(app)
    sign_in(owner, omar)
    owner.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    clock.pass_by(30)
    with app.app_context():
        User.update(password_changed_at=clock.now).execute()  # the two of them in the same second
    own, second, noors = mark_of(omar), mark_of(omar), mark_of(noor)
    other_keys = mark_of(omar, rekeyed)
    for _ in range(5):
        Browser(app).submit("/login", email=omar.email, password="wrong")

    name, _, proof = own.partition(".")
    forged = [before_the_change, noors, other_keys, f"{second.partition('.')[0]}.{proof}", f"{name}.{proof.upper()}"]
    forged += [
        f"{name}.{proof[:-1]}",
        f".{proof}",
        f"{name}x.{proof}",
        f"{name}.{'0' * 64}",
        f"{name}%00.{proof}",
        name,
    ]
    for mark in forged:
        assert answers(mark) == (429, []), mark
    assert [answers(own) for _ in range(6)] == [(422, [])] * 5 + [(429, [])], "a stolen one has five tries, once"
    assert answers(second) == (422, [])


def test_no_request_takes_an_app_away_or_signs_in_without_one(app: Flask, omar: Person, ada: Person, clock) -> None:
    """A17, TO-13, PW-21, WA-7."""
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
