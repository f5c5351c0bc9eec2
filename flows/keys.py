"""Changing SECRET_KEY: what earlier keys sealed is sealed again with the newest."""

from dataclasses import dataclass
from typing import Any

from authn.events import EventKind
from authn.sealing import Purpose, Unreadable
from database import store
from flows.audit import record
from flows.transactions import Context, locked, within_transaction
from models import Enrollment, RecoveryCode, Session, TotpAuthenticator, User

_PORTION = 100  # people in one transaction, so that they and others sign in meanwhile


@dataclass
class Counts:
    """How many values are sealed, and how many of them were sealed again or opened with no key."""

    sealed: int = 0
    resealed: int = 0
    unreadable: int = 0


def reseal(context: Context) -> Counts:
    """Seal with the newest key what an earlier one sealed, while the site runs. Return how many values that were. When
    it is cut off, those whose turn has been stay as they are, and it can be run again."""
    counts, after = Counts(), 0
    while people := list(User.select().where(User.id > after).order_by(User.id).limit(_PORTION)):
        with locked(context, *people):
            _reseal_all_of(people, counts)
        after = people[-1].id
    record(EventKind.KEYS_RESEALED, context, detail=f"{counts.resealed} values")
    return counts


@within_transaction
def _reseal_all_of(people: list[User], counts: Counts) -> None:
    for app in TotpAuthenticator.select(TotpAuthenticator, User).join(User).where(User.id.in_(people)):
        _reseal(app, TotpAuthenticator.sealed_secret, Purpose.AUTHENTICATOR, app.user.id, counts)
    for enrollment in Enrollment.select(Enrollment, Session, User).join(Session).join(User).where(User.id.in_(people)):
        _reseal(enrollment, Enrollment.sealed_secret, Purpose.AUTHENTICATOR, enrollment.session.user.id, counts)
    shown = RecoveryCode.sealed_code.is_null(False)
    for code in RecoveryCode.select(RecoveryCode, User).join(User).where(User.id.in_(people), shown):
        _reseal(code, RecoveryCode.sealed_code, Purpose.RECOVERY_CODE, code.user.id, counts)


def _reseal(row: Any, field: Any, purpose: Purpose, owner: int, counts: Counts) -> None:
    counts.sealed += 1
    try:
        renewed = store().keyring.renewed(bytes(getattr(row, field.name)), purpose, owner)
    except Unreadable:
        counts.unreadable += 1
        return
    if renewed:
        counts.resealed += type(row).update({field: renewed}).where(type(row).id == row.id).execute()
