"""The admin's other pages: the switch for recovery codes, and the audit log."""

import pytest
from flask import Flask

from authn.events import EventKind
from models import Event, Setting
from tests.support.pages import Browser
from tests.support.people import Person, give_password, sign_in, use_recovery_code
from tests.support.tables import count, ids, rows


@pytest.fixture
def app(make_app) -> Flask:
    """The switch decides, and starts off."""
    return make_app()


@pytest.fixture
def admin(app: Flask, ines: Person) -> Browser:
    browser = Browser(app)
    sign_in(browser, ines)
    return browser


# The switch -----------------------------------------------------------------------------------------------------------


def test_the_switch_says_in_numbers_what_it_will_mean_and_is_in_force_at_once_in_every_app(
    make_app, app: Flask, admin: Browser, omar: Person
) -> None:
    other_worker = Browser(make_app())
    give_password(other_worker, omar)
    assert "Recovery codes are off." in admin.get("/admin/settings").text
    page = admin.get("/admin/settings/recovery-codes")
    assert "1 person already set up will be given a code" in page.text
    admin.press(page, "Turn on recovery codes")
    assert other_worker.open("/login/recovery").status == 200
    page = admin.get("/admin/settings/recovery-codes")
    assert "1 person has a saved code." in page.text
    admin.press(page, "Turn off recovery codes")
    assert other_worker.open("/login/recovery").status == 403
    (setting,) = rows(app, Setting)
    assert setting["changed_by"] == "ines@example.com"
    with app.app_context():
        last = Event.select().order_by(Event.id.desc()).where(Event.kind == EventKind.RECOVERY_CODES_DISABLED).get()
    assert last.actor == "ines@example.com"


def test_a_stale_switch_page_does_not_turn_it_the_other_way(app: Flask, admin: Browser) -> None:
    page = admin.get("/admin/settings/recovery-codes")
    for _ in range(2):
        admin.press(page, "Turn on recovery codes")
        assert "Recovery codes are on." in admin.get("/admin/settings").text


@pytest.mark.parametrize("fixed", [True, False])
def test_where_the_configuration_fixes_the_flag_the_page_says_so_and_cannot_change_it(
    app: Flask, admin: Browser, fixed: bool
) -> None:
    form = admin.get("/admin/settings/recovery-codes").form_with("turn")
    app.config["RECOVERY_CODES_ENABLED"] = fixed
    page = admin.get("/admin/settings")
    assert "Fixed by RECOVERY_CODES_ENABLED in the configuration." in page.text
    assert f"Recovery codes are {'on' if fixed else 'off'}." in page.text
    assert "/admin/settings/recovery-codes" not in page.links
    assert admin.open(form.action, method="POST", data=form.fields).status == 403
    assert count(app, Setting) == 0
    app.config["RECOVERY_CODES_ENABLED"] = None
    assert admin.open(form.action, method="POST", data=form.fields).status == 303
    assert count(app, Setting) == 1


# The audit log --------------------------------------------------------------------------------------------------------


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
