"""Every page and state in a real browser, in light and dark, at three widths: no accessibility violation, no sideways
scroll, no complaint of the browser, no request to anywhere else."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyotp
import pytest
import zxingcpp
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from models import TotpAuthenticator
from tests.support.apps import on_sqlite
from tests.support.chromium import launched, needs_chromium
from tests.support.people import Clock, Person
from tests.support.places import LONG, PLACES, World
from tests.support.screens import (
    AXE,
    HARD_TO_PRESS,
    SPACED_OUT,
    WIDTHS,
    Screen,
    fill_in,
    new_window,
    scrolls_sideways,
    served,
    violations,
    with_and_without_javascript,
)
from tests.support.tables import count

pytestmark = [needs_chromium, on_sqlite]  # what a browser shows of a page is the same on both databases


# A browser and a site for it ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with launched(ignore_default_args=["--disable-back-forward-cache"]) as browser:  # Back does what it does for people
        yield browser


@pytest.fixture(scope="module")
def window(chromium: Chromium) -> Iterator[Callable[..., BrowserContext]]:
    """The window with these options, kept open by a tab of its own: a tab is opened sooner than a window."""
    windows = dict[str, BrowserContext]()

    def window(**options: Any) -> BrowserContext:
        if str(options) not in windows:
            windows[str(options)] = new_window(chromium, **options)
            windows[str(options)].new_page()
        return windows[str(options)]

    yield window
    for each in windows.values():
        each.close()


@pytest.fixture
def at_place(
    chromium: Chromium,
    window: Callable[..., BrowserContext],
    make_app: Callable[..., Flask],
    clock: Clock,
    make_person: Callable[..., Person],
) -> Iterator[Callable[..., Screen]]:
    """Bring a browser to a place: in a new tab, or one that is there already. Whatever follows, it has nothing to
    complain about and asks nobody else for anything."""
    screens = []
    with ExitStack() as stack:

        def new_page(clock_stopped: bool, **options: Any) -> Page:
            context = new_window(chromium, **options) if clock_stopped else window(**options)
            page = context.new_page()
            stack.callback(context.close if clock_stopped else page.close)
            if clock_stopped:  # which holds for every tab of the window
                page.clock.install(time=0)
                page.clock.pause_at(1)
            return page

        def go(name: str, clock_stopped: bool = False, **options: Any) -> Screen:
            page = options.pop("page", None) or new_page(clock_stopped, **options)
            place = PLACES[name]
            app = make_app("place", **place.settings)
            world = World(app, clock, make_person)
            visit = place.go(world)
            address = stack.enter_context(served(app))
            page.context.clear_cookies()
            for cookie in ("session", "known-browser"):
                if value := visit.browser.cookie(cookie):
                    page.context.add_cookies([{"name": cookie, "value": value, "url": address}])
            screens.append(screen := Screen(page, address, world))
            screen.watch()
            stack.callback(screen.look_away)
            screen.open(visit.path)
            if visit.typed is not None:
                fill_in(screen.page, visit.typed)
            assert screen.heading == place.h1
            return screen

        yield go
    assert [screen.complaints for screen in screens] == [[] for _ in screens]


# Every page -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_page(window: Callable[..., BrowserContext]) -> Page:
    """For looking at one page after another: a new one would have to warm up to axe-core each time."""
    return window().new_page()


@pytest.mark.parametrize("name", PLACES)
def test_everybody_can_read_and_use_every_page(
    at_place: Callable[..., Screen], one_page: Page, name: str, record_property: Callable[[str, Any], None]
) -> None:
    page = at_place(name, page=one_page).page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    page.evaluate(AXE_SCRIPT)
    wrong, found = [], []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found.append(violations(page))
            wrong += [(width, scheme, violation) for violation in found[-1]]
        wrong += [(width, "", f"hard to press: {element}") for element in page.evaluate(HARD_TO_PRESS)]
    record_property(AXE, (len(found), sum(map(len, found))))
    for width in sorted({*WIDTHS, *range(400, 1280, 80)}, reverse=True):
        page.set_viewport_size({"width": width, "height": 800})
        if scrolls_sideways(page):
            wrong.append((width, "", "scrolls sideways"))
    page.evaluate(SPACED_OUT)
    if scrolls_sideways(page):
        wrong.append((320, "", "scrolls sideways with the text spaced out"))
    assert wrong == []


SPOILED = """document.querySelector('main').insertAdjacentHTML('beforeend',
    '<p><img src=""></p><button id="small">Small</button><div id="wide">Wide</div>');
    Object.assign(document.getElementById('small').style, { minHeight: 0, padding: 0 });
    document.getElementById('wide').style.width = '2000px';"""


def test_a_page_that_is_spoiled_is_found_out(at_place: Callable[..., Screen]) -> None:
    page = at_place("sign in page").page
    page.evaluate(AXE_SCRIPT)
    assert (violations(page), page.evaluate(HARD_TO_PRESS), scrolls_sideways(page)) == ([], [], False)
    page.evaluate(SPOILED)
    assert violations(page) == ["image-alt at img"]
    assert [re.sub(" style=.*?>", ">", each) for each in page.evaluate(HARD_TO_PRESS)] == [
        '<button id="small">Small</button>'
    ]
    assert scrolls_sideways(page)


# Focus and keys -------------------------------------------------------------------------------------------------------

RING = """() => {
    const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return [style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 3, element.contains(top)];
}"""


def tab_stops(screen: Screen) -> list[str]:
    """What the Tab key comes to, from the top of the page; each shows a ring and nothing lies over it."""
    stops: list[str] = []
    while not stops or stops[-1] != "Skip to the main part":
        screen.page.keyboard.press("Tab")
        stops.append(screen.focused)
        assert len(stops) < 60
    del stops[:-1]
    while True:
        screen.page.keyboard.press("Tab")
        if screen.focused in ("Skip to the main part", "the page"):
            return stops[1:]
        assert screen.page.evaluate(RING) == [True, True], screen.focused
        stops.append(screen.focused)


SITE = ["Sparekey"]
NAV = ["Sparekey", "Security", "Sign out"]


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("sign in page", [*SITE, "email", "password", "Show password", "Sign in"]),
        ("challenge", [*SITE, "code", "Sign in", "Use your recovery code", "Sign in as someone else"]),
        ("recovery", [*SITE, "recovery_code", "Sign in", "Use my authenticator app instead"]),
        (
            "setup",
            [
                *SITE,
                "Which apps work?",
                "On your phone? Open it in your app",
                "Can't scan it? Use the setup key",
                "code",
                "Continue",
                "Cancel and sign out",
            ],
        ),
        ("prompt", [*SITE, "Copy", "Download", "Print", "saved", "Finish setup"]),
        ("lost device", [*SITE, "No, set up a new one", "Yes, keep it", "Not now: I'm waiting for a new phone"]),
        ("welcome", [*SITE, "new_password", "Show password", "Set password"]),
        ("verify", [*NAV, "password", "Show password", "code", "Continue", "Cancel"]),
        (
            "password",
            [
                *NAV,
                "current_password",
                "Show password",
                "new_password",
                "Show password",
                "Change password",
                "Cancel",
            ],
        ),
        ("sign in left empty", [*SITE, "Enter your email address", "Enter your password"]),
    ],
)
@pytest.mark.parametrize("width", [320, 1280])
def test_tab_goes_through_a_page_in_its_order_and_shows_where_it_is(
    at_place: Callable[..., Screen], name: str, stops: list[str], width: int
) -> None:
    screen = at_place(name, viewport={"width": width, "height": 500})
    assert tab_stops(screen)[: len(stops)] == stops


def test_the_first_tab_stop_leads_past_the_header(at_place: Callable[..., Screen]) -> None:
    screen = at_place("account")
    screen.page.keyboard.press("Tab")
    link = screen.page.get_by_role("link", name="Skip to the main part")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport(ratio=1)
    screen.page.keyboard.press("Enter")
    assert screen.focused == "main"
    screen.page.keyboard.press("Tab")
    assert screen.focused == "Change password"


@with_and_without_javascript
def test_a_rejected_form_moves_the_focus_to_what_is_wrong_and_from_there_to_the_field(
    at_place: Callable[..., Screen], javascript: bool
) -> None:
    screen = at_place("sign in page", java_script_enabled=javascript)
    summary = screen.page.get_by_role("alert")
    for missing in ("email", "password"):  # the second time the address of the page ends in #email
        screen.press("Sign in")
        expect(summary).to_be_focused()
        expect(summary).to_be_in_viewport()
        summary.get_by_role("link", name=f"Enter your {missing}").click()
        expect(screen.page.locator(f"#{missing}")).to_be_focused()
        screen.type_in("Email address", "maya@example.com")


@with_and_without_javascript
def test_the_skip_link_does_not_keep_the_focus_from_what_is_wrong(
    at_place: Callable[..., Screen], javascript: bool
) -> None:
    screen = at_place("challenge", java_script_enabled=javascript)
    screen.page.get_by_role("link", name="Skip to the main part").press("Enter")
    screen.page.get_by_label("Six-digit code").press("Enter")
    expect(screen.page.get_by_role("alert")).to_be_focused()


@with_and_without_javascript
@pytest.mark.parametrize(
    ("name", "focused"), [("challenge", "code"), ("recovery", "recovery_code"), ("setup", None), ("prompt", None)]
)
def test_a_page_with_one_task_starts_at_its_field(
    at_place: Callable[..., Screen], name: str, focused: str | None, javascript: bool
) -> None:
    screen = at_place(name, java_script_enabled=javascript)
    expect(screen.page.locator(f"#{focused}" if focused else "body")).to_be_focused()


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


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def paste(page: Page, label: str, text: str) -> None:
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.get_by_label(label).press("Control+v")


@pytest.mark.parametrize("around", ["{0} {1}", " {0}-{1}\n", "{0}\t{1} "])
def test_a_six_digit_code_is_pasted_as_the_app_copied_it(at_place: Callable[..., Screen], around: str) -> None:
    screen = at_place("sign in page", **CLIPBOARD)
    omar = screen.world.omar()
    screen.give_password(omar)
    paste(screen.page, "Six-digit code", around.format(omar.code()[:3], omar.code()[3:]))
    screen.press("Sign in")
    assert screen.heading == "Security"


@pytest.mark.parametrize("written", ["{}\n", " {}.", "\r\n    {}\r\n\r\n"])
def test_a_recovery_code_is_pasted_as_it_was_saved(at_place: Callable[..., Screen], written: str) -> None:
    screen = at_place("sign in page", **CLIPBOARD)
    omar = screen.world.omar()
    screen.give_password(omar)
    screen.page.get_by_role("link", name="Use your recovery code").click()
    paste(screen.page, "Recovery code", written.format((omar.recovery_code or "").lower()))
    screen.press("Sign in")
    assert screen.heading == "You're in. Save your new recovery code"


@pytest.mark.parametrize(
    ("name", "source"), [("prompt", "recovery-code"), ("setup", "setup-key"), ("reset done", "link")]
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
    expect(page.locator("#recovery-code-status")).to_have_text("Couldn't copy. Select the code and copy it yourself.")
    assert page.evaluate("getSelection().toString()").replace("\n", "") == page.locator("#recovery-code").text_content()


# On paper -------------------------------------------------------------------------------------------------------------


def test_print_prints(at_place: Callable[..., Screen]) -> None:
    page = at_place("prompt").page
    page.evaluate("() => { window.printed = 0; window.print = () => { window.printed += 1 } }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["prompt", "prompt without the tick", "prompt asked for"])
def test_paper_holds_the_heading_and_the_slip_alone(at_place: Callable[..., Screen], name: str, scheme: str) -> None:
    screen = at_place(name, color_scheme=scheme)
    code, page = screen.shown_code(), screen.page
    account = "omar" if name == "prompt asked for" else "maya"
    page.emulate_media(media="print")
    assert page.locator("body").inner_text().replace("\n\n", "\n").splitlines() == [
        PLACES[name].h1,
        *("Site", "localhost:5000", "Account", f"{account}@example.com", "Made", "30 November 2026"),
        code,
        "Works once, with your password, in place of the code from your app.",
    ]
    ink, paper = page.evaluate(
        "() => [...document.querySelectorAll('body, .ticket')].map(e => getComputedStyle(e))"
        ".reduce(([ink, paper], style) => [[...ink, style.color], [...paper, style.backgroundColor]], [[], []])"
    )
    assert set(ink) == {"rgb(0, 0, 0)"}
    assert set(paper) == {"rgb(255, 255, 255)"}
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf())) == 1


def test_other_pages_print_whole_and_as_on_white(at_place: Callable[..., Screen]) -> None:
    page = at_place("audit of one person", color_scheme="dark").page
    page.emulate_media(media="print")
    expect(page.get_by_role("table")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.get_by_role("link", name="Everybody's")).to_have_css("color", "rgb(14, 90, 75)")


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


@pytest.mark.parametrize("name", ["prompt", "prompt after a recovery code", "prompt asked for"])
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


@pytest.mark.parametrize("name", ["account", "prompt asked for", "people", "reset done"])
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
        ("challenge", "Sign in"),
        ("prompt", "Finish setup"),
        ("new recovery code", "Make a new code"),
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


# The QR code ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forced", ["none", "active"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["setup", "setup while codes are off"])
def test_a_phone_reads_the_qr_code_and_its_codes_are_taken(
    at_place: Callable[..., Screen], name: str, scheme: str, forced: str
) -> None:
    screen = at_place(
        name, viewport={"width": 320, "height": 800}, color_scheme=scheme, forced_colors=forced, device_scale_factor=2
    )
    page = screen.page
    picture = Image.open(BytesIO(page.screenshot(full_page=True)))
    (qr,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)
    assert qr.text == page.get_by_role("link", name="On your phone?").get_attribute("href")
    app = pyotp.parse_uri(qr.text)
    assert isinstance(app, pyotp.TOTP)
    assert (app.issuer, app.name) == ("Sparekey", LONG if name == "setup" else "maya@example.com")
    assert app.secret == (page.locator("#setup-key").text_content() or "").replace(" ", "")
    screen.type_in("Six-digit code", app.at(screen.world.clock.now))
    screen.press("Continue")
    page.wait_for_url(re.compile("/account|/mfa/recovery-code"))
    assert screen.heading in ("Save your recovery code", "Security")


# Without this and that ------------------------------------------------------------------------------------------------


@with_and_without_javascript
@pytest.mark.parametrize(
    ("name", "buttons"), [("sign in page", ["Show password"]), ("setup", ["Copy"]), ("prompt", ["Copy", "Print"])]
)
def test_buttons_that_need_javascript_are_there_only_with_it(
    at_place: Callable[..., Screen], name: str, buttons: list[str], javascript: bool
) -> None:
    page = at_place(name, java_script_enabled=javascript).page
    for details in page.locator("summary").all():
        details.click()
    for button in buttons:
        expect(page.get_by_role("button", name=button)).to_have_count(1 if javascript else 0)


EDGES = """() => [...document.querySelectorAll(
    'button:not(.link), .btn, main input, .errors, .note, .ticket'
)].filter(element => {
    const style = getComputedStyle(element);
    return element.checkVisibility() && style.appearance !== 'auto' && element.type !== 'hidden'
        && (style.borderTopStyle === 'none' || parseFloat(style.borderTopWidth) < 1
            || style.borderTopColor === getComputedStyle(document.body).backgroundColor);
}).map(element => element.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["sign in left empty", "setup with a third wrong code", "prompt", "account when setup is done"]
)
def test_everything_has_an_edge_in_the_colours_of_somebodys_own(
    at_place: Callable[..., Screen], name: str, scheme: str
) -> None:
    screen = at_place(name, color_scheme=scheme, forced_colors="active")
    assert screen.page.evaluate("matchMedia('(forced-colors: active)').matches")
    assert screen.page.evaluate(EDGES) == []


