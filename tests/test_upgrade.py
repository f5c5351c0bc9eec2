"""A site of version 1.0 is brought up to date: nothing is lost, and nobody is signed out."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask

from authn import recovery_codes, totp
from authn.sealing import Purpose
from models import TABLES
from tests.support.apps import ROOT, few_of, on_sqlite
from tests.support.cookies import opened
from tests.support.pages import Browser, words
from tests.support.people import (
    Clock,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import known_of
from tests.support.version_1 import Site

APPLIED = f"Applied {', '.join(sorted(path.stem for path in (ROOT / 'migrations').glob('*.py'))[1:])}."
UP_TO_DATE = "The database is up to date."


@pytest.fixture
def old(make_app: Callable[..., Flask], database_url: Callable[..., str], engine: str, clock: Clock) -> Site:
    """Nobody is there yet. Recovery codes are switched on."""
    on_postgresql = engine == "postgresql"
    app = make_app(DATABASE_URL=database_url("version-1", tables=on_postgresql))
    if on_postgresql:  # a new database for each test would take half a second
        with app.app_context():
            for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
                app.extensions["store"].database.execute_sql(statement)
    return Site(app, clock)


# Everybody goes on ----------------------------------------------------------------------------------------------------


def six_digit_code(old: Site) -> tuple[Person, Browser]:
    omar = old.person("omar")
    return omar, old.session(omar, "challenge")[0]


def first_setup(old: Site) -> tuple[Person, Browser]:
    maya = old.person("maya", enrolled=False)
    browser, session = old.session(maya, "enroll")
    maya.secret = old.enrollment(session, maya)
    return maya, browser


def prompt_of_a_first_setup(old: Site) -> tuple[Person, Browser]:
    maya = old.person("maya", enrolled=False)
    browser, session = old.session(maya, "save_code")
    maya.recovery_code = recovery_codes.generate()
    sealed = old.seal(maya, maya.recovery_code.encode(), Purpose.RECOVERY_CODE)
    confirmed = {"confirmed_step": old.clock.now // 30, "confirmed_at": old.clock.now - 9}
    maya.secret = old.enrollment(session, maya, sealed_code=sealed, **confirmed)
    return maya, browser


def prompt_after_a_six_digit_code(old: Site) -> tuple[Person, Browser]:
    ines = old.person("ines", code=False)
    ines.recovery_code = recovery_codes.generate()
    old.code(ines, ines.recovery_code)
    return ines, old.session(ines, "save_code", "totp")[0]


def prompt_after_a_recovery_code(old: Site) -> tuple[Person, Browser]:
    omar = old.person("omar", code=False)
    browser, session = old.session(omar, "save_code", "recovery")
    old.code(omar, recovery_codes.generate(), saved_at=1, claimed_by_id=session)
    omar.recovery_code = recovery_codes.generate()
    old.code(omar, omar.recovery_code)
    return omar, browser


def lost_device(old: Site) -> tuple[Person, Browser]:
    omar = old.person("omar")
    return omar, old.session(omar, "lost_device", "recovery")[0]


def setup_after_a_lost_device(old: Site) -> tuple[Person, Browser]:
    omar = old.person("omar")
    browser, session = old.session(omar, "lost_device", "recovery")
    omar.secret = old.enrollment(session, omar, replaces=old.select("totp_authenticator")[-1]["id"])
    return omar, browser


def go_on(browser: Browser, person: Person) -> list[str]:
    """The pages on the way to the account. Each shows what it showed before, but for codes that were not saved."""
    page, paths = browser.get("/"), list[str]()
    while page.status == 200 and page.path not in paths:
        paths.append(page.path)
        match page.path:
            case "/login/code":
                page = browser.submit(page, code=person.code())
            case "/mfa/setup":
                assert totp.read_setup_key(page.text_of("setup-key")) == person.secret
                page = browser.submit(page, code=person.code())
            case "/mfa/recovery-code":
                assert recovery_codes.read(shown_code(page)) != person.recovery_code, "not known to whom that was shown"
                page = save_new_code(browser, page, person)
            case "/mfa/lost-device":
                page = browser.submit(page, still_have="yes")
    return paths


PLACES = {
    six_digit_code: ["/login/code", "/account"],
    first_setup: ["/mfa/setup", "/mfa/recovery-code", "/account"],
    prompt_of_a_first_setup: ["/mfa/recovery-code", "/account"],
    prompt_after_a_six_digit_code: ["/mfa/recovery-code", "/account"],
    prompt_after_a_recovery_code: ["/mfa/recovery-code", "/mfa/lost-device", "/account"],
    lost_device: ["/mfa/lost-device", "/account"],
    setup_after_a_lost_device: ["/mfa/setup", "/account"],
}


@pytest.mark.databases
def test_every_unfinished_sign_in_goes_on_at_the_page_that_is_due_and_is_finished(old: Site) -> None:
    scenes = {come: come(old) for come in PLACES}
    assert old.upgrade() == APPLIED
    assert {come: go_on(browser, person) for come, (person, browser) in scenes.items()} == PLACES
    old.clock.pass_by(60)
    for person, browser in scenes.values():
        assert is_signed_in(browser)
        assert sign_in(Browser(old.app), person).h1 == "Security"
        assert use_recovery_code(Browser(old.app), person).h1 == "You're in. Save your new recovery code"


@pytest.mark.databases
def test_a_recovery_code_that_was_claimed_is_spent_when_its_replacement_is_saved(old: Site) -> None:
    omar, browser = prompt_after_a_recovery_code(old)
    old.upgrade()
    assert [row["retired_at"] for row in old.select("recovery_code")] == [None, None]
    assert save_new_code(browser, browser.get("/"), omar).path == "/mfa/lost-device"
    claimed, _, replacement = old.select("recovery_code")
    assert (claimed["retired_by"], replacement["saved_at"]) == ("spent", old.clock.now)


@pytest.mark.databases
def test_a_code_that_was_not_saved_works_for_nobody_and_is_told_as_such(old: Site) -> None:
    omar = old.person("omar")
    unsaved = recovery_codes.generate()
    old.code(omar, unsaved)
    browser, _ = old.session(omar, None, "totp")
    old.upgrade()
    assert [row["sealed_code"] for row in old.select("recovery_code")] == [None, None]
    assert "not saved yet" not in browser.get("/account").text
    refused = use_recovery_code(Browser(old.app), omar, unsaved)
    assert refused.errors == ["That code was never saved, so it doesn't work. Use the newest one you saved."]
    assert use_recovery_code(Browser(old.app), omar).h1 == "You're in. Save your new recovery code"


@pytest.mark.databases
def test_whoever_was_signed_in_still_is_and_signs_in_as_before(old: Site) -> None:
    omar, ines = old.person("omar"), old.person("ines", code=False, admin=True)
    former = recovery_codes.generate()
    old.code(omar, former, saved_at=1, retired_at=2, retired_by="replaced")
    browsers = [old.session(omar, None, "totp")[0], old.session(omar, None, "recovery")[0]]
    admin, _ = old.session(ines, None, "totp")
    old.upgrade()
    assert [is_signed_in(browser) for browser in browsers] == [True, True]
    assert admin.open("/admin/people").status == 200
    assert sign_in(Browser(old.app), omar).h1 == "Security"
    refused = use_recovery_code(Browser(old.app), omar, former)
    assert refused.errors == ["That code was replaced on 1 January 1970. Use the one you saved then."]
    browser = Browser(old.app)
    assert save_new_code(browser, use_recovery_code(browser, omar), omar).path == "/mfa/lost-device"


@pytest.mark.databases
def test_whoever_was_replacing_their_app_goes_on_with_the_same_secret(old: Site) -> None:
    omar = old.person("omar")
    browser, session = old.session(omar, None, "totp")
    omar.secret = old.enrollment(session, omar, replaces=old.select("totp_authenticator")[-1]["id"])
    old.upgrade()
    page = browser.get("/mfa/setup")
    assert totp.read_setup_key(page.text_of("setup-key")) == omar.secret
    assert "Your authenticator app is set up." in browser.submit(page, code=omar.code()).notice
    old.clock.pass_by(30)
    assert sign_in(Browser(old.app), omar).h1 == "Security"


@pytest.mark.databases
def test_a_link_that_was_handed_out_works_once(old: Site) -> None:
    maya, token = old.person("maya", enrolled=False), "a token of a link"
    digest = sha256(token.encode()).hexdigest()
    old.insert("invitation", user_id=old.id(maya), token_digest=digest, expires_at=old.clock.now + 60)
    old.upgrade()
    page = Browser(old.app).submit(f"/welcome/{token}", new_password="three herons and a lighthouse")
    assert "Your password is set." in page.notice
    assert Browser(old.app).open(f"/welcome/{token}").status == 404


@pytest.mark.databases
def test_a_link_of_a_reset_is_told_from_an_invitation(old: Site) -> None:
    """By the record of the reset, which has the same second; where it is not there any more, nobody can tell."""
    now, seconds = old.clock.now, 72 * 3600
    people = {name: old.person(name) for name in ("maya", "omar", "noor")}
    for name, at in (("maya", now), ("omar", now - 1)):
        event = {"at": at, "kind": "mfa_reset", "actor": "", "remote_addr": "", "user_agent": "", "detail": ""}
        old.insert("event", user_id=old.id(people[name]), **event)
    for name, person in people.items():
        digest = sha256(name.encode()).hexdigest()
        old.insert("invitation", user_id=old.id(person), token_digest=digest, expires_at=now + seconds)
    old.upgrade()
    purposes = [row["purpose"] for row in old.select("invitation")]
    assert purposes == ["reset", "invitation", "invitation"]
    assert {Browser(old.app).open(f"/welcome/{name}").status for name in people} == {200}


# Every row ------------------------------------------------------------------------------------------------------------


def fill(old: Site) -> None:
    """Put something into every table and every column, and leave gaps where rows were deleted."""
    gone = old.person("ada")
    for come in (six_digit_code, prompt_of_a_first_setup, prompt_after_a_six_digit_code):
        come(old)
    omar = old.person("noor")
    old.session(omar, None, "recovery")
    _, session = old.session(omar, "save_code", "recovery")
    old.code(omar, recovery_codes.generate(), claimed_by_id=session)
    old.code(omar, recovery_codes.generate(), saved_at=1, retired_at=2, retired_by="spent")
    setup = old.session(omar, "lost_device", "recovery")[1]
    old.enrollment(setup, omar, replaces=1)
    digests = [sha256(bytes([number])).hexdigest() for number in range(2)]
    for digest, used_at in zip(digests, (None, 3), strict=True):
        old.insert("invitation", user_id=old.id(omar), token_digest=digest, expires_at=4, used_at=used_at)
    old.happened(gone, "signed_in:totp", "password_changed", address="2001:db8::1")
    old.happened(omar, "enrollment_started", "enrollment_code_wrong", "recovery_code_spent", "device_missing")
    old.delete("user", old.id(gone))
    for key, failures in (("address:abc", 3), ("password:abc:", 100), ("one-time code:abc:a browser", 7)):
        old.insert("throttle", key=key, account="abc", failures=failures, paused_until=5, updated_at=6)


STEPS = [
    ("challenge", None, "challenge"),
    ("save_code", None, "save_code"),
    ("save_code", "totp", "save_code"),
    (None, "recovery", "signed_in"),
    ("save_code", "recovery", "replace_code"),
    ("lost_device", "recovery", "replace_device"),
]


def kept(old: Site) -> dict[str, list[dict[str, Any]]]:
    """All that version 1.0 knows of, but for the steps of sessions, which have other names now, and unsaved codes."""
    gone = ("step", "sealed_code")
    columns = {table: [name for name in names if name not in gone] for table, names in old.columns.items()}
    return {table: old.select(table, *names) for table, names in columns.items()}


@pytest.mark.databases
def test_every_row_keeps_its_id_and_all_it_held_but_for_the_names_of_steps_and_unsaved_codes(old: Site) -> None:
    fill(old)
    before = kept(old)
    assert all(before.values())
    assert [(row["step"], row["second_factor"]) for row in old.select("session")] == [step[:2] for step in STEPS]
    old.upgrade()
    assert [row["step"] for row in old.select("session")] == [step for *_, step in STEPS]
    assert kept(old) == before


@pytest.mark.databases
def test_failures_still_pause_whom_they_paused(old: Site) -> None:
    omar = old.person("omar")
    with old.app.app_context():
        account = old.store.keyring.fingerprint("throttle", omar.email)
    row = {"account": account, "failures": 5, "paused_until": old.clock.now + 20, "updated_at": old.clock.now}
    old.insert("throttle", key=f"password:{account}:", **row)
    old.upgrade()
    assert give_password(Browser(old.app), omar).status == 429
    old.clock.pass_by(20)
    assert give_password(Browser(old.app), omar).h1 == "Enter your code"


@pytest.mark.databases
def test_a_session_that_had_passed_nothing_opens_nothing_and_is_gone(old: Site) -> None:
    omar = old.person("omar", code=False)
    browser, session = old.session(omar)
    old.enrollment(session, omar)
    old.code(omar, recovery_codes.generate(), saved_at=1, claimed_by_id=session)
    _, kept = old.session(omar, "challenge")
    old.upgrade()
    assert opened(browser) == []
    assert [row["id"] for row in old.select("session")] == [kept]
    assert old.select("enrollment") == []
    assert [row["claimed_by_id"] for row in old.select("recovery_code")] == [None]


def schema(app: Flask) -> dict[str, Any]:
    """Of each table the columns, the indexes and the foreign keys."""
    with app.app_context():
        database, tables = app.extensions["store"].database, [known_of(model).table_name for model in TABLES]
        return {
            table: (
                {each.name: (each.data_type, each.null, each.primary_key) for each in database.get_columns(table)},
                sorted((each.name, each.columns, each.unique) for each in database.get_indexes(table)),
                sorted((each.column, each.dest_table, each.dest_column) for each in database.get_foreign_keys(table)),
            )
            for table in tables
        }


@pytest.mark.databases
def test_the_tables_are_then_as_the_models_describe_them(
    old: Site, make_app: Callable[..., Flask], database_url: Callable[..., str]
) -> None:
    described = make_app(DATABASE_URL=database_url("described", tables=False))
    with described.app_context():
        described.extensions["store"].database.create_tables(TABLES)
    old.upgrade()
    assert schema(old.app) == schema(described)


@pytest.mark.databases
def test_the_id_of_a_row_that_was_deleted_is_not_given_again(old: Site) -> None:
    tables = ("user", "session", "totp_authenticator", "invitation")

    def newest() -> list[int]:
        omar = old.person("omar", code=False)
        old.session(omar, "challenge")
        digest = sha256(omar.email.encode()).hexdigest()
        old.insert("invitation", user_id=old.id(omar), token_digest=digest, expires_at=4)
        return [old.select(table)[-1]["id"] for table in tables]

    before = newest()
    old.upgrade()
    old.delete("user", before[0])
    assert [old.select(table) for table in tables] == [[], [], [], []]
    assert newest() == [ident + 1 for ident in before]


@on_sqlite
def test_rows_that_were_left_when_others_were_deleted_without_foreign_keys_are_let_go(old: Site) -> None:
    omar, ines = old.person("omar"), old.person("ines", code=False)
    _, session = old.session(ines, "save_code", "recovery")
    old.code(ines, recovery_codes.generate(), saved_at=1, claimed_by_id=session)
    old.happened(omar, "signed_in:totp")
    old.execute("PRAGMA foreign_keys = off", "DELETE FROM session")
    old.delete("user", old.id(omar))
    old.upgrade()
    assert old.execute("PRAGMA foreign_key_check") == []
    assert [row["user_id"] for row in old.select("totp_authenticator")] == [old.id(ines)]
    assert [(row["user_id"], row["claimed_by_id"]) for row in old.select("recovery_code")] == [(old.id(ines), None)]
    assert [row["user_id"] for row in old.select("event")] == [None]


@pytest.mark.databases
def test_tables_of_the_sites_own_keep_their_rows_and_what_they_refer_to(old: Site) -> None:
    omar = old.person("omar")
    old.execute(
        'CREATE TABLE note (person INTEGER REFERENCES "user" (id) ON DELETE CASCADE, words TEXT)',
        'CREATE VIEW address AS SELECT email FROM "user"',
    )
    old.insert("note", person=old.id(omar), words="a heron")
    old.upgrade()
    assert old.execute("SELECT words, email FROM note, address") == [("a heron", omar.email)]
    old.delete("user", old.id(omar))
    assert old.execute("SELECT * FROM note") == []
    old.execute("DROP VIEW address", "DROP TABLE note")


# What pages told from the record --------------------------------------------------------------------------------------

USED, DISMISSED, MISSING = "recovery_code_spent", "recovery_notice_dismissed", "device_missing"
NOTICES = [
    ("Your recovery code was used on", [USED], True),
    ("Your recovery code was used on", [USED, DISMISSED], False),
    ("Your recovery code was used on", [USED, DISMISSED, USED, "signed_in:recovery"], True),
    ("Your recovery code was used on", ["signed_in:totp"], False),
    ("When you have your new phone", [MISSING, "signed_in:recovery"], True),
    ("When you have your new phone", [MISSING, "device_kept"], False),
    ("When you have your new phone", [MISSING, "authenticator_replaced"], False),
    ("When you have your new phone", [MISSING, "signed_in:totp"], False),
    ("When you have your new phone", ["signed_in:totp", "device_kept", MISSING], True),
]


@pytest.mark.databases
def test_notices_that_were_due_stay_due(old: Site) -> None:
    browsers = []
    for number, (_, kinds, _) in enumerate(NOTICES):
        person = old.person(f"omar-{number}")
        old.happened(person, *kinds, address=f"198.51.100.{number}")
        browsers.append(old.session(person, None, "totp")[0])
    old.upgrade()
    for number, (browser, (notice, kinds, is_due)) in enumerate(zip(browsers, NOTICES, strict=True)):
        page = browser.get("/account")
        assert (notice in page.notice) == is_due, kinds
        assert (f"from 198.51.100.{number}." in page.notice) == (is_due and USED in kinds), kinds
    page = browsers[0].press(browsers[0].get("/account"), "It was me")
    assert not page.notice


STARTED, ADDED, WRONG = "enrollment_started", "authenticator_added", "enrollment_code_wrong"
SETUPS = [  # what happened, and whether the page tells of an earlier setup and offers help
    ([STARTED], False, False),
    ([STARTED, WRONG, STARTED], True, False),
    ([STARTED, ADDED, STARTED], False, False),
    ([STARTED, STARTED, "authenticator_replaced", STARTED], False, False),
    ([STARTED, WRONG, WRONG], False, False),
    ([STARTED, WRONG, WRONG, WRONG], False, True),
]


@pytest.mark.databases
def test_a_setup_page_tells_of_an_earlier_setup_and_helps_after_three_wrong_codes(old: Site) -> None:
    people, browsers = [], []
    for number, (kinds, _, _) in enumerate(SETUPS):
        people.append(person := old.person(f"maya-{number}", enrolled=False))
        browser, session = old.session(person, "enroll")
        browsers.append(browser)
        old.happened(person, WRONG, WRONG, ago=61)  # of a setup before
        old.happened(person, *kinds)
        person.secret = old.enrollment(session, person)
    old.upgrade()
    for browser, person, (kinds, is_not_the_first, is_helped) in zip(browsers, people, SETUPS, strict=True):
        page = browser.get("/mfa/setup")
        assert ("You started this before" in page.text) == is_not_the_first, kinds
        assert ("Still not working?" in page.text) == is_helped, kinds
        page = browser.submit(page, code=person.wrong_code())
        assert ("Still not working?" in page.text) == (kinds.count(WRONG) >= 2), kinds


@pytest.mark.databases
def test_a_setup_that_was_left_is_told_of_by_the_next_one(old: Site) -> None:
    maya, omar = old.person("maya", enrolled=False), old.person("omar", enrolled=False)
    old.happened(maya, STARTED)
    old.happened(omar, STARTED, ADDED)
    old.upgrade()
    pages = [give_password(Browser(old.app), person) for person in (maya, omar)]
    assert ["You started this before" in page.text for page in pages] == [True, False]


@pytest.mark.databases
def test_the_list_of_people_says_when_each_of_them_last_signed_in(old: Site) -> None:
    ines, omar = old.person("ines", admin=True), old.person("omar")
    old.person("maya", enrolled=False)
    admin, _ = old.session(ines, None, "totp")
    old.happened(omar, "signed_in:totp", ago=9 * 86400)
    old.happened(ines, "signed_in:recovery", ago=3 * 86400)
    old.happened(omar, "signed_in:recovery", "signed_out", ago=86400)
    old.upgrade()
    cells = [words(cell) for cell in admin.get("/admin/people").all("td") if cell.get("class") == "col-last"]
    assert cells == ["27 November 2026, 01:00 UTC", "Never", "29 November 2026, 01:00 UTC"]


# Again, and cut off ---------------------------------------------------------------------------------------------------


def everything(old: Site) -> Any:
    found = schema(old.app)
    there = {table: columns for table, (columns, _, _) in found.items() if columns}
    return found, {table: old.select(table, *columns) for table, columns in there.items()}


@pytest.mark.databases
def test_a_second_upgrade_says_that_the_database_is_up_to_date_and_changes_nothing(old: Site) -> None:
    fill(old)
    old.upgrade()
    before = everything(old)
    assert old.upgrade() == UP_TO_DATE
    assert everything(old) == before


@pytest.fixture
def killer(old: Site) -> Iterator[Callable[[object], str]]:
    """Kill an upgrade after so many statements, or at its commit; "done" when it came to its end before."""
    program = [sys.executable, "-m", "tests.support.killed", old.app.config["DATABASE_URL"]]
    with subprocess.Popen(program, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        stdin, stdout = process.stdin, process.stdout

        def kill(at: object) -> str:
            print(at, file=stdin, flush=True)
            return stdout.readline().strip()

        yield kill
        stdin.close()


SOME = (0, 25, 90)  # statements; PostgreSQL needs fewer than the last


@pytest.mark.databases
@pytest.mark.parametrize("numbers", few_of([SOME, range(1000)], SOME), ids=["some", "every"])
def test_an_upgrade_that_is_killed_leaves_all_as_it_was_or_whole_and_is_done_by_the_next_one(
    old: Site, killer: Callable[[object], str], make_app: Callable[..., Flask], numbers: Iterable[int]
) -> None:
    fill(old)
    rows, before = kept(old), everything(old)
    for at in ("commit", *numbers):
        if killer(at) == "done" or everything(old) != before:
            break
    else:
        assert old.upgrade() == APPLIED
    assert old.upgrade() == UP_TO_DATE
    assert kept(old) == rows
    assert schema(old.app) == schema(make_app("new"))


# The files ------------------------------------------------------------------------------------------------------------


def test_a_migration_that_was_released_never_changes() -> None:
    """Databases out there were made by it as it was: whoever changes it has two kinds of them, and no test of one. What
    is to be different goes into a new file, which gets a line here when it is released."""
    released = {
        "0001_first_tables": "b3a43c264473dc1ed6ed7259c3ee494d8deb24c95adaa5ac58fb05c09d036d5d",
        "0002_states_as_columns": "b83037f5f2c6314f9022e17d618b002e9a98e2460bc8cb23529ad1d72db527fc",
        "0003_codes_of_sessions": "b756791f388e7dff5b0fbfaf844c8f32a23b3f8f78ede1500409fb2a31f72499",
        "0004_repeated_events": "fc07d166c395c0f786287f4192c05dc056287daa316a935ff961dcd80768262b",
        "0005_groups": "f92b72a4982120c8d01746b966275e4ca5c4248057864100a37f8b4e23191895",
        "0007_purposes_of_links": "6770cdebd2b180fedd1b761fd0f2ab191452c9ea432aed52c8269dfd089939f3",
        "0008_indexes_of_the_sweep": "2a38fd20866d479db2c1175275e327f83ce9e6522eae45031ad9d4900dba2d92",
        "0006_security_keys": "eb1ea550a72404cfd266192b686f510c537b8091d67e9de68476fea4d40b1d19",
    }
    files = sorted((ROOT / "migrations").glob("*.py"))
    assert {file.stem: sha256(file.read_bytes()).hexdigest() for file in files} == released
