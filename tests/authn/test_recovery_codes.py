"""What a recovery code is, how forgiving it is to type, and that a slip is always told as a slip."""

import hashlib
import math
from collections.abc import Callable

import pytest

from authn import recovery_codes
from authn.refusals import EmptyCode, MalformedCode, SixDigits, WrongLength

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EXAMPLE = "7F3K9QXM2D8RHJ5TV0WB4NZ3"
SHOWN = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
CODES = [recovery_codes.generate() for _ in range(10_000)]
FEW = [EXAMPLE, *CODES[:4]]


def damm_by_long_division(symbols: str) -> str:
    """The symbols as coefficients of a polynomial, highest power first and the last one at x; its remainder."""
    remainder = 0
    for power, symbol in enumerate(reversed(symbols), 1):
        remainder ^= CROCKFORD.index(symbol) << power
    while remainder >= 32:
        remainder ^= 0b100101 << remainder.bit_length() - 6
    return CROCKFORD[remainder]


def grouped(separator: str) -> Callable[[str], str]:
    return lambda code: separator.join(code[i : i + 4] for i in range(0, 24, 4))


WAYS_TO_TYPE = {
    "as shown": recovery_codes.display,
    "in one piece": str,
    "lower case": lambda code: recovery_codes.display(code).lower(),
    "a space after each": " ".join,
    **{f"spaces {ord(space):04x}": grouped(space) for space in "\t\u00a0\u2009\u3000"},
    **{f"dashes {ord(dash):04x}": grouped(dash) for dash in "_\u00ad\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"},
    "O for 0": lambda code: code.replace("0", "O"),
    "o for 0": lambda code: code.lower().replace("0", "o"),
    "I for 1": lambda code: code.replace("1", "I"),
    "i for 1": lambda code: code.lower().replace("1", "i"),
    "L for 1": lambda code: code.replace("1", "L"),
    "l for 1": lambda code: code.lower().replace("1", "l"),
    "a full stop and a newline": lambda code: f"  {recovery_codes.display(code)}.\r\n",
    "full width": lambda code: "".join(chr(ord(symbol) + 0xFEE0) for symbol in code.lower()),
    "a NUL behind": lambda code: f"{code}\0",
}


@pytest.mark.parametrize("way", WAYS_TO_TYPE.values(), ids=WAYS_TO_TYPE)
def test_every_code_is_read_back_however_it_is_typed(way: Callable[[str], str]) -> None:
    assert [recovery_codes.read(way(code)) for code in CODES] == CODES


def test_a_code_is_shown_in_six_groups_of_four() -> None:
    assert recovery_codes.display(EXAMPLE) == SHOWN


def test_the_documented_example_is_a_code() -> None:
    assert recovery_codes.read(SHOWN) == EXAMPLE
    assert damm_by_long_division(EXAMPLE[:-1]) == recovery_codes.check_character(EXAMPLE[:-1]) == "3"


def test_long_division_finds_the_same_check_character() -> None:
    assert [code[-1] for code in CODES] == [damm_by_long_division(code[:-1]) for code in CODES]


def test_every_single_wrong_symbol_is_told_as_a_slip() -> None:
    for code in FEW:
        assert recovery_codes.read(code) == code
        for i in range(24):
            for other in set(CROCKFORD) - {code[i]}:
                assert recovery_codes.read(code[:i] + other + code[i + 1 :]) == MalformedCode()


def test_every_swapped_pair_of_neighbours_is_told_as_a_slip() -> None:
    for code in FEW:
        assert recovery_codes.read(code) == code
        for i in range(23):
            if code[i] != code[i + 1]:
                assert recovery_codes.read(code[:i] + code[i + 1] + code[i] + code[i + 2 :]) == MalformedCode()


@pytest.mark.parametrize("letter", ["U", "u", "\uff35"])
def test_a_letter_that_no_code_has_is_told_as_a_slip(letter: str) -> None:
    assert recovery_codes.read(EXAMPLE) == EXAMPLE
    for i in range(24):
        assert recovery_codes.read(EXAMPLE[:i] + letter + EXAMPLE[i + 1 :]) == MalformedCode()


@pytest.mark.parametrize(
    ("typed", "length"),
    [
        ("7", 1),
        (SHOWN[:-1], 23),
        (SHOWN + "7", 25),
        (SHOWN + "U", 25),
        (SHOWN * 2, 48),
        ("12345", 5),
        ("1234567", 7),
        ("ABC-DEF", 6),
        ("7" * 10_000, 10_000),
    ],
)
def test_a_wrong_length_is_told_with_the_number_typed(typed: str, length: int) -> None:
    assert recovery_codes.read(typed) == WrongLength(length)
    assert recovery_codes.read(SHOWN) == EXAMPLE


@pytest.mark.parametrize("nothing", ["", " ", "\n", "----", "%_", "\0", "\u043a\u043e\u0434", "\ud800"])
def test_a_text_without_letters_and_numbers_is_empty(nothing: str) -> None:
    assert recovery_codes.read(nothing) == EmptyCode()
    assert recovery_codes.read(nothing + EXAMPLE + nothing) == EXAMPLE


@pytest.mark.parametrize("typed", ["123456", "123 456", " 123-456\n", "\uff11\uff12\uff13\uff14\uff15\uff16"])
def test_six_digits_are_taken_for_a_code_from_the_app(typed: str) -> None:
    assert recovery_codes.read(typed) == SixDigits()
    rest = "0" * 17 + damm_by_long_division("123456" + "0" * 17)
    assert recovery_codes.read(typed + rest) == "123456" + rest


def test_codes_are_distinct_and_hold_115_random_bits() -> None:
    assert len(set(CODES)) == len(CODES)
    assert {(len(code), *(set(code) - set(CROCKFORD))) for code in CODES} == {(24,)}
    seen_at_each_place = [set(column) for column in zip(*(code[:-1] for code in CODES), strict=True)]
    assert sum(math.log2(len(symbols)) for symbols in seen_at_each_place) == 115


def test_a_digest_belongs_to_one_person_and_one_code() -> None:
    people = [recovery_codes.digest(EXAMPLE, person_id) for person_id in range(1, 1_000)]
    codes = [recovery_codes.digest(code, 1) for code in CODES]
    assert len({*people, *codes}) == len(people) + len(codes)
    assert recovery_codes.digest(EXAMPLE, 7) == recovery_codes.digest(EXAMPLE, 7)


def test_a_digest_holds_no_code_and_is_no_bare_hash_of_it() -> None:
    digest = recovery_codes.digest(EXAMPLE, 7)
    assert EXAMPLE not in digest.upper()
    assert digest not in (hashlib.sha256(text.encode()).hexdigest() for text in (EXAMPLE, SHOWN, f"7{EXAMPLE}"))


def test_a_digest_stored_by_an_earlier_version_still_fits() -> None:
    stored = hashlib.sha256(b"sparekey recovery code\x007\x007F3K9QXM2D8RHJ5TV0WB4NZ3").hexdigest()
    assert recovery_codes.digest(recovery_codes.read(SHOWN.lower()), 7) == stored
