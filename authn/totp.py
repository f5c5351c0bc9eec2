"""Time-based one-time codes (RFC 6238: SHA-1, six digits, 30 s), as passlib computes them. That each works once is the
affair of flows/second_factor.py."""

import re
import secrets
from collections.abc import Sequence

from passlib.exc import TokenError
from passlib.totp import TOTP, group_string

PERIOD_SECONDS = 30
WINDOW_SECONDS = 30  # one step back for a slow typist, one ahead for a fast phone: three codes in a million match
_STEPS_KEPT = 20
_SECRET_BYTES = 20  # RFC 4226, section 4, R6


def new_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def read(typed: str) -> str | None:
    """Return the six digits that were meant, without spaces and dashes; None when they are not six digits."""
    code = re.sub(r"[\s-]", "", typed)
    return code if re.fullmatch("[0-9]{6}", code) else None


def matching_step(secret: bytes, code: str, now: int) -> int | None:
    """Return the 30-second step that shows this code, from one before `now` to one after; None when none does."""
    try:
        return int(_totp(secret).match(code, time=now, window=WINDOW_SECONDS).counter)
    except TokenError:
        return None


def accept(step: int, accepted: Sequence[int], now: int) -> list[int] | None:
    """Return the steps accepted so far with this one: the newest twenty, and all that lie ahead. Return None when its
    code is used up: this step was accepted before, or a later one.

    A step that lies ahead was accepted while the clock was. It counts for itself alone, so that it neither shuts the
    owner out until its time comes, nor is good again then."""
    newest = (now + WINDOW_SECONDS) // PERIOD_SECONDS
    if step in accepted or any(step < each <= newest for each in accepted):
        return None
    kept = [*accepted, step]
    return [each for place, each in enumerate(kept, _STEPS_KEPT - len(kept)) if place >= 0 or each > newest]


def code_at(secret: bytes, now: int) -> str:
    return str(_totp(secret).generate(time=now).token)


def seconds_left(now: int) -> int:
    """Return the seconds until the app shows the next code."""
    return PERIOD_SECONDS - now % PERIOD_SECONDS


def setup_key(secret: bytes) -> str:
    """Return the secret as a person types it into the app: base32 in groups of four."""
    return str(group_string(_totp(secret).base32_key, sep=" "))


def read_setup_key(typed: str) -> bytes | None:
    """Return the secret behind a setup key, however it was spaced; None when it is none, or has under 80 bits."""
    if len(re.sub(r"[\s=-]", "", typed)) < 16:
        return None
    try:
        return bytes(TOTP(key=typed, format="base32").key)
    except (ValueError, TypeError):
        return None


def uri(secret: bytes, issuer: str, account: str) -> str:
    """Return the otpauth URI behind the QR code."""
    return str(_totp(secret).to_uri(label=account, issuer=issuer))


def _totp(secret: bytes) -> TOTP:
    return TOTP(key=secret, format="raw")
