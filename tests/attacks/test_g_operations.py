"""What thieves of tables, operators, broken disks and old copies can bring about: dumps, keys, logs, failing databases,
admins, accounts made anew, backups, switches for tests, dependencies.

Known limits, each pinned by a test below: a restored backup brings back what it held, codes spent and sessions ended
since among it, and a change of SECRET_KEY starts the counts of failures anew."""

import re
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from peewee import OperationalError

import settings
from app import create_app
from authn import recovery_codes
from models import (
    TABLES,
    Enrollment,
    Event,
    Invitation,
    Kind,
    RecoveryCode,
    Session,
    Throttle,
    TotpAuthenticator,
    User,
)
from tests.support import acts
from tests.support.apps import CHEAP, KEY, ROOT, on_sqlite
from tests.support.commands import run, said
from tests.support.cookies import moved, signed
from tests.support.forms import FORMS, Site, arrive, bare
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, kinds, live_codes

Make = Callable[..., Flask]
NEW_KEY = "the-next-key-0123456789-abcdefghijk"


@pytest.fixture
def site(make_app: Make, make_person: Callable[..., Person]) -> Site:
    return Site(make_app, make_person)


def update(app: Flask, column: Any, value: Any, *where: Any) -> None:
    """Change a column behind the app's back, in the rows where it holds something."""
    with app.app_context():
        assert column.model.update({column: value}).where(column.is_null(False), *where).execute()


# Stolen tables --------------------------------------------------------------------------------------------------------


def test_nothing_in_a_stolen_table_opens_anything(site: Site) -> None:
    """G57, SE-1, RC-2, TO-2, PW-22. Every text in every row, tried as session, as link, as code, as password."""
    visits = [arrive(site, "account.new_recovery_code"), arrive(site, "enrollment.setup")]
    visits[0].send()
    site.omar.clock.pass_by(30)
    arrive(site, "account.welcome")
    values = {value for table in TABLES for row in site.rows(table) for value in row.values()}
    stolen = {value for value in values if isinstance(value, str) and len(value) > 5 and "/" not in value}
    assert len([value for value in stolen if re.fullmatch("[0-9a-f]{64}", value)]) >= 8, (
        "sessions, codes, links, counts"
    )
    browser = Browser(site.app)
    give_password(browser, site.omar)
    before = site.tables(Event, Throttle)
    for value in stolen:
        thief = Browser(site.app)
        thief.client.set_cookie("session", signed(site.app, value))  # as if the thief even had the key
        assert bare(thief, "/account", "GET").status_code == 303
        assert bare(thief, f"/welcome/{value}", "GET").status_code == 404
        with site.app.app_context():
            assert RecoveryCode.select().where(RecoveryCode.digest == recovery_codes.digest(value, 1)).count() == 0
        assert acts.try_password(site.app, site.omar.email, value) is None
        acts.unlock(site.app, site.omar.email)
        for path, field in (("/login/code", "code"), ("/login/recovery", "recovery_code")):
            assert browser.submit(path, **{field: value[:500]}).status == 422
    assert site.tables(Event, Throttle) == before
    assert browser.submit("/login/recovery", recovery_code=site.omar.recovery_code).h1.startswith("You're in")


