"""The tables and the atomic verbs on them; the only module that writes. Knows no Flask: a verb is given the Act it
belongs to, and finds its database and keys in the Store that is open."""

import json
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from hashlib import sha256
from typing import Any

from peewee import (
    JOIN,
    AutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    Case,
    CharField,
    ForeignKeyField,
    IntegerField,
    IntegrityError,
    Model,
    TextField,
    fn,
)

from authn import recovery_codes, throttle, totp
from authn.recovery_codes import Slip
from authn.sealing import Unreadable
from authn.throttle import EVERY_LIMIT, ONE_TIME_CODE, PASSWORD, RECOVERY_CODE, Limit
from store import OpenDatabase, store

log = logging.getLogger("sparekey.events")

INVITATION_SECONDS = 72 * 3600
_TOUCH_SECONDS = 60
_IDLE_THROTTLE_SECONDS = 30 * 86400
_ADDRESS = "address"
_AUTHENTICATOR_SECRET, _RECOVERY_CODE = "authenticator secret", "recovery code"  # what sealed values are bound to


# Shared pieces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """When, from where and by whom something is asked."""

    now: int  # seconds UTC
    remote_addr: str = ""
    user_agent: str = ""
    by: str = ""  # who acts, when it is not the person: an admin's address, "the command line"
    known_browser: str = ""  # the id of a browser that this account has finished a sign-in with


class Superseded(Exception):
    """Another request has moved this sign-in on, or ended it, since this one began. Nothing was changed."""


class Paused(Exception):
    """Nothing is compared until `until` (seconds UTC); None: not until an admin acts or the secret is replaced."""

    def __init__(self, until: int | None) -> None:
        super().__init__(until)
        self.until = until


class Step(StrEnum):
    """What is due before a session is signed in. A session at no step is."""

    CHALLENGE = "challenge"
    ENROLL = "enroll"
    SAVE_CODE = "save_code"
    LOST_DEVICE = "lost_device"


class Factor(StrEnum):
    """What stood in as second factor."""

    TOTP = "totp"
    RECOVERY = "recovery"


class Kind(StrEnum):
    """What an event tells."""

    USER_CREATED = auto()
    USER_INVITED = auto()
    INVITATION_USED = auto()
    USER_ACTIVATED = auto()
    USER_DEACTIVATED = auto()
    ADMIN_MADE = auto()
    ADMIN_REMOVED = auto()
    UNLOCKED = auto()
    PASSWORD_CHANGED = auto()
    PASSWORD_RIGHT = auto()
    PASSWORD_WRONG = auto()
    CODE_WRONG = auto()
    CODE_REPLAYED = auto()
    SIGNED_IN = auto()
    SIGNED_OUT = auto()
    SESSION_REVOKED = auto()
    STEPPED_UP = auto()
    PAUSED = auto()
    ENROLLMENT_STARTED = auto()
    ENROLLMENT_CODE_WRONG = auto()
    AUTHENTICATOR_ADDED = auto()
    AUTHENTICATOR_REPLACED = auto()
    MFA_RESET = auto()
    DEVICE_KEPT = auto()
    DEVICE_MISSING = auto()
    RECOVERY_CODE_MADE = auto()
    RECOVERY_CODE_SAVED = auto()
    RECOVERY_CODE_CLAIMED = auto()
    RECOVERY_CODE_WRONG = auto()
    RECOVERY_CODE_OLD = auto()
    RECOVERY_CODE_BUSY = auto()
    RECOVERY_CODE_WHILE_OFF = auto()
    RECOVERY_CODE_SPENT = auto()
    RECOVERY_NOTICE_DISMISSED = auto()
    RECOVERY_CODES_ENABLED = auto()
    RECOVERY_CODES_DISABLED = auto()
    UNREADABLE = auto()
    KEYS_RESEALED = auto()
    REQUEST_REFUSED = auto()


class Table(Model):
    class Meta:
        database = OpenDatabase()
        legacy_table_names = False


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _new_token() -> str:
    return secrets.token_urlsafe(32)  # 256 bits


# People ---------------------------------------------------------------------------------------------------------------


