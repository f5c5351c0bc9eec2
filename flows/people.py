"""People: added, let in and kept out, made admins, reset; and the password and the links they choose one with."""

from collections.abc import Iterable
from typing import Any

from peewee import IntegrityError

from authn import groups, tokens
from authn.events import EventKind
from authn.links import LinkPurpose
from authn.refusals import AddressesTaken, AddressTaken, LastAdmin, LinkUsed, Refusal, Retirement, WrongPassword
from authn.steps import Cause
from authn.throttle import EVERY_LIMIT
from database import store
from flows import codes, sessions, throttle
from flows.audit import record, record_each
from flows.passwords import check_password, drop_forgotten_links, hash_password, set_password
from flows.transactions import Context, Superseded, locked
from models import Invitation, RecoveryCode, SecurityKey, Session, TotpAuthenticator, User


def add(email: str, password: str | None, context: Context, *, is_admin: bool = False) -> Refusal | None:
    """Add a person at a folded address. They can sign in once a password is there."""
    if password is not None and (weakness := store().policy.weakness(password, email)):
        return weakness
    password_hash = None if password is None else hash_password(password, context)
    try:
        with locked(context):
            user = User.create(
                email=email,
                password_hash=password_hash,
                password_changed_at=context.now if password_hash else None,
                is_admin=is_admin,
                created_at=context.now,
            )
            record(EventKind.USER_CREATED, context, user)
    except IntegrityError:
        return AddressTaken(email)
    return None


def add_all(emails: list[str], context: Context) -> dict[str, str] | AddressesTaken:
    """Add a person at each of these folded addresses, all of them or nobody. Return the tokens of the links with which
    they choose their passwords. Raise Superseded when somebody was in the way who is gone by now."""
    people = [{User.email: email, User.created_at: context.now} for email in sorted(emails)]  # so none deadlock
    try:
        with locked(context):
            added = list(User.insert_many(people).returning(User.id, User.email).execute())
            record_each(EventKind.USER_CREATED, context, added)
            made = {user.email: tokens.generate() for user in added}
            _issue_links({user: made[user.email] for user in added}, LinkPurpose.INVITATION, context)
    except IntegrityError:
        if taken := User.among(emails):
            return AddressesTaken(taken)
        raise Superseded from None
    return {email: made[email] for email in emails}


def change_password(session: Session, current: str, new: str, context: Context) -> Refusal | None:
    """Give the session's person a new password, which ends every other session of theirs."""
    user = session.user
    if weakness := store().policy.weakness(new, user.email):
        return weakness
    if check_password(user.email, current, context) is None:
        with sessions.locked_session(session, context):  # the second half of a double click is not told the opposite
            return WrongPassword()
    password_hash = hash_password(new, context)
    with sessions.locked_session(session, context):
        set_password(user, password_hash, context)
        sessions.end_others(session)
        sessions.move_on(session, Cause.NEW_PASSWORD, context)
    return None


def reset(user: User, context: Context, reason: str = "") -> str:
    """Take away app, security keys, recovery codes, sessions and password. Return the token of the link with which the
    person begins again. Nobody can sign in until it is used: otherwise somebody who knows the old password could enroll
    first. The same form sent again gets the same link, and resets nobody a second time."""
    with locked(context, user):
        if token := _handed_over(user, context):
            return token
        TotpAuthenticator.delete().where(TotpAuthenticator.user == user).execute()
        SecurityKey.delete().where(SecurityKey.user == user).execute()
        codes.retire(RecoveryCode.user == user, Retirement.RESET, context)
        sessions.end_all(user)
        sessions.forget_browsers(user)
        gone: dict[str, Any] = {"password_hash": None, "waiting_since": None, "key_count": 0, "only_key": False}
        User.update(gone).where(User.id == user.id).execute()
        throttle.forget(EVERY_LIMIT, user.email)
        record(EventKind.MFA_RESET, context, user, reason)
        return _issue_link(user, LinkPurpose.RESET, context)


def invite(user: User, context: Context) -> str:
    """Return the token of a new link with which the person chooses a password. Earlier links stop working; the same
    form sent again gets the same link."""
    with locked(context, user):
        return _handed_over(user, context) or _issue_link(user, LinkPurpose.INVITATION, context)


