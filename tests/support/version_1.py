"""A site of version 1.0: its tables, its people, and the rows that its pages left."""

from hashlib import sha256
from typing import Any

from flask import Flask
from playhouse.migrations import Runner

from authn import recovery_codes, totp
from authn.sealing import Purpose
from tests.support.apps import ROOT
from tests.support.commands import command
from tests.support.cookies import signed
from tests.support.pages import Browser
from tests.support.people import Clock, Person

TABLES = "user session totp_authenticator enrollment recovery_code throttle event setting invitation".split()


class Site:
    """Before `upgrade` it is filled; after it the app serves it."""

    def __init__(self, app: Flask, clock: Clock) -> None:
        self.app, self.clock = app, clock
        self.store = app.extensions["store"]
        self.ids: dict[str, int] = {}
        with app.app_context():
            Runner(self.store.database, str(ROOT / "migrations")).up("0001_first_tables")
            self.columns = {table: [c.name for c in self.store.database.get_columns(table)] for table in TABLES}
        self.insert("setting", key="recovery codes", value="on", changed_at=7, changed_by="ines@example.com")

    def upgrade(self) -> str:
        return command(self.app, "db", "upgrade")

    def select(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """The rows in the order of their keys."""
        with self.app.app_context():
            names = columns or [column.name for column in self.store.database.get_columns(table)]
            listed = ", ".join(f'"{name}"' for name in names)
            found = self.execute(f'SELECT {listed} FROM "{table}" ORDER BY 1')  # noqa: S608
        return [dict(zip(names, map(_plain, row), strict=True)) for row in found]

    def execute(self, *statements: str) -> list[Any]:
        """What the last one finds."""
        with self.app.app_context():
            cursor = [self.store.database.execute_sql(statement) for statement in statements][-1]
            return list(cursor.fetchall()) if cursor.description else []

    def insert(self, table: str, **values: Any) -> Any:
        """The key of the new row."""
        with self.app.app_context():
            database = self.store.database
            names, marks = ", ".join(f'"{name}"' for name in values), ", ".join(database.param for _ in values)
            statement = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) RETURNING *'  # noqa: S608
            return database.execute_sql(statement, list(values.values())).fetchone()[0]

    def delete(self, table: str, ident: int) -> None:
        self.execute(f'DELETE FROM "{table}" WHERE id = {ident}')  # noqa: S608

    # People and what is theirs

    def person(self, name: str, *, enrolled: bool = True, code: bool = True, admin: bool = False) -> Person:
        """With a password; with an app, and with a saved recovery code, unless told otherwise."""
        taken = f"{name}@example.com" in self.ids
        person = Person(f"{name}{len(self.ids) if taken else ''}@example.com", self.clock)
        then = self.clock.now - 86400
        self.ids[person.email] = self.insert(
            "user",
            email=person.email,
            password_hash=self.store.policy.hash(person.password),
            is_admin=admin,
            is_active=True,
            created_at=then,
            password_changed_at=then,
        )
        if enrolled:
            person.secret = totp.new_secret()
            sealed, times = self.seal(person, person.secret), {"created_at": then, "last_used_at": then}
            self.insert("totp_authenticator", user_id=self.id(person), sealed_secret=sealed, last_step=0, **times)
            if code:
                person.recovery_code = recovery_codes.generate()
                self.code(person, person.recovery_code, saved_at=then)
        return person

    def id(self, person: Person) -> int:
        return self.ids[person.email]

    def seal(self, person: Person, secret: bytes, purpose: Purpose = Purpose.AUTHENTICATOR) -> bytes:
        return bytes(self.store.keyring.seal(secret, purpose, self.id(person)))

    def code(self, person: Person, code: str, **columns: Any) -> int:
        """A recovery code: to be saved, unless told otherwise."""
        digest = recovery_codes.digest(code, self.id(person))
        if not columns.keys() & {"saved_at", "retired_at"}:
            columns["sealed_code"] = self.seal(person, code.encode(), Purpose.RECOVERY_CODE)
        row = {"user_id": self.id(person), "digest": digest, "created_at": self.clock.now - 90, **columns}
        return int(self.insert("recovery_code", **row))

    def session(self, person: Person, step: str | None = None, factor: str | None = None) -> tuple[Browser, int]:
        """The browser and the id of its session: signed in without a step."""
        token = f"a token of {person.email} {len(self.select('session'))}"
        now = self.clock.now - 60
        ident = self.insert(
            "session",
            token_digest=sha256(token.encode()).hexdigest(),
            user_id=self.id(person),
            step=step,
            second_factor=factor,
            **dict.fromkeys(("step_at", "created_at", "last_seen_at"), now),
            verified_at=now if factor == "totp" else None,
            remote_addr="203.0.113.7",
            user_agent="a browser",
            next_path="/account",
        )
        browser = Browser(self.app)
        browser.client.set_cookie("session", signed(self.app, token), domain="localhost")
        return browser, ident

    def enrollment(self, session: int, person: Person, **columns: Any) -> bytes:
        """The secret of the app that is being set up."""
        secret = totp.new_secret()
        row = {"session_id": session, "sealed_secret": self.seal(person, secret), "started_at": self.clock.now - 60}
        self.insert("enrollment", **{**row, **columns})
        return secret

    def happened(self, person: Person, *kinds: str, ago: int = 60, address: str = "203.0.113.7") -> None:
        """Events, oldest first; what follows a colon is the detail."""
        for kind, _, detail in (kind.partition(":") for kind in kinds):
            who = {"user_id": self.id(person), "actor": "", "remote_addr": address, "user_agent": "a browser"}
            self.insert("event", at=self.clock.now - ago, kind=kind, detail=detail, **who)


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