class User(Table):
    id = AutoField()
    email = CharField(unique=True)  # folded
    password_hash = CharField(null=True)  # null until the person has chosen one
    is_admin = BooleanField(default=False)
    is_active = BooleanField(default=True)
    created_at = BigIntegerField()
    password_changed_at = BigIntegerField(null=True)

    is_authenticated = True  # the three names that Flask-Login asks for
    is_anonymous = False

    def get_id(self) -> str:
        return str(self.id)

    @classmethod
    def add(cls, email: str, password: str | None, act: Act, *, is_admin: bool = False) -> "User | None":
        """A new person at a folded address, who can sign in once a password is there; None when the address is taken.
        Refused when the password may not be chosen."""
        password_hash = store().policy.hash_choice(password, email) if password is not None else None
        try:
            with store().database.atomic():
                user = cls.create(
                    email=email,
                    password_hash=password_hash,
                    password_changed_at=act.now if password_hash else None,
                    is_admin=is_admin,
                    created_at=act.now,
                )
                Event.record(Kind.USER_CREATED, act, user)
        except IntegrityError:
            return None
        return user

    @classmethod
    def remove(cls, emails: tuple[str, ...]) -> None:
        """Delete people and all that is theirs but the events, which then name nobody."""
        for email in emails:
            Throttle.forget(EVERY_LIMIT, email)
        cls.delete().where(cls.email.in_(emails)).execute()

    @classmethod
    def page(cls, now: int, after: str = "", size: int = 50) -> "list[Person]":
        """People by address, those after this one, with what they sign in with."""
        people = cls.select().where(cls.email > after).order_by(cls.email).limit(size)
        return Person.describe(list(people), now)

    @classmethod
    def with_password(cls, email: str, password: str, act: Act) -> "User | None":
        """The active person with this address and password, after charging a try; Paused when none may be made.

        Unknown, wrong and inactive cost the same: one charge, one look-up, one hash."""
        charge = Throttle.charge(PASSWORD, email, act)
        user = cls.get_or_none(cls.email == email)
        stored = user.password_hash if user and user.is_active else None
        matches, renewed = store().policy.verify(password, stored)
        if not (matches and user):
            Event.record(Kind.PASSWORD_WRONG, act, user)
            return None
        with store().database.atomic():
            charge.take_back()
            if renewed:
                cls.update(password_hash=renewed).where(cls.id == user.id, cls.password_hash == stored).execute()
            Event.record(Kind.PASSWORD_RIGHT, act, user)
        return user

    def enroll(self, act: Act, recovery_code: str | None = None) -> None:
        """Give a new person an authenticator app and a saved recovery code, as if set up long ago."""
        TotpAuthenticator.create(
            user=self,
            sealed_secret=store().keyring.seal(totp.new_secret(), _AUTHENTICATOR_SECRET, self.id),
            last_step=0,
            created_at=act.now,
            last_used_at=act.now,
        )
        if recovery_code:
            digest = recovery_codes.digest(recovery_codes.read(recovery_code), self.id)
            RecoveryCode.create(user=self, digest=digest, created_at=act.now, saved_at=act.now)

    def has_saved_code(self) -> bool:
        return bool(RecoveryCode.live(self).where(_saved).exists())

    def is_waiting_for_a_device(self) -> bool:
        """Whether the last answer to "do you still have your app?" was "not yet", and no new app was set up since."""
        answers = (Kind.DEVICE_MISSING, Kind.DEVICE_KEPT, Kind.AUTHENTICATOR_REPLACED, Kind.AUTHENTICATOR_ADDED)
        last = Event.of(self).where(Event.kind.in_(answers)).first()
        return last is not None and last.kind == Kind.DEVICE_MISSING

    def set_password(self, password: str, act: Act) -> None:
        """Give the person this password, in the caller's transaction; every session and known browser of theirs ends
        with the old one, but for what the caller keeps. Refused when it may not be chosen."""
        password_hash = store().policy.hash_choice(password, self.email)
        changed = {User.password_hash: password_hash, User.password_changed_at: act.now}
        User.update(changed).where(User.id == self.id).execute()
        Throttle.forget((PASSWORD,), self.email)
        Event.record(Kind.PASSWORD_CHANGED, act, self)

    def reset_mfa(self, act: Act, reason: str = "") -> str:
        """Take away app, recovery codes, sessions and password: nobody signs in until the link with the token that this
        returns has been used. So whoever knows only the old password cannot enroll first."""
        with store().database.atomic():
            _lock(self)
            TotpAuthenticator.delete().where(TotpAuthenticator.user == self).execute()
            RecoveryCode.retire_all(self, Retirement.RESET, act)
            Session.delete().where(Session.user == self).execute()
            User.update(password_hash=None).where(User.id == self.id).execute()
            Throttle.forget(EVERY_LIMIT, self.email)
            Event.record(Kind.MFA_RESET, act, self, reason)
            return Invitation.issue(self, act)

    def unlock(self, act: Act) -> None:
        """Let the person try again at once, whatever was typed wrong before and wherever."""
        with store().database.atomic():
            Throttle.forget(EVERY_LIMIT, self.email)
            Event.record(Kind.UNLOCKED, act, self)

    def activate(self, act: Act) -> bool:
        """Let the person sign in again; True."""
        return self._set(act, Kind.USER_ACTIVATED, is_active=True)

    def deactivate(self, act: Act) -> bool:
        """End the person's sessions and let them start none; False, and nothing changed, for the last active admin."""
        with store().database.atomic():
            if not self._set(act, Kind.USER_DEACTIVATED, is_active=False):
                return False
            Session.delete().where(Session.user == self).execute()
            return True

    def make_admin(self, act: Act) -> bool:
        """Let the person use the admin pages; True."""
        return self._set(act, Kind.ADMIN_MADE, is_admin=True)

    def remove_admin(self, act: Act) -> bool:
        """Close the admin pages to the person; False, and nothing changed, for the last active admin."""
        return self._set(act, Kind.ADMIN_REMOVED, is_admin=False)

    def _set(self, act: Act, kind: Kind, **changes: bool) -> bool:
        with store().database.atomic():
            User.update(id=User.id).where(User.is_admin).execute()  # one at a time: two could remove each other
            others = User.select().where(User.is_admin, User.is_active, User.id != self.id)
            if not (all(changes.values()) or others.exists()) and User.get_by_id(self.id).is_admin:
                return False
            if User.update(changes).where(User.id == self.id).execute():
                Event.record(kind, act, self)
            return True

    def unseen_recovery(self) -> "Event | None":
        """The use of a recovery code that the person has not dismissed the notice of."""
        kinds = (Kind.RECOVERY_CODE_SPENT, Kind.RECOVERY_NOTICE_DISMISSED)
        last = Event.of(self).where(Event.kind.in_(kinds)).first()
        return last if last and last.kind == Kind.RECOVERY_CODE_SPENT else None

    def dismiss_recovery_notice(self, act: Act) -> None:
        Event.record(Kind.RECOVERY_NOTICE_DISMISSED, act, self)

    @classmethod
    def count_without_code(cls) -> int:
        """How many have an app but no saved recovery code."""
        saved = RecoveryCode.select().where(RecoveryCode.user == TotpAuthenticator.user, _live, _saved)
        return int(TotpAuthenticator.select().where(~fn.EXISTS(saved)).count())


@dataclass(frozen=True)
class Person:
    """A person as admins see them."""

    user: User
    enrolled: bool
    enrolling: bool
    code_saved: bool
    code_unsaved: bool
    last_sign_in: int | None
    is_paused: bool
    paused_until: int | None  # None while paused: until an admin acts

    @classmethod
    def describe(cls, users: list[User], now: int) -> "list[Person]":
        """Everything about a page of people in a handful of queries, however many they are."""
        ids = [user.id for user in users]
        enrolled = _owners(TotpAuthenticator.select(TotpAuthenticator.user), TotpAuthenticator, ids)
        enrolling = _owners(Session.select(Session.user).join(Enrollment), Session, ids)
        live_codes = RecoveryCode.select(RecoveryCode.user).where(_live)
        code_saved = _owners(live_codes.where(_saved), RecoveryCode, ids)
        code_unsaved = _owners(live_codes.where(~_saved), RecoveryCode, ids)
        sign_ins = Event.select(Event.user, fn.MAX(Event.at)).where(Event.kind == Kind.SIGNED_IN, Event.user.in_(ids))
        last_sign_in = dict(sign_ins.group_by(Event.user).tuples().iterator())
        pauses = Throttle.pauses([user.email for user in users], now)
        return [
            cls(
                user,
                enrolled=user.id in enrolled,
                enrolling=user.id in enrolling,
                code_saved=user.id in code_saved,
                code_unsaved=user.id in code_unsaved,
                last_sign_in=last_sign_in.get(user.id),
                is_paused=user.email in pauses,
                paused_until=pauses.get(user.email),
            )
            for user in users
        ]


