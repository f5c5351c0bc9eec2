"""Security keys in a real browser: what a person presses, a virtual key answers, and the page says."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from models import SecurityKey, User
from tests.support.apps import few_of, on_sqlite
from tests.support.authenticator import Authenticator
from tests.support.chromium import needs_chromium
from tests.support.people import Person
from tests.support.screens import AXE, Screen, violations
from tests.support.tables import count, kinds, rows

pytestmark = [needs_chromium, on_sqlite]  # what a browser shows of a page is the same on both databases
AtPlace = Callable[..., Screen]
AtChallenge = Callable[..., tuple[Screen, Authenticator]]

USE = "Use my security key"
CANCELLED = "That didn't work: it was cancelled, took too long, or isn't a key of yours. Try again."
KNOWN = "This key is on your account already. Use another one."
COPIED = "This key may have been copied. Use another way, then remove it."


def omar_of(screen: Screen) -> Person:
    """Him who is signed in at each place of this file. His phone shows the next code by now."""
    with screen.world.app.app_context():
        secret = User.find("omar@example.com").authenticator().secret()
    screen.world.clock.pass_by(30)
    return Person("omar@example.com", screen.world.clock, secret=secret)


def add_key(screen: Screen, name: str = "blue key") -> None:
    screen.open("/account/keys/new")
    screen.type_in("Name", name)
    screen.press("Add key")
    expect(screen.page.get_by_role("status").first).to_contain_text("Your security key is added.")


def sign_out(screen: Screen) -> None:
    screen.page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    screen.page.wait_for_url("**/login*")


def comes_to(screen: Screen, heading: str) -> None:
    expect(screen.page.get_by_role("heading", level=1)).to_have_text(heading)


def says(screen: Screen, words: str) -> None:
    expect(screen.page.locator("#key-status")).to_have_text(words)


@pytest.fixture
def at_challenge(at_place: AtPlace) -> AtChallenge:
    """Omar, who has added a key, has given his password and is asked for it."""

    def go(script: str = "") -> tuple[Screen, Authenticator]:
        screen = at_place("new key page")
        screen.page.add_init_script(script)
        key = Authenticator(screen.page)
        add_key(screen)
        sign_out(screen)
        screen.give_password(omar_of(screen))
        comes_to(screen, "Use your security key")
        return screen, key

    return go


def test_a_key_is_added_signs_in_steps_up_and_is_removed(
    at_challenge: AtChallenge,
) -> None:
    screen, key = at_challenge()
    page, app = screen.page, screen.world.app
    screen.press(USE)
    comes_to(screen, "Security")
    assert [row["count"] for row in rows(app, SecurityKey)] == key.counts

    screen.world.clock.pass_by(700)
    page.get_by_role("link", name="Change password").click()
    screen.type_in("Password", omar_of(screen).password)
    screen.press(USE)
    comes_to(screen, "Change your password")
    assert [row["count"] for row in rows(app, SecurityKey)] == key.counts

    screen.open("/account")
    page.get_by_role("button", name="Remove blue key").click()
    expect(page.get_by_role("status").first).to_contain_text("That key no longer works.")
    assert count(app, SecurityKey) == 0
    sign_out(screen)
    screen.give_password(omar_of(screen))
    comes_to(screen, "Enter your code")


def test_a_key_is_asked_when_its_button_is_pressed_and_not_before(
    at_challenge: AtChallenge,
) -> None:
    screen, key = at_challenge()
    asked = key.counts
    screen.page.reload()
    screen.page.wait_for_timeout(300)
    assert (key.counts, screen.path) == (asked, "/login/key")
    screen.press(USE)
    comes_to(screen, "Security")
    assert key.counts > asked


SHORT = """() => document.querySelectorAll("[data-key]").forEach(button => {
    button.dataset.options = JSON.stringify({...JSON.parse(button.dataset.options), timeout: 500});
})"""


HEARD = """() => { window.said = []; const status = document.getElementById("key-status");
    new MutationObserver(() => said.push(status.textContent)).observe(status, {childList: true}) }"""
TWICE = "button => { button.click(); button.click() }"


@pytest.mark.sweep
def test_a_second_press_while_the_key_is_asked_does_nothing(at_challenge: AtChallenge) -> None:
    screen, key = at_challenge()
    asked, button = key.counts[0], screen.page.get_by_role("button", name=USE)
    key.leave_untouched()
    screen.page.evaluate(SHORT)
    screen.page.evaluate(HEARD)
    button.evaluate(TWICE)
    says(screen, CANCELLED)
    assert screen.page.evaluate("said") == [CANCELLED]
    key.touch()
    screen.sent.clear()
    button.evaluate(TWICE)
    comes_to(screen, "Security")
    assert (screen.sent, key.counts) == (["/login/key"], [asked + 1])


@pytest.mark.sweep
def test_a_key_that_nobody_touches_is_told_and_can_be_tried_again(
    at_challenge: AtChallenge, record_property: Callable[[str, Any], None]
) -> None:
    screen, key = at_challenge()
    key.leave_untouched()
    screen.page.evaluate(SHORT)
    for _ in range(2):
        screen.press(USE)
        says(screen, CANCELLED)
    assert screen.page.get_by_role("alert").inner_text() == CANCELLED
    screen.page.evaluate(AXE_SCRIPT)
    found = []
    for width, scheme in ((320, "light"), (320, "dark"), (1280, "light"), (1280, "dark")):
        screen.page.set_viewport_size({"width": width, "height": 800})
        screen.page.emulate_media(color_scheme=scheme)
        found.append(violations(screen.page))
    record_property(AXE, (len(found), sum(map(len, found))))
    assert found == [[], [], [], []]
    key.touch()
    screen.press(USE)
    comes_to(screen, "Security")


@pytest.mark.sweep
def test_a_key_of_somebody_elses_is_told(at_challenge: AtChallenge) -> None:
    screen, key = at_challenge()
    key.unplug()
    Authenticator(screen.page)
    screen.page.evaluate(SHORT)
    screen.press(USE)
    says(screen, CANCELLED)
    assert screen.page.url.endswith("/login/key")


def test_the_same_key_twice_is_told_and_another_one_is_added(at_place: AtPlace) -> None:
    screen = at_place("new key page")
    first = Authenticator(screen.page)
    add_key(screen)
    screen.open("/account/keys/new")
    screen.type_in("Name", "the same again")
    screen.press("Add key")
    says(screen, KNOWN)
    assert screen.page.get_by_label("Name").input_value() == "the same again"
    first.unplug()
    Authenticator(screen.page)
    screen.press("Add key")
    comes_to(screen, "Security")
    assert {row["name"] for row in rows(screen.world.app, SecurityKey)} == {"blue key", "the same again"}


@pytest.mark.sweep
def test_at_the_wrong_address_the_right_one_is_told(at_challenge: AtChallenge) -> None:
    screen, _ = at_challenge()
    page = screen.page.context.new_page()
    page.goto(screen.address.replace("localhost", "127.0.0.1"))
    there = Screen(page, page.url.removesuffix("/login"), screen.world)
    there.give_password(omar_of(screen))
    there.press(USE)
    says(there, f"Security keys don't work at this address. Open {screen.address} instead.")
    page.close()
    screen.press(USE)
    comes_to(screen, "Security")


BROKEN = {
    "throws": "PublicKeyCredential.prototype.toJSON = () => { throw new TypeError('Illegal invocation') }",
    "is not there": "delete PublicKeyCredential.prototype.toJSON",
}


@pytest.mark.parametrize("broken", few_of(BROKEN, "throws"))
def test_a_password_manager_that_breaks_to_json_is_survived(at_challenge: AtChallenge, broken: str) -> None:
    """When a key is added and when it signs in."""
    screen, _ = at_challenge(BROKEN[broken])
    screen.press(USE)
    comes_to(screen, "Security")
    assert [row["transports"] for row in rows(screen.world.app, SecurityKey)] == ["usb"]


@pytest.mark.sweep
def test_a_key_whose_count_fell_is_refused_and_told_and_the_app_lets_in(
    at_challenge: AtChallenge,
) -> None:
    screen, key = at_challenge()
    screen.press(USE)
    comes_to(screen, "Security")
    sign_out(screen)
    omar = omar_of(screen)
    screen.give_password(omar)
    key.wind_back()
    screen.press(USE)
    expect(screen.page.get_by_role("alert").first).to_contain_text(COPIED)
    assert "security_key_copied" in kinds(screen.world.app)
    screen.page.get_by_role("link", name="Use a code from your app").click()
    screen.type_in("Six-digit code", omar.code())
    screen.press("Sign in")
    comes_to(screen, "Security")


@pytest.mark.sweep
def test_a_synced_key_need_not_count(at_place: AtPlace) -> None:
    screen = at_place("new key page")
    key = Authenticator(screen.page, transport="internal", defaultBackupEligibility=True, defaultBackupState=True)
    add_key(screen)
    for _ in range(2):
        sign_out(screen)
        screen.give_password(omar_of(screen))
        key.wind_back()
        screen.press(USE)
        comes_to(screen, "Security")


@pytest.mark.sweep
def test_somebody_who_is_asked_only_for_keys_is_asked_for_nothing_else(at_place: AtPlace) -> None:
    screen = at_place("new key page")
    first = Authenticator(screen.page)
    add_key(screen)
    first.unplug()
    second = Authenticator(screen.page)
    add_key(screen, "laptop")
    screen.press("Ask me only for my key")
    expect(screen.page.get_by_role("status").first).to_contain_text("You'll be asked only for your key.")
    sign_out(screen)

    screen.give_password(omar_of(screen))
    screen.open("/login/code")
    assert screen.path == "/login/key"
    expect(screen.page.get_by_role("link", name="Use a code from your app")).to_have_count(0)
    screen.press(USE)
    comes_to(screen, "Security")
    assert second.counts[0] > 1

    screen.page.get_by_role("button", name="Remove laptop").click()
    expect(screen.page.get_by_role("status").first).to_contain_text("A code from your app signs you in again")


@pytest.mark.sweep
def test_a_lost_key_is_ticked_at_the_fork_and_stops_working(at_place: AtPlace) -> None:
    screen = at_place("lost device of somebody with keys")
    page = screen.page
    page.get_by_label("blue key").check()
    screen.press("Yes, keep it")
    comes_to(screen, "Security")
    assert len(rows(screen.world.app, SecurityKey)) == 1
    expect(page.get_by_role("button", name="Remove blue key")).to_have_count(0)


def test_what_is_missing_is_told_before_anybody_looks_for_a_key(at_place: AtPlace) -> None:
    screen = at_place("new key page")
    key = Authenticator(screen.page)
    screen.press("Add key")
    expect(screen.page.get_by_role("alert").first).to_contain_text("Give the key a name")
    assert key.counts == []
    screen.type_in("Name", "blue key")
    screen.page.get_by_label("Name").press("Enter")
    comes_to(screen, "Security")
    assert len(key.counts) == 1


def test_enter_after_a_code_sends_the_code_and_asks_no_key(
    at_challenge: AtChallenge,
) -> None:
    screen, key = at_challenge()
    screen.press(USE)
    comes_to(screen, "Security")
    screen.world.clock.pass_by(700)
    screen.open("/account/password")
    omar, asked = omar_of(screen), key.counts
    screen.type_in("Password", omar.password)
    screen.type_in("Six-digit code", omar.code())
    screen.page.get_by_label("Six-digit code").press("Enter")
    comes_to(screen, "Change your password")
    assert key.counts == asked


# Without keys ---------------------------------------------------------------------------------------------------------


def without_keys(page: Page) -> None:
    page.add_init_script("delete window.PublicKeyCredential")


@pytest.mark.parametrize("how", few_of(["without JavaScript", "in a browser that knows no keys"], "without JavaScript"))
def test_the_way_by_app_stands_on_the_page_where_keys_do_not_work(at_place: AtPlace, how: str) -> None:
    javascript = how != "without JavaScript"
    screen = at_place("key challenge", java_script_enabled=javascript)
    page = screen.page
    if javascript:
        expect(page.get_by_role("button", name=USE)).to_be_visible()
        expect(page.locator("[data-no-keys]")).to_be_hidden()
        without_keys(page)
        page.reload()
    expect(page.get_by_text("Security keys don't work in this browser. The other ways are below.")).to_be_visible()
    expect(page.get_by_role("button", name=USE)).to_have_count(0)
    page.get_by_role("link", name="Use a code from your app").click()
    screen.type_in("Six-digit code", omar_of(screen).code())
    screen.press("Sign in")
    comes_to(screen, "Security")

    page.get_by_role("link", name="Add a key").click()
    expect(
        page.get_by_text("Security keys don't work in this browser. You can add one in a newer one.")
    ).to_be_visible()
    expect(page.get_by_label("Name")).to_be_hidden()

    screen.world.clock.pass_by(700)
    screen.open("/account/password")
    expect(page.get_by_text("Security keys don't work in this browser. Your code is enough.")).to_be_visible()
    omar = omar_of(screen)
    screen.type_in("Password", omar.password)
    screen.type_in("Six-digit code", omar.code())
    page.get_by_label("Six-digit code").press("Enter")
    comes_to(screen, "Change your password")
