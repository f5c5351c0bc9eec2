"""The cookie: what it is, when it is renewed, and that an old, copied, planted or made-up one opens nothing."""

from base64 import b32encode, urlsafe_b64decode
from collections.abc import Callable, Iterator
from hashlib import sha256
from string import ascii_letters, digits
from zlib import decompress, error

import pytest
from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from models import RecoveryCode, Session
from tests.support.cookies import opened, payload, send_raw, set_cookies, signed
from tests.support.lives import KEEP_THE_TOKEN, LIVES, SIGNED_IN_LIFE, code_typed, signed_out, stepped_up
from tests.support.pages import Browser, Page, csrf
from tests.support.people import NEW_PASSWORD, PASSWORD, Person, give_password, is_signed_in, shown_code, sign_in
from tests.support.tables import count, rows

# What it looks like ---------------------------------------------------------------------------------------------------


HALF_A_YEAR = 180 * 86400


@pytest.mark.parametrize(
    ("site", "prefix", "secure"), [("http://localhost", "", set()), ("https://app.test", "__Host-", {"Secure"})]
)
def test_cookies_are_for_this_site_alone_and_end_with_the_browser(make_app, make_person, site, prefix, secure) -> None:
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


@pytest.fixture
def person(request: pytest.FixtureRequest, maya: Person, omar: Person) -> Person:
    return maya if request.node.callspec.params["life"] == "enrollment" else omar


def decoded(value: str) -> Iterator[bytes]:
    """The cookie and all that it may be read as."""
    yield value.encode()
    for part in value.split("."):
        try:
            plain = urlsafe_b64decode(part + "=" * (-len(part) % 4))
        except ValueError:
            continue
        yield plain
        try:
            yield decompress(plain)
        except error:
            continue


@pytest.mark.parametrize("life", LIVES)
def test_no_cookie_says_anything_of_the_person_or_holds_a_secret(app, browser, person, life: str) -> None:
    secrets, cookies = {person.email, "omar", "maya", PASSWORD, NEW_PASSWORD}, set()
    for step in LIVES[life][:-1]:
        page = step(browser, person)
        codes = {person.recovery_code or "-"} | (
            {shown_code(page)} if page.by_id("recovery-code") is not None else set()
        )
        secrets |= codes | {code.replace("-", "") for code in codes if code != "-"}
        if person.secret:
            secrets |= {person.secret.hex(), b32encode(person.secret).decode(), person.code()}
        secrets |= {row["token_digest"] for row in rows(app, Session)} | {
            row["digest"] for row in rows(app, RecoveryCode)
        }
        assert set(payload(browser)) == {"token", "csrf_token"}
        cookies |= {browser.cookie() or "", browser.cookie("known-browser") or ""}
    texts = [text for cookie in cookies for text in decoded(cookie)]
    assert any(b"csrf_token" in text for text in texts)
    assert [secret for secret in secrets - {"-"} for text in texts if secret.encode() in text] == []


# When it is renewed ---------------------------------------------------------------------------------------------------


def test_a_refused_code_leaves_the_token_as_it_is(browser, omar) -> None:
    page = give_password(browser, omar)
    copy, token = browser.copy(), payload(browser)["token"]
    page = browser.submit(page, code=omar.wrong_code())
    assert payload(browser)["token"] == token
    assert "/login/code" in opened(copy)
    assert browser.submit(page, code=omar.code()).h1 == "Security"
    assert opened(copy) == []


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


@pytest.mark.parametrize("life", LIVES)
def test_a_cookie_saved_at_any_moment_opens_nothing_once_there_is_a_newer_one(
    app: Flask, browser: Browser, person: Person, life: str
) -> None:
    browser.get("/login")
    copies = [browser.copy()]
    for step in LIVES[life]:
        page = step(browser, person)
        assert page.status == 200
        dead = [copy for copy in copies if payload(copy).get("token") != payload(browser).get("token")]
        token = csrf(page)
        for copy in dead:
            assert opened(copy) == [], step.__name__
            assert copy.open("/logout", method="POST", data=token).status == 400, "nor can it end the session"
        assert bool(opened(browser)) == (step is not signed_out)
        copies.append(browser.copy())
    assert len({copy.cookie() for copy in copies}) > len(SIGNED_IN_LIFE) + 2
    assert count(app, Session) == 0


