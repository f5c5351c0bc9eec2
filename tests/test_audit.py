"""The audit log."""

import pytest
from flask import Flask

from models import Event, User
from tests.support.pages import Browser
from tests.support.people import Person, give_password, sign_in, use_recovery_code
from tests.support.tables import count, rows


@pytest.fixture
def app(make_app) -> Flask:
    """The switch decides, and starts off."""
    return make_app()


@pytest.fixture
def admin(app: Flask, ines: Person) -> Browser:
    browser = Browser(app)
    sign_in(browser, ines)
    return browser


def ids(app: Flask) -> dict[str, int]:
    return {row["email"]: row["id"] for row in rows(app, User)}


def test_the_audit_log_pages_and_shows_one_persons_part(app: Flask, admin: Browser, omar: Person) -> None:
    browser = Browser(app)
    use = give_password(browser, omar)
    assert use.h1 == "Enter your code"
    page = admin.get(f"/admin/audit?person={ids(app)[omar.email]}")
    assert page.h1 == "Audit log of omar@example.com"
    assert "ines@example.com" not in [cell.text for cell in page.all("td")]
    event = {"at": 1, "kind": "paused", "actor": "", "remote_addr": "", "user_agent": "", "detail": ""}
    with app.app_context():
        Event.insert_many([event] * (150 - Event.select().count())).execute()
    seen, page = 0, admin.get("/admin/audit")
    while True:
        assert len(page.all("tr")) == 51
        seen += 50
        older = next((link for link in page.links if "before=" in link), None)
        if older is None:
            break
        page = admin.get(older)
    assert seen == count(app, Event) == 150


def test_an_empty_part_of_the_log_says_so(app: Flask, admin: Browser, make_person) -> None:
    page = admin.get("/admin/audit?before=1")
    assert "Nothing yet. Sign-ins and changes will appear here." in page.text


def test_use_of_recovery_shows_in_the_log_without_the_code(app: Flask, admin: Browser, omar: Person) -> None:
    admin.press(admin.get("/admin/settings/recovery-codes"), "Turn on recovery codes")
    use_recovery_code(Browser(app), omar)
    page = admin.get("/admin/audit")
    assert "Recovery code typed" in page.text
    assert omar.recovery_code not in page.raw