# Stories --------------------------------------------------------------------------------------------------------------


@dataclass
class Keys:
    """Somebody who uses the keyboard alone."""

    screen: Screen

    def to(self, stop: str) -> None:
        for _ in range(40):
            if self.screen.focused == stop:
                return
            self.screen.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not come to {stop}")

    def type_in(self, stop: str, text: str) -> None:
        self.to(stop)
        self.screen.page.keyboard.type(text)

    def press(self, key: str, leads_to: str) -> None:
        self.screen.page.keyboard.press(key)
        expect(self.screen.page.get_by_role("heading", level=1)).to_have_text(leads_to)

    def press_at(self, stop: str, leads_to: str) -> None:
        self.to(stop)
        self.press("Enter", leads_to)

    def sign_in(self, person: Person, leads_to: str) -> None:
        self.type_in("email", person.email)
        self.type_in("password", person.password)
        self.press("Enter", leads_to)

    def set_up(self, person: Person, leads_to: str) -> None:
        self.to("Can't scan it? Use the setup key")
        self.screen.page.keyboard.press("Enter")
        key = self.screen.page.locator("#setup-key").inner_text()
        self.type_in("code", pyotp.TOTP(key.replace(" ", "")).at(self.screen.world.clock.now))
        self.press("Enter", leads_to)

    def save(self, button: str, leads_to: str) -> str:
        code = self.screen.shown_code()
        self.to("saved")
        self.screen.page.keyboard.press("Space")
        self.press_at(button, leads_to)
        return code


