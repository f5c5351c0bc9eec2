"""The admin pages: who may open them, what each act does, and that it is done and logged with who did it."""

import re

import pytest
from flask import Flask

from models import Event, Kind, Setting, Throttle, User
from tests.support import acts
from tests.support.pages import Browser, Page, words
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    scan,
    sign_in,
    use_recovery_code,
)
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


def row_of(page: Page, email: str) -> str:

    return next(words(row) for row in page.all("tr") if email in words(row))


def press_in_row(browser: Browser, email: str, label: str) -> Page:
    page = browser.get("/admin/people")
    row = next(row for row in page.all("tr") if email in "".join(row.itertext()))
    forms = [page._form(form) for form in row.iter("form")]
    form = next(form for form in forms if label in form.buttons)
    return browser.follow(browser.open(form.action, method="POST", data=form.fields))


def ids(app: Flask) -> dict[str, int]:
    return {row["email"]: row["id"] for row in rows(app, User)}


ROUTES = [
    ("GET", "/admin/people"),
    ("GET", "/admin/people/{id}/reset-mfa"),
    ("POST", "/admin/people/{id}/reset-mfa"),
    ("POST", "/admin/people/{id}/invite"),
    *[("POST", f"/admin/people/{{id}}/{act}") for act in ("unlock", "activate", "deactivate", "promote", "demote")],
    ("GET", "/admin/settings"),
    ("GET", "/admin/settings/recovery-codes"),
    ("POST", "/admin/settings/recovery-codes"),
    ("GET", "/admin/audit"),
]


def test_every_admin_route_is_in_this_list(app: Flask) -> None:
    served = {
        (method, str(rule).replace("<int(max=2147483647):person_id>", "{id}"))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("admin.")
        for method in rule.methods & {"GET", "POST"}
    }
    listed = {(method, path) for method, path in ROUTES if not path.endswith(("unlock", "tivate", "promote", "demote"))}
    assert {(m, p) for m, p in served if "any(" not in p} == listed
    assert {m for m, p in served if "any(" in p} == {"POST"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_is_not_an_admin_gets_403_and_changes_nothing(
    app: Flask, admin: Browser, omar: Person, method: str, path: str
) -> None:
    browser = Browser(app)
    page = sign_in(browser, omar)
    before = rows(app, User), rows(app, Setting)
    path = path.format(id=ids(app)["ines@example.com"])
    fields = page.forms[0].fields if method == "POST" else None
    page = browser.open(path, method=method, data=fields)
    assert (page.status, page.h1) == (403, "You can't open this page")
    assert "You're signed in as omar@example.com, which isn't an administrator." in page.text
    assert (rows(app, User), rows(app, Setting)) == before
    page = admin.open(path, method=method, data=admin.get("/account").forms[0].fields if method == "POST" else None)
    assert page.status in (200, 303, 422) or "yourself" in page.h1, "422: the field that the switch needs is missing"


def test_an_admin_demoted_a_moment_ago_gets_403(app: Flask, admin: Browser, make_person) -> None:
    make_person("second@example.com", admin=True)
    assert admin.open("/admin/people").status == 200
    with app.app_context():
        User.update(is_admin=False).where(User.email == "ines@example.com").execute()
    assert admin.open("/admin/people").status == 403


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "POST"])
def test_every_admin_change_asks_again_after_ten_minutes(
    app: Flask, admin: Browser, omar: Person, clock, method: str, path: str
) -> None:
    fields = admin.get("/account").forms[0].fields
    clock.pass_by(600)
    before = rows(app, User), rows(app, Setting)
    path = path.format(id=ids(app)[omar.email])
    page = admin.open(path, method="POST", data=fields)
    assert page.headers["Location"].startswith("/verify?")
    assert (rows(app, User), rows(app, Setting)) == before


