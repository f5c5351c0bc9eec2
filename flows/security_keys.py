"""Security keys: added and removed, as second factor at sign-in and at step-up, and "Ask me only for my key"."""

from typing import Any

from peewee import IntegrityError, fn

from authn import security_keys as rules
from authn.events import EventKind
from authn.refusals import CopiedKey, KnownKey, NoSuchKey, OneKeyAlone, Refusal, RefusedKey, TooManyKeys, WrongPassword
from authn.security_keys import Key, Purpose, Site
from authn.steps import Cause, SecondFactor
from database import store
from flows import codes, sessions
from flows.audit import record
from flows.passwords import check_password
from flows.transactions import Context, Superseded, within_transaction
from models import SecurityKey, Session, User, recovery_codes_are_on

_MOST_REFUSALS_NOTED = 10  # in a session


def of(user: User) -> list[SecurityKey]:
    """Return the person's keys, the oldest first."""
    return list(SecurityKey.select().where(SecurityKey.user == user).order_by(SecurityKey.id))


def options_to_add(session: Session) -> dict[str, Any]:
    """Return what the browser is to ask a new key."""
    user, challenge = session.user, rules.challenge(Purpose.ADDING, session.token_digest)
    return rules.options_to_add(_site(), challenge, user.id, user.email, map(_as_known, of(user)))


def options_to_ask(session: Session, purpose: Purpose, keys: list[SecurityKey]) -> dict[str, Any]:
    """Return what the browser is to ask one of these keys."""
    return rules.options_to_ask(_site(), rules.challenge(purpose, session.token_digest), map(_as_known, keys))


def are_asked_for_alone(user: User) -> bool:
    """Return whether the person's six-digit codes are not accepted."""
    return user.only_key and bool(of(user))


def add(session: Session, name: str, answer: str, context: Context) -> Refusal | None:
    """Put a key on the account. Every other session of the person ends."""
    try:
        with sessions.locked_session(session, context):
            return _add(session, name, answer, context)
    except IntegrityError:  # another account has the key
        return RefusedKey()


def pass_challenge(session: Session, answer: str, context: Context) -> Refusal | None:
    """Accept the answer of one of the person's keys as the second factor and go on, both or neither: to the recovery
    code prompt where a code is due, else the person is signed in. A signature cannot be guessed, so tries are not
    charged, and no pause that strangers have brought holds up who has the key."""
    with sessions.locked_session(session, context):
        if refusal := _accept(session, Purpose.CHALLENGE, answer, context):
            return refusal
        code_is_due = codes.is_due(session.user)
        proven = {"second_factor": SecondFactor.KEY, "verified_at": context.now}
        sessions.move_on(session, Cause.RIGHT_KEY, context, code_is_due=code_is_due, **proven)
    return None


def step_up(session: Session, password: str, answer: str, context: Context) -> Refusal | None:
    """Take password and key once more, for changes that need both."""
    if check_password(session.user.email, password, context) is None:
        return WrongPassword()
    with sessions.locked_session(session, context):
        if refusal := _accept(session, Purpose.STEP_UP, answer, context):
            return refusal
        record(EventKind.STEPPED_UP, context, session.user)
        sessions.move_on(session, Cause.STEP_UP, context, verified_at=context.now)
    return None


def remove(session: Session, key_id: int, context: Context) -> Refusal | None:
    """Take a key off the account. Every other session of the person ends."""
    with sessions.locked_session(session, context):
        if not take_away(session.user, [key_id], context):
            return NoSuchKey()
        sessions.end_others(session)
        sessions.move_on(session, Cause.KEYS_CHANGED, context)
    return None


def ask_only_for_keys(session: Session, on: bool, context: Context) -> Refusal | None:
    """Accept no six-digit code of this person any more, or accept them again. The person's unfinished sign-ins end: no
    one of them passes the challenge under a rule that was changed meanwhile."""
    user = session.user
    with sessions.locked_session(session, context):
        if on and not _has_a_spare(user):
            return OneKeyAlone()
        if User.update(only_key=on).where(User.id == user.id, User.only_key != on).execute():
            record(EventKind.ONLY_KEY_ON if on else EventKind.ONLY_KEY_OFF, context, user)
            sessions.end_unfinished_others(session)
    return None


