"""The life of a recovery code: made, saved, claimed, spent, retired; and what is said of it to whoever types it."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn import recovery_codes
from authn.events import EventKind
from authn.refusals import Retirement
from authn.steps import SecondFactor
from models import RecoveryCode, Session, Throttle
from tests.support.apps import on_sqlite
from tests.support.cookies import opened
from tests.support.guesses import WRONG, failures
from tests.support.pages import Browser, Page
from tests.support.people import (
    WELL_FORMED,
    Clock,
    Person,
    full,
    give_password,
    half,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, live_codes, rows

# Its life -------------------------------------------------------------------------------------------------------------


def test_typing_it_claims_it_and_spends_nothing_yet(app: Flask, browser: Browser, omar: Person) -> None:
    page = use_recovery_code(browser, omar)
    assert page.h1 == "You're in. Save your new recovery code"
    assert not is_signed_in(browser)
    assert live_codes(app) == 1
    (session,) = rows(app, Session)
    assert (session["second_factor"], session["step"]) == (SecondFactor.RECOVERY, "replace_code")


def test_saving_the_replacement_spends_it(app: Flask, browser: Browser, omar: Person) -> None:
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    spent, new = rows(app, RecoveryCode)
    assert (spent["retired_by"], new["retired_by"]) == (Retirement.SPENT, None)
    assert new["saved_at"] is not None
    assert kinds(app).count(EventKind.RECOVERY_CODE_SPENT) == 1


def recover(browser: Browser, person: Person, answer: str = "yes") -> None:
    save_new_code(browser, use_recovery_code(browser, person), person)
    browser.submit("/mfa/lost-device", still_have=answer)


def test_a_recovery_code_works_once_and_is_replaced(app: Flask, browser: Browser, omar: Person) -> None:
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
    assert live_codes(app) == 1
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


NEVER_SAVED = ["That code was never saved, so it doesn't work. Use the newest one you saved."]


def prompt_of_a_sign_in(app: Flask, person: Person) -> tuple[Browser, Page]:
    browser = Browser(app)
    return browser, sign_in(browser, person)


def prompt_of_a_recovery(app: Flask, person: Person) -> tuple[Browser, Page]:
    browser = Browser(app)
    return browser, use_recovery_code(browser, person)


def prompt_of_the_account(app: Flask, person: Person) -> tuple[Browser, Page]:
    browser = Browser(app)
    sign_in(browser, person)
    return browser, browser.press(browser.get("/account/recovery-code"), "Make a new code")


def somebody_at(prompt: Callable[..., Any], omar: Person, ines: Person) -> Person:
    return ines if prompt is prompt_of_a_sign_in else omar


PROMPTS = [prompt_of_a_sign_in, prompt_of_a_recovery, prompt_of_the_account]


@pytest.mark.databases
@pytest.mark.parametrize("prompt", PROMPTS)
def test_another_session_is_shown_another_code_and_the_one_that_was_not_saved_never_works(
    app: Flask, omar: Person, ines: Person, clock: Clock, prompt: Callable[..., tuple[Browser, Page]]
) -> None:
    """Whoever stops at the prompt, with a code from the app that was phished, takes nothing along."""
    person = somebody_at(prompt, omar, ines)
    _, seen = prompt(app, person)
    stolen = shown_code(seen)
    clock.pass_by(900)
    own, page = prompt(app, person)
    assert shown_code(page) != stolen
    assert use_recovery_code(Browser(app), person, stolen).errors == NEVER_SAVED
    save_new_code(own, page, person)
    assert use_recovery_code(Browser(app), person, stolen).errors == NEVER_SAVED
    assert use_recovery_code(Browser(app), person).h1.startswith("You're in")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_code_works_for_nothing_before_it_is_saved(app, omar, ines, clock, prompt) -> None:
    person = somebody_at(prompt, omar, ines)
    browser, page = prompt(app, person)
    refused = use_recovery_code(Browser(app), person, shown_code(page))
    assert (refused.status, refused.errors) == (422, NEVER_SAVED)
    save_new_code(browser, page, person)
    assert use_recovery_code(Browser(app), person).h1.startswith("You're in")


@pytest.mark.databases
@pytest.mark.parametrize("prompt", PROMPTS)
def test_reload_and_back_show_the_same_code_and_it_is_gone_with_its_session(app, omar, ines, clock, prompt) -> None:
    browser, page = prompt(app, somebody_at(prompt, omar, ines))
    for _ in range(2):
        assert shown_code(browser.get("/mfa/recovery-code")) == shown_code(page)
    assert [bool(row["sealed_code"]) for row in rows(app, RecoveryCode) if not row["saved_at"]] == [True]
    browser.open("/logout", method="POST", data=page.form_with("saved").fields)
    assert [row["sealed_code"] for row in rows(app, RecoveryCode) if not row["saved_at"]] == [None]


def test_two_tabs_of_one_session_are_shown_one_code(app: Flask, ines: Person) -> None:
    browser = Browser(app)
    give_password(browser, ines)
    browser.send(browser.get("/login/code"), {"code": ines.code()})
    tabs = [browser.copy() for _ in range(4)]
    assert len({shown_code(page) for page in at_once([partial(tab.get, "/mfa/recovery-code") for tab in tabs])}) == 1


def test_saving_a_code_ends_the_sign_ins_that_wait_at_other_prompts_and_their_claims(app: Flask, omar: Person) -> None:
    owner, other = Browser(app), Browser(app)
    sign_in(owner, omar)
    page = owner.press(owner.get("/account/recovery-code"), "Make a new code")
    assert use_recovery_code(other, omar).h1.startswith("You're in")
    old = omar.recovery_code
    save_new_code(owner, page, omar)
    assert other.get("/mfa/recovery-code").h1 == "Sign in"
    assert "was replaced" in use_recovery_code(Browser(app), omar, old).errors[0]
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")


def test_a_tick_for_a_code_that_died_meanwhile_says_so(app: Flask, omar: Person) -> None:
    browser, other = Browser(app), Browser(app)
    sign_in(browser, omar)
    prompt = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    save_new_code(other, use_recovery_code(other, omar), omar)
    page = browser.submit(prompt, saved="yes")
    assert page.notice.startswith("Another code was saved meanwhile in another browser.")
    assert browser.get("/mfa/recovery-code").notice.startswith("You've already saved this code.")


@on_sqlite
def test_a_claim_that_outlived_its_session_is_nobody_elses(app: Flask, make_person) -> None:
    """As a program leaves it that deletes sessions with SQLite's foreign keys off."""
    first, second = make_person("first@example.com"), make_person("second@example.com")
    use_recovery_code(Browser(app), first)
    with closing(sqlite3.connect(app.config["DATABASE_URL"].removeprefix("sqlite:///"))) as other, other:
        other.execute("DELETE FROM session")
    browser = Browser(app)
    save_new_code(browser, use_recovery_code(browser, second), second)
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 1
    assert use_recovery_code(Browser(app), first).h1 == "You're in. Save your new recovery code"


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


