"""People who have been here for long, for the demo and for tests."""

from authn import recovery_codes, totp
from authn.sealing import Purpose
from authn.throttle import EVERY_LIMIT
from database import store
from flows import sessions, throttle
from flows.enrollment import add_app
from flows.transactions import Context, locked
from models import RecoveryCode, User


def enroll(user: User, context: Context, recovery_code: str | None = None) -> None:
    """Give the person an authenticator app and a saved recovery code, as if set up long ago. ValueError when it is no
    recovery code."""
    with locked(context, user):
        add_app(user, store().keyring.seal(totp.new_secret(), Purpose.AUTHENTICATOR, user.id), 0, context)
        if recovery_code:
            code = recovery_codes.read(recovery_code)
            if not isinstance(code, str):
                raise ValueError(f"{recovery_code} is no recovery code.")
            digest = recovery_codes.digest(code, user.id)
            RecoveryCode.create(user=user, digest=digest, created_at=context.now, saved_at=context.now)


def remove(emails: tuple[str, ...], context: Context) -> None:
    """Delete people and all that is theirs. Their events stay and name nobody."""
    people = list(User.select().where(User.email.in_(emails)))
    with locked(context, *people):
        for person in people:
            sessions.end_all(person)
        for email in emails:
            throttle.forget(EVERY_LIMIT, email)
        User.delete().where(User.email.in_(emails)).execute()
