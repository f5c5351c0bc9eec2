"""One spelling, one account: which addresses are the same, and what is no address."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authn.email_addresses import fold


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("maya@example.com", "maya@example.com"),
        ("Maya@Example.COM", "maya@example.com"),
        ("  maya@example.com\r\n", "maya@example.com"),
        ("\u3000maya@example.com\u00a0", "maya@example.com"),
        ("\uff4d\uff41\uff59\uff41\uff20\uff45xample\uff0ecom", "maya@example.com"),
        ("\u212aim@example.com", "kim@example.com"),
        ("STRASSE@example.com", "strasse@example.com"),
        ("stra\u00dfe@example.com", "strasse@example.com"),
        ("stra\u1e9ee@example.com", "strasse@example.com"),
        ("\u017fam@example.com", "sam@example.com"),
        ("zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("ZO\u00cb@example.com", "zo\u00eb@example.com"),
        ("J\u030c@example.com", "\u01f0@example.com"),  # composed only once it is folded
        ("\u01f0@example.com", "\u01f0@example.com"),
        ("ma.ya+shop@mail.example.co.uk", "ma.ya+shop@mail.example.co.uk"),
        ("o'maya@localhost", "o'maya@localhost"),
    ],
    ids=ascii,
)
def test_every_spelling_of_an_address_folds_to_one(typed: str, folded: str) -> None:
    assert fold(typed) == folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("maya@example.com", "m\u0430ya@example.com"),
        ("maya@example.com", "maya+shop@example.com"),
        ("maya@example.com", "ma.ya@example.com"),
        ("maya@example.com", "maya@example.org"),
    ],
)
def test_addresses_that_only_look_alike_stay_two(one: str, other: str) -> None:
    assert None is not fold(one) != fold(other) is not None


# Whole words of what folding changes, or random text would hardly ever be an address.
TRICKY = st.sampled_from([*"@@@.+: \u0130\u0131\u0345\u00df\ufb03\u1fb3\u0301\u0323\u212b\u1e9b\ufdfa\u00a8", "maya"])


@settings(database=None, deadline=None, max_examples=500)
@given(st.one_of(st.text(), st.lists(st.one_of(TRICKY, st.characters())).map("".join)))
def test_folding_a_folded_address_changes_nothing(typed: str) -> None:
    for text in (typed, f"{typed}@example.com", f"maya@{typed}"):
        folded = fold(text)
        assert folded is None or fold(folded) == folded


@pytest.mark.parametrize(
    ("typed", "mended"),
    [
        ("", "maya@example.com"),
        ("   ", "maya@example.com"),
        ("maya", "maya@example.com"),
        ("maya.example.com", "maya@example.com"),
        ("@example.com", "maya@example.com"),
        ("maya@", "maya@example.com"),
        ("maya@@example.com", "maya@example.com"),
        ("maya@home@example.com", "maya@example.com"),
        ("maya\uff20home@example.com", "mayahome@example.com"),
        ("ma ya@example.com", "maya@example.com"),
        ("maya @example.com", "maya@example.com"),
        ("maya@exam\tple.com", "maya@example.com"),
        ("maya@example.com\nomar@example.com", "maya@example.com\n"),
        ("ma\u00a0ya@example.com", "maya@example.com"),
        ("maya\0@example.com", "maya@example.com"),
        ("maya@example.com\0", "maya@example.com"),
        ("maya\x1b[31m@example.com", "maya[31m@example.com"),
        ("maya\x7f@example.com", "maya@example.com"),
        ("ma\u200bya@example.com", "maya@example.com"),
        ("\u202emaya@example.com", "maya@example.com"),
        ("maya\ud800@example.com", "maya@example.com"),
        ("ma:ya@example.com", "maya@example.com"),
        ("maya@example.com:25", "maya@example.com"),
        ("ma\uff1aya@example.com", "maya@example.com"),
        ("m" * 243 + "@example.com", "m" * 242 + "@example.com"),
        ("\u00df" * 121 + "m@example.com", "\u00df" * 121 + "@example.com"),
        ("m" * 100_000, "maya@example.com"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_what_is_no_address_is_refused(typed: str, mended: str) -> None:
    assert fold(typed) is None
    assert fold(mended) is not None