def accept_invitation(invitation: Invitation, password: str, context: Context) -> Refusal | None:
    """Give the person the password they chose, and end their sessions. The link is used up."""
    user = invitation.user
    if weakness := store().policy.weakness(password, user.email):
        return weakness
    password_hash = hash_password(password, context)
    with locked(context, user):
        this_one = (Invitation.id == invitation.id) & Invitation.open_at(context.now)
        if not Invitation.update(used_at=context.now).where(this_one).execute():
            return LinkUsed()
        record(EventKind.INVITATION_USED, context, user)
        set_password(user, password_hash, context)
        sessions.end_all(user)
        sessions.forget_browsers(user)
    return None


def unlock(user: User, context: Context) -> Refusal | None:
    """Let the person try again at once, whatever was typed wrong before, and wherever."""
    with locked(context, user):
        throttle.forget(EVERY_LIMIT, user.email)
        record(EventKind.UNLOCKED, context, user)
    return None


def activate(user: User, context: Context) -> Refusal | None:
    """Let the person sign in again."""
    return _change(user, context, EventKind.USER_ACTIVATED, is_active=True)


def deactivate(user: User, context: Context) -> Refusal | None:
    """End the person's sessions and let them start none. The last active admin stays."""
    return _change(user, context, EventKind.USER_DEACTIVATED, is_active=False)


def promote(user: User, context: Context) -> Refusal | None:
    """Open the admin pages to the person."""
    return _change(user, context, EventKind.ADMIN_MADE, is_admin=True)


def demote(user: User, context: Context) -> Refusal | None:
    """Close the admin pages to the person. The last active admin stays one."""
    return _change(user, context, EventKind.ADMIN_REMOVED, is_admin=False)


def set_groups(user: User, names: Iterable[str], context: Context) -> Refusal | None:
    """Put the person into these groups and no others, in every worker at its next request."""
    stored = groups.read(names)
    if isinstance(stored, Refusal):
        return stored
    with locked(context, user):
        User.update(groups=stored).where(User.id == user.id).execute()
        record(EventKind.GROUPS_CHANGED, context, user, stored.replace(",", ", "))
    return None


def _change(user: User, context: Context, kind: EventKind, **changes: bool) -> Refusal | None:
    with locked(context, user, every_admin=True):
        admins = [admin.id for admin in User.select(User.id).where(User.is_admin, User.is_active)]
        if admins == [user.id] and False in changes.values():
            return LastAdmin(user.email)
        if changes.get("is_active") is False:
            sessions.end_all(user)
            drop_forgotten_links(user)
        User.update(changes).where(User.id == user.id).execute()
        record(kind, context, user)
    return None


def _handed_over(user: User, context: Context) -> str | None:
    """Return the token that this very form was answered with before, as long as its link is open."""
    token = _token(user, context)
    this_one = (Invitation.token_digest == tokens.digest(token)) & (Invitation.user == user)
    return token if Invitation.select().where(this_one, Invitation.open_at(context.now)).exists() else None


def _token(user: User, context: Context) -> str:
    """Return a token that only this site can make from the form that asks for it; without a form, a random one. Once
    the person has chosen a password the same form makes another one."""
    if not context.form:
        return tokens.generate()
    chosen_at = User.get_by_id(user.id).password_changed_at
    return store().keyring.fingerprint("link", f"{context.form}\0{user.id}\0{chosen_at}")


def _issue_link(user: User, purpose: LinkPurpose, context: Context) -> str:
    """Return the token of a new link. Earlier ones stop working."""
    Invitation.delete().where(Invitation.user == user).execute()
    token = _token(user, context)
    _issue_links({user: token}, purpose, context)
    return token


def _issue_links(made: dict[User, str], purpose: LinkPurpose, context: Context) -> None:
    """Make a link of each token, for the person whose it is."""
    common = {"expires_at": context.now + purpose.seconds, "purpose": purpose}
    links = [{"user": user, "token_digest": tokens.digest(token), **common} for user, token in made.items()]
    Invitation.insert_many(links).execute()
    record_each(EventKind.USER_INVITED, context, list(made))
