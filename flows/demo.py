"""People who have been here for long, for the demo and for tests."""

from peewee import fn

from authn import recovery_codes, totp
from authn.events import EventKind
from authn.sealing import Purpose
from authn.steps import Cause, SecondFactor
from authn.throttle import EVERY_LIMIT
from database import store
from flows import sessions, throttle
from flows.audit import record
from flows.enrollment import add_app
from flows.passwords import forget_guesses
from flows.transactions import Context, locked
from models import Enrollment, Event, Invitation, RecoveryCode, SecurityKey, Session, TotpAuthenticator, User


def enroll(user: User, context: Context, recovery_code: str | None = None) -> None:
    """Give the person an authenticator app and a saved recovery code, as if set up long ago. Who has begun to set up
    another one in this moment begins again. ValueError when it is no recovery code."""
    with locked(context, user):
        sessions.end_all(user)
        add_app(user, store().keyring.seal(totp.new_secret(), Purpose.AUTHENTICATOR, user.id), 0, context)
        if recovery_code:
            code = recovery_codes.read(recovery_code)
            if not isinstance(code, str):
                raise ValueError(f"{recovery_code} is no recovery code.")
            digest = recovery_codes.digest(code, user.id)
            RecoveryCode.delete().where(RecoveryCode.user == user).execute()
            RecoveryCode.create(user=user, digest=digest, created_at=context.now, saved_at=context.now)


def sign_in(user: User, context: Context, *, is_admin: bool) -> Session:
    """Return a session of the person, in this role, that ends like one that began with password and six-digit code.
    Who has no authenticator app is given one."""
    with locked(context, user):
        chosen_at = fn.COALESCE(User.password_changed_at, context.now)
        User.update(is_admin=is_admin, password_changed_at=chosen_at).where(User.id == user.id).execute()
        if user.authenticator() is None:
            add_app(user, store().keyring.seal(totp.new_secret(), Purpose.AUTHENTICATOR, user.id), 0, context)
        session = Session(next_path="")
        sessions.begin(session, user, context)
        factor = SecondFactor.TOTP
        sessions.move_on(session, Cause.RIGHT_CODE, context, second_factor=factor, verified_at=context.now)
    return session


def renew(user: User, password: str, context: Context, *, is_admin: bool) -> None:
    """Make the person as if added now. Their events stay and name nobody.

    The row stays as well: what others write at this moment, a wrong password tried for instance, names the person."""
    password_hash = store().policy.hash(password)
    with locked(context, user):
        sessions.end_all(user)
        sessions.forget_browsers(user)
        forget_guesses(user)
        throttle.forget(EVERY_LIMIT, user.email)
        for table in (TotpAuthenticator, SecurityKey, RecoveryCode, Invitation):
            table.delete().where(table.user == user).execute()
        Event.update(user=None, hour_key=None).where(Event.user == user).execute()
        User.update(
            password_hash=password_hash,
            is_admin=is_admin,
            is_active=True,
            groups="",
            created_at=context.now,
            password_changed_at=context.now,
            last_sign_in_at=None,
            setup_begun_at=None,
            waiting_since=None,
            recovery_used_at=None,
            key_count=0,
            only_key=False,
        ).where(User.id == user.id).execute()
        record(EventKind.USER_CREATED, context, user)


def newest_enrollment(user: User) -> Enrollment | None:
    """Return what the person began to set up last, in any browser."""
    of_sessions = Enrollment.select(Enrollment, Session, User).join(Session).join(User)
    found: Enrollment | None = of_sessions.where(Session.user == user).order_by(Enrollment.id.desc()).first()
    return found
