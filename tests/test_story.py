"""The whole story over HTTP: enroll, sign in with the app, lose it, come back with the recovery code."""

from flask import Flask

from authn import totp
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Person, enroll, is_signed_in, save_new_code, sign_in, use_recovery_code


def test_a_person_enrolls_signs_in_loses_the_app_and_comes_back(browser: Browser, maya: Person, clock) -> None:
    page = enroll(browser, maya)
    assert (page.h1, page.notice.split(".")[0]) == ("Security", "Your authenticator app is set up")

    page = browser.press(page, "Sign out")
    assert page.notice == "You're signed out."
    assert not is_signed_in(browser)

    clock.pass_by(30)
    assert sign_in(browser, maya).h1 == "Security"
    browser.press(browser.get("/account"), "Sign out")

    first_code = maya.recovery_code
    page = use_recovery_code(browser, maya)
    assert page.h1 == "You're in. Save your new recovery code"
    page = save_new_code(browser, page, maya)
    assert page.h1 == "Do you still have your authenticator app?"
    page = browser.submit(page, still_have="yes")
    assert page.h1 == "Security"
    assert maya.recovery_code != first_code

    browser.press(page, "Sign out")
    assert "was used on" in use_recovery_code(browser, maya, first_code).errors[0]


def test_a_person_who_lost_the_phone_ends_with_a_new_app_and_a_new_code_after_five_forms(
    app: Flask, omar: Person
) -> None:
    browser, requests = Browser(app), 0
    served = browser.client.open

    def counted(*args, **kwargs):
        nonlocal requests
        requests += 1
        return served(*args, **kwargs)

    browser.client.open = counted
    page = browser.open("/login")
    for path, values in (
        ("/login", {"email": omar.email, "password": PASSWORD}),
        ("/login/recovery", {"recovery_code": omar.recovery_code}),
        ("/mfa/recovery-code", {"saved": "yes"}),
        ("/mfa/lost-device", {"still_have": "no"}),
    ):
        if page.path != path:
            page = browser.open(path)
        answer = browser.send(page, values)
        assert answer.status == 303
        page = browser.open(answer.headers["Location"]) if path != "/login" else page
    new_app = totp.read_setup_key(page.text_of("setup-key"))
    answer = browser.send(page, {"code": totp.code_at(new_app, omar.clock.now)})
    assert answer.status == 303
    assert requests == 10, "five pages and the form on each"
    assert is_signed_in(browser)
