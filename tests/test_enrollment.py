"""Setting up an authenticator app: it changes nothing until complete, and belongs to the browser that began it."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from flask import Flask

from authn import totp
from models import Enrollment, Kind, RecoveryCode, Session, TotpAuthenticator
from tests.support.pages import Browser, Page
from tests.support.people import (
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, kinds, live_codes, rows


def otpauth(page: Page) -> str:
    return next(link for link in page.links if link.startswith("otpauth:"))


def test_the_qr_code_the_link_and_the_setup_key_hold_the_same_secret(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    uri = urlsplit(otpauth(page))
    query = parse_qs(uri.query)
    assert unquote(uri.path) == "/Sparekey:maya@example.com"
    assert query["issuer"] == ["Sparekey"]
    assert query["secret"] == [page.text_of("setup-key").replace(" ", "")]
    assert len(query["secret"][0]) == 32, "160 bits"
    assert page.all("{http://www.w3.org/2000/svg}svg"), "the QR code is drawn in the page"


def test_a_wrong_code_keeps_the_same_qr_code_and_a_right_one_then_goes_on(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    scan(page, maya)
    for typed, error in (
        ("", "Enter the six-digit code your app shows"),
        ("12345", "The code has six digits. Check it and try again."),
        (maya.wrong_code(), "That code didn't match. Type the newest code your app shows for Sparekey."),
    ):
        refused = browser.send(page, {"code": typed})
        assert (refused.status, refused.errors) == (422, [error])
        assert refused.text_of("setup-key") == page.text_of("setup-key")
    assert browser.submit(page, code=maya.code()).h1 == "Save your recovery code"


def test_the_third_wrong_code_brings_advice(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    scan(page, maya)
    for tries in (1, 2, 3):
        page = browser.send(page, {"code": maya.wrong_code()})
        assert ("sets its time automatically" in page.text) == (tries >= 3)


def test_reload_and_back_show_the_same_qr_code_and_the_same_recovery_code(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    assert browser.get("/mfa/setup").text_of("setup-key") == page.text_of("setup-key")
    prompt = browser.submit(page, code=scan(page, maya).code())
    again = browser.get("/mfa/recovery-code")
    refused = browser.send(again, {})
    assert shown_code(prompt) == shown_code(again) == shown_code(refused)


def test_after_finishing_back_shows_no_code_and_says_why(browser: Browser, maya: Person) -> None:
    enroll(browser, maya)
    page = browser.get("/mfa/recovery-code")
    assert page.notice.startswith("You've already saved this code.")
    assert maya.recovery_code not in page.raw
    assert browser.open("/mfa/recovery-code.txt").status == 404


def test_the_download_holds_the_code_while_it_is_due(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    assert browser.open("/mfa/recovery-code.txt").status == 303
    prompt = browser.submit(page, code=scan(page, maya).code())
    slip = browser.open("/mfa/recovery-code.txt")
    assert shown_code(prompt) in slip.raw
    assert "Account:  maya@example.com" in slip.raw
    assert slip.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert slip.headers["Content-Disposition"] == "attachment; filename=sparekey-recovery-code-maya.txt"
    assert slip.headers["Cache-Control"] == "no-store"


def test_the_second_of_two_enrollments_sees_another_qr_code(app: Flask, maya: Person) -> None:
    first, second = (give_password(Browser(app), maya) for _ in range(2))
    assert first.text_of("setup-key") != second.text_of("setup-key")


def test_a_code_from_another_browsers_qr_code_does_not_confirm(app: Flask, maya: Person) -> None:
    mine, other = Browser(app), Browser(app)
    page = give_password(mine, maya)
    scan(give_password(other, maya), maya)
    assert mine.send(page, {"code": maya.code()}).errors[0].startswith("That code didn't match")
    assert mine.submit(page, code=scan(page, maya).code()).h1 == "Save your recovery code"


def test_an_attacker_who_knows_only_the_password_ends_with_nothing_once_the_owner_completes(
    app: Flask, maya: Person, clock
) -> None:
    owner, attacker = Browser(app), Browser(app, "198.51.100.66")
    page = give_password(attacker, maya)
    evil = Person(maya.email, clock)
    prompt = attacker.submit(page, code=scan(page, evil).code())
    evil.recovery_code = shown_code(prompt)

    enroll(owner, maya)
    assert attacker.follow(attacker.send(prompt, {"saved": "yes"})).h1 == "Sign in", "the attacker is nobody again"
    assert not is_signed_in(attacker)
    assert count(app, Session) == count(app, TotpAuthenticator) == live_codes(app) == 1
    assert count(app, Enrollment) == 0

    clock.pass_by(60)
    give_password(attacker, maya)
    assert attacker.submit("/login/code", code=evil.code()).status == 422
    assert attacker.submit("/login/recovery", recovery_code=evil.recovery_code).status == 422
    assert is_signed_in(owner)


@pytest.mark.parametrize("until", ["setup", "prompt"])
def test_an_abandoned_enrollment_changed_nothing_and_the_person_starts_again(
    app: Flask, maya: Person, clock, until: str
) -> None:
    first = Browser(app)
    page = give_password(first, maya)
    old_key = page.text_of("setup-key")
    if until == "prompt":
        first.submit(page, code=scan(page, maya).code())
    assert count(app, TotpAuthenticator) == count(app, RecoveryCode) == 0

    second = Browser(app)
    page = give_password(second, maya)
    assert "You started this before and didn't finish." in page.notice
    assert page.text_of("setup-key") != old_key
    clock.pass_by(30)
    second.submit(page, code=scan(page, maya).code())
    assert second.submit("/mfa/recovery-code", saved="yes").h1 == "Security"


def test_the_first_time_nothing_is_said_of_an_earlier_one(browser: Browser, maya: Person) -> None:
    assert give_password(browser, maya).notice == ""
    assert browser.get("/mfa/setup").notice == ""


@pytest.mark.parametrize("until", ["setup", "prompt"])
def test_an_enrollment_runs_out_of_time(app: Flask, browser: Browser, maya: Person, clock, until: str) -> None:
    page = give_password(browser, maya)
    if until == "prompt":
        page = browser.submit(page, code=scan(page, maya).code())
    clock.pass_by(899)
    assert browser.open(page.path).status == 200
    clock.pass_by(1)
    page = browser.get(page.path)
    assert (page.h1, page.notice[:24]) == ("Sign in", "That took too long, so w")
    assert count(app, TotpAuthenticator) == 0
    assert give_password(browser, maya).h1 == "Set up your authenticator app"


def test_cancel_and_sign_out_ends_it(app: Flask, browser: Browser, maya: Person) -> None:
    page = browser.press(give_password(browser, maya), "Cancel and sign out")
    assert page.notice == "You're signed out."
    assert count(app, Session) == count(app, Enrollment) == 0


def test_the_setup_code_cannot_be_used_to_sign_in_and_the_next_one_can(
    app: Flask, browser: Browser, maya: Person, clock
) -> None:
    enroll(browser, maya)
    other = Browser(app)
    give_password(other, maya)
    page = other.submit("/login/code", code=maya.code())
    assert page.errors[0].startswith("You've already used that code.")
    clock.pass_by(30)
    assert other.submit("/login/code", code=maya.code()).h1 == "Security"


def test_completing_leads_to_the_page_first_asked_for(browser: Browser, maya: Person) -> None:
    page = browser.get("/account/recovery-code")
    assert page.notice == "Sign in to see that page."
    page = browser.submit(page, email=maya.email, password=maya.password)
    browser.submit(page, code=scan(page, maya).code())
    assert browser.submit("/mfa/recovery-code", saved="yes").path == "/account/recovery-code"


# Replacing the app ----------------------------------------------------------------------------------------------------


def test_a_signed_in_person_replaces_the_app_and_keeps_the_saved_code(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    sign_in(browser, omar)
    elsewhere = Browser(app)
    clock.pass_by(30)
    sign_in(elsewhere, omar)
    page = browser.get("/mfa/setup")
    assert "keeps working until" in page.text
    old = Person(omar.email, clock, omar.secret)
    scan(page, omar)
    clock.pass_by(30)
    assert browser.submit(page, code=omar.code()).path == "/account"
    assert not is_signed_in(elsewhere), "every other session ends"
    assert is_signed_in(browser)
    assert live_codes(app) == 1

    browser.press(browser.get("/account"), "Sign out")
    clock.pass_by(30)
    give_password(browser, omar)
    assert browser.submit("/login/code", code=old.code()).status == 422
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"
    assert kinds(app).count(Kind.AUTHENTICATOR_REPLACED) == 1


def test_the_old_app_works_until_the_new_one_is_confirmed(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    browser.get("/mfa/setup")
    clock.pass_by(30)
    assert sign_in(Browser(app), omar).h1 == "Security"


def test_a_replacement_that_ran_out_of_time_starts_with_a_new_qr_code(browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    first = browser.get("/mfa/setup").text_of("setup-key")
    clock.pass_by(900)
    page = browser.get("/mfa/setup")
    assert page.h1 == "Confirm it's you"
    browser.submit(page, password=omar.password, code=omar.code())
    page = browser.get("/mfa/setup")
    assert page.text_of("setup-key") != first
    scan(page, omar)
    assert browser.submit(page, code=omar.code()).path == "/account"


def test_two_replacements_in_two_browsers_end_with_one_app(app: Flask, omar: Person, clock) -> None:
    first, second = Browser(app), Browser(app)
    sign_in(first, omar)
    clock.pass_by(30)
    sign_in(second, omar)
    one, two = first.get("/mfa/setup"), second.get("/mfa/setup")
    clock.pass_by(30)
    first_key = totp.read_setup_key(one.text_of("setup-key"))
    assert first.submit(one, code=totp.code_at(first_key, clock.now)).path == "/account"
    late = second.submit(two, code=scan(two, omar).code())
    assert late.h1 == "Sign in"
    omar.secret = first_key
    clock.pass_by(30)
    assert sign_in(second, omar).h1 == "Security"


def test_replacing_the_app_without_a_saved_code_shows_the_prompt_first(
    app: Flask, browser: Browser, ines: Person, clock
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    clock.pass_by(30)
    page = browser.get("/mfa/setup")
    old = rows(app, TotpAuthenticator)
    page = browser.submit(page, code=scan(page, ines).code())
    assert page.h1 == "Save your recovery code"
    assert rows(app, TotpAuthenticator) == old
    assert save_new_code(browser, page, ines).path == "/account"
    browser.press(browser.get("/account"), "Sign out")
    assert use_recovery_code(browser, ines).h1.startswith("You're in")
