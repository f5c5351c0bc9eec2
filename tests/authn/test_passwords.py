"""Passwords: the hash and its price, what counts as the same password, and which may be chosen."""

import re
import time
from contextlib import ExitStack, suppress
from functools import partial
from statistics import median

import pytest
from passlib.context import CryptContext

from authn.passwords import Cost, Policy, TooBusy, weakness
from authn.refusals import CommonPassword, PasswordTooLong, PasswordTooShort
from tests.support.races import at_once

CHEAP = Policy(Cost(memory_kib=8, rounds=1, parallelism=1))
GOOD = "a lamp, a boat and a heron"
NAMES = ("Sparekey", "maya@example.com", "maya", "example.com", "example")


def verifies(typed: str, chosen: str) -> bool:
    return CHEAP.verify(typed, CHEAP.hash(chosen))[0]


@pytest.mark.parametrize(
    ("composed", "decomposed"),
    [
        ("\u00c5ngstr\u00f6m und Kr\u00e4he", "A\u030angstro\u0308m und Kra\u0308he"),
        ("\ud55c" * 8, "\u1112\u1161\u11ab" * 8),
    ],
)
def test_both_unicode_spellings_of_a_password_are_the_same(composed: str, decomposed: str) -> None:
    assert verifies(composed, decomposed)
    assert verifies(decomposed, composed)


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        (GOOD, GOOD.upper()),
        (GOOD, GOOD + " "),
        (GOOD + " ", GOOD),
        (" " + GOOD, GOOD),
        (GOOD, GOOD + "\n"),
        (GOOD, GOOD.replace(" ", "\u00a0")),
        (GOOD, GOOD.replace("a", "\uff41")),
        (GOOD + "\ufb01", GOOD + "fi"),
        (GOOD + "\0a", GOOD + "\0b"),
        ("a" * 72 + "X", "a" * 72 + "Y"),
        ("a" * 4095 + "X", "a" * 4095 + "Y"),
        ("a" * 4096, "a" * 4095),
        (GOOD, ""),
    ],
)
def test_nothing_else_about_a_password_is_overlooked(chosen: str, typed: str) -> None:
    assert not verifies(typed, chosen)
    assert verifies(chosen, chosen)


@pytest.mark.parametrize(
    "password",
    [
        "all lower case words x",
        " " * 15 + "x",
        "\U0001f600" * 15,
        "{{7*7}} %s '\"<b>",
        ("a lamp and a boat " * 9)[:64],
        ("a lamp and a boat " * 9)[:128],
    ],
)
def test_any_characters_make_a_password(password: str) -> None:
    assert weakness(password, 15, NAMES) is None
    assert verifies(password, password)


def test_a_hash_is_argon2id_at_the_cost_given_with_a_salt_of_its_own() -> None:
    hasher = Policy(Cost(memory_kib=64, rounds=2, parallelism=3))
    hashes = {hasher.hash(GOOD) for _ in range(50)}
    assert len(hashes) == 50
    # 22 and 43 characters are 16 and 32 bytes.
    assert all(re.fullmatch(r"\$argon2id\$v=19\$m=64,t=2,p=3\$[\w+/]{22}\$[\w+/]{43}", hash_) for hash_ in hashes)


