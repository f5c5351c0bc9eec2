"""Everything that ends sessions at one moment, for one person and for eight: every request is answered."""

from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.apps import on_postgresql
from tests.support.endings import end_all_at_once
from tests.support.people import Person


@on_postgresql
@pytest.mark.parametrize(("people", "rounds"), [(1, 24), (8, 6)])
def test_whatever_ends_sessions_at_one_moment_every_request_is_answered(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], people: int, rounds: int
) -> None:
    app = make_app(RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_SLOTS=50)
    others = [make_person(f"other{number}@example.com", on=app) for number in range(3 * people)]
    ada = make_person("ada@example.com", admin=True, on=app)
    statuses: Counter[int] = Counter()
    for number in range(rounds):
        those = [make_person(f"person{number}.{each}@example.com", on=app) for each in range(people)]
        statuses.update(page.status for page in end_all_at_once(app, those, ada, others))
    assert statuses.total() >= (300 if people == 1 else 540)
    assert set(statuses) <= {200, 303, 404, 422}, statuses
