"""docs/operations.md, typed as it stands: backup, restore, another key and an update, on a site with people, apps and
codes. What a restore brings back is the known limit."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import pytest
from dotenv import dotenv_values

from authn import recovery_codes
from tests.support import acts
from tests.support.apps import ROOT, on_sqlite
from tests.support.machines import GUIDE, NOT_COPIED, Machine, RealClock, blocks
from tests.support.people import (
    NEW_PASSWORD,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.version_1 import Site

needs_sqlite3 = pytest.mark.skipif(
    shutil.which("sqlite3") is None and not os.environ.get("CI"),
    reason="no sqlite3 here: install Debian's package sqlite3",
)


@pytest.fixture
def machine(
    engine: str, tmp_path: Path, port: int, request: pytest.FixtureRequest, database_url: Callable[..., str]
) -> Iterator[Machine]:
    """On PostgreSQL its database belongs to a user without other rights."""
    folder, programs = tmp_path / "sparekey", None
    url = f"sqlite:///{folder}/instance/sparekey.db"
    if engine == "postgresql":
        server = request.getfixturevalue("postgresql")
        url, programs = database_url("operated", tables=False).replace("postgres@", "sparekey@"), server.programs
        server.execute("DROP ROLE IF EXISTS sparekey; CREATE ROLE sparekey LOGIN")
        server.execute("ALTER DATABASE operated OWNER TO sparekey")
    machine = Machine(folder, port, engine, url, programs)
    yield machine
    machine.crash()
    if engine == "postgresql":
        server.drop("operated")
        server.execute("DROP ROLE sparekey")


@pytest.fixture
def running(machine: Machine) -> Machine:
    """Recovery codes are on."""
    machine.install()
    machine.start()
    with machine.inside() as app:
        acts.switch_codes(app, True)
    return machine


def person(machine: Machine, email: str) -> Person:
    """Enrolled, recovery code saved."""
    made = Person(email, RealClock(), recovery_code=recovery_codes.display(recovery_codes.generate()))
    with machine.inside() as app:
        acts.add_person(app, email, now=made.clock.now - 86400)
        made.secret = acts.enroll_person(app, email, now=made.clock.now - 86400, recovery_code=made.recovery_code)
    return made


def everybody(machine: Machine) -> set[str]:
    return set(re.findall(r"^\S+@\S+", machine.type(".venv/bin/flask users list"), re.MULTILINE))


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


# Backup and restore ---------------------------------------------------------------------------------------------------


@pytest.mark.sweep
@needs_sqlite3
@pytest.mark.databases
def test_after_a_restore_people_sign_in_as_at_the_time_of_the_backup(running: Machine) -> None:
    """Also where the service was cut off in the middle. Sessions that were ended since and one-time links that were
    used are not brought back; codes that were spent are: the documented limit."""
    omar, noor = person(running, "omar@example.com"), person(running, "noor@example.com")
    hers, first_code = running.browser(), omar.recovery_code
    assert sign_in(hers, noor).h1 == "Security"
    copied = hers.copy()
    with running.inside() as app:
        link = acts.invite(app, noor.email)
    running.type(running.block("Backup"))
    (backup,) = running.folder.glob("instance/backup.*")
    assert mode(backup) == 0o600

    hers.press(hers.get("/account"), "Sign out")
    his = running.browser()
    page = save_new_code(his, use_recovery_code(his, omar), omar)
    his.submit(page, still_have="yes")
    running.browser().submit(link, new_password=NEW_PASSWORD)
    person(running, "late@example.com")
    running.crash()
    if running.engine == "sqlite":
        assert (running.folder / "instance" / "sparekey.db-wal").stat().st_size > 0

    running.type(running.block("Restore"))
    assert everybody(running) == {omar.email, noor.email}
    assert not is_signed_in(copied)
    assert running.browser().open(link).status == 404
    again = running.browser()
    assert use_recovery_code(again, omar).errors[0].startswith("That recovery code isn't")
    assert use_recovery_code(running.browser(), omar, first_code).h1.startswith("You're in"), "it was spent"
    assert sign_in(running.browser(), omar).h1 == "Security"
    give_password(hers, noor)
    assert hers.submit("/login/code", code=noor.code(30)).h1 == "Security"
    if running.engine == "sqlite":
        assert {mode(path) for path in running.folder.glob("instance/*")} == {0o600}
    assert "Restoring a backup brings back what it holds" in (ROOT / "SECURITY.md").read_text()

    told = running.type(f".venv/bin/flask users reset-mfa {omar.email}")
    omar.password = NEW_PASSWORD
    running.browser().submit(told.split()[-1].removeprefix(running.settings()["SITE_URL"]), new_password=omar.password)
    assert enroll(running.browser(), omar).h1 == "Security"
    spent = use_recovery_code(running.browser(), omar, first_code)
    assert spent.errors[0].endswith("when your sign-in was reset.")


@needs_sqlite3
@on_sqlite
@pytest.mark.sweep
def test_what_the_guide_removes_first_would_undo_the_restore(running: Machine) -> None:
    """The same commands without that line: who was added since the backup is back."""
    running.type(running.block("Backup"))
    assert running.browser().open("/healthz").status == 200  # so that the service has the file open
    person(running, "late@example.com")
    running.crash()
    restore = running.block("Restore")
    without, removed = re.subn("^rm .*-wal.*\n", "", restore, flags=re.MULTILINE)
    assert removed == 1
    running.type("cp -a instance before; " + without)
    assert everybody(running) == {"late@example.com"}
    running.type("sudo systemctl stop sparekey; rm -r instance; mv before instance; " + restore)
    assert everybody(running) == set()


@needs_sqlite3
@pytest.mark.databases
@pytest.mark.sweep
def test_a_backup_from_before_an_update_is_restored_over_what_came_later(running: Machine) -> None:
    """Tables that the backup does not know do not stand in its way, and a second restore goes as the first did."""
    omar = person(running, "omar@example.com")
    running.type(running.block("Backup"))
    with running.inside() as app, app.app_context():
        app.extensions["store"].database.execute_sql("CREATE TABLE later (id INTEGER PRIMARY KEY)")
    for _ in range(2):
        running.type(running.block("Restore"))
        with running.inside() as app, app.app_context():
            assert "later" not in app.extensions["store"].database.get_tables()
        assert everybody(running) == {omar.email}
    running.type(running.block("Backup"))
    running.type(running.block("Restore"))
    assert sign_in(running.browser(), omar).h1 == "Security"


@needs_sqlite3
@pytest.mark.databases
@pytest.mark.sweep
def test_one_command_ends_every_session(running: Machine) -> None:
    omar, browser = person(running, "omar@example.com"), running.browser()
    sign_in(browser, omar)
    assert is_signed_in(browser)
    running.type(running.block("Ending every session"))
    assert not is_signed_in(browser)


# The key --------------------------------------------------------------------------------------------------------------


@pytest.mark.databases
@pytest.mark.sweep
def test_after_the_key_was_changed_the_new_one_alone_opens_what_the_old_one_sealed(running: Machine) -> None:
    """Nobody is signed out before the old one is taken out."""
    omar, noor = person(running, "omar@example.com"), person(running, "noor@example.com")
    browser = running.browser()
    sign_in(browser, noor)
    with running.inside() as app:
        old = app.config["SECRET_KEY"]
    said = running.type(running.block("Changing the key"))
    assert said.startswith("The newest key opens 2 of 2 sealed values (2 resealed), 0 can't be opened; ")
    assert is_signed_in(browser)
    assert running.settings()["SECRET_KEY_FALLBACKS"] == old

    running.type(running.block("Taking the old key out"))
    settings = running.settings()
    assert len(settings["SECRET_KEY"]) >= 64
    assert "SECRET_KEY_FALLBACKS" not in settings
    assert not (running.folder / "instance" / "secret_key").exists()
    assert old not in (running.folder / ".env").read_text()
    assert mode(running.folder / ".env") == 0o600
    assert sign_in(running.browser(), omar).h1 == "Security"
    assert use_recovery_code(running.browser(), noor).h1.startswith("You're in")


@on_sqlite
@pytest.mark.sweep
def test_a_key_that_is_changed_again_before_the_old_one_was_taken_out_loses_nothing(running: Machine) -> None:
    omar = person(running, "omar@example.com")
    for resealed in (1, 1):
        said = running.type(running.block("Changing the key"))
        assert said.startswith(f"The newest key opens 1 of 1 sealed values ({resealed} resealed)")
    assert running.settings()["SECRET_KEY_FALLBACKS"].count(",") == 1
    running.type(running.block("Taking the old key out"))
    assert sign_in(running.browser(), omar).h1 == "Security"


# An update ------------------------------------------------------------------------------------------------------------


@pytest.mark.databases
@pytest.mark.sweep
def test_a_site_of_version_1_is_brought_up_to_date_and_its_people_sign_in(machine: Machine, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"

    def publish(what: str) -> None:
        git = ["git", "-C", str(upstream), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", what]):
            subprocess.run([*git, *words], check=True)

    upstream.mkdir()
    (upstream / "README.md").write_text("The version before.\n")
    publish("1.0")
    subprocess.run(["git", "clone", "-q", upstream, machine.folder], check=True)
    machine.configure()
    (machine.folder / "instance").mkdir(mode=0o700)
    if machine.engine == "sqlite":
        (machine.folder / "instance" / "secret_key").write_text("the-first-key-0123456789-abcdefghij")
    with machine.inside() as app:
        omar = Site(app, RealClock()).person("omar")
    shutil.copytree(ROOT, upstream, ignore=NOT_COPIED, dirs_exist_ok=True)
    shutil.copy(ROOT / ".gitignore", upstream)
    publish("2.0")

    said = machine.type(machine.block("Updating"))
    assert "Applied 0002" in said
    assert machine.type("git status --porcelain") == "", "what is the machine's own is no part of the repository"
    assert sign_in(machine.browser(), omar).h1 == "Security"
    assert use_recovery_code(machine.browser(), omar).h1.startswith("You're in")


# Settings, and the proxy ----------------------------------------------------------------------------------------------


def test_a_shell_reads_the_settings_of_the_guide_as_the_app_does(tmp_path: Path) -> None:
    """All that is written into .env, typed as it stands."""
    writing = [block for block in re.findall(r"(?:^    .*\n)+", GUIDE, re.MULTILINE) if "> .env <<" in block]
    assert len(writing) == 4
    for block in writing:
        commands = re.sub("^    ", "", block, flags=re.MULTILINE)
        subprocess.run(["bash", "-e", "-c", commands], cwd=tmp_path, check=True)
    read = dotenv_values(tmp_path / ".env")
    assert mode(tmp_path / ".env") == 0o600
    assert {
        "FLASK_SITE_URL",
        "FLASK_SUPPORT_CONTACT",
        "FLASK_DATABASE_URL",
        "FLASK_SECRET_KEY",
        "FLASK_MAIL_URL",
    } <= read.keys()
    assert read["FLASK_APPS"] == "https://wiki.example.org, https://grafana.example.org ops"
    assert len(read["FLASK_SECRET_KEY"] or "") >= 64
    shell = "set -a; . ./.env; env -0"
    listed = subprocess.run(
        ["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True, env={}, check=True
    ).stdout
    in_shell = dict(line.split("=", 1) for line in listed.split("\0") if line.startswith("FLASK_"))
    assert in_shell == read


def test_the_proxy_of_the_guide_logs_no_one_time_link_and_names_the_same_headers_everywhere() -> None:
    """A location with a header of its own would drop those of the server."""
    (nginx,) = (block for block in blocks("Behind a proxy, with https") if block.startswith("server {"))
    locations = dict(re.findall(r"location (\S+) \{(.*?)\}", nginx, re.DOTALL))
    assert locations.keys() == {"/", "/welcome/"}
    assert "access_log off;" in locations["/welcome/"]
    assert "proxy_set_header" not in "".join(locations.values())
    assert nginx.count("proxy_set_header") == 4
