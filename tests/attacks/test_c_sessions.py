"""Attacks on the session: cookies saved, planted, changed or decoded; sessions of others; what outlives its end."""

from base64 import b32encode, urlsafe_b64decode
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from string import ascii_letters, digits
from zlib import decompress, error

import pytest
from flask import Flask

from models import Kind, RecoveryCode, Session, TotpAuthenticator
from tests.support.cookies import opened, payload, send_raw, set_cookies
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
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
from tests.support.tables import count, kinds, rows


def csrf(page: Page) -> dict[str, str]:
    return {"csrf_token": page.forms[0].fields["csrf_token"]}


def command(app: Flask, *args: str) -> str:
    result = app.test_cli_runner().invoke(args=list(args))
    assert result.exit_code == 0, result.output
    return str(result.stdout).strip()


# Three lives of a session, in steps; each step ends with a page, and all but the first begin with one -----------------

Step = Callable[[Browser, Person], Page]


def prompted(browser: Browser, person: Person) -> Page:
    page = browser.get("/mfa/setup")
    return browser.submit(page, code=scan(page, person).code())


def saved(browser: Browser, person: Person) -> Page:
    return save_new_code(browser, browser.get("/mfa/recovery-code"), person)


def code_typed(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/code", code=person.code())


def stepped_up(browser: Browser, person: Person) -> Page:
    person.clock.pass_by(30)
    return browser.submit("/verify", password=person.password, code=person.code())


def password_changed(browser: Browser, person: Person) -> Page:
    old, person.password = person.password, NEW_PASSWORD if person.password == PASSWORD else PASSWORD
    return browser.submit("/account/password", current_password=old, new_password=person.password)


def new_code_saved(browser: Browser, person: Person) -> Page:
    return save_new_code(browser, browser.press(browser.get("/account/recovery-code"), "Make a new code"), person)


def app_replaced(browser: Browser, person: Person) -> Page:
    person.clock.pass_by(30)
    return prompted(browser, person)


def recovery_code_typed(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/recovery", recovery_code=person.recovery_code)


def device_kept(browser: Browser, person: Person) -> Page:
    return browser.submit("/mfa/lost-device", still_have="yes")


def device_lost(browser: Browser, person: Person) -> Page:
    page = browser.submit("/mfa/lost-device", still_have="no")
    return browser.submit(page, code=scan(page, person).code())


def signed_out(browser: Browser, person: Person) -> Page:
    return browser.press(browser.get("/account"), "Sign out")


SIGNED_IN_LIFE = [stepped_up, password_changed, new_code_saved, app_replaced, signed_out]
LIVES: dict[str, list[Step]] = {
    "enrollment": [give_password, prompted, saved, *SIGNED_IN_LIFE],
    "sign-in": [give_password, code_typed, *SIGNED_IN_LIFE],
    "recovery, app kept": [give_password, recovery_code_typed, saved, device_kept, *SIGNED_IN_LIFE],
    "recovery, app lost": [give_password, recovery_code_typed, saved, device_lost, *SIGNED_IN_LIFE],
}
KEEP_THE_TOKEN = {prompted, recovery_code_typed}  # a double click must find its session: the next step renews it


@pytest.fixture
def person(request: pytest.FixtureRequest, maya: Person, omar: Person) -> Person:
    return maya if request.node.callspec.params["life"] == "enrollment" else omar


# 28 to 30: cookies kept, cookies planted ------------------------------------------------------------------------------


@pytest.mark.parametrize("life", LIVES)
def test_a_cookie_saved_at_any_moment_opens_nothing_once_there_is_a_newer_one(
    app: Flask, browser: Browser, person: Person, life: str
) -> None:
    """C28, SE-2, SE-3, RA-4."""
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
    """C30, SE-1, SE-3, RA-4."""
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


def idle(app: Flask, person: Person, other: Browser) -> None:
    person.clock.pass_by(3600)


def revoked(app: Flask, person: Person, other: Browser) -> None:
    page = other.get("/account")
    for form in page.forms:
        if form.action.endswith("/revoke"):
            other.open(form.action, method="POST", data=form.fields)
    other.press(page, "Sign out everywhere else")


def recovered_with_a_new_app(app: Flask, person: Person, other: Browser) -> None:
    owner = Browser(app)
    save_new_code(owner, use_recovery_code(owner, person), person)
    assert device_lost(owner, person).h1 == "Security"


def changed_password(app: Flask, person: Person, other: Browser) -> None:
    assert password_changed(other, person).path == "/account"


def replaced_app(app: Flask, person: Person, other: Browser) -> None:
    assert app_replaced(other, person).path == "/account"


def reset(app: Flask, person: Person, other: Browser) -> None:
    command(app, "users", "reset-mfa", person.email)


def used_link(app: Flask, person: Person, other: Browser) -> None:
    link = command(app, "users", "invite", person.email).split()[-1].removeprefix("http://localhost:5000")
    assert Browser(app).submit(link, new_password=NEW_PASSWORD).path == "/login"


def deactivated_for_a_moment(app: Flask, person: Person, other: Browser) -> None:
    command(app, "users", "deactivate", person.email)
    command(app, "users", "activate", person.email)


ENDINGS = [idle, revoked, recovered_with_a_new_app, changed_password, replaced_app, reset, used_link]


@pytest.mark.parametrize("ends", [*ENDINGS, deactivated_for_a_moment], ids=lambda ends: ends.__name__)
def test_no_copy_of_a_cookie_outlives_what_ends_its_session(app, omar, clock, ends) -> None:
    """C28, SE-5, SE-11, SE-12, SE-13, PW-18."""
    full, half, other = Browser(app), Browser(app), Browser(app)
    sign_in(full, omar)
    clock.pass_by(30)
    sign_in(other, omar)
    give_password(half, omar)
    copies = [full.copy(), full.copy(), half.copy()]
    assert all(opened(copy) for copy in copies)
    clock.pass_by(30)
    ends(app, omar, other)
    for copy in copies:
        assert opened(copy) == []
        assert set_cookies(copy.open("/account")) == {}, "nor is it given anything new"
    assert is_signed_in(other) == (ends in (revoked, changed_password, replaced_app))


def test_what_was_planted_before_a_sign_in_is_worth_nothing_after_it(browser: Browser, omar: Person) -> None:
    """C29, SE-3, SE-4, WEB-1."""
    known = csrf(browser.open("/login"))
    victim = browser.copy()
    for step in (give_password, code_typed, stepped_up):
        page = step(victim, omar)
        assert opened(browser) == []
        assert victim.open("/logout", method="POST", data=known).status == 400, "the form that the attacker prepared"
        assert opened(victim)
    assert victim.open("/logout", method="POST", data=csrf(page)).status == 303


# 31 and 32: cookies changed, sessions of others -----------------------------------------------------------------------


def test_a_cookie_changed_in_any_character_or_cut_anywhere_is_nobodys(app, browser, omar) -> None:
    """C31, SE-15."""
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


def test_a_list_of_sessions_shows_and_ends_ones_own_alone(app, omar, make_person, clock) -> None:
    """C32, SE-13, WEB-21."""
    noor = make_person("noor@example.com")
    here, away, half = Browser(app, "192.0.2.1"), Browser(app, "192.0.2.2"), Browser(app, "192.0.2.3")
    theirs, their_half = Browser(app, "198.51.100.1"), Browser(app, "198.51.100.2")
    sign_in(here, omar)
    clock.pass_by(30)
    sign_in(away, omar)
    sign_in(theirs, noor)
    give_password(half, omar)
    give_password(their_half, noor)
    page = here.get("/account")
    assert ("192.0.2.2" in page.text, "198.51.100" in page.text) == (True, False)
    buttons = [form for form in page.forms if form.action.endswith("/revoke")]
    assert len(buttons) == 1, "none for this session, nor for one that is not finished"

    mine, second, third, fourth, fifth = sorted(row["id"] for row in rows(app, Session))
    assert buttons[0].action == f"/account/sessions/{second}/revoke"
    odd = [f"+{third}", f"{third}.0", f"0x{third}", f"{third}e0", f"%20{third}", f"{third}%00", f"{third};{second}"]
    odd += ["-1", "0", str(2**31), str(2**63), str(10**30), "", "me", "*", "%25", f"{second},{third}"]
    for ident in (mine, third, fifth, *odd):
        answer = here.open(f"/account/sessions/{ident}/revoke?session_id={third}", method="POST", data=csrf(page))
        assert answer.status == 404, ident
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = here.client.open(buttons[0].action, method=method, data=csrf(page) if method[0] in "PD" else None)
        assert answer.status_code == 405
    assert count(app, Session) == 5
    assert Kind.SESSION_REVOKED not in kinds(app)

    for ident, gone in ((second, away), (fourth, half)):
        assert opened(gone)
        assert here.open(f"/account/sessions/{ident}/revoke", method="POST", data=csrf(page)).status == 303
        assert opened(gone) == []
    assert is_signed_in(here) and is_signed_in(theirs) and opened(their_half)


# 33 and 34: what goes on after the end --------------------------------------------------------------------------------


def test_requests_in_the_moment_of_signing_out_bring_nothing_back(app, omar, clock) -> None:
    """C33, SE-2."""
    for _ in range(8):
        browser = Browser(app)
        page = sign_in(browser, omar)
        clock.pass_by(60)  # so that each of the requests notes that the person is active
        token, copies = csrf(page), [browser.copy() for _ in range(10)]
        acts = [
            partial(copy.open, path) for copy, path in zip(copies, ["/account", "/account/activity"] * 4, strict=False)
        ]
        acts += [partial(copy.open, "/logout", method="POST", data=token) for copy in copies[8:]]
        answers = at_once(acts)
        assert {answer.status for answer in answers} <= {200, 303}
        assert answers[-1].headers["Location"].startswith("/login?")
        assert [set_cookies(answer) for answer in answers[:8]] == [{}] * 8
        assert [opened(copy) for copy in (browser, *copies)] == [[]] * 11
        assert count(app, Session) == 0
    assert sign_in(browser, omar).h1 == "Security"


def test_back_after_signing_out_shows_nothing_and_its_forms_do_nothing(app, browser, omar, clock) -> None:
    """C33, WEB-11, WEB-12, RC-15."""
    sign_in(browser, omar)
    clock.pass_by(30)
    new_code = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    setup, password = browser.get("/mfa/setup"), browser.get("/account/password")
    scanned = scan(setup, Person(omar.email, clock))
    sends: list[tuple[Page, dict[str, str]]] = [
        (new_code, {"saved": "yes"}),
        (setup, {"code": scanned.code()}),
        (password, {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ]
    assert {page.headers["Cache-Control"] for page, _ in sends} == {"no-store"}
    kept = browser.copy()  # whose page was not loaded again
    signed_out(browser, omar)
    before = rows(app, RecoveryCode), rows(app, TotpAuthenticator)
    for page, values in sends:
        assert browser.open(page.path).headers["Location"].startswith("/login?")
        assert browser.send(page, values).status == 400
        assert kept.send(page, values).headers["Location"].startswith("/login?")
    assert (rows(app, RecoveryCode), rows(app, TotpAuthenticator)) == before
    assert sign_in(browser, omar).h1 == "Security"
    assert password_changed(browser, omar).notice.startswith("Your password is changed.")


def test_requests_that_are_nobodys_doing_keep_no_session_alive(app, browser, omar, clock) -> None:
    """C34, SE-5."""
    sign_in(browser, omar)
    polled = ("/", "/login", "/healthz", "/nothing", "/welcome/nothing", "/static/app.css")
    ahead = {"Date": "Fri, 31 Dec 1999 23:59:59 GMT", "If-Modified-Since": "Fri, 31 Dec 1999 23:59:59 GMT"}
    for used_at in (30, None):
        for minute in range(59):
            clock.pass_by(60)
            for path in polled:
                assert browser.open(path, headers=ahead, buffered=True).status in (200, 303, 404)
            if minute == used_at:
                assert is_signed_in(browser)
        clock.pass_by(60)
        assert bool(opened(browser)) == (used_at is not None)


UNFINISHED: dict[str, tuple[list[Step], str, int]] = {  # how to get to the step, what it asks for, how long it lasts
    "challenge": ([give_password], "code", 600),
    "prompt": ([give_password, recovery_code_typed], "saved", 900),
    "lost device": ([give_password, recovery_code_typed, saved], "still_have", 600),
}


@pytest.mark.parametrize("step", UNFINISHED)
def test_no_request_makes_an_unfinished_sign_in_last_longer(app, browser, omar, clock, step: str) -> None:
    """C34, SE-16."""
    steps, field, seconds = UNFINISHED[step]
    typed = {"recovery_code": (omar.recovery_code or "")[:-1]}
    for go in steps:
        page = go(browser, omar)
    for _ in range(0, seconds - 60, 60):
        clock.pass_by(60)
        for path in ("/", "/login", "/account", "/mfa/setup", "/login/recovery", page.path):
            assert browser.get(path).h1 in (page.h1, "Use your recovery code")
        assert browser.send(page, {field: ""}).status == 422
        again = browser.open("/login/recovery", method="POST", data={**csrf(page), **typed})
        assert again.status == (422 if step == "challenge" else 303)
    clock.pass_by(59)
    assert page.path in opened(browser)
    clock.pass_by(1)
    assert opened(browser) == []
    clock.pass_by(30)
    assert sign_in(browser, omar).h1 == "Security"


def test_no_activity_and_no_confirming_makes_a_session_last_longer_than_a_day(app, browser, omar, clock) -> None:
    """C34, SE-5."""
    sign_in(browser, omar)
    ends = clock.now + 86400
    for change in (stepped_up, password_changed, new_code_saved, app_replaced):
        for _ in range(6):
            clock.pass_by(3000)
            assert is_signed_in(browser)
        stepped_up(browser, omar)
        assert change(browser, omar).path == "/account"
    while clock.now < ends - 1:
        clock.pass_by(min(3000, ends - 1 - clock.now))
        assert is_signed_in(browser)
    clock.pass_by(1)
    assert opened(browser) == []
    assert sign_in(browser, omar).h1 == "Security"


# 35: what a cookie says -----------------------------------------------------------------------------------------------


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
    """C35, SE-1, RC-2, RC-15."""
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
