"""The tables and the atomic verbs on them; the only module that writes. Knows no Flask: a verb is given the Act it
belongs to, and finds its database and keys in the Store that is open."""

import json
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from hashlib import sha256
from typing import Any

from blinker import Signal
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
from authn.passwords import TooBusy
from authn.recovery_codes import Slip
from authn.sealing import Unreadable
from authn.throttle import EVERY_LIMIT, ONE_TIME_CODE, PASSWORD, RECOVERY_CODE, Limit
from store import UNAVAILABLE, OpenDatabase, store

log = logging.getLogger("sparekey.events")

recorded = Signal()  # sent with event=, the app's store as sender, once an event is committed

INVITATION_SECONDS = 72 * 3600
_IDLE_THROTTLE_SECONDS = 30 * 86400
_PORTION = 10_000  # rows deleted in one transaction
_AUTHENTICATOR_SECRET, _RECOVERY_CODE = "authenticator secret", "recovery code"  # what sealed values are bound to


# Shared pieces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """When, from where and by whom something is asked."""

    now: int  # seconds UTC
    remote_addr: str = ""
    user_agent: str = ""
    by: str = ""  # who acts, when it is not the person: an admin's address, "the command line"
    admin: int | None = None  # the id of that admin
    known_browser: str = ""  # the id of a browser that this account has finished a sign-in with


class Superseded(Exception):
    """Another request has moved this sign-in on, or ended it, since this one began. Nothing was changed."""


class CodesAreOff(Exception):
    """Recovery codes were switched off while the request waited. Nothing was changed."""


class Paused(Exception):
    """Nothing is compared until `until` (seconds UTC); None: not until an admin acts or the secret is replaced."""

    def __init__(self, until: int | None) -> None:
        super().__init__(until)
        self.until = until


class Refusal(Enum):
    """Why a password or a code was not taken."""

    NOT_A_CODE = auto()  # not six digits, and not a try
    WRONG = auto()
    USED = auto()
    WRONG_PASSWORD = auto()


class Step(StrEnum):
    """What is due before a session is signed in. A session at no step is."""

    CHALLENGE = auto()
    ENROLL = auto()
    SAVE_CODE = auto()
    LOST_DEVICE = auto()


class Factor(StrEnum):
    """What stood in as second factor."""

    TOTP = auto()
    RECOVERY = auto()


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
    MFA_RESET = auto()
    PASSWORD_RIGHT = auto()
    PASSWORD_WRONG = auto()
    PASSWORD_CHANGED = auto()
    CODE_WRONG = auto()
    CODE_REPLAYED = auto()
    PAUSED = auto()
    SIGNED_IN = auto()
    SIGNED_OUT = auto()
    SIGN_IN_ENDED = auto()
    SESSION_REVOKED = auto()
    STEPPED_UP = auto()
    ENROLLMENT_STARTED = auto()
    ENROLLMENT_CODE_WRONG = auto()
    AUTHENTICATOR_ADDED = auto()
    AUTHENTICATOR_REPLACED = auto()
    DEVICE_KEPT = auto()
    DEVICE_MISSING = auto()
    RECOVERY_CODE_MADE = auto()
    RECOVERY_CODE_SAVED = auto()
    RECOVERY_CODE_CLAIMED = auto()
    RECOVERY_CODE_SPENT = auto()
    RECOVERY_CODE_WRONG = auto()
    RECOVERY_CODE_OLD = auto()
    RECOVERY_CODE_BUSY = auto()
    RECOVERY_CODE_WHILE_OFF = auto()
    RECOVERY_NOTICE_DISMISSED = auto()
    RECOVERY_CODES_ENABLED = auto()
    RECOVERY_CODES_DISABLED = auto()
    KEYS_RESEALED = auto()
    EVENTS_PRUNED = auto()
    UNREADABLE = auto()
    REQUEST_REFUSED = auto()


class Table(Model):
    class Meta:
        database = OpenDatabase()
        legacy_table_names = False


def _new_token() -> str:
    return secrets.token_urlsafe(32)  # 256 bits


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _unseal(sealed: Any, purpose: str, user: "User") -> bytes:
    return store().keyring.unseal(bytes(sealed), purpose, user.id)


@contextmanager
def _alone_with(user: "User", act: Act | None = None) -> Iterator[None]:
    """A transaction that is the only one of its kind about this person: every verb that decides by what it reads of
    somebody's sessions, app or codes runs in one. On SQLite there is one writer anyway; PostgreSQL locks the row, and
    that of the admin whose `act` it is. Superseded when one of them has been removed."""
    with store().database.atomic():
        people = {user.id, act.admin} if act and act.admin else {user.id}
        for person in sorted(people):  # in order, so that none deadlock
            if not User.update(is_active=User.is_active).where(User.id == person).execute():
                raise Superseded
        yield


