"""The tables, the enums in them, and the questions that only read. What happens to the rows is in flows/."""

from functools import reduce
from operator import or_
from typing import Any

import peewee as db
from peewee import fn

from authn import clocks, groups, tokens
from authn.links import LinkPurpose, open_ends
from authn.sealing import Purpose
from authn.security_keys import LONGEST_NAME
from authn.steps import SETTING_UP, Step
from authn.throttle import TELLING_WRONG_CODES, Count, Limit
from database import OpenDatabase, store
from statements import compiled


class Table(db.Model):
    """Times are integer seconds UTC. The database gives no id twice, so an id that was read means that row for good."""

    class Meta:
        database = OpenDatabase()
        legacy_table_names = False


# People ---------------------------------------------------------------------------------------------------------------


class User(Table):
    id = db.AutoField()
    email = db.CharField(unique=True)  # folded
    password_hash = db.CharField(null=True)  # null until the person has chosen one
    is_admin = db.BooleanField(default=False)
    is_active = db.BooleanField(default=True)
    groups = db.TextField(default="")  # as authn.groups.read returns them
    created_at = db.BigIntegerField()
    password_changed_at = db.BigIntegerField(null=True)
    last_sign_in_at = db.BigIntegerField(null=True)
    setup_begun_at = db.BigIntegerField(null=True)  # of an app that was not completed: it may hold a dead entry
    waiting_since = db.BigIntegerField(null=True)  # for a new phone
    recovery_used_at = db.BigIntegerField(null=True)  # a recovery code was spent, and the notice of it not dismissed
    recovery_used_from = db.CharField(max_length=45, default="")  # the address
    wrong_codes = db.IntegerField(default=0)  # six-digit ones, typed after the right password in unknown browsers
    wrong_codes_since = db.BigIntegerField(null=True)
    wrong_codes_from = db.CharField(max_length=45, default="")  # the latest address
    browser_generation = db.IntegerField(default=0)  # the marks of browsers that an older one made are dead
    key_count = db.IntegerField(default=0)  # how many security keys they have: here, so that no sign-in counts them
    only_key = db.BooleanField(default=False)  # "Ask me only for my key"

    @property
    def has_a_guesser(self) -> bool:
        """Return whether somebody who knows the password seems to guess six-digit codes."""
        return self.wrong_codes >= TELLING_WRONG_CODES

    @property
    def is_reset(self) -> bool:
        """Return whether a reset took the password away and no link has brought another one yet."""
        return self.password_hash is None and self.password_changed_at is not None

    def is_in(self, group: str) -> bool:
        """Return whether the person is in the group: everybody is in people, and admins are in admins."""
        return group in groups.every(self.groups, self.is_admin)

    is_authenticated = True  # the three names that Flask-Login asks for
    is_anonymous = False

    def get_id(self) -> str:
        return str(self.id)

    @classmethod
    def find(cls, email: str) -> "User | None":
        """Return who has this folded address."""
        return next(iter(_people_at(email)), None)

    @classmethod
    def among(cls, emails: list[str]) -> list[str]:
        """Return which of these folded addresses somebody has."""
        return [user.email for user in cls.select(cls.email).where(cls.email.in_(emails))]

    def authenticator(self) -> "TotpAuthenticator | None":
        found: TotpAuthenticator | None = next(iter(_apps_of(self.id)), None)
        if found:
            found.user = self  # peewee would ask for it again
        return found

    def has_saved_code(self) -> bool:
        return bool(_saved_codes_of(self.id))


# Sessions -------------------------------------------------------------------------------------------------------------


