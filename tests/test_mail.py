"""People are told by mail about changes to how they sign in, by a real mail server, and no mail holds up a sign-in."""

import gc
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
from aiosmtpd.smtp import AuthResult
from flask import Flask

from authn.events import EventKind
from flows.audit import recorded
from tests.support.apps import KEY, ROOT, on_sqlite
from tests.support.inbox import Inbox, certificate, listening, text_of, until
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    enroll,
    full,
    give_password,
    half,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.security_key import add_key, use_key
from tests.support.tables import kinds


@pytest.fixture
def inbox(port: int) -> Iterator[Inbox]:
    with listening(Inbox(), port) as inbox:
        yield inbox


@pytest.fixture
def app(make_app, port: int) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, MAIL_URL=f"smtp://127.0.0.1:{port}?from=site@example.com")


def test_a_used_recovery_code_is_told_to_the_person_with_what_to_do(inbox: Inbox, app: Flask, omar: Person) -> None:
    browser = Browser(app)
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    used, saved = inbox.next(), inbox.next()
    assert (used["To"], used["From"]) == ("omar@example.com", "site@example.com")
    assert used["Subject"] == "Sparekey: Your recovery code was used"
    assert saved["Subject"] == "Sparekey: A new recovery code was saved"
    text = text_of(used)
    assert "on 30 November 2026, 01:00 UTC from 203.0.113.7." in text
    assert "If that wasn't you, change your password, sign out everywhere else" in text
    assert omar.recovery_code not in text + saved.as_string()


def test_enrollment_password_and_reset_are_told_and_nothing_else_is(
    inbox: Inbox, app: Flask, maya: Person, clock
) -> None:
    browser = Browser(app)
    enroll(browser, maya)
    browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    app.test_cli_runner().invoke(args=["users", "reset-mfa", maya.email])
    subjects = [inbox.next()["Subject"].removeprefix("Sparekey: ") for _ in range(4)]
    assert subjects == [
        "An authenticator app was set up",
        "A new recovery code was saved",
        "Your password was changed",
        "Your sign-in was reset",
    ]
    with pytest.raises(Empty):
        inbox.mails.get(timeout=0.2)


def test_all_that_happens_to_keys_is_told(inbox: Inbox, app: Flask, omar: Person, clock) -> None:
    key = add_key(browser := full(app, omar, clock))
    browser.press(browser.get("/account"), "Ask me only for my key")
    give_password(copy := Browser(app), omar)
    use_key(copy, key, count=1)
    browser.press(browser.get("/account"), "Remove blue key")
    subjects = [inbox.next()["Subject"].removeprefix("Sparekey: ") for _ in range(5)]
    assert subjects == [
        "A security key was added",
        "You are asked only for your security key",
        "A security key of yours may have been copied",
        "A security key was removed",
        "A code from your app signs you in again",
    ]


def test_somebody_whose_password_is_known_is_told_once_with_the_way_to_change_it(
    inbox: Inbox, app: Flask, omar: Person
) -> None:
    stranger = half(app, omar)
    for _ in range(4):
        stranger.submit("/login/code", code=omar.wrong_code())
    told = inbox.next()
    assert told["Subject"] == "Sparekey: Somebody who knows your password typed three wrong codes"
    text = text_of(told)
    assert "typed three wrong codes on 30 November 2026, 01:00 UTC from 203.0.113.7." in text
    assert text.endswith(" http://localhost:5000/account")
    with pytest.raises(Empty):
        inbox.mails.get(timeout=0.2)


def is_logged(caplog: pytest.LogCaptureFixture, text: str, times: int = 1) -> bool:
    """Whether it is so often in the log, within ten seconds."""
    return until(lambda: caplog.text.count(text) >= times) and caplog.text.count(text) == times


def test_a_mail_server_that_is_away_does_not_hold_up_a_sign_in(app: Flask, maya: Person) -> None:
    assert enroll(Browser(app), maya).h1 == "Security"


def test_a_mail_that_cannot_be_sent_does_not_stop_the_next(make_app, make_person, caplog) -> None:
    app = make_app("misspelt", RECOVERY_CODES_ENABLED=True, MAIL_URL="smtp://mail..example.com")
    enroll(Browser(app), make_person("maya@example.com", enrolled=False, on=app))
    assert is_logged(caplog, "a mail could not be sent: Unicode", times=2)


