"""Backups. The known limit: one that is restored brings back what it held, also for six-digit codes.
tests/test_operations.py types what the guide says about them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask

from tests.support.apps import on_sqlite
from tests.support.forms import Site
from tests.support.machines import GUIDE
from tests.support.pages import Browser
from tests.support.people import Clock, half, sign_in


def backup(app: Flask, to: Path) -> None:
    with closing(sqlite3.connect(to)) as copy, app.app_context():
        app.extensions["store"].database.connection().backup(copy)


def restore(app: Flask, copy: Path) -> None:
    path = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
    app.extensions["store"].database.close_all()
    for left in path.parent.glob(f"{path.name}-*"):
        left.unlink()
    shutil.copy(copy, path)


@on_sqlite
def test_a_six_digit_code_used_since_is_good_again_but_not_after_two_minutes(
    site: Site, clock: Clock, tmp_path: Path
) -> None:
    """Which is how long the guide lets the service stand still."""
    assert "start no sooner than two minutes after the stop" in GUIDE
    backup(site.app, tmp_path / "backup.db")
    used = site.omar.code()
    sign_in(Browser(site.app), site.omar)
    assert half(site.app, site.omar).submit("/login/code", code=used).status == 422
    restore(site.app, tmp_path / "backup.db")
    assert half(site.app, site.omar).submit("/login/code", code=used).h1 == "Security"

    restore(site.app, tmp_path / "backup.db")
    clock.pass_by(120)
    browser = half(site.app, site.omar)
    assert browser.submit("/login/code", code=used).status == 422
    assert browser.submit("/login/code", code=site.omar.code()).h1 == "Security"
