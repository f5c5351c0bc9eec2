"""docs/requirements.md names a test for what it says, or says why there is none."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAD = ["requirement", "level", "what it asks", "how it is met, or why not", "test"]
STANDINGS = ("No test.", "In part.", "Not met.", "Operator.", "Not applicable.")
NONE = "–"
LEVELS = {"SHALL", "SHALL NOT", "SHOULD", "SHOULD NOT", "SHALL, SHOULD", "MAY", "1", "2", "1, 2"}

Row = list[str]


def cells(line: str) -> Row:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows_of(text: str) -> list[Row]:
    """The rows of every table that has this document's head."""
    rows, inside = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif cells(line) == HEAD:
            inside = True
        elif inside and not line.startswith("|---"):
            rows.append(cells(line))
    return rows


def names_in(row: Row) -> list[str]:
    return re.findall(r"`(test_\w+)`", row[-1])


def wrong_with(row: Row) -> str | None:
    """What the row lacks; None where it is whole."""
    if len(row) != len(HEAD) or not all(row):
        return "not five cells with something in each"
    if row[1] not in LEVELS:
        return "an unknown level"
    names = names_in(row)
    if row[-1] not in (NONE, ", ".join(f"`{name}`" for name in names)):
        return "more in the last cell than tests"
    standing, _, why = row[3].removeprefix("**").partition("** ") if row[3].startswith("**") else ("", "", row[3])
    if standing not in ("", *STANDINGS) or not why.endswith("."):
        return "a standing that is not explained, or not a sentence"
    if not names and not standing:
        return "neither a test nor a reason"
    if names and standing == "No test.":
        return "a test and the word that there is none"
    return None


def every_test() -> set[str]:
    """The names of all tests of this project."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


ROWS = rows_of((ROOT / "docs" / "requirements.md").read_text())


def test_every_test_that_the_requirements_name_exists() -> None:
    named = {name for row in ROWS for name in names_in(row)}
    assert len(named) >= 100
    assert sorted(named - every_test()) == []


def test_every_requirement_has_a_test_or_a_reason() -> None:
    assert len(ROWS) >= 200
    assert [(row[0], wrong) for row in ROWS if (wrong := wrong_with(row))] == []


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("| 1 | 2 | A thing | It is there. | `test_a` |", None),
        ("| 1 | 2 | A thing | It is there. | `test_a`, `test_b` |", None),
        ("| 1 | 2 | A thing | **Not met.** It is too dear. | – |", None),
        ("| 1 | 2 | A thing | **In part.** Half of it is there. | `test_a` |", None),
        ("| 1 | 2 | A thing | It is there. | – |", "neither"),
        ("| 1 | 2 | A thing | It is there. | |", "five"),
        ("| 1 | 2 | A thing | `test_a` |", "five"),
        ("| 1 | 7 | A thing | It is there. | `test_a` |", "level"),
        ("| 1 | 2 | A thing | It is there. | seen |", "more"),
        ("| 1 | 2 | A thing | **Not met.** | – |", "explained"),
        ("| 1 | 2 | A thing | **Later.** Some day. | – |", "explained"),
        ("| 1 | 2 | A thing | **No test.** It is there. | `test_a` |", "none"),
    ],
)
def test_a_row_that_lacks_something_is_found_out(row: str, wrong: str | None) -> None:
    (read,) = rows_of("\n".join([f"| {' | '.join(HEAD)} |", "|---|---|---|---|---|", row]))
    found = wrong_with(read)
    assert found is None if wrong is None else wrong in (found or "")
