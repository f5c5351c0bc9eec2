"""How sessions are deleted, whatever ends them, and the sweep of those that have expired."""

from typing import Any

from authn import clocks
from authn.steps import Step
from database import store
from flows import codes, throttle
from flows.transactions import for_update, within_transaction
from models import Session, User


@within_transaction
def delete(which: Any) -> int:
    """Delete sessions, after what they hold of recovery codes. Return how many that were."""
    codes.release(which)
    return int(Session.delete().where(which).execute())


def sweep(now: int) -> None:
    """Delete what has expired, whosever it is, in a transaction of its own. People whom another request is alone with
    are left to the next sweep: sessions end only under the lock of their person."""
    settings = store().settings
    longest = max(settings["SIGN_IN_SECONDS"], settings["ENROLLMENT_SECONDS"])
    unfinished = (Session.step != Step.SIGNED_IN) & _is_over(Session.step_at, longest, now)
    idle = _is_over(Session.last_seen_at, settings["SESSION_IDLE_SECONDS"], now)
    old = _is_over(Session.created_at, settings["SESSION_LIFETIME_SECONDS"], now)
    expired = unfinished | ((Session.step == Step.SIGNED_IN) & (idle | old))
    with store().database.atomic():
        theirs = User.select(User.id).where(User.id.in_(Session.select(Session.user).where(expired)))
        people = [user.id for user in for_update(theirs.order_by(User.id), " SKIP LOCKED")]
        if people:
            delete(expired & Session.user.in_(people))
        throttle.sweep(now)


def _is_over(since: Any, seconds: int, now: int) -> Any:
    earliest, latest = clocks.bounds(seconds, now)
    return (since < earliest) | (since > latest)  # which indexes serve, as they do not serve what is not between
