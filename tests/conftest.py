"""The fixtures: an app on a database of its own, a clock that tests hold, people, and browsers for them."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from peewee import SqliteDatabase

from app import create_app
from authn import recovery_codes, totp
from models import Act, Event, RecoveryCode, TotpAuthenticator, User
from tests import postgres
from tests.pages import Browser, Page

PASSWORD = "a lamp, a boat and a heron"
CHEAP = "m=8,t=1,p=1"
KEY = "only-for-tests-0123456789-abcdefghij"


class Clock:
    """Stands still until a test moves it. It starts 10 s into a 30-second step."""

    def __init__(self) -> None:
        self.now = 1_796_000_400 // 30 * 30 + 10

    def __call__(self) -> float:
        return float(self.now)

    def pass_by(self, seconds: int) -> None:
        self.now += seconds


@dataclass
class Person:
    email: str
    clock: Clock
    secret: bytes | None = None
    recovery_code: str | None = None
    password: str = PASSWORD

    def code(self, ahead: int = 0) -> str:
        """What their app shows, `ahead` seconds from now."""
        assert self.secret is not None
        return totp.code_at(self.secret, self.clock.now + ahead)

    def wrong_code(self) -> str:
        """Six digits that are none of the three the app would take."""
        right = {self.code(-30), self.code(), self.code(30)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in right)


# Where rows live: on SQLite and on PostgreSQL; --engine=postgresql runs everything there ------------------------------


on_sqlite = pytest.mark.parametrize("engine", ["sqlite"])  # for tests of one of them alone
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=["sqlite", "postgresql"], help="run on this database alone")


def pytest_report_header(config: pytest.Config) -> str:
    missing = "" if postgres.find_programs() else " (PostgreSQL is not installed: Debian's package postgresql)"
    return f"databases: {', '.join(_engines(config))}{missing}"


AXE = "axe-core"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What axe-core found, when it was asked: of each page how often, and how much."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    found = [value for report in reports for name, value in report.user_properties if name == AXE]
    if found:
        runs, violations = (sum(column) for column in zip(*found, strict=True))
        terminalreporter.write_line(
            f"{runs} runs of axe-core on {len(found)} pages and states: {violations} violations"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = any(mark.args[0] == "engine" for mark in metafunc.definition.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and not chosen:
        engines = _engines(metafunc.config)
        metafunc.parametrize("engine", engines[:1] if metafunc.definition.get_closest_marker("pages") else engines)


def _engines(config: pytest.Config) -> list[str]:
    """Those that are asked for, or that are here; in CI both."""
    if config.getoption("engine"):
        return [config.getoption("engine")]
    return ["sqlite", "postgresql"] if postgres.find_programs() or os.environ.get("CI") else ["sqlite"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A server with a database `migrated` to copy."""
    programs = postgres.find_programs()
    if programs is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(postgres.MISSING)
    server = postgres.Server(programs)
    try:
        upgrade(server.create("migrated"))
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database, brought up once by the real command."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


