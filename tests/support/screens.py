"""A real browser at a place of the site, and what it complains about."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.people import Person
from tests.support.places import World

with_and_without_javascript = pytest.mark.parametrize(
    "javascript", [True, False], ids=["with JavaScript", "without JavaScript"]
)


class Silent(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None: ...


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of the app, on a port of its own of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Screen:
    """Somebody before a browser, at a place of the site."""

    page: Page
    address: str
    world: World
    complaints: list[str] = field(default_factory=list)  # of the browser
    sent: list[str] = field(default_factory=list)  # the path of each POST

    def watch(self) -> None:
        for event, notice in self._notices():
            self.page.on(event, notice)  # type: ignore[call-overload]

    def look_away(self) -> None:
        for event, notice in self._notices():
            self.page.remove_listener(event, notice)

    def _notices(self) -> list[tuple[str, Callable[[Any], None]]]:
        return [("pageerror", self._fail), ("console", self._hear), ("request", self._see)]

    def _fail(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _hear(self, message: ConsoleMessage) -> None:
        is_status = re.match("Failed to load resource: the server responded with a status of [45]", message.text)
        if message.type in ("error", "warning") and not (is_status and "/static/" not in message.location["url"]):
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
            "() => { const e = document.activeElement;"
            "return e === document.body ? 'the page' : e.id || e.ariaLabel || e.innerText }"
        )


def new_window(chromium: Chromium, **options: Any) -> BrowserContext:
    window = chromium.new_context(reduced_motion="reduce", **options)
    window.set_default_timeout(5000)
    return window


def fill_in(page: Page, typed: dict[str, str]) -> None:
    """Fill in the form of the main part, also with what no browser would let through, and send it."""
    for name, value in typed.items():
        box = page.locator(f"main [name={name}]").first
        if box.get_attribute("type") == "checkbox":
            box.check()
        else:
            box.evaluate("(box, value) => { box.value = value }", value)
    button = page.locator("main form button:not([type=button])").first
    with page.expect_navigation():
        if button.get_attribute("data-key"):  # whose script sends the form once a key has answered
            button.evaluate("button => button.form.submit()")
        else:
            button.click()


TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 768, 1280)
SPACED_OUT = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important }"
        + "* { word-spacing: .16em !important }"
        + "p { margin-bottom: 2em !important }");
    document.adoptedStyleSheets = [sheet];
}"""


# Said in few words by the page itself: to hand all of axe's report over takes as long as to make it. What axe cannot
# decide counts as wrong.
VIOLATIONS = """async tags => {
    const found = await axe.run(document, {runOnly: tags, resultTypes: ["violations", "incomplete"]});
    const wrong = [...found.violations, ...found.incomplete];
    return wrong.flatMap(rule => rule.nodes.map(node => `${rule.id} at ${node.target}`));
}"""


def violations(page: Page) -> list[str]:
    return page.evaluate(VIOLATIONS, TAGS)


# A link in a sentence has the height of its line; everything else that is pressed leaves room for a thumb.
HARD_TO_PRESS = """() => [...document.querySelectorAll(
    'header :is(a, button), main :is(a:not(p > a:not(.link)), button, summary, input), footer a'
)].filter(element => element.checkVisibility())
  .map(element => element.type === 'checkbox' ? element.labels[0] : element)
  .filter(element => element.getBoundingClientRect().height < 44)
  .map(element => element.outerHTML)"""


def scrolls_sideways(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


AXE = "axe-core"
