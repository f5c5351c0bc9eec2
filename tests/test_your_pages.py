"""The guide to one's own pages tells the truth: what it says to type is typed here, and ends where the example is."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.support.apps import ROOT
from tests.support.people import PASSWORD

GUIDE = (ROOT / "docs" / "your-pages.md").read_text()
EXAMPLE = ROOT / "examples" / "board"
SNIPPETS = re.findall(r"[Ii]n\s`team/([^`]+)`[^\n]*:\n\n```[a-z]+\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = re.findall(r"^    (\S.*)$", re.sub("```.*?```", "", GUIDE, flags=re.DOTALL), re.MULTILINE)


def test_every_snippet_has_its_file_and_the_last_ones_are_the_example() -> None:
    assert len(SNIPPETS) == GUIDE.count("```") // 2
    sources = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".html", ".css")]
    assert dict(SNIPPETS) == {str(path.relative_to(EXAMPLE)): path.read_text() for path in sources}


def test_the_guide_names_everything_at_the_top_level() -> None:
    told = set(re.findall(r"`([a-z]+)`", GUIDE[GUIDE.index("At the top level") : GUIDE.index("Yours are all others")]))
    there = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    names = {path.partition("/")[0].removesuffix(".py") for path in there if "/" in path or path.endswith(".py")}
    assert told - {"instance"} == names - {".ci", "gunicorn.conf"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The folder that the guide begins in: our files as they are, and nobody's settings or data."""
    for name in ("authn", "blueprints", "examples", "flows", "migrations", "static", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "requirements-dev.txt"]:
        shutil.copy2(path, tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PYTEST_"))}


def type_in(command: str, clone: Path, typed: str = "", more: str = "") -> str:
    assert command in COMMANDS
    options = {"cwd": clone, "env": environment(), "input": typed, "capture_output": True, "text": True}
    done = subprocess.run(f"{command}{more}", shell=True, check=False, **options)  # noqa: S602
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@contextmanager
def started(command: str, clone: Path) -> Iterator[None]:
    server = subprocess.Popen(command, shell=True, cwd=clone, env=environment(), start_new_session=True)  # noqa: S602
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def until_it_says(words: str, url: str) -> None:
    """Workers start, and start anew when a file has changed."""
    said, deadline = "", time.monotonic() + 60
    while words not in said:
        assert time.monotonic() < deadline, said
        try:
            with urllib.request.urlopen(url) as answer:
                said = answer.read().decode()
        except URLError as error:
            said = str(error)
        time.sleep(0.1)


def write(clone: Path, *snippets: tuple[str, str]) -> None:
    for name, text in snippets:
        (clone / "team" / name).write_text(text)


@pytest.mark.sweep
def test_what_the_guide_says_to_type_leads_from_an_empty_file_to_the_board(clone: Path, port: int) -> None:
    """One page, which the sign-in leads back to; then all of it, loaded anew; its tests; and the real thing."""
    type_in("mkdir -p team/static team/pages/board", clone)
    write(clone, SNIPPETS[0])
    assert "make run APP=team" in COMMANDS
    with started(f"make run APP=team PORT={port}", clone):
        until_it_says('value="/hello"', f"http://127.0.0.1:{port}/hello")
        write(clone, *SNIPPETS[1:])
        type_in("cp examples/board/static/banner.svg team/static/", clone)
        until_it_says("About the board", f"http://127.0.0.1:{port}/board/about")
    assert "3 passed" in type_in(".venv/bin/pytest team", clone)

    type_in(".venv/bin/flask --app team db upgrade", clone)
    type_in(".venv/bin/flask --app team users create you@example.org --admin", clone, PASSWORD, " --password-stdin")
    serve = '.venv/bin/gunicorn --bind 127.0.0.1:8000 "team:create_app()"'
    assert serve in COMMANDS
    with started(serve.replace("8000", str(port)), clone):
        until_it_says('value="/board/tidy"', f"http://127.0.0.1:{port}/board/tidy")