def test_a_stolen_session_digest_is_not_a_token_but_the_token_is(site: Site) -> None:
    """G57, SE-1. So that the test above fails for the right reason."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    token = site.app.session_interface.get_signing_serializer(site.app).loads(browser.cookie())["token"]
    for value, status in ((site.rows(Session)[0]["token_digest"], 303), (token, 200)):
        other = Browser(site.app)
        other.client.set_cookie("session", signed(site.app, value))
        assert other.open("/account").status == status


def test_a_recovery_code_moved_to_another_person_works_for_neither(site: Site) -> None:
    """G57, RC-9. The person is part of what is digested, so a row that was moved is the digest of nothing."""
    with site.app.app_context():
        ids = {user.email: user.id for user in User.select()}
        RecoveryCode.delete().where(RecoveryCode.user == ids[site.ines.email]).execute()
        RecoveryCode.update(user=ids[site.ines.email]).where(RecoveryCode.user == ids[site.omar.email]).execute()
    for person in (site.omar, site.ines):
        page = use_recovery_code(Browser(site.app), person, site.omar.recovery_code)
        assert page.errors[0].startswith("That recovery code isn't right.")
    with site.app.app_context():
        RecoveryCode.update(user=ids[site.omar.email]).execute()
    assert use_recovery_code(Browser(site.app), site.omar).h1.startswith("You're in")


@pytest.mark.parametrize("column", [Enrollment.sealed_secret, Enrollment.sealed_code], ids=["secret", "code"])
def test_what_somebody_else_is_setting_up_does_not_open_in_my_session(site: Site, column: Any) -> None:
    """G57, TO-2, LO-6. Two people's sealed values swapped: both begin anew, nobody sees the other's."""
    browsers, people = [Browser(site.app), Browser(site.app)], []
    for number, browser in enumerate(browsers):
        people.append(site.person(f"maya{number}@example.com", enrolled=False))
        page = give_password(browser, people[-1])
        browser.submit(page, code=scan(page, people[-1]).code())
    codes = [shown_code(browser.get("/mfa/recovery-code")) for browser in browsers]
    values = [bytes(row[column.name]) for row in site.rows(Enrollment)]
    for row, value in zip(site.rows(Enrollment), reversed(values), strict=True):
        update(site.app, column, value, Enrollment.id == row["id"])
    path = "/mfa/recovery-code" if column is Enrollment.sealed_code else "/mfa/setup"
    if column is Enrollment.sealed_secret:
        update(site.app, Session.step, "enroll")
    for browser, person in zip(browsers, people, strict=True):
        page = browser.get(path)
        assert (page.path, "we've started again" in page.notice) == ("/login", True)
        assert not [code for code in codes if code in page.text]
        site.omar.clock.pass_by(30)
        assert enroll(browser, person).h1 == "Security"
    assert kinds(site.app).count(Kind.UNREADABLE) == 2


@pytest.mark.parametrize("at", [0, 11, 12, 31, 32, 47])
def test_a_bit_flipped_anywhere_in_a_sealed_secret_lets_nobody_in(site: Site, at: int) -> None:
    """G57, TO-2, LO-6. Nonce, text or tag: it fails closed and is recorded; the recovery code still works."""
    (sealed,) = [
        bytes(row["sealed_secret"]) for row in site.rows(TotpAuthenticator) if row["user"] == site.id_of(site.omar)
    ]
    assert len(sealed) == 48
    flipped = bytes(byte ^ (0x80 if place == at else 0) for place, byte in enumerate(sealed))
    update(site.app, TotpAuthenticator.sealed_secret, flipped, TotpAuthenticator.user == site.id_of(site.omar))
    browser = Browser(site.app)
    give_password(browser, site.omar)
    page = browser.submit("/login/code", code=site.omar.code())
    assert page.errors[0].startswith("That code didn't match.")
    assert not is_signed_in(browser)
    assert kinds(site.app)[-2:] == [Kind.UNREADABLE, Kind.CODE_WRONG]
    assert browser.submit("/login/recovery", recovery_code=site.omar.recovery_code).h1.startswith("You're in")


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "dev", "secret", "changeme", "x" * 31, "SECRET_KEY"])
def test_a_guessable_key_does_not_start_and_none_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    """G58, AD-6, SE-15. Too short is refused; none at all makes each instance its own, and no file here holds one."""
    monkeypatch.setenv("FLASK_SECRET_KEY", key)
    if key:
        with pytest.raises(settings.ConfigurationError, match="SECRET_KEY must be at least 32"):
            settings.load({}, tmp_path)
        monkeypatch.setenv("FLASK_SECRET_KEY", "")
    keys = [settings.load({}, tmp_path / name)["SECRET_KEY"] for name in ("one", "two")]
    assert keys[0] != keys[1]
    assert min(map(len, keys)) >= 64
    assert "instance" in (ROOT / ".gitignore").read_text()


def sealed_everywhere(site: Site) -> dict[str, Any]:
    """Omar has an app and a code not saved yet, Maya is at the prompt, Rosa at setup: all that is ever sealed."""
    arrive(site, "account.new_recovery_code").send()
    arrive(site, "recovery.prompt")
    give_password(Browser(site.app), site.person("rosa@example.com", enrolled=False))
    return sealed_values(site.app)


def sealed_values(app: Flask) -> dict[str, Any]:
    with app.app_context():
        return {
            "apps": {row.id: bytes(row.sealed_secret) for row in TotpAuthenticator.select()},
            "setups": {row.id: (bytes(row.sealed_secret), row.sealed_code) for row in Enrollment.select()},
            "codes": {row.id: bytes(row.sealed_code) for row in RecoveryCode.select() if row.sealed_code},
        }


def test_after_resealing_the_new_key_alone_opens_everything(site: Site, make_app: Make, clock: Clock) -> None:
    """G58, AD-6, SE-15. Until then the old one is needed beside it; the command says when that one may go."""
    before = sealed_everywhere(site)
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY], RECOVERY_CODES_ENABLED=True)
    alone = make_app("site", SECRET_KEY=NEW_KEY, RECOVERY_CODES_ENABLED=True)

    early = Browser(alone)
    give_password(early, site.omar)
    clock.pass_by(30)
    assert early.submit("/login/code", code=site.omar.code()).status == 422, "not yet"
    result = run(both, "keys", "reseal")
    assert said(result) == (
        "Resealed 6 values; the earlier keys may go on 1 December 2026, 01:00 UTC, with the last session."
    )
    after = sealed_values(both)
    assert [len(part) for part in after.values()] == [2, 2, 1]
    assert all(after[part][ident] != before[part][ident] for part in after for ident in after[part])
    assert kinds(both)[-1] == Kind.KEYS_RESEALED
    assert said(run(both, "keys", "reseal")).startswith("Resealed 0 values;")
    assert sealed_values(both) == after

    clock.pass_by(30)
    late = Browser(alone)
    assert sign_in(late, site.omar).h1 == "Security"
    assert shown_code(late.get("/mfa/recovery-code")) != site.omar.recovery_code
    assert said(run(alone, "keys", "reseal")).startswith("Resealed 0 values;")


def test_a_session_lives_on_its_old_key_until_the_day_the_command_names(
    site: Site, make_app: Make, clock: Clock
) -> None:
    """G58, SE-15. Rotation signs nobody out, and the old key is of no use to a session that is older than a day."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY], RECOVERY_CODES_ENABLED=True)
    alone = make_app("site", SECRET_KEY=NEW_KEY, RECOVERY_CODES_ENABLED=True)
    said(run(both, "keys", "reseal"))
    on_both = moved(browser, both)
    for _ in range(47):
        clock.pass_by(1800)
        assert is_signed_in(on_both)
    assert not is_signed_in(moved(on_both, alone))
    clock.pass_by(1800)
    assert not is_signed_in(on_both)


