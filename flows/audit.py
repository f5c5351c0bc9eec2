"""The record of what happened. It decides nothing: leave a line out and nothing else changes."""

import json
import logging
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from blinker import Signal

from authn.events import REPEATABLE, EventKind
from authn.throttle import network
from database import store
from flows.transactions import Context
from models import Event, User
from statements import compiled

log = logging.getLogger("sparekey.events")

recorded = Signal()  # sent with event=, the app's store as sender, once an event is committed

# Of a row that is written, in this order.
_COLUMNS = [
    *(Event.at, Event.kind, Event.user, Event.actor),
    *(Event.remote_addr, Event.user_agent, Event.detail, Event.hour_key),
]
_PORTION = 10_000  # rows deleted in one transaction, so that sign-ins go on meanwhile


def record(kind: EventKind, context: Context, user: User | None = None, detail: str = "") -> None:
    """Write the event, and one log line once it is committed: JSON, in which nothing can break the line. Equal ones
    that can be repeated at will are one row an hour, with a count."""
    row = _row(kind, context, user, detail)
    event = Event(**row)
    event.id, event.count = _write({**row, "hour_key": _hour_key(event) if kind in REPEATABLE else None})
    _tell(event)


def record_each(kind: EventKind, context: Context, people: list[User]) -> None:
    """Write the same event about each of these people, in one statement. It is for what cannot be repeated at will."""
    rows = [_row(kind, context, user, "") for user in people]
    written = Event.insert_many(rows).returning(Event.id, Event.user).tuples().execute()
    idents = {user_id: ident for ident, user_id in written}
    for row, user in zip(rows, people, strict=True):
        _tell(Event(id=idents[user.id], **row))


def _row(kind: EventKind, context: Context, user: User | None, detail: str) -> dict[str, Any]:
    return {
        "at": context.now,
        "kind": kind,
        "user": user,
        "actor": context.actor,
        "remote_addr": context.remote_addr,
        "user_agent": context.user_agent,
        "detail": detail,
    }


def _tell(event: Event) -> None:
    """Tell the log and every receiver of the event, once it is committed."""
    sender = store()

    def tell() -> None:
        log.info(json.dumps(facts(event)))
        for receiver in recorded.receivers_for(sender):
            try:
                receiver(sender, event=event)
            except Exception:  # a receiver may be anybody's code, and the event is committed already
                log.exception("a receiver of recorded events failed")

    sender.database.after_commit(tell)


def _write(row: dict[str, Any]) -> tuple[int, int]:
    """Insert the row, or count one more where its hour_key is. Return its id and its count.

    PostgreSQL waits here for whoever has just written the same row. No two wait for each other: inside a flow the lock
    of the person, whom hour_key names, comes first; without that lock an event is the last word of its transaction."""
    user: User | None = row["user"]
    ((ident, count),) = _insert_or_count(*{**row, "user": user.id if user else None}.values())
    return ident, count


@compiled
def _insert_or_count(*values: Any) -> Any:
    one_more = {Event.count: Event.count + 1}
    written = Event.insert_many([values], _COLUMNS).on_conflict(conflict_target=[Event.hour_key], update=one_more)
    return written.returning(Event.id, Event.count).tuples()


def _hour_key(event: Event) -> str:
    """Return a digest of what equal events of one hour have in common."""
    about = event.user.id if event.user else None
    common = (event.at // 3600, event.kind, about, event.actor, event.detail, network(event.remote_addr))
    return sha256("\0".join(map(str, common)).encode()).hexdigest()


def facts(event: Event) -> dict[str, str | int | None]:
    """Return the event as a log line tells it."""
    return {
        "at": datetime.fromtimestamp(event.at, UTC).isoformat(),
        "event": event.kind,
        "user": event.user.email if event.user else None,
        "by": event.actor,
        "from": event.remote_addr,
        "browser": event.user_agent,
        "detail": event.detail,
        "count": event.count,
    }


def prune(days: int, context: Context) -> int:
    """Delete what happened more than so many days ago. Return how many events that was."""
    old, pruned = Event.select(Event.id).where(Event.at < context.now - days * 86400).limit(_PORTION), 0
    while portion := Event.delete().where(Event.id.in_(old)).execute():
        pruned += portion
    record(EventKind.EVENTS_PRUNED, context, detail=f"{pruned} events")
    return pruned
