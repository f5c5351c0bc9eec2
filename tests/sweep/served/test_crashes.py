"""A worker killed at any word it says to the database leaves nothing half done, and a database that is away, locked,
full or read-only loses nothing and is served from again once it is back."""

import os
import re
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from flask import Flask

from authn import recovery_codes
from models import TABLES, RecoveryCode, Session, Throttle, TotpAuthenticator, User
from models import SecurityKey as Keys
from tests.support import postgres
from tests.support.apps import on_postgresql, on_sqlite, upgrade
from tests.support.pages import read_page
from tests.support.people import Person
from tests.support.races import at_once
from tests.support.security_key import SecurityKey, options_of
from tests.support.servers import MOMENTS, NEW_PASSWORD, Died, Moment, RemoteBrowser, SharedClock, Site, World, served
from tests.support.tables import known_of

QUARTER_OF_AN_HOUR = 900

pytestmark = pytest.mark.databases


def moments_of_death(world: World, name: str) -> Any:
    """That moment as a new person each time, the worker killed one word later each time, until it lives; with n."""
    for n in count(1):
        moment = world.meet(name)
        had = held(world.site.app, moment.person)
        try:
            assert moment.send(die_at=n).status_code == 303, (name, n)
            return
        except Died:
            yield moment, n, had


# What may be found ----------------------------------------------------------------------------------------------------


def user_of(person: Person) -> User:
    return User.get(User.email == person.email)


def digest(person: Person) -> str:
    return recovery_codes.digest(recovery_codes.read(person.recovery_code or ""), user_of(person).id)


def held(app: Flask, person: Person) -> tuple[bool, bool, bool]:
    """Whether the database has an app, a saved code and a password of the person."""
    with app.app_context():
        user = user_of(person)
        return user.authenticator() is not None, user.has_saved_code(), user.password_hash is not None


def check_nothing_is_half_done(app: Flask, moment: Moment, had: tuple[bool, bool, bool]) -> None:
    """What there was is there, in the state before or after; never less."""
    had_app, had_code, had_password = had
    with app.app_context():
        user = user_of(moment.person)
        apps = list(TotpAuthenticator.select().where(TotpAuthenticator.user == user))
        assert len(apps) == 1 or not (had_app or apps)
        assert {app.secret() for app in apps} <= {moment.before.secret, moment.person.secret}
        saved, unsaved = RecoveryCode.saved(user).count(), RecoveryCode.unsaved(user).count()
        assert int(had_code) <= saved <= 1
        assert unsaved <= 1
        assert bool(user.password_hash) or not had_password


def check_what_is_over_is_over(world: World, holds: list[Person]) -> None:
    """Of every app and code they ever held, those that are not the ones in use let nobody in."""
    with world.site.app.app_context():
        user = user_of(holds[0])
        (app,) = TotpAuthenticator.select().where(TotpAuthenticator.user == user)
        live = {code.digest for code in RecoveryCode.saved(user)}
        old_codes = {person.recovery_code for person in holds if person.recovery_code and digest(person) not in live}
        old_apps = [person for person in holds if person.secret not in (None, app.secret())]
        Throttle.delete().execute()
    (browser,) = filter(None, [past(world, holds[0], word) for word in {person.password for person in holds}])
    world.clock.pass_by(60)
    for code in old_codes:
        assert browser.submit("/login/recovery", recovery_code=code).status == 422
    for person in old_apps:
        assert browser.submit("/login/code", code=person.code()).status == 422


def past(world: World, person: Person, password: str) -> RemoteBrowser | None:
    """A browser that has given this password, if it is theirs."""
    browser = world.site.browser()
    page = browser.submit("/login", email=person.email, password=password)
    return browser if page.path == "/login/code" else None


# Killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(3))
def test_wherever_a_worker_is_killed_people_go_on_or_start_again(
    world: World, app: Flask, engine: str, part: int
) -> None:
    for name in list(MOMENTS)[part::3]:
        for moment, n, had in moments_of_death(world, name):
            check_nothing_is_half_done(app, moment, had)
            browser, holds = moment.browser, [moment.before, moment.person]
            if n % 2 == (engine == "sqlite"):  # several deaths leave the same behind: each is gone on from in both ways
                browser = world.site.browser()
                world.clock.pass_by(QUARTER_OF_AN_HOUR)
            if name == "password chosen by a link":
                page = browser.get(moment.form.action)
                if page.status == 200:
                    browser.submit(page, **moment.typed)
            _, has_code, _ = held(app, moment.person)  # one that was shown and not saved is good for nothing
            world.go_on(browser, holds, without_phone=has_code and n % 4 < 2)
            check_what_is_over_is_over(world, holds)


def test_wherever_a_worker_is_killed_a_reset_is_whole_or_has_not_happened(world: World, app: Flask) -> None:
    admin = world.person(admin=True)
    for n in count(1):
        person, admins, theirs = world.person(), world.site.browser(), world.site.browser()
        world.clock.pass_by(60)
        for browser, who in ((admins, admin), (theirs, person)):
            world.go_on(browser, [who])
        form = admins.get(f"/admin/people/{id_of(app, person)}/reset-mfa").form_with("reason")
        try:
            assert admins.ask(form.action, "POST", form.fields, die_at=n).status_code == 200
            break
        except Died:
            pass
        there = held(app, person)
        assert there in ((True, True, True), (False, False, False))
        is_reset = there == (False, False, False)
        assert theirs.open("/account").status == (303 if is_reset else 200)
        page = world.site.browser().submit("/login", email=person.email, password=person.password)
        assert page.path == ("/login" if is_reset else "/login/code")

        page = admins.submit(form.action, reason="again")
        link = re.search(r"/welcome/[\w-]+", page.text)
        assert link is not None
        assert held(app, person) == (False, False, False)
        browser = world.site.browser()
        browser.submit(link[0], new_password=NEW_PASSWORD)
        world.go_on(browser, [replace(person, password=NEW_PASSWORD)])
    assert n > 5


def test_wherever_a_worker_is_killed_a_key_has_signed_somebody_in_or_has_not_answered(world: World, app: Flask) -> None:
    for n in count(1):
        person, browser, page = world.signed_in("/account/keys/new")
        key = SecurityKey(at=app.config["SITE_URL"])
        browser.submit(page, name="blue key", answer=key.create(options_of(page)))
        other = world.site.browser()
        page = other.submit("/login", email=person.email, password=person.password)
        fields = {**page.form_with("answer").fields, "answer": key.get(options_of(page))}
        try:
            assert other.ask(page.path, "POST", fields, die_at=n).status_code == 303
            break
        except Died:
            pass
        with app.app_context():
            (row,) = Keys.select().where(Keys.user == user_of(person))
            signed_in = Session.select().where(Session.user == user_of(person), Session.second_factor == "key").count()
        assert (row.count, row.last_used_at is not None) == (1 + signed_in, signed_in == 1)
        if not signed_in:
            assert other.submit(page, answer=fields["answer"]).h1 == "Security"
        again = world.site.browser()
        page = again.submit("/login", email=person.email, password=person.password)
        assert again.submit(page, answer=key.get(options_of(page))).h1 == "Security"
    assert n > 5


def id_of(app: Flask, person: Person) -> int:
    with app.app_context():
        return int(user_of(person).id)


# Away -----------------------------------------------------------------------------------------------------------------

STEPS = [
    "password",
    "six digit code",
    "recovery code",
    "prompt after a recovery code",
    "still has the device",
    "has lost the device",
    "first setup",
    "prompt of a first setup",
    "setup in place of the app in use",
    "prompt for a new code",
    "change of password",
    "password chosen by a link",
]
AT_ONCE = ["password", "recovery code", "prompt after a recovery code", "prompt of a first setup"]  # a thread for each
LONGEST_WAIT_SECONDS = 10
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def at_every_step(world: World) -> list[Moment]:
    return [world.meet(name) for name in STEPS]