@pytest.mark.parametrize("fallbacks", [[], [NEW_KEY], [KEY]], ids=["none", "another wrong one", "the old one"])
def test_a_recovery_code_survives_any_change_of_key(site: Site, make_app: Make, fallbacks: list[str]) -> None:
    """G58, RC-1. It is no key's affair, so a lost key locks out nobody who saved a code."""
    changed = make_app("site", SECRET_KEY="another-key-altogether-0123456789", SECRET_KEY_FALLBACKS=fallbacks)
    browser = Browser(changed)
    page = use_recovery_code(browser, site.omar)
    assert page.h1.startswith("You're in")
    page = browser.submit(save_new_code(browser, page, site.omar), still_have="no")
    page = browser.submit("/mfa/setup", code=scan(page, site.omar).code())
    assert page.h1 == "Security"


def test_a_wrong_key_fails_closed_is_recorded_and_is_told_by_the_command(site: Site, make_app: Make, clock) -> None:
    """G58, G60, TO-2, LO-6, AD-6. What no key opens lets nobody in and is not thrown away; the right key mends it."""
    before = sealed_everywhere(site)
    wrong = make_app("site", SECRET_KEY=NEW_KEY)
    clock.pass_by(30)
    browser = Browser(wrong)
    give_password(browser, site.omar)
    assert browser.submit("/login/code", code=site.omar.code()).errors[0].startswith("That code didn't match.")
    assert not is_signed_in(browser)
    assert Kind.UNREADABLE in kinds(wrong)
    result = run(wrong, "keys", "reseal")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: 6 values can't be opened with any key; put the key back they need.\n"
    assert sealed_values(wrong) == before
    assert sign_in(Browser(site.app), site.omar).h1 == "Security"


def test_a_new_key_starts_the_counts_of_failures_anew(site: Site, make_app: Make) -> None:
    """G58, TH-1. The documented limit: counts lie under keyed hashes; only the operator changes the key."""
    for _ in range(5):
        Browser(site.app).submit("/login", email=site.omar.email, password="a guess")
    assert give_password(Browser(site.app), site.omar).status == 429
    rotated = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY])
    assert give_password(Browser(rotated), site.omar).h1 == "Enter your code"
    assert "counts of failures start anew" in " ".join((ROOT / "README.md").read_text().split())


