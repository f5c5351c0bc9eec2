"""Setting up an authenticator app: begun in one session, confirmed with its first code, complete in one transaction."""

from typing import Any

from authn import totp
from authn.events import EventKind
from authn.refusals import NotSixDigits, Refusal, WrongCode
from authn.sealing import Purpose
from authn.steps import Cause, SecondFactor, Step
from authn.throttle import ONE_TIME_CODE
from database import store
from flows import codes, sessions, throttle
from flows.audit import record
from flows.transactions import Context, Superseded, within_transaction
from models import Enrollment, RecoveryCode, Session, TotpAuthenticator, User


def begin(session: Session, context: Context) -> Enrollment:
    """Return what the session is setting up, begun now if there is nothing or its time has run out. Raise Superseded
    when a first app has been set up elsewhere."""
    if found := Enrollment.open_in(session, context.now):
        return found
    with sessions.locked_session(session, context):
        if found := Enrollment.open_in(session, context.now):  # another request may just have begun it
            return found
        user = session.user
        current = user.authenticator()
        if current and session.step == Step.ENROLL:
            raise Superseded
        if session.has_left_an_enrollment():
            codes.hide(session)
        Enrollment.delete().where(Enrollment.session == session).execute()
        record(EventKind.ENROLLMENT_STARTED, context, user)
        enrollment: Enrollment = Enrollment.create(
            session=session,
            sealed_secret=store().keyring.seal(totp.new_secret(), Purpose.AUTHENTICATOR, user.id),
            replaces=current.id if current else None,
            follows_another=User.get_by_id(user.id).setup_begun_at is not None,
            started_at=context.now,
        )
        User.update(setup_begun_at=context.now).where(User.id == user.id).execute()
        return enrollment


def confirm(session: Session, enrollment: Enrollment, typed: str, context: Context) -> Refusal | None:
    """Take the first code of the new app. Where a recovery code is due, go on to the prompt, else complete the
    enrollment. The secret is on the person's screen, so tries are not charged. Raise Superseded when the session sets
    up another app by now."""
    code = totp.read(typed)
    if code is None:
        return NotSixDigits()
    step = totp.matching_step(enrollment.secret(), code, context.now)
    if step is None:
        return _wrong_code(enrollment, session.user, context)
    with sessions.locked_session(session, context):
        fresh = Enrollment.get_or_none(Enrollment.id == enrollment.id)
        if fresh is None:
            raise Superseded
        if session.step == Step.SAVE_CODE:  # a double click
            return None
        fresh.confirmed_step, fresh.confirmed_at = step, context.now
        if not codes.is_due(session.user):
            complete(session, fresh, Cause.NEW_APP, context)
            return None
        fresh.save()
        sessions.move_on(session, Cause.NEW_APP, context, code_is_due=True)
    return None


@within_transaction
def complete(
    session: Session, enrollment: Enrollment, cause: Cause, context: Context, code: RecoveryCode | None = None
) -> None:
    """Switch the new app on, with the recovery code that was saved for it. Every other session of the person ends.
    Raise Superseded when the app in use is no longer the one that this was to replace."""
    user = session.user
    current = user.authenticator()
    if (current and current.id) != enrollment.replaces:
        raise Superseded
    add_app(user, enrollment.sealed_secret, enrollment.confirmed_step, context)
    Enrollment.delete().where(Enrollment.id == enrollment.id).execute()
    record(EventKind.AUTHENTICATOR_REPLACED if current else EventKind.AUTHENTICATOR_ADDED, context, user)
    if code:
        codes.confirm(code, context)
    throttle.forget((ONE_TIME_CODE,), user.email)
    sessions.end_others(session)
    changes: dict[str, Any] = {}
    if not session.second_factor:
        changes = {"second_factor": SecondFactor.TOTP, "verified_at": enrollment.confirmed_at}
    elif session.second_factor == SecondFactor.RECOVERY:  # from now on there is a phone to ask for
        changes = {"second_factor": SecondFactor.TOTP, "password_at": None}
    sessions.move_on(session, cause, context, **changes)


@within_transaction
def add_app(user: User, sealed_secret: bytes, last_step: int | None, context: Context) -> None:
    """Put an app in place of the one that the person may have. No code of a step up to `last_step` is accepted."""
    TotpAuthenticator.delete().where(TotpAuthenticator.user == user).execute()
    times = {"created_at": context.now, "last_used_at": context.now}
    TotpAuthenticator.create(user=user, sealed_secret=sealed_secret, last_step=last_step, **times)
    User.update(setup_begun_at=None, waiting_since=None).where(User.id == user.id).execute()


def _wrong_code(enrollment: Enrollment, user: User, context: Context) -> Refusal:
    enrollment.wrong_codes += 1
    with store().database.atomic():
        Enrollment.update(wrong_codes=Enrollment.wrong_codes + 1).where(Enrollment.id == enrollment.id).execute()
        record(EventKind.ENROLLMENT_CODE_WRONG, context, user)
    return WrongCode()
