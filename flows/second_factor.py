"""The six-digit code as second factor, at sign-in and at step-up: each works once, and never an older one after it."""

from typing import Any

from peewee import fn

from authn import totp
from authn.events import EventKind
from authn.refusals import NotSixDigits, Refusal, UsedCode, WrongCode, WrongPassword
from authn.sealing import Unreadable
from authn.steps import Cause, SecondFactor
from authn.throttle import ONE_TIME_CODE, TELLING_WRONG_CODES
from flows import codes, sessions, throttle
from flows.audit import record
from flows.passwords import check_password, forget_guesses
from flows.throttle import Charge
from flows.transactions import Context, Superseded, within_transaction
from models import Session, TotpAuthenticator, User
from statements import compiled


def pass_challenge(session: Session, typed: str, context: Context) -> Refusal | None:
    """Accept a six-digit code as the second factor and go on, both or neither: to the recovery code prompt where a code
    is due, else the person is signed in. Raise Paused when no try may be made."""
    code, email = totp.read(typed), session.user.email
    if code is None:
        return _not_a_try(email, context)
    with throttle.charged(ONE_TIME_CODE, email, context) as charge, sessions.locked_session(session, context):
        if refusal := _accept(session.user, code, charge, context):
            return refusal
        code_is_due = codes.is_due(session.user)
        proven = {"second_factor": SecondFactor.TOTP, "verified_at": context.now}
        sessions.move_on(session, Cause.RIGHT_CODE, context, code_is_due=code_is_due, **proven)
    return None


def step_up(session: Session, password: str, typed: str, context: Context) -> Refusal | None:
    """Take password and six-digit code once more, for changes that need both. A recovery code is not accepted here."""
    code, email = totp.read(typed), session.user.email
    if check_password(email, password, context) is None:
        return WrongPassword()
    if code is None:
        return _not_a_try(email, context)
    with throttle.charged(ONE_TIME_CODE, email, context) as charge, sessions.locked_session(session, context):
        if refusal := _accept(session.user, code, charge, context):
            return refusal
        record(EventKind.STEPPED_UP, context, session.user)
        sessions.move_on(session, Cause.STEP_UP, context, verified_at=context.now)
    return None


def takes_password_alone(session: Session) -> bool:
    """Return whether the person signed in with a recovery code here, and has set up no new app since: the phone may be
    lost."""
    return session.second_factor == SecondFactor.RECOVERY


def step_up_to_setup(session: Session, password: str, context: Context) -> Refusal | None:
    """Take the password alone, in a session that signed in with a recovery code: enough to set up one new app, as long
    as the session lasts, and for nothing else. Raise Superseded in any other session."""
    if check_password(session.user.email, password, context) is None:
        return WrongPassword()
    with sessions.locked_session(session, context):
        if not takes_password_alone(session):
            raise Superseded
        record(EventKind.STEPPED_UP, context, session.user)
        sessions.move_on(session, Cause.STEP_UP, context, password_at=context.now)
    return None


def _not_a_try(email: str, context: Context) -> Refusal:
    throttle.check(ONE_TIME_CODE, email, context)
    return NotSixDigits()


@within_transaction
def _accept(user: User, code: str, charge: Charge, context: Context) -> Refusal | None:
    """Use the code up if the app shows it and it is newer than every one accepted before. One statement decides.

    A used code keeps its charge: who types one may have read it over a shoulder."""
    app = user.authenticator()
    step = _matching_step(app, code, context) if app else None
    if app is None or step is None:
        charge.is_deserved = True
        record(EventKind.CODE_WRONG, context, user)
        _note_guess(user, context)
        return WrongCode()
    accepted = totp.accept(step, app.accepted_steps, context.now)
    if accepted is None or not _use_up(app, accepted, context):
        charge.is_deserved = True
        record(EventKind.CODE_REPLAYED, context, user)
        return UsedCode()
    charge.refund()
    return None


def _use_up(app: TotpAuthenticator, accepted: list[int], context: Context) -> bool:
    """Note the newest step beside those accepted before it, unless another request has noted one meanwhile."""
    *earlier, newest = accepted
    return bool(_note_step(app.id, app.last_step, newest, " ".join(map(str, earlier)), context.now))


@compiled
def _note_step(app_id: int, as_read: int, newest: int, earlier: str, now: int) -> Any:
    noted = {TotpAuthenticator.last_step: newest, TotpAuthenticator.earlier_steps: earlier}
    this_one = (TotpAuthenticator.id == app_id) & (TotpAuthenticator.last_step == as_read)
    return TotpAuthenticator.update({**noted, TotpAuthenticator.last_used_at: now}).where(this_one)


def dismiss_guesses(session: Session, context: Context) -> None:
    """Forget the notice that somebody who knows the password guessed codes."""
    with sessions.locked_session(session, context):
        forget_guesses(session.user)
        record(EventKind.WRONG_CODES_DISMISSED, context, session.user)


@within_transaction
def _note_guess(user: User, context: Context) -> None:
    """Have the person told that their password is known: wrong codes came after it in a browser that is not."""
    if context.known_browser(user.email):
        throttle.count_as_a_strangers(ONE_TIME_CODE, user.email, context)
        return
    since = fn.COALESCE(User.wrong_codes_since, context.now)
    counted = {User.wrong_codes: User.wrong_codes + 1, User.wrong_codes_since: since}
    told = User.update({**counted, User.wrong_codes_from: context.remote_addr}).where(User.id == user.id)
    if [row.wrong_codes for row in told.returning(User.wrong_codes).execute()] == [TELLING_WRONG_CODES]:
        record(EventKind.PASSWORD_KNOWN, context, user)


def _matching_step(app: TotpAuthenticator, code: str, context: Context) -> int | None:
    """Return the 30-second step of the code. None matches a secret that no key opens: what was changed or lost lets
    nobody in."""
    try:
        return totp.matching_step(app.secret(), code, context.now)
    except Unreadable as unreadable:
        record(EventKind.UNREADABLE, context, app.user, str(unreadable))
        return None