class Session(Table):
    """A sign-in, from the right password to signing out. The cookie holds a token, the row only the token's digest."""

    id = db.AutoField()
    token_digest = db.CharField(max_length=64, unique=True)
    user = db.ForeignKeyField(User, on_delete="CASCADE")
    step = db.CharField(max_length=16)  # the Step that is due
    step_at = db.BigIntegerField()
    second_factor = db.CharField(max_length=16, null=True)  # a SecondFactor
    created_at = db.BigIntegerField()
    last_seen_at = db.BigIntegerField()
    verified_at = db.BigIntegerField(null=True)  # when password and six-digit code were last both given
    password_at = db.BigIntegerField(null=True)  # when the password was given again and no code: the phone is lost
    remote_addr = db.CharField(max_length=45)
    user_agent = db.TextField()
    next_path = db.TextField()
    refused_answers = db.IntegerField(default=0)  # of security keys

    class Meta:
        indexes = tuple(
            (("step", since), False) for since in ("step_at", "created_at", "last_seen_at")
        )  # for the sweep

    token = ""  # in plain: known to the request that brought it or was given it, and stored nowhere
    is_due_a_mark = False  # the answer to this request makes its browser a known one

    @classmethod
    def find(cls, token: str) -> "Session | None":
        """Return the session of an active person that this token belongs to, expired or not, in one statement."""
        found: Session | None = next(iter(_session_with(tokens.digest(token))), None)
        if found is None or (found.is_signed_in and not found.second_factor):  # which nothing here leaves behind
            return None
        found.token = token
        return found

    @classmethod
    def is_there(cls, session_id: int) -> bool:
        return bool(cls.select().where(cls.id == session_id, cls.step == Step.SIGNED_IN).exists())

    @classmethod
    def signed_in(cls, user: User, now: int, most: int) -> "list[Session]":
        """Return where the person is signed in, the latest seen first, no more than so many."""
        settings = store().settings
        in_use = cls.last_seen_at.between(*clocks.bounds(settings["SESSION_IDLE_SECONDS"], now))
        young = cls.created_at.between(*clocks.bounds(settings["SESSION_LIFETIME_SECONDS"], now))
        live = cls.select().where(cls.user == user, cls.step == Step.SIGNED_IN, in_use, young)
        return list(live.order_by(cls.last_seen_at.desc(), cls.id.desc()).limit(most))

    @property
    def is_signed_in(self) -> bool:
        return self.step == Step.SIGNED_IN

    def expires_at(self, now: int) -> int:
        """Return when the session ends if nobody uses it. That is not after `now` when it is over."""
        settings = store().settings
        if self.is_signed_in:
            idle = clocks.end_of(self.last_seen_at, settings["SESSION_IDLE_SECONDS"], now)
            return min(idle, clocks.end_of(self.created_at, settings["SESSION_LIFETIME_SECONDS"], now))
        seconds = settings["ENROLLMENT_SECONDS" if self.step in SETTING_UP else "SIGN_IN_SECONDS"]
        return clocks.end_of(self.step_at, seconds, now)

    def confirmed_enrollment(self, now: int) -> "Enrollment | None":
        """Return the new app that is confirmed and waits for its recovery code to be saved."""
        in_time = Enrollment.confirmed_at.between(*clocks.bounds(store().settings["ENROLLMENT_SECONDS"], now))
        return Enrollment.get_or_none(Enrollment.session == self, in_time)

    def has_left_an_enrollment(self) -> bool:
        """Return whether a new app was confirmed in this session and not completed, in time or not."""
        return bool(Enrollment.select().where(Enrollment.session == self, Enrollment.confirmed_at > 0).exists())

    def is_due_a_code(self, now: int) -> bool:
        """Return whether the session has come to where a recovery code is to be saved."""
        return self.step in (Step.SAVE_CODE, Step.REPLACE_CODE) or self.confirmed_enrollment(now) is not None

    def can_go_without_code(self, now: int) -> bool:
        """Return whether something waits for a code to be saved and can be finished without one."""
        has_a_factor = self.step == Step.SAVE_CODE and self.second_factor is not None
        return has_a_factor or self.confirmed_enrollment(now) is not None


# The authenticator app, and security keys -----------------------------------------------------------------------------


class TotpAuthenticator(Table):
    id = db.AutoField()
    user = db.ForeignKeyField(User, on_delete="CASCADE", unique=True)
    sealed_secret = db.BlobField()
    last_step = db.BigIntegerField()  # the latest 30-second step a code was accepted for, wherever it was typed
    earlier_steps = db.TextField(default="")  # those before it
    created_at = db.BigIntegerField()
    last_used_at = db.BigIntegerField()

    @property
    def accepted_steps(self) -> list[int]:
        return [*map(int, self.earlier_steps.split()), self.last_step]

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, Purpose.AUTHENTICATOR, self.user)


class SecurityKey(Table):
    """A security key beside the app, as authn/security_keys.py has it. Nothing of it is secret."""

    id = db.AutoField()
    user = db.ForeignKeyField(User, on_delete="CASCADE")
    credential = db.TextField(unique=True)
    data = db.BlobField()
    transports = db.TextField()
    count = db.BigIntegerField()
    is_synced = db.BooleanField()
    name = db.CharField(max_length=LONGEST_NAME)
    created_at = db.BigIntegerField()
    last_used_at = db.BigIntegerField(null=True)


