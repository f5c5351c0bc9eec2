"""What starting costs: time, memory, and the libraries that are loaded before anybody needs them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import CHEAP, KEY, ROOT

SETTINGS = """
import json, sys, time
config = {"TESTING": True, "SECRET_KEY": sys.argv[1], "DATABASE_URL": sys.argv[2], "PASSWORD_HASH_COST": sys.argv[3]}
"""

MODULES = """
import app
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

SECONDS = """
from app import create_app
def seconds():
    start = time.perf_counter()
    create_app(config)
    return time.perf_counter() - start
print(json.dumps([seconds(), seconds()]))
"""

MEMORY = """
import re
from app import create_app
from flows import people
from flows.transactions import Context
app = create_app(config)
with app.app_context():
    people.add("omar@example.com", "a lamp, a boat and a heron", Context(int(time.time())))
client = app.test_client()
page = client.get("/login")
form = {"csrf_token": re.search('csrf_token" value="([^"]+)', page.text)[1], "email": "omar@example.com"}
wrong = client.post("/login", data={**form, "password": "something else"})
right = client.post("/login", data={**form, "password": "a lamp, a boat and a heron"})
try:
    kib = int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
except FileNotFoundError:
    import resource
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(json.dumps([page.status_code, wrong.status_code, right.status_code, kib / 1024]))
"""


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'own.db')}"


def in_a_new_process(script: str, database: str) -> Any:
    """What the script prints, in an interpreter that has loaded nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS + script, KEY, database, CHEAP],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_app_is_made_in_less_than_400_ms(database: str) -> None:
    first, second = zip(*(in_a_new_process(SECONDS, database) for _ in range(5)), strict=True)
    assert min(first) < 0.4
    assert min(second) < 0.4


def test_a_worker_that_has_checked_passwords_holds_less_than_80_mb(database: str) -> None:
    *statuses, megabytes = in_a_new_process(MEMORY, database)
    assert statuses == [200, 422, 303]
    assert megabytes < 80


def test_nothing_is_loaded_at_the_start_that_only_tests_or_a_chosen_password_need(database: str) -> None:
    loaded = set(in_a_new_process(MODULES, database))
    assert {"app", "flask", "peewee", "passlib", "segno"} <= loaded
    unneeded = {"zxcvbn", "pytest", "_pytest", "hypothesis", "html5lib", "playwright", "axe_playwright_python", "mypy"}
    assert loaded & unneeded == set()
