"""What the flask commands say, what they change, and that the pages follow at their next request."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from flask import Flask

from authn.events import EventKind
from models import Event, Setting, TotpAuthenticator, User
from tests.support.apps import KEY, ROOT
from tests.support.commands import actors, one_line, people, refusal, run, said
from tests.support.forms import Site
from tests.support.pages import Browser
from tests.support.people import (
    PASSWORD,
    Clock,
    Person,
    enroll,
    give_password,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.security_key import add_key
from tests.support.tables import count, kinds, rows

# The database ---------------------------------------------------------------------------------------------------------


Make = Callable[..., Flask]


def test_the_database_is_brought_up_to_date_and_a_second_time_says_so(make_app: Make, tmp_path: Path) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/fresh.db")
    names = sorted(path.stem for path in (ROOT / "migrations").glob("*.py"))
    assert said(run(app, "db", "upgrade")) == f"Applied {', '.join(names)}."
    assert said(run(app, "db", "upgrade")) == "The database is up to date."
    assert count(app, User) == 0


CHANGES = {
    "db upgrade": "",
    "users create nora@example.com --password-stdin": PASSWORD,
    "users invite nora@example.com": "",
    "users reset-mfa nora@example.com": "",
    "users deactivate nora@example.com": "",
    "users activate nora@example.com": "",
    "users unlock nora@example.com": "",
    "users groups nora@example.com ops": "",
    "events prune": "",
    "keys reseal": "",
    "recovery-codes enable": "",
    "recovery-codes disable": "",
    "demo seed": "",
}


@pytest.mark.databases
def test_every_command_that_changes_something_names_its_database_without_a_password(
    make_app: Make, make_person: Callable[..., Person], database_url: Callable[..., str], engine: str
) -> None:
    """On stderr, so that what a script reads is the one line; a command that only reads has nothing to name."""
    url = database_url("named")
    named = f"In the SQLite file {url.removeprefix('sqlite:///')}.\n"
    if engine == "postgresql":
        folder = url.partition("?host=")[2]
        url = url.replace("postgres@", "postgres:hunter2@")
        named = f"In the PostgreSQL database named on {folder}.\n"
    app = make_app(DATABASE_URL=url, DEMO=True, SECRET_KEY_FALLBACKS=[KEY[::-1]])
    make_person("omar@example.com", on=app)  # whose secret can be resealed
    for command, typed in CHANGES.items():
        result = run(app, *command.split(), typed=typed)
        assert (result.exit_code, result.stderr) == (0, named), command
        assert result.stdout.endswith("\n")
    changing = {" ".join(command.split()[:2]) for command in CHANGES}
    reading = {"users list", "events", "recovery-codes status"}
    for command in (*reading, "users groups nora@example.com"):
        assert run(app, *command.split()).stderr == "", command
    assert every_command(app.cli) == changing | reading | {"demo code"}


def every_command(group: click.Group, path: str = "") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= every_command(command, f"{path}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            found.add(f"{path}{name}")
    return found


def test_a_relative_database_is_named_with_its_whole_path(
    make_app: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same setting is another file in another folder."""
    monkeypatch.chdir(tmp_path)
    result = run(make_app(DATABASE_URL="sqlite:///here.db"), "db", "upgrade")
    assert result.stderr == f"In the SQLite file {tmp_path}/here.db.\n"


# People ---------------------------------------------------------------------------------------------------------------


