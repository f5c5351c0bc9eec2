"""The cookies: what is in them, what they open, and other ones put in their place."""

import re
from typing import Any

from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from tests.support.pages import Browser, Page

PAGES = ["/account", "/login/code", "/mfa/setup", "/mfa/recovery-code", "/mfa/lost-device", "/verify"]


def serializer(app: Flask) -> URLSafeTimedSerializer:
    found = app.session_interface.get_signing_serializer(app)
    assert found is not None
    return found


def payload(browser: Browser) -> dict[str, Any]:
    """What the cookie says to whoever decodes it."""
    return dict(serializer(browser.app).loads(browser.cookie()))


def signed(app: Flask, token: Any) -> str:
    return str(serializer(app).dumps({"token": token}))


def opened(browser: Browser) -> list[str]:
    """The pages that do not send this browser to the sign-in page."""
    answers = {path: browser.open(path) for path in PAGES}
    assert {page.status for page in answers.values()} <= {200, 303}
    return [path for path, page in answers.items() if not page.headers.get("Location", "").startswith("/login?")]


def set_cookies(page: Page) -> dict[str, set[str]]:
    """The cookies that an answer sets, each with its attributes; the hour of Expires left out."""
    parts = [re.sub(r"Expires=[^;]+", "Expires", header).split("; ") for header in page.headers.getlist("Set-Cookie")]
    return {part[0].partition("=")[0]: set(part[1:]) for part in parts}


def send_raw(app: Flask, path: str, cookies: str) -> Page:
    browser = Browser(app)
    browser.client = app.test_client(use_cookies=False)
    return browser.open(path, environ_overrides={"HTTP_COOKIE": cookies})


def moved(browser: Browser, app: Flask) -> Browser:
    """The same cookies before an app with other keys."""
    other = browser.copy()
    other.app, other.client.application = app, app
    return other
