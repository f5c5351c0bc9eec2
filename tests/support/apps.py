"""The app under test: the settings it is made with, its database, and the marks for tests of one database alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app import create_app

ROOT = Path(__file__).parents[2]
CHEAP = "m=8,t=1,p=1"
KEY = "only-for-tests-0123456789-abcdefghij"
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"])  # for tests of one of them alone
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"])


def upgrade(url: str) -> None:
    app = create_app({"TESTING": True, "SECRET_KEY": KEY, "DATABASE_URL": url})
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    if url.startswith("sqlite:"):
        with app.app_context():
            app.extensions["store"].database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    app.extensions["store"].database.close_all()


def few_of(values: Iterable[Any], *few: Any) -> list[Any]:
    """For parametrize: these few in the quick suite, and all others in the sweep."""
    return [value if value in few else left_to_the_sweep([value])[0] for value in values]


def left_to_the_sweep(cases: Iterable[Any]) -> list[Any]:
    """For parametrize: none of these in the quick suite."""
    params = [case if hasattr(case, "marks") else pytest.param(*_in_a_tuple(case)) for case in cases]
    return [pytest.param(*param.values, id=param.id, marks=pytest.mark.sweep) for param in params]


def _in_a_tuple(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
