"""What the site's script does in a real browser, and that nothing needs it."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Error, Page, Route, expect

from tests.support.apps import few_of, left_to_the_sweep, on_sqlite
from tests.support.chromium import needs_chromium
from tests.support.places import LONG
from tests.support.screens import Screen, with_and_without_javascript

pytestmark = [needs_chromium, on_sqlite]  # what a browser shows of a page is the same on both databases


# The password, shown --------------------------------------------------------------------------------------------------


def test_show_shows_the_password_and_says_so_until_the_form_is_sent(at_place: Callable[..., Screen]) -> None:
    page = at_place("sign in page").page
    field, status = page.get_by_label("Password", exact=True), page.locator("#password-status")
    field.fill("a lamp, a boat")
    for name, label, kind, said in (
        ("Show password", "Hide", "text", "Your password is visible"),
        ("Hide password", "Show", "password", "Your password is hidden"),
        ("Show password", "Hide", "text", "Your password is visible"),
    ):
        page.get_by_role("button", name=name).click()
        expect(field).to_have_attribute("type", kind)
        expect(page.locator("[data-show]")).to_have_text(label)
        expect(status).to_have_text(said)
    page.evaluate("addEventListener('submit', event => event.preventDefault())")
    page.get_by_role("button", name="Sign in").click()
    expect(field).to_have_attribute("type", "password")
    expect(field).to_have_value("a lamp, a boat")


def test_each_password_of_a_page_is_shown_by_its_own_button(at_place: Callable[..., Screen]) -> None:
    page = at_place("password").page
    page.locator("[data-show=new_password]").click()
    expect(page.locator("#new_password")).to_have_attribute("type", "text")
    expect(page.locator("#current_password")).to_have_attribute("type", "password")


# The clipboard --------------------------------------------------------------------------------------------------------


CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def paste(page: Page, label: str, text: str) -> None:
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.get_by_label(label).press("Control+v")


@pytest.mark.parametrize("around", few_of(["{0} {1}", " {0}-{1}\n", "{0}\t{1} "], " {0}-{1}\n"))
def test_a_six_digit_code_is_pasted_as_the_app_copied_it(at_place: Callable[..., Screen], around: str) -> None:
    screen = at_place("sign in page", **CLIPBOARD)
    omar = screen.world.omar()
    screen.give_password(omar)
    paste(screen.page, "Six-digit code", around.format(omar.code()[:3], omar.code()[3:]))
    screen.press("Sign in")
    assert screen.heading == "Security"


@pytest.mark.parametrize("written", few_of(["{}\n", " {}.", "\r\n    {}\r\n\r\n"], " {}."))
def test_a_recovery_code_is_pasted_as_it_was_saved(at_place: Callable[..., Screen], written: str) -> None:
    screen = at_place("sign in page", **CLIPBOARD)
    omar = screen.world.omar()
    screen.give_password(omar)
    screen.page.get_by_role("link", name="Use your recovery code").click()
    paste(screen.page, "Recovery code", written.format((omar.recovery_code or "").lower()))
    screen.press("Sign in")
    assert screen.heading == "You're in. Save your new recovery code"


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(
    ("name", "source"),
    [("prompt", "recovery-code"), *left_to_the_sweep([("setup", "setup-key"), ("reset done", "link")])],
)
def test_copy_puts_what_is_shown_without_spaces_into_the_clipboard_and_says_so(
    at_place: Callable[..., Screen], name: str, source: str
) -> None:
    page = at_place(name, **CLIPBOARD).page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    shown = page.locator(f"#{source}").text_content()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator(f"#{source}-status")).to_have_text("Copied")
    assert shown
    assert clipboard(page) == re.sub(r"\s", "", shown)


@pytest.mark.parametrize(
    "refuse",
    [
        "() => { navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError')) }",
        "Object.defineProperty(navigator, 'clipboard', {value: undefined})",
    ],
    ids=["refused", "not there"],
)
def test_copy_says_so_when_it_could_not_and_selects_the_code(at_place: Callable[..., Screen], refuse: str) -> None:
    page = at_place("prompt").page
    page.evaluate(refuse)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#recovery-code-status")).to_have_text("Couldn't copy. Select it and copy it yourself.")
    assert page.evaluate("getSelection().toString()").replace("\n", "") == page.locator("#recovery-code").text_content()


def test_all_links_are_copied_one_a_line_or_shown_where_they_could_not_be(at_place: Callable[..., Screen]) -> None:
    page = at_place("new people added", **CLIPBOARD).page
    shown = [row.locator("th, code").all_text_contents() for row in page.locator("tbody tr").all()]
    page.get_by_role("button", name="Copy all").click()
    expect(page.locator("#links-status")).to_have_text("Copied")
    assert [line.split("\t") for line in clipboard(page).strip().split("\n")] == shown
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy all").click()
    expect(page.locator("#links")).to_be_visible()
    assert page.evaluate("getSelection().toString()").split() == [word for row in shown for word in row]


# On paper -------------------------------------------------------------------------------------------------------------


def test_print_prints(at_place: Callable[..., Screen]) -> None:
    page = at_place("prompt").page
    page.evaluate("() => { window.printed = 0; window.print = () => { window.printed += 1 } }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed") == 1


# Leaving and coming back ----------------------------------------------------------------------------------------------


def leave(screen: Screen, act: Callable[[], None], answer: str) -> list[str]:
    """The kinds of dialog that open while somebody does this, each answered in this way."""
    dialogs: list[str] = []

    def on_dialog(dialog: Any) -> None:
        dialogs.append(dialog.type)
        getattr(dialog, answer)()

    screen.page.on("dialog", on_dialog)
    act()
    screen.page.remove_listener("dialog", on_dialog)
    return dialogs


@pytest.mark.parametrize("name", few_of(["prompt", "prompt after a recovery code", "prompt asked for"], "prompt"))
def test_leaving_the_prompt_with_the_code_unsaved_warns(at_place: Callable[..., Screen], name: str) -> None:
    screen = at_place(name)
    page, code = screen.page, screen.shown_code()
    page.get_by_label("I've saved my recovery code").check()
    home = page.get_by_role("link", name="Sparekey")
    assert leave(screen, lambda: home.click(no_wait_after=True), "dismiss") == ["beforeunload"]
    assert screen.shown_code() == code
    assert leave(screen, lambda: page.reload(), "accept") == ["beforeunload"]
    assert screen.shown_code() == code


def test_finishing_and_downloading_do_not_warn(at_place: Callable[..., Screen]) -> None:
    screen = at_place("prompt")
    page, code = screen.page, screen.shown_code()

    def download() -> None:
        with page.expect_download() as slip:
            page.get_by_role("link", name="Download").click()
        assert slip.value.suggested_filename == "sparekey-recovery-code-maya.txt"
        assert code in Path(slip.value.path()).read_text()

    def finish() -> None:
        page.get_by_label("I've saved my recovery code").check()
        screen.press("Finish setup")
        page.wait_for_url("**/account*")

    assert leave(screen, download, "dismiss") == []
    assert leave(screen, finish, "dismiss") == []
    assert screen.heading == "Security"


def test_a_refused_tick_warns_again(at_place: Callable[..., Screen]) -> None:
    screen = at_place("prompt without the tick")
    home = screen.page.get_by_role("link", name="Sparekey")
    screen.page.get_by_label("I've saved my recovery code").check()
    assert leave(screen, lambda: home.click(no_wait_after=True), "dismiss") == ["beforeunload"]


def go_back(page: Page) -> str:
    """As the Back button does: from the cache of whole pages, where Chromium kept one. What is there then."""
    with suppress(Error):  # what a form was answered with is not kept
        page.go_back(wait_until="commit")
    for _ in range(50):
        expect(page.locator("body")).to_be_attached()
        with suppress(Error):  # it is just changing
            return page.content()
    raise AssertionError("never at rest")


def test_back_finds_a_page_kept_whole_while_somebody_is_signed_in(at_place: Callable[..., Screen]) -> None:
    """So the tests below would notice if signing out left one behind."""
    page = at_place("account").page
    page.evaluate("() => { window.kept = true }")
    page.get_by_role("link", name="See all").click()
    page.wait_for_url("**/account/activity")
    go_back(page)
    assert page.evaluate("window.kept")


def test_back_after_finishing_shows_no_code(at_place: Callable[..., Screen]) -> None:
    screen = at_place("sign in page")
    maya = screen.world.maya()
    screen.give_password(maya)
    key = screen.page.locator("#setup-key").text_content() or ""
    screen.type_in("Six-digit code", pyotp.TOTP(key.replace(" ", "")).at(screen.world.clock.now))
    screen.press("Continue")
    code = screen.shown_code()
    screen.page.get_by_label("I've saved my recovery code").check()
    screen.press("Finish setup")
    screen.page.wait_for_url("**/account*")
    for _ in range(3):
        seen = go_back(screen.page)
        assert code not in seen
        assert key not in seen


@pytest.mark.parametrize("name", ["prompt after a recovery code", "prompt asked for"])
def test_back_after_saving_shows_no_code(at_place: Callable[..., Screen], name: str) -> None:
    screen = at_place(name)
    code = screen.shown_code()
    screen.page.get_by_label("I've saved my recovery code").check()
    screen.press("Continue")
    screen.page.wait_for_url(re.compile("/mfa/lost-device|/account"))
    assert code not in go_back(screen.page)
    assert screen.heading in ("Do you still have your authenticator app?", "Security")


@pytest.mark.parametrize(
    "name", few_of(["account", "prompt asked for", "people", "reset done"], "account", "prompt asked for")
)
def test_back_after_signing_out_shows_nothing_of_what_was_there(at_place: Callable[..., Screen], name: str) -> None:
    screen = at_place(name)
    page = screen.page
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login*")
    for _ in range(2):
        seen = go_back(page)
        assert "@example.com" not in seen
        assert LONG not in seen


# Once -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "button"),
    [
        ("sign in page", "Sign in"),
        ("prompt", "Finish setup"),
        *left_to_the_sweep([("challenge", "Sign in"), ("new recovery code", "Make a new code")]),
    ],
)
def test_a_double_click_sends_one_request(at_place: Callable[..., Screen], name: str, button: str) -> None:
    screen = at_place(name)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    screen.page.route("**", hold)
    pressed = screen.page.get_by_role("main").get_by_role("button", name=button, exact=True)
    pressed.scroll_into_view_if_needed()
    box = pressed.bounding_box()
    assert box
    for _ in range(2):
        screen.page.mouse.click(box["x"] + 5, box["y"] + 5)
        screen.page.wait_for_timeout(100)
    assert len(held) == 1
    with screen.page.expect_navigation():
        held[0].continue_()


def test_a_button_works_again_when_sending_was_stopped(at_place: Callable[..., Screen]) -> None:
    screen = at_place("challenge", clock_stopped=True)
    screen.sent.clear()
    screen.page.route("**/login/code", lambda route: route.abort("aborted"))
    screen.press("Sign in")
    screen.page.unroute("**/login/code")
    screen.page.clock.run_for(3100)
    with screen.page.expect_navigation():
        screen.press("Sign in")
    assert len(screen.sent) == 2


def test_the_countdown_of_a_pause_ticks_and_says_once_that_it_is_over(at_place: Callable[..., Screen]) -> None:
    page = at_place("challenge paused", clock_stopped=True).page
    shown, status = page.locator("[data-countdown]"), page.locator("#countdown-status")
    page.evaluate(
        "() => { window.said = []; new MutationObserver(() => said.push(document.getElementById('countdown-status')"
        ".textContent)).observe(document.getElementById('countdown-status'), {childList: true}) }"
    )
    page.clock.run_for(1000)
    expect(shown).to_have_text("29 seconds")
    expect(status).to_be_empty()
    page.clock.run_for(28_000)
    expect(shown).to_have_text("1 second")
    page.clock.run_for(60_000)
    expect(shown).to_have_text("0 seconds")
    assert page.evaluate("said") == ["You can try again now."]
    assert page.evaluate("document.querySelector('[data-countdown]').closest('[role=status], [aria-live]')") is None


def test_a_long_countdown_is_told_in_minutes(at_place: Callable[..., Screen]) -> None:
    page = at_place("sign in paused", clock_stopped=True).page
    page.clock.run_for(1000)
    expect(page.locator("[data-countdown]")).to_have_text("1 min 59 s")


# Without this and that ------------------------------------------------------------------------------------------------


@with_and_without_javascript
@pytest.mark.parametrize(
    ("name", "buttons"),
    [("prompt", ["Copy", "Print"]), *left_to_the_sweep([("sign in page", ["Show password"]), ("setup", ["Copy"])])],
)
def test_buttons_that_need_javascript_are_there_only_with_it(
    at_place: Callable[..., Screen], name: str, buttons: list[str], javascript: bool
) -> None:
    page = at_place(name, java_script_enabled=javascript).page
    for details in page.locator("summary").all():
        details.click()
    for button in buttons:
        expect(page.get_by_role("button", name=button)).to_have_count(1 if javascript else 0)