def test_a_person_who_lost_phone_and_code_is_back_after_one_act_of_an_admin(
    app: Flask, admin: Browser, omar: Person, clock
) -> None:
    page = admin.get(f"/admin/people/{ids(app)[omar.email]}/reset-mfa")
    assert page.h1 == "Reset MFA for omar@example.com?"
    page = admin.submit(page, reason="lost phone\nand code")
    assert page.h1 == "Hand over this link"
    for secret in (omar.recovery_code, PASSWORD, omar.code()):
        assert secret not in page.raw
    link = page.text_of("link").removeprefix("http://localhost:5000")

    browser = Browser(app)
    assert give_password(browser, omar).status == 422
    browser.submit(link, new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    page = give_password(browser, omar)

    assert browser.submit(page, code=scan(page, omar).code()).h1 == "Security"
    log = admin.get("/admin/audit")
    assert "Authenticator reset (lost phone and code)" in log.text
    assert row_of(log, "Authenticator reset (").count("ines@example.com") == 1
    activity = browser.get("/account/activity")
    assert "Authenticator reset, by ines@example.com" in activity.text
    assert "lost phone" not in activity.text, "the reason is for the audit log"


def test_an_admin_cannot_reset_themself(app: Flask, admin: Browser, ines: Person) -> None:
    page = admin.open(f"/admin/people/{ids(app)[ines.email]}/reset-mfa")
    assert (page.status, page.h1) == (403, "You can't reset yourself here")
    assert is_signed_in(admin)


def test_letting_somebody_try_again(app: Flask, admin: Browser, omar: Person) -> None:
    stranger = Browser(app)
    for _ in range(5):
        stranger.submit("/login", email=omar.email, password="wrong")
    assert give_password(stranger, omar).status == 429
    assert "Paused until 30 November 2026, 01:00 UTC" in row_of(admin.get("/admin/people"), omar.email)
    assert press_in_row(admin, omar.email, "Let them try again").notice == "They can try again now."
    assert give_password(stranger, omar).h1 == "Enter your code"
    assert count(app, Throttle, Throttle.key.startswith("password")) == 1


def test_deactivating_ends_sessions_at_once_and_activating_lets_in_again(
    app: Flask, admin: Browser, omar: Person, clock
) -> None:  # AD-3
    full, half = Browser(app), Browser(app)
    sign_in(full, omar)
    give_password(half, omar)
    press_in_row(admin, omar.email, "Deactivate")
    assert not is_signed_in(full)
    assert half.get("/login/code").h1 == "Sign in"
    assert give_password(half, omar).status == 422
    press_in_row(admin, omar.email, "Activate")
    clock.pass_by(30)
    assert sign_in(half, omar).h1 == "Security"


def test_the_last_admin_stays_one(app: Flask, admin: Browser, omar: Person, ines: Person) -> None:
    for label in ("Remove as admin", "Deactivate"):
        page = press_in_row(admin, ines.email, label)
        assert page.notice == "That's the last admin. Make another one first."
        assert is_signed_in(admin)
    press_in_row(admin, omar.email, "Make an admin")
    assert "Admin" in row_of(admin.get("/admin/people"), omar.email)
    assert press_in_row(admin, ines.email, "Remove as admin").status == 403
    assert is_signed_in(admin)


def test_a_deactivated_admin_does_not_count_as_another(app: Flask, admin: Browser, omar: Person, ines: Person) -> None:
    press_in_row(admin, omar.email, "Make an admin")
    press_in_row(admin, omar.email, "Deactivate")
    assert press_in_row(admin, ines.email, "Remove as admin").notice.startswith("That's the last admin.")


def test_a_password_link_from_the_people_page_works_once(app: Flask, admin: Browser, omar: Person) -> None:
    page = press_in_row(admin, omar.email, "Make a password link")
    link = page.text_of("link").removeprefix("http://localhost:5000")
    assert Browser(app).submit(link, new_password=NEW_PASSWORD).notice == "Your password is set. Sign in with it."
    assert Browser(app).open(link).status == 404


def test_the_people_page_says_when_somebody_last_signed_in_however_long_ago(
    app: Flask, ines: Person, omar: Person, clock: Clock
) -> None:
    def prune() -> None:
        result = app.test_cli_runner().invoke(args=["events", "prune"], catch_exceptions=False)
        assert re.fullmatch(r"Removed [1-9]\d* events\.\n", result.stdout)

    for _ in range(2):
        sign_in(Browser(app), omar)
        clock.pass_by(60)
    clock.pass_by(401 * 86400)
    prune()
    assert count(app, Event, Event.kind == Kind.SIGNED_IN) == 1
    sign_in(admin := Browser(app), ines)
    assert "30 November 2026, 01:01 UTC" in row_of(admin.get("/admin/people"), omar.email)

    acts.remove_person(app, omar.email)
    clock.pass_by(401 * 86400)
    prune()
    assert count(app, Event, Event.kind == Kind.SIGNED_IN) == 1  # that of ines


def test_the_people_page_says_how_everybody_stands_and_pages(
    app: Flask, admin: Browser, omar: Person, make_person
) -> None:
    maya = make_person("maya@example.com", enrolled=False)
    admin.client.get("/")
    page = admin.get("/admin/people")
    assert "Person Not set up Off Never" in row_of(page, maya.email)
    assert "Person On Off Never" in row_of(page, omar.email)
    assert "Admin On Off 30 November 2026, 01:00 UTC" in row_of(page, "ines@example.com")
    give_password(Browser(app), maya)
    assert "Setting up" in row_of(admin.get("/admin/people"), maya.email)
    with app.app_context():
        User.insert_many(
            [
                {"email": f"p{i:03}@example.com", "created_at": 0, "is_admin": False, "is_active": True}
                for i in range(120)
            ]
        ).execute()
    seen, page = [], admin.get("/admin/people")
    while True:
        seen += [row.get("href") for row in page.all("a") if "person=" in (row.get("href") or "")]
        more = next((link for link in page.links if "after=" in link), None)
        if more is None:
            break
        page = admin.get(more)
    assert len(seen) == len(set(seen)) == 123


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
        last = Event.select().order_by(Event.id.desc()).where(Event.kind == Kind.RECOVERY_CODES_DISABLED).get()
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


@pytest.mark.parametrize("odd", ["?person=0", f"?person={10**30}", "?before=-5", f"?before={10**30}", "?person=x"])
def test_odd_queries_of_the_audit_log_show_it_all(admin: Browser, odd: str) -> None:
    assert admin.open(f"/admin/audit{odd}").status == 200


def test_an_empty_part_of_the_log_says_so(app: Flask, admin: Browser, make_person) -> None:
    page = admin.get("/admin/audit?before=1")
    assert "Nothing yet. Sign-ins and changes will appear here." in page.text


def test_use_of_recovery_shows_in_the_log_without_the_code(app: Flask, admin: Browser, omar: Person) -> None:
    admin.press(admin.get("/admin/settings/recovery-codes"), "Turn on recovery codes")
    use_recovery_code(Browser(app), omar)
    page = admin.get("/admin/audit")
    assert "Recovery code typed" in page.text
    assert omar.recovery_code not in page.raw
