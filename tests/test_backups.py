"""Backups. The known limit: one that is restored brings back what it held, codes spent and sessions ended since too."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask

from tests.support.apps import ROOT, on_sqlite
from tests.support.commands import link
from tests.support.forms import Site
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    Clock,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import live_codes


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
def test_a_restored_backup_brings_back_what_it_held(site: Site, clock: Clock, tmp_path: Path) -> None:
    """The documented limit: codes spent, sessions ended and passwords changed since it was made come back with it,
    so whoever restores one has to reset the people who did any of that. A six-digit code does not: its time is over."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    copy, code, used = browser.copy(), site.omar.recovery_code, site.omar.code()
    backup(site.app, tmp_path / "backup.db")

    browser.press(browser.get("/account"), "Sign out")
    recovering = Browser(site.app)
    page = save_new_code(recovering, use_recovery_code(recovering, site.omar), site.omar)
    recovering.submit(page, still_have="yes")
    new_code = site.omar.recovery_code
    assert not is_signed_in(copy)
    assert "was used on" in use_recovery_code(Browser(site.app), site.omar, code).errors[0]
    clock.pass_by(90)

    restore(site.app, tmp_path / "backup.db")
    assert is_signed_in(copy), "a session that was ended"
    assert use_recovery_code(Browser(site.app), site.omar, new_code).errors[0].startswith("That recovery code isn't")
    again = Browser(site.app)
    give_password(again, site.omar)
    assert again.submit("/login/code", code=used).status == 422
    assert use_recovery_code(Browser(site.app), site.omar, code).h1.startswith("You're in"), "a code that was spent"
    assert "Restoring a backup brings back what it holds" in (ROOT / "SECURITY.md").read_text()


@on_sqlite
def test_a_reset_after_restoring_ends_all_that_came_back(site: Site, clock: Clock, tmp_path: Path) -> None:
    """What the operator does about it, one command a person."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    copy, code = browser.copy(), site.omar.recovery_code
    backup(site.app, tmp_path / "backup.db")
    browser.press(browser.get("/account"), "Sign out")
    restore(site.app, tmp_path / "backup.db")
    assert is_signed_in(copy)
    path = link(site.app, "reset-mfa", site.omar.email)
    assert not is_signed_in(copy)
    assert give_password(Browser(site.app), site.omar).status == 422
    owner = Browser(site.app)
    owner.submit(path, new_password=NEW_PASSWORD)
    site.omar.password = NEW_PASSWORD
    assert live_codes(site.app) == 1  # Ines'
    page = enroll(owner, site.omar)
    assert page.h1 == "Security"
    clock.pass_by(30)
    assert use_recovery_code(Browser(site.app), site.omar, code).errors[0].endswith("when your sign-in was reset.")
