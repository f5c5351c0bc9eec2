"""The README tells the truth: its example runs, and its tables name every setting and command there is."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from authn.passwords import Cost
from settings import SETTINGS
from testing import signed_in
from tests.support.apps import KEY, ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_of_the_readme_runs_and_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = EXAMPLES[1]
    assert len(example.splitlines()) <= 25
    monkeypatch.setenv("FLASK_SECRET_KEY", "only-for-tests-0123456789-abcdefghij")
    scope = {"folder": tmp_path}
    exec(example, scope)
    scope["app"].extensions["store"].database.close_all()


def test_the_page_of_the_readme_is_what_a_sign_in_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/example.db"}.items():
        monkeypatch.setenv(f"FLASK_{name}", value)
    scope: dict[str, Any] = {}
    exec(EXAMPLES[0], scope)
    app = scope["create_app"]()
    app.testing = True
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert app.test_client().get("/hello").location == "/login?notice=needed&next=/hello"
    maya = signed_in(app, "maya@example.com")
    assert (maya.get("/").location, maya.get("/hello").text) == ("/hello", "Hello")
    app.extensions["store"].database.close_all()


def commands(group: click.Group, *path: str) -> list[str]:
    found = []
    for name, command in group.commands.items():
        inner = commands(command, *path, name) if isinstance(command, click.Group) else []
        found += inner or [" ".join((*path, name))]
    return found


def test_the_readme_has_every_setting_with_its_default() -> None:
    table = README[README.index("## Settings") : README.index("## Commands")]
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", table, re.MULTILINE))
    assert told.keys() == SETTINGS.keys()
    words = {
        "RECOVERY_CODES_ENABLED": "unset",
        "DATABASE_URL": "SQLite in the instance folder",
        "SECRET_KEY": "made on first start, in the instance folder",
        "SECRET_KEY_FALLBACKS": "none",
        "TEMPLATES": "none",
        "PASSWORD_HASH_COST": "`m={0.memory_kib},t={0.rounds},p={0.parallelism}`".format(Cost()),
        "MAIL_URL": "off",
        "APPS": "none",
        "DEMO": "off",
        "CLOCK": "`time.time`",
    }
    for key, setting in SETTINGS.items():
        default = setting.default if isinstance(setting.default, int) else f"`{setting.default}`"
        assert told[key] == words.get(key, str(default)), key


def test_the_readme_names_every_command(app: Flask) -> None:
    table = README[README.index("## Commands") : README.index("## For real")]
    said = set()
    for cell in re.findall(r"^\| `(.*?)` \|", table.replace("\\|", "/"), re.MULTILINE):
        for part in cell.split("`, `"):
            group, _, rest = part.partition(" ")
            said |= {f"{group} {name}" for name in rest.split(" ")[0].split("/") if not name.startswith("[")} or {group}
    for command in commands(app.cli):
        assert command in said, command


def test_the_pictures_of_the_readme_and_of_the_figures_are_there_small_and_described() -> None:
    folder, pages = ROOT / "docs" / "pictures", README + (ROOT / "docs" / "benchmarks.md").read_text()
    named = re.findall(r'(?:src|srcset)="(?:docs/)?pictures/(.*?)"', pages)
    assert sorted(named) == sorted(path.name for path in folder.iterdir())
    assert {path.name for path in folder.iterdir() if path.stat().st_size > 40_000} == set()
    assert [image for image in re.findall(r"<img .*?>", pages) if not re.search(r'alt="\w[^"]+"', image)] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200