def upgrade(url: str) -> None:
    app = create_app({"TESTING": True, "SECRET_KEY": KEY, "DATABASE_URL": url})
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    if url.startswith("sqlite:"):
        with app.app_context():
            app.extensions["store"].database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    app.extensions["store"].database.close_all()


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Where this test's database of a name is: one with empty tables, or with none at all."""
    if engine == "sqlite":
        folder, empty = request.getfixturevalue("tmp_path"), request.getfixturevalue("migrated")

        def copy(name: str, tables: bool = True) -> str:
            path = folder / f"{name}.db"
            if tables and not path.exists():
                shutil.copy(empty, path)
            return f"sqlite:///{path}"

        yield copy
        return
    server, urls, made = request.getfixturevalue("postgresql"), dict[str, str](), set[str]()

    def lend(name: str, tables: bool = True) -> str:
        if name not in urls:
            if not tables:
                made.add(name)
            urls[name] = server.lend(name) if tables else server.create(name)
        return urls[name]

    yield lend
    for name in made:
        server.drop(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_app(database_url: Callable[..., str], migrated: Path, clock: Clock) -> Iterator[Callable[..., Flask]]:
    apps = []

    def make(name: str = "test", **config: Any) -> Flask:
        settings = {
            "TESTING": True,
            "SECRET_KEY": KEY,
            "DATABASE_URL": config.get("DATABASE_URL") or database_url(name),
            "PASSWORD_HASH_COST": CHEAP,
            "CLOCK": clock,
            **config,
        }
        apps.append(create_app(settings))
        database = apps[-1].extensions["store"].database
        if isinstance(database, SqliteDatabase):
            database.pragma("synchronous", "off", permanent=True)  # no test cuts the power
        apps[-1].jinja_env.bytecode_cache = FileSystemBytecodeCache(str(migrated.parent))  # templates compile once
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["store"].database.close_all()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Recovery codes are on; tests flip app.config["RECOVERY_CODES_ENABLED"]."""
    return make_app(RECOVERY_CODES_ENABLED=True)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def make_person(app: Flask, clock: Clock) -> Callable[..., Person]:
    """Somebody with a password; with an app, and with a saved recovery code, unless told otherwise."""

    def make(email: str, *, enrolled: bool = True, code: bool = True, admin: bool = False, on: Flask = app) -> Person:
        person = Person(email, clock)
        with on.app_context():
            act = Act(clock.now - 86400)
            user = User.add(email, PASSWORD, act, is_admin=admin)
            assert user is not None
            if enrolled:
                person.recovery_code = recovery_codes.display(recovery_codes.generate()) if code else None
                user.enroll(act, recovery_code=person.recovery_code)
                person.secret = TotpAuthenticator.get(TotpAuthenticator.user == user).secret()
        return person

    return make


@pytest.fixture
def maya(make_person: Callable[..., Person]) -> Person:
    """Not enrolled."""
    return make_person("maya@example.com", enrolled=False)


@pytest.fixture
def omar(make_person: Callable[..., Person]) -> Person:
    """Enrolled, recovery code saved."""
    return make_person("omar@example.com")


@pytest.fixture
def ines(make_person: Callable[..., Person]) -> Person:
    """Enrolled while recovery codes were off: she has none."""
    return make_person("ines@example.com", code=False, admin=True)


# What people do -------------------------------------------------------------------------------------------------------


def give_password(browser: Browser, person: Person, next_path: str = "") -> Page:
    where = f"/login?next={next_path}" if next_path else "/login"
    return browser.submit(where, email=person.email, password=person.password)


def scan(page: Page, person: Person) -> Person:
    """Put the setup key of the page into the person's app."""
    person.secret = totp.read_setup_key(page.text_of("setup-key"))
    return person


def shown_code(page: Page) -> str:
    return page.text_of("recovery-code").replace(" ", "")


def enroll(browser: Browser, person: Person) -> Page:
    """From the password to the end of enrollment, prompt and all."""
    page = give_password(browser, person)
    scan(page, person)
    page = browser.submit(page, code=person.code())
    if page.by_id("recovery-code") is not None:
        person.recovery_code = shown_code(page)
        page = browser.submit(page, saved="yes")
    return page


def sign_in(browser: Browser, person: Person, next_path: str = "") -> Page:
    """With password and six-digit code."""
    give_password(browser, person, next_path)
    return browser.submit("/login/code", code=person.code())


def use_recovery_code(browser: Browser, person: Person, typed: str | None = None) -> Page:
    """Password and recovery code; the page that follows."""
    give_password(browser, person)
    return browser.submit("/login/recovery", recovery_code=typed or person.recovery_code)


def save_new_code(browser: Browser, page: Page, person: Person) -> Page:
    person.recovery_code = shown_code(page)
    return browser.submit(page, saved="yes")


def is_signed_in(browser: Browser) -> bool:
    return browser.open("/account").status == 200


# What the database holds ----------------------------------------------------------------------------------------------


def count(app: Flask, table: Any, *where: Any) -> int:
    with app.app_context():
        return int(table.select().where(*where).count() if where else table.select().count())


def rows(app: Flask, table: Any) -> list[dict[str, Any]]:
    with app.app_context():
        return list(table.select().dicts())


def kinds(app: Flask) -> list[str]:
    """What happened, oldest first."""
    with app.app_context():
        return [event.kind for event in Event.select().order_by(Event.id)]


def live_codes(app: Flask) -> int:
    return count(app, RecoveryCode, RecoveryCode.retired_at.is_null())