def _owners(rows: Any, table: Any, user_ids: list[int]) -> set[int]:
    """Which of these people own one of the rows."""
    return {user_id for (user_id,) in rows.where(table.user.in_(user_ids)).tuples()}


def _lock(user: User) -> None:
    """Let the transaction that follows be the only one about this person. SQLite has one writer anyway."""
    User.update(id=User.id).where(User.id == user.id).execute()


# Sessions -------------------------------------------------------------------------------------------------------------


class Session(Table):
    """A sign-in, from the right password to signing out. Its cookie holds a token; the row only the token's digest."""

    id = AutoField()
    token_digest = CharField(max_length=64, unique=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    step = CharField(max_length=16, null=True)  # the Step that is due; null when signed in
    step_at = BigIntegerField()
    second_factor = CharField(max_length=16, null=True)
    created_at = BigIntegerField()
    last_seen_at = BigIntegerField()
    verified_at = BigIntegerField(null=True)  # when password and six-digit code were last both given
    remote_addr = CharField(max_length=45)
    user_agent = TextField()
    next_path = TextField()

    @classmethod
    def start(cls, user: User, next_path: str, act: Act) -> str:
        """Begin a sign-in for the person whose password was right; the token for the cookie."""
        token = _new_token()
        with store().database.atomic():
            _sweep(act.now)
            enrolled = TotpAuthenticator.select().where(TotpAuthenticator.user == user).exists()
            cls.create(
                token_digest=_digest(token),
                user=user,
                step=Step.CHALLENGE if enrolled else Step.ENROLL,
                step_at=act.now,
                created_at=act.now,
                last_seen_at=act.now,
                remote_addr=act.remote_addr,
                user_agent=act.user_agent,
                next_path=next_path,
            )
        return token

    @classmethod
    def find(cls, token: str) -> "Session | None":
        """The session of an active person that this token belongs to, expired or not, in one statement."""
        sessions = cls.select(cls, User).join(User)
        found: Session | None = sessions.where(cls.token_digest == _digest(token), User.is_active).first()
        return found

    @property
    def is_signed_in(self) -> bool:
        return self.step is None and self.second_factor is not None

    @property
    def expires_at(self) -> int:
        limits = store().lifetimes
        if self.is_signed_in:
            return min(self.last_seen_at + limits.idle, self.created_at + limits.overall)
        long_step = self.step in (Step.ENROLL, Step.SAVE_CODE)
        return int(self.step_at) + (limits.enrollment if long_step else limits.sign_in)

    def touch(self, now: int) -> None:
        """Note that the person is active; written at most once a minute."""
        if now - self.last_seen_at >= _TOUCH_SECONDS:
            Session.update(last_seen_at=now).where(Session.id == self.id).execute()

    def end(self, act: Act | None = None) -> None:
        """Delete the session: a copied cookie is dead, and a recovery code it claimed is free again."""
        with store().database.atomic():
            if Session.delete().where(Session.id == self.id).execute() and act:
                Event.record(Kind.SIGNED_OUT, act, self.user)

    @classmethod
    def of(cls, user: User, now: int) -> "list[Session]":
        """The person's signed-in sessions, the latest seen first."""
        signed_in = cls.select().where(cls.user == user, cls.step.is_null())
        latest_first = signed_in.order_by(cls.last_seen_at.desc(), cls.id.desc())
        return [session for session in latest_first if session.expires_at > now]

    @classmethod
    def revoke(cls, user: User, session_id: int, act: Act) -> bool:
        """End this session if it is the person's; say whether it was."""
        with store().database.atomic():
            revoked = cls.delete().where(cls.id == session_id, cls.user == user).execute()
            if revoked:
                Event.record(Kind.SESSION_REVOKED, act, user)
        return bool(revoked)

    def revoke_others(self, act: Act) -> int:
        """Sign out everywhere else; how many browsers were signed in. Unfinished sign-ins end as well."""
        with store().database.atomic():
            signed_in = len([other for other in Session.of(self.user, act.now) if other.id != self.id])
            self.end_others()
            Event.record(Kind.SESSION_REVOKED, act, self.user, "all others")
        return signed_in

    def change_password(self, current: str, new: str, act: Act) -> "str | Refusal":
        """Give the person a new password, which ends every other session of theirs; the new token, or why not. Refused
        when the new one may not be chosen."""
        store().policy.check(new, self.user.email)
        if User.with_password(self.user.email, current, act) is None:
            return Refusal.OTHER_PASSWORD
        with store().database.atomic():
            _lock(self.user)
            self._still_as_found()
            self.user.set_password(new, act)
            self.end_others()
            return self._move_on(None, act)

    def end_others(self, *, unfinished_only: bool = False) -> int:
        """Delete the person's other sessions; how many."""
        others = (Session.user == self.user) & (Session.id != self.id)
        if unfinished_only:
            others &= Session.step.is_null(False)
        return int(Session.delete().where(others).execute())

    def pass_challenge(self, code: str, act: Act, *, codes_on: bool) -> "str | Refusal":
        """Accept a six-digit code as the second factor and go on; the new token, or why not."""
        tried = TotpAuthenticator.try_code(self.user, code, act)
        if isinstance(tried, Refusal):
            return tried
        with store().database.atomic():
            if not tried.accept(act):
                self._still_as_found()
                return Refusal.USED
            if codes_on and not self.user.has_saved_code():
                RecoveryCode.offer(self.user, act)
                return self._move_on(Step.SAVE_CODE, act, second_factor=Factor.TOTP)
            return self._finish(act, second_factor=Factor.TOTP)

    def step_up(self, password: str, code: str, act: Act) -> "str | Refusal":
        """Take password and six-digit code again; the new token, or why not. A recovery code does not do."""
        if User.with_password(self.user.email, password, act) is None:
            return Refusal.OTHER_PASSWORD
        tried = TotpAuthenticator.try_code(self.user, code, act)
        if isinstance(tried, Refusal):
            return tried
        with store().database.atomic():
            if not tried.accept(act):
                self._still_as_found()
                return Refusal.USED
            Throttle.clear((PASSWORD, ONE_TIME_CODE), self.user.email, act)
            Event.record(Kind.STEPPED_UP, act, self.user)
            return self._move_on(None, act, verified_at=act.now)

    def save_code(self, shown: str, act: Act) -> str | None:
        """Confirm that the code that was shown (its digest) is saved, and do what waited for it: complete the
        enrollment, or spend the recovery code this sign-in claimed. The new token; None when another code is it now."""
        with store().database.atomic():
            _lock(self.user)
            pending = self.pending_code()
            if pending is None or pending.digest != shown:
                self._still_as_found()
                return None
            if pending.enrollment:
                return pending.enrollment.complete(self, act, pending)
            recovering = self.step == Step.SAVE_CODE and self.second_factor == Factor.RECOVERY
            if recovering and not RecoveryCode.spend(self, act):
                raise Superseded
            RecoveryCode.confirm(self.user, pending.digest, act)
            self.end_others(unfinished_only=True)
            if recovering:
                return self._move_on(Step.LOST_DEVICE, act)
            return self._finish(act) if self.step else self._move_on(None, act)

    def is_enrolling(self) -> bool:
        """Whether a new app is confirmed and waits for its recovery code to be saved."""
        return self._confirmed_enrollment() is not None

    def can_go_without_code(self) -> bool:
        """Whether something waits for a code to be saved that can be finished without one: not a recovery sign-in."""
        if self.step == Step.SAVE_CODE:
            return self.second_factor != Factor.RECOVERY
        return self.step is None and self.is_enrolling()

    def go_without_code(self, act: Act) -> str:
        """Finish what waits for a code to be saved, now that codes are off; the new token."""
        with store().database.atomic():
            _lock(self.user)
            enrollment = self._confirmed_enrollment()
            return enrollment.complete(self, act) if enrollment else self._finish(act)

    def answer_lost_device(self, act: Act, *, kept: bool) -> str:
        """Sign in after a recovery code without setting up a new app now; the new token."""
        with store().database.atomic():
            Event.record(Kind.DEVICE_KEPT if kept else Kind.DEVICE_MISSING, act, self.user)
            return self._finish(act)

    def pending_code(self) -> "PendingCode | None":
        """The code this session is to save: its enrollment's, or else the person's unsaved one."""
        enrollment = self._confirmed_enrollment()
        if enrollment and enrollment.sealed_code:
            return PendingCode.open(enrollment.sealed_code, enrollment.confirmed_at, self.user, enrollment)
        unsaved = RecoveryCode.live(self.user).where(~_saved).first()
        return PendingCode.open(unsaved.sealed_code, unsaved.created_at, self.user) if unsaved else None

    def _confirmed_enrollment(self) -> "Enrollment | None":
        return Enrollment.get_or_none(Enrollment.session == self, Enrollment.confirmed_step.is_null(False))

    def _still_as_found(self) -> None:
        """Raise Superseded when this session has a new token, or is gone, since it was read."""
        if not Session.select().where(self._as_found()).exists():
            raise Superseded

    def _as_found(self) -> Any:
        return (Session.id == self.id) & (Session.token_digest == self.token_digest)

    def _move_on(self, step: Step | None, act: Act, **changes: Any) -> str:
        """Go to the step under a new token; the old one is dead. Superseded when another request was first."""
        token = _new_token()
        if step is not None:
            changes["step_at"] = act.now
        moved = (
            Session.update(token_digest=_digest(token), step=step, last_seen_at=act.now, **changes)
            .where(self._as_found())
            .execute()
        )
        if not moved:
            raise Superseded
        return token

    def _finish(self, act: Act, **changes: Any) -> str:
        """Sign in: every step is done. Clears the counts of what was used; a sign-in by app is a step-up as well."""
        factor = changes.get("second_factor", self.second_factor)
        if factor == Factor.TOTP:
            changes["verified_at"] = act.now
        used = ONE_TIME_CODE if factor == Factor.TOTP else RECOVERY_CODE
        Throttle.clear((PASSWORD, used), self.user.email, act)
        Event.record(Kind.SIGNED_IN, act, self.user, factor or "")
        return self._move_on(None, act, **changes)


class Refusal(Enum):
    """Why a six-digit code or a password was not taken."""

    NOT_A_CODE = auto()  # not six digits, and not a try
    WRONG = auto()
    USED = auto()
    OTHER_PASSWORD = auto()


def _sweep(now: int) -> None:
    """Delete what has expired. Counts of six-digit and recovery codes stay: only people past a password have them."""
    limits = store().lifetimes
    unfinished = Session.step.is_null(False) & (Session.step_at < now - max(limits.sign_in, limits.enrollment))
    idle = Session.step.is_null() & (Session.last_seen_at < now - limits.idle)
    Session.delete().where(unfinished | idle | (Session.created_at < now - limits.overall)).execute()
    idle_password = Throttle.key.startswith(PASSWORD.kind) & (Throttle.updated_at < now - _IDLE_THROTTLE_SECONDS)
    idle_address = Throttle.key.startswith(_ADDRESS) & (Throttle.paused_until < now)
    Throttle.delete().where(idle_password | idle_address).execute()


# The authenticator app ------------------------------------------------------------------------------------------------


class TotpAuthenticator(Table):
    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE", unique=True)
    sealed_secret = BlobField()
    last_step = BigIntegerField()  # the newest 30-second step a code was accepted for, wherever it was typed
    created_at = BigIntegerField()
    last_used_at = BigIntegerField()

    charge: "Charge"  # what try_code found, until accept
    step: int

    @classmethod
    def try_code(cls, user: User, typed: str, act: Act) -> "TotpAuthenticator | Refusal":
        """Charge a try, then compare; the authenticator that shows this code, to be asked to accept it. What is not six
        digits is not a try. Paused when none may be made."""
        Throttle.check(ONE_TIME_CODE, user.email, act)
        code = totp.read(typed)
        if code is None:
            return Refusal.NOT_A_CODE
        charge = Throttle.charge(ONE_TIME_CODE, user.email, act)
        authenticator = cls.get_or_none(cls.user == user)
        step = authenticator._matching_step(code, act) if authenticator else None
        if authenticator is None or step is None:
            Event.record(Kind.CODE_WRONG, act, user)
            return Refusal.WRONG
        authenticator.charge, authenticator.step = charge, step
        return authenticator

    def accept(self, act: Act) -> bool:
        """Use the code up if it is newer than every one accepted before; say whether it was. One statement decides.

        A used code keeps its charge: who types one may be reading over a shoulder."""
        accepted = (
            TotpAuthenticator.update(last_step=self.step, last_used_at=act.now)
            .where(TotpAuthenticator.id == self.id, TotpAuthenticator.last_step < self.step)
            .execute()
        )
        if accepted:
            self.charge.take_back()
        else:
            Event.record(Kind.CODE_REPLAYED, act, self.user)
        return bool(accepted)

    @classmethod
    def newest_secret(cls, email: str) -> bytes | None:
        """The secret this person's app holds, or the first one is to hold: for the demo's phone."""
        user = User.get_or_none(User.email == email)
        begun = Enrollment.select().join(Session).where(Session.user == user).order_by(Enrollment.id.desc())
        newest = cls.get_or_none(cls.user == user) or begun.first()
        return newest.secret() if newest else None

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, _AUTHENTICATOR_SECRET, self.user)

    def _matching_step(self, code: str, act: Act) -> int | None:
        """No code matches a secret that cannot be read: what was changed or lost lets nobody in."""
        try:
            return totp.matching_step(self.secret(), code, act.now)
        except Unreadable:
            Event.record(Kind.UNREADABLE, act, self.user, _AUTHENTICATOR_SECRET)
            return None


