"""The life of a recovery code: made, saved, claimed, spent, retired; and what is said of it to whoever types it."""

import pytest
from flask import Flask

from models import Factor, Kind, RecoveryCode, Retirement, Session
from tests.support.pages import Browser
from tests.support.people import (
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, kinds, live_codes, rows


def recover(browser: Browser, person: Person, answer: str = "yes") -> None:
    save_new_code(browser, use_recovery_code(browser, person), person)
    browser.submit("/mfa/lost-device", still_have=answer)


def test_typing_it_claims_it_and_spends_nothing_yet(app: Flask, browser: Browser, omar: Person) -> None:
    page = use_recovery_code(browser, omar)
    assert page.h1 == "You're in. Save your new recovery code"
    assert not is_signed_in(browser)
    assert live_codes(app) == 2
    (session,) = rows(app, Session)
    assert (session["second_factor"], session["step"]) == (Factor.RECOVERY, "save_code")


def test_saving_the_replacement_spends_it(app: Flask, browser: Browser, omar: Person) -> None:
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    spent, new = rows(app, RecoveryCode)
    assert (spent["retired_by"], new["retired_by"]) == (Retirement.SPENT, None)
    assert new["saved_at"] is not None
    assert kinds(app).count(Kind.RECOVERY_CODE_SPENT) == 1


def test_a_recovery_code_works_once_and_is_replaced(app: Flask, browser: Browser, omar: Person) -> None:  # RC-5
    used = omar.recovery_code
    recover(browser, omar)
    assert is_signed_in(browser)
    other = Browser(app)
    page = use_recovery_code(other, omar, used)
    assert page.errors == ["That code was used on 30 November 2026. Use the one you saved then."]
    assert other.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


@pytest.mark.parametrize("how", ["closed", "ran out of time", "signed out"])
def test_a_sign_in_cut_off_before_saving_leaves_the_old_code_working_once(
    app: Flask, omar: Person, clock, how: str
) -> None:
    first, second = Browser(app), Browser(app)
    use_recovery_code(first, omar)
    if how == "signed out":
        first.open("/logout", method="POST", data=first.get("/mfa/recovery-code").form_with("saved").fields)
    else:
        clock.pass_by(900)
    page = use_recovery_code(second, omar)
    assert page.h1 == "You're in. Save your new recovery code"
    old = omar.recovery_code
    save_new_code(second, page, omar)
    second.submit("/mfa/lost-device", still_have="yes")
    assert is_signed_in(second)
    assert "was used" in use_recovery_code(Browser(app), omar, old).errors[0]


def test_a_double_click_on_the_code_is_not_an_error(app: Flask, browser: Browser, omar: Person) -> None:
    give_password(browser, omar)
    form = browser.get("/login/recovery")
    twice = [browser.send(form, {"recovery_code": omar.recovery_code}) for _ in range(2)]
    assert [page.headers["Location"] for page in twice] == ["/mfa/recovery-code"] * 2
    assert live_codes(app) == 2
    assert save_new_code(browser, browser.get("/mfa/recovery-code"), omar).path == "/mfa/lost-device"


def test_a_double_click_on_continue_ends_at_the_same_place(app: Flask, browser: Browser, omar: Person) -> None:
    page = use_recovery_code(browser, omar)
    slow = browser.copy()
    save_new_code(browser, page, omar)
    late = slow.send(page, {"saved": "yes"})
    assert (late.status, late.headers.get("Set-Cookie")) == (303, None)
    assert count(app, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == 1
    assert browser.get("/account").h1 == "Do you still have your authenticator app?"


def test_a_code_claimed_in_one_browser_is_busy_in_another_and_free_when_that_one_ends(
    app: Flask, omar: Person, clock
) -> None:
    first, second = Browser(app), Browser(app)
    page = use_recovery_code(first, omar)
    refused = use_recovery_code(second, omar)
    assert refused.errors == [
        "That code is being used in another browser. It can be used here from 01:15 UTC if that sign-in isn't finished."
    ]
    first.open("/logout", method="POST", data=page.form_with("saved").fields)
    assert second.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_a_claim_lapses_with_its_sessions_time(app: Flask, omar: Person, clock) -> None:
    first, second = Browser(app), Browser(app)
    page = use_recovery_code(first, omar)
    clock.pass_by(899)
    give_password(second, omar)
    assert "another browser" in second.submit("/login/recovery", recovery_code=omar.recovery_code).errors[0]
    clock.pass_by(1)
    assert second.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")
    assert first.follow(first.send(page, {"saved": "yes"})).h1 == "Sign in"


def test_reload_and_back_show_the_same_replacement(browser: Browser, omar: Person) -> None:
    page = use_recovery_code(browser, omar)
    assert shown_code(browser.get("/mfa/recovery-code")) == shown_code(page)
    assert browser.get("/login/recovery").path == "/mfa/recovery-code"


def test_the_form_of_a_code_that_is_not_it_any_more_is_refused_and_shows_the_current_one(
    app: Flask, browser: Browser, omar: Person
) -> None:
    sign_in(browser, omar)
    page = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    refused = browser.send(page, {"saved": "yes"})
    assert (refused.status, refused.errors) == (
        422,
        ["A newer code has been made since. Save the one you see now, then tick the box."],
    )
    assert shown_code(refused) != shown_code(page)
    assert save_new_code(browser, refused, omar).path == "/account"


def test_an_unsaved_code_that_was_shown_works_too(app: Flask, browser: Browser, ines: Person) -> None:
    ines.recovery_code = shown_code(sign_in(browser, ines))
    other = Browser(app)
    page = use_recovery_code(other, ines)
    assert page.h1 == "You're in. Save your new recovery code"


def test_typing_an_unsaved_code_keeps_it_alive_until_its_replacement_is_saved(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    sign_in(browser, omar)
    page = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    unsaved = shown_code(page)
    use_recovery_code(Browser(app), omar, unsaved)
    clock.pass_by(900)
    assert use_recovery_code(Browser(app), omar, unsaved).h1.startswith("You're in"), "cut off, and tried again"


def test_a_confirmed_code_ends_the_other_unfinished_sign_ins(app: Flask, omar: Person, clock) -> None:
    first, second, third = Browser(app), Browser(app), Browser(app)
    sign_in(first, omar)
    give_password(second, omar)
    use_recovery_code(third, omar)
    page = first.press(first.get("/account/recovery-code"), "Make a new code")
    save_new_code(first, page, omar)
    assert second.get("/login/code").h1 == third.get("/mfa/recovery-code").h1 == "Sign in"
    assert is_signed_in(first)


# What is said to whoever types something else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Enter your recovery code"),
        ("7F3K-9QXM", "A recovery code has 24 letters and numbers. You've typed 8."),
        ("123 456", "That looks like a code from your app. Use it on the previous page."),
        ("7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ4", "There's a typing slip in that code."),
        ("F73K-9QXM-2D8R-HJ5T-V0WB-4NZ3", "There's a typing slip in that code."),
        ("7F3K-9QXM-2D8R-HJ5T-V0WB-4NZU", "There's a typing slip in that code."),
        ("7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3", "That recovery code isn't right."),
    ],
)
def test_a_refusal_says_what_to_do_and_keeps_what_was_typed(
    browser: Browser, omar: Person, typed: str, said: str
) -> None:
    give_password(browser, omar)
    page = browser.submit("/login/recovery", recovery_code=typed)
    assert page.status == 422
    assert page.errors[0].startswith(said)
    assert page.form_with("recovery_code").fields["recovery_code"] == typed
    assert browser.submit(page, recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_slips_are_not_tries(browser: Browser, omar: Person) -> None:
    give_password(browser, omar)
    for _ in range(30):
        assert browser.submit("/login/recovery", recovery_code="7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ4").status == 422
    assert browser.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_wrong_codes_are_tries(browser: Browser, omar: Person, clock) -> None:
    give_password(browser, omar)
    for _ in range(10):
        assert browser.submit("/login/recovery", recovery_code="7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3").status == 422
    page = browser.submit("/login/recovery", recovery_code=omar.recovery_code)
    assert (page.status, page.h1, page.headers["Retry-After"]) == (429, "Too many tries", "30")
    clock.pass_by(30)
    assert browser.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_another_persons_code_is_just_wrong_and_stays_theirs(app: Flask, omar: Person, make_person) -> None:
    other = make_person("noor@example.com")
    browser = Browser(app)
    page = use_recovery_code(browser, omar, other.recovery_code)
    assert page.errors[0].startswith("That recovery code isn't right.")
    assert use_recovery_code(Browser(app), other).h1.startswith("You're in")


def test_a_recovery_code_never_replaces_the_password_nor_the_step_up(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    page = browser.open("/login/recovery")
    assert page.headers["Location"].startswith("/login?")
    recover(browser, omar)
    page = browser.get("/account/recovery-code")
    assert page.h1 == "Confirm it's you", "a recovery sign-in is no step-up"
    refused = browser.submit(page, password=omar.password, code=omar.recovery_code)
    assert refused.errors == ["The code has six digits. Check it and try again."]
    assert browser.submit(page, password=omar.password, code=omar.code()).h1 == "Make a new recovery code?"


def test_a_recovery_code_in_the_six_digit_field_is_no_try_and_not_used_up(browser: Browser, omar: Person) -> None:
    give_password(browser, omar)
    for _ in range(6):
        page = browser.submit("/login/code", code=omar.recovery_code)
        assert page.errors == ["The code has six digits. Check it and try again."]
    assert browser.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


# Afterwards: the lost device ------------------------------------------------------------------------------------------


def test_any_other_page_leads_to_the_question_about_the_device(browser: Browser, omar: Person) -> None:
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    assert browser.get("/account").h1 == "Do you still have your authenticator app?"
    assert browser.get("/mfa/setup").h1 == "Do you still have your authenticator app?"
    page = browser.submit("/mfa/lost-device", still_have="perhaps")
    assert (page.status, page.errors) == (422, ["Choose one of the three answers"])
    assert browser.submit(page, still_have="yes").h1 == "Security"


def test_waiting_for_a_new_phone_signs_in_with_a_lasting_notice(
    app: Flask, browser: Browser, omar: Person, clock
) -> None:
    recover(browser, omar, "later")
    for _ in range(2):
        assert "When you have your new phone" in browser.get("/account").notice
    page = browser.get("/mfa/setup")
    page = browser.submit(page, password=omar.password, code=omar.code())
    clock.pass_by(30)
    assert browser.submit(page, code=scan(page, omar).code()).path == "/account"
    assert "When you have your new phone" not in browser.get("/account").notice


def test_a_new_app_after_recovery_replaces_the_old_one(app: Flask, browser: Browser, omar: Person, clock) -> None:
    old = Person(omar.email, clock, omar.secret)
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="no")
    assert page.h1 == "Set up your authenticator app"
    assert "recovery code" not in page.text, "the saved code stays; no second prompt"
    assert browser.submit(page, code=scan(page, omar).code()).h1 == "Security"
    browser.press(browser.get("/account"), "Sign out")
    clock.pass_by(30)
    give_password(browser, omar)
    assert browser.submit("/login/code", code=old.code()).status == 422
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


def test_the_old_app_works_until_the_new_one_is_confirmed(app: Flask, browser: Browser, omar: Person) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="no")
    assert sign_in(Browser(app), omar).h1 == "Security"


def test_having_said_no_one_can_still_go_back_and_say_yes(browser: Browser, omar: Person) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="no")
    assert "/mfa/lost-device" in page.links
    assert browser.submit("/mfa/lost-device", still_have="yes").h1 == "Security"
