"""The app under test: the settings it is made with, its database, and the marks for tests of one database alone."""

from pathlib import Path

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
