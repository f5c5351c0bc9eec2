"""How a flow is alone with a person. It must not know what the flow does there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from database import store
from models import Session, User
from statements import compiled

P = ParamSpec("P")
R = TypeVar("R")


class Superseded(Exception):
    """Another request has changed what this one had read: the session, the person, or the admin's role. Nothing was
    changed."""


@dataclass(frozen=True)
class Context:
    """Who asks, when, and from where."""

    now: int  # seconds UTC
    remote_addr: str = ""
    user_agent: str = ""
    actor: str = ""  # who acts when it is not the person: an admin's address, "the command line"
    admin_id: int | None = None  # the id of that admin
    admin_session: int | None = None  # and of the session in which the admin asks
    form: str = ""  # what tells the admin's form from every other: the same one is sent again when a page is reloaded
    # The id of this browser if the account of an address knows it: asked only where a try is counted.
    known_browser: Callable[[str], str] = lambda _email: ""


@contextmanager
def locked(context: Context, *people: User, every_admin: bool = False) -> Iterator[None]:
    """Open a transaction that is the only one about these people, and about every admin where asked.

    Every flow that decides by what it reads of somebody's sessions, app or codes runs in one. Raise Superseded when one
    of them has been removed, or when the admin who asks is none any more or signed in no longer."""
    with store().database.atomic():
        needed = {person.id for person in people} | ({context.admin_id} if context.admin_id else set())
        # They are locked in the order of their ids, so that none deadlock.
        found = dict((_lock_with_admins if every_admin else _lock)(sorted(needed))) if needed or every_admin else {}
        if not needed <= found.keys() or not found.get(context.admin_id, True):
            raise Superseded
        if context.admin_session and not Session.is_there(context.admin_session):
            raise Superseded
        yield


@compiled
def _lock(ids: list[int]) -> Any:
    return _locked_where(User.id.in_(ids))


@compiled
def _lock_with_admins(ids: list[int]) -> Any:
    return _locked_where(User.id.in_(ids) | User.is_admin)


def _locked_where(which: Any) -> Any:
    rows = User.select(User.id, User.is_admin & User.is_active).where(which)
    return for_update(rows.order_by(User.id).tuples())


def for_update(rows: Any, how: str = "") -> Any:
    """Select the rows so that nobody else changes them before the transaction ends. SQLite has one writer anyway."""
    return rows.for_update(f"FOR NO KEY UPDATE{how}") if store().database.for_update else rows


def within_transaction(part: Callable[P, R]) -> Callable[P, R]:
    """Mark a part of a flow: all that it does is done together with the rest. Raise RuntimeError where no transaction
    is open."""

    @wraps(part)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not store().database.in_transaction():
            raise RuntimeError(f"{part.__qualname__} is a part of a flow: call it inside locked(...).")
        return part(*args, **kwargs)

    return checked
