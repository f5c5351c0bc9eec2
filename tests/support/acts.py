"""What happens behind the pages: all calls of what changes the database, save where a test is about its steps."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flask import Flask

import models
from authn.throttle import PASSWORD as PASSWORDS
from models import Act, Event, Invitation, Kind, Setting, Throttle, TotpAuthenticator, User
from tests.support.people import PASSWORD, Clock


def at(clock: Clock) -> Act:
    """Somebody's request at this moment."""
    return Act(clock.now, "203.0.113.7", "a browser")


def user_of(email: str) -> User:
    """In the app whose context is open."""
    return User.get(User.email == email)


def alone_with(user: User) -> AbstractContextManager[None]:
    """As long as this lasts nothing else about the person is decided. In the app whose context is open."""
    return models._alone_with(user)


def add(email: str, password: str | None = PASSWORD, *, now: int = 1_796_000_000, admin: bool = False) -> User | None:
    """In the app whose context is open."""
    return User.add(email, password, Act(now), is_admin=admin)


def add_person(app: Flask, email: str, password: str | None = PASSWORD, *, now: int, admin: bool = False) -> None:
    with app.app_context():
        assert add(email, password, now=now, admin=admin)


def enroll_person(app: Flask, email: str, *, now: int, recovery_code: str | None = None) -> bytes:
    """The secret of their app."""
    with app.app_context():
        user = user_of(email)
        user.enroll(Act(now), recovery_code=recovery_code)
        return TotpAuthenticator.get(TotpAuthenticator.user == user).secret()


def remove_person(app: Flask, email: str) -> None:
    with app.app_context():
        User.remove((email,))


def reset(app: Flask, email: str, *, by: str = "", reason: str = "") -> str:
    """Where the link leads that the person is given. `by` is the admin who does it."""
    with app.app_context():
        admin = user_of(by).id if by else None
        return f"/welcome/{user_of(email).reset_mfa(Act(_now(app), by=by, admin=admin), reason)}"


def invite(app: Flask, email: str) -> str:
    """Where the link leads."""
    with app.app_context():
        return f"/welcome/{Invitation.issue(user_of(email), Act(_now(app)))}"


def unlock(app: Flask, email: str) -> None:
    with app.app_context():
        user_of(email).unlock(Act(_now(app)))


def deactivate(app: Flask, email: str) -> None:
    with app.app_context():
        user_of(email).deactivate(Act(_now(app)))


def make_admin(app: Flask, email: str) -> None:
    with app.app_context():
        user_of(email).make_admin(Act(_now(app)))


def remove_admin(app: Flask, email: str) -> bool:
    with app.app_context():
        return user_of(email).remove_admin(Act(_now(app), by="another admin"))


def switch_codes(app: Flask, on: bool) -> None:
    with app.app_context():
        Setting.switch_recovery_codes(on, Act(_now(app), by="a test"))


def try_password(app: Flask, email: str, password: str) -> User | None:
    """The person, when it is theirs and they may try it."""
    with app.app_context():
        return User.with_password(email, password, Act(_now(app)))


def try_code(app: Flask, email: str, code: str) -> Any:
    """What keeps the code of an app from being taken, or None."""
    with app.app_context():
        return TotpAuthenticator.try_code(user_of(email), code, Act(_now(app)))


def charge_password(app: Flask, email: str) -> None:
    with app.app_context():
        Throttle.charge(PASSWORDS, email, Act(_now(app)))


def record(app: Flask, kind: Kind, email: str) -> None:
    with app.app_context():
        Event.record(kind, Act(_now(app), "203.0.113.7"), user_of(email))


def _now(app: Flask) -> int:
    clock: Callable[[], float] = app.config["CLOCK"]
    return int(clock())