def plain(page: Page, *without: str) -> str:
    """The page without its CSRF tokens, and without these words."""
    return re.sub("|".join(['name="csrf_token" value="[^"]+"', *map(re.escape, without)]), "", page.raw)


def test_nothing_tells_that_a_wrong_code_is_somebody_elses(app, omar, noor, make_person, clock) -> None:
    claimed = make_person("claimed@example.com")
    use_recovery_code(Browser(app), claimed)
    spent, browser = noor.recovery_code, Browser(app)
    save_new_code(browser, use_recovery_code(browser, noor), noor)
    before = rows(app, RecoveryCode)
    pages = []
    for typed in (WELL_FORMED, spent, noor.recovery_code, claimed.recovery_code):
        page = half(app, omar).submit("/login/recovery", recovery_code=typed)
        assert page.errors[0].startswith("That recovery code isn't right.")
        pages.append(plain(page, typed))
    assert len(set(pages)) == 1
    assert rows(app, RecoveryCode) == before
    charged = {row["key"] for row in rows(app, Throttle) if row["key"].startswith("recovery code:") and row["failures"]}
    assert len(charged) == 1, "Omar's account pays, not the owners of the codes"
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")
    assert use_recovery_code(Browser(app), noor).h1.startswith("You're in")


# In other words -------------------------------------------------------------------------------------------------------


CODE = "7F1K-9QXM-2D8R-HJ5T-V0WB-4NZ"  # with a 0 and a 1, which have look-alikes; one symbol is missing


@pytest.fixture
def code(app: Flask, omar: Person) -> str:
    """Omar's recovery code."""
    omar.recovery_code = CODE + recovery_codes.check_character(CODE.replace("-", ""))
    with app.app_context():
        digest = recovery_codes.digest(omar.recovery_code.replace("-", ""), 1)
        RecoveryCode.update(digest=digest).execute()
    return omar.recovery_code


