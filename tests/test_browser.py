"""The whole story in a real browser, against the server that `make run` starts: with JavaScript and without."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
PASSWORD = "spare key under the mat"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium here: install Debian's package chromium"
)


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of a demo that `make run` serves, on a free port and from an instance folder of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    instance = ROOT / "instance" / f"browser-test-{port}"
    server = subprocess.Popen(
        ["make", "--silent", "run", f"PORT={port}", f"INSTANCE={instance}"], cwd=ROOT, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(address, server)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
        shutil.rmtree(instance, ignore_errors=True)


def wait_until_it_answers(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, "make run ended; its output is above"
        try:
            with urllib.request.urlopen(f"{address}/healthz") as answer:
                assert answer.read() == b"ok"
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("make run did not serve within two minutes")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


def code_for(page: Page, demo: str, setup_key: str) -> str:
    """What the demo's phone shows for a setup key."""
    phone = page.context.new_page()
    phone.goto(f"{demo}/demo/phone")
    phone.get_by_label("Setup key").fill(setup_key)
    phone.get_by_role("button", name="Show its code").click()
    shown = phone.locator(".note.ok code").inner_text()
    phone.close()
    return shown


def next_code(setup_key: str, used: str) -> str:
    """The code that follows one that was used: a phone whose clock is half a minute fast shows it already."""
    app, now = pyotp.TOTP(setup_key.replace(" ", "")), time.time()
    (used_at,) = (at for at in (now, now - 30) if app.at(int(at)) == used.replace(" ", ""))
    return app.at(int(used_at + 30))


def press(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def give_password(page: Page, demo: str) -> None:
    page.goto(demo)
    page.get_by_label("Email address").fill("maya@example.com")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    press(page, "Sign in")


def tick_and(page: Page, button: str) -> str:
    code = page.locator("#recovery-code").inner_text().replace("\n", "")
    assert re.fullmatch(r"(\w{4}-){5}\w{4}", code)
    page.get_by_label("I've saved my recovery code").check()
    press(page, button)
    return code


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_maya_enrolls_signs_in_loses_her_phone_and_comes_back(demo: str, chromium: Browser, javascript: bool) -> None:
    subprocess.run(["make", "--silent", "seed", f"INSTANCE={instance_of(demo)}"], cwd=ROOT, check=True)
    context = chromium.new_context(java_script_enabled=javascript)
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: broken.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: None if request.url.startswith(demo) else broken.append(request.url))

    give_password(page, demo)
    assert heading(page) == "Set up your authenticator app"
    page.get_by_text("Can't scan it? Use the setup key").click()
    key = page.locator("#setup-key").inner_text()
    assert page.get_by_role("button", name="Copy").count() == (1 if javascript else 0)
    used = code_for(page, demo, key)
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

    give_password(page, demo)
    page.get_by_label("Six-digit code").fill(next_code(key, used))
    press(page, "Sign in")
    assert heading(page) == "Security"
    page.get_by_role("button", name="Sign out", exact=True).click()

    give_password(page, demo)
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


def instance_of(demo: str) -> Path:
    return ROOT / "instance" / f"browser-test-{demo.rpartition(':')[2]}"