class Enrollment(Table):
    """An authenticator app being set up. It belongs to the session that began it and changes nothing until complete."""

    id = AutoField()
    session = ForeignKeyField(Session, on_delete="CASCADE", unique=True)
    sealed_secret = BlobField()
    confirmed_step = BigIntegerField(null=True)  # the step of the code that proved the app
    confirmed_at = BigIntegerField(null=True)
    sealed_code = BlobField(null=True)  # the recovery code to be saved before this is complete
    replaces = IntegerField(null=True)  # the id of the authenticator the person had at the start
    started_at = BigIntegerField()

    @classmethod
    def of(cls, session: Session, act: Act) -> "Enrollment":
        """The session's enrollment, begun if there is none or the last one ran out of time."""
        enrollment = cls.open_in(session, act.now)
        if enrollment:
            return enrollment
        with store().database.atomic():
            _lock(session.user)
            session._still_as_found()
            enrollment = cls.open_in(session, act.now)  # another request may just have begun it
            if enrollment:
                return enrollment
            cls.delete().where(cls.session == session).execute()
            current = TotpAuthenticator.get_or_none(TotpAuthenticator.user == session.user)
            Event.record(Kind.ENROLLMENT_STARTED, act, session.user)
            Session.update(step_at=act.now).where(Session.id == session.id, Session.step == Step.LOST_DEVICE).execute()
            return cls.create(
                session=session,
                sealed_secret=store().keyring.seal(totp.new_secret(), _AUTHENTICATOR_SECRET, session.user.id),
                replaces=current and current.id,
                started_at=act.now,
            )

    @classmethod
    def open_in(cls, session: Session, now: int) -> "Enrollment | None":
        since = now - store().lifetimes.enrollment
        return cls.get_or_none(cls.session == session, cls.started_at > since)

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, _AUTHENTICATOR_SECRET, self.session.user)

    def follows_an_abandoned_one(self) -> bool:
        """Whether the person has begun before and not finished, so that the app may hold an entry that never worked."""
        kinds = (Kind.ENROLLMENT_STARTED, Kind.AUTHENTICATOR_ADDED, Kind.AUTHENTICATOR_REPLACED)
        events = Event.select(Event.kind).where(Event.user == self.session.user, Event.kind.in_(kinds))
        last_two = [event.kind for event in events.order_by(Event.id.desc()).limit(2)]
        return last_two == [Kind.ENROLLMENT_STARTED] * 2

    def wrong_codes(self) -> int:
        """How many codes were typed in vain since this began."""
        here = (Event.user == self.session.user) & (Event.kind == Kind.ENROLLMENT_CODE_WRONG)
        return int(Event.select().where(here, Event.at >= self.started_at).count())

    def confirm(self, session: Session, typed: str, act: Act, *, codes_on: bool) -> "str | Refusal | None":
        """Take the first code of the new app: prepare the recovery code where one is due (None), or else complete the
        enrollment (the new token). The secret is on the person's screen, so tries are not charged."""
        code = totp.read(typed)
        if code is None:
            return Refusal.NOT_A_CODE
        step = totp.matching_step(self.secret(), code, act.now)
        if step is None:
            Event.record(Kind.ENROLLMENT_CODE_WRONG, act, session.user)
            return Refusal.WRONG
        with store().database.atomic():
            _lock(session.user)
            session._still_as_found()
            self.confirmed_step, self.confirmed_at = step, act.now
            code_is_due = codes_on and not session.user.has_saved_code()
            if code_is_due and not self.sealed_code:
                new_code = recovery_codes.generate().encode()
                self.sealed_code = store().keyring.seal(new_code, _RECOVERY_CODE, session.user.id)
            self.save()
            if not code_is_due:
                return self.complete(session, act)
            if session.step:  # the token stays: a double click finds its session
                Session.update(step=Step.SAVE_CODE, step_at=act.now).where(Session.id == session.id).execute()
            return None

    def complete(self, session: Session, act: Act, code: "PendingCode | None" = None) -> str:
        """Switch the new app on and make its recovery code live, in the caller's transaction; the new token. Every
        other session of the person ends. Superseded when the app it was to replace is not the one in use any more."""
        user = session.user
        current = TotpAuthenticator.get_or_none(TotpAuthenticator.user == user)
        if (current and current.id) != self.replaces:
            raise Superseded
        TotpAuthenticator.delete().where(TotpAuthenticator.user == user).execute()
        TotpAuthenticator.create(
            user=user,
            sealed_secret=self.sealed_secret,
            last_step=self.confirmed_step,
            created_at=act.now,
            last_used_at=act.now,
        )
        Event.record(Kind.AUTHENTICATOR_REPLACED if current else Kind.AUTHENTICATOR_ADDED, act, user)
        if code:
            RecoveryCode.create(user=user, digest=code.digest, created_at=code.made_at)
            RecoveryCode.confirm(user, code.digest, act)
        Throttle.forget((ONE_TIME_CODE,), user.email)
        session.end_others()
        Enrollment.delete().where(Enrollment.id == self.id).execute()
        if session.step is None:
            return session._move_on(None, act)
        return session._finish(act, second_factor=session.second_factor or Factor.TOTP)


