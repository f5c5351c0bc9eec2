"""Everybody here, as admins see them. It only reads."""

from dataclasses import dataclass
from itertools import product
from typing import Any

from peewee import fn

from authn.throttle import EVERY_LIMIT, KNOWN, Paused
from models import Enrollment, RecoveryCode, Session, Throttle, TotpAuthenticator, User, fingerprint


@dataclass(frozen=True)
class Person:
    """Somebody as admins see them."""

    id: int
    email: str
    is_admin: bool
    is_active: bool
    groups: str
    is_enrolled: bool
    is_enrolling: bool
    key_count: int
    has_saved_code: bool
    has_unsaved_code: bool
    last_sign_in_at: int | None
    is_paused: bool
    paused_until: int | None  # None while paused: until an admin acts

    @classmethod
    def page(cls, now: int, after: str, size: int) -> "list[Person]":
        """Return people in the order of their addresses, those after this one. Indexes serve it, however many there
        are."""
        facts = User.id, User.email, User.is_admin, User.is_active, User.groups, User.last_sign_in_at, User.key_count
        people = User.select(
            *facts,
            fn.EXISTS(TotpAuthenticator.select().where(TotpAuthenticator.user == User.id)).alias("is_enrolled"),
            fn.EXISTS(Enrollment.select().join(Session).where(Session.user == User.id)).alias("is_enrolling"),
            fn.EXISTS(RecoveryCode.saved(User.id)).alias("has_saved_code"),
            fn.EXISTS(RecoveryCode.unsaved(User.id)).alias("has_unsaved_code"),
        )
        found: Any = people.where(User.email > after).order_by(User.email).limit(size).dicts()
        rows = list(found)
        paused = pauses([row["email"] for row in rows], now)
        return [cls(**row, is_paused=row["email"] in paused, paused_until=paused.get(row["email"])) for row in rows]


def pauses(emails: list[str], now: int) -> dict[str, int | None]:
    """Return for whom tries are paused, of strangers or of all known browsers, and until when. None means: until an
    admin acts."""
    limits = {}
    for email, limit in product(emails, EVERY_LIMIT):
        limits[Throttle.key_of(limit, fingerprint(email))] = email, limit
        limits[Throttle.key_of(limit, fingerprint(email), KNOWN)] = email, limit.of_known_browsers()
    paused: dict[str, int | None] = {}
    for row in Throttle.select().where(Throttle.key.in_(list(limits))):
        email, limit = limits[row.key]
        try:
            limit.check(row.count, now)
        except Paused as pause:
            ends = pause.until, paused.get(email, 0)
            paused[email] = None if None in ends else max(ends)  # type: ignore[type-var]
    return paused
