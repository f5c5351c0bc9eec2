"""What a thief of the database, the log or a cookie finds: no code, no secret, no password, nothing to move about."""

import re
from base64 import b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from authn import recovery_codes, totp
from authn.events import EventKind
from models import TABLES, Enrollment, Event, RecoveryCode, Session, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import on_sqlite
from tests.support.cookies import payload, signed
from tests.support.forms import Site, arrive, bare
from tests.support.pages import Browser, Page
from tests.support.people import (
    PASSWORD,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import kinds, live_codes, rows, update

# The search -----------------------------------------------------------------------------------------------------------


CANARY = b"a small yellow canary"


def spellings(secret: bytes) -> set[bytes]:
    """How it could be written, in lower case; of base64 the middle, which depends only on where in a text it stands."""
    base64 = [b64encode(b"x" * before + secret)[4:-4] for before in range(3)]
    urlsafe = [text.translate(bytes.maketrans(b"+/", b"-_")) for text in base64]
    found = {secret, secret.hex().encode(), b32encode(secret).rstrip(b"="), *base64, *urlsafe}
    return {spelling.lower() for spelling in found}


def is_in(secret: bytes, place: bytes) -> bool:
    return any(spelling in place.lower() for spelling in spellings(secret))


def database(app: Flask) -> bytes:
    """Every byte of the database's files."""
    path = Path(app.config["DATABASE_URL"].removeprefix("sqlite:///"))
    files = sorted(path.parent.glob(f"{path.name}*"))
    assert {path.name, f"{path.name}-wal"} <= {file.name for file in files}
    return b"".join(file.read_bytes() for file in files)


def log(caplog: pytest.LogCaptureFixture) -> bytes:
    """Everything about every record."""
    return "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records).encode()


@on_sqlite
@pytest.mark.parametrize(
    "written",
    [
        CANARY,
        CANARY.upper(),
        CANARY.hex().encode(),
        b32encode(CANARY),
        *(b64encode(b"?" * before + CANARY + b"??") for before in range(3)),
        urlsafe_b64encode(b"?>" + CANARY),
    ],
)
def test_the_search_finds_what_lies_there(app, browser, omar, caplog, written: bytes) -> None:
    sign_in(browser, omar)
    assert is_in(omar.email.encode(), database(app))
    assert is_in(omar.email.encode(), log(caplog))
    assert not is_in(CANARY, database(app) + log(caplog))
    page = browser.get("/verify")
    browser.send(page, {"password": "another one", "code": "12"}, headers={"User-Agent": written.decode()})
    assert is_in(CANARY, database(app))
    assert is_in(CANARY, log(caplog))


WRONG_FIELD = "my-password@in-the-wrong-field"


class Thief:
    """Notes every secret that passes by, and looks for them all in what can be stolen."""

    def __init__(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        self.app, self.caplog = app, caplog
        self.secrets: dict[str, bytes] = {}
        self.tokens: dict[str, bytes] = {}
        self.cookies: list[dict[str, Any]] = []

    def note(self, **secrets: str | bytes) -> None:
        for name, secret in secrets.items():
            self.secrets[name] = secret.encode() if isinstance(secret, str) else secret

    def note_code(self, name: str, page: Page) -> None:
        code = shown_code(page)
        self.note(**{name: code, f"{name}_without_dashes": code.replace("-", "")})

    def note_cookie(self, browser: Browser) -> None:
        cookie = payload(browser)
        token = cookie["token"]
        assert cookie not in self.cookies
        self.cookies.append(cookie)
        self.tokens |= {token: token.encode(), f"{token}, decoded": urlsafe_b64decode(token + "=")}
        self.tokens[cookie["csrf_token"]] = cookie["csrf_token"].encode()

    def look(self) -> None:
        stolen = {"database": database(self.app), "log": log(self.caplog)}
        for place, content in stolen.items():
            assert is_in(b"maya@example.com", content), place
            found = [name for name, secret in {**self.secrets, **self.tokens}.items() if is_in(secret, content)]
            assert not found, place
        cookies = dumps(self.cookies).encode()
        assert is_in(next(iter(self.tokens.values())), cookies)
        assert not [name for name, secret in self.secrets.items() if is_in(secret, cookies)]
        assert b"maya" not in cookies


@on_sqlite
def test_no_secret_lies_anywhere_at_any_time_of_the_story(app, browser, maya, clock, caplog) -> None:
    caplog.set_level("INFO")
    thief = Thief(app, caplog)

    page = give_password(browser, maya)
    secret = scan(page, maya).secret
    thief.note(password=maya.password, totp_secret=secret, setup_key=page.text_of("setup-key"))
    thief.note_cookie(browser)
    page = browser.submit(page, code=maya.code())
    thief.note_code("first_code", page)
    thief.look()

    page = save_new_code(browser, page, maya)
    thief.note_cookie(browser)
    thief.look()

    browser.press(page, "Sign out")
    clock.pass_by(30)
    wrong = {"typed_as_address": WRONG_FIELD, "wrong_password": "another password entirely"}
    wrong["wrong_recovery_code"] = recovery_codes.display(recovery_codes.generate())
    thief.note(**wrong)
    browser.submit("/login", email=WRONG_FIELD, password=maya.password)
    browser.submit("/login", email=maya.email, password=wrong["wrong_password"])
    give_password(browser, maya)
    thief.note_cookie(browser)
    browser.submit("/login/recovery", recovery_code=wrong["wrong_recovery_code"])
    page = browser.submit("/login/code", code=maya.code())
    thief.note_cookie(browser)
    thief.look()

    browser.press(page, "Sign out")
    page = use_recovery_code(browser, maya)
    thief.note_cookie(browser)
    thief.note_code("second_code", page)
    thief.look()

    page = save_new_code(browser, page, maya)
    browser.submit(page, still_have="no")
    page = browser.get("/mfa/setup")
    thief.note(second_totp_secret=scan(page, maya).secret, second_setup_key=page.text_of("setup-key"))
    browser.submit(page, code=maya.code())
    thief.note_cookie(browser)
    assert is_signed_in(browser)
    thief.look()


def test_a_password_typed_as_an_address_is_kept_nowhere(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """People do; so what is no account's address is in no row and no line, not even in a pause."""
    caplog.set_level("DEBUG")
    typed = ["my-secret-pass@word", "my-secret-pass", "my\r\nsecret\x1b[31m-pass@word", "MY-SECRET-PASS@WORD"]
    for address in [*typed, *[typed[0]] * 6]:
        Browser(site.app).submit("/login", email=address, password=PASSWORD)
    lines = [record.getMessage() for record in caplog.records if record.name != "peewee"]
    assert len(lines) >= 7
    for place in (repr(site.tables()), "\n".join(lines)):
        assert not re.search("my.{0,12}secret.{0,12}pass", place, re.IGNORECASE)
    assert site.omar.email in repr(site.tables())


# Sealed ---------------------------------------------------------------------------------------------------------------


def lies_sealed(app: Flask, found: list[dict[str, Any]], page: Page) -> None:
    ((row, code),) = [(row, shown_code(page).replace("-", "").encode()) for row in found]
    (owner,) = [user["id"] for user in rows(app, User)]
    assert app.extensions["store"].keyring.unseal(bytes(row["sealed_code"]), "recovery code", owner) == code
    assert code not in bytes(row["sealed_code"])


def test_an_unsaved_code_lies_sealed_and_saving_erases_it(app, browser, maya) -> None:
    page = give_password(browser, maya)
    page = browser.submit(page, code=scan(page, maya).code())
    lies_sealed(app, rows(app, RecoveryCode), page)
    page = save_new_code(browser, page, maya)
    assert [row["sealed_code"] for row in rows(app, RecoveryCode)] == [None]

    page = browser.submit("/account/recovery-code")
    lies_sealed(app, rows(app, RecoveryCode)[1:], page)
    page = browser.submit("/account/recovery-code")
    lies_sealed(app, rows(app, RecoveryCode)[2:], page)
    assert [row["sealed_code"] is None for row in rows(app, RecoveryCode)] == [True, True, False]

    save_new_code(browser, page, maya)
    assert [row["sealed_code"] for row in rows(app, RecoveryCode)] == [None, None, None]


def put(app: Flask, column: Any, value: Callable[[bytes], bytes], *where: Any) -> bytes:
    """Change a sealed value behind the app's back; what it was."""
    with app.app_context():
        ((before,),) = column.model.select(column).where(column.is_null(False), *where).tuples()
        assert column.model.update({column: value(before)}).where(column.is_null(False), *where).execute() == 1
    return bytes(before)


def flip(at: int) -> Callable[[bytes], bytes]:
    def change(value: bytes) -> bytes:
        changed = bytearray(value)
        changed[at] ^= 1
        return bytes(changed)

    return change


SPOILED = {
    "first bit": flip(0),
    "middle bit": flip(20),
    "last bit": flip(-1),
    "cut short": lambda value: value[:5],
}
NO_MATCH = "That code didn't match. Type the newest code your app shows for Sparekey."


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_spoiled_secret_lets_nobody_in_until_it_is_restored(app, browser, omar, clock, spoiled: str) -> None:
    column = TotpAuthenticator.sealed_secret
    page = give_password(browser, omar)
    whole = put(app, column, SPOILED[spoiled])
    page = browser.submit(page, code=omar.code())
    assert (page.status, page.errors) == (422, [NO_MATCH])
    assert kinds(app).count(EventKind.UNREADABLE) == 1
    put(app, column, lambda _: whole)
    assert browser.submit(page, code=omar.code()).h1 == "Security"

    clock.pass_by(30)
    put(app, column, SPOILED[spoiled])
    page = browser.submit("/verify", password=omar.password, code=omar.code())
    assert (page.status, page.errors) == (422, [NO_MATCH])
    assert kinds(app).count(EventKind.UNREADABLE) == 2
    put(app, column, lambda _: whole)
    assert browser.submit(page, password=omar.password, code=omar.code()).h1 == "Security"


def belongs_to(person: Person) -> Any:
    return User.select(User.id).where(User.email == person.email)


def test_a_secret_moved_to_another_person_lets_nobody_in_until_it_is_restored(app, browser, omar, ines) -> None:
    column = TotpAuthenticator.sealed_secret
    with app.app_context():
        of_ines = TotpAuthenticator.get(TotpAuthenticator.user.in_(belongs_to(ines))).sealed_secret
    page = give_password(browser, omar)
    own = put(app, column, lambda _: of_ines, TotpAuthenticator.user.in_(belongs_to(omar)))
    for code in (ines.code(), omar.code()):
        page = browser.submit(page, code=code)
        assert (page.status, page.errors) == (422, [NO_MATCH])
    assert kinds(app).count(EventKind.UNREADABLE) == 2
    assert sign_in(Browser(app), ines).status == 200
    put(app, column, lambda _: own, TotpAuthenticator.user.in_(belongs_to(omar)))
    assert browser.submit(page, code=omar.code()).h1 == "Security"


def test_a_sealed_recovery_code_is_no_secret_of_an_app(app, browser, ines, clock) -> None:
    code = shown_code(sign_in(browser, ines)).replace("-", "")
    clock.pass_by(30)
    with app.app_context():
        of_code = RecoveryCode.get().sealed_code
    other = Browser(app)
    page = give_password(other, ines)
    own = put(app, TotpAuthenticator.sealed_secret, lambda _: of_code)
    page = other.submit(page, code=totp.code_at(code.encode(), clock.now))
    assert (page.status, page.errors) == (422, [NO_MATCH])
    assert kinds(app).count(EventKind.UNREADABLE) == 1
    put(app, TotpAuthenticator.sealed_secret, lambda _: own)
    assert other.submit(page, code=ines.code()).path == "/mfa/recovery-code"


@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize("column", [Enrollment.sealed_secret, RecoveryCode.sealed_code], ids=["secret", "code"])
def test_a_spoiled_enrollment_is_begun_anew(app, browser, maya, clock, column, spoiled: str) -> None:
    page = give_password(browser, maya)
    if column is RecoveryCode.sealed_code:
        page = browser.submit(page, code=scan(page, maya).code())
    put(app, column, SPOILED[spoiled])
    page = browser.get(page.path)
    assert page.path == "/login"
    assert "we've started again" in page.notice
    assert kinds(app).count(EventKind.UNREADABLE) == 1
    assert (rows(app, TotpAuthenticator), live_codes(app)) == ([], 0)
    clock.pass_by(30)
    assert enroll(browser, maya).h1 == "Security"


def test_a_spoiled_new_code_can_be_made_again_and_the_saved_one_works(app, browser, omar) -> None:
    sign_in(browser, omar)
    browser.submit("/account/recovery-code")
    put(app, RecoveryCode.sealed_code, SPOILED["middle bit"])
    assert browser.get("/mfa/recovery-code").path == "/login"
    assert kinds(app).count(EventKind.UNREADABLE) == 1
    page = use_recovery_code(browser, omar)
    assert page.h1 == "You're in. Save your new recovery code"
    assert save_new_code(browser, page, omar).path == "/mfa/lost-device"


def test_a_spoiled_new_code_of_somebody_without_a_saved_one_is_made_anew(app, browser, ines, clock) -> None:
    spoiled = shown_code(sign_in(browser, ines))
    put(app, RecoveryCode.sealed_code, SPOILED["middle bit"])
    assert browser.get("/mfa/recovery-code").path == "/login"
    clock.pass_by(30)
    page = sign_in(browser, ines)
    assert page.path == "/mfa/recovery-code"
    assert shown_code(page) != spoiled
    assert save_new_code(browser, page, ines).h1 == "Security"


@pytest.mark.parametrize("column", [Enrollment.sealed_secret, RecoveryCode.sealed_code], ids=["secret", "code"])
def test_what_somebody_else_is_setting_up_does_not_open_in_my_session(site: Site, column: Any) -> None:
    """Two people's sealed values swapped: both begin anew, nobody sees the other's."""
    browsers, people = [Browser(site.app), Browser(site.app)], []
    for number, browser in enumerate(browsers):
        people.append(site.person(f"maya{number}@example.com", enrolled=False))
        page = give_password(browser, people[-1])
        browser.submit(page, code=scan(page, people[-1]).code())
    codes = [shown_code(browser.get("/mfa/recovery-code")) for browser in browsers]
    found = [row for row in site.rows(column.model) if row[column.name]]
    for row, other in zip(found, reversed(found), strict=True):
        update(site.app, column, bytes(other[column.name]), column.model.id == row["id"])
    path = "/mfa/recovery-code" if column is RecoveryCode.sealed_code else "/mfa/setup"
    if column is Enrollment.sealed_secret:
        update(site.app, Session.step, "enroll")
    for browser, person in zip(browsers, people, strict=True):
        page = browser.get(path)
        assert (page.path, "we've started again" in page.notice) == ("/login", True)
        assert not [code for code in codes if code in page.text]
        site.omar.clock.pass_by(30)
        assert enroll(browser, person).h1 == "Security"
    assert kinds(site.app).count(EventKind.UNREADABLE) == 2


# Stolen tables --------------------------------------------------------------------------------------------------------


def test_nothing_in_a_stolen_table_opens_anything(site: Site) -> None:
    """Every text in every row, tried as session, as link, as code, as password."""
    visits = [arrive(site, "account.new_recovery_code"), arrive(site, "enrollment.setup")]
    visits[0].send()
    site.omar.clock.pass_by(30)
    arrive(site, "account.welcome")
    values = {value for table in TABLES for row in site.rows(table) for value in row.values()}
    stolen = {value for value in values if isinstance(value, str) and len(value) > 5 and "/" not in value}
    assert len([value for value in stolen if re.fullmatch("[0-9a-f]{64}", value)]) >= 8, (
        "sessions, codes, links, counts"
    )
    browser = Browser(site.app)
    give_password(browser, site.omar)
    before = site.tables(Event, Throttle)
    for value in stolen:
        thief = Browser(site.app)
        thief.client.set_cookie("session", signed(site.app, value))  # as if the thief even had the key
        assert bare(thief, "/account", "GET").status_code == 303
        assert bare(thief, f"/welcome/{value}", "GET").status_code == 404
        with site.app.app_context():
            assert RecoveryCode.select().where(RecoveryCode.digest == recovery_codes.digest(value, 1)).count() == 0
        assert acts.try_password(site.app, site.omar.email, value) is None
        acts.unlock(site.app, site.omar.email)
        for path, field in (("/login/code", "code"), ("/login/recovery", "recovery_code")):
            assert browser.submit(path, **{field: value[:500]}).status == 422
    assert site.tables(Event, Throttle) == before
    assert browser.submit("/login/recovery", recovery_code=site.omar.recovery_code).h1.startswith("You're in")


def test_a_stolen_session_digest_is_not_a_token_but_the_token_is(site: Site) -> None:
    """So that the test above fails for the right reason."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    token = site.app.session_interface.get_signing_serializer(site.app).loads(browser.cookie())["token"]
    for value, status in ((site.rows(Session)[0]["token_digest"], 303), (token, 200)):
        other = Browser(site.app)
        other.client.set_cookie("session", signed(site.app, value))
        assert other.open("/account").status == status


def test_a_recovery_code_moved_to_another_person_works_for_neither(site: Site) -> None:
    """The person is part of what is digested, so a row that was moved is the digest of nothing."""
    with site.app.app_context():
        ids = {user.email: user.id for user in User.select()}
        RecoveryCode.delete().where(RecoveryCode.user == ids[site.ines.email]).execute()
        RecoveryCode.update(user=ids[site.ines.email]).where(RecoveryCode.user == ids[site.omar.email]).execute()
    for person in (site.omar, site.ines):
        page = use_recovery_code(Browser(site.app), person, site.omar.recovery_code)
        assert page.errors[0].startswith("That recovery code isn't right.")
    with site.app.app_context():
        RecoveryCode.update(user=ids[site.omar.email]).execute()
    assert use_recovery_code(Browser(site.app), site.omar).h1.startswith("You're in")
