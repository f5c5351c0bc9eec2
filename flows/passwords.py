"""Passwords: compared at an equal price for known, unknown and inactive addresses, and set."""

from contextlib import AbstractContextManager
from typing import Any

from authn.events import EventKind
from authn.links import LinkPurpose
from authn.throttle import FORGOTTEN, PASSWORD, network
from database import store
from flows import throttle
from flows.audit import record
from flows.transactions import Context, within_transaction
from models import Invitation, User


def check_password(email: str, password: str, context: Context) -> User | None:
    """Return the active person with this folded address and password, after charging a try; None when there is none.

    Unknown, wrong and inactive cost the same: one charge, one look-up, one hash. Raise Paused when no try may be made,
    and TooBusy, with nothing charged, when too many passwords are being checked."""
    with _queued(context), throttle.charged(PASSWORD, email, context) as charge:
        user, matches = _compare(email, password)
        if not (matches and user):
            charge.is_deserved = True
            record(EventKind.PASSWORD_WRONG, context, user)
            return None
        throttle.take_back(charge, lambda: record(EventKind.PASSWORD_RIGHT, context, user))
        return user


def hash_password(password: str, context: Context) -> str:
    """Return what is stored of a new password. Raise TooBusy when too many passwords are being hashed."""
    with _queued(context):
        return store().policy.hash(password)


@within_transaction
def has_kept_password(user: User) -> bool:
    """Return whether the person is active and has the password that they had when it was compared."""
    return bool(User.select().where(_as_compared(user)).exists())


@within_transaction
def set_password(user: User, password_hash: str, context: Context) -> None:
    """Store the hash of a new password. Links are void, and so is what was told and counted of the old one."""
    user.password_hash, user.password_changed_at = password_hash, context.now
    user.save(only=[User.password_hash, User.password_changed_at])
    forget_guesses(user)
    Invitation.delete().where(Invitation.user == user, Invitation.used_at.is_null()).execute()
    throttle.forget((PASSWORD, FORGOTTEN), user.email)
    record(EventKind.PASSWORD_CHANGED, context, user)


@within_transaction
def drop_forgotten_links(user: User) -> None:
    """Let no link work that the person asked for by mail. Those of admins stay."""
    Invitation.delete().where(Invitation.user == user, Invitation.purpose == LinkPurpose.FORGOT).execute()


@within_transaction
def forget_guesses(user: User) -> None:
    """Let go of the notice that somebody who knows the password guesses six-digit codes."""
    User.update(wrong_codes=0, wrong_codes_since=None).where(User.id == user.id).execute()


def _queued(context: Context) -> AbstractContextManager[None]:
    return store().policy.queued(network(context.remote_addr))


def _compare(email: str, password: str) -> tuple[User | None, bool]:
    """Return who has this address, and whether it is their password. A hash of another cost is renewed. When another
    request has renewed it meanwhile, the password is compared with that one."""
    while True:
        user = User.find(email)
        stored = user.password_hash if user and user.is_active else None
        matches, renewed = store().policy.verify(password, stored)
        if not (matches and user and renewed):
            return user, matches
        if User.update(password_hash=renewed).where(_as_compared(user)).execute():
            user.password_hash = renewed
            return user, True


def _as_compared(user: User) -> Any:
    return (User.id == user.id) & (User.password_hash == user.password_hash) & User.is_active
