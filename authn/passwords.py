"""Passwords: how they are hashed, checked at an equal price, and which ones are refused when chosen."""

import re
import secrets
import string
import unicodedata
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Condition, Lock

from passlib.context import CryptContext

from authn.refusals import CommonPassword, PasswordTooLong, PasswordTooShort, WeakPassword

MAX_LENGTH = 4096  # passlib's own; more is refused like any wrong password
_LONGEST_WAIT_SECONDS = 5
_LONGEST_LINE = 10  # who waits keeps a thread of the server busy: gunicorn.conf.py has more threads than this
_PLACES_OF_A_NETWORK = 3  # or one right password, sent again and again, would turn everybody else away
_TAIL = re.compile(r"[0-9!.?]{0,4}$")


class TooBusy(Exception):
    """Too many passwords wait to be hashed, in all or of one network, or none of the slots came free in time. Nothing
    was compared."""


@dataclass(frozen=True)
class Cost:
    """argon2id's price. The default is RFC 9106's second choice, and passlib's own."""

    memory_kib: int = 65536
    rounds: int = 3
    parallelism: int = 4


class Policy:
    """What one site demands of passwords, and how it hashes them: with argon2id at one cost, in at most `slots` threads
    at once, since each takes its memory and a core. Raise TooBusy when no slot comes free within five seconds.
    Passwords are brought to NFC first and otherwise taken as they are."""

    def __init__(self, cost: Cost, slots: int = 1, min_length: int = 15, site_name: str = "") -> None:
        self._min_length, self._site_name = min_length, site_name
        self._slots, self._places = slots, slots + _LONGEST_LINE
        self._line, self._line_lock = list[str](), Lock()  # the network of everybody who has a place
        self._order, self._moved = list[object](), Condition()  # those who hash, then those who wait for a slot
        self._context = CryptContext(
            ["argon2"],
            argon2__type="ID",
            argon2__memory_cost=cost.memory_kib,
            argon2__time_cost=cost.rounds,
            argon2__parallelism=cost.parallelism,
        )
        salt, tag = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
        self._nobody = f"$argon2id$v=19$m={cost.memory_kib},t={cost.rounds},p={cost.parallelism}${salt}${tag}"

    def hash(self, password: str) -> str:
        with self._slot():
            return str(self._context.hash(_normalized(password)))

    def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Return whether it is the password, and a new hash to store where the cost has changed since.

        Nobody's password (`stored` is None) and one that is too long cost what a wrong one costs."""
        typed = _normalized(password)
        if len(typed) > MAX_LENGTH:
            typed, stored = "", None
        with self._slot():
            matches, renewed = self._context.verify_and_update(typed, stored or self._nobody)
        return bool(matches), renewed

    def weakness(self, password: str, email: str) -> WeakPassword | None:
        """Return why the person with this address may not choose the password; None when they may."""
        name, _, host = email.partition("@")
        return weakness(password, self._min_length, (self._site_name, email, name, host, host.partition(".")[0]))

    @contextmanager
    def queued(self, network: str) -> Iterator[None]:
        """Hold a place in the line while a password is verified or hashed. Raise TooBusy at once when the line is full,
        so that a flood of sign-ins leaves threads of the server to everybody else, or the network has its share. One
        that is not known is empty and has all of it."""
        with self._line_lock:
            has_its_share = network and self._line.count(network) >= _PLACES_OF_A_NETWORK
            if has_its_share or len(self._line) >= self._places:
                raise TooBusy
            self._line.append(network)
        try:
            yield
        finally:
            with self._line_lock:
                self._line.remove(network)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait for a slot in the order in which they came: a semaphore would let a newcomer in first, now and then."""
        me = object()
        with self._moved:
            self._order.append(me)
        try:
            with self._moved:
                if not self._moved.wait_for(lambda: me in self._order[: self._slots], _LONGEST_WAIT_SECONDS):
                    raise TooBusy
            yield
        finally:
            with self._moved:
                self._order.remove(me)
                self._moved.notify_all()


def weakness(password: str, min_length: int, names: Sequence[str]) -> WeakPassword | None:
    """Return why the password may not be chosen; None when it may. It must not consist of `names`: words of the site
    and the person. The whole password is compared, never a part of it (NIST SP 800-63B-4 3.1.1.2)."""
    password = _normalized(password)
    length = len(password)
    if length < min_length:
        return PasswordTooShort(length, min_length)
    if length > MAX_LENGTH:
        return PasswordTooLong(MAX_LENGTH)
    folded = password.casefold()
    known = _common() | {_normalized(name).casefold() for name in names if name}
    if any(_is_made_of(word, known) for word in (folded, _TAIL.sub("", folded))):
        return CommonPassword()
    return None


def _is_made_of(text: str, words: frozenset[str]) -> bool:
    """Return whether the text is one of the words, one repeated, or two of them joined."""
    period = (text + text).find(text, 1)  # the length of the shortest unit that repeats to the whole text
    if text[:period] in words:
        return True
    return len(text) <= 64 and any(text[:i] in words and text[i:] in words for i in range(len(text)))


@cache
def _common() -> frozenset[str]:
    """Return the 30,000 commonest leaked passwords, as zxcvbn ships them, and single characters, which somebody types
    who holds down a key. They are loaded when somebody first chooses a password."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"]) | set(string.ascii_lowercase + string.digits)


def _normalized(password: str) -> str:
    """Return the password in NFC. One that is far too long is left as it is: normalizing takes time with the square of
    the length."""
    return password if len(password) > 2 * MAX_LENGTH else unicodedata.normalize("NFC", password)