# Logs -----------------------------------------------------------------------------------------------------------------


def test_no_number_of_strangers_fills_the_table_of_counts(make_app: Make, clock: Clock) -> None:
    """G59, TH-7. One address makes no more rows than its limit in a quarter of an hour, and sign-ins sweep them up."""
    app = make_app("flooded", ADDRESS_LIMIT=20)
    browser = Browser(app)
    data = browser.open("/login").form_with("email").fields
    for number in range(60):
        bare(browser, "/login", "POST", data={**data, "email": f"n{number}@example.com", "password": "a guess"})
    assert count(app, Throttle) == 21
    for number in range(60):
        browser.address = f"2001:db8::{number:x}"  # one household
        bare(browser, "/login", "POST", data={**data, "email": f"m{number}@example.com", "password": "a guess"})
    assert count(app, Throttle) == 42
    clock.pass_by(31 * 86400)
    acts.sweep_counts(app)
    assert count(app, Throttle) == 0


def test_a_password_typed_as_an_address_is_kept_nowhere(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """G59, LO-3, LO-4. People do; so what is no account's address is in no row and no line, not even in a pause."""
    caplog.set_level("DEBUG")
    typed = ["my-secret-pass@word", "my-secret-pass", "my\r\nsecret\x1b[31m-pass@word", "MY-SECRET-PASS@WORD"]
    for address in [*typed, *[typed[0]] * 6]:
        Browser(site.app).submit("/login", email=address, password=PASSWORD)
    lines = [record.getMessage() for record in caplog.records if record.name != "peewee"]
    assert len(lines) >= 7
    for place in (repr(site.tables()), "\n".join(lines)):
        assert not re.search("my.{0,12}secret.{0,12}pass", place, re.IGNORECASE)
    assert site.omar.email in repr(site.tables())


# Failing --------------------------------------------------------------------------------------------------------------


class Broken:
    """Ways to take a database away under a running app, and to give it back."""

    def __init__(self, app: Flask) -> None:
        self.app, self.database = app, app.extensions["store"].database
        self.path = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
        self.other: sqlite3.Connection | None = None

    def sql(self, text: str) -> Any:
        with self.app.app_context():
            return self.database.execute_sql(text).fetchone()

    def locked(self) -> None:
        self.other = sqlite3.connect(self.path, isolation_level=None)
        self.other.execute("BEGIN IMMEDIATE")
        self.sql("PRAGMA busy_timeout = 1")

    def read_only(self) -> None:
        self.sql("PRAGMA query_only = 1")

    def full(self) -> None:
        (pages,) = self.sql("PRAGMA page_count")
        self.sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OperationalError, match="full"):
            while True:
                self.sql("INSERT INTO event VALUES (NULL, 1, 'paused', NULL, '', '', '', '') RETURNING 1")

    def no_table(self) -> None:
        self.sql("ALTER TABLE event RENAME TO elsewhere")

    def no_file(self) -> None:
        self.database.close_all()
        self.path.rename(self.path.with_suffix(".away"))
        for left in self.path.parent.glob(f"{self.path.name}-*"):
            left.unlink()
        self.path.mkdir()

    def mended(self, how: str) -> None:
        if self.other:
            self.other.execute("ROLLBACK")
            self.other.close()
        if how == "no_file":
            self.path.rmdir()
            self.path.with_suffix(".away").rename(self.path)
        elif how == "no_table":
            self.sql("ALTER TABLE elsewhere RENAME TO event")
        else:
            self.sql("PRAGMA max_page_count = 100000")
            self.sql("PRAGMA query_only = 0")


FAILING = ["login.password", "login.code", "recovery.challenge", "recovery.prompt"]


