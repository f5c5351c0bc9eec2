"""Why something was not done, as values. A flow that returns one has changed nothing but the record and the counts of
failures. What people read about each of them is in blueprints/messages.py."""

from dataclasses import dataclass
from enum import StrEnum, auto


@dataclass(frozen=True)
class Refusal:
    """The base of them all."""


class WrongPassword(Refusal):
    """Not the password of an active person with that address."""


@dataclass(frozen=True)
class WeakPassword(Refusal):
    """The password may not be chosen."""


@dataclass(frozen=True)
class PasswordTooShort(WeakPassword):
    """It has `length` characters and needs `at_least`."""

    length: int
    at_least: int


@dataclass(frozen=True)
class PasswordTooLong(WeakPassword):
    """It has more than `at_most` characters."""

    at_most: int


class CommonPassword(WeakPassword):
    """It is made of common passwords, or of names that belong to the person or the site."""


class NotSixDigits(Refusal):
    """A code from an app has six digits. Saying so is not a try."""


class WrongCode(Refusal):
    """Six digits that the app does not show."""


class UsedCode(Refusal):
    """Six digits that the app does show, and that were accepted before."""


class MalformedCode(Refusal):
    """What was typed cannot be a recovery code, for a reason that a subclass may name. Saying so is not a try."""


class EmptyCode(MalformedCode):
    """Nothing was typed."""


class SixDigits(MalformedCode):
    """It looks like a code from the authenticator app."""


@dataclass(frozen=True)
class WrongLength(MalformedCode):
    """It has `typed` letters and numbers instead of 24."""

    typed: int


class Retirement(StrEnum):
    """How a recovery code stopped working."""

    SPENT = auto()
    REPLACED = auto()
    RESET = auto()


class WrongRecoveryCode(Refusal):
    """A recovery code that never was this person's."""


@dataclass(frozen=True)
class RetiredCode(Refusal):
    """A saved recovery code of this person's that stopped working at `at` (seconds UTC)."""

    at: int
    how: Retirement


class UnsavedCode(Refusal):
    """A recovery code that this person was shown and that was not saved: it never worked."""


@dataclass(frozen=True)
class CodeInUse(Refusal):
    """Another browser signs in with the recovery code. It is free at `until` (seconds UTC) unless that is finished."""

    until: int


class OtherCode(Refusal):
    """The recovery code on the page is no longer the one to be saved."""


@dataclass(frozen=True)
class AddressTaken(Refusal):
    """Somebody has this address already."""

    email: str


@dataclass(frozen=True)
class AddressesTaken(Refusal):
    """Somebody has each of these addresses already."""

    emails: list[str]


class NoLines(Refusal):
    """A list of addresses that has none."""


@dataclass(frozen=True)
class TooManyLines(Refusal):
    """A list with `lines` addresses, where `at_most` so many are added at once."""

    lines: int
    at_most: int


@dataclass(frozen=True)
class NoAddress(Refusal):
    """Line number `line` of a list has this text, which is no address."""

    line: int
    text: str


@dataclass(frozen=True)
class SameAddress(Refusal):
    """Line number `line` of a list has an address that an earlier one has."""

    line: int
    email: str


@dataclass(frozen=True)
class LineTaken(Refusal):
    """Line number `line` of a list has somebody's address."""

    line: int
    email: str


@dataclass(frozen=True)
class LastAdmin(Refusal):
    """The person with this address is the last active admin."""

    email: str


@dataclass(frozen=True)
class MalformedGroup(Refusal):
    """What was typed as `name` is no group's name."""

    name: str


@dataclass(frozen=True)
class GivenGroup(Refusal):
    """Who is in the group with this `name` is not for an admin to say."""

    name: str


@dataclass(frozen=True)
class TooManyGroups(Refusal):
    """More than `at_most` groups for one person."""

    at_most: int


class FixedByConfiguration(Refusal):
    """RECOVERY_CODES_ENABLED decides, and not the switch."""


class LinkUsed(Refusal):
    """The one-time link was used or replaced."""


class NoSuchSession(Refusal):
    """The person has no other session with this id."""


class RefusedKey(Refusal):
    """What came in place of a security key's answer is none, or not one to what this session asked for."""


class CopiedKey(Refusal):
    """A security key has signed as often as before, or less often: somebody may have a copy."""


class KnownKey(Refusal):
    """This security key is on the account already."""


class TooManyKeys(Refusal):
    """The account has as many security keys as one can have."""


class NoSuchKey(Refusal):
    """The person has no security key with this id."""


class OneKeyAlone(Refusal):
    """Whoever loses the only security key, with no recovery code saved, would have no way in."""
