"""The record of what happened. It decides nothing: leave a line out and nothing else changes."""

import json
import logging

from blinker import Signal

from database import store
from flows.transactions import Context
from models import Event, EventKind, User

log = logging.getLogger("sparekey.events")

recorded = Signal()  # sent with event=, the app's store as sender, once an event is committed

_PORTION = 10_000  # rows deleted in one transaction, so that sign-ins go on meanwhile


def record(kind: EventKind, context: Context, user: User | None = None, detail: str = "") -> None:
    """Write the event, and one log line once it is committed: JSON, in which nothing can break the line."""
    event = Event.create(
        at=context.now,
        kind=kind,
        user=user,
        actor=context.actor,
        remote_addr=context.remote_addr,
        user_agent=context.user_agent,
        detail=detail,
    )
    sender = store()

    def tell() -> None:
        log.info(json.dumps(event.facts()))
        for receiver in recorded.receivers_for(sender):
            try:
                receiver(sender, event=event)
            except Exception:  # a receiver may be anybody's code, and the event is committed already
                log.exception("a receiver of recorded events failed")

    sender.database.after_commit(tell)


def prune(days: int, context: Context) -> int:
    """Delete what happened more than so many days ago. Return how many events that was."""
    old, pruned = Event.select(Event.id).where(Event.at < context.now - days * 86400).limit(_PORTION), 0
    while portion := Event.delete().where(Event.id.in_(old)).execute():
        pruned += portion
    record(EventKind.EVENTS_PRUNED, context, detail=f"{pruned} events")
    return pruned