@contextmanager
def _alone_with_admins(user: "User", act: Act) -> "Iterator[None]":
    """The same with these and every admin: two admins could otherwise remove each other."""
    with store().database.atomic():
        involved = User.is_admin | User.id.in_([user.id, act.admin or user.id])
        for person in User.select(User.id).where(involved).order_by(User.id):
            User.update(is_active=User.is_active).where(User.id == person.id).execute()
        yield


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
    def with_password(cls, email: str, password: str, act: Act) -> "User | None":
        """The active person with this address and password, after charging a try; Paused when none may be made.

        Unknown, wrong and inactive cost the same: one charge, one look-up, one hash. TooBusy before anything is written
        when too many are being checked."""
        with store().policy.place_in_line():
            charge = Throttle.charge(PASSWORD, email, act)
            try:
                user, matches = cls._compare(email, password)
            except TooBusy:
                charge.take_back()
                raise
        if not (matches and user):
            Event.record(Kind.PASSWORD_WRONG, act, user)
            return None
        with store().database.atomic():
            charge.take_back()
            Event.record(Kind.PASSWORD_RIGHT, act, user)
        return user

    @classmethod
    def _compare(cls, email: str, password: str) -> "tuple[User | None, bool]":
        """Who has this address, and whether it is their password. Renews a hash of another cost; when somebody else has
        done so meanwhile, it compares with theirs."""
        while True:
            user = cls.get_or_none(cls.email == email)
            stored = user.password_hash if user and user.is_active else None
            matches, renewed = store().policy.verify(password, stored)
            if not (matches and user and renewed):
                return user, matches
            if cls.update(password_hash=renewed).where(user._has_kept_its_password()).execute():
                user.password_hash = renewed
                return user, True

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

    def authenticator(self) -> "TotpAuthenticator | None":
        found = TotpAuthenticator.get_or_none(TotpAuthenticator.user == self)
        if found:
            found.user = self  # which would be asked for again
        return found

    def has_saved_code(self) -> bool:
        return bool(RecoveryCode.saved(self).exists())

    def is_waiting_for_a_device(self) -> bool:
        """Whether they said "not yet" when last asked for their app, and have neither used one nor set one up since."""
        answers = Event.kind.in_((Kind.DEVICE_MISSING, Kind.DEVICE_KEPT, Kind.AUTHENTICATOR_REPLACED))
        by_app = (Event.kind == Kind.SIGNED_IN) & (Event.detail == Factor.TOTP)
        last = Event.about(self).where(answers | by_app).first()
        return last is not None and last.kind == Kind.DEVICE_MISSING

    def unseen_recovery(self) -> "Event | None":
        """The use of a recovery code that the person has not dismissed the notice of."""
        kinds = (Kind.RECOVERY_CODE_SPENT, Kind.RECOVERY_NOTICE_DISMISSED)
        last = Event.about(self).where(Event.kind.in_(kinds)).first()
        return last if last and last.kind == Kind.RECOVERY_CODE_SPENT else None

    def dismiss_recovery_notice(self, act: Act) -> None:
        Event.record(Kind.RECOVERY_NOTICE_DISMISSED, act, self)

    def set_password(self, password_hash: str, act: Act) -> None:
        """Store a new password's hash, in the caller's transaction, which ends the sessions it must. Every browser that
        was known is a stranger again, and links to choose a password are void."""
        self.password_hash, self.password_changed_at = password_hash, act.now
        self.save(only=[User.password_hash, User.password_changed_at])
        Invitation.delete().where(Invitation.user == self, Invitation.used_at.is_null()).execute()
        Throttle.forget((PASSWORD,), self.email)
        Event.record(Kind.PASSWORD_CHANGED, act, self)

    def reset_mfa(self, act: Act, reason: str = "") -> str:
        """Take away app, recovery codes, sessions and password: nobody signs in until the link with the token that this
        returns has been used. So whoever knows only the old password cannot enroll first."""
        with _alone_with(self, act):
            TotpAuthenticator.delete().where(TotpAuthenticator.user == self).execute()
            RecoveryCode.retire(RecoveryCode.user == self, Retirement.RESET, act)
            Session.delete().where(Session.user == self).execute()
            User.update(password_hash=None).where(User.id == self.id).execute()
            Throttle.forget(EVERY_LIMIT, self.email)
            Event.record(Kind.MFA_RESET, act, self, reason)
            return Invitation.issue(self, act)

    def unlock(self, act: Act) -> bool:
        """Let the person try again at once, whatever was typed wrong before and wherever; True."""
        with _alone_with(self, act):
            Throttle.forget(EVERY_LIMIT, self.email)
            Event.record(Kind.UNLOCKED, act, self)
        return True

    def activate(self, act: Act) -> bool:
        """Let the person sign in again; True."""
        return self._set(Kind.USER_ACTIVATED, act, is_active=True)

    def deactivate(self, act: Act) -> bool:
        """End the person's sessions and let them start none; False, and nothing changed, for the last active admin."""
        with _alone_with_admins(self, act), _alone_with(self):
            if self._is_the_last_admin():
                return False
            Session.delete().where(Session.user == self).execute()
            return self._set(Kind.USER_DEACTIVATED, act, is_active=False)

    def make_admin(self, act: Act) -> bool:
        """Let the person use the admin pages; True."""
        return self._set(Kind.ADMIN_MADE, act, is_admin=True)

    def remove_admin(self, act: Act) -> bool:
        """Close the admin pages to the person; False, and nothing changed, for the last active admin."""
        with _alone_with_admins(self, act):
            return not self._is_the_last_admin() and self._set(Kind.ADMIN_REMOVED, act, is_admin=False)

    def _set(self, kind: Kind, act: Act, **changes: bool) -> bool:
        with _alone_with(self, act):
            Event.record(kind, act, self)  # first: an admin may stop being one by this very change
            User.update(changes).where(User.id == self.id).execute()
        return True

    def _is_the_last_admin(self) -> bool:
        return [user.id for user in User.select(User.id).where(User.is_admin, User.is_active)] == [self.id]

    def _has_kept_its_password(self) -> Any:
        return (User.id == self.id) & (User.password_hash == self.password_hash) & User.is_active


@dataclass(frozen=True)
class Person:
    """Somebody as admins see them."""

    id: int
    email: str
    is_admin: bool
    is_active: bool
    is_enrolled: bool
    is_enrolling: bool
    has_saved_code: bool
    has_unsaved_code: bool
    last_sign_in: int | None
    is_paused: bool
    paused_until: int | None  # None while paused: until an admin acts

    @classmethod
    def page(cls, now: int, after: str = "", size: int = 50) -> "list[Person]":
        """People by address, those after this one; by indexes alone, however many there are."""
        last = Event.select(fn.MAX(Event.at)).where(Event.user == User.id, Event.kind == Kind.SIGNED_IN)
        people = User.select(
            User.id,
            User.email,
            User.is_admin,
            User.is_active,
            fn.EXISTS(TotpAuthenticator.select().where(TotpAuthenticator.user == User.id)).alias("is_enrolled"),
            fn.EXISTS(Enrollment.select().join(Session).where(Session.user == User.id)).alias("is_enrolling"),
            fn.EXISTS(RecoveryCode.saved(User.id)).alias("has_saved_code"),
            fn.EXISTS(RecoveryCode.unsaved(User.id)).alias("has_unsaved_code"),
            last.alias("last_sign_in"),
        )
        found: Any = people.where(User.email > after).order_by(User.email).limit(size).dicts()
        rows = list(found)
        pauses = Throttle.pauses([row["email"] for row in rows], now)
        return [cls(**row, is_paused=row["email"] in pauses, paused_until=pauses.get(row["email"])) for row in rows]


