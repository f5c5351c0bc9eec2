"""Sessions: how long they last, what ends them, and what is left of them then."""

from collections.abc import Callable

import pytest
from flask import Flask

from authn.events import EventKind
from models import RecoveryCode, Session, TotpAuthenticator
from tests.support.apps import few_of
from tests.support.commands import command, link
from tests.support.cookies import opened, set_cookies
from tests.support.lives import (
    Step,
    app_replaced,
    device_lost,
    new_code_saved,
    password_changed,
    recovery_code_typed,
    saved,
    signed_out,
    stepped_up,
)
from tests.support.pages import Browser, Page, csrf
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, everything, kinds, rows

# How long -------------------------------------------------------------------------------------------------------------


def test_the_password_step_lasts_ten_minutes(browser: Browser, omar: Person, clock) -> None:
    give_password(browser, omar)
    clock.pass_by(599)
    assert browser.open("/login/code").status == 200
    clock.pass_by(1)
    page = browser.get("/login/code")
    assert (page.h1, page.notice) == (
        "Sign in",
        "That took too long, so we've started again. Sign in to continue.",
    )
    assert sign_in(browser, omar).h1 == "Security"


def test_a_session_ends_after_an_idle_hour(browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(3599)
    assert is_signed_in(browser)
    clock.pass_by(3600)
    assert browser.get("/account").notice == "You were signed out because you'd been away a while."
    assert sign_in(browser, omar).h1 == "Security"


def test_somebody_who_was_away_is_told_so_on_the_sign_in_page_itself(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    clock.pass_by(3600)
    assert browser.get("/login").notice == "You were signed out because you'd been away a while."
    assert browser.get("/login").notice == "", "once: the cookie is a new one"


def test_requests_that_are_nobodys_doing_keep_no_session_alive(app, browser, omar, clock) -> None:
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


# What ends them -------------------------------------------------------------------------------------------------------


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
    assert Browser(app).submit(link(app, "invite", person.email), new_password=NEW_PASSWORD).path == "/login"


def deactivated_for_a_moment(app: Flask, person: Person, other: Browser) -> None:
    command(app, "users", "deactivate", person.email)
    command(app, "users", "activate", person.email)


ENDINGS = [idle, revoked, recovered_with_a_new_app, changed_password, replaced_app, reset, used_link]


@pytest.mark.parametrize("ends", [*ENDINGS, deactivated_for_a_moment], ids=lambda ends: ends.__name__)
def test_no_copy_of_a_cookie_outlives_what_ends_its_session(app, omar, clock, ends) -> None:
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


def test_a_list_of_sessions_shows_and_ends_ones_own_alone(app, omar, make_person, clock) -> None:
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
    assert EventKind.SESSION_REVOKED not in kinds(app)

    for ident, gone in ((second, away), (fourth, half)):
        assert opened(gone)
        assert here.open(f"/account/sessions/{ident}/revoke", method="POST", data=csrf(page)).status == 303
        assert opened(gone) == []
    assert is_signed_in(here) and is_signed_in(theirs) and opened(their_half)


def test_back_after_signing_out_shows_nothing_and_its_forms_do_nothing(app, browser, omar, clock) -> None:
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


def test_a_row_without_any_factor_opens_nothing(app: Flask, browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    with app.app_context():
        Session.update(second_factor=None).execute()
    assert not is_signed_in(browser)
    with app.app_context():
        Session.update(second_factor="totp").execute()
    assert is_signed_in(browser)


def test_somebody_reset_while_the_account_page_is_made_is_sent_to_sign_in(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    with app.app_context():
        app_in_use = TotpAuthenticator.get()
        app_in_use.delete_instance()
    answer = browser.open("/account")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    with app.app_context():
        app_in_use.save(force_insert=True)
    assert browser.open("/account").status == 200


# Unfinished ones ------------------------------------------------------------------------------------------------------


def test_no_session_row_before_a_right_password(app: Flask, browser: Browser, maya: Person) -> None:
    browser.get("/login")
    browser.submit("/login", email=maya.email, password="wrong")
    assert count(app, Session) == 0
    give_password(browser, maya)
    assert count(app, Session) == 1


def nothing(app: Flask, person: Person, other: Browser) -> None:
    pass


def signed_out_elsewhere(app: Flask, person: Person, other: Browser) -> None:
    other.press(other.get("/account"), "Sign out everywhere else")


def saved_new_code(app: Flask, person: Person, other: Browser) -> None:
    assert new_code_saved(other, person).path == "/account"


HAPPENINGS = [
    nothing,
    signed_out_elsewhere,
    saved_new_code,
    changed_password,
    replaced_app,
    reset,
    used_link,
    deactivated_for_a_moment,
]


@pytest.mark.parametrize("stage", few_of(["challenge", "claimed", "lost device"], "challenge", "claimed"))
@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
def test_an_unfinished_sign_in_dies_when_what_it_was_made_for_changes(
    app: Flask, browser: Browser, omar: Person, clock: Clock, stage: str, happens: Callable[..., None]
) -> None:
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
