"""What docs/design.md says of the code, and the table of steps that everything else leans on."""

import re
from itertools import product

import pytest

from authn.steps import TRANSITIONS, Cause, Step, follow
from blueprints.session import PAGES
from tests.support.apps import ROOT

DESIGN = (ROOT / "docs" / "design.md").read_text()


def in_words(name: str) -> str:
    return name.replace("_", " ")


def table() -> str:
    """The transitions as the document has them."""
    lines = ["| from | by | to | token |", "|---|---|---|---|"]
    for row in TRANSITIONS:
        start = f"`{row.start}`" if row.start else "(nobody)"
        cause = in_words(row.cause) + (", a code is due" if row.code_is_due else "")
        lines.append(f"| {start} | {cause} | `{row.end}` | {'new' if row.new_token else 'kept'} |")
    return "\n".join(lines)


def test_the_document_has_the_table_of_steps() -> None:
    (printed,) = re.findall(r"<!-- steps -->\n(.*)\n<!-- /steps -->", DESIGN, re.DOTALL)
    assert printed == table()


def test_every_file_that_the_document_names_is_there() -> None:
    named = set(re.findall(r"`([a-z_/]+\.(?:py|toml|md|html))`", DESIGN))
    assert "flows/recovery.py" in named
    beside = {"messages.toml": "blueprints/messages.toml"}
    assert {name for name in named if not (ROOT / beside.get(name, name)).exists()} == set()


def test_every_step_is_reached_has_a_page_and_leads_to_being_signed_in() -> None:
    assert {row.end for row in TRANSITIONS} == set(Step) == {*PAGES, Step.SIGNED_IN}
    lead_there = {Step.SIGNED_IN}
    for _ in Step:
        lead_there |= {row.start for row in TRANSITIONS if row.end in lead_there and row.start}
    assert lead_there == set(Step)


def test_every_cause_moves_something_on() -> None:
    assert {row.cause for row in TRANSITIONS} == set(Cause)


@pytest.mark.parametrize("code_is_due", [False, True])
def test_a_step_is_followed_as_the_table_says_and_in_no_other_way(code_is_due: bool) -> None:
    rows = {(row.start, row.cause): row for row in TRANSITIONS if row.code_is_due == code_is_due}
    for start, cause in product([None, *Step], Cause):
        if (start, cause) in rows:
            assert follow(start, cause, code_is_due=code_is_due) == rows[start, cause]
        else:
            with pytest.raises(KeyError):
                follow(start, cause, code_is_due=code_is_due)


def test_nobody_is_signed_in_by_a_password_or_a_recovery_code_alone() -> None:
    alone = {Cause.RIGHT_PASSWORD, Cause.PASSWORD_WITHOUT_APP, Cause.RECOVERY_CODE}
    assert {row.end for row in TRANSITIONS if row.cause in alone} == {Step.CHALLENGE, Step.ENROLL, Step.REPLACE_CODE}
    assert {row.cause for row in TRANSITIONS if row.start is Step.REPLACE_CODE} == {Cause.CODE_SAVED}
    assert follow(Step.REPLACE_CODE, Cause.CODE_SAVED).end is Step.LOST_DEVICE
