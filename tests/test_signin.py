"""Password, six-digit code, the steps between, signing out, and "Confirm it's you"."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from authn import passwords
from models import Session, TotpAuthenticator, User
from tests.support.pages import Browser
from tests.support.people import Person, enroll, give_password, is_signed_in, scan, sign_in
from tests.support.tables import count, rows

NO_MATCH = "That email address and password don't match an account here. Check both and try again."


# The password ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "password", "error"),
    [
        ("", "x", "Enter your email address"),
        ("maya", "x", "Enter an email address in the form name@example.com"),
        ("maya@example.com", "", "Enter your password"),
        ("maya@example.com", "wrong", NO_MATCH),
        ("nobody@example.com", "wrong", NO_MATCH),
    ],
)
def test_a_refused_password_says_what_to_do_and_keeps_the_address(
    app: Flask, browser: Browser, maya: Person, email: str, password: str, error: str
) -> None:
    page = browser.submit("/login", email=email, password=password)
    assert (page.status, page.errors, page.title) == (422, [error], "Error: Sign in – Sparekey")
    assert page.form_with("email").fields["email"] == email
    assert page.form_with("email").fields["password"] == ""
    assert count(app, Session) == 0
    assert browser.submit(page, email=maya.email, password=maya.password).h1 == "Set up your authenticator app"


@pytest.mark.parametrize("spelling", ["MAYA@example.com", " maya@example.com ", "ｍaya@example.com"])
def test_one_address_in_any_spelling_is_one_account(browser: Browser, maya: Person, spelling: str) -> None:
    page = browser.submit("/login", email=spelling, password=maya.password)
    assert page.h1 == "Set up your authenticator app"


def test_a_deactivated_person_is_told_what_a_wrong_password_is_told(app: Flask, browser: Browser, maya: Person) -> None:
    with app.app_context():
        User.update(is_active=False).execute()
    assert give_password(browser, maya).errors == [NO_MATCH]
    with app.app_context():
        User.update(is_active=True).execute()
    assert give_password(browser, maya).h1 == "Set up your authenticator app"


def test_a_hash_of_another_cost_is_renewed_by_a_right_password_only(make_app, make_person) -> None:
    app = make_app("cheap")
    maya = make_person("maya@example.com", enrolled=False, on=app)
    dearer = make_app("cheap", PASSWORD_HASH_COST="m=16,t=1,p=1")
    browser = Browser(dearer)

    def stored() -> str:
        return str(rows(dearer, User)[0]["password_hash"])

    browser.submit("/login", email=maya.email, password="wrong")
    assert "m=8,t=1,p=1" in stored()
    give_password(browser, maya)
    assert "m=16,t=1,p=1" in stored()
    browser.press(browser.get("/mfa/setup"), "Cancel and sign out")
    assert give_password(browser, maya).h1 == "Set up your authenticator app"


def test_of_two_whose_hash_is_renewed_at_once_both_get_on(make_app, make_person) -> None:
    app = make_app("cheap")
    maya = make_person("maya@example.com", enrolled=False, on=app)
    dearer = make_app("cheap", PASSWORD_HASH_COST="m=16,t=1,p=1", PASSWORD_HASH_SLOTS=1)
    policy, browsers = dearer.extensions["store"].policy, [Browser(dearer), Browser(dearer)]
    with ThreadPoolExecutor() as pool:
        with policy._slot():  # both have read the old hash when it is given back
            pages = [pool.submit(give_password, browser, maya) for browser in browsers]
            while policy._places._value > passwords._LONGEST_LINE - 1:
                time.sleep(0.01)
            time.sleep(0.1)
    assert [page.result().h1 for page in pages] == ["Set up your authenticator app"] * 2


def test_no_session_row_before_a_right_password(app: Flask, browser: Browser, maya: Person) -> None:
    browser.get("/login")
    browser.submit("/login", email=maya.email, password="wrong")
    assert count(app, Session) == 0
    give_password(browser, maya)
    assert count(app, Session) == 1


# The six-digit code ---------------------------------------------------------------------------------------------------


def test_a_wrong_code_is_refused_and_a_right_one_signs_in(browser: Browser, omar: Person) -> None:
    give_password(browser, omar)
    for typed, error in (
        ("", "Enter the six-digit code your app shows"),
        ("12 34", "The code has six digits. Check it and try again."),
        (omar.wrong_code(), "That code didn't match. Type the newest code your app shows for Sparekey."),
    ):
        page = browser.submit("/login/code", code=typed)
        assert (page.status, page.errors) == (422, [error])
        assert not is_signed_in(browser)
    code = omar.code()
    assert browser.submit("/login/code", code=f" {code[:3]} {code[3:]}\n").h1 == "Security"


def test_a_code_is_accepted_once(app: Flask, omar: Person, clock) -> None:
    first, second = Browser(app), Browser(app)
    sign_in(first, omar)
    give_password(second, omar)
    page = second.submit("/login/code", code=omar.code())
    assert page.errors == ["You've already used that code. Wait for the next one (about 20 seconds)."]
    clock.pass_by(29)
    assert second.submit("/login/code", code=omar.code(-29)).status == 422
    assert second.submit("/login/code", code=omar.code()).h1 == "Security"


def test_an_older_step_is_refused_after_a_newer_one(app: Flask, omar: Person, clock) -> None:
    fast, slow = Browser(app), Browser(app)
    give_password(fast, omar)
    give_password(slow, omar)
    assert fast.submit("/login/code", code=omar.code(30)).h1 == "Security"
    assert slow.submit("/login/code", code=omar.code()).errors[0].startswith("You've already used")
    clock.pass_by(60)
    assert slow.submit("/login/code", code=omar.code()).h1 == "Security"


@pytest.mark.parametrize(("ahead", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_one_step_either_side_is_accepted(browser: Browser, omar: Person, ahead: int, accepted: bool) -> None:
    give_password(browser, omar)
    browser.submit("/login/code", code=omar.code(ahead))
    assert is_signed_in(browser) == accepted


def test_a_code_is_accepted_once_across_enrollment_sign_in_and_step_up(
    app: Flask, browser: Browser, maya: Person, clock
) -> None:
    enroll(browser, maya)
    clock.pass_by(601)
    page = browser.get("/account/recovery-code")
    assert page.h1 == "Confirm it's you"
    assert browser.submit(page, password=maya.password, code=maya.code()).h1 == "Make a new recovery code?"
    other = Browser(app)
    give_password(other, maya)
    assert other.submit("/login/code", code=maya.code()).status == 422
    clock.pass_by(30)
    assert other.submit("/login/code", code=maya.code()).h1 == "Security"
    clock.pass_by(600)
    page = browser.get("/account/recovery-code")
    code = maya.code()
    assert sign_in(Browser(app), maya).h1 == "Security"
    assert browser.submit(page, password=maya.password, code=code).errors[0].startswith("You've already used")


def test_another_persons_code_does_not_do(browser: Browser, omar: Person, ines: Person) -> None:
    give_password(browser, omar)
    assert browser.submit("/login/code", code=ines.code()).status == 422
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


# The steps ------------------------------------------------------------------------------------------------------------


def test_a_sign_in_leads_to_the_page_first_asked_for(browser: Browser, omar: Person) -> None:
    page = browser.get("/account/recovery-code?x=1")
    assert page.notice == "Sign in to see that page."
    browser.submit(page, email=omar.email, password=omar.password)
    assert browser.submit("/login/code", code=omar.code()).url == "/account/recovery-code?x=1"


def test_a_signed_in_person_who_opens_the_sign_in_page_is_sent_to_the_account(browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    assert browser.open("/login").headers["Location"] == "/account"
    assert browser.open("/").headers["Location"] == "/account"


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


def test_a_session_ends_after_an_idle_hour_and_after_a_day(
    browser: Browser, omar: Person, clock
) -> None:  # SE-6; SE-7 is an option not taken
    sign_in(browser, omar)
    clock.pass_by(3599)
    assert is_signed_in(browser)
    clock.pass_by(3600)
    assert browser.get("/account").notice == "You were signed out because you'd been away a while."
    sign_in(browser, omar)
    for _ in range(47):
        clock.pass_by(1800)
        assert is_signed_in(browser)
    clock.pass_by(1800)
    assert not is_signed_in(browser), "24 hours, however busy"


def test_signing_out_kills_a_copied_cookie(app: Flask, browser: Browser, omar: Person) -> None:
    page = sign_in(browser, omar)
    copied = browser.copy()
    assert is_signed_in(copied)
    browser.press(page, "Sign out")
    assert not is_signed_in(copied)
    assert count(app, Session) == 0


def test_signing_out_clears_the_cache_but_not_the_cookie_of_a_known_browser(browser: Browser, omar: Person) -> None:
    page = sign_in(browser, omar)
    known = browser.cookie("known-browser")
    answer = browser.open("/logout", method="POST", data=page.forms[0].fields)
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert browser.cookie() is None
    assert known == browser.cookie("known-browser") is not None


def test_signing_in_as_someone_else_ends_the_unfinished_sign_in(
    app: Flask, browser: Browser, omar: Person, ines: Person
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    page = browser.press(give_password(browser, omar), "Sign in as someone else")
    assert page.h1 == "Sign in"
    assert count(app, Session) == 0
    assert sign_in(browser, ines).h1 == "Security"


# Confirm it's you -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mfa/setup", "/account/recovery-code", "/mfa/recovery-code"])
def test_changes_to_how_one_signs_in_ask_again_after_ten_minutes(
    browser: Browser, omar: Person, clock, path: str
) -> None:  # RA-1, RC-13
    sign_in(browser, omar)
    assert browser.get(path).h1 != "Confirm it's you"
    clock.pass_by(600)
    page = browser.get(path)
    assert page.h1 == "Confirm it's you"
    assert browser.submit(page, password=omar.password, code=omar.code()).path in (path, "/account")


def test_a_stale_post_changes_nothing(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    setup = browser.get("/mfa/setup")
    new_code = browser.get("/account/recovery-code")
    before = rows(app, TotpAuthenticator)
    clock.pass_by(600)
    assert browser.press(new_code, "Make a new code").h1 == "Confirm it's you"
    scanned = scan(setup, Person(omar.email, clock))
    assert browser.submit(setup, code=scanned.code()).h1 == "Confirm it's you"
    assert rows(app, TotpAuthenticator) == before


def test_step_up_needs_both_the_password_and_the_code(browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(600)
    page = browser.get("/account/recovery-code")
    refused = browser.submit(page, password="wrong", code=omar.code())
    assert refused.errors == ["That password isn't right. Check it and try again."]
    refused = browser.submit(page, password=omar.password, code=omar.wrong_code())
    assert refused.errors[0].startswith("That code didn't match.")
    assert browser.submit(page, password=omar.password, code=omar.code()).h1 == "Make a new recovery code?"


# Tries ----------------------------------------------------------------------------------------------------------------


def test_five_wrong_passwords_bring_a_pause_for_known_and_unknown_addresses_alike(
    app: Flask, omar: Person, clock
) -> None:
    pages = []
    for email in (omar.email, "nobody@example.com"):
        browser = Browser(app)
        for _ in range(5):
            assert browser.submit("/login", email=email, password="wrong").status == 422
        page = browser.submit("/login", email=email, password=omar.password)
        assert (page.status, page.headers["Retry-After"]) == (429, "30")
        pages.append(page.raw)
    assert pages[0] == pages[1]
    clock.pass_by(30)
    assert sign_in(browser, omar).h1 == "Security"


def test_five_wrong_codes_bring_a_pause_that_a_new_password_step_does_not_lift(
    app: Flask, omar: Person, clock
) -> None:  # TO-9
    for _ in range(5):
        browser = Browser(app)
        give_password(browser, omar)
        assert browser.submit("/login/code", code=omar.wrong_code()).status == 422
    give_password(Browser(app), omar)
    page = browser.submit("/login/code", code=omar.code())
    assert (page.status, page.h1) == (429, "Too many tries")
    assert "30 seconds" in page.text
    clock.pass_by(30)
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


def test_a_finished_sign_in_clears_the_counts_of_what_it_used(app: Flask, omar: Person, clock) -> None:
    for _ in range(3):
        browser = Browser(app)
        for _ in range(4):
            browser.submit("/login", email=omar.email, password="wrong")
        give_password(browser, omar)
        for _ in range(4):
            assert browser.submit("/login/code", code=omar.wrong_code()).status == 422
        clock.pass_by(30)
        assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


def test_a_known_browser_is_not_locked_out_by_strangers(app: Flask, omar: Person, clock) -> None:
    owner, stranger = Browser(app), Browser(app, "198.51.100.66")
    owner.press(sign_in(owner, omar), "Sign out")
    for _ in range(5):
        stranger.submit("/login", email=omar.email, password="wrong")
    assert stranger.submit("/login", email=omar.email, password=omar.password).status == 429
    clock.pass_by(20)
    assert sign_in(owner, omar).h1 == "Security"
    owner.press(owner.get("/account"), "Sign out")
    for _ in range(5):
        owner.submit("/login", email=omar.email, password="wrong")
    assert owner.submit("/login", email=omar.email, password=omar.password).status == 429, "its own bucket"
