"""Sessions: how one starts, goes from step to step, and ends. The only module that writes Session.step."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from authn import steps, tokens
from authn.events import EventKind
from authn.refusals import NoSuchSession, Refusal, WrongPassword
from authn.steps import Cause, SecondFactor, Step
from database import UNAVAILABLE, store
from flows import throttle
from flows.audit import record
from flows.passwords import check_password, has_kept_password
from flows.sweep import delete, sweep
from flows.transactions import Context, Superseded, locked, within_transaction
from models import Session, User
from statements import compiled


def start(session: Session, email: str, password: str, context: Context) -> Refusal | None:
    """Begin a sign-in for the person with this folded address and password, in a new session of which so far only
    `next_path` is known.

    Raise Paused and TooBusy as check_password does, and Superseded when the password, or the account, is not what it
    was when it was compared."""
    user = check_password(email, password, context)
    if user is None:
        return WrongPassword()
    with suppress(*UNAVAILABLE):  # a right sign-in does not hang on what others have left behind
        sweep(context.now)
    with locked(context, user):
        if not has_kept_password(user):
            raise Superseded
        begin(session, user, context)
    return None


@within_transaction
def begin(session: Session, user: User, context: Context) -> None:
    """Give the session its person, whose password was right, its first step and its first token."""
    cause = Cause.RIGHT_PASSWORD if user.authenticator() else Cause.PASSWORD_WITHOUT_APP
    session.user, session.step, session.token = user, steps.follow(None, cause).end, tokens.generate()
    session.token_digest = tokens.digest(session.token)
    session.created_at = session.step_at = session.last_seen_at = context.now
    session.remote_addr, session.user_agent = context.remote_addr, context.user_agent
    session.save()


@contextmanager
def locked_session(session: Session, context: Context) -> Iterator[None]:
    """Be alone with the session's person, and with the session as it is now. Raise Superseded when another request has
    given it a new token, or ended it, since it was read."""
    one_writer = not store().database.for_update  # on SQLite: and where the session is, its person is
    with locked(context, *([] if one_writer else [session.user])):
        found = _state_of(session.id, session.token_digest)
        if not found:
            raise Superseded
        session.step, session.second_factor = found[0]
        yield


@within_transaction
def move_on(session: Session, cause: Cause, context: Context, *, code_is_due: bool = False, **changes: Any) -> None:
    """Take the session to the step that authn/steps.py names, under a new token where it says so. The old token is dead
    then. Arriving at the last step is signing in. Raise Superseded when another request was first."""
    try:
        row = steps.follow(Step(session.step), cause, code_is_due=code_is_due)
    except KeyError:
        raise Superseded from None
    if row.end == Step.SIGNED_IN and not changes.get("second_factor", session.second_factor):
        raise Superseded  # a second factor is missing
    token = tokens.generate() if row.new_token else session.token
    changes |= {"token_digest": tokens.digest(token), "step": row.end, "last_seen_at": context.now}
    if row.end != row.start:
        changes["step_at"] = context.now
    if not _move(session.id, session.token_digest, row.start, **changes):
        raise Superseded
    came_in_with = session.second_factor or changes.get("second_factor", "")
    for name, value in {**changes, "token": token}.items():
        setattr(session, name, value)
    if session.is_signed_in and row.start != Step.SIGNED_IN:
        _note_sign_in(session, SecondFactor(came_in_with), context)


def touch(session: Session, now: int) -> None:
    """Note that the person is active: at most once a minute, or ten times in the idle limit where that is shorter.
    Times that a clock said which ran ahead are put right: a session that is used ends within its limits. It is left out
    when the database is locked."""
    if abs(now - session.last_seen_at) >= min(60, store().settings["SESSION_IDLE_SECONDS"] // 10):
        begun_at = min(session.created_at, now)
        with suppress(*UNAVAILABLE):
            update = Session.update(last_seen_at=now, created_at=begun_at)
            update.where(_is(session.id, session.token_digest)).execute()
            session.created_at = begun_at  # a ticket names the session by it


def end(session: Session, kind: EventKind, context: Context) -> None:
    """Delete the session, whatever token it has by now. A copied cookie is dead."""
    with locked(context, session.user):
        if delete(Session.id == session.id):
            record(kind, context, session.user)


def revoke(session: Session, session_id: int, context: Context) -> Refusal | None:
    """End another session of the same person."""
    with locked_session(session, context):
        if not delete((Session.id == session_id) & _others(session)):
            return NoSuchSession()
        record(EventKind.SESSION_REVOKED, context, session.user)
    return None


def revoke_others(session: Session, context: Context) -> Refusal | None:
    """End every other session of the person, finished or not. Say so when none of them was signed in."""
    with locked_session(session, context):
        signed_in = len(Session.signed_in(session.user, context.now, 2)) > 1
        end_others(session)
        record(EventKind.SESSION_REVOKED, context, session.user, "all others")
    return None if signed_in else NoSuchSession()


@within_transaction
def end_others(session: Session) -> None:
    """Delete the person's other sessions, and forget every browser that was known. This one is due a new mark."""
    delete(_others(session))
    forget_browsers(session.user)
    session.is_due_a_mark = True


@within_transaction
def end_unfinished_others(session: Session) -> None:
    """Delete the person's other sessions that are not signed in."""
    delete(_others(session) & (Session.step != Step.SIGNED_IN))


@within_transaction
def end_all(user: User) -> None:
    """Delete every session of the person."""
    delete(Session.user == user)


@within_transaction
def forget_browsers(user: User) -> None:
    """Make every browser that the account knows a stranger."""
    newer = {User.browser_generation: User.browser_generation + 1}
    for row in User.update(newer).where(User.id == user.id).returning(User.browser_generation).execute():
        user.browser_generation = row.browser_generation


def _note_sign_in(session: Session, factor: SecondFactor, context: Context) -> None:
    user = session.user
    session.is_due_a_mark = True
    throttle.clear(user.email, context)
    phone_is_there = {"waiting_since": None} if factor is SecondFactor.TOTP else {}
    _note(user.id, last_sign_in_at=context.now, **phone_is_there)
    record(EventKind.SIGNED_IN, context, user, factor)


@compiled
def _state_of(session_id: int, token_digest: str) -> Any:
    return Session.select(Session.step, Session.second_factor).where(_is(session_id, token_digest)).tuples()


@compiled
def _move(session_id: int, token_digest: str, step: str, /, **changes: Any) -> Any:
    return Session.update(changes).where(_is(session_id, token_digest), Session.step == step)


@compiled
def _note(user_id: int, **columns: Any) -> Any:
    return User.update(columns).where(User.id == user_id)


def _is(session_id: int, token_digest: str) -> Any:
    return (Session.id == session_id) & (Session.token_digest == token_digest)


def _others(session: Session) -> Any:
    return (Session.user == session.user) & (Session.id != session.id)