@on_sqlite
@pytest.mark.parametrize("how", ["locked", "read_only", "full", "no_table", "no_file"])
@pytest.mark.parametrize("endpoint", FAILING)
def test_a_database_that_fails_lets_nobody_in_and_uses_nothing_up(site: Site, endpoint: str, how: str) -> None:
    """G60, WEB-19. 503 with Retry-After and no new cookie; the same form goes through once the database is back."""
    visit = arrive(site, endpoint)
    data, broken = visit.data(), Broken(site.app)
    signed_in, before, cookie = is_signed_in(visit.browser), site.tables(Event, Throttle), visit.browser.cookie()
    getattr(broken, how)()
    answer = visit.send(data)
    broken.mended(how)
    assert (answer.status, answer.headers["Retry-After"], answer.h1) == (503, "30", "We can't reach our records")
    assert "Set-Cookie" not in answer.headers
    assert visit.browser.cookie() == cookie
    assert site.tables(Event, Throttle) == before
    assert is_signed_in(visit.browser) == signed_in
    assert visit.send(data).status == 303


@pytest.mark.parametrize("failing", [lambda: float("nan"), lambda: 1 // 0, lambda: None], ids=["nan", "raises", "none"])
def test_a_clock_that_fails_lets_nobody_in(
    make_app: Make, make_person: Callable[..., Person], failing: Callable[[], Any]
) -> None:
    """G60, WEB-19. The page says only that something broke; nothing is charged, nobody is signed in."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)
    visit = arrive(site, "login.password")
    data, before, right = visit.data(), site.tables(), site.app.config["CLOCK"]
    site.app.config["CLOCK"] = failing
    answer = visit.send(data)
    site.app.config["CLOCK"] = right
    assert (answer.status, answer.h1) == (500, "Something broke on our side")
    assert "Set-Cookie" not in answer.headers
    assert site.tables() == before
    assert visit.send(data).status == 303


@pytest.mark.parametrize("hash_", ["junk", "$argon2id$v=19$m=8,t=1,p=1$cut", "$2b$12$" + "x" * 53, PASSWORD, "*"])
def test_a_hash_that_cannot_be_read_is_nobodys_password(
    make_app: Make, make_person: Callable[..., Person], hash_: str
) -> None:
    """G60, PW-12, WEB-19. The verifier fails, and nobody is let in by that: not even who types the text of the hash."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)
    right = next(row["password_hash"] for row in site.rows(User) if row["email"] == site.omar.email)
    update(site.app, User.password_hash, hash_, User.email == site.omar.email)
    for typed in (PASSWORD, hash_):
        page = Browser(site.app).submit("/login", email=site.omar.email, password=typed)
        assert page.status in (422, 500)
    assert count(site.app, Session) == 0
    update(site.app, User.password_hash, right, User.email == site.omar.email)
    assert give_password(Browser(site.app), site.omar).h1 == "Enter your code"


# Admins ---------------------------------------------------------------------------------------------------------------

ADMIN_PAGES = [
    ("/admin/people", "GET"),
    ("/admin/settings", "GET"),
    ("/admin/audit", "GET"),
    ("/admin/settings/recovery-codes", "POST"),
    *[(f"/admin/people/{{id}}/{act}", "POST") for act in ("reset-mfa", "invite", "promote", "demote", "deactivate")],
]


@pytest.mark.parametrize(("path", "method"), ADMIN_PAGES)
def test_a_demoted_admin_is_refused_at_the_next_request(site: Site, path: str, method: str) -> None:
    """G61, AD-1, AD-5. In the session that was an admin's a moment ago, step-up and form included."""
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
    """G61, AD-4. Neither a new one, nor one whose app was reset while the password step was done."""
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
    """G61, RA-2. A session left open for ten minutes changes nobody; a recovery sign-in does not count either."""
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


def test_an_admin_cannot_get_around_an_own_reset_or_be_the_last_to_leave(site: Site) -> None:
    """G61, RC-17. Not by the form, not by leaving out a page; the command line keeps the last one too."""
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
    """G61, AD-2. Pages and commands about people hold no code, key, hash or token but the link that is handed over."""
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


def test_no_command_takes_a_secret_that_would_stay_in_the_shells_history(site: Site) -> None:
    """G61. Passwords are asked for or read from standard input; only the demo's phone takes a setup key."""

    def walk(command: click.Command, path: str = "") -> list[str]:
        if isinstance(command, click.Group):
            return [found for name, sub in command.commands.items() for found in walk(sub, f"{path} {name}")]
        return [
            f"{path} {option}"
            for parameter in command.params
            if not (isinstance(parameter, click.Option) and parameter.is_flag)
            for option in parameter.opts
        ]

    taken = walk(site.app.cli)
    assert " users create email" in taken
    suspicious = [
        name for name in taken if re.search("pass|secret|code |key|token", name.removeprefix(" recovery-codes"))
    ]
    assert set(suspicious) - {" demo code email"} == {" demo code --key"}


# Made anew ------------------------------------------------------------------------------------------------------------


def test_an_account_made_anew_has_nothing_of_the_one_that_was_removed(site: Site, clock: Clock) -> None:
    """G62, SE-11, RC-9. Same address, perhaps the same id: sessions, codes, links and pauses are dead."""
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


def test_a_known_browser_of_a_removed_account_is_a_stranger_to_the_new_one(site: Site, clock: Clock) -> None:
    """G62, TH-7. It spends tries from the budget of strangers, even where the new account has the old one's id."""
    rosa = site.person("rosa@example.com")
    known = Browser(site.app)
    known.press(sign_in(known, rosa), "Sign out")
    mark = known.cookie("known-browser")

    def buckets() -> set[bool]:
        known.submit("/login", email=rosa.email, password="a guess")
        counted = [row["key"] for row in site.rows(Throttle) if row["key"].startswith("password:") and row["failures"]]
        return {key.endswith(":") for key in counted}

    assert buckets() == {False}, "its own"
    acts.remove_person(site.app, rosa.email)
    clock.pass_by(1)
    site.person(rosa.email)
    with site.app.app_context():
        Throttle.delete().execute()
    assert known.cookie("known-browser") == mark
    assert buckets() == {True}, "the strangers'"


# Restored -------------------------------------------------------------------------------------------------------------


def backup(app: Flask, to: Path) -> None:
    with closing(sqlite3.connect(to)) as copy, app.app_context():
        app.extensions["store"].database.connection().backup(copy)


def restore(app: Flask, copy: Path) -> None:
    path = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
    app.extensions["store"].database.close_all()
    for left in path.parent.glob(f"{path.name}-*"):
        left.unlink()
    shutil.copy(copy, path)


@on_sqlite
def test_a_restored_backup_brings_back_what_it_held(site: Site, clock: Clock, tmp_path: Path) -> None:
    """G63. The documented limit: codes spent, sessions ended and passwords changed since it was made come back with it,
    so whoever restores one has to reset the people who did any of that. A six-digit code does not: its time is over."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    copy, code, used = browser.copy(), site.omar.recovery_code, site.omar.code()
    backup(site.app, tmp_path / "backup.db")

    browser.press(browser.get("/account"), "Sign out")
    recovering = Browser(site.app)
    page = save_new_code(recovering, use_recovery_code(recovering, site.omar), site.omar)
    recovering.submit(page, still_have="yes")
    new_code = site.omar.recovery_code
    assert not is_signed_in(copy)
    assert "was used on" in use_recovery_code(Browser(site.app), site.omar, code).errors[0]
    clock.pass_by(90)

    restore(site.app, tmp_path / "backup.db")
    assert is_signed_in(copy), "a session that was ended"
    assert use_recovery_code(Browser(site.app), site.omar, new_code).errors[0].startswith("That recovery code isn't")
    again = Browser(site.app)
    give_password(again, site.omar)
    assert again.submit("/login/code", code=used).status == 422
    assert use_recovery_code(Browser(site.app), site.omar, code).h1.startswith("You're in"), "a code that was spent"
    assert "Restoring a backup brings back what it holds" in (ROOT / "SECURITY.md").read_text()


@on_sqlite
def test_a_reset_after_restoring_ends_all_that_came_back(site: Site, clock: Clock, tmp_path: Path) -> None:
    """G63, RC-17. What the operator does about it, one command a person."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    copy, code = browser.copy(), site.omar.recovery_code
    backup(site.app, tmp_path / "backup.db")
    browser.press(browser.get("/account"), "Sign out")
    restore(site.app, tmp_path / "backup.db")
    assert is_signed_in(copy)
    link = said_link(site.app, "users", "reset-mfa", site.omar.email)
    assert not is_signed_in(copy)
    assert give_password(Browser(site.app), site.omar).status == 422
    owner = Browser(site.app)
    owner.submit(link, new_password=NEW_PASSWORD)
    site.omar.password = NEW_PASSWORD
    assert live_codes(site.app) == 1  # Ines'
    page = enroll(owner, site.omar)
    assert page.h1 == "Security"
    clock.pass_by(30)
    assert use_recovery_code(Browser(site.app), site.omar, code).errors[0].endswith("when your sign-in was reset.")


def said_link(app: Flask, *command: str) -> str:
    result = run(app, *command)
    assert result.exit_code == 0, result.output
    return str(result.stdout.split()[-1].removeprefix("http://localhost:5000"))


# Switches for tests and the demo --------------------------------------------------------------------------------------

PRODUCTION = {"SECRET_KEY": KEY, "SITE_URL": "https://app.test"}
SWITCHES = {
    "WTF_CSRF_ENABLED": False,
    "WTF_CSRF_CHECK_DEFAULT": False,
    "LOGIN_DISABLED": True,
    "SESSION_COOKIE_SECURE": False,
    "PROPAGATE_EXCEPTIONS": True,
    "DEBUG": True,
    "MAX_CONTENT_LENGTH": None,
    "SECRET": "x",
}


@pytest.mark.parametrize("key", SWITCHES)
def test_a_real_site_does_not_start_with_a_switch_of_tests(tmp_path: Path, key: str) -> None:
    """G64, WEB-20. Nor with anything else that is no setting; only a test says that it is one, and in code alone."""
    given = {**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path}/real.db", key: SWITCHES[key]}
    for more in ({}, {"TESTING": False}, {"TESTING": "true"}, {"TESTING": 1}):
        with pytest.raises(settings.ConfigurationError, match="is not a setting"):
            create_app({**given, **more})
    assert create_app({**given, "TESTING": True}).testing


def test_the_environment_switches_no_protection_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """G64, WEB-1, WEB-13. With every one of them set, tokens, limits and secure cookies are as they were."""
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


@pytest.mark.parametrize("site_url", ["https://app.test", "http://localhost"])
def test_nothing_of_the_demo_is_there_without_it(make_app: Make, site_url: str, clock: Clock) -> None:
    """G64, PW-20. No phone, no people, no known password, no banner; and on a real address the demo does not start."""
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


def test_a_cheap_hash_and_a_clock_of_ones_own_are_for_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G64, PW-13, TO-8. A real site refuses the first, and takes the second from code alone."""
    given = {**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path}/real.db"}
    with pytest.raises(settings.ConfigurationError, match="PASSWORD_HASH_COST is too cheap"):
        create_app({**given, "PASSWORD_HASH_COST": CHEAP})
    assert create_app({**given, "PASSWORD_HASH_COST": CHEAP, "TESTING": True}).config["PASSWORD_HASH_COST"].rounds == 1
    for name, value in (("PASSWORD_HASH_COST", CHEAP), ("CLOCK", "1")):
        monkeypatch.setenv(f"FLASK_{name}", value)
    with pytest.raises(settings.ConfigurationError, match="PASSWORD_HASH_COST is too cheap"):
        create_app(given)
    monkeypatch.delenv("FLASK_PASSWORD_HASH_COST")
    assert create_app(given).config["CLOCK"]() > 1_700_000_000


# Dependencies ---------------------------------------------------------------------------------------------------------


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Every package of a lock file, with its hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        requirement = Requirement(line.partition("--hash")[0].strip())
        found[canonicalize_name(requirement.name)] = (requirement, re.findall(r"--hash=(\S+)", line))
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_one_version_with_its_hashes_and_the_one_that_runs(name: str) -> None:
    """G65. No range, no address, no other index; what pyproject.toml asks for is in it, and what is installed is it."""
    packages = locked(name)
    assert len(packages) >= 20
    for package, (requirement, hashes) in packages.items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], package
        assert requirement.url is None
        assert hashes, package
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), package
        if name == "requirements-dev.txt" and (requirement.marker is None or requirement.marker.evaluate()):
            assert requirement.specifier.contains(version(package)), package
    assert not re.search("https?://|--index|--extra-index|--find-links|-e ", (ROOT / name).read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    if name == "requirements-dev.txt":
        wanted += project["optional-dependencies"]["dev"]
    for text in wanted:
        requirement = Requirement(text)
        pinned = packages[canonicalize_name(requirement.name)][0]
        assert all(requirement.specifier.contains(specifier.version) for specifier in pinned.specifier), text


def test_tests_run_what_production_runs() -> None:
    """G65. Whatever both lock files name, they name in the same version; and hashes are demanded when installing."""
    real, dev = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: str(real[name][0].specifier) for name in real} == {name: str(dev[name][0].specifier) for name in real}
    assert "--require-hashes" in (ROOT / "Makefile").read_text()
