"""What happens to a recovery code between being made and being retired, as parts of flows; and the switch for all."""

from typing import Any

from authn import recovery_codes
from authn.events import EventKind
from authn.refusals import FixedByConfiguration, Refusal, Retirement
from authn.sealing import Purpose
from database import store
from flows.audit import record
from flows.transactions import Context, locked, within_transaction
from models import RecoveryCode, Session, Setting, User, recovery_codes_are_fixed, recovery_codes_are_on

_SHOWN_NO_MORE: dict[Any, Any] = {RecoveryCode.session: None, RecoveryCode.sealed_code: None}


class CodesAreOff(Exception):
    """Recovery codes are off. Nothing was changed."""


def switch(on: bool, context: Context) -> Refusal | None:
    """Turn recovery codes on or off, in every worker at its next request. Codes are kept, and unspent ones work again
    when they are turned on. Refuse where the configuration decides."""
    if recovery_codes_are_fixed():
        return FixedByConfiguration()
    changed = {Setting.value: "on" if on else "off", Setting.changed_at: context.now, Setting.changed_by: context.actor}
    with locked(context):
        row = Setting.insert({Setting.key: Setting.RECOVERY_CODES, **changed})
        row.on_conflict(conflict_target=[Setting.key], update=changed).execute()
        record(EventKind.RECOVERY_CODES_ENABLED if on else EventKind.RECOVERY_CODES_DISABLED, context)
    return None


@within_transaction
def require_on() -> None:
    """Raise CodesAreOff when the flag is off at this moment."""
    if not recovery_codes_are_on():
        raise CodesAreOff


@within_transaction
def is_due(user: User) -> bool:
    """Return whether the person must save a recovery code before the sign-in is finished."""
    return not user.has_saved_code() and recovery_codes_are_on()


@within_transaction
def issue(session: Session, context: Context) -> RecoveryCode:
    """Return a new code for this session to show, in place of the one it showed. It works for nothing before it is
    saved; until then the saved one there may be goes on working."""
    code, user = recovery_codes.generate(), session.user
    hide(session)
    record(EventKind.RECOVERY_CODE_MADE, context, user)
    made: RecoveryCode = RecoveryCode.create(
        user=user,
        session=session,
        digest=recovery_codes.digest(code, user.id),
        sealed_code=store().keyring.seal(code.encode(), Purpose.RECOVERY_CODE, user.id),
        created_at=context.now,
    )
    return made


@within_transaction
def hide(session: Session) -> None:
    """Forget the code that the session shows. It never worked, and from now on is told as one that was not saved."""
    RecoveryCode.update(_SHOWN_NO_MORE).where(RecoveryCode.session == session).execute()


@within_transaction
def confirm(code: RecoveryCode, context: Context) -> None:
    """Note that the person has saved this code. The plain text is erased and every other code retired."""
    retire((RecoveryCode.user == code.user) & (RecoveryCode.id != code.id), Retirement.REPLACED, context)
    saved = {RecoveryCode.saved_at: context.now, **_SHOWN_NO_MORE}
    RecoveryCode.update(saved).where(RecoveryCode.id == code.id).execute()
    record(EventKind.RECOVERY_CODE_SAVED, context, code.user)


@within_transaction
def spend(session: Session, context: Context) -> bool:
    """Use up the code that this session claimed, and have the person told. Return whether it still could be."""
    if not retire(RecoveryCode.claimed_by == session, Retirement.SPENT, context):
        return False
    notice = {User.recovery_used_at: context.now, User.recovery_used_from: context.remote_addr}
    User.update(notice).where(User.id == session.user.id).execute()
    record(EventKind.RECOVERY_CODE_SPENT, context, session.user)
    return True


@within_transaction
def retire(which: Any, how: Retirement, context: Context) -> int:
    """Let these codes stop working. Return how many were live or shown."""
    retired = {RecoveryCode.retired_at: context.now, RecoveryCode.retired_by: how, **_SHOWN_NO_MORE}
    return int(RecoveryCode.update(retired).where(which, RecoveryCode.retired_at.is_null()).execute())


@within_transaction
def release(which: Any) -> None:
    """Free the codes that these sessions claimed, and forget those that they show: the sessions are about to end."""
    sessions = Session.select(Session.id).where(which)
    RecoveryCode.update(claimed_by=None).where(RecoveryCode.claimed_by.in_(sessions)).execute()
    RecoveryCode.update(_SHOWN_NO_MORE).where(RecoveryCode.session.in_(sessions)).execute()
