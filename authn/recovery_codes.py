"""What a recovery code is: how one is made, shown, read back and stored. Knows nothing of people, sessions or flags."""

import hashlib
import re
import secrets
import unicodedata

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O or U
LENGTH = 24  # 23 random symbols, 115 bits, and the check character

_LONGEST_TYPED = 1000  # normalizing takes time with the square of the length
_MISREAD = str.maketrans("OIL", "011")


class Slip(ValueError):
    """What was typed cannot be a recovery code; its subclass says why. Telling so needs no look-up and is not a try."""


class Empty(Slip):
    """Nothing was typed."""


class OneTimeCode(Slip):
    """Six digits: this looks like a code from the authenticator app."""


class WrongLength(Slip):
    """`typed` letters and numbers instead of 24."""

    def __init__(self, typed: int) -> None:
        super().__init__(typed)
        self.typed = typed


class Mistyped(Slip):
    """The right length, but a letter that no code has or a check character that does not fit."""


def generate() -> str:
    """A new code: 115 bits from the operating system (NIST SP 800-63B-4 3.1.2.2 asks for 112) and a check character."""
    symbols = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return symbols + check_character(symbols)


def display(code: str) -> str:
    """The code as people see it: six groups of four."""
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def read(typed: str) -> str:
    """The code that was meant, folded; or the Slip that says why it cannot be one."""
    if len(typed) > _LONGEST_TYPED:
        raise WrongLength(len(typed))
    code = _fold(typed)
    if not code:
        raise Empty
    if len(code) == 6 and code.isdigit():
        raise OneTimeCode
    if len(code) != LENGTH:
        raise WrongLength(len(code))
    if not set(code) <= set(ALPHABET) or check_character(code[:-1]) != code[-1]:
        raise Mistyped
    return code


def digest(code: str, person_id: int) -> str:
    """What is stored of a folded code. A fast hash is right for 115 random bits, and it needs no key, so rotating keys
    never kills a code; the person's id in it makes the same code another person's nothing at all."""
    return hashlib.sha256(f"sparekey recovery code\0{person_id}\0{code}".encode()).hexdigest()


def check_character(symbols: str) -> str:
    """Damm's check over GF(32) modulo x^5+x^2+1: it tells every single wrong symbol and every swapped pair of
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