@within_transaction
def take_away(user: User, key_ids: list[int], context: Context) -> int:
    """Let these keys of the person stop working. With fewer than two left, six-digit codes are accepted again. Return
    how many keys that were."""
    removed = [key for key in of(user) if key.id in key_ids]
    SecurityKey.delete().where(SecurityKey.id.in_([key.id for key in removed])).execute()
    for key in removed:
        record(EventKind.SECURITY_KEY_REMOVED, context, user, key.name)
    _count(user)
    if (
        removed
        and user.key_count < 2
        and User.update(only_key=False).where(User.id == user.id, User.only_key).execute()
    ):
        user.only_key = False
        record(EventKind.ONLY_KEY_OFF, context, user)
    return len(removed)


@within_transaction
def _add(session: Session, name: str, answer: str, context: Context) -> Refusal | None:
    user, challenge = session.user, rules.challenge(Purpose.ADDING, session.token_digest)
    known = of(user)
    if len(known) >= rules.MOST_KEYS:
        return TooManyKeys()
    key = rules.verify_new(answer, _site(), challenge)
    if isinstance(key, Refusal):
        return _refuse(session, key, context)
    if any(each.credential == key.credential for each in known):
        return KnownKey()
    SecurityKey.create(user=user, name=name, created_at=context.now, **vars(key))
    _count(user)
    record(EventKind.SECURITY_KEY_ADDED, context, user, name)
    sessions.end_others(session)
    sessions.move_on(session, Cause.KEYS_CHANGED, context)
    return None


@within_transaction
def _accept(session: Session, purpose: Purpose, answer: str, context: Context) -> Refusal | None:
    """Note the new count of the key that has answered, if it is one of the person's. One statement decides."""
    user, challenge = session.user, rules.challenge(purpose, session.token_digest)
    keys = {key.credential: key for key in of(user)}
    found = rules.verify_answer(answer, _site(), challenge, user.id, map(_as_known, keys.values()))
    if isinstance(found, Refusal):
        return _refuse(session, found, context)
    key, count = found
    row = keys[key.credential]
    if key.is_a_copy(count):
        return _refuse(session, CopiedKey(), context, row.name)
    as_read = (SecurityKey.id == row.id) & (SecurityKey.count == key.count)
    if not SecurityKey.update(count=count, last_used_at=context.now).where(as_read).execute():
        raise Superseded
    return None


@within_transaction
def _refuse(session: Session, refusal: Refusal, context: Context, name: str = "") -> Refusal:
    """Record it, as long as the session has not made many."""
    noted = Session.update(refused_answers=Session.refused_answers + 1).where(
        Session.id == session.id, Session.refused_answers < _MOST_REFUSALS_NOTED
    )
    if noted.execute():
        copied = isinstance(refusal, CopiedKey)
        record(EventKind.SECURITY_KEY_COPIED if copied else EventKind.SECURITY_KEY_REFUSED, context, session.user, name)
    return refusal


@within_transaction
def _count(user: User) -> None:
    """Note how many keys the person has."""
    many = SecurityKey.select(fn.COUNT(SecurityKey.id)).where(SecurityKey.user == user)
    for row in User.update(key_count=many).where(User.id == user.id).returning(User.key_count).execute():
        user.key_count = row.key_count


@within_transaction
def _has_a_spare(user: User) -> bool:
    """Return whether somebody who loses one key has another way in."""
    keys = len(of(user))
    return keys > 1 or (keys == 1 and recovery_codes_are_on() and user.has_saved_code())


def _site() -> Site:
    settings = store().settings
    return Site(settings["SITE_URL"], settings["SITE_NAME"])


def _as_known(row: SecurityKey) -> Key:
    return Key(row.credential, bytes(row.data), row.transports, row.count, row.is_synced)
