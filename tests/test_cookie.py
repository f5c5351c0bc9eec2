"""The cookie: what it is, when it is renewed, and that an old, copied, planted or made-up one opens nothing."""

from collections.abc import Callable

import pytest
from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from tests.support.cookies import moved, opened, payload, send_raw, set_cookies, signed
from tests.support.pages import Browser, Page
from tests.support.people import Person, enroll, give_password, is_signed_in, save_new_code, scan, sign_in

pytestmark = pytest.mark.pages

HALF_A_YEAR = 180 * 86400


# What it looks like ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "prefix", "secure"), [("http://localhost", "", set()), ("https://app.test", "__Host-", {"Secure"})]
)
def test_cookies_are_for_this_site_alone_and_end_with_the_browser(
    make_app, make_person, site, prefix, secure
) -> None:  # SE-9
    app = make_app("cookies", SITE_URL=site, RECOVERY_CODES_ENABLED=True)
    omar, browser = make_person("omar@example.com", on=app), Browser(app, base_url=site)
    plain = secure | {"HttpOnly", "Path=/", "SameSite=Lax"}

    page = browser.open("/login")
    assert set_cookies(page) == {f"{prefix}session": plain}
    page = browser.send(page, {"email": omar.email, "password": omar.password})
    assert set_cookies(page) == {f"{prefix}session": plain}
    page = browser.send(browser.get("/login/code"), {"code": omar.code()})
    known = {f"{prefix}known-browser": plain | {"Expires", f"Max-Age={HALF_A_YEAR}"}}
    assert set_cookies(page) == {f"{prefix}session": plain, **known}
    assert set_cookies(browser.open("/account")) == {}
    assert is_signed_in(browser)


# When it is renewed ---------------------------------------------------------------------------------------------------


def renewed(browser: Browser, act: Callable[[], Page]) -> Page:
    """Do it, and see that the token is new, and that the old cookie opened something before and nothing after."""
    copy, before = browser.copy(), payload(browser)["token"]
    assert opened(copy)
    page = act()
    assert payload(browser)["token"] != before
    assert opened(browser)
    assert opened(copy) == []
    return page


def test_the_token_is_new_after_each_factor_and_after_confirming(browser, omar, clock) -> None:
    browser.open("/login")
    assert "token" not in payload(browser)
    page = give_password(browser, omar)
    assert "token" in payload(browser)
    renewed(browser, lambda: browser.submit(page, code=omar.code()))
    clock.pass_by(30)
    renewed(browser, lambda: browser.submit("/verify", password=omar.password, code=omar.code()))
    assert is_signed_in(browser)


def test_a_refused_code_leaves_the_token_as_it_is(browser, omar) -> None:
    page = give_password(browser, omar)
    copy, token = browser.copy(), payload(browser)["token"]
    page = browser.submit(page, code=omar.wrong_code())
    assert payload(browser)["token"] == token
    assert "/login/code" in opened(copy)
    renewed(browser, lambda: browser.submit(page, code=omar.code()))


def test_the_token_is_new_when_an_enrollment_is_complete(browser, maya) -> None:
    page = give_password(browser, maya)
    token = payload(browser)["token"]
    page = browser.submit(page, code=scan(page, maya).code())
    assert payload(browser)["token"] == token
    renewed(browser, lambda: save_new_code(browser, page, maya))


def test_typing_a_recovery_code_keeps_the_token_and_saving_its_replacement_renews_it(browser, omar) -> None:
    give_password(browser, omar)
    copy, token = browser.copy(), payload(browser)["token"]
    page = browser.submit("/login/recovery", recovery_code=omar.recovery_code)
    assert payload(browser)["token"] == token
    assert copy.get("/mfa/recovery-code").h1 == page.h1
    page = renewed(browser, lambda: save_new_code(browser, page, omar))
    renewed(browser, lambda: browser.submit(page, still_have="yes"))


