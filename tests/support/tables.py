"""What the database holds."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from models import TABLES, Event, RecoveryCode, Throttle, User
from tests.support.people import Person


def known_of(table: Any) -> Any:
    """What Peewee knows of a table: its name, its columns."""
    return table._meta


def count(app: Flask, table: Any, *where: Any) -> int:
    with app.app_context():
        return int(table.select().where(*where).count() if where else table.select().count())


def rows(app: Flask, table: Any) -> list[dict[str, Any]]:
    with app.app_context():
        return list(table.select().order_by(table._meta.primary_key).dicts())  # which PostgreSQL does not by itself


def kinds(app: Flask) -> list[str]:
    """What happened, oldest first; what was repeated within an hour stands together."""
    with app.app_context():
        return [event.kind for event in Event.select().order_by(Event.id) for _ in range(event.count)]


def live_codes(app: Flask) -> int:
    return count(app, RecoveryCode, RecoveryCode.saved_at.is_null(False), RecoveryCode.retired_at.is_null())


def forget_failures(app: Flask) -> None:
    """The losers of a round have made tries; the next round begins without them."""
    with app.app_context():
        Throttle.delete().execute()


def everything(app: Flask) -> dict[str, list[dict[str, Any]]]:
    return {table.__name__: rows(app, table) for table in TABLES}


def statements(caplog: pytest.LogCaptureFixture, act: Callable[[], Any]) -> list[str]:
    """What the database was asked meanwhile, without the values."""
    with caplog.at_level(logging.DEBUG, "peewee"):
        caplog.clear()
        act()
        return [str(record.msg[0]) for record in caplog.records if record.name == "peewee"]  # type: ignore[index]


def secret_of(person: Person) -> bytes | None:
    """What the app holds that now opens this account."""
    return User.get(User.email == person.email).authenticator().secret()


def update(app: Flask, column: Any, value: Any, *where: Any) -> None:
    """Change a column behind the app's back, in the rows where it holds something."""
    with app.app_context():
        assert column.model.update({column: value}).where(column.is_null(False), *where).execute()


def ids(app: Flask) -> dict[str, int]:
    return {row["email"]: row["id"] for row in rows(app, User)}