# Sessions -------------------------------------------------------------------------------------------------------------


class Session(Table):
    """A sign-in, from the right password to signing out. Its cookie holds a token; the row only the token's digest."""

    id = AutoField()
    token_digest = CharField(max_length=64, unique=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    step = CharField(max_length=16, null=True)  # the Step that is due; null when signed in
    step_at = BigIntegerField(index=True)
    second_factor = CharField(max_length=16, null=True)
    created_at = BigIntegerField(index=True)
    last_seen_at = BigIntegerField(index=True)
    verified_at = BigIntegerField(null=True)  # when password and six-digit code were last both given
    remote_addr = CharField(max_length=45)
    user_agent = TextField()
    next_path = TextField()

    @classmethod
    def start(cls, user: User, next_path: str, act: Act) -> str:
        """Begin a sign-in for the person whose password was right; the token for the cookie. Superseded when that
        password, or the account, is not what it was when it was compared."""
        token = _new_token()
        with _alone_with(user):
            if not User.select().where(user._has_kept_its_password()).exists():
                raise Superseded
            _sweep(act.now)
            cls.create(
                token_digest=_digest(token),
                user=user,
                step=Step.CHALLENGE if user.authenticator() else Step.ENROLL,
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
        past_a_factor = cls.step.is_null(False) | cls.second_factor.is_null(False)
        found: Session | None = sessions.where(
            cls.token_digest == _digest(token), User.is_active, past_a_factor
        ).first()
        return found

    @classmethod
    def signed_in(cls, user: User, now: int) -> "list[Session]":
        """Where the person is signed in, the latest seen first."""
        sessions = cls.select().where(cls.user == user, cls.step.is_null())
        latest_first = sessions.order_by(cls.last_seen_at.desc(), cls.id.desc())
        return [session for session in latest_first if session.expires_at > now]

    @property
    def is_signed_in(self) -> bool:
        return self.step is None and self.second_factor is not None

    @property
    def is_recovering(self) -> bool:
        """Whether a recovery code was claimed whose replacement is not saved yet."""
        return self.step == Step.SAVE_CODE and self.second_factor == Factor.RECOVERY

    @property
    def expires_at(self) -> int:
        limits = store().lifetimes
        if self.is_signed_in:
            return min(self.last_seen_at + limits.idle, self.created_at + limits.overall)
        long_step = self.step in (Step.ENROLL, Step.SAVE_CODE)
        return int(self.step_at) + (limits.enrollment if long_step else limits.sign_in)

    def touch(self, now: int) -> None:
        """Note that the person is active: at most once a minute, or ten times in the idle limit where that is shorter.
        Left out when the database is locked."""
        if now - self.last_seen_at >= min(60, store().lifetimes.idle // 10):
            with suppress(*UNAVAILABLE):
                Session.update(last_seen_at=now).where(self._as_found()).execute()

    # Going on

    def pass_challenge(self, typed: str, act: Act, *, codes_on: bool) -> "str | Refusal":
        """Accept a six-digit code as the second factor and go on; the new token, or why not."""

        def go_on() -> str:
            proven = {"second_factor": Factor.TOTP, "verified_at": act.now}
            if codes_on and not self.user.has_saved_code():
                RecoveryCode.offer(self.user, act)
                return self._move_on(Step.SAVE_CODE, act, **proven)
            return self._finish(act, **proven)

        return self._accept(typed, act, go_on)

    def step_up(self, password: str, typed: str, act: Act) -> "str | Refusal":
        """Take password and six-digit code again; the new token, or why not. A recovery code does not do."""

        def go_on() -> str:
            Event.record(Kind.STEPPED_UP, act, self.user)
            return self._move_on(None, act, verified_at=act.now)

        if User.with_password(self.user.email, password, act) is None:
            return Refusal.WRONG_PASSWORD
        return self._accept(typed, act, go_on)

    def _accept(self, typed: str, act: Act, go_on: Callable[[], str]) -> "str | Refusal":
        """Use a six-digit code up and go on, both or neither."""
        tried = TotpAuthenticator.try_code(self.user, typed, act)
        if isinstance(tried, Refusal):
            return tried
        accepted = False
        try:
            with _alone_with(self.user):
                accepted = tried.accept(act)
                if accepted:
                    return go_on()
                self.check_still_as_found()
                return Refusal.USED
        except Superseded:
            if accepted:  # which was rolled back, but the code was right
                tried.charge.take_back()
            raise

    def await_replacement(self, act: Act) -> bool:
        """Go to the prompt after claiming a recovery code; False when a double click has done so already. The token
        stays, so that each of its requests finds the session."""
        moved = Session.update(step=Step.SAVE_CODE, step_at=act.now, second_factor=Factor.RECOVERY)
        return bool(moved.where(self._as_found(), Session.step == Step.CHALLENGE).execute())

    def save_code(self, shown: str, act: Act, codes_on: Callable[[], bool]) -> str | None:
        """Confirm that the code that was shown (its digest) is saved, and do what waited for it: complete the
        enrollment, or spend the recovery code this sign-in claimed. The new token; None when another code is it now.
        CodesAreOff when the flag, read again here, is."""
        with _alone_with(self.user):
            self.check_still_as_found()
            if not codes_on():
                raise CodesAreOff
            pending = self.pending_code(act.now)
            if pending is None or pending.digest != shown:
                return None
            if pending.enrollment:
                return pending.enrollment.complete(self, act, pending)
            if self.is_recovering and not RecoveryCode.spend(self, act):
                raise Superseded
            RecoveryCode.confirm(self.user, pending.digest, act)
            self.end_others(unfinished_only=True)
            if self.is_recovering:
                return self._move_on(Step.LOST_DEVICE, act)
            return self._finish(act) if self.step else self._move_on(None, act)

    def make_new_code(self, act: Act) -> None:
        """Make a code to be saved in place of the one there is; what this session had begun to set up is dropped."""
        with _alone_with(self.user):
            self.check_still_as_found()
            Enrollment.delete().where(Enrollment.session == self).execute()
            RecoveryCode.issue(self.user, act)

    def go_without_code(self, act: Act) -> str:
        """Finish what waits for a code to be saved, now that codes are off; the new token. Superseded when nothing does
        any more: its time may have run out since the page was asked for."""
        with _alone_with(self.user):
            self.check_still_as_found()
            enrollment = self.confirmed_enrollment(act.now)
            came_by_app = self.step == Step.SAVE_CODE and self.second_factor == Factor.TOTP
            if self.is_recovering or not (enrollment or came_by_app):
                raise Superseded
            return enrollment.complete(self, act) if enrollment else self._finish(act)

    def answer_lost_device(self, act: Act, *, kept: bool) -> str:
        """Sign in after a recovery code without setting up a new app now; the new token."""
        with _alone_with(self.user):
            Event.record(Kind.DEVICE_KEPT if kept else Kind.DEVICE_MISSING, act, self.user)
            return self._finish(act)

    def change_password(self, current: str, new: str, act: Act) -> "str | Refusal":
        """Give the person a new password, which ends every other session of theirs; the new token, or why not. Refused
        when the new one may not be chosen."""
        store().policy.check(new, self.user.email)
        if User.with_password(self.user.email, current, act) is None:
            return Refusal.WRONG_PASSWORD
        password_hash = store().policy.hash(new)
        with _alone_with(self.user):
            self.user.set_password(password_hash, act)
            self.end_others()
            return self._move_on(None, act)

    def pass_enrollment(self, act: Act, proven_at: Any) -> str:
        """Go on with a new app in place, whose code was typed at `proven_at`, in the caller's transaction: every other
        session ends; the new token."""
        self.end_others()
        if self.step is None:
            return self._move_on(None, act)
        if self.second_factor:
            return self._finish(act)
        return self._finish(act, second_factor=Factor.TOTP, verified_at=proven_at)

    def _finish(self, act: Act, **changes: Any) -> str:
        """Sign in: every step is done. Clears the counts of what was used."""
        factor = changes.get("second_factor", self.second_factor)
        used = ONE_TIME_CODE if factor == Factor.TOTP else RECOVERY_CODE
        Throttle.clear((PASSWORD, used), self.user.email, act)
        Event.record(Kind.SIGNED_IN, act, self.user, factor or "")
        return self._move_on(None, act, **changes)

    def _move_on(self, step: Step | None, act: Act, **changes: Any) -> str:
        """Go to the step under a new token; the old one is dead. Superseded when another request was first."""
        token = _new_token()
        if step is not None:
            changes["step_at"] = act.now
        changes.update(token_digest=_digest(token), step=step, last_seen_at=act.now)
        if not Session.update(changes).where(self._as_found()).execute():
            raise Superseded
        for name, value in changes.items():  # so that the request goes on with the session as it is now
            setattr(self, name, value)
        return token

    def check_still_as_found(self) -> None:
        """Raise Superseded when this session has a new token, or is gone, since it was read; else keep it so until the
        caller's transaction ends."""
        if not Session.update(step=Session.step).where(self._as_found()).execute():
            raise Superseded

    def _as_found(self) -> Any:
        return (Session.id == self.id) & (Session.token_digest == self.token_digest)

    # What waits for a code to be saved

    def pending_code(self, now: int) -> "PendingCode | None":
        """The code this session is to save: its enrollment's, or else the person's unsaved one."""
        enrollment = self.confirmed_enrollment(now)
        if enrollment and enrollment.sealed_code is not None:
            return PendingCode.open(enrollment.sealed_code, enrollment.confirmed_at, self.user, enrollment)
        unsaved = RecoveryCode.unsaved(self.user).first()
        return PendingCode.open(unsaved.sealed_code, unsaved.created_at, self.user) if unsaved else None

    def confirmed_enrollment(self, now: int) -> "Enrollment | None":
        """A new app that is confirmed and waits for its recovery code to be saved."""
        since = now - store().lifetimes.enrollment
        return Enrollment.get_or_none(Enrollment.session == self, Enrollment.confirmed_at > since)

    def can_go_without_code(self, now: int) -> bool:
        """Whether something waits for a code to be saved that can be finished without one: not a recovery sign-in."""
        if self.step == Step.SAVE_CODE:
            return not self.is_recovering
        return self.is_signed_in and self.confirmed_enrollment(now) is not None

    # Ending

    def end(self, kind: Kind, act: Act) -> None:
        """Delete the session: a copied cookie is dead, and a recovery code it claimed is free again."""
        with _alone_with(self.user):
            # Whatever token it has by now; the time tells it from another session to which SQLite gave its id again.
            this_one = (Session.id == self.id) & (Session.user == self.user) & (Session.created_at == self.created_at)
            if Session.delete().where(this_one).execute():
                Event.record(kind, act, self.user)

    def end_others(self, *, unfinished_only: bool = False) -> None:
        """Delete the person's other sessions, in the caller's transaction."""
        others = (Session.user == self.user) & (Session.id != self.id)
        if unfinished_only:
            others &= Session.step.is_null(False)
        Session.delete().where(others).execute()

    def revoke(self, session_id: int, act: Act) -> bool:
        """End another session of the same person; say whether there was one."""
        with _alone_with(self.user):
            other = (Session.id == session_id) & (Session.id != self.id) & (Session.user == self.user)
            revoked = Session.delete().where(other).execute()
            if revoked:
                Event.record(Kind.SESSION_REVOKED, act, self.user)
        return bool(revoked)

    def revoke_others(self, act: Act) -> bool:
        """End every other session, finished or not; say whether one was signed in."""
        with _alone_with(self.user):
            self.check_still_as_found()
            signed_in = len(Session.signed_in(self.user, act.now)) > 1
            self.end_others()
            Event.record(Kind.SESSION_REVOKED, act, self.user, "all others")
        return signed_in


def _sweep(now: int) -> None:
    """Delete what has expired. Counts of six-digit and recovery codes stay, and what an admin must lift: only people
    past a password have the first, and a hundred failures the second."""
    limits = store().lifetimes
    unfinished = Session.step.is_null(False) & (Session.step_at < now - max(limits.sign_in, limits.enrollment))
    idle = Session.step.is_null() & (Session.last_seen_at < now - limits.idle)
    # Before their sessions go, as every verb has it: one that retires codes and then ends sessions would deadlock.
    left = Session.select(Session.id).where(unfinished)
    RecoveryCode.update(claimed_by=None).where(RecoveryCode.claimed_by.in_(left)).execute()
    for expired in (unfinished, idle, Session.created_at < now - limits.overall):
        Session.delete().where(expired).execute()
    Throttle.sweep(now)


# The authenticator app ------------------------------------------------------------------------------------------------


class TotpAuthenticator(Table):
    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE", unique=True)
    sealed_secret = BlobField()
    last_step = BigIntegerField()  # the newest 30-second step a code was accepted for, wherever it was typed
    created_at = BigIntegerField()
    last_used_at = BigIntegerField()

    @classmethod
    def try_code(cls, user: User, typed: str, act: Act) -> "TriedCode | Refusal":
        """Charge a try, then compare. What is not six digits is not a try. Paused when none may be made."""
        code = totp.read(typed)
        if code is None:
            Throttle.check(ONE_TIME_CODE, user.email, act)  # which charge does for the rest
            return Refusal.NOT_A_CODE
        charge = Throttle.charge(ONE_TIME_CODE, user.email, act)
        authenticator = user.authenticator()
        step = authenticator._matching_step(code, act) if authenticator else None
        if authenticator is None or step is None:
            Event.record(Kind.CODE_WRONG, act, user)
            return Refusal.WRONG
        return TriedCode(authenticator, step, charge)

    @staticmethod
    def newest_secret(email: str) -> bytes | None:
        """The secret this person's app holds, or the first one is to hold: for the demo's phone."""
        user = User.get_or_none(User.email == email)
        of_sessions = Enrollment.select(Enrollment, Session, User).join(Session).join(User)
        begun = of_sessions.where(Session.user == user).order_by(Enrollment.id.desc())
        newest = user and (user.authenticator() or begun.first())
        with suppress(Unreadable):
            return newest.secret() if newest else None
        return None

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, _AUTHENTICATOR_SECRET, self.user)

    def _matching_step(self, code: str, act: Act) -> int | None:
        """No code matches a secret that cannot be read: what was changed or lost lets nobody in."""
        try:
            return totp.matching_step(self.secret(), code, act.now)
        except Unreadable:
            Event.record(Kind.UNREADABLE, act, self.user, _AUTHENTICATOR_SECRET)
            return None


@dataclass(frozen=True)
class TriedCode:
    """A six-digit code that the app does show, not accepted yet."""

    authenticator: TotpAuthenticator
    step: int
    charge: "Charge"

    def accept(self, act: Act) -> bool:
        """Use the code up if it is newer than every one accepted before; say whether it was. One statement decides, in
        the caller's transaction. A used code keeps its charge: who types one may have read it over a shoulder; but not
        one that only a clock which ran ahead has made old."""
        used = {TotpAuthenticator.last_step: self.step, TotpAuthenticator.last_used_at: act.now}
        this_app = TotpAuthenticator.id == self.authenticator.id
        accepted = TotpAuthenticator.update(used).where(this_app, TotpAuthenticator.last_step < self.step).execute()
        if accepted or self.authenticator.last_step > self.step + 2:
            self.charge.take_back()
        if not accepted:
            Event.record(Kind.CODE_REPLAYED, act, self.authenticator.user)
        return bool(accepted)


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
    def open_in(cls, session: Session, now: int) -> "Enrollment | None":
        since = now - store().lifetimes.enrollment
        found = cls.get_or_none(cls.session == session, cls.started_at > since)
        if found:
            found.session = session  # which may be gone when it is asked for later
        return found

    @classmethod
    def open_or_begin(cls, session: Session, act: Act) -> "Enrollment":
        """The session's enrollment, begun if there is none or the last one ran out of time."""
        enrollment = cls.open_in(session, act.now)
        if enrollment:
            return enrollment
        with _alone_with(session.user):
            session.check_still_as_found()
            enrollment = cls.open_in(session, act.now)  # another request may just have begun it
            if enrollment:
                return enrollment
            current = session.user.authenticator()
            if current and session.step == Step.ENROLL:
                raise Superseded  # a first app has been set up elsewhere
            cls.delete().where(cls.session == session).execute()
            Event.record(Kind.ENROLLMENT_STARTED, act, session.user)
            Session.update(step_at=act.now).where(Session.id == session.id, Session.step == Step.LOST_DEVICE).execute()
            return cls.create(
                session=session,
                sealed_secret=store().keyring.seal(totp.new_secret(), _AUTHENTICATOR_SECRET, session.user.id),
                replaces=current.id if current else None,
                started_at=act.now,
            )

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, _AUTHENTICATOR_SECRET, self.session.user)

    def follows_an_abandoned_one(self) -> bool:
        """Whether the person has begun before and not finished, so that the app may hold an entry that never worked."""
        kinds = (Kind.ENROLLMENT_STARTED, Kind.AUTHENTICATOR_ADDED, Kind.AUTHENTICATOR_REPLACED)
        last_two = Event.about(self.session.user).where(Event.kind.in_(kinds)).limit(2)
        return [event.kind for event in last_two] == [Kind.ENROLLMENT_STARTED] * 2

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
        with _alone_with(session.user):
            session.check_still_as_found()
            # A double click may have confirmed it: its code stays the same. Another page may have begun a new one.
            fresh = Enrollment.get_or_none(
                Enrollment.session == session, Enrollment.sealed_secret == bytes(self.sealed_secret)
            )
            if fresh is None:
                raise Superseded
            fresh.confirmed_step, fresh.confirmed_at = step, act.now
            code_is_due = codes_on and not session.user.has_saved_code()
            if code_is_due and not fresh.sealed_code:
                new_code = recovery_codes.generate().encode()
                fresh.sealed_code = store().keyring.seal(new_code, _RECOVERY_CODE, session.user.id)
            fresh.save()
            if not code_is_due:
                return fresh.complete(session, act)
            if session.step:  # the token stays: a double click finds its session
                Session.update(step=Step.SAVE_CODE, step_at=act.now).where(Session.id == session.id).execute()
            return None

    def complete(self, session: Session, act: Act, code: "PendingCode | None" = None) -> str:
        """Switch the new app on and make its recovery code live, in the caller's transaction; the new token. Every
        other session of the person ends. Superseded when the app it was to replace is not the one in use any more."""
        user = session.user
        current = user.authenticator()
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
            RecoveryCode.retire(RecoveryCode.user == user, Retirement.REPLACED, act)
            RecoveryCode.create(user=user, digest=code.digest, created_at=code.made_at, saved_at=act.now)
            Event.record(Kind.RECOVERY_CODE_SAVED, act, user)
        Throttle.forget((ONE_TIME_CODE,), user.email)
        Enrollment.delete().where(Enrollment.id == self.id).execute()
        return session.pass_enrollment(act, self.confirmed_at)


# Recovery codes -------------------------------------------------------------------------------------------------------


class Retirement(StrEnum):
    """How a recovery code stopped working."""

    SPENT = auto()
    REPLACED = auto()
    RESET = auto()


@dataclass(frozen=True)
class Old:
    """The code was this person's and has been retired; it may never have been saved."""

    at: int
    how: Retirement
    was_saved: bool


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
    def live(cls, user: Any) -> Any:
        return cls.select().where(cls.user == user, cls.retired_at.is_null())

    @classmethod
    def saved(cls, user: Any) -> Any:
        """The live code the person has saved, if any: there is at most one."""
        return cls.live(user).where(cls.saved_at.is_null(False))

    @classmethod
    def unsaved(cls, user: Any) -> Any:
        """The live code the person was shown and has not confirmed, if any: there is at most one."""
        return cls.live(user).where(cls.saved_at.is_null())

    @classmethod
    def count_saved(cls) -> int:
        """How many people have a saved code."""
        return int(cls.select().where(cls.retired_at.is_null(), cls.saved_at.is_null(False)).count())

    @classmethod
    def count_missing(cls) -> int:
        """How many people have an app but no saved code."""
        return int(TotpAuthenticator.select().where(~fn.EXISTS(cls.saved(TotpAuthenticator.user))).count())

    @classmethod
    def issue(cls, user: User, act: Act) -> None:
        """Make a code to be saved, in the caller's transaction. It works at once; so does a saved one, until this one
        is confirmed as saved."""
        code = recovery_codes.generate()
        cls.retire((cls.user == user) & cls.saved_at.is_null(), Retirement.REPLACED, act)
        cls.create(
            user=user,
            digest=recovery_codes.digest(code, user.id),
            sealed_code=store().keyring.seal(code.encode(), _RECOVERY_CODE, user.id),
            created_at=act.now,
        )
        Event.record(Kind.RECOVERY_CODE_MADE, act, user)

    @classmethod
    def offer(cls, user: User, act: Act) -> None:
        """Have an unsaved code ready, in the caller's transaction: the one that was shown before, which may be on paper
        by now, or a new one where there is none or no key opens it."""
        unsaved = cls.unsaved(user).first()
        try:
            if unsaved and PendingCode.open(unsaved.sealed_code, unsaved.created_at, user):
                return
        except Unreadable:
            Event.record(Kind.UNREADABLE, act, user, _RECOVERY_CODE)
        cls.issue(user, act)

    @classmethod
    def confirm(cls, user: User, digest: str, act: Act) -> None:
        """Note that the person has this code, in the caller's transaction: the plain text is erased and every other
        code retired."""
        cls.retire((cls.user == user) & (cls.digest != digest), Retirement.REPLACED, act)
        saved = {cls.saved_at: act.now, cls.sealed_code: None}
        cls.update(saved).where(cls.user == user, cls.digest == digest, cls.saved_at.is_null()).execute()
        Event.record(Kind.RECOVERY_CODE_SAVED, act, user)

    @classmethod
    def claim(
        cls, session: Session, typed: str, act: Act, codes_on: Callable[[], bool]
    ) -> "Slip | Refusal | Old | Busy | None":
        """Set the code aside for this unfinished sign-in, which goes on to save the replacement made here; None when
        that is so. It is spent only when the replacement is saved, so a cut-off sign-in costs nothing. A typing slip is
        not a try. Paused when no try may be made; CodesAreOff when the flag, read again here, is."""
        user = session.user
        try:
            digest = recovery_codes.digest(recovery_codes.read(typed), user.id)
        except Slip as slip:
            Throttle.check(RECOVERY_CODE, user.email, act)  # which charge does for the rest
            return slip
        charge = Throttle.charge(RECOVERY_CODE, user.email, act)
        try:
            return cls._claim(session, digest, charge, act, codes_on)
        except (CodesAreOff, Superseded):  # before it was compared
            charge.take_back()
            raise

    @classmethod
    def _claim(
        cls, session: Session, digest: str, charge: "Charge", act: Act, codes_on: Callable[[], bool]
    ) -> "Refusal | Old | Busy | None":
        user = session.user
        with _alone_with(user):
            session.check_still_as_found()
            if not codes_on():
                raise CodesAreOff
            others = _claiming(user, act.now).where(Session.id != session.id)
            free = cls.claimed_by.is_null() | cls.claimed_by.not_in(others)
            this_one = (cls.user == user) & (cls.digest == digest) & cls.retired_at.is_null()
            if not cls.update(claimed_by=session).where(this_one, free).execute():
                return cls._refusal(user, digest, act)
            charge.take_back()
            if session.await_replacement(act):
                if cls.unsaved(user).where(cls.digest == digest).exists():
                    cls.confirm(user, digest, act)  # whoever types an unsaved code has it, and makes room for another
                    session.end_others(unfinished_only=True)
                cls.issue(user, act)
                Event.record(Kind.RECOVERY_CODE_CLAIMED, act, user)
            return None

    @classmethod
    def spend(cls, session: Session, act: Act) -> bool:
        """Use up the code that this sign-in claimed, in the caller's transaction; say whether it still could be."""
        # The person's own: a program that deletes sessions without foreign keys leaves claims to whoever gets their id.
        claimed = (cls.user == session.user) & (cls.claimed_by == session)
        spent = cls.retire(claimed, Retirement.SPENT, act)
        if spent:
            Event.record(Kind.RECOVERY_CODE_SPENT, act, session.user)
        return bool(spent)

    @classmethod
    def retire(cls, which: Any, how: Retirement, act: Act) -> int:
        """Let these codes stop working, in the caller's transaction; how many were live."""
        retired = {cls.retired_at: act.now, cls.retired_by: how, cls.sealed_code: None}
        return int(cls.update(retired).where(which, cls.retired_at.is_null()).execute())

    @classmethod
    def _refusal(cls, user: User, digest: str, act: Act) -> "Refusal | Old | Busy":
        codes = cls.select(cls, Session).join(Session, JOIN.LEFT_OUTER)
        code = codes.where(cls.user == user, cls.digest == digest).first()
        if code is None:
            Event.record(Kind.RECOVERY_CODE_WRONG, act, user)
            return Refusal.WRONG
        if code.retired_at is not None:
            Event.record(Kind.RECOVERY_CODE_OLD, act, user)
            return Old(code.retired_at, Retirement(code.retired_by), code.saved_at is not None)
        Event.record(Kind.RECOVERY_CODE_BUSY, act, user)
        return Busy(code.claimed_by.expires_at)


RecoveryCode.add_index(
    RecoveryCode.index(
        RecoveryCode.user,
        unique=True,
        where=RecoveryCode.retired_at.is_null() & RecoveryCode.saved_at.is_null(False),
        name="recovery_code_one_saved",
    )
)
RecoveryCode.add_index(
    RecoveryCode.index(
        RecoveryCode.user,
        unique=True,
        where=RecoveryCode.retired_at.is_null() & RecoveryCode.saved_at.is_null(),
        name="recovery_code_one_unsaved",
    )
)


def _claiming(user: User, now: int) -> Any:
    """The person's sessions whose claim on a recovery code stands."""
    stands = (Session.step == Step.SAVE_CODE) & (Session.step_at > now - store().lifetimes.enrollment)
    return Session.select(Session.id).where(Session.user == user, stands)


# Tries ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Charge:
    """A try that was counted before anything was compared."""

    address: str  # the keys it was counted under, in the order in which they are locked
    account: str

    def take_back(self) -> None:
        """Uncount it, in the caller's transaction: the secret was right. The pause it may have brought goes with it."""
        fewer, any_failures = {Throttle.failures: Throttle.failures - 1}, Throttle.failures > 0
        Throttle.update(fewer).where(Throttle.key == self.address, any_failures).execute()
        unpaused = {**fewer, Throttle.paused_until: 0}
        Throttle.update(unpaused).where(Throttle.key == self.account, any_failures).execute()


class Throttle(Table):
    """Failures in a row by kind of secret and account, and by browser where the account knows it; and failures in a
    window of time by address. Accounts and addresses are keyed hashes: people type passwords into the address field."""

    key = CharField(primary_key=True)
    account = CharField(max_length=64, index=True)  # empty for the failures of an address
    failures = IntegerField()
    paused_until = BigIntegerField(default=0)  # of an address: the end of its window
    updated_at = BigIntegerField(index=True)

    @classmethod
    def charge(cls, limit: Limit, email: str, act: Act) -> Charge:
        """Count a try, in a transaction of its own, before anything is compared; Paused when none may be made. Of any
        number at once, only as many are let through as are free."""
        account = _fingerprint(email)
        key = cls._key(limit, account) + act.known_browser
        with store().database.atomic():
            address = cls._charge_address(act)
            too_far = act.now + throttle.LONGEST_PAUSE_SECONDS  # said by a clock that ran ahead
            open_to_tries = (cls.paused_until <= act.now) | (cls.paused_until > too_far)
            if limit.stop is not None:
                open_to_tries &= cls.failures < limit.stop
            failures = cls._count(key, account, act, {cls.paused_until: 0}, open_to_tries)
            if failures is None:
                cls.check(limit, email, act)
                raise Paused(act.now + 1)  # it was lifted between the two statements
            if pause := limit.pause_seconds(failures):
                cls.update(paused_until=act.now + pause).where(cls.key == key).execute()
        return Charge(address, key)

    @classmethod
    def check(cls, limit: Limit, email: str, act: Act) -> None:
        """Raise Paused when no try may be made now; counts nothing."""
        found = cls.get_or_none(cls.key == cls._key(limit, _fingerprint(email)) + act.known_browser)
        if found is None:
            return
        if limit.is_stopped(found.failures):
            raise Paused(None)
        if act.now < found.paused_until <= act.now + throttle.LONGEST_PAUSE_SECONDS:
            raise Paused(found.paused_until)

    @classmethod
    def clear(cls, limits: tuple[Limit, ...], email: str, act: Act) -> None:
        """A sign-in was finished with these: forget the failures of this browser, or of all strangers if it is one."""
        account = _fingerprint(email)
        cls.delete().where(cls.key.in_([cls._key(limit, account) + act.known_browser for limit in limits])).execute()

    @classmethod
    def forget(cls, limits: tuple[Limit, ...], email: str) -> None:
        """Forget every failure with these, whatever browser it came from: the secret is another one now."""
        account = _fingerprint(email)
        for limit in limits:
            cls.delete().where(cls.account == account, cls.key.startswith(cls._key(limit, account))).execute()

    @classmethod
    def pauses(cls, emails: list[str], now: int) -> dict[str, int | None]:
        """For whom strangers' tries are paused, and until when; None: stopped until an admin acts."""
        keys = {cls._key(limit, _fingerprint(email)): (limit, email) for limit in EVERY_LIMIT for email in emails}
        paused: dict[str, int | None] = {}
        for row in cls.select().where(cls.key.in_(list(keys))):
            limit, email = keys[row.key]
            if limit.is_stopped(row.failures):
                paused[email] = None
            elif row.paused_until > now and paused.get(email, 0) is not None:
                paused[email] = max(row.paused_until, paused.get(email) or 0)
        return paused

    @classmethod
    def sweep(cls, now: int) -> None:
        """Forget addresses whose window is over, and passwords mistyped long ago, but for what an admin must lift."""
        cls.delete().where(cls.account == "", cls.paused_until < now).execute()
        long_ago = (cls.updated_at < now - _IDLE_THROTTLE_SECONDS) & (cls.failures < (PASSWORD.stop or 0))
        cls.delete().where(long_ago, cls.key.startswith(f"{PASSWORD.kind}:")).execute()

    @classmethod
    def _charge_address(cls, act: Act) -> str:
        key = f"address:{_fingerprint(throttle.network(act.remote_addr))}"
        limit, window_end = store().address_limit, act.now + throttle.ADDRESS_WINDOW_SECONDS
        if limit:
            window_is_over = (cls.paused_until <= act.now) | (cls.paused_until > window_end)  # or the clock ran ahead
            update = {
                cls.failures: Case(None, [(window_is_over, 1)], cls.failures + 1),
                cls.paused_until: Case(None, [(window_is_over, window_end)], cls.paused_until),
            }
            may_try = True if act.known_browser else window_is_over | (cls.failures < limit)
            if cls._count(key, "", act, update, may_try, window_end) is None:
                raise Paused(cls.get_by_id(key).paused_until)
        return key

    @classmethod
    def _count(cls, key: str, account: str, act: Act, update: Any, where: Any, paused_until: int = 0) -> int | None:
        """Count one failure under the key, in one statement; how many there are now, or None if `where` forbids it."""
        counted = (
            cls.insert(key=key, account=account, failures=1, paused_until=paused_until, updated_at=act.now)
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
    def _key(cls, limit: Limit, account: str) -> str:
        return f"{limit.kind}:{account}:"


def _fingerprint(text: str) -> str:
    return store().keyring.fingerprint("throttle", text)


# The record -----------------------------------------------------------------------------------------------------------


class Event(Table):
    """What happened, for the person and the admins. Never a secret, nor anything that was typed but for an admin's
    reason. Some pages decide by it: whether a notice is due, whether a setup was begun before."""

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
    def about(cls, user: User | None) -> Any:
        """What happened, newest first: to this person, or to anybody."""
        events = cls.select(cls, User).join(User, JOIN.LEFT_OUTER).order_by(cls.id.desc())
        return events.where(cls.user == user) if user else events

    @classmethod
    def page(cls, user: User | None = None, before: int | None = None, size: int = 50) -> "list[Event]":
        """A page of what happened, newest first, older than event `before`."""
        events = cls.about(user).where(cls.id < before) if before else cls.about(user)
        return list(events.limit(size))

    @classmethod
    def record(cls, kind: Kind, act: Act, user: User | None = None, detail: str = "") -> None:
        """Write the event, and one log line once it is committed: JSON, in which nothing can break the line. What an
        admin does happens only with its event: Superseded, in the verb's transaction, when they are none any more."""
        if act.admin:
            still = (User.id == act.admin) & User.is_admin & User.is_active
            if not User.update(is_active=True).where(still).execute():
                raise Superseded
        event = cls.create(
            at=act.now,
            kind=kind,
            user=user,
            actor=act.by,
            remote_addr=act.remote_addr,
            user_agent=act.user_agent,
            detail=detail,
        )
        sender = store()

        def tell() -> None:
            log.info(json.dumps(event.facts()))
            for receiver in recorded.receivers_for(sender):
                try:
                    receiver(sender, event=event)
                except Exception:  # what a receiver gets wrong comes after the commit and is not the person's affair
                    log.exception("a receiver of recorded events failed")

        sender.database.after_commit(tell)

    @classmethod
    def prune(cls, days: int, act: Act) -> int:
        """Delete what happened longer ago, in portions, so that sign-ins go on meanwhile; how much it was. What pages
        tell of however long ago it was stays: uses of recovery codes, and the last sign-in of each person."""
        later = cls.alias()
        again = later.select().where(later.user == cls.user, later.kind == Kind.SIGNED_IN, later.at > cls.at)
        is_last = (cls.kind == Kind.SIGNED_IN) & cls.user.is_null(False) & ~fn.EXISTS(again)
        told = cls.kind.in_((Kind.RECOVERY_CODE_SPENT, Kind.RECOVERY_NOTICE_DISMISSED)) | is_last
        old = cls.select(cls.id).where(cls.at < act.now - days * 86400, ~told).limit(_PORTION)
        pruned = 0
        while portion := cls.delete().where(cls.id.in_(old)).execute():
            pruned += portion
        cls.record(Kind.EVENTS_PRUNED, act, detail=f"{pruned} events")
        return pruned

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


# One-time links, and keys ---------------------------------------------------------------------------------------------


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
        with _alone_with(user, act):
            cls.delete().where(cls.user == user).execute()
            cls.create(user=user, token_digest=_digest(token), expires_at=act.now + INVITATION_SECONDS)
            Event.record(Kind.USER_INVITED, act, user)
        return token

    @classmethod
    def find(cls, token: str, now: int) -> "Invitation | None":
        """The open invitation this token belongs to."""
        invitations = cls.select(cls, User).join(User)
        is_open = cls.used_at.is_null() & (cls.expires_at > now) & User.is_active
        found: Invitation | None = invitations.where(cls.token_digest == _digest(token), is_open).first()
        return found

    def use(self, password: str, act: Act) -> bool:
        """Give the person the password they chose and end their sessions; False when the link was used or replaced
        meanwhile. Refused when it may not be chosen."""
        password_hash = store().policy.hash_choice(password, self.user.email)
        with _alone_with(self.user):
            # By its token too: SQLite gives the id of a link that was replaced to the one in its place.
            this_one = (Invitation.id == self.id) & (Invitation.token_digest == self.token_digest)
            unused = this_one & Invitation.used_at.is_null()
            if not Invitation.update(used_at=act.now).where(unused).execute():
                return False
            Event.record(Kind.INVITATION_USED, act, self.user)
            self.user.set_password(password_hash, act)
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
    unchanged = (type(row).id == row.id) & (field == bytes(sealed))  # it may have been erased meanwhile
    counts[0] += int(type(row).update({field: renewed}).where(unchanged).execute())


TABLES = (User, Session, TotpAuthenticator, Enrollment, RecoveryCode, Throttle, Event, Setting, Invitation)
