"""Upgrades that are killed. A program: `python -m tests.support.killed URL` reads numbers, a line each. For each it
runs an upgrade that is killed after so many statements, or just before its commit, and says what became of it."""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from app import create_app
from database import opened, upgrade
from tests.support.apps import KEY


def upgrade_and_die(url: str, at: str) -> None:
    app = create_app({"TESTING": True, "SECRET_KEY": KEY, "DATABASE_URL": url})
    database, numbers = app.extensions["store"].database, count()

    def deadly(act: Callable[..., Any], name: str = "") -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if at in (name, str(next(numbers))):
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*args, **kwargs)

        return run

    database.execute_sql, database.commit = deadly(database.execute_sql), deadly(database.commit, "commit")
    with opened(app.extensions["store"]):
        upgrade()
    os.kill(os.getpid(), signal.SIGTERM)  # nothing is tidied up either


def main(url: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            upgrade_and_die(url, line.strip())
        ended_by = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("killed" if ended_by == -signal.SIGKILL else "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