NORA = "nora@example.com"


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        pytest.param("nora.example.com", PASSWORD, "email address in the form", id="not an address"),
        pytest.param("nora:home@example.com", PASSWORD, "email address in the form", id="a colon in it"),
        pytest.param("OMAR@Example.com", PASSWORD, "omar@example.com is here already", id="taken"),
        pytest.param("\uff4fmar@example.com", PASSWORD, "omar@example.com is here already", id="taken in full width"),
        pytest.param(NORA, "", "at least 15 characters; that has 0", id="no password"),
        pytest.param(NORA, "a lamp, a boat", "at least 15 characters; that has 14", id="too short"),
        pytest.param(NORA, "a lamp " * 1000, "at most 4,096 characters", id="too long"),
        pytest.param(NORA, "passwordpassword", "too easy to guess", id="common"),
        pytest.param(NORA, "aaaaaaaaaaaaaaaaaaaa", "too easy to guess", id="one key held down"),
        pytest.param(NORA, "SparekeySparekey!", "too easy to guess", id="the site's name"),
        pytest.param(NORA, "Nora@Example.com", "too easy to guess", id="the person's address"),
        pytest.param(NORA, "nora" * 4, "too easy to guess", id="the person's name"),
    ],
)
def test_a_person_is_added_only_with_an_address_and_a_password_that_will_do(
    app: Flask, clock: Clock, omar: Person, browser: Browser, email: str, password: str, reason: str
) -> None:
    before = rows(app, User), rows(app, Event)
    assert reason in refusal(run(app, "users", "create", email, "--password-stdin", typed=password))
    assert (rows(app, User), rows(app, Event)) == before

    done = said(run(app, "users", "create", NORA, "--password-stdin", typed=PASSWORD))
    assert done.startswith(f"Added {NORA}.")
    assert enroll(browser, Person(NORA, clock)).h1 == "Security"


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"], ids=["none", "unix", "windows"])
def test_a_password_from_standard_input_ends_with_its_line(
    app: Flask, clock: Clock, browser: Browser, line_end: str
) -> None:
    password = f" {PASSWORD} "
    said(run(app, "users", "create", NORA, "--password-stdin", typed=password + line_end))
    assert give_password(browser, Person(NORA, clock)).errors
    assert enroll(browser, Person(NORA, clock, password=password)).h1 == "Security"


def test_a_password_is_asked_for_until_it_is_typed_the_same_twice(app: Flask, clock: Clock, browser: Browser) -> None:
    typed = f"{PASSWORD}\nsomething else entirely\n{PASSWORD}\n{PASSWORD}\n"
    result = run(app, "users", "create", NORA, typed=typed)
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert result.stdout.splitlines()[-1].startswith(f"Added {NORA}.")
    assert enroll(browser, Person(NORA, clock)).h1 == "Security"


@pytest.mark.parametrize("flags", [[], ["--admin"]], ids=["a person", "an admin"])
def test_adding_a_person_is_recorded_and_only_an_admin_is_one(app: Flask, flags: list[str]) -> None:
    done = said(run(app, "users", "create", NORA, "--password-stdin", *flags, typed=PASSWORD))
    assert done.startswith(f"Added {NORA} as an admin." if flags else f"Added {NORA}.")
    (nora,) = people(app)
    assert nora["admin"] is bool(flags)
    (event,) = rows(app, Event)
    assert (event["kind"], event["actor"]) == ("user_created", "the command line")


def test_the_list_of_people_tells_what_each_signs_in_with(app: Flask, omar: Person, ines: Person, maya: Person) -> None:
    sign_in(browser := Browser(app), omar)
    add_key(browser, "blue key")
    add_key(browser, "red key")
    with app.app_context():
        User.update(is_active=False).where(User.email == maya.email).execute()
    run(app, "users", "groups", maya.email, "ops")
    run(app, "users", "groups", omar.email, "wiki", "ops")
    assert people(app) == [
        {
            "email": email,
            "admin": admin,
            "active": active,
            "groups": groups,
            "enrolled": enrolled,
            "security_keys": keys,
            "recovery_code_saved": saved,
        }
        for email, admin, active, groups, enrolled, keys, saved in [
            ("ines@example.com", True, True, [], True, 0, False),
            ("maya@example.com", False, False, ["ops"], False, 0, False),
            ("omar@example.com", False, True, ["ops", "wiki"], True, 2, True),
        ]
    ]
    assert run(app, "users", "list").stdout.splitlines() == [
        "ines@example.com  admin, authenticator app on, no recovery code saved",
        "maya@example.com  person, no authenticator app, no recovery code saved, in ops, deactivated",
        "omar@example.com  person, authenticator app on, 2 security keys, recovery code saved, in ops wiki",
    ]


def test_a_process_of_its_own_says_one_line_and_logs_one_event_without_what_was_typed(
    migrated: Path, tmp_path: Path
) -> None:
    shutil.copy(migrated, tmp_path / "own.db")
    environment = {
        "PATH": os.environ["PATH"],
        "FLASK_SECRET_KEY": KEY,
        "FLASK_DATABASE_URL": f"sqlite:///{tmp_path}/own.db",
    }

    def flask(email: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "users", "create", email, "--password-stdin"],
            input=PASSWORD,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    refused = flask("nora.example.com")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert one_line(refused.stderr).startswith("Error: Give an email address")

    done = flask(NORA)
    assert (done.returncode, one_line(done.stdout)[: len(NORA) + 6]) == (0, f"Added {NORA}")
    line, named = done.stderr.splitlines()
    assert named == f"In the SQLite file {tmp_path}/own.db."
    assert {"event": "user_created", "user": NORA, "by": "the command line"}.items() <= json.loads(line).items()
    assert PASSWORD not in line


