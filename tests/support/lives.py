"""Whole lives of a session, in steps; each step ends with a page, and all but the first begin with one."""

from collections.abc import Callable

from tests.support.pages import Browser, Page
from tests.support.people import NEW_PASSWORD, PASSWORD, Person, give_password, save_new_code, scan

Step = Callable[[Browser, Person], Page]


def prompted(browser: Browser, person: Person) -> Page:
    page = browser.get("/mfa/setup")
    return browser.submit(page, code=scan(page, person).code())


def saved(browser: Browser, person: Person) -> Page:
    return save_new_code(browser, browser.get("/mfa/recovery-code"), person)


def code_typed(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/code", code=person.code())


def stepped_up(browser: Browser, person: Person) -> Page:
    person.clock.pass_by(30)
    return browser.submit("/verify", password=person.password, code=person.code())


def password_changed(browser: Browser, person: Person) -> Page:
    old, person.password = person.password, NEW_PASSWORD if person.password == PASSWORD else PASSWORD
    return browser.submit("/account/password", current_password=old, new_password=person.password)


def new_code_saved(browser: Browser, person: Person) -> Page:
    return save_new_code(browser, browser.press(browser.get("/account/recovery-code"), "Make a new code"), person)


def app_replaced(browser: Browser, person: Person) -> Page:
    person.clock.pass_by(30)
    return prompted(browser, person)


def recovery_code_typed(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/recovery", recovery_code=person.recovery_code)


def device_kept(browser: Browser, person: Person) -> Page:
    return browser.submit("/mfa/lost-device", still_have="yes")


def device_lost(browser: Browser, person: Person) -> Page:
    page = browser.submit("/mfa/lost-device", still_have="no")
    return browser.submit(page, code=scan(page, person).code())


def signed_out(browser: Browser, person: Person) -> Page:
    return browser.press(browser.get("/account"), "Sign out")


SIGNED_IN_LIFE = [stepped_up, password_changed, new_code_saved, app_replaced, signed_out]
LIVES: dict[str, list[Step]] = {
    "enrollment": [give_password, prompted, saved, *SIGNED_IN_LIFE],
    "sign-in": [give_password, code_typed, *SIGNED_IN_LIFE],
    "recovery, app kept": [give_password, recovery_code_typed, saved, device_kept, *SIGNED_IN_LIFE],
    "recovery, app lost": [give_password, recovery_code_typed, saved, device_lost, *SIGNED_IN_LIFE],
}
KEEP_THE_TOKEN = {prompted, recovery_code_typed}  # a double click must find its session: the next step renews it
