"""What a group may be called, and in which groups somebody is."""

import pytest

from authn import groups
from authn.refusals import GivenGroup, MalformedGroup, TooManyGroups


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ops", "ops"),
        ("OPS, Wiki", "ops,wiki"),
        ("wiki ops wiki", "ops,wiki"),
        (" ,, \twiki\r\nops ,", "ops,wiki"),
        ("\uff4f\uff50\uff53\u3000wiki", "ops,wiki"),
        ("team-2 7", "7,team-2"),
        ("a" * 32, "a" * 32),
        (" ".join(f"g{number}" for number in range(50)), ",".join(sorted(f"g{number}" for number in range(50)))),
        ("", ""),
        (" , ", ""),
    ],
)
def test_names_are_folded_sorted_and_kept_once(typed: str, stored: str) -> None:
    assert groups.read(groups.split(typed)) == stored
    assert groups.read(groups.split(stored)) == stored


@pytest.mark.parametrize(
    "bad", ["o.ps", "ops_2", "\u00f6ps", "a/b", "ops;", "<b>", "\u0131", "a" * 33, "o\0ps"], ids=ascii
)
def test_a_name_that_is_none_is_named(bad: str) -> None:
    assert groups.read(["ops", bad, "wiki"]) == MalformedGroup(bad)
    assert groups.read(["ops", "wiki"]) == "ops,wiki"


def test_of_a_name_without_end_the_beginning_is_named() -> None:
    assert groups.read(["x" * 60_000]) == MalformedGroup("x" * 64)


@pytest.mark.parametrize(("typed", "name"), [("people", "people"), ("Admins", "admins"), ("\uff41dmins", "admins")])
def test_the_given_groups_are_refused(typed: str, name: str) -> None:
    assert groups.read(["ops", typed]) == GivenGroup(name)


def test_nobody_is_in_more_groups_than_a_header_holds() -> None:
    names = [f"g{number}" for number in range(51)]
    assert groups.read(names) == TooManyGroups(50)
    assert groups.read([*names[:50], names[0]]) == ",".join(sorted(names[:50]))


def test_everybody_is_in_people_and_admins_are_in_admins() -> None:
    assert groups.every("", False) == ["people"]
    assert groups.every("ops,wiki", False) == ["people", "ops", "wiki"]
    assert groups.every("ops", True) == ["people", "admins", "ops"]


@pytest.mark.parametrize(
    ("name", "is_one"), [("ops", True), ("people", True), ("Ops", False), ("", False), ("o ps", False)]
)
def test_a_name_in_code_is_spelled_as_it_is_kept(name: str, is_one: bool) -> None:
    assert groups.is_name(name) is is_one
