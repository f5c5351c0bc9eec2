"""The fixtures: an app on a database of its own, a clock that tests hold, people, and browsers for them."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from peewee import SqliteDatabase
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page

from app import create_app
from authn import recovery_codes
from tests.support import acts, postgres
from tests.support.apps import CHEAP, KEY, upgrade
from tests.support.chromium import launched
from tests.support.forms import Site
from tests.support.pages import HERE, Browser
from tests.support.people import Clock, Person
from tests.support.places import PLACES, World
from tests.support.screens import AXE, Screen, fill_in, new_window, served

# Which tests run, and on which database -------------------------------------------------------------------------------


SWEEP = Path(__file__).with_name("sweep")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=["sqlite", "postgresql"], help="run on this database alone")
    parser.addoption("--sweep", action="store_true", help="run what the quick suite leaves out")


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
        if not metafunc.definition.get_closest_marker("databases"):
            in_the_sweep = metafunc.config.getoption("sweep") and not _is_of_the_sweep(metafunc.definition)
            engines = engines[-1:] if in_the_sweep else engines[:1]
        metafunc.parametrize("engine", engines)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick suite leaves some values to the sweep, which has these, tests/sweep and what runs on PostgreSQL."""

    def is_wanted(item: pytest.Item) -> bool:
        if _is_of_the_sweep(item):
            return True
        is_left_out = item.get_closest_marker("sweep") is not None
        if not config.getoption("sweep"):
            return not is_left_out
        on_postgresql = hasattr(item, "callspec") and item.callspec.params.get("engine") == "postgresql"
        is_race = "rounds" in getattr(item, "fixturenames", ())  # which is run more often there
        return is_left_out or on_postgresql or is_race

    wanted = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(wanted)])
    items[:] = wanted


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """tests/sweep is for those who ask for it."""
    asked_for = config.getoption("sweep") or any(
        (config.invocation_params.dir / arg).is_relative_to(SWEEP) for arg in config.args
    )
    return None if asked_for or collection_path != SWEEP else True


def _is_of_the_sweep(item: pytest.Item) -> bool:
    return item.path.is_relative_to(SWEEP)


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
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a race is run: seldom comes out what should not."""
    return 20 if request.config.getoption("sweep") else 3


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
            **({"SITE_URL": HERE} if config.get("DEMO") else {}),
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
        app.extensions["store"].database.close_idle()  # the thread of mails may still use one


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


@pytest.fixture
def noor(make_person: Callable[..., Person]) -> Person:
    """Enrolled, recovery code saved; somebody other than Omar."""
    return make_person("noor@example.com")


@pytest.fixture
def ada(make_person: Callable[..., Person]) -> Person:
    """An admin, enrolled, recovery code saved."""
    return make_person("ada@example.com", admin=True)


@pytest.fixture
def site(make_app: Callable[..., Flask], make_person: Callable[..., Person]) -> Site:
    return Site(make_app, make_person)


# A real browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with launched(ignore_default_args=["--disable-back-forward-cache"]) as browser:  # Back does what it does for people
        yield browser


@pytest.fixture(scope="module")
def window(chromium: Chromium) -> Iterator[Callable[..., BrowserContext]]:
    """The window with these options, kept open by a tab of its own: a tab is opened sooner than a window."""
    windows = dict[str, BrowserContext]()

    def window(**options: Any) -> BrowserContext:
        if str(options) not in windows:
            windows[str(options)] = new_window(chromium, **options)
            windows[str(options)].new_page()
        return windows[str(options)]

    yield window
    for each in windows.values():
        each.close()


@pytest.fixture
def at_place(
    chromium: Chromium,
    window: Callable[..., BrowserContext],
    make_app: Callable[..., Flask],
    clock: Clock,
    make_person: Callable[..., Person],
) -> Iterator[Callable[..., Screen]]:
    """Bring a browser to a place: in a new tab, or one that is there already. Whatever follows, it has nothing to
    complain about and asks nobody else for anything."""
    screens = []
    with ExitStack() as stack:

        def new_page(clock_stopped: bool, **options: Any) -> Page:
            context = new_window(chromium, **options) if clock_stopped else window(**options)
            page = context.new_page()
            stack.callback(context.close if clock_stopped else page.close)
            if clock_stopped:  # which holds for every tab of the window
                page.clock.install(time=0)
                page.clock.pause_at(1)
            return page

        def go(name: str, clock_stopped: bool = False, **options: Any) -> Screen:
            page = options.pop("page", None) or new_page(clock_stopped, **options)
            place = PLACES[name]
            app = make_app("place", **place.settings)
            address = app.config["SITE_URL"] = stack.enter_context(served(app))
            world = World(app, clock, make_person)
            visit = place.go(world)
            page.context.clear_cookies()
            for cookie in ("session", "known-browser"):
                if value := visit.browser.cookie(cookie):
                    page.context.add_cookies([{"name": cookie, "value": value, "url": address}])
            screens.append(screen := Screen(page, address, world))
            screen.watch()
            stack.callback(screen.look_away)
            screen.open(visit.path)
            if visit.typed is not None:
                fill_in(screen.page, visit.typed)
            assert screen.heading == place.h1
            return screen

        yield go
    assert [screen.complaints for screen in screens] == [[] for _ in screens]


@pytest.fixture(scope="module")
def one_page(window: Callable[..., BrowserContext]) -> Page:
    """For looking at one page after another: a new one would have to warm up to axe-core each time."""
    return window().new_page()
