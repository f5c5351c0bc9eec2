"""The admin pages about people: who may open them, what each act does, and that it is logged with who did it."""

import re

import pytest
from flask import Flask

from authn.events import EventKind
from models import Event, Invitation, RecoveryCode, Session, Setting, Throttle, User
from tests.support import acts
from tests.support.commands import run
from tests.support.forms import FORMS, Site, arrive
from tests.support.pages import Browser, Page, masked, words
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, ids, rows

# Who may --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(make_app) -> Flask:
    """The switch decides, and starts off."""
    return make_app()


@pytest.fixture
def admin(app: Flask, ines: Person) -> Browser:
    browser = Browser(app)
    sign_in(browser, ines)
    return browser


ROUTES = [
    ("GET", "/admin/people"),
    ("GET", "/admin/people/{id}/reset-mfa"),
    ("POST", "/admin/people/{id}/reset-mfa"),
    ("POST", "/admin/people/{id}/invite"),
    *[(method, f"/admin/people/{act}") for act in ("new", "{id}/groups") for method in ("GET", "POST")],
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
    assert "You're signed in as omar@example.com, who may not open it." in page.text
    assert (rows(app, User), rows(app, Setting)) == before
    page = admin.open(path, method=method, data=admin.get("/account").forms[0].fields if method == "POST" else None)
    assert page.status in (200, 303, 422) or "yourself" in page.h1, "422: a field that is needed is missing"


ADMIN_PAGES = [
    ("/admin/people", "GET"),
    ("/admin/settings", "GET"),
    ("/admin/audit", "GET"),
    ("/admin/settings/recovery-codes", "POST"),
    *[(f"/admin/people/{{id}}/{act}", "POST") for act in ("reset-mfa", "invite", "promote", "demote", "deactivate")],
]


@pytest.mark.parametrize(("path", "method"), ADMIN_PAGES)
def test_a_demoted_admin_is_refused_at_the_next_request(site: Site, path: str, method: str) -> None:
    """In the session that was an admin's a moment ago, step-up and form included."""
    browser, path = Browser(site.app), path.format(id=site.id_of(site.omar))
    data = {"csrf_token": sign_in(browser, site.ines).forms[0].fields["csrf_token"], "turn": "off"}
    site.person("rosa@example.com", admin=True)
    assert browser.open("/admin/people").status == 200
    assert acts.remove_admin(site.app, site.ines.email)
    before = site.tables()
    answer = browser.open(path, method, data=data if method == "POST" else None)
    assert (answer.status, answer.h1) == (403, "You can't open this page")
    assert site.tables() == before
    acts.make_admin(site.app, site.ines.email)
    assert browser.open(path, method, data=data if method == "POST" else None).status in (200, 303)


def test_an_admin_without_an_app_reaches_no_admin_page(site: Site) -> None:
    """Neither a new one, nor one whose app was reset while the password step was done."""
    root = site.person("root@example.com", enrolled=False, admin=True)
    browser = Browser(site.app)
    page = give_password(browser, root)
    token = page.forms[0].fields["csrf_token"]
    for path, method in ADMIN_PAGES:
        answer = browser.open(path.format(id=1), method, data={"csrf_token": token} if method == "POST" else None)
        assert (answer.status, answer.headers["Location"]) == (303, "/mfa/setup")
    browser.submit(page, code=scan(page, root).code())
    page = browser.get("/mfa/recovery-code")
    assert browser.open("/admin/people").headers["Location"] == "/mfa/recovery-code"
    save_new_code(browser, page, root)
    assert browser.open("/admin/people").status == 200


@pytest.mark.parametrize("endpoint", [name for name in FORMS if name.startswith("admin.")])
def test_an_admin_act_asks_again_who_it_is(site: Site, clock: Clock, endpoint: str) -> None:
    """A session left open for ten minutes changes nobody; a recovery sign-in does not count either."""
    visit = arrive(site, endpoint)
    data = visit.data()
    clock.pass_by(601)
    before = site.tables()
    assert visit.send(data).headers["Location"].startswith("/verify?next=")
    assert site.tables() == before

    recovered = Browser(site.app)
    save_new_code(recovered, use_recovery_code(recovered, site.ines), site.ines)
    recovered.submit("/mfa/lost-device", still_have="yes")
    data_there = {**data, "csrf_token": recovered.get("/account").forms[0].fields["csrf_token"]}
    before = site.tables()
    answer = recovered.open(visit.path, "POST", data=data_there)
    assert answer.headers["Location"].startswith("/verify?next=")
    assert site.tables() == before

    visit.browser.submit("/verify", password=PASSWORD, code=site.ines.code())
    token = visit.browser.get("/account").forms[0].fields["csrf_token"]
    assert visit.send({**data, "csrf_token": token}).status in (200, 303)


def test_only_admins_learn_which_people_there_are(site: Site) -> None:
    """For others an id that is somebody's is refused like one that is nobody's."""
    browser = Browser(site.app)
    data = {"csrf_token": sign_in(browser, site.omar).forms[0].fields["csrf_token"]}
    for act, method in (("reset-mfa", "GET"), ("reset-mfa", "POST"), ("invite", "POST"), ("demote", "POST")):
        paths = [f"/admin/people/{ident}/{act}" for ident in (site.id_of(site.ines), 9999)]
        pages = [browser.open(path, method, data=data if method == "POST" else None) for path in paths]
        assert [page.status for page in pages] == [403, 403]
        assert masked(pages[0]) == masked(pages[1])
        admin = Browser(site.app)
        site.ines.clock.pass_by(30)
        sign_in(admin, site.ines)
    assert [admin.open(f"/admin/people/{ident}/reset-mfa").status for ident in (site.id_of(site.omar), 9999)] == [
        200,
        404,
    ]


# What they do ---------------------------------------------------------------------------------------------------------


def row_of(page: Page, email: str) -> str:

    return next(words(row) for row in page.all("tr") if email in words(row))


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


def press_in_row(browser: Browser, email: str, label: str) -> Page:
    page = browser.get("/admin/people")
    row = next(row for row in page.all("tr") if email in "".join(row.itertext()))
    forms = [page.form_of(form) for form in row.iter("form")]
    form = next(form for form in forms if label in form.buttons)
    return browser.follow(browser.open(form.action, method="POST", data=form.fields))


def test_letting_somebody_try_again(app: Flask, admin: Browser, omar: Person) -> None:
    stranger = Browser(app)
    for _ in range(5):
        stranger.submit("/login", email=omar.email, password="wrong")
    assert give_password(stranger, omar).status == 429
    assert "Paused until 30 November 2026, 01:00 UTC" in row_of(admin.get("/admin/people"), omar.email)
    assert press_in_row(admin, omar.email, "Let them try again").notice == "They can try again now."
    assert give_password(stranger, omar).h1 == "Enter your code"
    assert count(app, Throttle, Throttle.key.startswith("password"), Throttle.failures > 0) == 0


def test_deactivating_ends_sessions_at_once_and_activating_lets_in_again(
    app: Flask, admin: Browser, omar: Person, clock
) -> None:
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


@pytest.mark.parametrize("act", ["invite", "reset-mfa"])
def test_reloading_the_page_with_a_link_leaves_the_link_that_was_just_handed_over(
    app: Flask, admin: Browser, omar: Person, act: str
) -> None:
    """A browser sends the same form again."""
    path = f"/admin/people/{ids(app)[omar.email]}/{act}"
    page = admin.get("/admin/people" if act == "invite" else path)
    form = next(form for form in page.forms if form.action == path)
    typed = {**form.fields, **({"reason": "in person"} if act == "reset-mfa" else {})}
    shown = [admin.open(path, method="POST", data=typed).text_of("link") for _ in range(2)]
    for link in shown:
        assert Browser(app).get(link.removeprefix("http://localhost:5000")).h1 == "Choose your password"


def test_an_admin_cannot_get_around_an_own_reset_or_be_the_last_to_leave(site: Site) -> None:
    """Not by the form, not by leaving out a page; the command line keeps the last one too."""
    browser, ident = Browser(site.app), site.id_of(site.ines)
    data = {"csrf_token": sign_in(browser, site.ines).forms[0].fields["csrf_token"], "reason": "mine"}
    before = site.tables(Event)
    assert browser.open(f"/admin/people/{ident}/reset-mfa", "POST", data=data).status == 403
    for act in ("demote", "deactivate"):
        answer = browser.open(f"/admin/people/{ident}/{act}", "POST", data=data)
        assert answer.headers["Location"] == "/admin/people?notice=last-admin"
    assert run(site.app, "users", "deactivate", site.ines.email).exit_code == 1
    assert site.tables(Event) == before
    rosa = site.person("rosa@example.com", admin=True)
    assert run(site.app, "users", "deactivate", site.ines.email).exit_code == 0
    assert not is_signed_in(browser)
    assert run(site.app, "users", "deactivate", rosa.email).exit_code == 1


def test_an_admin_sees_no_secret_and_no_way_to_act_as_somebody(site: Site) -> None:
    """Pages and commands about people hold no code, key, hash or token but the link that is handed over."""
    arrive(site, "account.new_recovery_code").send()
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    pages = [admin.get(path).raw for path in ("/admin/people", "/admin/audit", "/admin/settings")]
    commands = [("users", "list"), ("users", "list", "--json"), ("events",), ("events", "--json")]
    shown = "\n".join([*pages, *(run(site.app, *command).stdout for command in commands)])
    tables = [User, Session, RecoveryCode, Invitation]
    held = [value for table in tables for row in site.rows(table) for value in row.values()]
    secrets = [value for value in held if isinstance(value, str) and len(value) >= 60]
    assert len(secrets) >= 6
    assert [value for value in [*secrets, site.omar.recovery_code, site.omar.code(), PASSWORD] if value in shown] == []
    assert site.omar.email in shown
    assert not re.search("impersonate|sign in as|act as", shown, re.IGNORECASE)


# What they see --------------------------------------------------------------------------------------------------------


@pytest.mark.databases
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
    assert count(app, Event, Event.kind == EventKind.SIGNED_IN) == 0
    sign_in(admin := Browser(app), ines)
    assert "30 November 2026, 01:01 UTC" in row_of(admin.get("/admin/people"), omar.email)


@pytest.mark.databases
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


# Made anew ------------------------------------------------------------------------------------------------------------


def test_an_account_made_anew_has_nothing_of_the_one_that_was_removed(site: Site, clock: Clock) -> None:
    """Same address, perhaps the same id: sessions, codes, links and pauses are dead."""
    full, half, recovering = Browser(site.app), Browser(site.app), Browser(site.app)
    sign_in(full, site.omar)
    old_code, old_secret = site.omar.recovery_code, site.omar.secret
    give_password(half, site.omar)
    half_form = half.get("/login/code")
    use_recovery_code(recovering, site.omar)
    recovery_form = recovering.get("/mfa/recovery-code")
    old_link = acts.invite(site.app, site.omar.email)
    for _ in range(5):
        Browser(site.app).submit("/login", email=site.omar.email, password="a guess")
    assert give_password(Browser(site.app), site.omar).status == 429
    clock.pass_by(7)
    acts.remove_person(site.app, site.omar.email)
    with site.app.app_context():
        assert {row.user for row in Event.select()} >= {None}
    anew = site.person(site.omar.email)
    assert not is_signed_in(full)
    for browser, form, typed in (
        (half, half_form, {"code": Person(anew.email, clock, old_secret).code()}),
        (recovering, recovery_form, {"saved": "yes"}),
    ):
        assert browser.follow(browser.send(form, typed)).h1 == "Sign in"
    assert Browser(site.app).open(old_link).status == 404
    browser = Browser(site.app)
    assert give_password(browser, anew).h1 == "Enter your code"
    assert browser.submit("/login/code", code=Person(anew.email, clock, old_secret).code()).status == 422
    assert browser.submit("/login/recovery", recovery_code=old_code).errors[0].startswith("That recovery code isn't")
    assert browser.submit("/login/code", code=anew.code()).h1 == "Security"
    assert "a guess" not in browser.get("/account/activity").text
    assert "Recovery code" not in browser.get("/account/activity").text
