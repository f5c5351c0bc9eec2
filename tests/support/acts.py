"""What happens behind the pages: all calls of what changes the database, save where a test is about its steps."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from flask import Flask

from authn.events import EventKind
from authn.refusals import Refusal
from authn.throttle import EVERY_LIMIT
from authn.throttle import PASSWORD as PASSWORDS
from flows import audit, codes, demo, forgot, passwords, people, second_factor, sessions, throttle
from flows.transactions import Context, locked
from models import Session, TotpAuthenticator, User
from tests.support.people import PASSWORD, Clock

AGENT = "a browser"


def at(clock: Clock) -> Context:
    """Somebody's request at this moment."""
    return Context(clock.now, "203.0.113.7", AGENT)


def user_of(email: str) -> User:
    """In the app whose context is open."""
    return User.get(User.email == email)


def alone_with(user: User) -> AbstractContextManager[None]:
    """As long as this lasts nothing else about the person is decided. In the app whose context is open."""
    return locked(Context(0), user)


def add(email: str, password: str | None = PASSWORD, *, now: int = 1_796_000_000, admin: bool = False) -> User | None:
    """In the app whose context is open."""
    refusal = people.add(email, password, Context(now), is_admin=admin)
    return None if refusal else user_of(email)


def add_person(app: Flask, email: str, password: str | None = PASSWORD, *, now: int, admin: bool = False) -> None:
    with app.app_context():
        assert add(email, password, now=now, admin=admin)


def enroll_person(app: Flask, email: str, *, now: int, recovery_code: str | None = None) -> bytes:
    """The secret of their app."""
    with app.app_context():
        user = user_of(email)
        demo.enroll(user, Context(now), recovery_code)
        return TotpAuthenticator.get(TotpAuthenticator.user == user).secret()


def begin_session(user: User, context: Context) -> Session:
    """A session past this person's password. In the app whose context is open."""
    session = Session(next_path="")
    with locked(context, user):
        sessions.begin(session, user, context)
    return session


def remove_person(app: Flask, email: str) -> None:
    """By hand, as nothing here does. What is theirs goes with them, and their events name nobody."""
    with app.app_context():
        with alone_with(user_of(email)):
            throttle.forget(EVERY_LIMIT, email)
        User.delete().where(User.email == email).execute()


def reset(app: Flask, email: str, *, by: str = "", reason: str = "") -> str:
    """Where the link leads that the person is given. `by` is the admin who does it."""
    with app.app_context():
        admin = user_of(by).id if by else None
        return f"/welcome/{people.reset(user_of(email), Context(_now(app), actor=by, admin_id=admin), reason)}"


def invite(app: Flask, email: str) -> str:
    """Where the link leads."""
    with app.app_context():
        return f"/welcome/{people.invite(user_of(email), Context(_now(app)))}"


def forget_password(app: Flask, email: str, context: Context | None = None) -> str:
    """Where the link leads that is mailed to somebody who asks for it."""
    with app.app_context():
        return f"/welcome/{forgot.issue(email, context or Context(_now(app)))}"


def note_mail(app: Flask, email: str, sent: bool, context: Context) -> None:
    with app.app_context():
        forgot.note_mail(email, sent, context)


def unlock(app: Flask, email: str) -> None:
    with app.app_context():
        people.unlock(user_of(email), Context(_now(app)))


def deactivate(app: Flask, email: str) -> None:
    with app.app_context():
        people.deactivate(user_of(email), Context(_now(app)))


def make_admin(app: Flask, email: str) -> None:
    with app.app_context():
        people.promote(user_of(email), Context(_now(app)))


def remove_admin(app: Flask, email: str) -> bool:
    with app.app_context():
        return people.demote(user_of(email), Context(_now(app), actor="another admin")) is None


def set_groups(app: Flask, email: str, names: list[str]) -> None:
    with app.app_context():
        assert people.set_groups(user_of(email), names, Context(_now(app))) is None


def switch_codes(app: Flask, on: bool) -> None:
    with app.app_context():
        codes.switch(on, Context(_now(app), actor="a test"))


def try_password(app: Flask, email: str, password: str) -> User | None:
    """The person, when it is theirs and they may try it."""
    with app.app_context():
        return passwords.check_password(email, password, Context(_now(app)))


def try_code(app: Flask, email: str, code: str) -> Refusal | None:
    """What keeps the code of an app from being taken, or None."""
    with app.app_context():
        context = Context(_now(app))
        return second_factor.pass_challenge(begin_session(user_of(email), context), code, context)


def charge_password(app: Flask, email: str) -> None:
    with app.app_context(), throttle.charged(PASSWORDS, email, Context(_now(app))):
        pass


def record(app: Flask, kind: EventKind, email: str) -> None:
    with app.app_context():
        audit.record(kind, Context(_now(app), "203.0.113.7"), user_of(email))


def _now(app: Flask) -> int:
    clock: Callable[[], float] = app.config["CLOCK"]
    return int(clock())
