"""The whole story over HTTP: enroll, sign in with the app, lose it, come back with the recovery code."""

from tests.support.pages import Browser
from tests.support.people import Person, enroll, is_signed_in, save_new_code, sign_in, use_recovery_code


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
