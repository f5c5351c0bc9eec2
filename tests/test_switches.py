"""Switches for tests, and the demo: a real site has none of them, wherever they are set."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

import settings
from app import create_app
from models import User
from tests.support.apps import KEY
from tests.support.commands import run
from tests.support.pages import Browser
from tests.support.people import Clock
from tests.support.tables import count

PRODUCTION = {"SECRET_KEY": KEY, "SITE_URL": "https://app.test"}
SWITCHES = {
    "WTF_CSRF_ENABLED": False,
    "WTF_CSRF_CHECK_DEFAULT": False,
    "LOGIN_DISABLED": True,
    "SESSION_COOKIE_SECURE": False,
    "PROPAGATE_EXCEPTIONS": True,
    "DEBUG": True,
    "MAX_FORM_PARTS": None,
    "SECRET": "x",
}


@pytest.mark.parametrize("key", SWITCHES)
def test_a_real_site_does_not_start_with_a_switch_of_tests(tmp_path: Path, key: str) -> None:
    """Nor with anything else that is no setting; only a test says that it is one, and in code alone."""
    given = {**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path}/real.db", key: SWITCHES[key]}
    for more in ({}, {"TESTING": False}, {"TESTING": "true"}, {"TESTING": 1}):
        with pytest.raises(settings.ConfigurationError, match="is not a setting"):
            create_app({**given, **more})
    assert create_app({**given, "TESTING": True}).testing


def test_the_environment_switches_no_protection_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With every one of them set, tokens, limits and secure cookies are as they were."""
    for name, value in {**SWITCHES, "TESTING": True, "ENV": "development"}.items():
        if name != "DEBUG":  # Flask's own
            monkeypatch.setenv(f"FLASK_{name}", str(value))
    app = create_app({**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path}/real.db"})
    assert not app.testing
    assert run(app, "db", "upgrade").exit_code == 0
    browser = Browser(app, base_url="https://app.test")
    assert "Secure" in browser.open("/login").headers["Set-Cookie"]
    assert browser.open("/login", "POST").status == 400
    assert browser.open("/login", "POST", data={"x": "9" * 70_000}).status == 413
    assert browser.open("/account").status == 303


Make = Callable[..., Flask]


@pytest.mark.parametrize("site_url", ["https://app.test", "http://localhost"])
def test_nothing_of_the_demo_is_there_without_it(make_app: Make, site_url: str, clock: Clock) -> None:
    """No phone, no people, no known password, no banner; and on a real address the demo does not start."""
    app = make_app("real", SITE_URL=site_url, DEMO=False)
    browser = Browser(app, base_url=site_url)
    for method in ("GET", "POST"):
        page = browser.open("/login")
        data = page.form_with("email").fields if method == "POST" else None
        answer = browser.open("/demo/phone", method, data=data)
        assert (answer.status, answer.h1) == (404, "Page not found")
    assert "Demo" not in browser.open("/login").text
    assert count(app, User) == 0
    for command in (("demo", "seed"), ("demo", "code", "omar@example.com"), ("demo", "code", "--key", "A" * 32)):
        result = run(app, *command)
        assert (result.exit_code, "This is not a demo" in result.stderr) == (1, True)
    assert count(app, User) == 0
    if site_url.startswith("https"):
        with pytest.raises(settings.ConfigurationError, match="DEMO is only for this machine"):
            make_app("demo", SITE_URL=site_url, DEMO=True)
    else:
        assert Browser(make_app("demo", SITE_URL=site_url, DEMO=True)).open("/demo/phone").status == 200