def last_event(app: Flask) -> tuple[str, str, str | None]:
    with app.app_context():
        event = Event.page(None, None, size=1)[0]
        return event.kind, event.actor, event.user.email if event.user else None


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("unlock", EventKind.UNLOCKED),
        ("deactivate", EventKind.USER_DEACTIVATED),
        ("activate", EventKind.USER_ACTIVATED),
    ],
)
def test_an_act_about_a_person_says_so_can_be_repeated_and_is_an_event_by_the_command_line(
    app: Flask, omar: Person, command: str, kind: EventKind
) -> None:
    for spelling in ("omar@example.com", "OMAR@Example.com"):
        assert "omar@example.com" in said(run(app, "users", command, spelling))
        assert last_event(app) == (kind, "the command line", "omar@example.com")


@pytest.mark.parametrize("command", ["unlock", "deactivate", "activate", "reset-mfa"])
def test_nobody_there_is_one_sentence_and_changes_nothing(app: Flask, omar: Person, command: str) -> None:
    before = rows(app, User)
    assert refusal(run(app, "users", command, "nobody@example.com")) == "nobody@example.com is not here."
    assert refusal(run(app, "users", command, "nobody")) == "Give an email address in the form name@example.com."
    assert rows(app, User) == before


def test_the_last_admin_is_not_deactivated(app: Flask, ines: Person, make_person) -> None:
    assert refusal(run(app, "users", "deactivate", ines.email)).startswith("ines@example.com is the last admin")
    make_person("second@example.com", admin=True)
    said(run(app, "users", "deactivate", ines.email))


LINK = "http://localhost:5000/welcome/"


def test_reset_and_invite_give_a_link_with_how_long_it_works(app: Flask, omar: Person) -> None:
    for command, email in (("invite", "omar@example.com"), ("reset-mfa", "omar@example.com"), ("invite", "new@x.test")):
        result = run(app, "users", command, email)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Give this link to {email}; it works once, for 72 hours: {LINK}")
        assert result.stdout.count("\n") == 1
    assert count(app, TotpAuthenticator) == 0
    assert refusal(run(app, "users", "invite", "nobody")) == "Give an email address in the form name@example.com."


def test_no_command_takes_a_secret_that_would_stay_in_the_shells_history(site: Site) -> None:
    """Passwords are asked for or read from standard input; only the demo's phone takes a setup key."""

    def walk(command: click.Command, path: str = "") -> list[str]:
        if isinstance(command, click.Group):
            return [found for name, sub in command.commands.items() for found in walk(sub, f"{path} {name}")]
        return [
            f"{path} {option}"
            for parameter in command.params
            if not (isinstance(parameter, click.Option) and parameter.is_flag)
            for option in parameter.opts
        ]

    taken = walk(site.app.cli)
    assert " users create email" in taken
    suspicious = [
        name for name in taken if re.search("pass|secret|code |key|token", name.removeprefix(" recovery-codes"))
    ]
    assert set(suspicious) - {" demo code email"} == {" demo code --key"}


# The switch for recovery codes ----------------------------------------------------------------------------------------


def test_the_switch_is_in_force_at_the_next_request_of_every_app_on_the_database(
    make_app: Make, make_person: Callable[..., Person]
) -> None:
    here, there = make_app(), make_app()
    omar = make_person("omar@example.com", on=here)
    browsers = [Browser(here), Browser(there)]
    for browser in browsers:
        give_password(browser, omar)

    def in_force() -> set[tuple[bool, int, str]]:
        return {
            (
                "/login/recovery" in browser.open("/login/code").links,
                browser.open("/login/recovery").status,
                said(run(browser.app, "recovery-codes", "status")),
            )
            for browser in browsers
        }

    off = {(False, 403, "Recovery codes are off, as the switch says.")}
    assert in_force() == off
    assert said(run(here, "recovery-codes", "enable")) == "Recovery codes are on."
    assert in_force() == {(True, 200, "Recovery codes are on, as the switch says.")}
    assert said(run(there, "recovery-codes", "disable")) == "Recovery codes are off."
    assert in_force() == off


def test_throwing_the_switch_is_recorded_and_reading_it_is_not(make_app: Make) -> None:
    app = make_app()
    for command in ("status", "enable", "enable", "status", "disable"):
        said(run(app, "recovery-codes", command))
    assert kinds(app) == ["recovery_codes_enabled", "recovery_codes_enabled", "recovery_codes_disabled"]
    assert actors(app) == {"the command line"}
    (setting,) = rows(app, Setting)
    assert (setting["value"], setting["changed_by"]) == ("off", "the command line")