def test_the_default_cost_is_the_second_choice_of_rfc_9106() -> None:
    assert Cost() == Cost(memory_kib=65536, rounds=3, parallelism=4)
    assert Policy(Cost()).hash(GOOD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize("nothing_stored", [None, ""])
@pytest.mark.parametrize("password", [GOOD, "", "\0", "x" * 4096])
def test_no_password_is_nobodys(password: str, nothing_stored: str | None) -> None:
    assert CHEAP.verify(password, nothing_stored) == (False, None)
    assert CHEAP.verify(password, CHEAP.hash(password)) == (True, None)


def test_nobodys_hash_can_always_be_compared() -> None:
    """It is drawn at random when the site starts, and must be well formed whatever is drawn."""
    assert {Policy(Cost(8, 1, 1)).verify(GOOD, None) for _ in range(100)} == {(False, None)}


def test_a_password_that_is_too_long_is_wrong_and_no_error() -> None:
    longest = ("a lamp and a boat " * 300)[:4096]
    assert CHEAP.verify(longest + "x", CHEAP.hash(longest)) == (False, None)
    assert CHEAP.verify(longest + "x", CHEAP.hash("")) == (False, None)
    assert CHEAP.verify(longest + "x", None) == (False, None)
    assert CHEAP.verify(longest, CHEAP.hash(longest)) == (True, None)


@pytest.mark.parametrize("raised", [Cost(16, 1, 1), Cost(8, 2, 1), Cost(16, 2, 2)])
def test_a_raised_cost_renews_the_hash_of_a_right_password_only(raised: Cost) -> None:
    stored, hasher = CHEAP.hash(GOOD), Policy(raised)
    assert hasher.verify("wrong", stored) == (False, None)
    matches, renewed = hasher.verify(GOOD, stored)
    assert matches and renewed is not None
    assert f"$m={raised.memory_kib},t={raised.rounds},p={raised.parallelism}$" in renewed
    assert hasher.verify(GOOD, renewed) == (True, None)


def test_nobodys_password_costs_what_a_wrong_one_costs() -> None:
    hasher = Policy(Cost(memory_kib=19456, rounds=2, parallelism=1))
    stored = hasher.hash(GOOD)
    tries = {"wrong": ("wrong", stored), "nobody": (GOOD, None), "too long": ("x" * 4097, stored)}
    spent: dict[str, list[float]] = {name: [] for name in tries}
    for _ in range(15):
        for name, (password, hash_) in tries.items():
            before = time.process_time()  # of this process alone, so that a busy machine does not matter
            assert hasher.verify(password, hash_) == (False, None)
            spent[name].append(time.process_time() - before)
    cost = {name: median(times) for name, times in spent.items()}
    assert cost["nobody"] == pytest.approx(cost["wrong"], rel=0.25)
    assert cost["too long"] == pytest.approx(cost["wrong"], rel=0.25)


@pytest.mark.parametrize(
    ("short", "enough", "least"),
    [
        ("heron boat lam", "heron boat lamp", 15),
        ("heron b", "heron bo", 8),
        ("\U0001f600" * 14, "\U0001f600" * 15, 15),
        ("e\u0301\u00e8" * 7, "e\u0301\u00e8" * 7 + "x", 15),  # 21 code points, 14 in NFC
    ],
)
def test_length_counts_code_points_after_nfc(short: str, enough: str, least: int) -> None:
    assert weakness(short, least, NAMES) == PasswordTooShort(least - 1, least)
    assert weakness(enough, least, NAMES) is None


def test_the_longest_password_has_4096_characters() -> None:
    longest = ("a lamp and a boat " * 300)[:4096]
    assert weakness(longest + "x", 15, NAMES) == PasswordTooLong(4096)
    assert weakness(longest, 15, NAMES) is None


@pytest.mark.parametrize(
    "common",
    [
        "passwordpassword",
        "PasswordPassword",
        "passwordpassword1!",
        "123456789012345",
        "qwertyuiop12345",
        "qwertyuiopasdfgh",
        "aaaaaaaaaaaaaaa",
        "111111111111111",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_what_too_many_people_use_is_refused_but_not_a_longer_text_with_it(common: str) -> None:
    assert weakness(common, 15, NAMES) == CommonPassword()
    assert weakness(f"{common} and a heron", 15, NAMES) is None


@pytest.mark.parametrize(
    "name",
    [
        "maya@example.com",
        "Maya@Example.COM!",
        "mayamayamayamaya",
        "MayaMayaMayaMaya2024",
        "sparekeysparekey",
        "SparekeyExample1",
        "example.commaya2024",
    ],
)
def test_the_persons_and_the_sites_names_are_refused_but_not_a_longer_text_with_them(name: str) -> None:
    assert weakness(name, 15, NAMES) == CommonPassword()
    assert weakness(f"{name} and a heron", 15, NAMES) is None
    assert weakness(name, 15, ("Harbour", "omar@example.org", "omar", "")) is None


def test_a_password_that_grows_in_nfc_is_measured_as_it_is_hashed() -> None:
    grows = "\u0958" * 2049  # each becomes two code points
    assert Policy(Cost(8, 1, 1)).verify(grows, None) == (False, None)
    assert weakness(grows, 15, ()) == PasswordTooLong(4096)
    decomposed, composed = "e\u0301" * 4000, "\u00e9" * 4000
    assert Policy(Cost(8, 1, 1)).verify(decomposed, Policy(Cost(8, 1, 1)).hash(composed))[0]


@pytest.mark.parametrize("spelling", ["ren\u00e9e" * 3, "rene\u0301e" * 3])
def test_names_are_recognised_in_either_normal_form(spelling: str) -> None:
    assert weakness(spelling, 15, ("ren\u00e9e",)) == CommonPassword()
    assert weakness(spelling, 15, ("noor",)) is None


@pytest.mark.parametrize("choice", ["sparekey12345678", "maya123456789012"])
def test_a_name_padded_with_a_common_password_is_refused(choice: str) -> None:
    assert weakness(choice, 15, ("Sparekey", "maya")) == CommonPassword()
    assert weakness(choice, 15, ("Harbor", "noor")) is None


# How many at once -----------------------------------------------------------------------------------------------------


def test_no_more_passwords_are_hashed_at_once_than_there_are_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, hashing, most = Policy(Cost(8, 1, 1), slots=2), list[int](), list[int]()
    hash_one = CryptContext.hash

    def count(context: CryptContext, password: str) -> str:
        hashing.append(1)
        most.append(len(hashing))
        time.sleep(0.02)
        hashing.pop()
        return str(hash_one(context, password))

    monkeypatch.setattr(CryptContext, "hash", count)
    at_once([lambda: policy.hash(GOOD)] * 6)
    assert (max(most), len(most)) == (2, 6)


def test_whoever_waits_for_a_slot_has_it_before_one_who_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, begun, hash_one = Policy(Cost(8, 1, 1), slots=1), list[str](), CryptContext.hash

    def note(context: CryptContext, password: str) -> str:
        begun.append(password)
        time.sleep(0.1)
        return str(hash_one(context, password))

    def come_back() -> None:
        for password in ("first", "again"):
            policy.hash(password)

    def wait(password: str) -> None:
        while not begun:
            time.sleep(0.001)
        policy.hash(password)

    monkeypatch.setattr(CryptContext, "hash", note)
    at_once([come_back, partial(wait, "one"), partial(wait, "two")])
    assert (begun[0], {*begun[1:3]}, begun[3]) == ("first", {"one", "two"}, "again")


def test_ten_may_wait_for_a_slot_and_the_next_is_turned_away() -> None:
    policy = Policy(Cost(8, 1, 1), slots=2)
    with ExitStack() as line:
        for number in range(12):
            line.enter_context(policy.queued(f"203.0.113.{number}"))
        with pytest.raises(TooBusy):
            line.enter_context(policy.queued("203.0.113.12"))
    with policy.queued("203.0.113.12"):
        assert policy.verify(GOOD, policy.hash(GOOD)) == (True, None)


def test_one_network_has_at_most_three_places_in_the_line_and_leaves_the_others_to_others() -> None:
    policy, busy = Policy(Cost(8, 1, 1), slots=1), "203.0.113.7"
    with ExitStack() as line:
        places = [line.enter_context(ExitStack()) for _ in range(3)]
        for place in places:
            place.enter_context(policy.queued(busy))
        with pytest.raises(TooBusy):
            line.enter_context(policy.queued(busy))
        others = [line.enter_context(policy.queued(f"2001:db8:0:{number}::")) for number in range(8)]
        assert len(others) == 8
        places[0].close()
        line.enter_context(policy.queued(busy))
        with pytest.raises(TooBusy):
            line.enter_context(policy.queued(busy))
    for _ in range(20):  # a place that was left is free again, also when an error ends it
        with suppress(ZeroDivisionError), policy.queued(busy):
            raise ZeroDivisionError
