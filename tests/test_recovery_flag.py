"""The flag, row by row: what is there while recovery codes are on, what is gone while they are off, and what happens to
somebody who is in the middle when it is flipped."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from authn.events import EventKind
from models import RecoveryCode, Throttle, TotpAuthenticator
from tests.support.pages import Browser, Page, csrf, post
from tests.support.people import (
    WELL_FORMED,
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
from tests.support.tables import count, everything, kinds, live_codes, rows

# On -------------------------------------------------------------------------------------------------------------------


def test_enrollment_starts_with_the_qr_code_as_step_1_of_2(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    assert page.h1 == "Set up your authenticator app"
    assert "Step 1 of 2" in page.text
    assert "Next: a recovery code" in page.text


def test_a_recovery_code_is_generated_and_its_prompt_shown_during_enrollment(browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    page = browser.submit(page, code=scan(page, maya).code())
    assert (page.path, page.h1) == ("/mfa/recovery-code", "Save your recovery code")
    assert "Step 2 of 2" in page.text
    assert len(shown_code(page)) == 29


def test_enrollment_is_complete_only_once_the_code_is_confirmed_as_saved(
    app: Flask, browser: Browser, maya: Person
) -> None:
    page = give_password(browser, maya)
    prompt = browser.submit(page, code=scan(page, maya).code())
    assert browser.get("/account").h1 == "Save your recovery code"
    assert count(app, TotpAuthenticator) == live_codes(app) == 0

    refused = browser.send(prompt, {})
    assert (refused.status, refused.title[:6]) == (422, "Error:")
    assert refused.errors[0].startswith("Tick the box once you've saved the code.")
    assert count(app, TotpAuthenticator) == live_codes(app) == 0

    assert browser.submit(prompt, saved="yes").h1 == "Security"
    assert count(app, TotpAuthenticator) == live_codes(app) == 1


def test_the_challenge_offers_the_recovery_code_while_they_are_on(browser: Browser, omar: Person) -> None:
    page = give_password(browser, omar)
    assert "/login/recovery" in page.links
    assert "No recovery code? Ask" in page.text


def test_the_account_page_says_how_the_code_stands_and_makes_a_new_one(browser: Browser, ines: Person) -> None:
    page = sign_in(browser, ines)
    assert page.h1 == "Save your recovery code"
    save_new_code(browser, page, ines)
    page = browser.get("/account")
    assert "Saved 30 November 2026. Not used." in page.text
    page = browser.get("/account/recovery-code")
    assert page.h1 == "Make a new recovery code?"
    page = browser.press(page, "Make a new code")
    assert page.h1 == "Save your new recovery code"
    assert "not saved yet. Save it now" in browser.get("/account").text
    old, new = ines.recovery_code, shown_code(page)
    assert old != new
    save_new_code(browser, page, ines)
    browser.press(browser.get("/account"), "Sign out")
    assert "was replaced on 30 November 2026" in use_recovery_code(browser, ines, old).errors[0]
    assert browser.submit("/login/recovery", recovery_code=new).h1.startswith("You're in")


def test_a_new_code_that_is_not_saved_leaves_the_old_one_working(browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    browser.press(browser.get("/account"), "Sign out")
    assert use_recovery_code(browser, omar).h1.startswith("You're in")


def test_people_enrolled_while_they_were_off_get_the_prompt_as_the_last_step_of_their_next_sign_in(
    browser: Browser, ines: Person
) -> None:
    page = sign_in(browser, ines, "/account/recovery-code")
    assert (page.path, page.h1) == ("/mfa/recovery-code", "Save your recovery code")
    assert browser.get("/account").path == "/mfa/recovery-code"
    assert save_new_code(browser, page, ines).path == "/account/recovery-code"


# Off ------------------------------------------------------------------------------------------------------------------


def turn(app: Flask, on: object) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = on


def test_enrollment_is_one_step_without_a_code_while_they_are_off(app: Flask, browser: Browser, maya: Person) -> None:
    turn(app, False)
    page = give_password(browser, maya)
    assert "Step 1" not in page.text
    assert "recovery" not in page.raw.lower()
    page = browser.submit(page, code=scan(page, maya).code())
    assert (page.path, is_signed_in(browser)) == ("/account", True)
    assert count(app, RecoveryCode) == 0


def test_the_challenge_says_who_can_help_instead_while_they_are_off(app: Flask, browser: Browser, omar: Person) -> None:
    turn(app, False)
    page = give_password(browser, omar)
    assert "recovery" not in page.raw.lower()
    assert "Ask the person who runs this site to reset your authenticator." in page.text


OFF_LIMITS = ("/login/recovery", "/mfa/recovery-code", "/mfa/recovery-code.txt", "/account/recovery-code")


@pytest.mark.parametrize("path", OFF_LIMITS)
def test_every_recovery_page_is_a_403_page_while_they_are_off(
    app: Flask, browser: Browser, omar: Person, path: str
) -> None:
    turn(app, False)
    for state in ("nobody", "half", "full"):
        if state == "half":
            give_password(browser, omar)
        if state == "full":
            browser.submit("/login/code", code=omar.code())
        page = browser.open(path)
        assert (page.status, page.h1) == (403, "Recovery codes are off"), state
    turn(app, True)
    assert browser.open(path).status in (200, 303, 404)


def test_nobody_signs_in_with_a_recovery_code_while_they_are_off(app: Flask, browser: Browser, omar: Person) -> None:
    form = give_password(browser, omar)
    form = browser.get("/login/recovery")
    before = rows(app, RecoveryCode)
    turn(app, False)
    page = browser.send(form, {"recovery_code": omar.recovery_code})
    assert (page.status, page.h1) == (403, "Recovery codes are off")
    assert not is_signed_in(browser)
    assert rows(app, RecoveryCode) == before, "a code issued earlier is not used up by trying"

    turn(app, True)
    assert browser.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_the_account_page_says_not_used_on_this_site_while_they_are_off(
    app: Flask, browser: Browser, omar: Person
) -> None:
    turn(app, False)
    page = sign_in(browser, omar)
    assert "Not used on this site." in page.text
    assert "/account/recovery-code" not in page.links


def test_people_without_a_code_sign_in_straight_while_they_are_off(app: Flask, browser: Browser, ines: Person) -> None:
    turn(app, False)
    assert sign_in(browser, ines).path == "/account"


def test_looking_at_a_recovery_page_while_they_are_off_writes_nothing(app: Flask, maya: Person) -> None:
    browser = Browser(app)
    app.config["RECOVERY_CODES_ENABLED"] = False
    enroll(browser, maya)
    before = kinds(app)
    assert browser.open("/login/recovery").status == 403
    assert kinds(app) == before
    fields = browser.get("/account").forms[0].fields
    assert browser.open("/login/recovery", method="POST", data=fields).status == 403
    assert kinds(app) == [*before, EventKind.RECOVERY_CODE_WHILE_OFF]


def without_token(page: Page) -> str:
    return re.sub(r'name="csrf_token" value="[^"]+"', "", page.raw)


def test_a_hidden_form_sent_by_hand_while_codes_are_off_tells_nothing_of_the_code(
    app: Flask, browser: Browser, omar: Person, noor: Person
) -> None:
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
    written = [(event["kind"], event["count"]) for event in after.pop("Event")[len(before.pop("Event")) :]]
    assert written == [(EventKind.RECOVERY_CODE_WHILE_OFF, len(typed))]
    assert after == before
    app.config["RECOVERY_CODES_ENABLED"] = True
    answer = post(half, "/login/recovery", token, recovery_code=omar.recovery_code)
    assert answer.headers["Location"] == "/mfa/recovery-code"


# Flipped in the middle ------------------------------------------------------------------------------------------------


def test_somebody_waiting_at_the_prompt_of_an_enrollment_can_finish_without_a_code(
    app: Flask, browser: Browser, maya: Person
) -> None:
    page = give_password(browser, maya)
    prompt = browser.submit(page, code=scan(page, maya).code())
    turn(app, False)
    page = browser.send(prompt, {"saved": "yes"})
    assert (page.status, page.h1) == (403, "Recovery codes are off")
    assert page.form_with().buttons == ["Finish setup"]
    assert count(app, TotpAuthenticator) == 0

    page = browser.press(page, "Finish setup")
    assert (page.path, page.notice[:36]) == ("/account", "Your authenticator app is set up. Yo")
    assert (count(app, TotpAuthenticator), live_codes(app)) == (1, 0)
    assert [row["sealed_code"] for row in rows(app, RecoveryCode)] == [None], "what was shown is erased"


def test_finish_setup_does_not_skip_the_prompt_while_they_are_on(app: Flask, browser: Browser, maya: Person) -> None:
    page = give_password(browser, maya)
    prompt = browser.submit(page, code=scan(page, maya).code())
    turn(app, False)
    off = browser.get("/mfa/recovery-code")
    turn(app, True)
    assert browser.press(off, "Finish setup").h1 == "Save your recovery code"
    assert count(app, TotpAuthenticator) == 0
    assert browser.submit(prompt, saved="yes").path == "/account"


def test_somebody_waiting_at_the_prompt_of_a_sign_in_can_finish_without_a_code(
    app: Flask, browser: Browser, ines: Person
) -> None:
    sign_in(browser, ines)
    turn(app, False)
    page = browser.get("/account")
    assert (page.status, page.h1) == (403, "Recovery codes are off")
    assert browser.press(page, "Finish setup").path == "/account"


@pytest.mark.parametrize("path", ["/mfa/recovery-code", "/account", "/mfa/lost-device", "/login", "/"])
def test_an_unfinished_recovery_sign_in_ends_and_its_code_stays_unspent(
    app: Flask, browser: Browser, omar: Person, path: str
) -> None:
    use_recovery_code(browser, omar)
    turn(app, False)
    page = browser.get(path)
    assert "wasn't used up" in page.text
    turn(app, True)
    assert browser.get("/account").h1 == "Sign in", "the session is gone for good"
    assert use_recovery_code(browser, omar).h1.startswith("You're in")


def test_an_unfinished_recovery_sign_in_cannot_use_finish_setup(app: Flask, browser: Browser, omar: Person) -> None:
    page = use_recovery_code(browser, omar)
    turn(app, False)
    form = page.form_with("saved")
    refused = browser.follow(browser.open("/mfa/finish", method="POST", data=form.fields))
    assert refused.h1 == "Sign in"
    assert not is_signed_in(browser)
    turn(app, True)
    page = use_recovery_code(browser, omar)
    assert save_new_code(browser, page, omar).path == "/mfa/lost-device"


def test_finished_sessions_stay_when_it_is_turned_off(app: Flask, browser: Browser, omar: Person) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="yes")
    turn(app, False)
    assert is_signed_in(browser)


@pytest.mark.parametrize("was_on_when_it_began", [True, False])
def test_turning_codes_off_and_on_again_while_somebody_enrolls_leaves_no_way_round_the_prompt(
    app: Flask, browser: Browser, maya: Person, was_on_when_it_began: bool
) -> None:
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
        assert count(app, TotpAuthenticator) == live_codes(app) == 0
    assert save_new_code(browser, prompt, maya).h1 == "Security"
    assert use_recovery_code(Browser(app), maya).h1.startswith("You're in")


@contextmanager
def turned_off_meanwhile() -> Iterator[None]:
    """On when the gate looks, off when the flow does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.codes.recovery_codes_are_on", lambda: False)
        yield