@pytest.mark.parametrize("command", ["enable", "disable"])
@pytest.mark.parametrize("fixed", [True, False])
def test_the_switch_cannot_be_thrown_where_the_configuration_decides(make_app: Make, fixed: bool, command: str) -> None:
    app = make_app(RECOVERY_CODES_ENABLED=fixed)
    assert "RECOVERY_CODES_ENABLED" in refusal(run(app, "recovery-codes", command))
    assert (rows(app, Setting), rows(app, Event)) == ([], [])
    status = said(run(app, "recovery-codes", "status"))
    assert status == (
        f"Recovery codes are {'on' if fixed else 'off'}, fixed by RECOVERY_CODES_ENABLED in the configuration."
    )

    app.config["RECOVERY_CODES_ENABLED"] = None
    said(run(app, "recovery-codes", command))
    assert [row["value"] for row in rows(app, Setting)] == ["on" if command == "enable" else "off"]


# The record -----------------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_what_happened_longer_ago_than_is_kept_is_removed(
    make_app: Make, make_person: Callable[..., Person], clock: Clock
) -> None:
    app = make_app(RECOVERY_CODES_ENABLED=True, EVENT_RETENTION_DAYS=30)
    omar = make_person("omar@example.com", on=app)
    sign_in(Browser(app), omar)
    old = rows(app, Event)
    clock.pass_by(3600)
    sign_in(Browser(app), omar)
    new = rows(app, Event)[len(old) :]
    assert min(len(old), len(new)) > 1
    ancient = {"at": 1, "kind": "paused", "actor": "", "remote_addr": "", "user_agent": "", "detail": ""}
    with app.app_context():
        for _ in range(11):  # more than are removed at once
            Event.insert_many([ancient] * 1000).execute()

    clock.now = old[0]["at"] + 30 * 86400
    assert said(run(app, "events", "prune")) == "Removed 11000 events."
    clock.now = old[-1]["at"] + 30 * 86400 + 1
    assert said(run(app, "events", "prune")) == f"Removed {len(old)} events."
    left = rows(app, Event)
    assert left[: len(new)] == new
    assert [event["detail"] for event in left[len(new) :]] == ["11000 events", f"{len(old)} events"]


def test_the_use_of_a_recovery_code_is_told_until_dismissed_however_long_ago(
    make_app: Make, make_person: Callable[..., Person], clock: Clock
) -> None:
    app = make_app(RECOVERY_CODES_ENABLED=True)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="yes")
    clock.pass_by(401 * 86400)
    assert said(run(app, "events", "prune")) != "Removed 0 events."
    page = sign_in(browser := Browser(app), omar)
    assert "Your recovery code was used" in page.notice

    browser.press(page, "It was me")
    clock.pass_by(401 * 86400)
    said(run(app, "events", "prune"))
    assert "Your recovery code was used" not in sign_in(Browser(app), omar).notice


def test_whoever_waits_for_a_new_phone_is_told_so_also_after_the_record_is_pruned(
    make_app: Make, make_person: Callable[..., Person], clock: Clock
) -> None:
    for_long = {"SESSION_LIFETIME_SECONDS": 10**8, "SESSION_IDLE_SECONDS": 10**8}
    app = make_app(RECOVERY_CODES_ENABLED=True, EVENT_RETENTION_DAYS=30, **for_long)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    assert "When you have your new phone" in browser.submit(page, still_have="later").notice
    clock.pass_by(31 * 86400)
    assert said(run(app, "events", "prune")) != "Removed 0 events."
    assert "When you have your new phone" in browser.get("/account").notice


def test_events_are_listed_newest_first_as_lines_and_as_json(app: Flask, omar: Person) -> None:
    sign_in(Browser(app), omar)
    lines = run(app, "events").stdout.splitlines()
    assert lines[0] == "2026-11-30 01:00  omar@example.com: Signed in, from 203.0.113.7"
    assert len(lines) == count(app, Event)
    facts = [json.loads(line) for line in run(app, "events", "--json", "--limit", "2").stdout.splitlines()]
    assert [(fact["event"], fact["count"]) for fact in facts] == [("signed_in", 1), ("password_right", 1)]
    assert facts[0]["user"] == "omar@example.com"
    for beyond in ("0", "9223372036854775808"):
        assert run(app, "events", "--limit", beyond).exit_code == 2
