"""The recovery code in a sign-in: claimed when it is typed, spent when its replacement is saved, and then the question
about the lost device. And the other ways to the prompt."""

from typing import Any

from authn import clocks, recovery_codes
from authn.events import EventKind
from authn.refusals import (
    CodeInUse,
    MalformedCode,
    OtherCode,
    Refusal,
    RetiredCode,
    Retirement,
    UnsavedCode,
    WrongRecoveryCode,
)
from authn.steps import Cause, SecondFactor, Step
from authn.throttle import RECOVERY_CODE
from database import store
from flows import codes, enrollment, security_keys, sessions, throttle
from flows.audit import record
from flows.transactions import Context, Superseded
from models import Enrollment, RecoveryCode, Session, User, recovery_codes_are_on
from statements import compiled

_EVENTS = {Cause.DEVICE_KEPT: EventKind.DEVICE_KEPT, Cause.DEVICE_LATER: EventKind.DEVICE_MISSING}


def claim(session: Session, typed: str, context: Context) -> Refusal | None:
    """Set the typed code aside for this unfinished sign-in, which goes on to the prompt to save a replacement.

    The code is spent only when the replacement is saved, so a sign-in that is cut off costs nothing. A double click
    claims it twice and is not an error. A code that is malformed is not a try. Raise Paused when no try may be made,
    CodesAreOff when the flag is off."""
    user, code = session.user, recovery_codes.read(typed)
    if isinstance(code, MalformedCode):
        throttle.check(RECOVERY_CODE, user.email, context)
        return code
    digest = recovery_codes.digest(code, user.id)
    with throttle.charged(RECOVERY_CODE, user.email, context) as charge, sessions.locked_session(session, context):
        codes.require_on()
        if not _claim(session, digest, context):
            charge.is_deserved = True
            return _refuse(user, digest, context)
        charge.refund()
        if session.step == Step.REPLACE_CODE:  # the first half of a double click has been here
            return None
        record(EventKind.RECOVERY_CODE_CLAIMED, context, user)
        sessions.move_on(session, Cause.RECOVERY_CODE, context, second_factor=SecondFactor.RECOVERY)
    return None


def code_to_save(session: Session, context: Context) -> RecoveryCode | None:
    """Return the code that this session is to save, made now if one is due and none was shown yet: reload and Back
    show the same. Return None when there is nothing to save. Raise CodesAreOff when the flag is off."""
    if found := RecoveryCode.shown_in(session, context.now):
        return found
    if not session.is_due_a_code(context.now):
        return None
    with sessions.locked_session(session, context):
        codes.require_on()
        return RecoveryCode.shown_in(session, context.now) or codes.issue(session, context)


def save_code(session: Session, shown: str, context: Context) -> Refusal | None:
    """Confirm that the code with the digest `shown` is saved, and do what waited for it: complete the enrollment, spend
    the code that this sign-in claimed, or sign in. Raise CodesAreOff when the flag is off."""
    with sessions.locked_session(session, context):
        codes.require_on()
        code = RecoveryCode.shown_in(session, context.now)
        if code is None or code.digest != shown:
            return OtherCode()
        if waiting := session.confirmed_enrollment(context.now):
            enrollment.complete(session, waiting, Cause.CODE_SAVED, context, code)
            return None
        if session.step == Step.REPLACE_CODE and not codes.spend(session, context):
            raise Superseded
        codes.confirm(code, context)
        sessions.end_unfinished_others(session)
        sessions.move_on(session, Cause.CODE_SAVED, context)
    return None


def finish_without_code(session: Session, context: Context) -> None:
    """Finish what waits for a code to be saved, now that codes are off. Raise Superseded when they are on again, or
    when nothing waits any more: its time may have run out since the page was asked for."""
    with sessions.locked_session(session, context):
        waiting = session.confirmed_enrollment(context.now)
        if recovery_codes_are_on() or not session.can_go_without_code(context.now):
            raise Superseded
        codes.hide(session)
        if waiting:
            enrollment.complete(session, waiting, Cause.CODES_OFF, context)
        else:
            sessions.move_on(session, Cause.CODES_OFF, context)


def make_new_code(session: Session, context: Context) -> None:
    """Make a code to be saved in place of the one there is. What this session had begun to set up is dropped. Raise
    CodesAreOff when the flag is off."""
    with sessions.locked_session(session, context):
        codes.require_on()
        Enrollment.delete().where(Enrollment.session == session).execute()
        codes.issue(session, context)


def answer_lost_device(session: Session, answer: Cause, lost_keys: list[int], context: Context) -> None:
    """Go on as the person answers: to the setup of a new app, or signed in with the old one kept, or waiting for a new
    phone, of which a notice stays. The old app works until a new one is confirmed. Of the person's security keys those
    with the ids in `lost_keys` stop working at once, and every other session ends then."""
    with sessions.locked_session(session, context):
        if lost_keys and security_keys.take_away(session.user, lost_keys, context):
            sessions.end_others(session)
        if answer in _EVENTS:
            since = context.now if answer is Cause.DEVICE_LATER else None
            User.update(waiting_since=since).where(User.id == session.user.id).execute()
            record(_EVENTS[answer], context, session.user)
        sessions.move_on(session, answer, context)


def dismiss_notice(session: Session, context: Context) -> None:
    """Forget the notice that a recovery code was used."""
    with sessions.locked_session(session, context):
        User.update(recovery_used_at=None).where(User.id == session.user.id).execute()
        record(EventKind.RECOVERY_NOTICE_DISMISSED, context, session.user)


def _claim(session: Session, digest: str, context: Context) -> bool:
    """Claim the code with this digest if it is the person's, live, and claimed by no other session whose time still
    runs. One statement decides."""
    in_time = clocks.bounds(store().settings["ENROLLMENT_SECONDS"], context.now)
    return bool(_claim_free(session.id, session.user.id, digest, *in_time))


@compiled
def _claim_free(session_id: int, user_id: int, digest: str, earliest: int, latest: int) -> Any:
    in_time = Session.step_at.between(earliest, latest)
    running = (Session.step == Step.REPLACE_CODE) & in_time & (Session.id != session_id)
    others = Session.select(Session.id).where(Session.user == user_id, running)
    free = RecoveryCode.claimed_by.is_null() | RecoveryCode.claimed_by.not_in(others)
    live = (RecoveryCode.digest == digest) & RecoveryCode.retired_at.is_null() & RecoveryCode.saved_at.is_null(False)
    return RecoveryCode.update(claimed_by=session_id).where(RecoveryCode.user == user_id, live, free)


def _refuse(user: User, digest: str, context: Context) -> Refusal:
    """Say why a code could not be claimed, and record it."""
    code: Any = RecoveryCode.get_or_none(RecoveryCode.user == user, RecoveryCode.digest == digest)
    if code is None:
        record(EventKind.RECOVERY_CODE_WRONG, context, user)
        return WrongRecoveryCode()
    if code.saved_at is None:
        record(EventKind.RECOVERY_CODE_OLD, context, user)
        return UnsavedCode()
    if code.retired_at is not None:
        record(EventKind.RECOVERY_CODE_OLD, context, user)
        return RetiredCode(code.retired_at, Retirement(code.retired_by))
    record(EventKind.RECOVERY_CODE_BUSY, context, user)
    return CodeInUse(code.claimed_by.expires_at(context.now))