def test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    form = browser.get("/login/recovery")
    with turned_off_meanwhile():
        page = browser.send(form, {"recovery_code": omar.recovery_code})
    assert (page.status, page.h1) == (403, "Recovery codes are off")
    assert (live_codes(app), count(app, RecoveryCode, RecoveryCode.claimed_by.is_null(False))) == (1, 0)
    assert rows(app, Throttle) == []
    prompt = browser.submit("/login/recovery", recovery_code=omar.recovery_code)
    with turned_off_meanwhile():
        assert browser.send(prompt, {"saved": "yes"}).status == 403
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 0
    assert browser.send(prompt, {"saved": "yes"}).status == 303


def test_where_an_error_page_cannot_write_it_says_that_the_records_are_away(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    form = browser.get("/login/recovery")
    for old, new, status in (("event", "away", 503), ("away", "event", 403)):
        with app.app_context():
            app.extensions["store"].database.execute_sql(f"ALTER TABLE {old} RENAME TO {new}")
        with turned_off_meanwhile():
            assert browser.send(form, {"recovery_code": omar.recovery_code}).status == status


# Who decides ----------------------------------------------------------------------------------------------------------


def test_it_is_off_by_default(make_app, make_person) -> None:
    app = make_app("default")
    omar = make_person("omar@example.com", on=app)
    browser = Browser(app)
    assert "recovery" not in give_password(browser, omar).raw.lower()
    assert browser.open("/login/recovery").status == 403


@pytest.mark.parametrize("nonsense", ["on", 1, "yes", object()])
def test_nonsense_in_the_configuration_counts_as_off(
    app: Flask, browser: Browser, omar: Person, nonsense: object
) -> None:
    turn(app, nonsense)
    give_password(browser, omar)
    assert browser.open("/login/recovery").status == 403
    turn(app, True)
    assert browser.open("/login/recovery").status == 200


@pytest.mark.parametrize("fixed", [True, False])
def test_what_the_configuration_fixes_wins_over_the_switch(make_app, make_person, fixed: bool) -> None:
    app = make_app("fixed")
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    app.test_cli_runner().invoke(args=["recovery-codes", "disable" if fixed else "enable"])
    app.config["RECOVERY_CODES_ENABLED"] = fixed
    give_password(browser, omar)
    assert browser.open("/login/recovery").status == (200 if fixed else 403)
    app.config["RECOVERY_CODES_ENABLED"] = None
    assert browser.open("/login/recovery").status == (403 if fixed else 200)


def test_no_form_field_query_or_cookie_turns_it_on(app: Flask, browser: Browser, omar: Person) -> None:
    turn(app, False)
    form = give_password(browser, omar).form_with("code")
    browser.client.set_cookie("RECOVERY_CODES_ENABLED", "true", domain="localhost")
    data = {**form.fields, "recovery_code": omar.recovery_code, "RECOVERY_CODES_ENABLED": "true"}
    assert browser.open("/login/recovery?RECOVERY_CODES_ENABLED=true", method="POST", data=data).status == 403
    turn(app, True)
    assert browser.open("/login/recovery", method="POST", data=data).status == 303