def _unseal(sealed: Any, purpose: str, user: User) -> bytes:
    return store().keyring.unseal(bytes(sealed), purpose, user.id)


# Recovery codes -------------------------------------------------------------------------------------------------------


class Retirement(StrEnum):
    """How a recovery code stopped working."""

    SPENT = "spent"
    REPLACED = "replaced"
    RESET = "reset"


@dataclass(frozen=True)
class Old:
    """The code was this person's and has been retired."""

    at: int
    how: Retirement


@dataclass(frozen=True)
class Busy:
    """Another browser is signing in with the code; it is free again at `until` unless that sign-in is finished."""

    until: int


@dataclass(frozen=True)
class PendingCode:
    """A code in plain, waiting to be saved, and the enrollment that waits for it, if one does."""

    code: str
    made_at: int
    user: User
    enrollment: Enrollment | None = None

    @property
    def digest(self) -> str:
        return recovery_codes.digest(self.code, self.user.id)

    @classmethod
    def open(cls, sealed: Any, made_at: Any, user: User, enrollment: Enrollment | None = None) -> "PendingCode":
        return cls(_unseal(sealed, _RECOVERY_CODE, user).decode(), made_at, user, enrollment)


class RecoveryCode(Table):
    """Live until retired; the row stays, so that an old code can be told from a wrong one."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    digest = CharField(max_length=64, unique=True)
    sealed_code = BlobField(null=True)  # until it is saved, so that the prompt can show it again
    claimed_by = ForeignKeyField(Session, null=True, on_delete="SET NULL")
    created_at = BigIntegerField()
    saved_at = BigIntegerField(null=True)
    retired_at = BigIntegerField(null=True)
    retired_by = CharField(max_length=16, null=True)  # a Retirement

    @classmethod
    def live(cls, user: User) -> Any:
        return cls.select().where(cls.user == user, cls.retired_at.is_null())

    @classmethod
    def issue(cls, user: User, act: Act) -> None:
        """Make a code to be saved. It works at once; so does a saved one, until this one is confirmed as saved."""
        code = recovery_codes.generate()
        with store().database.atomic():
            _lock(user)
            cls._retire((cls.user == user) & cls.saved_at.is_null(), Retirement.REPLACED, act)
            cls.create(
                user=user,
                digest=recovery_codes.digest(code, user.id),
                sealed_code=store().keyring.seal(code.encode(), _RECOVERY_CODE, user.id),
                created_at=act.now,
            )
            Event.record(Kind.RECOVERY_CODE_MADE, act, user)

    @classmethod
    def offer(cls, user: User, act: Act) -> None:
        """Have an unsaved code ready: the one that was shown before, which may be on paper by now, or a new one."""
        if not cls.live(user).where(cls.saved_at.is_null()).exists():
            cls.issue(user, act)

    @classmethod
    def confirm(cls, user: User, digest: str, act: Act) -> None:
        """Note that the person has this code: the plain text is erased and every other code retired."""
        cls._retire((cls.user == user) & (cls.digest != digest), Retirement.REPLACED, act)
        saved = {cls.saved_at: act.now, cls.sealed_code: None}
        cls.update(saved).where(cls.digest == digest, cls.saved_at.is_null()).execute()
        Event.record(Kind.RECOVERY_CODE_SAVED, act, user)

    @classmethod
    def count_saved(cls) -> int:
        return int(cls.select().where(_live, _saved).count())

    @classmethod
    def retire_all(cls, user: User, how: Retirement, act: Act) -> None:
        cls._retire(cls.user == user, how, act)

    @classmethod
    def claim(cls, session: Session, typed: str, act: Act) -> "Slip | Refusal | Old | Busy | None":
        """Set the code aside for this unfinished sign-in, which goes on to save the replacement made here; None when
        that is so. It is spent only when the replacement is saved, so a cut-off sign-in costs nothing. A typing slip is
        not a try. Paused when no try may be made."""
        Throttle.check(RECOVERY_CODE, session.user.email, act)
        try:
            digest = recovery_codes.digest(recovery_codes.read(typed), session.user.id)
        except Slip as slip:
            return slip
        charge = Throttle.charge(RECOVERY_CODE, session.user.email, act)
        with store().database.atomic():
            _lock(session.user)
            free = cls.claimed_by.is_null() | (cls.claimed_by == session) | cls.claimed_by.not_in(_claiming(act.now))
            this_one = (cls.user == session.user) & (cls.digest == digest)
            if cls.update(claimed_by=session).where(this_one, cls.retired_at.is_null(), free).execute():
                charge.take_back()
                cls._go_on_to_replace(session, digest, act)
                return None
        return cls._refusal(session.user, digest, act)

    @classmethod
    def spend(cls, session: Session, act: Act) -> bool:
        """Use up the code that this sign-in claimed, if it still may; say whether it was."""
        spent = cls._retire(cls.claimed_by == session, Retirement.SPENT, act)
        if spent:
            Event.record(Kind.RECOVERY_CODE_SPENT, act, session.user)
        return bool(spent)

    @classmethod
    def _go_on_to_replace(cls, session: Session, digest: str, act: Act) -> None:
        """Move the claiming session to the prompt, once however often the code is sent; its token stays."""
        moved = (
            Session.update(step=Step.SAVE_CODE, step_at=act.now, second_factor=Factor.RECOVERY)
            .where(session._as_found(), Session.step == Step.CHALLENGE)
            .execute()
        )
        if not moved:
            session._still_as_found()
            return
        if cls.live(session.user).where(cls.digest == digest, ~_saved).exists():
            cls.confirm(session.user, digest, act)  # whoever types an unsaved code has it, and makes room for another
        cls.issue(session.user, act)
        Event.record(Kind.RECOVERY_CODE_CLAIMED, act, session.user)

    @classmethod
    def _refusal(cls, user: User, digest: str, act: Act) -> "Refusal | Old | Busy":
        code = cls.get_or_none(cls.user == user, cls.digest == digest)
        if code is None:
            Event.record(Kind.RECOVERY_CODE_WRONG, act, user)
            return Refusal.WRONG
        if code.retired_at is not None:
            Event.record(Kind.RECOVERY_CODE_OLD, act, user)
            return Old(code.retired_at, Retirement(str(code.retired_by)))
        Event.record(Kind.RECOVERY_CODE_BUSY, act, user)
        return Busy(code.claimed_by.expires_at if code.claimed_by else act.now)

    @classmethod
    def _retire(cls, which: Any, how: Retirement, act: Act) -> int:
        retired = {cls.retired_at: act.now, cls.retired_by: how, cls.sealed_code: None}
        return int(cls.update(retired).where(which, cls.retired_at.is_null()).execute())


_live, _saved = RecoveryCode.retired_at.is_null(), RecoveryCode.saved_at.is_null(False)
for _name, _which in {"saved": _live & _saved, "unsaved": _live & ~_saved}.items():
    RecoveryCode.add_index(
        RecoveryCode.index(RecoveryCode.user, unique=True, where=_which, name=f"recovery_code_one_{_name}")
    )


def _claiming(now: int) -> Any:
    """The sessions whose claim on a recovery code stands."""
    since = now - store().lifetimes.enrollment
    return Session.select(Session.id).where(Session.step == Step.SAVE_CODE, Session.step_at > since)


# Tries ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Charge:
    """A try that was counted before anything was compared."""

    account: str  # the keys it was counted under
    address: str

    def take_back(self) -> None:
        """Uncount it: the secret was right. The pause it may have brought goes with it."""
        fewer = {Throttle.failures: Throttle.failures - 1}
        Throttle.update({**fewer, Throttle.paused_until: 0}).where(
            Throttle.key == self.account, _any_failures
        ).execute()
        Throttle.update(fewer).where(Throttle.key == self.address, _any_failures).execute()


class Throttle(Table):
    """Failures in a row by kind of secret and account, and by browser where the account knows it; and failures in a
    window of time by address. Keys are keyed hashes: people type passwords into the address field."""

    key = CharField(primary_key=True)
    failures = IntegerField()
    paused_until = BigIntegerField(default=0)  # of an address: the end of its window
    updated_at = BigIntegerField()

    @classmethod
    def charge(cls, limit: Limit, email: str, act: Act) -> Charge:
        """Count a try, in a transaction of its own, before anything is compared; Paused when none may be made. Of any
        number at once, only as many are let through as are free."""
        account = cls._key(limit, email) + act.known_browser
        with store().database.atomic():
            address = cls._charge_address(act)
            not_paused = cls.paused_until <= act.now
            not_stopped = cls.failures < limit.stop if limit.stop else True
            failures = cls._count(account, act, {}, not_paused & not_stopped)
            if failures is None:
                cls.check(limit, email, act)
                raise Paused(act.now + 1)  # it was lifted between the two statements
            pause = limit.pause_seconds(failures)
            cls.update(paused_until=act.now + pause if pause else 0).where(cls.key == account).execute()
        return Charge(account, address)

    @classmethod
    def _charge_address(cls, act: Act) -> str:
        key = f"{_ADDRESS}:{store().keyring.fingerprint('throttle', throttle.network(act.remote_addr))}"
        limit, window_end = store().address_limit, act.now + throttle.ADDRESS_WINDOW_SECONDS
        if limit:
            window_is_over = cls.paused_until <= act.now
            update = {
                cls.failures: Case(None, [(window_is_over, 1)], cls.failures + 1),
                cls.paused_until: Case(None, [(window_is_over, window_end)], cls.paused_until),
            }
            if cls._count(key, act, update, window_is_over | (cls.failures < limit), window_end) is None:
                raise Paused(cls.get_by_id(key).paused_until)
        return key

    @classmethod
    def _count(cls, key: str, act: Act, update: Any, where: Any, paused_until: int = 0) -> int | None:
        """Count one failure under the key, in one statement; how many there are now, or None if `where` forbids it."""
        counted = (
            cls.insert(key=key, failures=1, paused_until=paused_until, updated_at=act.now)
            .on_conflict(
                conflict_target=[cls.key],
                update={cls.failures: cls.failures + 1, cls.updated_at: act.now, **update},
                where=where,
            )
            .returning(cls.failures)
            .execute()
        )
        return next((int(row.failures) for row in counted), None)

    @classmethod
    def check(cls, limit: Limit, email: str, act: Act) -> None:
        """Raise Paused when no try may be made now; counts nothing."""
        found = cls.get_or_none(cls.key == cls._key(limit, email) + act.known_browser)
        if found is None:
            return
        if limit.is_stopped(found.failures):
            raise Paused(None)
        if found.paused_until > act.now:
            raise Paused(found.paused_until)

    @classmethod
    def clear(cls, limits: tuple[Limit, ...], email: str, act: Act) -> None:
        """A sign-in was finished with these: forget the failures of this browser, or of all strangers if it is one."""
        keys = [cls._key(limit, email) + act.known_browser for limit in limits]
        cls.delete().where(cls.key.in_(keys)).execute()

    @classmethod
    def forget(cls, limits: tuple[Limit, ...], email: str) -> None:
        """Forget every failure with these, whatever browser it came from: the secret is another one now."""
        for limit in limits:
            cls.delete().where(cls.key.startswith(cls._key(limit, email))).execute()

    @classmethod
    def pauses(cls, emails: list[str], now: int) -> dict[str, int | None]:
        """For whom strangers' tries are paused, and until when; None: stopped until an admin acts."""
        keys = {cls._key(limit, email): (limit, email) for limit in EVERY_LIMIT for email in emails}
        paused: dict[str, int | None] = {}
        for row in cls.select().where(cls.key.in_(list(keys))):
            limit, email = keys[row.key]
            if limit.is_stopped(row.failures):
                paused[email] = None
            elif row.paused_until > now and paused.get(email, 0) is not None:
                paused[email] = max(row.paused_until, paused.get(email) or 0)
        return paused

    @classmethod
    def _key(cls, limit: Limit, email: str) -> str:
        return f"{limit.kind}:{store().keyring.fingerprint('throttle', email)}:"