def test_the_csrf_token_is_new_with_each_factor_and_the_old_one_is_refused(browser, omar) -> None:
    def csrf(page: Page, *names: str) -> str:
        return page.form_with(*names).fields["csrf_token"]

    first = csrf(browser.get("/login"), "email")
    page = give_password(browser, omar)
    data = {"code": omar.code()}
    answer = browser.open("/login/code", method="POST", data={**data, "csrf_token": first})
    assert (answer.status, answer.h1) == (400, "This page was open too long")
    second = csrf(page, "code")
    page = browser.follow(browser.open("/login/code", method="POST", data={**data, "csrf_token": second}))
    assert page.path == "/account"

    for old in (first, second):
        assert browser.open("/logout", method="POST", data={"csrf_token": old}).status == 400
    assert is_signed_in(browser)
    assert browser.press(page, "Sign out").notice == "You're signed out."


# When it is dead ------------------------------------------------------------------------------------------------------


def test_signing_out_kills_every_copy(browser, omar) -> None:
    page = sign_in(browser, omar)
    copies = [browser.copy(), browser.copy()]
    assert all(is_signed_in(copy) for copy in copies)
    browser.press(page, "Sign out")
    assert [opened(copy) for copy in copies] == [[], []]


def signed_out(browser: Browser, person: Person) -> None:
    browser.press(browser.get("/account"), "Sign out")


def confirmed(browser: Browser, person: Person) -> None:
    person.clock.pass_by(30)
    browser.submit("/verify", password=person.password, code=person.code())


def away(browser: Browser, person: Person) -> None:
    person.clock.pass_by(3600)


@pytest.mark.parametrize("ended", [signed_out, confirmed, away])
def test_only_the_sign_in_page_replaces_a_dead_cookie(browser, omar, ended) -> None:
    page = sign_in(browser, omar)
    form = {"csrf_token": page.forms[0].fields["csrf_token"]}
    copy = browser.copy()
    ended(browser, omar)
    dead = copy.cookie()
    for method, path, data, status in (
        ("GET", "/", None, 303),
        ("GET", "/account", None, 303),
        ("GET", "/login/code", None, 303),
        ("GET", "/nothing", None, 404),
        ("POST", "/logout", form, 303),
        ("POST", "/logout", {}, 400),
        ("POST", "/verify", form, 303),
        ("POST", "/login/code", {**form, "code": omar.code()}, 303),
    ):
        answer = copy.open(path, method=method, data=data)
        assert (answer.status, set_cookies(answer)) == (status, {}), (method, path)
    assert copy.cookie() == dead

    assert set(set_cookies(copy.open("/login"))) == {"session"}
    assert "token" not in payload(copy)
    omar.clock.pass_by(30)
    assert sign_in(copy, omar).h1 == "Security"


# Planted --------------------------------------------------------------------------------------------------------------


def test_a_cookie_planted_before_a_sign_in_opens_nothing_after_it(browser, omar) -> None:
    browser.open("/login")
    victim = browser.copy()
    assert victim.cookie() == browser.cookie()
    sign_in(victim, omar)
    assert is_signed_in(victim)
    assert opened(browser) == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_planted_sign_in_of_somebody_else_does_not_become_the_victims(browser, omar, ines, finished: bool) -> None:
    give_password(browser, ines)
    planted = payload(browser)["token"]
    victim = browser.copy()
    page = victim.get("/login")
    assert "Signing in as ines@example.com" in page.text
    if finished:  # by whoever planted it
        browser.submit("/login/code", code=ines.code())
    else:
        victim.press(page, "Sign in as someone else")
    sign_in(victim, omar)
    assert payload(victim)["token"] != planted
    assert "omar@example.com" in victim.get("/account").text
    browser.client.set_cookie("session", signed(browser.app, planted))
    assert opened(browser) == []


# Made up --------------------------------------------------------------------------------------------------------------


