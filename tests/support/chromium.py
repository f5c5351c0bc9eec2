"""Debian's Chromium, and the demo that `make run` serves to it: for tests and for the README's pictures."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.apps import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium here: install Debian's package chromium"
)


@contextmanager
def launched(*args: str, **options: Any) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *args], **options)
        try:
            yield browser
        finally:
            browser.close()


def press(page: Page, name: str) -> None:
    """A button of the page itself, not of its header."""
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


@dataclass
class Demo:
    """The demo on a free port, with an instance folder of its own."""

    port: int

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def instance(self) -> Path:
        return ROOT / "instance" / f"demo-{self.port}"

    def make(self, target: str) -> list[str]:
        return ["make", "--silent", "-C", str(ROOT), target, f"PORT={self.port}", f"INSTANCE={self.instance}"]

    def seed(self) -> None:
        subprocess.run(self.make("seed"), check=True)

    def give_password(self, page: Page, email: str) -> None:
        page.goto(self.address)
        page.get_by_label("Email address").fill(email)
        page.get_by_label("Password", exact=True).fill("spare key under the mat")
        press(page, "Sign in")

    def code_for(self, page: Page, setup_key: str) -> str:
        """What the demo's phone shows for a setup key."""
        phone = page.context.new_page()
        phone.goto(f"{self.address}/demo/phone")
        phone.get_by_label("Setup key").fill(setup_key)
        press(phone, "Show its code")
        shown = phone.locator(".note.ok code").inner_text()
        phone.close()
        return shown

    def code_of(self, page: Page, email: str) -> str:
        """What the demo's phone shows for one of its people."""
        phone = page.context.new_page()
        phone.goto(f"{self.address}/demo/phone")
        shown = phone.locator("dt", has_text=email).locator("+ dd").inner_text()
        phone.close()
        return shown


@contextmanager
def served_demo() -> Iterator[Demo]:
    """As `make run` serves it, until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        demo = Demo(probe.getsockname()[1])
    server = subprocess.Popen(demo.make("run"), start_new_session=True)
    try:
        _wait_until_it_answers(demo, server)
        yield demo
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)
        shutil.rmtree(demo.instance, ignore_errors=True)


def _wait_until_it_answers(demo: Demo, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, "make run ended; its output is above"
        try:
            with urllib.request.urlopen(f"{demo.address}/healthz") as answer:
                assert answer.read() == b"ok"
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("make run did not serve within two minutes")