_any_failures = Throttle.failures > 0


# The record -----------------------------------------------------------------------------------------------------------


class Event(Table):
    """What happened, for the person and the admins. Never a secret, nor anything that was typed."""

    id = AutoField()
    at = BigIntegerField(index=True)
    kind = CharField(max_length=32)  # a Kind
    user = ForeignKeyField(User, null=True, on_delete="SET NULL", index=False)  # see Meta
    actor = CharField()
    remote_addr = CharField(max_length=45)
    user_agent = TextField()
    detail = TextField()

    class Meta:
        indexes = ((("user", "id"), False), (("user", "kind", "at"), False))

    @classmethod
    def of(cls, user: User | None = None) -> Any:
        """What happened, newest first: to this person, or to anybody."""
        events = cls.select(cls, User).join(User, JOIN.LEFT_OUTER).order_by(cls.id.desc())
        return events.where(cls.user == user) if user else events

    @classmethod
    def page(cls, user: User | None = None, before: int | None = None, size: int = 50) -> "list[Event]":
        """A page of what happened, newest first, older than event `before`."""
        events = cls.of(user).where(cls.id < before) if before else cls.of(user)
        return list(events.limit(size))

    @classmethod
    def record(cls, kind: Kind, act: Act, user: User | None = None, detail: str = "") -> None:
        """Write the event, and one log line once it is committed: JSON, in which nothing can break the line."""
        event = cls.create(
            at=act.now,
            kind=kind,
            user=user,
            actor=act.by,
            remote_addr=act.remote_addr,
            user_agent=act.user_agent,
            detail=detail,
        )
        store().database.after_commit(lambda: log.info(json.dumps(event.facts())))

    def facts(self) -> dict[str, str | None]:
        """The event as a log line tells it."""
        return {
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "event": self.kind,
            "user": self.user.email if self.user else None,
            "by": self.actor,
            "from": self.remote_addr,
            "browser": self.user_agent,
            "detail": self.detail,
        }


