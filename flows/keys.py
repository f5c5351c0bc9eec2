"""Changing SECRET_KEY: what earlier keys sealed is sealed again with the newest."""

from dataclasses import dataclass
from typing import Any

from authn.events import EventKind
from authn.sealing import Purpose, Unreadable
from database import store
from flows.audit import record
from flows.transactions import Context, locked
from models import Enrollment, RecoveryCode, TotpAuthenticator, User


@dataclass
class Counts:
    """How many values are sealed, and how many of them were sealed again or opened with no key."""

    sealed: int = 0
    resealed: int = 0
    unreadable: int = 0


def reseal(context: Context) -> Counts:
    """Seal with the newest key what an earlier one sealed. Return how many values that were."""
    counts = Counts()
    with locked(context):
        for app in TotpAuthenticator.select():
            _reseal(app, TotpAuthenticator.sealed_secret, Purpose.AUTHENTICATOR, app.user, counts)
        for enrollment in Enrollment.select():
            _reseal(enrollment, Enrollment.sealed_secret, Purpose.AUTHENTICATOR, enrollment.session.user, counts)
        for code in RecoveryCode.select().where(RecoveryCode.sealed_code.is_null(False)):
            _reseal(code, RecoveryCode.sealed_code, Purpose.RECOVERY_CODE, code.user, counts)
        record(EventKind.KEYS_RESEALED, context, detail=f"{counts.resealed} values")
    return counts


def _reseal(row: Any, field: Any, purpose: Purpose, owner: User, counts: Counts) -> None:
    sealed = getattr(row, field.name)
    if sealed is None:
        return
    counts.sealed += 1
    try:
        renewed = store().keyring.renewed(bytes(sealed), purpose, owner.id)
    except Unreadable:
        counts.unreadable += 1
        return
    if not renewed:
        return
    unchanged = (type(row).id == row.id) & (field == bytes(sealed))  # it may have been erased meanwhile
    counts.resealed += int(type(row).update({field: renewed}).where(unchanged).execute())
