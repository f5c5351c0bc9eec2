"""Sites to measure: a database with as many people as one likes, and gunicorn in front of it."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask

from app import create_app
from authn import apps, recovery_codes, security_keys, totp
from authn.steps import Cause, SecondFactor
from benchmarks.visitor import Visitor
from database import store
from flows import codes, demo, sessions
from flows.transactions import Context, locked
from models import SecurityKey as Keys
from models import Session, TotpAuthenticator, User
from tests.support.races import at_once
from tests.support.security_key import SITE as SITE_URL
from tests.support.security_key import SecurityKey

ROOT = Path(__file__).parent.parent
PASSWORD = "a lamp, a boat and a heron"
CROWD = """
INSERT INTO user (email, password_hash, is_admin, is_active, created_at, password_changed_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
SELECT 'person' || (i + (SELECT coalesce(max(id), 0) FROM user)) || '@example.net', '{password_hash}', 0, 1,
    1700000000, 1700000000 FROM n;
INSERT INTO recovery_code (user_id, digest, created_at, saved_at)
SELECT id, lower(hex(randomblob(32))), 1700000000, 1700000000 FROM user
WHERE id NOT IN (SELECT user_id FROM totp_authenticator);
INSERT INTO event (at, kind, user_id, actor, remote_addr, user_agent, detail)
SELECT 1700000000 + id, 'signed_in', id, '', '203.0.113.7', '', 'totp' FROM user
WHERE id NOT IN (SELECT user_id FROM totp_authenticator);
INSERT INTO totp_authenticator (user_id, sealed_secret, last_step, created_at, last_used_at)
SELECT id, randomblob(48), 0, 1700000000, 1700000000 FROM user
WHERE id NOT IN (SELECT user_id FROM totp_authenticator);
"""  # people whom nobody measures, each with an app, a recovery code and an event


@dataclass
class Person:
    email: str
    secret: bytes
    recovery_code: str

    def code(self) -> str:
        return totp.code_at(self.secret, int(time.time()))


@dataclass
class Site:
    folder: Path
    settings: dict[str, str]
    app: Flask  # with these, in this process
    size: int
    people: Iterator[Person]  # who can be measured, each once: a code is taken once
    port: int = 0
    workers: tuple[int, ...] = ()  # their process ids
    by_a_proxy: Mapping[str, str] = field(default_factory=dict)  # what it adds to every request

    @classmethod
    def make(cls, folder: Path, people: int, crowd: int = 0) -> "Site":
        """A site with this many people to measure, and a crowd around them."""
        folder.mkdir()
        settings = {"DATABASE_URL": f"sqlite:///{folder}/site.db", "SECRET_KEY": f"{folder.name:*<32}"}
        app = create_app(settings)
        app.test_cli_runner().invoke(args=["db", "upgrade"], catch_exceptions=False)
        store = app.extensions["store"]
        store.database.close_all()
        password_hash = store.policy.hash(PASSWORD)
        if crowd:
            fill(folder, CROWD.format(count=crowd, password_hash=password_hash), journal="off")
        with app.app_context(), store.database.atomic():
            codes.switch(True, Context(int(time.time())))
            made = [_add(f"maya{number}@example.com", password_hash) for number in range(people)]
        return cls(folder, settings, app, people + crowd, iter(made))

    @contextmanager
    def served(self, *options: str, by_a_proxy: Mapping[str, str] | None = None, **settings: str) -> Iterator[None]:
        self.by_a_proxy = by_a_proxy or {}
        command, settings = ["benchmarks.own_page:create_app()", *options], {**self.settings, **settings}
        with gunicorn(command, self.folder, settings) as (self.port, pid):
            self.workers = tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
            for _ in range(3):  # what is done the first time takes longer
                at_once([lambda: self.sign_in().close()] * len(self.workers))
            yield

    def sign_in(self) -> Visitor:
        person, visitor = next(self.people), Visitor(self.port, headers=self.by_a_proxy)
        visitor.get("/login")
        visitor.post("/login", email=person.email, password=PASSWORD).expect(303, "/login/code")
        visitor.get("/login/code")
        visitor.post("/login/code", code=person.code()).expect(303, "/account")
        visitor.get("/account").expect(200)
        return visitor

    def past_the_password(self, person: Person) -> Visitor:
        """A browser that has given the person's password, without the wait for its hash."""
        with self.app.app_context():
            user, session = User.get(User.email == person.email), Session(next_path="")
            with locked(context := Context(int(time.time()), "127.0.0.1"), user):
                sessions.begin(session, user, context)
        return Visitor(self.port, self.cookie(session.token))

    def signed_in(self, person: Person) -> Visitor:
        """A browser in which the person has finished a sign-in, without any of its waits."""
        with self.app.app_context():
            user, context = User.get(User.email == person.email), Context(int(time.time()), "127.0.0.1")
            return Visitor(self.port, self.cookie(demo.sign_in(user, context, is_admin=user.is_admin).token))

    def cookie(self, token: str) -> str:
        """The session's cookie of a browser that was given this token."""
        signer: Any = self.app.session_interface.get_signing_serializer(self.app)  # type: ignore[attr-defined]
        return str(signer.dumps({"token": token}))

    def give_key(self, person: Person) -> SecurityKey:
        """A key on the person's account, as if it had been there for long."""
        key, site, asked = SecurityKey(), security_keys.Site(SITE_URL, "Sparekey"), bytes(32)
        kept = security_keys.verify_new(key.create(security_keys.options_to_add(site, asked, 0, "", [])), site, asked)
        with self.app.app_context():
            user = User.get(User.email == person.email)
            Keys.create(user=user, name="blue key", created_at=0, **vars(kept))
            User.update(key_count=1).where(User.id == user.id).execute()
        return key

    def pass_for(self, person: Person, host: str) -> str:
        """What lets somebody who is signed in into another site."""
        with self.app.app_context():
            user, session = User.get(User.email == person.email), Session(next_path="")
            with locked(context := Context(int(time.time()), "127.0.0.1"), user):
                sessions.begin(session, user, context)
                factor = {"second_factor": SecondFactor.TOTP, "verified_at": context.now}
                sessions.move_on(session, Cause.RIGHT_CODE, context, **factor)
            return apps.make_pass(store().keyring, host, (session.id, session.created_at))

    def memory(self, what: str = "VmRSS") -> float:
        """What the largest worker takes, in MiB."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in self.workers]
        return max(int(kib) / 1024 for text in status for kib in re.findall(rf"{what}:\s+(\d+) kB", text))


def fill(folder: Path, statements: str, journal: str = "wal") -> None:
    """Put rows into a site's database without the wait for the disk. Without a journal nobody else may use it."""
    before = f"PRAGMA journal_mode = {journal}; PRAGMA synchronous = off; PRAGMA cache_size = -500000"
    after = "PRAGMA journal_mode = wal; PRAGMA wal_checkpoint(TRUNCATE)"
    with closing(sqlite3.connect(folder / "site.db", timeout=60)) as database:
        database.executescript(f"{before}; BEGIN IMMEDIATE; {statements}; COMMIT; {after}")


def _add(email: str, password_hash: str) -> Person:
    context, code = Context(int(time.time()) - 86400), recovery_codes.generate()
    hashed = {"password_hash": password_hash, "password_changed_at": context.now}
    user = User.create(email=email, created_at=context.now, **hashed)
    demo.enroll(user, context, code)
    return Person(email, TotpAuthenticator.get(TotpAuthenticator.user == user).secret(), code)


@contextmanager
def gunicorn(
    command: list[str], folder: Path, settings: dict[str, str], python: str = sys.executable
) -> Iterator[tuple[int, int]]:
    """Serve on a free port of this machine, otherwise as gunicorn.conf.py has it; the port, and the process id."""
    with socket.socket() as listener, (folder / "server.log").open("ab") as log:
        # gunicorn does so as well, but may be later than the first visitor.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        port, options = listener.getsockname()[1], ["--bind", f"fd://{listener.fileno()}", "--graceful-timeout=1"]
        server = subprocess.Popen(
            [python, "-m", "gunicorn", *options, *command],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **{f"FLASK_{key}": value for key, value in settings.items()}},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    try:
        Visitor(port).get("/")  # waits until a worker accepts
        yield port, server.pid
    finally:
        server.send_signal(signal.SIGINT)  # at once
        server.wait(60)