class Enrollment(Table):
    """An authenticator app being set up. It belongs to the session that began it and changes nothing until complete."""

    id = db.AutoField()
    session = db.ForeignKeyField(Session, on_delete="CASCADE", unique=True)
    sealed_secret = db.BlobField()
    confirmed_step = db.BigIntegerField(null=True)  # the step of the code that proved the app
    confirmed_at = db.BigIntegerField(null=True)
    replaces = db.IntegerField(null=True)  # the id of the authenticator the person had at the start
    follows_another = db.BooleanField(default=False)  # begun before and not completed: the app may hold a dead entry
    wrong_codes = db.IntegerField(default=0)
    started_at = db.BigIntegerField()

    @classmethod
    def open_in(cls, session: Session, now: int) -> "Enrollment | None":
        """Return what the session is setting up, unless its time has run out."""
        in_time = cls.started_at.between(*clocks.bounds(store().settings["ENROLLMENT_SECONDS"], now))
        found: Enrollment | None = cls.get_or_none(cls.session == session, in_time)
        if found:
            found.session = session  # which may be gone when it is asked for later
        return found

    def secret(self) -> bytes:
        return _unseal(self.sealed_secret, Purpose.AUTHENTICATOR, self.session.user)


# Recovery codes -------------------------------------------------------------------------------------------------------


class RecoveryCode(Table):
    """It works once it is saved and until it is retired. The row stays, so that an old code can be told from a wrong
    one."""

    id = db.AutoField()
    user = db.ForeignKeyField(User, on_delete="CASCADE")
    digest = db.CharField(max_length=64, unique=True)
    sealed_code = db.BlobField(null=True)  # as long as it is shown
    claimed_by = db.ForeignKeyField(Session, null=True, on_delete="SET NULL")
    created_at = db.BigIntegerField()
    saved_at = db.BigIntegerField(null=True)
    retired_at = db.BigIntegerField(null=True)
    retired_by = db.CharField(max_length=16, null=True)  # a Retirement
    session = db.ForeignKeyField(Session, null=True, on_delete="SET NULL", unique=True)  # shows it until it is saved

    @classmethod
    def saved(cls, user: Any) -> Any:
        """Select the live code that the person has saved: at most one."""
        return cls.select().where(cls.user == user, cls.saved_at.is_null(False), cls.retired_at.is_null())

    @classmethod
    def unsaved(cls, user: Any) -> Any:
        """Select the codes that sessions of the person show to be saved: at most one a session."""
        return cls.select().where(cls.user == user, cls.session.is_null(False))

    @classmethod
    def shown_in(cls, session: Session, now: int) -> "RecoveryCode | None":
        """Return the code that this session is to save, unless the time of the setup that waits for it has run out."""
        if session.has_left_an_enrollment() and not session.confirmed_enrollment(now):
            return None
        found: RecoveryCode | None = cls.get_or_none(cls.session == session)
        if found:
            found.user = session.user
        return found

    @classmethod
    def count_saved(cls) -> int:
        """Return how many people have a saved code."""
        return int(cls.select().where(cls.retired_at.is_null(), cls.saved_at.is_null(False)).count())

    @classmethod
    def count_missing(cls) -> int:
        """Return how many people have an app and no saved code."""
        return int(TotpAuthenticator.select().where(~fn.EXISTS(cls.saved(TotpAuthenticator.user))).count())

    def in_plain(self) -> str:
        """Return the code that is shown. Raise Unreadable when no key opens it."""
        return _unseal(self.sealed_code, Purpose.RECOVERY_CODE, self.user).decode()


is_live = RecoveryCode.retired_at.is_null() & RecoveryCode.saved_at.is_null(False)
one_saved = RecoveryCode.index(RecoveryCode.user, unique=True, where=is_live, name="recovery_code_one_saved")
RecoveryCode.add_index(one_saved)


# Tries ----------------------------------------------------------------------------------------------------------------


class Throttle(Table):
    """Failures by kind of secret and account: of strangers, of each browser that the account knows, and of all of
    those together. And failures in a window of time by address. Accounts and addresses are keyed hashes: people type
    passwords into the address field."""

    key = db.CharField(primary_key=True)
    account = db.CharField(max_length=64)  # empty for the failures of an address
    failures = db.IntegerField()
    paused_until = db.BigIntegerField(default=0)  # of an address: the end of its window
    updated_at = db.BigIntegerField(index=True)  # the moment from which the failures decay

    class Meta:
        indexes = ((("account", "paused_until"), False),)

    @classmethod
    def key_of(cls, limit: Limit, account: str, browser: str = "") -> str:
        return f"{limit.kind}:{account}:{browser}"

    @property
    def count(self) -> Count:
        return Count(self.failures, self.updated_at, self.paused_until)