FORKED = """
import os
from app import create_app
from flows.transactions import Context
app = create_app()

def send():
    with app.app_context():
        app.extensions["mailer"].mail_invitation(app.extensions["store"], "maya@example.com", "token", Context(0))

send()
child = os.fork()
send()
if child:
    os.waitpid(child, 0)
"""


@on_sqlite
def test_a_process_that_is_forked_after_the_first_mail_sends_its_own(database_url, inbox: Inbox, port: int) -> None:
    settings = {"DATABASE_URL": database_url("forked"), "SECRET_KEY": KEY, "MAIL_URL": f"smtp://127.0.0.1:{port}"}
    environment = {**os.environ, **{f"FLASK_{name}": value for name, value in settings.items()}}
    subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, env=environment, check=True)
    assert [inbox.next()["To"] for _ in range(3)] == ["maya@example.com"] * 3
    with pytest.raises(Empty):
        inbox.mails.get(timeout=0.2)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # asyncio's, of a connection whose TLS was refused
def test_a_server_whose_certificate_nobody_vouches_for_gets_neither_password_nor_mail(
    make_app, make_person, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path := certificate(tmp_path))
    inbox, app = Inbox(), make_app("tls", RECOVERY_CODES_ENABLED=True, MAIL_URL=f"smtps://127.0.0.1:{port}")
    maya = make_person("maya@example.com", enrolled=False, on=app)
    with listening(inbox, port, ssl_context=tls):
        browser = Browser(app)
        enroll(browser, maya)
        assert is_logged(caplog, "CERTIFICATE_VERIFY_FAILED", times=2)
        assert inbox.mails.empty()

        monkeypatch.setenv("SSL_CERT_FILE", str(path))  # somebody does
        browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
        assert inbox.next()["Subject"] == "Sparekey: Your password was changed"
    gc.collect()  # while it is ignored


@pytest.mark.parametrize(("host", "is_sent"), [("0.0.0.0", False), ("127.0.0.1", True)], ids=["elsewhere", "loopback"])  # noqa: S104
def test_the_password_of_the_mail_server_leaves_this_machine_over_tls_alone(
    make_app, make_person, port: int, host: str, is_sent: bool, caplog
) -> None:
    """0.0.0.0 leads here as well, and is no loopback address by name."""
    typed = list[bytes]()

    def authenticate(_server, _session, _envelope, _mechanism, login) -> AuthResult:
        typed.append(login.password)
        return AuthResult(success=True)

    app = make_app("clear", RECOVERY_CODES_ENABLED=True, MAIL_URL=f"smtp://site:a-secret@{host}:{port}")
    options = {"authenticator": authenticate, "auth_require_tls": False}
    with listening(inbox := Inbox(), port, **options):
        enroll(Browser(app), make_person("maya@example.com", enrolled=False, on=app))
        if is_sent:
            assert inbox.next()["To"] == "maya@example.com"
            assert set(typed) == {b"a-secret"}
        else:
            assert is_logged(caplog, "the password must not travel in clear", times=2)
            assert (typed, inbox.mails.empty()) == ([], True)


def test_without_mail_url_nothing_is_sent_and_a_receiver_of_ones_own_is_told(make_app, make_person) -> None:
    app, other = make_app("one", RECOVERY_CODES_ENABLED=True), make_app("two")
    assert "mailer" not in app.extensions
    told = []

    def receive(_store, event) -> None:
        told.append(event.kind)

    recorded.connect(receive, app.extensions["store"])
    enroll(Browser(app), make_person("maya@example.com", enrolled=False, on=app))
    make_person("maya@example.com", on=other)
    assert EventKind.AUTHENTICATOR_ADDED in told
    assert told == kinds(app)


def test_a_receiver_that_fails_does_not_fail_the_sign_in(make_app, make_person, caplog) -> None:
    app = make_app("one")
    omar = make_person("omar@example.com", on=app)

    def fail(_store, event) -> None:
        raise RuntimeError("the receiver's own trouble")

    recorded.connect(fail, app.extensions["store"])
    assert sign_in(Browser(app), omar).h1 == "Security"
    assert "the receiver's own trouble" in caplog.text