def all_are_told_to_come_back(moments: list[Moment]) -> None:
    for moment, answer in zip(moments, at_once([moment.send for moment in moments]), strict=True):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30"), moment.form.action
        assert read_page(answer, moment.form.action).h1 == "We can't reach our records"
        assert moment.browser.seconds < LONGEST_WAIT_SECONDS


def all_go_on(moments: list[Moment]) -> None:
    for moment in moments:
        answer = moment.send()
        assert answer.status_code == 303, moment.form.action
        assert moment.goes_on(answer).path == moment.leads_to


def test_while_another_program_keeps_the_write_lock_people_read_on_and_what_they_sent_works_later(
    world: World, app: Flask
) -> None:
    reader, moments = world.signed_in("/account")[1], [world.meet(name) for name in AT_ONCE]
    with holding_the_lock(app.config["DATABASE_URL"]):
        all_are_told_to_come_back(moments)
        assert reader.open("/account").status == 200
        assert reader.open("/healthz").text == "ok"
    all_go_on(moments)


@contextmanager
def holding_the_lock(url: str) -> Iterator[None]:
    """As another program would, in the middle of a long transaction."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    with closing(psycopg.connect(url)) as connection:
        connection.execute(f"LOCK TABLE {postgres.ALL_TABLES} IN EXCLUSIVE MODE")
        yield


@on_postgresql
def test_when_postgresql_was_down_the_workers_serve_again_by_themselves(
    world: World, postgresql: postgres.Server
) -> None:
    reader, moments = world.signed_in("/account")[1], at_every_step(world)

    def read_by_all() -> set[int]:
        """More requests at once than there are pooled connections."""
        return {answer.status_code for answer in at_once([partial(reader.ask, "/account")] * 40)}

    assert read_by_all() == {200}
    postgresql.stop()
    try:
        all_are_told_to_come_back(moments)
        pages = [reader.open(path) for path in ("/account", "/", "/healthz")]
        assert [(page.status, page.headers["Retry-After"]) for page in pages] == [(503, "30")] * 3
        assert reader.open("/static/app.css").status == 200
    finally:
        postgresql.start()
    assert read_by_all() == {200}
    all_go_on(moments)

    postgresql.stop()
    postgresql.start()
    assert read_by_all() == {200}, "nobody notices a restart"


@on_postgresql
def test_a_postgresql_that_accepts_and_does_not_answer_is_not_waited_for(
    world: World, app: Flask, postgresql: postgres.Server, tmp_path: Path
) -> None:
    moment = world.meet("six digit code")
    with served(app, tmp_path) as fresh:
        moment.browser.site = fresh
        postgresql.process.send_signal(signal.SIGSTOP)
        try:
            all_are_told_to_come_back([moment])
        finally:
            postgresql.process.send_signal(signal.SIGCONT)
        all_go_on([moment])


def unreadable(file: Path) -> None:
    file.chmod(0o000)


def in_a_folder_that_is_read_only(file: Path) -> None:
    file.parent.chmod(0o500)


def read_only(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.chmod(0o400)


def as_it_was(file: Path) -> None:
    file.parent.chmod(0o700)
    for path in file.parent.glob(f"{file.name}*"):
        path.chmod(0o600)


@on_sqlite
@pytest.mark.parametrize("spoil", [unreadable, read_only, in_a_folder_that_is_read_only])
def test_when_the_file_can_be_used_again_it_is_served_from_again(
    world: World, app: Flask, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    moments = at_every_step(world)
    world.site.stop()
    app.extensions["store"].database.close_all()
    file = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
    (folder := tmp_path / "fresh").mkdir()
    spoil(file)
    try:
        with served(app, folder, before=AS_ANYBODY) as fresh:
            for moment in moments:
                moment.browser.site = fresh
            all_are_told_to_come_back(moments)
            as_it_was(file)
            all_go_on(moments)
    finally:
        as_it_was(file)


def leave_room(site: Site, in_bytes: int = resource.RLIM_INFINITY) -> None:
    """No file may grow beyond this."""
    for pid in site.processes():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (in_bytes, resource.RLIM_INFINITY))


@on_sqlite
def test_when_the_disk_is_full_nothing_is_lost_and_once_there_is_room_it_goes_on(world: World) -> None:
    moments = at_every_step(world)
    leave_room(world.site, 0)
    all_are_told_to_come_back(moments)
    leave_room(world.site)
    all_go_on(moments)


@on_sqlite
def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_half_done(world: World, app: Flask) -> None:
    written_ahead, seen = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///") + "-wal"), set[int]()
    for pages in range(1, 13):
        moments = [world.meet(name) for name in AT_ONCE]
        had = [held(app, moment.person) for moment in moments]
        leave_room(world.site, written_ahead.stat().st_size + pages * 4120)
        answers = [moment.send() for moment in moments]
        leave_room(world.site)
        seen |= {answer.status_code for answer in answers}
        for moment, had_before, answer in zip(moments, had, answers, strict=True):
            check_nothing_is_half_done(app, moment, had_before)
            if answer.status_code == 503:
                answer = moment.send()
            assert moment.goes_on(answer).path == moment.leads_to
    assert seen == {303, 503}


def turn_read_only(postgresql: postgres.Server, database: str, on: bool) -> None:
    """As a standby is that has taken over: who is connected has to connect anew, and may read."""
    postgresql.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = {on}')
    postgresql.disconnect(database)


def turn_full(postgresql: postgres.Server, database: str, on: bool) -> None:
    """Whatever is written, it answers what it answers when the disk is full."""
    full = "BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END"
    postgresql.execute(
        f"CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $${full}$$", database
    )
    for table in TABLES:
        on_it = f'ON "{known_of(table).table_name}"'
        added = f"{on_it} EXECUTE FUNCTION full_disk()"
        new = f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE {added}"
        postgresql.execute(new if on else f"DROP TRIGGER full_disk {on_it}", database)


@on_postgresql
@pytest.mark.parametrize("turn", [turn_read_only, turn_full])
def test_a_postgresql_that_takes_nothing_in_is_read_from_and_written_to_once_it_does(
    world: World, app: Flask, postgresql: postgres.Server, turn: Callable[[postgres.Server, str, bool], None]
) -> None:
    reader, moments = world.signed_in("/account")[1], at_every_step(world)
    database = urlsplit(app.config["DATABASE_URL"]).path[1:]
    turn(postgresql, database, True)
    try:
        all_are_told_to_come_back(moments)
        assert reader.open("/account").status == 200
    finally:
        turn(postgresql, database, False)
    all_go_on(moments)


def test_a_database_without_tables_is_served_from_once_it_is_upgraded(
    make_app: Callable[..., Flask],
    database_url: Callable[..., str],
    make_person: Callable[..., Person],
    clock: SharedClock,
    tmp_path: Path,
) -> None:
    url = database_url("fresh", tables=False)
    app = make_app(DATABASE_URL=url, RECOVERY_CODES_ENABLED=True)
    with served(app, tmp_path) as site:
        browser, maya = site.browser(), Person("maya@example.com", clock)
        form = browser.open("/login")
        early = [browser.send(form, {"email": maya.email, "password": maya.password}), browser.open("/healthz")]
        assert [(page.status, page.headers["Retry-After"]) for page in early] == [(503, "30")] * 2
        upgrade(url)
        make_person(maya.email, on=app, enrolled=False)
        World(site, make_person).go_on(browser, [maya])