@pytest.mark.parametrize("life", LIVES)
def test_every_gain_of_trust_has_a_token_of_its_own_and_the_database_only_its_digest(
    app: Flask, browser: Browser, person: Person, life: str
) -> None:
    seen: list[str] = []
    for step in LIVES[life][:-1]:
        step(browser, person)
        token = payload(browser)["token"]
        assert (token in seen) == (step in KEEP_THE_TOKEN), step.__name__
        seen.append(token)
        (row,) = rows(app, Session)
        assert row["token_digest"] == sha256(token.encode()).hexdigest()
        assert token not in str(row)
        assert len(urlsafe_b64decode(token + "=")) == 32
    assert is_signed_in(browser)


def test_what_was_planted_before_a_sign_in_is_worth_nothing_after_it(browser: Browser, omar: Person) -> None:
    known = csrf(browser.open("/login"))
    victim = browser.copy()
    for step in (give_password, code_typed, stepped_up):
        page = step(victim, omar)
        assert opened(browser) == []
        assert victim.open("/logout", method="POST", data=known).status == 400, "the form that the attacker prepared"
        assert opened(victim)
    assert victim.open("/logout", method="POST", data=csrf(page)).status == 303


# When it is dead ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("site", "planted"), [("https://app.test", "session"), ("http://localhost", "__Host-session")])
def test_only_a_cookie_that_no_neighbour_can_plant_is_looked_at(make_app, make_person, site: str, planted: str) -> None:
    """with the password the attacker begins to set up an app in the victim's name and plants
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


def test_a_half_cookie_put_beside_or_in_place_of_somebody_elses_gives_neither_more(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
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


# Made up --------------------------------------------------------------------------------------------------------------


MADE_UP: dict[str, Callable[[Flask, str, str], str]] = {  # from the real cookie and the token in it
    "empty": lambda app, real, token: "",
    "no cookie of ours": lambda app, real, token: "made up",
    "three dots": lambda app, real, token: "...",
    "compressed nothing": lambda app, real, token: ".eJw.x.y",
    "the token alone": lambda app, real, token: token,
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


def test_a_cookie_signed_with_another_key_or_for_another_purpose_is_nobodys(make_app, app, browser, omar) -> None:
    sign_in(browser, omar)
    token, other = payload(browser)["token"], make_app("other", SECRET_KEY="another-key-0123456789-abcdefghijk")
    assert send_raw(app, "/account", f"session={signed(other, token)}").status == 303
    elsewhere = URLSafeTimedSerializer(app.secret_key, salt="csrf").dumps({"token": token})
    assert send_raw(app, "/account", f"session={elsewhere}").status == 303
    assert send_raw(app, "/account", f"session={signed(app, token)}").status == 200


def test_a_cookie_changed_in_any_character_or_cut_anywhere_is_nobodys(app, browser, omar) -> None:
    sign_in(browser, omar)
    real, alphabet = browser.cookie() or "", f"{ascii_letters}{digits}-_"
    changed = [
        f"{real[:at]}{alphabet[(alphabet.find(was) + 32) % 64]}{real[at + 1 :]}"  # its first bit, where it has any
        for at, was in enumerate(real)
    ]
    cut = [*(real[:at] for at in range(0, len(real), 4)), *(real[at:] for at in range(1, len(real), 4))]
    assert len(changed) > 100
    for value in (*changed, *cut, real + real, real.swapcase(), real.replace(".", ""), f'"{real[:-2]}"'):
        answer = send_raw(app, "/account", f"session={value}")
        assert (answer.status, set_cookies(answer)) == (303, {}), value
        assert answer.headers["Location"].startswith("/login?"), value
    assert send_raw(app, "/account", f"session={real}").h1 == "Security"
