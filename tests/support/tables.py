"""What the database holds."""

from typing import Any

from flask import Flask

from models import Event, RecoveryCode, Throttle


def count(app: Flask, table: Any, *where: Any) -> int:
    with app.app_context():
        return int(table.select().where(*where).count() if where else table.select().count())


def rows(app: Flask, table: Any) -> list[dict[str, Any]]:
    with app.app_context():
        return list(table.select().dicts())


def kinds(app: Flask) -> list[str]:
    """What happened, oldest first."""
    with app.app_context():
        return [event.kind for event in Event.select().order_by(Event.id)]


def live_codes(app: Flask) -> int:
    return count(app, RecoveryCode, RecoveryCode.retired_at.is_null())


def forget_failures(app: Flask) -> None:
    """The losers of a round have made tries; the next round begins without them."""
    with app.app_context():
        Throttle.delete().execute()