# The record, the switch, the links ------------------------------------------------------------------------------------


class Event(Table):
    """What happened, for the person and the admins. It holds no secret, and of what was typed only admins' own
    words. It decides nothing: state that a page shows is in columns."""

    id = db.AutoField()
    at = db.BigIntegerField(index=True)
    kind = db.CharField(max_length=32)  # an authn.events.EventKind
    user = db.ForeignKeyField(User, null=True, on_delete="SET NULL", index=False)  # see Meta
    actor = db.CharField()
    remote_addr = db.CharField(max_length=45)
    user_agent = db.TextField()
    detail = db.TextField()
    count = db.IntegerField(default=1)  # how many equal ones this row stands for: `at` and the rest are the first one's
    hour_key = db.CharField(max_length=64, null=True, unique=True)  # what they have in common, see flows/audit.py

    class Meta:
        indexes = ((("user", "id"), False),)

    @classmethod
    def page(cls, user: User | None, before: int | None, size: int) -> "list[Event]":
        """Return what happened to this person, or to anybody, newest first, older than event `before`."""
        events = cls.select(cls, User).join(User, db.JOIN.LEFT_OUTER).order_by(cls.id.desc()).limit(size)
        if user:
            events = events.where(cls.user == user)
        return list(events.where(cls.id < before) if before else events)


class Setting(Table):
    """What an admin switches while the site runs."""

    key = db.CharField(primary_key=True)
    value = db.CharField()
    changed_at = db.BigIntegerField()
    changed_by = db.CharField()

    RECOVERY_CODES = "recovery codes"


def recovery_codes_are_fixed() -> bool:
    """Return whether the configuration decides about recovery codes, and not the switch."""
    return store().settings["RECOVERY_CODES_ENABLED"] is not None


def recovery_codes_are_on() -> bool:
    """Return the flag as it is at this moment. Nonsense in the configuration counts as off."""
    if recovery_codes_are_fixed():
        return store().settings["RECOVERY_CODES_ENABLED"] is True
    return bool(_value_of(Setting.RECOVERY_CODES) == [("on",)])


class Invitation(Table):
    """A link with which a person chooses a password, once. It never stands in for the second factor."""

    id = db.AutoField()
    user = db.ForeignKeyField(User, on_delete="CASCADE")
    token_digest = db.CharField(max_length=64, unique=True)
    expires_at = db.BigIntegerField()
    used_at = db.BigIntegerField(null=True)
    purpose = db.CharField(max_length=16, default=LinkPurpose.INVITATION)  # a LinkPurpose

    @classmethod
    def open_at(cls, now: int) -> Any:
        """Return the condition that a link works: unused, in time, of somebody active, by mail with a second factor."""
        ends = [(cls.purpose == purpose) & cls.expires_at.between(*two) for purpose, *two in open_ends(now)]
        active = cls.user.in_(User.select(User.id).where(User.is_active))
        has_app = fn.EXISTS(TotpAuthenticator.select().where(TotpAuthenticator.user == cls.user))
        return cls.used_at.is_null() & active & ((cls.purpose != LinkPurpose.FORGOT) | has_app) & reduce(or_, ends)

    @classmethod
    def find(cls, token: str, now: int) -> "Invitation | None":
        """Return the open invitation this token belongs to."""
        invitations = cls.select(cls, User).join(User).where(cls.token_digest == tokens.digest(token))
        found: Invitation | None = invitations.where(cls.open_at(now)).first()
        return found


# What almost every request asks ---------------------------------------------------------------------------------------


@compiled
def _session_with(token_digest: str) -> Any:
    return Session.select(Session, User).join(User).where(Session.token_digest == token_digest, User.is_active)


@compiled
def _people_at(email: str) -> Any:
    return User.select().where(User.email == email)


@compiled
def _apps_of(user_id: int) -> Any:
    return TotpAuthenticator.select().where(TotpAuthenticator.user == user_id)


@compiled
def _saved_codes_of(user_id: int) -> Any:
    return RecoveryCode.saved(user_id)


@compiled
def _value_of(key: str) -> Any:
    return Setting.select(Setting.value).where(Setting.key == key).tuples()


def fingerprint(text: str) -> str:
    """Return what counts of failures are kept under for an address."""
    return store().keyring.fingerprint("throttle", text)


def _unseal(sealed: Any, purpose: Purpose, owner: User) -> bytes:
    return store().keyring.unseal(bytes(sealed), purpose, owner.id)


TABLES = (User, Session, TotpAuthenticator, SecurityKey, Enrollment, RecoveryCode, Throttle, Event, Setting, Invitation)
