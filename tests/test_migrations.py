"""The schema: the migrations make it, once, whoever runs them at one moment."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from peewee import IntegrityError

from models import TABLES, RecoveryCode, Session, User
from tests.support.apps import KEY, ROOT
from tests.support.pages import Browser
from tests.support.people import Person, give_password
from tests.support.races import at_once
from tests.support.tables import known_of

Make = Callable[..., Flask]


def schema(path: Path) -> dict[str, Any]:
    """Every table with its columns, and every index, but for the record of the migrations themselves."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%schema_migration%' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        columns = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name, _ in found}
        keys = {name: connection.execute(f"PRAGMA foreign_key_list({name})").fetchall() for name, _ in found}
        keys = {name: sorted(key[2:] for key in listed) for name, listed in keys.items()}
    connection.close()
    return {
        name: (sorted(column[1:4] + column[5:] for column in columns[name]), keys[name]) if columns[name] else sql
        for name, sql in found
    }


def test_the_migrations_make_the_tables_that_the_models_describe(
    make_app: Make, migrated: Path, tmp_path: Path
) -> None:
    described = tmp_path / "described.db"
    app = make_app(DATABASE_URL=f"sqlite:///{described}")
    with app.app_context():
        app.extensions["store"].database.create_tables(TABLES)
    assert {known_of(table).table_name for table in TABLES} <= schema(migrated).keys()
    assert schema(migrated) == schema(described)


def test_no_id_is_given_twice(migrated: Path) -> None:
    with sqlite3.connect(migrated) as connection:
        keyed = connection.execute("SELECT sql FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%\"id\"%'").fetchall()
    connection.close()
    assert len(keyed) == 9
    assert sum("AUTOINCREMENT" in sql for (sql,) in keyed) == 8  # but for the record of the migrations


@pytest.mark.databases
def test_a_person_has_at_most_one_saved_live_code_and_a_session_shows_at_most_one(
    app: Flask, maya: Person, omar: Person
) -> None:
    digests = (f"{number:064x}" for number in range(100))

    def another(person: Person, **columns: Any) -> RecoveryCode:
        user = User.get(User.email == person.email)
        return RecoveryCode.create(user=user, digest=next(digests), created_at=1, **columns)

    for browser in (Browser(app), Browser(app)):
        give_password(browser, omar)
    with app.app_context():
        RecoveryCode.delete().execute()
        one, other = Session.select()
        first, shown = another(maya, saved_at=1), another(omar, session=one)
        another(omar, saved_at=1)
        another(omar, session=other)
        for columns in ({"saved_at": 1}, {"session": one}):
            with pytest.raises(IntegrityError):
                another(maya, **columns)
        RecoveryCode.update(retired_at=2).where(RecoveryCode.id == first.id).execute()
        RecoveryCode.update(session=None).where(RecoveryCode.id == shown.id).execute()
        another(maya, saved_at=1)
        another(omar, session=one)


@pytest.mark.databases
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
    out, err = zip(*at_once([partial(upgrade.communicate, "go\n") for upgrade in upgrades]), strict=True)
    names = sorted(path.stem for path in (ROOT / "migrations").glob("*.py"))
    assert sorted(out) == [f"Applied {', '.join(names)}.\n", *["The database is up to date.\n"] * 3]
    assert {text.count("\n") for text in err} == {1}, "the name of the database"
    assert [upgrade.returncode for upgrade in upgrades] == [0] * 4
    app = make_app(DATABASE_URL=url)
    with app.app_context():
        recorded = app.extensions["store"].database.execute_sql("SELECT name FROM schema_migration ORDER BY name")
        assert [name for (name,) in recorded] == names
