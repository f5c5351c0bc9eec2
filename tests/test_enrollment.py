"""Setting up an authenticator app: it changes nothing until complete, and belongs to the browser that began it."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from flask import Flask

from authn import email_addresses, totp
from authn.events import EventKind
from models import Enrollment, RecoveryCode, Session, TotpAuthenticator
from tests.support.pages import Browser, Page, csrf, post
from tests.support.people import (
    PASSWORD,
    Clock,
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
from tests.support.routes import PUBLIC, requests_to
from tests.support.tables import count, kinds, live_codes, rows, secret_of

# The first app --------------------------------------------------------------------------------------------------------


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
    assert count(app, TotpAuthenticator) == live_codes(app) == 0

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


def test_a_replacement_that_ran_out_of_time_at_the_prompt_is_told_as_such(app: Flask, ines: Person, clock) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    page = browser.get("/mfa/setup")
    prompt = browser.submit(page, code=scan(page, Person(ines.email, clock)).code())
    clock.pass_by(900)
    assert browser.submit(prompt, saved="yes").h1 == "Confirm it's you"
    page = browser.submit("/verify?next=/mfa/recovery-code", password=PASSWORD, code=ines.code())
    assert (page.path, "Your old app still works" in page.notice) == ("/account", True)
    clock.pass_by(30)
    assert sign_in(Browser(app), ines).h1 == "Save your recovery code", "with the old app"


def test_cancel_and_sign_out_ends_it(app: Flask, browser: Browser, maya: Person) -> None:
    page = browser.press(give_password(browser, maya), "Cancel and sign out")
    assert page.notice == "You're signed out."
    assert count(app, Session) == count(app, Enrollment) == 0


def test_the_longest_address_can_be_drawn_as_a_qr_code(app: Flask, browser: Browser, make_person) -> None:
    longest = "\U00020000" * 60 + "@example.com"
    assert email_addresses.fold("\U00020000" * 61 + "@example.com") is None
    person = make_person(longest, enrolled=False)
    assert give_password(browser, person).h1 == "Set up your authenticator app"


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
    assert kinds(app).count(EventKind.AUTHENTICATOR_REPLACED) == 1


def test_an_app_works_until_its_replacement_is_confirmed(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    browser.get("/mfa/setup")
    clock.pass_by(30)
    assert sign_in(Browser(app), omar).h1 == "Security"


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


def test_replacing_the_app_while_an_unsaved_code_waits_completes(app: Flask, ines: Person, clock) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    browser.press(browser.get("/account/recovery-code"), "Make a code")
    page = browser.get("/mfa/setup")
    ines.secret = totp.read_setup_key(page.text_of("setup-key"))
    page = browser.submit(page, code=ines.code())
    assert "Step 2 of 2" in page.text
    assert save_new_code(browser, page, ines).path == "/account"
    assert live_codes(app) == 1


def test_a_confirmed_replacement_that_was_left_lying_does_not_shadow_a_new_code(
    app: Flask, ines: Person, clock
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    page = browser.get("/mfa/setup")
    abandoned = totp.read_setup_key(page.text_of("setup-key"))
    old_code = shown_code(browser.submit(page, code=totp.code_at(abandoned, clock.now)))
    page = browser.press(browser.get("/account/recovery-code"), "Make a code")
    assert "Step 2 of 2" not in page.text
    assert shown_code(page) != old_code
    assert save_new_code(browser, page, ines).path == "/account"
    clock.pass_by(30)
    assert sign_in(Browser(app), ines).h1 == "Security", "the app is the old one"


def test_a_confirmed_replacement_runs_out_of_time(app: Flask, ines: Person, clock) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    page = browser.get("/mfa/setup")
    key = totp.read_setup_key(page.text_of("setup-key"))
    browser.submit(page, code=totp.code_at(key, clock.now))
    clock.pass_by(900)
    page = browser.submit("/verify", password=PASSWORD, code=ines.code())
    assert browser.get("/mfa/recovery-code").path == "/account"
    app.config["RECOVERY_CODES_ENABLED"] = False
    finish = browser.open("/mfa/finish", method="POST", data=page.forms[0].fields)
    assert finish.headers["Location"] == "/mfa/recovery-code"
    assert kinds(app).count(EventKind.AUTHENTICATOR_REPLACED) == 0


def test_an_enrollment_completes_only_over_the_app_it_was_to_replace(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    page = browser.get("/mfa/setup")
    key = totp.read_setup_key(page.text_of("setup-key"))
    with app.app_context():
        TotpAuthenticator.update(id=TotpAuthenticator.id + 100).execute()
    assert browser.submit(page, code=totp.code_at(key, clock.now)).path == "/account", "sent on, nothing changed"
    assert count(app, TotpAuthenticator, TotpAuthenticator.id > 100) == 1
    with app.app_context():
        TotpAuthenticator.update(id=TotpAuthenticator.id - 100).execute()
    assert browser.submit(page, code=totp.code_at(key, clock.now)).path == "/account"
    assert kinds(app).count(EventKind.AUTHENTICATOR_REPLACED) == 1


# Somebody else's ------------------------------------------------------------------------------------------------------


def of_an_attacker(person: Person) -> Person:
    """The same account with an app whose secret the attacker has made up."""
    return Person(person.email, person.clock, totp.new_secret())


@pytest.mark.parametrize("codes_on", [True, False])
def test_whoever_has_only_the_password_cannot_enroll_over_an_app(
    app: Flask, browser: Browser, omar: Person, codes_on: bool
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = codes_on
    page, evil = give_password(browser, omar), of_an_attacker(omar)
    for method, path in (("GET", "/mfa/setup"), ("POST", "/mfa/setup"), ("POST", "/mfa/finish")):
        data = {**csrf(page), "code": evil.code(), "secret": str(evil.secret)} if method == "POST" else None
        assert browser.open(path, method=method, data=data).headers["Location"] == "/login/code"
    assert count(app, Enrollment) == 0
    with app.app_context():
        assert secret_of(omar) == omar.secret

    app.config["RECOVERY_CODES_ENABLED"] = True
    page = save_new_code(browser, browser.submit("/login/recovery", recovery_code=omar.recovery_code), omar)
    assert browser.submit(page, still_have="no").h1 == "Set up your authenticator app"


def test_the_key_of_a_tab_left_open_confirms_nothing_once_it_ran_out(
    app: Flask, browser: Browser, omar: Person, clock: Clock
) -> None:
    sign_in(browser, omar)
    tabs = [browser.get("/mfa/setup") for _ in range(2)]
    assert len({tab.text_of("setup-key") for tab in tabs}) == 1, "two tabs of one browser are one enrollment"
    old = scan(tabs[0], Person(omar.email, clock))
    clock.pass_by(900)
    browser.submit("/verify", password=PASSWORD, code=omar.code())
    new = scan(browser.get("/mfa/setup"), Person(omar.email, clock))
    token = csrf(browser.get("/mfa/setup"))
    refused = post(browser, "/mfa/setup", token, code=old.code())
    assert refused.errors[0].startswith("That code didn't match")
    with app.app_context():
        assert secret_of(omar) == omar.secret
    assert post(browser, "/mfa/setup", token, code=new.code()).status == 303
    with app.app_context():
        assert secret_of(omar) == new.secret


PLANTED = ("secret", "key", "setup_key", "setup-key", "sealed_secret", "totp_secret", "confirmed_step", "enrollment")


@pytest.mark.parametrize("how", ["data", "query_string", "cookies"])
def test_a_secret_that_the_attacker_chose_is_never_the_one_enrolled(
    app: Flask, browser: Browser, maya: Person, how: str
) -> None:
    page, evil = give_password(browser, maya), of_an_attacker(maya)
    key = totp.setup_key(evil.secret or b"").replace(" ", "")
    planted: dict[str, Any] = {"data": {}, how: dict.fromkeys(PLANTED, key)}
    for name, value in planted.pop("cookies", {}).items():
        browser.client.set_cookie(name, value)

    def confirm(code: str) -> Page:
        data = {**planted["data"], **csrf(page), "code": code}
        return browser.open("/mfa/setup", method="POST", **{**planted, "data": data})

    refused = confirm(evil.code())
    assert refused.errors[0].startswith("That code didn't match")
    assert refused.text_of("setup-key") == page.text_of("setup-key")
    assert confirm(scan(page, maya).code()).headers["Location"] == "/mfa/recovery-code"
    assert browser.submit("/mfa/recovery-code", saved="yes").h1 == "Security"
    with app.app_context():
        assert secret_of(maya) == maya.secret


@pytest.mark.parametrize("enrolled", [False, True], ids=["first app", "replacement"])
def test_enrollment_is_not_confirmed_without_a_code_of_the_new_app(
    app: Flask, browser: Browser, make_person: Callable[..., Person], clock: Clock, enrolled: bool
) -> None:
    person = make_person("noor@example.com", enrolled=enrolled)
    if enrolled:
        sign_in(browser, person)
        clock.pass_by(30)
    page = browser.get("/mfa/setup") if enrolled else give_password(browser, person)
    new = scan(page, Person(person.email, clock))
    before = rows(app, TotpAuthenticator)
    bad: list[dict[str, Any]] = [{}, {"code": ""}, {"code": " "}, {"code": "None"}, {"code": "000000\0"}]
    bad += [{"code[]": new.code()}, {"Code": new.code()}, {"code": ["", new.code()]}, {"code": new.wrong_code()}]
    bad += [{"code": new.code(-60)}, {"code": new.code(60)}, {"code": new.code()[:5]}, {"code": new.code() + "0"}]
    if enrolled:
        bad.append({"code": person.code()})
    for values in bad:
        answer = post(browser, "/mfa/setup", csrf(page), **values)
        assert (answer.status, answer.h1) == (422, page.h1), values
    assert count(app, Enrollment, Enrollment.confirmed_step.is_null(False)) == 0
    assert rows(app, TotpAuthenticator) == before
    answer = post(browser, "/mfa/setup", csrf(page), code=new.code())
    assert answer.headers["Location"] == ("/account?notice=app-ready" if enrolled else "/mfa/recovery-code")


def test_the_prompt_cannot_be_confirmed_before_it_was_shown_nor_stepped_over(
    app: Flask, browser: Browser, maya: Person
) -> None:
    page = give_password(browser, maya)
    for path, values in (("/mfa/recovery-code", {"saved": "yes"}), ("/mfa/finish", {}), ("/mfa/lost-device", {})):
        assert post(browser, path, csrf(page), still_have="yes", **values).headers["Location"] == "/mfa/setup"
    prompt = browser.submit(page, code=scan(page, maya).code())
    for values in ({"saved": "yes"}, {"saved": "yes", "shown": ""}, {"saved": "yes", "shown": "0" * 64}):
        answer = post(browser, "/mfa/recovery-code", csrf(prompt), **values)
        assert answer.status == 422
        assert shown_code(answer) == shown_code(prompt)
    for endpoint, path, method in requests_to(app):
        if endpoint not in {*PUBLIC, "login.sign_out", "recovery.prompt", "recovery.download"}:
            answer = browser.open(path, method=method, data=csrf(prompt) if method == "POST" else None)
            assert answer.headers["Location"] == "/mfa/recovery-code", path
    assert count(app, TotpAuthenticator) == live_codes(app) == 0
    assert browser.submit(prompt, saved="yes").h1 == "Security"
    assert count(app, TotpAuthenticator) == live_codes(app) == 1


def test_nobody_confirms_a_prompt_for_somebody_else(app: Flask, ines: Person, make_person, clock: Clock) -> None:
    zoe, mine, theirs = make_person("zoe@example.com", code=False), Browser(app), Browser(app)
    page, other = sign_in(mine, ines), sign_in(theirs, zoe)
    shown = other.form_with("saved").fields["shown"]
    answer = post(mine, "/mfa/recovery-code", csrf(page), saved="yes", shown=shown)
    assert (answer.status, shown_code(answer)) == (422, shown_code(page))
    for prompted in (mine, theirs):
        assert not is_signed_in(prompted)
    assert count(app, RecoveryCode, RecoveryCode.saved_at.is_null(False)) == 0
    assert save_new_code(theirs, other, zoe).path == save_new_code(mine, page, ines).path == "/account"
