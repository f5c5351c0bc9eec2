"""Every page and state in a real browser, in light and dark, at three widths: no accessibility violation, no sideways
scroll, no complaint of the browser, no request to anywhere else."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Page, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.conftest import Clock, Person
from tests.places import PLACES, World

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium here: install Debian's package chromium"
)
with_and_without_javascript = pytest.mark.parametrize(
    "javascript", [True, False], ids=["with JavaScript", "without JavaScript"]
)


# A browser and a site for it ------------------------------------------------------------------------------------------


class Silent(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None: ...


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of the app, on a port of its own of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
            ignore_default_args=["--disable-back-forward-cache"],  # Back does what it does for people
        )
        yield browser
        browser.close()


@dataclass
class Screen:
    """Somebody before a browser, at a place of the site."""

    page: Page
    address: str
    world: World
    complaints: list[str] = field(default_factory=list)  # of the browser
    sent: list[str] = field(default_factory=list)  # the path of each POST

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        is_status = re.match("Failed to load resource: the server responded with a status of [45]", message.text)
        if not (is_status and "/static/" not in message.location["url"]):
            self.complaints.append(f"{message.type}: {message.text}")

    def _see(self, request: Any) -> None:
        if not request.url.startswith(self.address + "/"):
            self.complaints.append(f"asked for {request.url}")
        if request.method == "POST":
            self.sent.append(urlsplit(request.url).path)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)

    @property
    def heading(self) -> str:
        return self.page.get_by_role("heading", level=1).inner_text()

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    def press(self, name: str) -> None:
        self.page.get_by_role("main").get_by_role("button", name=name, exact=True).click()

    def type_in(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def give_password(self, person: Person) -> None:
        self.open("/login")
        self.type_in("Email address", person.email)
        self.type_in("Password", person.password)
        self.press("Sign in")

    def shown_code(self) -> str:
        return self.page.locator("#recovery-code").inner_text().replace("\n", "")

    @property
    def focused(self) -> str:
        """The id of what has the focus, else its words, else its tag."""
        return self.page.evaluate(
            "() => { const e = document.activeElement; return e.id || e.ariaLabel || e.innerText || e.tagName }"
        )


@pytest.fixture
def at_place(
    chromium: Chromium, make_app: Callable[..., Flask], clock: Clock, make_person: Callable[..., Person]
) -> Iterator[Callable[..., Screen]]:
    """Bring a new browser to a place. Whatever follows, the browser has nothing to complain about and asks nobody
    else for anything."""
    screens = []
    with ExitStack() as stack:

        def go(name: str, before: Callable[[Page], Any] = lambda page: None, **options: Any) -> Screen:
            place = PLACES[name]
            app = make_app("place", **place.settings)
            world = World(app, clock, make_person)
            visit = place.go(world)
            address = stack.enter_context(served(app))
            context = chromium.new_context(**{"reduced_motion": "reduce", **options})
            stack.callback(context.close)
            context.set_default_timeout(5000)
            for cookie in ("session", "known-browser"):
                if value := visit.browser.cookie(cookie):
                    context.add_cookies([{"name": cookie, "value": value, "url": address}])
            screens.append(screen := Screen(context.new_page(), address, world))
            screen.watch()
            before(screen.page)
            screen.open(visit.path)
            if visit.typed is not None:
                fill_in(screen.page, visit.typed)
            assert screen.heading == place.h1
            return screen

        yield go
    assert [screen.complaints for screen in screens] == [[] for _ in screens]


def fill_in(page: Page, typed: dict[str, str]) -> None:
    """Fill in the form of the main part, also with what no browser would let through, and send it."""
    for name, value in typed.items():
        box = page.locator(f"main [name={name}]").first
        if box.get_attribute("type") == "checkbox":
            box.check()
        else:
            box.evaluate("(box, value) => { box.value = value }", value)
    page.locator("main form button:not([type=button])").first.click()


# Every page -----------------------------------------------------------------------------------------------------------

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 768, 1280)
SPACED_OUT = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important }"
        + "* { word-spacing: .16em !important }"
        + "p { margin-bottom: 2em !important }");
    document.adoptedStyleSheets = [sheet];
}"""


def violations(page: Page) -> list[str]:
    found = page.evaluate("(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", TAGS)
    return [f"{rule['id']} at {node['target']}" for rule in found["violations"] for node in rule["nodes"]]


def scrolls_sideways(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize("name", PLACES)
def test_everybody_can_read_and_use_every_page(at_place: Callable[..., Screen], name: str) -> None:
    page = at_place(name).page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    page.evaluate(AXE_SCRIPT)
    wrong, runs = [], 0
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            wrong += [(width, scheme, violation) for violation in violations(page)]
            runs += 1
        if scrolls_sideways(page):
            wrong.append((width, "", "scrolls sideways"))
    print(f"{runs} runs of axe-core")
    page.set_viewport_size({"width": 320, "height": 800})
    page.evaluate(SPACED_OUT)
    if scrolls_sideways(page):
        wrong.append((320, "", "scrolls sideways with the text spaced out"))
    assert wrong == []
