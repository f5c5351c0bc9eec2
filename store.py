"""Where the tables live: the database, the keys and the limits that the verbs of models work with. Knows no Flask."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from peewee import (
    Database,
    DatabaseProxy,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SqliteDatabase,
)
from playhouse.db_url import connect
from playhouse.migrations import Runner

from authn.passwords import Policy
from authn.sealing import Keyring


@dataclass(frozen=True)
class Lifetimes:
    """How long a session lasts, in seconds: at each step of signing in, and once signed in."""

    sign_in: int
    enrollment: int
    idle: int
    overall: int


@dataclass(frozen=True)
class Store:
    """What the verbs work with. Two apps in one process have two stores and never meet."""

    database: Database
    keyring: Keyring
    policy: Policy
    lifetimes: Lifetimes
    address_limit: int  # failures from one address in throttle.ADDRESS_WINDOW_SECONDS; 0: no limit


# What a database that is not there raises; or has no tables yet, which PostgreSQL calls an error of the program; or may
# only be read, which it calls an internal one.
UNAVAILABLE = (OperationalError, InterfaceError, ProgrammingError, InternalError)

_MIGRATIONS = str(Path(__file__).parent / "migrations")
_store: ContextVar[Store | None] = ContextVar("store", default=None)


@contextmanager
def opened(store: Store) -> Iterator[None]:
    """Let the tables live in this store until the block ends; its connection, if one was made, is given back at the
    end of the outermost block."""
    is_outermost = _store.get() is not store
    token = _store.set(store)
    try:
        yield
    finally:
        _store.reset(token)
        if is_outermost and not store.database.is_closed():
            store.database.close()


def reconnect() -> None:
    """Let go of this block's connection and of those that are idle: one that was made while the database could only be
    read would stay like that."""
    database = store().database
    database.manual_close()  # type: ignore[attr-defined]
    database.close_idle()  # type: ignore[attr-defined]


def store() -> Store:
    current = _store.get()
    if current is None:
        raise RuntimeError("No store is open: work inside an app context.")
    return current


class OpenDatabase(DatabaseProxy):
    """The database of the store that is open. Peewee's own proxy is one for the whole process, and a second app would
    move the first one's tables."""

    def __init__(self) -> None:
        object.__setattr__(self, "_callbacks", [])

    @property
    def obj(self) -> Database | None:  # None tells peewee that there is none yet, while it builds the tables' classes
        current = _store.get()
        return current.database if current else None

    def __getattr__(self, name: str) -> Any:
        return getattr(store().database, name)


def connect_database(url: str) -> Database:
    """A pooled database. SQLite takes its write lock when a transaction begins, so that none fails half-way."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return connect(  # type: ignore[no-any-return]
            f"sqlite+pool://{rest}",
            lock_type="IMMEDIATE",
            pragmas={"foreign_keys": 1, "busy_timeout": 5000},
            check_same_thread=False,
            max_connections=0,  # no limit: a thread takes one at most
        )
    # So that no request waits for ever: for a connection, for a network that has gone silent, for a lock.
    bounds = {"connect_timeout": 3, "tcp_user_timeout": 5000, "options": "-c lock_timeout=4000"}
    return connect(  # type: ignore[no-any-return]
        f"{scheme}+pool://{rest}",
        unquote_user=True,
        unquote_password=True,
        prefer_psycopg3=True,
        max_connections=0,
        **{name: bound for name, bound in bounds.items() if f"{name}=" not in rest},
    )


def check_migrations() -> None:
    """Raise OperationalError, which says what to do, while a migration is missing."""
    missing = [each.name for each in Runner(store().database, _MIGRATIONS).status() if not each.applied]
    if missing:
        raise OperationalError(f"run flask db upgrade to apply {', '.join(missing)}")


def upgrade() -> list[str]:
    """Apply the migrations that are missing, each once however many processes ask; their names."""
    database = store().database
    on_sqlite = isinstance(database, SqliteDatabase)
    if on_sqlite:
        _write_ahead(database)
    with database.atomic():
        if not on_sqlite:
            database.execute_sql("SET LOCAL lock_timeout = 0")  # type: ignore[no-untyped-call]
            database.execute_sql("SELECT pg_advisory_xact_lock(hashtext('sparekey migrations'))")  # type: ignore[no-untyped-call]
        return list(Runner(database, _MIGRATIONS).up())


def _write_ahead(database: Database) -> None:
    """Switch the file to write-ahead logging, which it keeps. SQLite does not wait here for others that do the same."""
    for tries_left in reversed(range(100)):
        try:
            database.execute_sql("PRAGMA journal_mode = wal")  # type: ignore[no-untyped-call]
            return
        except OperationalError:
            if not tries_left:
                raise
            sleep(0.1)
