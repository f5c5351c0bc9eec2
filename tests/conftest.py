"""The fixtures: an app on a database of its own, a clock that tests hold, people, and browsers for them."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from peewee import SqliteDatabase

from app import create_app
from authn import recovery_codes
from tests.support import acts, postgres
from tests.support.apps import CHEAP, KEY, upgrade
from tests.support.pages import Browser
from tests.support.people import Clock, Person
from tests.support.screens import AXE

# Where rows live: on SQLite and on PostgreSQL; --engine=postgresql runs everything there ------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=["sqlite", "postgresql"], help="run on this database alone")


def pytest_report_header(config: pytest.Config) -> str:
    missing = "" if postgres.find_programs() else " (PostgreSQL is not installed: Debian's package postgresql)"
    return f"databases: {', '.join(_engines(config))}{missing}"


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
        yesterday = clock.now - 86400
        acts.add_person(on, email, now=yesterday, admin=admin)
        if enrolled:
            person.recovery_code = recovery_codes.display(recovery_codes.generate()) if code else None
            person.secret = acts.enroll_person(on, email, now=yesterday, recovery_code=person.recovery_code)
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


@pytest.fixture
def port() -> int:
    """One of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
