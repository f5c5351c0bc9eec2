"""A PostgreSQL server for the tests: its own data, a unix socket and nothing on the network, ended with them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from pwd import getpwnam
from typing import Any

import psycopg

from models import TABLES
from tests.support.tables import known_of

ALL_TABLES = ", ".join(f'"{known_of(table).table_name}"' for table in TABLES)
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# Quicker than TRUNCATE, which makes every table and index a new file.
EMPTY = "; ".join([f'DELETE FROM "{known_of(table).table_name}"' for table in reversed(TABLES)])  # noqa: S608
BEGIN_IDS_ANEW = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"
MISSING = "PostgreSQL is not installed: Debian's package postgresql has it"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}


def find_programs() -> Path | None:
    """The folder of initdb and postgres: in PATH, or the newest where Debian keeps them; None when they are missing."""
    in_path = shutil.which("initdb")
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: -float(p.parts[-3]))
    for initdb in [*([Path(in_path)] if in_path else []), *newest_first]:
        if initdb.with_name("postgres").exists():
            return initdb.parent
    return None


class Server:
    """Started once for many tests; each has a database of its own in it, or one that nobody else is using."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # Not in pytest's folders: PostgreSQL refuses to run as root, nobody else may enter those, and the path of a
        # unix socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="sparekey-postgres-"))
        self.user: dict[str, Any] = {}
        self.lent: set[str] = set()
        if os.geteuid() == 0:
            account = _unprivileged()
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        self.process = self.start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def start(self) -> subprocess.Popen[bytes]:
        options = [f"-c{key}={value}" for key, value in SETTINGS.items()]
        command = [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stderr=log, **self.user)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return self.process
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """At once, whoever is connected; what is committed stays."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, database: str, template: str = "template0") -> str:
        """A new database with what the template holds, to which nobody may be connected; its URL."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def lend(self, database: str) -> str:
        """A database with empty tables: a copy of `migrated`, emptied of what its last borrower left; its URL."""
        if database not in self.lent:
            self.lent.add(database)
            return self.create(database, "migrated")
        self.execute(f"{END_OTHERS}; {EMPTY}; {BEGIN_IDS_ANEW}", database)
        return self.url(database)

    def disconnect(self, database: str) -> None:
        """End every connection to it."""
        self.execute(END_OTHERS, database)

    def drop(self, database: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def execute(self, statement: Any, database: str = "postgres") -> None:
        with closing(psycopg.connect(self.url(database), autocommit=True)) as connection:
            connection.execute(statement)

    def _run(self, program: str, *options: str) -> None:
        done = subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self.user,
        )
        assert done.returncode == 0, done.stderr


def _unprivileged() -> Any:
    """Whom root runs the server as."""
    with suppress(KeyError):
        return getpwnam("postgres")
    return getpwnam("nobody")
