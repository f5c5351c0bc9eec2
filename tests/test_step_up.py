""" "Confirm it's you": what asks for it, for how long it counts, and where it leads."""

from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from models import TotpAuthenticator
from tests.support.forms import Site, arrive
from tests.support.pages import Browser
from tests.support.people import (
    PASSWORD,
    Clock,
    Person,
    enroll,
    full,
    give_password,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import rows


@pytest.mark.parametrize("path", ["/mfa/setup", "/account/recovery-code", "/mfa/recovery-code", "/account/password"])
def test_changes_to_how_one_signs_in_ask_again_after_ten_minutes(
    browser: Browser, omar: Person, clock, path: str
) -> None:
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


def waiting_for_a_phone(app: Flask, person: Person) -> Browser:
    browser = Browser(app)
    save_new_code(browser, use_recovery_code(browser, person), person)
    assert browser.submit("/mfa/lost-device", still_have="later").h1 == "Security"
    return browser


def test_after_a_recovery_sign_in_the_password_alone_is_enough_to_set_up_a_new_app(app, omar: Person, clock) -> None:
    browser = waiting_for_a_phone(app, omar)
    page = browser.get("/mfa/setup")
    assert (page.path, "Leave the code empty" in page.text) == ("/verify", True)
    refused = browser.submit(page, password="a guess", code="")
    assert refused.errors == ["That password isn't right. Check it and try again."]
    page = browser.submit(page, password=PASSWORD, code="")
    assert page.path == "/mfa/setup"
    page = browser.submit(page, code=scan(page, omar).code())
    assert "Your authenticator app is set up." in page.notice
    clock.pass_by(30)
    assert sign_in(Browser(app), omar).h1 == "Security"


def test_the_password_alone_opens_nothing_else_and_sets_up_one_app(app: Flask, omar: Person, clock) -> None:
    browser = waiting_for_a_phone(app, omar)
    page = browser.submit("/verify?next=/account/password", password=PASSWORD, code="")
    assert page.path == "/mfa/setup", "what can be done now"
    for path in ("/account/password", "/account/recovery-code"):
        assert browser.get(path).h1 == "Confirm it's you"
    clock.pass_by(600)
    assert browser.get("/mfa/setup").h1 == "Confirm it's you", "as long as any step-up"
    page = browser.submit("/verify", password=PASSWORD, code="")
    browser.submit(page, code=scan(page, omar).code())
    clock.pass_by(600)
    page = browser.get("/mfa/setup")
    assert "Leave the code empty" not in page.text
    assert browser.submit(page, password=PASSWORD, code="").errors == ["Enter the six-digit code your app shows"]
    assert browser.submit(page, password=PASSWORD, code=omar.code()).path == "/mfa/setup"


def test_with_the_password_alone_no_second_app_is_set_up_even_at_once(app: Flask, omar: Person, clock) -> None:
    browser = waiting_for_a_phone(app, omar)
    page = browser.submit("/verify", password=PASSWORD, code="")
    browser.submit(page, code=scan(page, omar).code())
    clock.pass_by(30)
    page = browser.get("/mfa/setup")
    assert page.h1 == "Confirm it's you"
    assert browser.submit(page, password=PASSWORD, code=omar.code()).path == "/mfa/setup"


def test_whose_app_was_set_up_while_the_clock_ran_ahead_sets_up_a_new_one_too(app: Flask, make_person, clock) -> None:
    clock.pass_by(30 * 86400)
    rosa = make_person("rosa@example.com", enrolled=False)
    assert enroll(Browser(app), rosa).h1 == "Security"
    clock.pass_by(-30 * 86400)
    browser = waiting_for_a_phone(app, rosa)
    page = browser.submit("/mfa/setup", password=PASSWORD, code="")
    assert page.path == "/mfa/setup"
    assert "Your authenticator app is set up." in browser.submit(page, code=scan(page, rosa).code()).notice


def test_no_other_session_is_stepped_up_by_the_password_alone(app: Flask, omar: Person, clock) -> None:
    waiting_for_a_phone(app, omar)
    browser = full(app, omar, clock)
    clock.pass_by(600)
    page = browser.get("/mfa/setup")
    refused = browser.submit(page, password=PASSWORD, code="")
    assert refused.errors == ["Enter the six-digit code your app shows"]
    assert browser.submit(page, password=PASSWORD, code=omar.code()).path == "/mfa/setup"


def test_a_step_up_in_the_future_does_not_count(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    assert browser.get("/account/password").h1 == "Change your password"
    clock.pass_by(-60)
    assert browser.get("/account/password").h1 == "Confirm it's you"


@pytest.mark.parametrize("who", ["maya", "ines"])
def test_a_step_up_counts_from_when_the_code_was_typed(
    app: Flask, clock, who: str, request: pytest.FixtureRequest
) -> None:
    person, browser = request.getfixturevalue(who), Browser(app)
    page = give_password(browser, person)
    if who == "maya":
        scan(page, person)
    prompt = browser.submit(page, code=person.code())
    clock.pass_by(590)
    save_new_code(browser, prompt, person)
    assert browser.open("/account/password").status == 200
    clock.pass_by(20)
    assert browser.get("/account/password").path == "/verify"


@pytest.mark.parametrize(
    "referer",
    [
        *("https://evil.test//evil.test/x", "https://evil.test/\\evil.test", "//evil.test", "https://evil.test/logout"),
        *("http://localhost/login", "http://localhost/%2f%2fevil.test", "http://localhost/nothing", "http://[evil", ""),
    ],
)
def test_where_a_stale_form_came_from_leads_nowhere_else(site: Site, clock: Clock, referer: str) -> None:
    """ "Confirm it's you" goes back by the Referer, which another site could choose."""
    visit = arrive(site, "account.new_recovery_code")
    clock.pass_by(601)
    answer = visit.send(headers={"Referer": referer})
    location = urlsplit(answer.headers["Location"])
    assert (answer.status, location.netloc, location.path) == (303, "", "/verify")
    assert parse_qs(location.query) == {"next": [visit.path]}
    page = visit.browser.submit(visit.browser.follow(answer), password=PASSWORD, code=site.omar.code())
    assert (page.path, page.status) == (visit.path, 200)
