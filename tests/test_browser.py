"""The whole story in a real browser, against the server that `make run` starts, with JavaScript and without; and a look
at some pages. tests/sweep looks at all of them."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pyotp
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.support.apps import few_of, left_to_the_sweep, on_sqlite
from tests.support.authenticator import Authenticator
from tests.support.chromium import Demo, needs_chromium, press, served_demo
from tests.support.screens import AXE, HARD_TO_PRESS, Screen, scrolls_sideways, violations

pytestmark = needs_chromium
MAYA = "maya@example.com"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with served_demo() as demo:
        yield demo


def next_code(setup_key: str, used: str) -> str:
    """The code that follows one that was used: a phone whose clock is half a minute fast shows it already."""
    app, now = pyotp.TOTP(setup_key.replace(" ", "")), time.time()
    (used_at,) = (at for at in (now, now - 30) if app.at(int(at)) == used.replace(" ", ""))
    return app.at(int(used_at + 30))


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def tick_and(page: Page, button: str) -> str:
    code = page.locator("#recovery-code").inner_text().replace("\n", "")
    assert re.fullmatch(r"(\w{4}-){5}\w{4}", code)
    page.get_by_label("I've saved my recovery code").check()
    press(page, button)
    return code


@pytest.mark.parametrize(
    "javascript",
    [pytest.param(True, id="with JavaScript"), pytest.param(False, id="without JavaScript", marks=pytest.mark.sweep)],
)
def test_maya_enrolls_signs_in_loses_her_phone_and_comes_back(demo: Demo, chromium: Browser, javascript: bool) -> None:
    demo.seed()
    assert S_IMODE(demo.instance.stat().st_mode) == 0o700, "what is kept there is nobody else's"
    context = chromium.new_context(java_script_enabled=javascript)
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: broken.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: None if request.url.startswith(demo.address) else broken.append(request.url))

    demo.give_password(page, MAYA)
    assert heading(page) == "Set up your authenticator app"
    page.get_by_text("Can't scan it? Use the setup key").click()
    key = page.locator("#setup-key").inner_text()
    assert page.get_by_role("button", name="Copy").count() == (1 if javascript else 0)
    used = demo.code_for(page, key)
    page.get_by_label("Six-digit code").fill(used)
    press(page, "Continue")

    assert heading(page) == "Save your recovery code"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    slip = Path(download.value.path()).read_text()
    code = tick_and(page, "Finish setup")
    assert code in slip
    assert heading(page) == "Security"
    page.get_by_role("button", name="Sign out", exact=True).click()

    demo.give_password(page, MAYA)
    page.get_by_label("Six-digit code").fill(next_code(key, used))
    press(page, "Sign in")
    assert heading(page) == "Security"
    page.get_by_role("button", name="Sign out", exact=True).click()

    demo.give_password(page, MAYA)
    page.get_by_role("link", name="Use your recovery code").click()
    page.get_by_label("Recovery code").fill(code.lower().replace("-", " "))
    press(page, "Sign in")
    assert heading(page) == "You're in. Save your new recovery code"
    new_code = tick_and(page, "Continue")
    assert new_code != code
    assert heading(page) == "Do you still have your authenticator app?"
    press(page, "Yes, keep it")
    assert heading(page) == "Security"
    assert not broken
    context.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_the_demo_listens_at_each_address_that_a_browser_may_take_localhost_for(demo: Demo) -> None:
    """So that no other program can listen at one of them and be given a password."""
    for address in ["127.0.0.1", *(["::1"] if has_ipv6() else [])]:
        connection = HTTPConnection(address, demo.port, timeout=60)
        connection.request("GET", "/login", headers={"Host": f"localhost:{demo.port}"})
        assert connection.getresponse().status == 200, address
        connection.close()


@pytest.mark.sweep
def test_whoever_opens_the_demo_at_localhosts_number_can_sign_in(demo: Demo, chromium: Browser) -> None:
    demo.seed()
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{demo.port}/account")
    page.get_by_label("Email address").fill(MAYA)
    page.get_by_label("Password", exact=True).fill("spare key under the mat")
    press(page, "Sign in")
    assert heading(page) == "Set up your authenticator app"
    page.close()


@pytest.mark.sweep
def test_a_security_key_works_in_the_demo(demo: Demo, chromium: Browser) -> None:
    """At the address that `make run` says, under gunicorn."""
    demo.seed()
    context = chromium.new_context()
    page = context.new_page()
    Authenticator(page)
    omar = "omar@example.com"
    demo.give_password(page, omar)
    page.get_by_label("Six-digit code").fill(demo.code_of(page, omar))
    press(page, "Sign in")
    page.get_by_role("link", name="Add a key").click()
    page.get_by_label("Name").fill("blue key")
    press(page, "Add key")
    page.wait_for_url("**/account?*")
    page.get_by_role("button", name="Sign out", exact=True).click()
    demo.give_password(page, omar)
    press(page, "Use my security key")
    page.wait_for_url("**/account")
    assert heading(page) == "Security"
    context.close()


@on_sqlite
@pytest.mark.parametrize(
    "name",
    few_of(
        ["sign in left empty", "challenge", "setup", "prompt", "lost device", "account", "people"], "setup", "account"
    ),
)
def test_a_page_can_be_read_and_used_on_a_small_screen(
    at_place: Callable[..., Screen], one_page: Page, name: str, record_property: Callable[[str, Any], None]
) -> None:
    page = at_place(name, page=one_page).page
    page.evaluate(AXE_SCRIPT)
    page.set_viewport_size({"width": 320, "height": 800})
    wrong = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        wrong += violations(page)
    record_property(AXE, (2, len(wrong)))
    assert (wrong, page.evaluate(HARD_TO_PRESS), scrolls_sideways(page)) == ([], [], False)


# The left and right edge of the main part, and the left edges of what stands in and around it.
EDGES = """() => {
    const left = element => Math.round(element.getBoundingClientRect().left);
    const main = document.querySelector("main");
    const around = [...document.querySelectorAll(".brand, h1, .site-footer p")].map(left);
    return [left(main), Math.round(main.getBoundingClientRect().right), [...new Set(around)]];
}"""


@on_sqlite
@pytest.mark.parametrize(
    ("name", "is_in_the_middle"),
    [
        *((name, True) for name in ("sign in page", "prompt", "demo phone")),
        *((name, False) for name in ("account", "prompt asked for")),
        *left_to_the_sweep((name, True) for name in ("challenge paused", "lost device", "no page")),
        *left_to_the_sweep([("people", False)]),
    ],
)
def test_before_somebody_is_signed_in_a_page_is_one_column_in_the_middle(
    at_place: Callable[..., Screen], one_page: Page, name: str, is_in_the_middle: bool
) -> None:
    page = at_place(name, page=one_page).page
    for width in (320, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        seen = page.evaluate("document.documentElement.clientWidth")
        left, right, around = page.evaluate(EDGES)
        assert around == [left], width
        assert (abs(seen - right - left) <= 1) is (is_in_the_middle or width == 320 or name == "people"), width
        if name == "prompt" and width > 320:
            halves = page.locator("#recovery-code span").evaluate_all("all => all.map(half => half.offsetTop)")
            assert halves[0] == halves[1], "the code stands on one line"


@on_sqlite
def test_a_one_time_link_is_named_to_nobody_and_its_form_goes_through(at_place: Callable[..., Screen]) -> None:
    """A form of a page that is no referrer has no origin to name either."""
    page = at_place("welcome").page
    referers, origins = set(), []

    def see(request: Any) -> None:
        headers = request.all_headers()
        referers.add(headers.get("referer", ""))
        if request.method == "POST":
            origins.append(headers.get("origin"))

    page.on("requestfinished", see)
    page.reload()
    page.get_by_label("New password", exact=True).fill("three herons and a lighthouse")
    page.get_by_role("main").get_by_role("button").last.click()
    page.wait_for_url("**/login*")
    of_this_page = {referer for referer in referers if "/login" not in referer}  # the next page asks for its own files
    assert (of_this_page, origins) == ({""}, ["null"])
