"""Every page and state in a real browser, in light and dark, at three widths: no accessibility violation, no sideways
scroll, no complaint of the browser, no request to anywhere else; and the whole story by keyboard alone."""

import re
from collections.abc import Callable, Iterator
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
from flask.testing import FlaskClient
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from examples import board
from examples.board.board import Notice
from models import SecurityKey, TotpAuthenticator
from testing import signed_in
from tests.support.apps import on_sqlite
from tests.support.authenticator import Authenticator
from tests.support.chromium import needs_chromium
from tests.support.people import Person
from tests.support.places import LONG, PLACES
from tests.support.screens import (
    AXE,
    HARD_TO_PRESS,
    SPACED_OUT,
    WIDTHS,
    Screen,
    scrolls_sideways,
    served,
    violations,
    with_and_without_javascript,
)
from tests.support.tables import count

pytestmark = [needs_chromium, on_sqlite]  # what a browser shows of a page is the same on both databases


# Every page -----------------------------------------------------------------------------------------------------------


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


@pytest.fixture
def team(tmp_path: Path, migrated: Path) -> Iterator[Flask]:
    """The notice board of examples/, with a short notice and one that has no place to break."""
    people = tmp_path / "people.db"
    people.write_bytes(migrated.read_bytes())
    app = board.create_app({"TESTING": True, "DATABASE_URL": f"sqlite:///{people}"}, tmp_path / "notices.db")
    for title in ("Tea", "Wide" * 20):
        Notice.create(title=title, text="There is new tea. " * 20, author="maya@example.com")
    yield app
    app.extensions["store"].database.close_all()


def come_as(client: FlaskClient, page: Page, address: str) -> None:
    cookie = client.get_cookie("session", "localhost")
    assert cookie is not None
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "session", "value": cookie.value, "url": address}])


@pytest.mark.parametrize(
    ("path", "group", "h1"),
    [
        ("/board/", "editors", "Notices"),
        ("/board/new", "editors", "Pin a notice"),
        ("/board/about", "editors", "About the board"),
        ("/board/tidy", "editors", "Tidy up"),
        ("/board/tidy", "others", "You can't open this page"),
    ],
)
def test_everybody_can_read_and_use_the_example(
    engine: str, team: Flask, one_page: Page, path: str, group: str, h1: str
) -> None:
    page, wrong = one_page, []
    with served(team) as address:
        come_as(signed_in(team, "maya@example.com", groups=[group]), page, address)
        page.goto(address + path)
        assert page.get_by_role("heading", level=1).inner_text() == h1
        page.evaluate(AXE_SCRIPT)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wrong += ["scrolls sideways"] * scrolls_sideways(page) + page.evaluate(HARD_TO_PRESS)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                wrong += violations(page)
    assert wrong == []


@with_and_without_javascript
def test_a_notice_is_pinned_with_its_mistakes_told(
    engine: str, team: Flask, window: Callable[..., BrowserContext], javascript: bool
) -> None:
    page = window(java_script_enabled=javascript).new_page()
    with served(team) as address:
        come_as(signed_in(team, "maya@example.com"), page, address)
        page.goto(f"{address}/board/new")
        page.get_by_label("Title", exact=True).fill("Coffee")
        page.get_by_role("button", name="Pin it").click()
        expect(page.get_by_role("alert")).to_contain_text("Write the notice")
        page.get_by_label("Notice", exact=True).fill("There is coffee.")
        page.get_by_role("button", name="Pin it").click()
        expect(page.get_by_role("heading", name="Coffee")).to_be_visible()
        assert page.locator(".banner").evaluate("image => image.naturalWidth") > 0
        page.close()


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
        (
            "key challenge",
            [*SITE, "use-key", "Use a code from your app", "Use your recovery code", "Sign in as someone else"],
        ),
        ("new key page", [*NAV, "name", "use-key", "Cancel"]),
        ("verify of somebody with a key", [*NAV, "password", "Show password", "use-key", "code", "Continue", "Cancel"]),
        ("lost device of somebody with keys", [*SITE, "lost_keys-1", "lost_keys-2", "No, set up a new one"]),
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


# On paper -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["prompt", "prompt without the tick", "prompt asked for"])
def test_paper_holds_the_heading_and_the_slip_alone(at_place: Callable[..., Screen], name: str, scheme: str) -> None:
    screen = at_place(name, color_scheme=scheme)
    code, page = screen.shown_code(), screen.page
    account = "omar" if name == "prompt asked for" else "maya"
    page.emulate_media(media="print")
    assert page.locator("body").inner_text().replace("\n\n", "\n").splitlines() == [
        PLACES[name].h1,
        *("Site", urlsplit(screen.address).netloc, "Account", f"{account}@example.com", "Made", "30 November 2026"),
        code,
        "Works once, with your password, in place of the code from your app.",
    ]
    ink, paper = page.evaluate(
        "() => [...document.querySelectorAll('body, .slip')].map(e => getComputedStyle(e))"
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


EDGES = """() => [...document.querySelectorAll(
    'button:not(.link), .button, main input, .errors, .note, .slip'
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


def test_the_story_of_a_key_is_told_with_the_keyboard_alone(at_place: Callable[..., Screen]) -> None:
    screen = at_place("sign in page")
    omar, keys, app = screen.world.omar(), Keys(screen), screen.world.app
    Authenticator(screen.page)
    keys.sign_in(omar, "Enter your code")
    keys.type_in("code", omar.code())
    keys.press("Enter", "Security")
    keys.press_at("Add a key", "Add a security key")
    keys.type_in("name", "blue key")
    keys.press("Enter", "Security")
    keys.press_at("Sign out", "Sign in")

    keys.sign_in(omar, "Use your security key")
    keys.press_at("use-key", "Security")
    screen.world.clock.pass_by(700)
    keys.press_at("Change password", "Confirm it's you")
    keys.type_in("password", omar.password)
    keys.press("Enter", "Change your password")
    keys.press_at("Cancel", "Security")
    keys.press_at("Ask me only for my key", "Security")
    expect(screen.page.get_by_role("status").first).to_contain_text("You'll be asked only for your key.")
    keys.press_at("Sign out", "Sign in")

    keys.sign_in(omar, "Use your security key")
    keys.press_at("Use your recovery code", "Use your recovery code")
    keys.type_in("recovery_code", omar.recovery_code or "")
    keys.press("Enter", "You're in. Save your new recovery code")
    keys.save("Continue", "Do you still have your authenticator app?")
    keys.to("lost_keys-1")
    screen.page.keyboard.press("Space")
    keys.press_at("Yes, keep it", "Security")
    assert count(app, SecurityKey) == 0


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
