"""The account page: password, sessions, activity, and the notice about a used code."""

import pytest
from flask import Flask

from models import Session, User
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import rows

# Password -------------------------------------------------------------------------------------------------------------


def change_password(browser: Browser, current: str, new: str) -> Page:
    return browser.submit("/account/password", current_password=current, new_password=new)


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
) -> None:
    sign_in(browser, omar)
    before = rows(app, User)
    page = change_password(browser, current, new)
    assert page.status == 422
    assert page.errors[0].startswith(error)
    assert rows(app, User) == before
    assert change_password(browser, PASSWORD, NEW_PASSWORD).path == "/account"


def test_passwords_never_run_out(browser: Browser, omar: Person, clock) -> None:
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


def test_of_very_many_sessions_the_latest_are_shown_and_all_are_ended(app: Flask, omar: Person, clock) -> None:
    """So the page takes no longer for somebody whose script signs in again and again."""
    browser = Browser(app)
    page = sign_in(browser, omar)
    (row,) = rows(app, Session)
    mine = {name: value for name, value in row.items() if name != "id"}
    for number in range(1, 52):
        with app.app_context():
            copy = {**mine, "token_digest": f"{number:064x}", "remote_addr": f"198.51.100.{number}"}
            Session.insert({**copy, "last_seen_at": mine["last_seen_at"] - number}).execute()
        page = browser.get("/account")
        assert page.text.count("198.51.100.") == min(number, 49)
        assert ("These are the latest 50." in page.text) is (number > 49)
    assert browser.press(page, "Sign out everywhere else").notice.startswith("You're signed out everywhere else.")
    assert [left["id"] for left in rows(app, Session)] == [row["id"]]


# Activity -------------------------------------------------------------------------------------------------------------


def test_recent_activity_is_told_in_sentences_and_pages(browser: Browser, omar: Person, clock) -> None:
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


def test_who_came_in_with_a_recovery_code_does_not_dismiss_the_notice_of_it(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="yes")
    assert browser.press(page, "It was me").h1 == "Confirm it's you"
    assert "Your recovery code was used" in browser.get("/account").notice
    browser.submit("/verify", password=omar.password, code=omar.code())
    assert "Your recovery code was used" not in browser.press(browser.get("/account"), "It was me").notice
