"""Changing SECRET_KEY: what earlier keys sealed is sealed again with the newest."""

from typing import Any

from authn.sealing import Purpose, Unreadable
from database import store
from flows.audit import record
from flows.transactions import Context, locked
from models import Enrollment, EventKind, RecoveryCode, TotpAuthenticator, User


def reseal(context: Context) -> tuple[int, int]:
    """Seal with the newest key what an earlier one sealed. Return how many were resealed and how
    many could not be opened."""
    counts = [0, 0]
    with locked(context):
        for app in TotpAuthenticator.select():
            _reseal(app, TotpAuthenticator.sealed_secret, Purpose.AUTHENTICATOR, app.user, counts)
        for enrollment in Enrollment.select():
            _reseal(enrollment, Enrollment.sealed_secret, Purpose.AUTHENTICATOR, enrollment.session.user, counts)
        for code in RecoveryCode.select().where(RecoveryCode.sealed_code.is_null(False)):
            _reseal(code, RecoveryCode.sealed_code, Purpose.RECOVERY_CODE, code.user, counts)
        record(EventKind.KEYS_RESEALED, context, detail=f"{counts[0]} values")
    return counts[0], counts[1]


def _reseal(row: Any, field: Any, purpose: Purpose, owner: User, counts: list[int]) -> None:
    sealed = getattr(row, field.name)
    try:
        renewed = sealed and store().keyring.renewed(bytes(sealed), purpose, owner.id)
    except Unreadable:
        counts[1] += 1
        return
    if not renewed:
        return
    unchanged = (type(row).id == row.id) & (field == bytes(sealed))  # it may have been erased meanwhile
    counts[0] += int(type(row).update({field: renewed}).where(unchanged).execute())