def wide(text: str) -> str:
    return "".join(chr(ord(symbol) + 0xFEE0) if symbol.isalnum() else symbol for symbol in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as shown": str,
    "lower case": str.lower,
    "without dashes": lambda code: code.replace("-", ""),
    "spaced": lambda code: f"  {' '.join(code)}\r\n",
    "look-alikes": lambda code: code.replace("0", "o").replace("1", "L"),
    "full width": wide,
    "zero width": lambda code: "\u200b".join(code),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_one_code_which_works_once(app, omar, code: str, spelling: str) -> None:
    browser = Browser(app)
    page = use_recovery_code(browser, omar, SPELLINGS[spelling](code))
    assert page.h1.startswith("You're in")
    new = shown_code(page)
    assert browser.submit(page, saved="yes").path == "/mfa/lost-device"
    other = half(app, omar)
    for again in SPELLINGS.values():
        with app.app_context():
            Throttle.delete().execute()
        refused = other.submit("/login/recovery", recovery_code=again(code))
        assert refused.errors[0].startswith("That code was used on")
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 1
    assert other.submit("/login/recovery", recovery_code=new).h1.startswith("You're in")


NOT_THE_CODE: dict[str, Callable[[str], str]] = {
    "nothing": lambda code: "",
    "the NUL first": lambda code: "\0" + code[:-1],
    "all but the last": lambda code: code[:-1],
    "one too many": lambda code: code + "0",
    "per cent": lambda code: "%" * 24,
    "one per cent": lambda code: code[:-1] + "%",
    "a star": lambda code: code[:-1] + "*",
    "SQL": lambda code: "' OR digest LIKE '%' --",
    "backwards": lambda code: code[::-1],
    "the last letter wrong": lambda code: code[:-1] + next(s for s in "ABC" if s != code[-1]),
    "a U for a V": lambda code: code.replace("V", "U"),
    "its digest": lambda code: recovery_codes.digest(code.replace("-", ""), 1),
}


def test_what_is_not_the_code_is_neither_taken_nor_a_try(app: Flask, omar: Person, code: str) -> None:
    browser = half(app, omar)
    form = browser.get("/login/recovery")
    before, happened = rows(app, RecoveryCode), kinds(app)
    for name, change in NOT_THE_CODE.items():
        page = browser.send(form, {"recovery_code": change(code)})
        assert (page.status, page.h1) == (422, "Use your recovery code"), name
    assert (rows(app, RecoveryCode), kinds(app), failures(app, "recovery code")) == (before, happened, 0)
    assert browser.submit(form, recovery_code=code).h1.startswith("You're in")


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


def test_after_a_recovery_the_old_app_works_until_a_new_one_is_confirmed(
    app: Flask, browser: Browser, omar: Person
) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="no")
    assert sign_in(Browser(app), omar).h1 == "Security"


def test_having_said_no_one_can_still_go_back_and_say_yes(browser: Browser, omar: Person) -> None:
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="no")
    assert "/mfa/lost-device" in page.links
    assert browser.submit("/mfa/lost-device", still_have="yes").h1 == "Security"


def test_the_notice_about_a_missing_device_ends_with_a_sign_in_by_app(app: Flask, omar: Person, clock) -> None:

    browser = Browser(app)
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="later")
    assert "When you have your new phone" in page.notice
    browser.press(page, "Sign out")
    assert "When you have your new phone" not in sign_in(browser, omar).notice


def test_after_a_recovery_with_a_new_app_nothing_the_thief_of_the_phone_has_opens_anything(
    app: Flask, omar: Person, clock: Clock
) -> None:
    thief, waiting, claiming = full(app, omar, clock), half(app, omar), half(app, omar)
    old_code, lost = omar.recovery_code, Person(omar.email, clock, omar.secret)
    owner = Browser(app)
    page = use_recovery_code(owner, omar)
    assert "another browser" in claiming.submit("/login/recovery", recovery_code=old_code).errors[0]
    page = save_new_code(owner, page, omar)
    assert opened(waiting) == opened(claiming) == []
    assert is_signed_in(thief), "until the app is another one"
    page = owner.submit(page, still_have="no")
    assert owner.submit(page, code=scan(page, omar).code()).h1 == "Security"
    assert opened(thief) == []

    clock.pass_by(30)
    again = half(app, omar)
    for ahead in (-30, 0, 30):
        assert again.submit("/login/code", code=lost.code(ahead)).errors[0].startswith(WRONG)
    assert again.submit("/login/recovery", recovery_code=old_code).errors[0].startswith("That code was used on")
    assert again.submit("/login/code", code=omar.code()).h1 == "Security"
