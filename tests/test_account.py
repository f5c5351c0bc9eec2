"""The account page: password, sessions, activity, the notice about a used code; and one-time links."""

import pytest
from flask import Flask

from models import Kind, Session, User
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, kinds, rows


def change_password(browser: Browser, current: str, new: str) -> Page:
    return browser.submit("/account/password", current_password=current, new_password=new)


# Password -------------------------------------------------------------------------------------------------------------


def test_a_changed_password_signs_in_and_the_old_one_does_not(browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    page = change_password(browser, PASSWORD, NEW_PASSWORD)
    assert (page.path, page.notice) == ("/account", "Your password is changed. You're signed out everywhere else.")
    browser.press(page, "Sign out")
    assert give_password(browser, omar).status == 422
    omar.password = NEW_PASSWORD
    clock.pass_by(30)
    assert sign_in(browser, omar).h1 == "Security"


@pytest.mark.parametrize(
    ("current", "new", "error"),
    [
        ("wrong", NEW_PASSWORD, "That isn't your current password."),
        ("", NEW_PASSWORD, "Enter your current password"),
        (PASSWORD, "", "Enter a new password"),
        (PASSWORD, "too short", "Use at least 15 characters; that has 9."),
        (PASSWORD, "passwordpassword", "That's too easy to guess"),
        (PASSWORD, "omar@example.com", "That's too easy to guess"),
        (PASSWORD, "sparekeysparekey", "That's too easy to guess"),
        (PASSWORD, "a" * 4097, "Use at most 4,096 characters."),
    ],
)
def test_a_refused_change_says_why_and_changes_nothing(
    app: Flask, browser: Browser, omar: Person, current: str, new: str, error: str
) -> None:  # PW-17
    sign_in(browser, omar)
    before = rows(app, User)
    page = change_password(browser, current, new)
    assert page.status == 422
    assert page.errors[0].startswith(error)
    assert rows(app, User) == before
    assert change_password(browser, PASSWORD, NEW_PASSWORD).path == "/account"


def test_changing_the_password_ends_every_other_session_finished_or_not(app: Flask, omar: Person, clock) -> None:
    here, full, half = Browser(app), Browser(app), Browser(app)
    sign_in(here, omar)
    clock.pass_by(30)
    sign_in(full, omar)
    give_password(half, omar)
    change_password(here, PASSWORD, NEW_PASSWORD)
    assert is_signed_in(here)
    assert not is_signed_in(full)
    assert half.get("/login/code").h1 == "Sign in"
    assert count(app, Session) == 1


def test_changing_the_password_asks_again_after_ten_minutes(browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    form = browser.get("/account/password")
    clock.pass_by(600)
    values = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    page = browser.follow(browser.send(form, values, headers={"Referer": "http://localhost/account/password"}))
    assert page.h1 == "Confirm it's you"
    page = browser.submit(page, password=PASSWORD, code=omar.code())
    assert page.h1 == "Change your password"
    assert browser.submit(page, **values).path == "/account"


def test_passwords_never_run_out(browser: Browser, omar: Person, clock) -> None:  # PW-9
    clock.pass_by(5 * 365 * 86400)
    assert sign_in(browser, omar).h1 == "Security"


# Sessions -------------------------------------------------------------------------------------------------------------


def test_a_person_sees_where_they_are_signed_in_and_signs_one_out(app: Flask, omar: Person, clock) -> None:
    here, there = Browser(app, "203.0.113.7"), Browser(app, "198.51.100.9")
    sign_in(there, omar)
    clock.pass_by(30)
    page = sign_in(here, omar)
    assert page.text.count("(this one)") == 1
    assert "198.51.100.9" in page.text
    form = next(form for form in page.forms if "/account/sessions/" in form.action and form.action.endswith("/revoke"))
    assert here.open(form.action, method="POST", data=form.fields).status == 303
    assert not is_signed_in(there)
    assert is_signed_in(here)


def test_signing_out_everywhere_else(app: Flask, omar: Person, clock) -> None:
    here, full, half = Browser(app), Browser(app), Browser(app)
    sign_in(full, omar)
    clock.pass_by(30)
    sign_in(here, omar)
    use_recovery_code(half, omar)
    page = here.press(here.get("/account"), "Sign out everywhere else")
    assert page.notice.startswith("You're signed out everywhere else.")
    assert not is_signed_in(full)
    assert half.get("/mfa/recovery-code").h1 == "Sign in", "a claim ends at once"
    assert use_recovery_code(half, omar).h1.startswith("You're in")
    half.open("/logout", method="POST", data=half.get("/mfa/recovery-code").form_with("saved").fields)
    page = here.press(here.get("/account"), "Sign out everywhere else")
    assert page.notice.startswith("You weren't signed in anywhere else.")


@pytest.mark.parametrize("ident", ["theirs", "0", "-1", str(10**30), "abc", str(2**31 - 1)])
def test_nobody_ends_another_persons_session(app: Flask, omar: Person, ines: Person, ident: str) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    mine, theirs = Browser(app), Browser(app)
    sign_in(theirs, ines)
    page = sign_in(mine, omar)
    their_id = next(row["id"] for row in rows(app, Session) if row["id"] != 2)
    path = f"/account/sessions/{their_id if ident == 'theirs' else ident}/revoke"
    fields = page.forms[0].fields
    assert mine.open(path, method="POST", data=fields).status == 404
    assert is_signed_in(theirs)
    assert (
        theirs.open(
            "/account/sessions/revoke-others", method="POST", data=theirs.get("/account").forms[0].fields
        ).status
        == 303
    )


# Activity -------------------------------------------------------------------------------------------------------------


def test_recent_activity_is_told_in_sentences_and_pages(browser: Browser, omar: Person, clock) -> None:  # TH-15
    give_password(browser, omar)
    for _ in range(4):
        browser.submit("/login/code", code=omar.wrong_code())
    page = browser.submit("/login/code", code=omar.code())
    for sentence in ("Signed in", "Wrong code from app", "Right password"):
        assert sentence in page.text
    for _ in range(60):
        clock.pass_by(30)
        browser.submit("/verify", password=PASSWORD, code=omar.code())
    page = browser.get("/account/activity")
    older = next(link for link in page.links if "before=" in link)
    assert len(page.all("tr")) == 51
    assert "Signed in" not in [cell.text for cell in page.all("td")]
    while older:
        page = browser.get(older)
        older = next((link for link in page.links if "before=" in link), "")
    assert "Signed in" in page.text


@pytest.mark.parametrize("before", ["0", "-1", str(10**30), "x", ""])
def test_odd_pages_of_activity_are_the_first_page(browser: Browser, omar: Person, before: str) -> None:
    sign_in(browser, omar)
    page = browser.get(f"/account/activity?before={before}")
    assert (page.status, "Signed in" in page.text) == (200, True)


def test_the_use_of_a_recovery_code_is_told_until_it_is_dismissed(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="yes")
    browser.press(browser.get("/account"), "Sign out")
    page = sign_in(browser, omar)
    assert "Your recovery code was used on 30 November 2026, 01:00 UTC from 203.0.113.7." in page.notice
    assert "change your password and sign out everywhere else" in page.notice
    page = browser.press(page, "It was me")
    assert "was used" not in page.notice
    assert "was used" not in browser.get("/account").notice


# One-time links -------------------------------------------------------------------------------------------------------


def link(app: Flask, *command: str) -> str:
    result = app.test_cli_runner().invoke(args=["users", *command])
    assert result.exit_code == 0, result.output
    url = result.stdout.split()[-1]
    assert url.startswith("http://localhost:5000/welcome/")
    return url.removeprefix("http://localhost:5000")


def test_a_link_lets_a_new_person_choose_a_password_once(app: Flask, browser: Browser, clock) -> None:  # PW-19
    path = link(app, "invite", "noor@example.com")
    noor = Person("noor@example.com", clock, password=NEW_PASSWORD)
    assert give_password(browser, noor).status == 422
    page = browser.get(path)
    assert page.h1 == "Choose your password"
    page = browser.submit(page, new_password="short")
    assert page.errors[0].startswith("Use at least 15 characters")
    page = browser.submit(page, new_password=NEW_PASSWORD)
    assert (page.path, page.notice) == ("/login", "Your password is set. Sign in with it.")
    assert browser.get(path).h1 == "This link doesn't work any more"
    assert give_password(browser, noor).h1 == "Set up your authenticator app"


def test_a_link_does_not_skip_the_second_factor_and_ends_all_sessions(app: Flask, omar: Person, clock) -> None:
    signed_in, helper = Browser(app), Browser(app)
    sign_in(signed_in, omar)
    path = link(app, "invite", omar.email)
    assert is_signed_in(signed_in), "making a link changes nothing yet"
    helper.submit(path, new_password=NEW_PASSWORD)
    assert not is_signed_in(signed_in)
    assert not is_signed_in(helper)
    omar.password = NEW_PASSWORD
    assert give_password(helper, omar).h1 == "Enter your code"


def test_a_link_runs_out_after_72_hours_and_a_new_one_ends_the_old_one(
    app: Flask, browser: Browser, omar, clock
) -> None:
    first = link(app, "invite", omar.email)
    second = link(app, "invite", omar.email)
    assert browser.open(first).status == 404
    clock.pass_by(72 * 3600 - 1)
    assert browser.open(second).status == 200
    clock.pass_by(1)
    assert browser.open(second).status == 404


def test_the_database_holds_only_the_digest_of_a_link(app: Flask, omar: Person) -> None:
    from models import Invitation

    token = link(app, "invite", omar.email).rpartition("/")[2]
    (row,) = rows(app, Invitation)
    assert token not in str(row)
    assert len(row["token_digest"]) == 64


def test_after_a_reset_nobody_signs_in_until_the_link_is_used(app: Flask, omar: Person, clock) -> None:
    owner, thief = Browser(app), Browser(app)
    sign_in(owner, omar)
    path = link(app, "reset-mfa", omar.email)
    assert not is_signed_in(owner)
    assert give_password(thief, omar).status == 422, "whoever knows only the old password cannot enroll first"
    owner.submit(path, new_password=NEW_PASSWORD)
    assert give_password(thief, omar).status == 422
    omar.password = NEW_PASSWORD
    page = give_password(owner, omar)
    assert page.h1 == "Set up your authenticator app"
    assert kinds(app).count(Kind.MFA_RESET) == 1


def test_a_code_from_before_a_reset_is_told_as_such(app: Flask, browser: Browser, omar: Person, clock) -> None:
    old = omar.recovery_code
    browser.submit(link(app, "reset-mfa", omar.email), new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD

    browser.press(enroll(browser, omar), "Sign out")
    page = use_recovery_code(browser, omar, old)
    assert page.errors == ["That code stopped working on 30 November 2026, when your sign-in was reset."]
    assert browser.submit(page, recovery_code=omar.recovery_code).h1.startswith("You're in")
