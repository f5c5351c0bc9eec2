"""The database, the keys and the limits that are in use. Knows no Flask."""

import os
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any

import peewee
from peewee import Database, OperationalError
from playhouse.db_url import connect
from playhouse.migrations import Runner

from authn.passwords import Policy
from authn.sealing import Keyring


@dataclass(frozen=True)
class Store:
    """What models and flows work with. Two apps in one process have two stores and never meet."""

    database: Database
    keyring: Keyring
    policy: Policy
    settings: Mapping[str, Any]  # the app's configuration as it is at this moment
    statements: dict[Any, Any] = field(default_factory=dict)  # what statements.py has built for this database


# What is raised while the database is away, read-only, damaged, or without tables: each driver and each state has its
# own. sqlite3's own gets past peewee while rows are read.
UNAVAILABLE = (peewee.DatabaseError, peewee.InterfaceError, sqlite3.DatabaseError)
# A DatabaseError too, but the fault of a statement.
MISTAKES = (peewee.IntegrityError, peewee.DataError)

_MIGRATIONS = str(Path(__file__).parent / "migrations")
_store: ContextVar[Store | None] = ContextVar("store", default=None)


@contextmanager
def opened(store: Store) -> Iterator[None]:
    """Let the tables live in this store until the block ends. The outermost block gives the connection back."""
    is_outermost = _store.get() is not store
    token = _store.set(store)
    try:
        yield
    finally:
        _store.reset(token)
        if is_outermost and not store.database.is_closed():
            store.database.close()


def reconnect() -> None:
    """Close this block's connection and the idle ones: one made while the database was read-only stays read-only."""
    database = store().database
    database.manual_close()  # type: ignore[attr-defined]
    database.close_idle()  # type: ignore[attr-defined]


def store() -> Store:
    current = _store.get()
    if current is None:
        raise RuntimeError("No store is open: work inside an app context.")
    return current


class OpenDatabase(peewee.DatabaseProxy):
    """The database of the store that is open. Peewee's own proxy is one for the whole process: a second app would take
    the first one's tables along."""

    def __init__(self) -> None:
        object.__setattr__(self, "_callbacks", [])

    @property
    def obj(self) -> Database | None:  # None tells peewee that there is none yet, while it builds the tables' classes
        current = _store.get()
        return current.database if current else None

    def __getattr__(self, name: str) -> Any:
        return getattr(store().database, name)


def connect_database(url: str) -> Database:
    """Return a pooled database; ValueError, TypeError or KeyError where the URL asks for what there isn't. SQLite takes
    its write lock when a transaction begins, so that none fails half-way. No connection that lies idle goes along into
    a process that is forked: two would speak on it."""
    database = _pooled(url)
    there = weakref.ref(database)
    os.register_at_fork(before=lambda: (found := there()) and found.close_idle())  # type: ignore[attr-defined]
    return database


def _pooled(url: str) -> Database:
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        own: Database = connect(
            f"sqlite+pool://{rest}",
            lock_type="IMMEDIATE",
            pragmas={"foreign_keys": 1, "busy_timeout": 5000},
            check_same_thread=False,
            max_connections=0,  # no limit: a thread takes one at most
        )
        with suppress(OSError):  # SQLite itself says what is wrong
            Path(own.database).touch(mode=0o600, exist_ok=False)  # SQLite would let everybody read it
        return own
    # No request waits for ever for a connection, for a lock, or for a network that has gone silent.
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
    """Apply the migrations that are missing, each once however many processes ask. Return their names."""
    database = store().database
    on_sqlite = isinstance(database, peewee.SqliteDatabase)
    if on_sqlite:
        _write_ahead(database)
    with _foreign_keys_off(database) if on_sqlite else nullcontext(), database.atomic():
        if not on_sqlite:
            database.execute_sql("SET LOCAL lock_timeout = 0")  # type: ignore[no-untyped-call]
            database.execute_sql("SELECT pg_advisory_xact_lock(hashtext('sparekey migrations'))")  # type: ignore[no-untyped-call]
        return list(Runner(database, _MIGRATIONS).up())


@contextmanager
def _foreign_keys_off(database: Database) -> Iterator[None]:
    """SQLite's own way to make a table anew: dropping the old one takes no row of another table along. It can't be
    asked for inside a transaction."""
    database.execute_sql("PRAGMA foreign_keys = off")  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        database.execute_sql("PRAGMA foreign_keys = on")  # type: ignore[no-untyped-call]


def _write_ahead(database: Database) -> None:
    """Switch the file to write-ahead logging for good. Here SQLite does not wait for another process that does so."""
    for tries_left in reversed(range(100)):
        try:
            database.execute_sql("PRAGMA journal_mode = wal")  # type: ignore[no-untyped-call]
            return
        except OperationalError:
            if not tries_left:
                raise
            sleep(0.1)
