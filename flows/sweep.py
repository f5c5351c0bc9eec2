"""How sessions are deleted, whatever ends them, and the sweep of those that have expired."""

from functools import reduce
from operator import or_
from typing import Any

from authn import clocks
from authn.steps import Step
from database import store
from flows import codes, throttle
from flows.transactions import for_update, within_transaction
from models import Session, User

UNFINISHED = [step for step in Step if step is not Step.SIGNED_IN]


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
    signed_in = Session.step == Step.SIGNED_IN
    expired = reduce(
        or_,
        [
            *_over(Session.step.in_(UNFINISHED), Session.step_at, longest, now),
            *_over(signed_in, Session.last_seen_at, settings["SESSION_IDLE_SECONDS"], now),
            *_over(signed_in, Session.created_at, settings["SESSION_LIFETIME_SECONDS"], now),
        ],
    )
    with store().database.atomic():
        theirs = User.select(User.id).where(User.id.in_(Session.select(Session.user).where(expired)))
        people = [user.id for user in for_update(theirs.order_by(User.id), " SKIP LOCKED")]
        if people:
            delete(expired & Session.user.in_(people))
        throttle.sweep(now)


def _over(steps: Any, since: Any, seconds: int, now: int) -> list[Any]:
    """Return the two conditions that a session at these steps is over. Each of them is a range of an index."""
    earliest, latest = clocks.bounds(seconds, now)
    return [steps & (since < earliest), steps & (since > latest)]