MADE_UP: dict[str, Callable[[Flask, str, str], str]] = {  # from the real cookie and the token in it
    "empty": lambda app, real, token: "",
    "no cookie of ours": lambda app, real, token: "made up",
    "three dots": lambda app, real, token: "...",
    "compressed nothing": lambda app, real, token: ".eJw.x.y",
    "the token alone": lambda app, real, token: token,
    "another payload": lambda app, real, token: "e30" + real[real.index(".") :],
    "a changed character": lambda app, real, token: ("X" if real[5] != "X" else "Y").join((real[:5], real[6:])),
    "no signature": lambda app, real, token: real.rpartition(".")[0],
    "cut short": lambda app, real, token: real[:-1],
    "longer": lambda app, real, token: real + "A",
    "8 kB": lambda app, real, token: real + "x" * 8192,
    "8 kB in front": lambda app, real, token: "x" * 8192 + real,
    "not ASCII": lambda app, real, token: "caf\xe9\xff" + real,
    "another token": lambda app, real, token: signed(app, "A" * 43),
    "a number": lambda app, real, token: signed(app, 1),
    "a list": lambda app, real, token: signed(app, [token]),
    "nothing for a token": lambda app, real, token: signed(app, None),
}


def test_a_made_up_cookie_is_nobodys(app, browser, omar) -> None:
    sign_in(browser, omar)
    real, token = browser.cookie() or "", payload(browser)["token"]
    for name, make in MADE_UP.items():
        value = make(app, real, token)
        for path in ("/account", "/login/code", "/mfa/setup"):
            answer = send_raw(app, path, f"session={value}")
            assert answer.status == 303, name
            assert answer.headers["Location"].startswith("/login?"), name
        assert send_raw(app, "/login", f"session={value}").h1 == "Sign in", name
    assert send_raw(app, "/account", f"session={real}").h1 == "Security"


@pytest.mark.parametrize("order", ["{made_up}; {real}", "{real}; {made_up}"])
def test_of_two_cookies_of_one_name_neither_order_breaks_anything(app, browser, omar, order: str) -> None:
    sign_in(browser, omar)
    cookies = order.format(made_up="session=made.up.x", real=f"session={browser.cookie()}")
    assert send_raw(app, "/account", cookies).status == (303 if order.startswith("{made_up}") else 200)


def test_a_cookie_signed_with_another_key_or_for_another_purpose_is_nobodys(make_app, app, browser, omar) -> None:
    sign_in(browser, omar)
    token, other = payload(browser)["token"], make_app("other", SECRET_KEY="another-key-0123456789-abcdefghijk")
    assert send_raw(app, "/account", f"session={signed(other, token)}").status == 303
    elsewhere = URLSafeTimedSerializer(app.secret_key, salt="csrf").dumps({"token": token})
    assert send_raw(app, "/account", f"session={elsewhere}").status == 303
    assert send_raw(app, "/account", f"session={signed(app, token)}").status == 200


def test_a_made_up_mark_of_a_known_browser_is_no_hindrance_and_is_replaced(app, omar, clock) -> None:
    for value in (".", "x.", ".x", "a.b.c", "caf\xe9.\xff", "\0.\0", "x" * 4000, "x." + "0" * 64):
        browser = Browser(app)
        browser.client.set_cookie("known-browser", value)
        assert sign_in(browser, omar).h1 == "Security", value
        new = browser.cookie("known-browser") or ""
        assert new != value
        assert len(new) > 64
        clock.pass_by(30)


def test_the_mark_of_a_known_browser_opens_nothing(app, browser, omar) -> None:
    sign_in(browser, omar)
    other = Browser(app)
    other.client.set_cookie("known-browser", browser.cookie("known-browser") or "")
    assert opened(other) == []
    assert opened(browser)


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_session_outlives_the_rotation_of_the_key(make_app, app, browser, maya, clock) -> None:
    old, new = app.config["SECRET_KEY"], "the-next-key-0123456789-abcdefghijk"
    enroll(browser, maya)
    rotated = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old], RECOVERY_CODES_ENABLED=True)
    switched = make_app(SECRET_KEY=new, RECOVERY_CODES_ENABLED=True)
    assert opened(moved(browser, switched)) == []
    browser = moved(browser, rotated)
    assert is_signed_in(browser)
    clock.pass_by(30)
    assert browser.submit("/verify", password=maya.password, code=maya.code()).h1 == "Security"
    assert is_signed_in(moved(browser, switched))  # its cookie bears the new key by now
