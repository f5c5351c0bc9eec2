"""The database: each app in its own, transactions, and what one that is not ready or fails does."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from peewee import OperationalError
from playhouse.migrations import Runner

from blueprints import access
from models import Event, Throttle, User
from tests.support import acts
from tests.support.apps import KEY, ROOT, on_postgresql, on_sqlite
from tests.support.commands import refusal, run, said
from tests.support.forms import Site, arrive
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Clock, Person, enroll, is_signed_in, sign_in
from tests.support.tables import kinds

# Two processes, two apps ----------------------------------------------------------------------------------------------


Make = Callable[..., Flask]


FORKED = """
import os
from app import create_app
app = create_app()

def backend():
    with app.app_context():
        return app.extensions["store"].database.execute_sql("SELECT pg_backend_pid()").fetchone()[0]

backend()
child = os.fork()
if child:
    os.waitpid(child, 0)
print(backend(), flush=True)
"""


@on_postgresql  # whose connections are a socket that another process would hear on, too
def test_what_was_asked_while_the_app_was_made_leaves_no_connection_to_two_workers(
    database_url: Callable[..., str],
) -> None:
    environment = {**os.environ, "FLASK_DATABASE_URL": database_url("forked"), "FLASK_SECRET_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    theirs, ours = done.stdout.split()
    assert theirs != ours


def emails(app: Flask) -> list[str]:
    with app.app_context():
        return [user.email for user in User.select().order_by(User.email)]


@pytest.mark.databases
def test_eight_threads_that_serve_two_apps_never_mix_up_their_rows(make_app: Make) -> None:
    apps = {name: make_app(name) for name in ("east", "west")}
    at_once = Barrier(8)

    def work(thread: int) -> None:
        at_once.wait()
        for turn in range(6):
            name = ("east", "west")[(thread + turn) % 2]
            with apps[name].app_context():
                acts.add(f"{thread}-{turn}@{name}.example")
                assert all(user.email.endswith(f"@{name}.example") for user in User.select())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [None] * 8
    for name, app in apps.items():
        assert emails(app) == sorted(
            f"{thread}-{turn}@{name}.example"
            for thread in range(8)
            for turn in range(6)
            if ("east", "west")[(thread + turn) % 2] == name
        )


def test_a_person_of_one_app_is_a_stranger_to_the_other(make_app: Make, make_person: Callable[..., Person]) -> None:
    east, west = make_app("east"), make_app("west")
    omar = make_person("omar@example.com", on=east)
    visitor = Browser(west)
    assert visitor.submit("/login", email=omar.email, password=omar.password).status == 422
    assert visitor.submit("/login", email=omar.email, password=omar.password).status == 422
    assert [kinds(app).count("password_wrong") for app in (east, west)] == [0, 2]
    assert sign_in(Browser(east), omar).h1 == "Security"


def test_a_context_within_a_context_has_the_database_of_its_own_app(make_app: Make) -> None:
    east, west = make_app("east"), make_app("west")
    with east.app_context():
        acts.add("omar@east.example")
        with west.app_context():
            acts.add("ines@west.example")
            with east.app_context():
                assert [user.email for user in User.select()] == ["omar@east.example"]
            assert [user.email for user in User.select()] == ["ines@west.example"]
        acts.add("maya@east.example")
    assert (emails(east), emails(west)) == (["maya@east.example", "omar@east.example"], ["ines@west.example"])


def test_outside_any_app_there_is_no_store_to_work_with(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="No store is open: work inside an app context"):
        acts.add("omar@example.com")
    with app.app_context():
        assert acts.add("omar@example.com")


# Transactions ---------------------------------------------------------------------------------------------------------


def in_a_block(database: Any) -> None:
    with database.atomic():
        User.create(email="omar@example.com", created_at=1)
        raise InterruptedError


def left_open(database: Any) -> None:
    database.begin()
    User.create(email="omar@example.com", created_at=1)
    raise InterruptedError


@on_sqlite
@pytest.mark.parametrize("interrupted", [in_a_block, left_open])
def test_a_transaction_that_an_exception_cuts_short_leaves_nothing_behind(
    app: Flask, interrupted: Callable[[Any], None]
) -> None:
    database = app.extensions["store"].database
    with pytest.raises(InterruptedError), app.app_context():
        interrupted(database)
    with app.app_context():
        assert not database.connection().in_transaction
        assert User.select().count() == 0
        assert acts.add("omar@example.com")
    assert emails(app) == ["omar@example.com"]


# Not ready ------------------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_upgraded_is_answered_for_with_503_and_serves_once_it_is(
    make_app: Make, clock: Clock, tmp_path: Path
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/fresh.db")
    browser, maya = Browser(app), Person("maya@example.com", clock)
    form = browser.open("/login")
    early = [
        browser.send(form, {"email": maya.email, "password": PASSWORD}),
        browser.open("/login/recovery"),
        browser.open("/login", method="POST"),  # without its CSRF token, which is an event
        browser.open("/healthz"),
    ]
    for answer in early:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
        assert answer.h1 == "We can't reach our records"

    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    acts.add_person(app, maya.email, now=clock.now)
    assert browser.open("/healthz").text == "ok"
    assert enroll(browser, maya).h1 == "Security"


def test_the_health_check_fails_while_a_migration_is_missing(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(app)
    database = app.extensions["store"].database
    with app.app_context():
        *_, (name,) = database.execute_sql("SELECT name FROM schema_migration ORDER BY id")
        database.execute_sql("DELETE FROM schema_migration")
    page = browser.open("/healthz")
    assert (page.status, page.headers["Retry-After"]) == (503, "30")
    assert name in caplog.text
    assert name not in page.text

    with app.app_context():
        Runner(database, str(ROOT / "migrations")).fake()
    assert (browser.open("/healthz").status, browser.open("/healthz").text) == (200, "ok")


def test_somebody_signed_in_is_told_that_the_database_is_gone_and_goes_on_when_it_is_back(
    app: Flask, omar: Person
) -> None:
    browser = Browser(app)
    sign_in(browser, omar)

    def rename(old: str, new: str) -> None:
        with app.app_context():
            app.extensions["store"].database.execute_sql(f"ALTER TABLE {old} RENAME TO {new}")

    rename("session", "elsewhere")
    assert [browser.open(path).status for path in ("/account", "/", "/login", "/nowhere")] == [503, 503, 503, 404]
    rename("elsewhere", "session")
    assert browser.open("/account").status == 200


@pytest.mark.parametrize("command", [["users", "list"], ["recovery-codes", "enable"], ["events"], ["keys", "reseal"]])
def test_a_command_on_a_database_that_is_not_upgraded_says_so_in_one_sentence(
    make_app: Make, tmp_path: Path, command: list[str]
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/fresh.db", SECRET_KEY_FALLBACKS=[KEY])
    runner = app.test_cli_runner()
    result = runner.invoke(args=command)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "run flask db upgrade" in result.stderr
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert "run flask db upgrade" not in runner.invoke(args=command).stderr


# Failing --------------------------------------------------------------------------------------------------------------


class Broken:
    """Ways to take a database away under a running app, and to give it back."""

    def __init__(self, app: Flask) -> None:
        self.app, self.database = app, app.extensions["store"].database
        self.path = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
        self.other: sqlite3.Connection | None = None
        self.whole = b""

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
        self.most_pages(pages)
        with pytest.raises(OperationalError, match="full"):
            while True:
                self.sql("INSERT INTO event VALUES (NULL, 1, 'paused', NULL, '', '', '', '', 1, NULL) RETURNING 1")

    def most_pages(self, pages: int) -> None:
        with self.app.app_context():
            self.database.pragma("max_page_count", pages, permanent=True)  # of later connections too

    def no_table(self) -> None:
        self.sql("ALTER TABLE event RENAME TO elsewhere")

    def no_file(self) -> None:
        self.database.close_all()
        self.path.rename(self.path.with_suffix(".away"))
        for left in self.path.parent.glob(f"{self.path.name}-*"):
            left.unlink()
        self.path.mkdir()

    def no_database(self) -> None:
        self._becomes(lambda whole: b"no database" * 1000)

    def malformed(self) -> None:
        self._becomes(lambda whole: whole[:4096] + b"\xff" * (len(whole) - 4096))

    def half_malformed(self) -> None:
        """Its schema can be read, and nothing else."""
        (page,) = self.sql("SELECT min(rootpage) FROM sqlite_master WHERE name IN ('user', 'session', 'throttle')")
        start = (page - 1) * 4096
        self._becomes(lambda whole: whole[:start] + b"\xff" * (len(whole) - start))

    def _becomes(self, damaged: Callable[[bytes], bytes]) -> None:
        self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.close_all()
        self.whole = self.path.read_bytes()
        self.path.write_bytes(damaged(self.whole))

    def mended(self, how: str) -> None:
        if self.other:
            self.other.execute("ROLLBACK")
            self.other.close()
        if self.whole:
            self.database.close_all()
            for left in self.path.parent.glob(f"{self.path.name}-*"):
                left.unlink()
            self.path.write_bytes(self.whole)
        elif how == "no_file":
            self.path.rmdir()
            self.path.with_suffix(".away").rename(self.path)
        elif how == "no_table":
            self.sql("ALTER TABLE elsewhere RENAME TO event")
        else:
            self.most_pages(100000)
            self.sql("PRAGMA query_only = 0")


DAMAGED = ["no_database", "malformed", "half_malformed"]
FAILING = ["login.password", "login.code", "recovery.challenge", "recovery.prompt"]


@on_sqlite
@pytest.mark.parametrize("how", ["locked", "read_only", "full", "no_table", "no_file", *DAMAGED])
@pytest.mark.parametrize("endpoint", FAILING)
def test_a_database_that_fails_lets_nobody_in_and_uses_nothing_up(site: Site, endpoint: str, how: str) -> None:
    """503 with Retry-After and no new cookie; the same form goes through once the database is back."""
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


@on_sqlite
@pytest.mark.parametrize("how", DAMAGED)
def test_a_command_on_a_damaged_database_says_so_in_one_sentence(site: Site, how: str) -> None:
    broken = Broken(site.app)
    getattr(broken, how)()
    for command in ("users list", "users unlock omar@example.com", "recovery-codes enable", "events", "demo seed"):
        assert refusal(run(site.app, *command.split())).startswith("The database can't be used ("), command
    if how != "half_malformed":  # where the migrations are all there
        assert refusal(run(site.app, "db", "upgrade")).startswith("The database can't be used (")
    assert Browser(site.app).open("/healthz").status == 503 or how == "half_malformed"
    broken.mended(how)
    assert run(site.app, "users", "list").stdout.count("\n") == 2
    assert said(run(site.app, "db", "upgrade")) == "The database is up to date."


def test_a_statement_that_is_wrong_is_not_taken_for_a_database_that_is_away(
    make_app: Make, make_person: Callable[..., Person]
) -> None:
    """It is a fault of ours, and a page and a log line say so."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)
    visit = arrive(site, "login.password")
    data, right = visit.data(), site.app.view_functions["login.password"]

    def twice() -> Any:
        return User.create(email=site.omar.email, created_at=1)

    site.app.view_functions["login.password"] = access.public(twice)
    assert visit.send(data).status == 500
    site.app.view_functions["login.password"] = right
    assert visit.send(data).status == 303


@pytest.mark.parametrize("failing", [lambda: float("nan"), lambda: 1 // 0, lambda: None], ids=["nan", "raises", "none"])
def test_a_clock_that_fails_lets_nobody_in(
    make_app: Make, make_person: Callable[..., Person], failing: Callable[[], Any]
) -> None:
    """The page says only that something broke; nothing is charged, nobody is signed in."""
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
