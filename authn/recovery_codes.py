"""What a recovery code is: how one is made, shown, read back and stored. Knows nothing of people, sessions or flags."""

import hashlib
import re
import secrets
import unicodedata

from authn.refusals import EmptyCode, MalformedCode, SixDigits, WrongLength

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O or U
LENGTH = 24  # 23 random symbols, 115 bits, and the check character

_LONGEST_TYPED = 1000  # normalizing takes time with the square of the length
_MISREAD = str.maketrans("OIL", "011")


def generate() -> str:
    """Return a new code: 115 bits from the operating system (NIST SP 800-63B-4 3.1.2.2 asks for 112) and a check
    character."""
    symbols = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return symbols + check_character(symbols)


def display(code: str) -> str:
    """Return the code as people see it: six groups of four, with dashes between."""
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def read(typed: str) -> str | MalformedCode:
    """Return the code that was meant, folded, or the refusal that says why it cannot be one: no look-up is needed."""
    if len(typed) > _LONGEST_TYPED:
        return WrongLength(len(typed))
    code = _fold(typed)
    if not code:
        return EmptyCode()
    if len(code) == 6 and code.isdigit():
        return SixDigits()
    if len(code) != LENGTH:
        return WrongLength(len(code))
    if not set(code) <= set(ALPHABET) or check_character(code[:-1]) != code[-1]:
        return MalformedCode()
    return code


def digest(code: str, person_id: int) -> str:
    """Return what is stored of a folded code. A fast hash is right for 115 random bits. It needs no key, so changing
    keys never kills a code. It holds the person's id, so one person's code is worthless to another."""
    return hashlib.sha256(f"sparekey recovery code\0{person_id}\0{code}".encode()).hexdigest()


def check_character(symbols: str) -> str:
    """Return Damm's check over GF(32) modulo x^5+x^2+1. It finds every single wrong symbol and every swapped pair of
    neighbours."""
    check = 0
    for symbol in symbols:
        check = _double(check ^ ALPHABET.index(symbol))
    return ALPHABET[check]


def _double(element: int) -> int:
    doubled = element << 1
    return doubled ^ 0b100101 if doubled & 0b100000 else doubled


def _fold(typed: str) -> str:
    """Case, width, spaces, dashes and full stops do not matter, nor does O for 0, I or L for 1."""
    upper = unicodedata.normalize("NFKC", typed).upper().translate(_MISREAD)
    return re.sub("[^0-9A-Z]", "", upper)