class Setting(Table):
    """What an admin switches while the site runs."""

    key = CharField(primary_key=True)
    value = CharField()
    changed_at = BigIntegerField()
    changed_by = CharField()

    _RECOVERY_CODES = "recovery codes"

    @classmethod
    def recovery_codes_on(cls) -> bool:
        return bool(cls.select().where(cls.key == cls._RECOVERY_CODES, cls.value == "on").exists())

    @classmethod
    def switch_recovery_codes(cls, on: bool, act: Act) -> None:
        """In force in every worker at its next request. Codes are kept; unspent ones work again when switched on."""
        changed = {cls.value: "on" if on else "off", cls.changed_at: act.now, cls.changed_by: act.by}
        with store().database.atomic():
            cls.insert({cls.key: cls._RECOVERY_CODES, **changed}).on_conflict(
                conflict_target=[cls.key], update=changed
            ).execute()
            Event.record(Kind.RECOVERY_CODES_ENABLED if on else Kind.RECOVERY_CODES_DISABLED, act)


class Invitation(Table):
    """A link with which a person chooses a password, once. It never stands in for the second factor."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    token_digest = CharField(max_length=64, unique=True)
    expires_at = BigIntegerField()
    used_at = BigIntegerField(null=True)

    @classmethod
    def issue(cls, user: User, act: Act) -> str:
        """A new link's token; the person's earlier links stop working."""
        token = _new_token()
        with store().database.atomic():
            cls.delete().where(cls.user == user).execute()
            cls.create(user=user, token_digest=_digest(token), expires_at=act.now + INVITATION_SECONDS)
            Event.record(Kind.USER_INVITED, act, user)
        return token

    @classmethod
    def find(cls, token: str, now: int) -> "Invitation | None":
        """The open invitation this token belongs to."""
        invitations = cls.select(cls, User).join(User)
        is_open = (cls.token_digest == _digest(token)) & cls.used_at.is_null() & (cls.expires_at > now) & User.is_active
        found: Invitation | None = invitations.where(is_open).first()
        return found

    def use(self, password: str, act: Act) -> bool:
        """Give the person the password they chose and end their sessions; False when the link was used meanwhile.
        Refused when it may not be chosen."""
        with store().database.atomic():
            unused = (Invitation.id == self.id) & Invitation.used_at.is_null()
            if not Invitation.update(used_at=act.now).where(unused).execute():
                return False
            Event.record(Kind.INVITATION_USED, act, self.user)
            self.user.set_password(password, act)
            Session.delete().where(Session.user == self.user).execute()
            return True


def reseal(act: Act) -> tuple[int, int]:
    """Seal with the newest key what an earlier one sealed; how many values were, and how many no key of ours opens."""
    counts = [0, 0]
    with store().database.atomic():
        for app in TotpAuthenticator.select():
            _reseal(app, TotpAuthenticator.sealed_secret, _AUTHENTICATOR_SECRET, app.user, counts)
        for enrollment in Enrollment.select():
            _reseal(enrollment, Enrollment.sealed_secret, _AUTHENTICATOR_SECRET, enrollment.session.user, counts)
            _reseal(enrollment, Enrollment.sealed_code, _RECOVERY_CODE, enrollment.session.user, counts)
        for code in RecoveryCode.select().where(RecoveryCode.sealed_code.is_null(False)):
            _reseal(code, RecoveryCode.sealed_code, _RECOVERY_CODE, code.user, counts)
        Event.record(Kind.KEYS_RESEALED, act, detail=f"{counts[0]} values")
    return counts[0], counts[1]


def _reseal(row: Any, field: Any, purpose: str, owner: User, counts: list[int]) -> None:
    sealed, keyring = getattr(row, field.name), store().keyring
    if sealed is None or keyring.is_current(bytes(sealed), purpose, owner.id):
        return
    try:
        renewed = keyring.seal(keyring.unseal(bytes(sealed), purpose, owner.id), purpose, owner.id)
    except Unreadable:
        counts[1] += 1
        return
    type(row).update({field: renewed}).where(type(row).id == row.id).execute()
    counts[0] += 1


TABLES = (User, Session, TotpAuthenticator, Enrollment, RecoveryCode, Throttle, Event, Setting, Invitation)
