"""A clock that ran ahead and is right again, and one that is set back: nothing stays open for longer than it may, and
nobody is shut out."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from models import Session
from tests.support.commands import link
from tests.support.cookies import opened
from tests.support.gates import APPS, WIKI, Window
from tests.support.guesses import USED, WRONG
from tests.support.lives import Step, prompted, recovery_code_typed, saved, signed_out
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    Clock,
    Person,
    give_password,
    half,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    step_up,
    use_recovery_code,
)
from tests.support.tables import count, ids, rows

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTH = 30 * DAY


# Ahead, and right again -----------------------------------------------------------------------------------------------


BEGUN: dict[str, list[Step]] = {
    "a session": [sign_in],
    "half a sign-in": [give_password],
    "a claimed code": [give_password, recovery_code_typed],
    "the question about the device": [give_password, recovery_code_typed, saved],
}


def at(browser: Browser, person: Person, steps: list[Step]) -> Browser:
    for step in steps:
        step(browser, person)
    return browser


@pytest.mark.parametrize("begun", BEGUN)
def test_what_began_while_the_clock_was_a_month_ahead_is_over_when_it_is_right(app, omar, clock, begun: str) -> None:
    clock.pass_by(MONTH)
    browser = at(Browser(app), omar, BEGUN[begun])
    assert opened(browser)
    clock.pass_by(-MONTH)
    for _ in range(8):  # however it is used
        assert opened(browser) == []
        clock.pass_by(10 * MINUTE)
    assert sign_in(browser, omar).h1 == "Security"


@pytest.mark.parametrize("begun", ["setup", "prompt"])
def test_a_first_setup_begun_a_month_ahead_is_over_when_the_clock_is_right(app, maya, clock, begun: str) -> None:
    clock.pass_by(MONTH)
    browser = at(Browser(app), maya, [give_password, prompted][: 2 if begun == "prompt" else 1])
    assert opened(browser)
    clock.pass_by(-MONTH)
    assert opened(browser) == []
    page = prompted(at(browser, maya, [give_password]), maya)
    assert save_new_code(browser, page, maya).h1 == "Security"


@pytest.mark.databases
@pytest.mark.parametrize("begun", BEGUN)
def test_what_a_clock_that_ran_ahead_left_behind_goes_when_the_next_person_signs_in(
    app: Flask, omar: Person, noor: Person, clock: Clock, begun: str
) -> None:
    clock.pass_by(MONTH)
    at(Browser(app), omar, BEGUN[begun])
    clock.pass_by(-MONTH)
    assert count(app, Session) == 1
    sign_in(Browser(app), noor)
    assert [row["user"] for row in rows(app, Session)] == [ids(app)[noor.email]]


def ahead_by(minutes: int, clock: Clock, act: Callable[[], Any]) -> Any:
    """Do it while the clock runs ahead by so much."""
    clock.pass_by(minutes * MINUTE)
    done = act()
    clock.pass_by(-minutes * MINUTE)
    return done


def test_a_session_begun_a_little_ahead_is_kept_and_ends_after_an_hour_without_use(app, omar, clock) -> None:
    browser = Browser(app)
    ahead_by(50, clock, lambda: sign_in(browser, omar))
    assert is_signed_in(browser), "a small correction shuts nobody out"
    clock.pass_by(HOUR)
    assert not is_signed_in(browser)


def test_a_session_begun_a_little_ahead_and_used_ends_after_a_day(app, omar, clock) -> None:
    browser, ends = Browser(app), clock.now + DAY
    ahead_by(50, clock, lambda: sign_in(browser, omar))
    while clock.now < ends:
        assert is_signed_in(browser)
        clock.pass_by(10 * MINUTE)
    assert not is_signed_in(browser)


def test_a_session_begun_a_little_ahead_enters_another_site_at_once(make_app, make_person, clock) -> None:
    """Its beginning is put right on the way, and the ticket names the session by it."""
    window, omar = Window(make_app(**APPS)), make_person("omar@example.com")
    ahead_by(50, clock, lambda: sign_in(window, omar))
    assert window.get(f"{WIKI}/").status == 200


def test_the_list_of_sessions_leaves_out_one_that_only_a_wrong_clock_keeps_open(app, omar, clock) -> None:
    def others(page: Page) -> int:
        return sum(form.action.endswith("/revoke") for form in page.forms)

    here, away = Browser(app), Browser(app)
    sign_in(here, omar)
    clock.pass_by(59 * MINUTE)
    assert is_signed_in(here)
    ahead_by(59, clock, lambda: (is_signed_in(here), sign_in(away, omar)))
    assert others(here.get("/account")) == 1
    clock.pass_by(-5 * MINUTE)
    page = here.get("/account")
    assert others(page) == 0
    assert here.press(page, "Sign out everywhere else").notice == "You weren't signed in anywhere else."


@pytest.mark.databases
def test_a_claim_made_too_far_ahead_holds_no_code(app: Flask, omar: Person, clock: Clock) -> None:
    first, second = Browser(app), Browser(app)
    ahead_by(16, clock, lambda: use_recovery_code(first, omar))
    ahead_by(9, clock, lambda: give_password(second, omar))
    assert opened(first) == []
    assert second.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_a_claim_made_a_little_ahead_holds_its_code_for_a_quarter_of_an_hour_at_most(app, omar, clock) -> None:
    first, second = Browser(app), Browser(app)
    ahead_by(10, clock, lambda: use_recovery_code(first, omar))
    assert "can be used here from 01:15 UTC" in use_recovery_code(second, omar).errors[0]
    assert save_new_code(first, first.get("/mfa/recovery-code"), omar).h1.startswith("Do you still have")


@pytest.mark.databases
@pytest.mark.parametrize(("minutes", "is_kept"), [(9, True), (16, False)])
def test_a_setup_begun_too_far_ahead_is_begun_anew(app, omar, clock, minutes: int, is_kept: bool) -> None:
    browser = Browser(app)
    old = ahead_by(minutes, clock, lambda: (sign_in(browser, omar), browser.get("/mfa/setup"))[1])
    clock.pass_by(30)
    page = step_up(browser, omar.code())
    page = browser.get("/mfa/setup")
    assert (page.text_of("setup-key") == old.text_of("setup-key")) == is_kept
    assert browser.submit(page, code=scan(page, omar).code()).notice.startswith("Your authenticator app")


@pytest.mark.databases
@pytest.mark.parametrize(("minutes", "is_kept"), [(9, True), (16, False)])
def test_a_code_made_for_a_setup_too_far_ahead_is_not_shown(app, ines, clock, minutes: int, is_kept: bool) -> None:
    browser = Browser(app)
    app.config["RECOVERY_CODES_ENABLED"] = False
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True

    def go() -> str:
        clock.pass_by(30)
        step_up(browser, ines.code())
        return shown_code(prompted(browser, Person(ines.email, clock)))

    shown = ahead_by(minutes, clock, go)
    step_up(browser, ines.code())
    page = browser.get("/mfa/recovery-code")
    if is_kept:
        assert shown_code(page) == shown
        assert browser.submit(page, saved="yes").h1 == "Security"
    else:
        assert page.notice.startswith("That took too long, so nothing was changed.")


@pytest.mark.databases
def test_a_link_made_a_month_ahead_is_over_and_a_new_one_works(app: Flask, omar: Person, clock: Clock) -> None:
    browser = Browser(app)
    path, page = ahead_by(MONTH // MINUTE, clock, lambda: (made := link(app, "invite", omar.email), browser.get(made)))
    assert browser.open(path).status == 404
    assert browser.send(page, {"new_password": NEW_PASSWORD}).status == 404
    assert give_password(browser, omar).h1 == "Enter your code"
    page = Browser(app).submit(link(app, "invite", omar.email), new_password=NEW_PASSWORD)
    assert page.notice == "Your password is set. Sign in with it."


@pytest.mark.databases
def test_a_six_digit_code_taken_a_month_ahead_shuts_nobody_out_and_none_works_twice(app, omar, clock) -> None:
    taken = ahead_by(MONTH // MINUTE, clock, lambda: (omar.code(), sign_in(Browser(app), omar)))[0]
    first, second = half(app, omar), half(app, omar)
    assert first.submit("/login/code", code=taken).errors[0].startswith(WRONG)
    page = second.get("/login/code")
    assert first.submit("/login/code", code=omar.code()).h1 == "Security"
    assert second.submit(page, code=omar.code()).errors[0].startswith(USED)
    assert second.submit(page, code=omar.code(-30)).errors[0].startswith(USED)
    clock.pass_by(30)
    assert second.submit(page, code=omar.code()).h1 == "Security"
    clock.pass_by(30)
    assert step_up(first, omar.code()).h1 == "Security"


def test_a_code_of_a_phone_that_is_half_a_minute_fast_is_no_sign_of_a_wrong_clock(app, omar, clock) -> None:
    first, second = half(app, omar), half(app, omar)
    assert first.submit("/login/code", code=omar.code(30)).h1 == "Security"
    for ahead in (30, 0, -30):
        assert second.submit("/login/code", code=omar.code(ahead)).errors[0].startswith(USED)
    clock.pass_by(30)
    assert second.submit("/login/code", code=omar.code(30)).h1 == "Security"


# Set back by an hour --------------------------------------------------------------------------------------------------


def test_a_clock_set_back_by_an_hour_shuts_nobody_out(app: Flask, omar: Person, noor: Person, maya, clock) -> None:
    owner, recovering = Browser(app), Browser(app)
    sign_in(owner, omar)
    path = link(app, "invite", maya.email)
    clock.pass_by(-HOUR)
    assert is_signed_in(owner)
    assert sign_in(Browser(app), omar).h1 == "Security"
    assert step_up(owner, omar.code(30)).h1 == "Security"
    assert use_recovery_code(recovering, noor).h1.startswith("You're in")
    assert Browser(app).submit(path, new_password=NEW_PASSWORD).notice == "Your password is set. Sign in with it."
    clock.pass_by(HOUR - 1)
    assert is_signed_in(owner)
    clock.pass_by(HOUR)
    assert not is_signed_in(owner)


@pytest.mark.parametrize("seconds", [-HOUR, -MONTH, 2 * MONTH])
def test_a_cookie_is_good_whatever_the_time_in_its_signature(app, omar, monkeypatch, seconds: int) -> None:
    """Whether it still leads anywhere its session says. This is the machine's clock, which signs cookies."""
    browser, real = Browser(app), time.time
    sign_in(browser, omar)
    monkeypatch.setattr("time.time", lambda: real() + seconds)
    assert is_signed_in(browser)
    browser.client.set_cookie("session", f"{browser.cookie()}x", domain="localhost")
    assert not is_signed_in(browser)


@pytest.mark.databases
def test_a_clock_set_back_by_an_hour_lets_nobody_in_with_what_is_over(app, omar, maya, clock) -> None:
    browser, used_link = Browser(app), link(app, "invite", maya.email)
    Browser(app).submit(used_link, new_password=NEW_PASSWORD)
    used_code = omar.recovery_code
    at(browser, omar, [give_password, recovery_code_typed, saved])
    out = browser.copy()
    browser.submit("/mfa/lost-device", still_have="yes")
    clock.pass_by(MINUTE)
    other = half(app, omar)
    other.submit("/login/code", code=omar.code())
    taken, left = omar.code(), other.copy()
    signed_out(other, omar)
    clock.pass_by(-HOUR)
    assert Browser(app).open(used_link).status == 404
    assert (opened(out), opened(left)) == ([], [])
    stranger = half(app, omar)
    assert stranger.submit("/login/code", code=taken).errors[0].startswith(WRONG)
    assert "was used" in stranger.submit("/login/recovery", recovery_code=used_code).errors[0]
    assert is_signed_in(browser)
    assert stranger.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")
