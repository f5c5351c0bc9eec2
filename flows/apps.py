"""Other sites behind the same sign-in: who may enter one. A pass is good for as long as the session that it names: the
row is read each time, so nothing has to be undone when a session ends."""

from typing import Any

from authn import apps, tokens
from authn.events import EventKind
from authn.steps import Step
from database import store
from flows.audit import record
from flows.transactions import Context
from models import Session, User
from statements import compiled


def may_enter(user: User, host: str) -> bool:
    return user.is_in(store().settings["APPS"][host])


def session_of_pass(host: str, given: str, now: int) -> Session | None:
    """Return the session that the pass for this host names, if it is live and signed in and its person active."""
    named = apps.read_pass(store().keyring, host, given)
    return _live_session(*named, now) if named else None


def make_ticket(session: Session, host: str, nonce_digest: str, now: int) -> str:
    """Return what the browser that holds this nonce can exchange for a pass to the host, once and within a minute."""
    return apps.make_ticket(store().keyring, host, (session.id, session.created_at), nonce_digest, now)


def exchange(ticket: str, host: str, nonce: str, context: Context) -> str | None:
    """Return a pass for the ticket; None when it is not for this host and nonce, too old, or its session is over.

    No mark is stored of a ticket that was used: the browser loses the nonce with the answer. Whoever still has both has
    a copy of all its cookies, and with them the same pass, which ends with the same session."""
    named, nonce_digest = apps.read_ticket(store().keyring, host, ticket, context.now) or (None, "")
    if named is None or nonce_digest != tokens.digest(nonce):
        return None
    session = _live_session(*named, context.now)
    if session is None or not may_enter(session.user, host):
        return None
    record(EventKind.APP_OPENED, context, session.user, host)
    return apps.make_pass(store().keyring, host, named)


def _live_session(ident: int, created_at: int, now: int) -> Session | None:
    """Return what is needed here of the session and its person, in one statement."""
    for digest, seen_at, user_id, email, is_admin, groups in _signed_in(ident, created_at):
        person = User(id=user_id, email=email, is_admin=is_admin, groups=groups)
        times = {"created_at": created_at, "last_seen_at": seen_at}
        session = Session(id=ident, token_digest=digest, user=person, step=Step.SIGNED_IN, **times)
        return session if session.expires_at(now) > now else None
    return None


@compiled
def _signed_in(ident: int, created_at: int) -> Any:
    known = (Session.token_digest, Session.last_seen_at, User.id, User.email, User.is_admin, User.groups)
    named = (Session.id == ident) & (Session.created_at == created_at)
    signed_in = (Session.step == Step.SIGNED_IN) & Session.second_factor.is_null(False)
    return Session.select(*known).join(User).where(named, signed_in, User.is_active).tuples()
