"""Where rows live: each app in its own database, the schema there, and what a database that is not ready does."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from peewee import IntegrityError
from playhouse.migrations import Runner

from models import TABLES, Event, RecoveryCode, User
from tests.support import acts
from tests.support.apps import KEY, ROOT, on_sqlite
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Clock, Person, enroll, sign_in
from tests.support.races import at_once
from tests.support.tables import count

Make = Callable[..., Flask]


def emails(app: Flask) -> list[str]:
    with app.app_context():
        return [user.email for user in User.select().order_by(User.email)]


# Two apps in one process ----------------------------------------------------------------------------------------------


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
    assert [count(app, Event, Event.kind == "password_wrong") for app in (east, west)] == [0, 2]
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


# The schema -----------------------------------------------------------------------------------------------------------


def schema(path: Path) -> dict[str, Any]:
    """Every table and index as SQLite keeps it, but for the record of the migrations themselves."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT name, type, tbl_name, sql FROM sqlite_master WHERE tbl_name != 'schema_migration'"
        ).fetchall()
        columns = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name, *_ in found}
    connection.close()
    return {name: (*rest, columns[name]) for name, *rest in found}


def test_the_migrations_make_the_tables_that_the_models_describe(
    make_app: Make, migrated: Path, tmp_path: Path
) -> None:
    described = tmp_path / "described.db"
    app = make_app(DATABASE_URL=f"sqlite:///{described}")
    with app.app_context():
        app.extensions["store"].database.create_tables(TABLES)
    assert {table._meta.table_name for table in TABLES} <= schema(migrated).keys()
    assert schema(migrated) == schema(described)


@pytest.mark.parametrize("saved_at", [1, None], ids=["saved", "unsaved"])
def test_a_person_has_at_most_one_saved_and_one_unsaved_live_code(
    app: Flask, maya: Person, omar: Person, saved_at: int | None
) -> None:
    digests = (f"{number:064x}" for number in range(100))

    def another(person: Person, saved_at: int | None = saved_at) -> RecoveryCode:
        user = User.get(User.email == person.email)
        return RecoveryCode.create(user=user, digest=next(digests), created_at=1, saved_at=saved_at)

    with app.app_context():
        RecoveryCode.delete().execute()
        first = another(maya)
        another(omar)
        another(maya, None if saved_at else 1)
        with pytest.raises(IntegrityError):
            another(maya)
        RecoveryCode.update(retired_at=2, retired_by="replaced").where(RecoveryCode.id == first.id).execute()
        another(maya)
        assert RecoveryCode.live(User.get(User.email == maya.email)).count() == 2


# A database that is not ready -----------------------------------------------------------------------------------------


def test_of_four_upgrades_at_once_one_applies_the_migrations_and_all_succeed(
    make_app: Make, database_url: Callable[..., str]
) -> None:
    url = database_url("fresh", tables=False)
    script = "import app, sys; from flask.cli import main; print('ready', flush=True); sys.stdin.readline(); main()"
    upgrades = [
        subprocess.Popen(
            [sys.executable, "-c", script, "--app", "app", "db", "upgrade"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "FLASK_SECRET_KEY": KEY, "FLASK_DATABASE_URL": url},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for upgrade in upgrades:
        assert upgrade.stdout and upgrade.stdout.readline() == "ready\n"
    said = sorted(at_once([partial(upgrade.communicate, "go\n") for upgrade in upgrades]))
    names = sorted(path.stem for path in (ROOT / "migrations").glob("*.py"))
    assert said == [(f"Applied {', '.join(names)}.\n", ""), *[("The database is up to date.\n", "")] * 3]
    assert [upgrade.returncode for upgrade in upgrades] == [0] * 4
    app = make_app(DATABASE_URL=url)
    with app.app_context():
        recorded = app.extensions["store"].database.execute_sql("SELECT name FROM schema_migration ORDER BY name")
        assert [name for (name,) in recorded] == names


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
        ((name,),) = database.execute_sql("SELECT name FROM schema_migration")
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
    runner = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/fresh.db").test_cli_runner()
    result = runner.invoke(args=command)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "run flask db upgrade" in result.stderr
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert runner.invoke(args=command).exit_code == 0