@with_and_without_javascript
def test_the_whole_story_is_told_with_the_keyboard_alone(at_place: Callable[..., Screen], javascript: bool) -> None:
    screen = at_place("sign in page", java_script_enabled=javascript)
    maya, keys = screen.world.maya(), Keys(screen)
    keys.sign_in(maya, "Set up your authenticator app")
    keys.set_up(maya, "Save your recovery code")
    code = keys.save("Finish setup", "Security")
    expect(screen.page.get_by_role("status").first).to_contain_text("Your authenticator app is set up.")
    keys.press_at("Sign out", "Sign in")

    keys.sign_in(maya, "Enter your code")
    keys.press_at("Use your recovery code", "Use your recovery code")
    keys.type_in("recovery_code", code.lower())
    keys.press("Enter", "You're in. Save your new recovery code")
    assert keys.save("Continue", "Do you still have your authenticator app?") != code
    keys.press_at("No, set up a new one", "Set up your authenticator app")
    keys.set_up(maya, "Security")
    assert count(screen.world.app, TotpAuthenticator) == 1
    keys.press_at("Replace app", "Confirm it's you")
    keys.press_at("Cancel", "Security")


@with_and_without_javascript
def test_an_admin_turns_codes_on_and_resets_somebody_who_comes_back(
    at_place: Callable[..., Screen], javascript: bool
) -> None:
    screen = at_place("settings", java_script_enabled=javascript)
    page, omar = screen.page, screen.world.omar()
    page.get_by_role("link", name="Turn on recovery codes").click()
    screen.press("Turn on recovery codes")
    expect(page.get_by_role("main")).to_contain_text("Recovery codes are on.")
    page.get_by_role("link", name="People").click()
    page.get_by_role("row", name="omar@example.com").get_by_role("link", name="Reset MFA").click()
    screen.type_in("Reason", "lost phone")
    screen.press("Reset MFA")
    link = page.locator("#link").inner_text()
    page.get_by_role("button", name="Sign out").click()

    screen.open(urlsplit(link).path)
    omar.password = "an oar, a pier and a gull"
    screen.type_in("New password", omar.password)
    screen.press("Set password")
    screen.give_password(omar)
    page.locator("summary").last.click()
    key = page.locator("#setup-key").inner_text()
    screen.type_in("Six-digit code", pyotp.TOTP(key.replace(" ", "")).at(screen.world.clock.now))
    screen.press("Continue")
    page.get_by_label("I've saved my recovery code").check()
    screen.press("Finish setup")
    expect(page.get_by_role("heading", level=1)).to_have_text("Security")
