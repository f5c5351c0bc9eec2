"""The README tells the truth: its example runs, and its tables name every command there is."""

import re
from pathlib import Path

import click
import pytest
from flask import Flask

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_example_of_the_readme_runs_and_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) <= 25
    monkeypatch.setenv("FLASK_SECRET_KEY", "only-for-tests-0123456789-abcdefghij")
    scope = {"folder": tmp_path}
    exec(example, scope)
    scope["app"].extensions["store"].database.close_all()


def commands(group: click.Group, *path: str) -> list[str]:
    found = []
    for name, command in group.commands.items():
        inner = commands(command, *path, name) if isinstance(command, click.Group) else []
        found += inner or [" ".join((*path, name))]
    return found


def test_the_readme_names_every_command(app: Flask) -> None:
    table = README[README.index("## Commands") : README.index("## For real")]
    said = set()
    for cell in re.findall(r"^\| `(.*?)` \|", table.replace("\\|", "/"), re.MULTILINE):
        for part in cell.split("`, `"):
            group, _, rest = part.partition(" ")
            said |= {f"{group} {name}" for name in rest.split(" ")[0].split("/") if not name.startswith("[")} or {group}
    for command in commands(app.cli):
        assert command in said, command


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200
