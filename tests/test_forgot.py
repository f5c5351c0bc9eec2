"""A forgotten password: a link by mail for those whom a second factor awaits, and one page for everybody."""

import gc
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask

from authn.events import EventKind
from flows.transactions import Context
from models import Event, Invitation, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.commands import command
from tests.support.guesses import failures
from tests.support.inbox import Inbox, certificate, listening, text_of, until
from tests.support.mails import answered, ask, ask_and_wait, link_in, mail_url, mailed_link, next_about
from tests.support.pages import HERE, Browser, csrf, masked
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, everything, kinds, rows, statements, update

# asyncio's, of a connection over TLS that was open when the server ended
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

NOBODY = "nobody@example.com"
ASKED = "Look in your mail"


@pytest.fixture
def inbox(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """A mail server that takes mail over TLS alone, which it is asked for by STARTTLS."""
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))  # somebody vouches for it
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    with listening(Inbox(), port, tls_context=tls, require_starttls=True) as inbox:
        yield inbox
    gc.collect()  # while it is ignored


@pytest.fixture
def app(make_app: Callable[..., Flask], port: int) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, MAIL_URL=mail_url(port))


def works(app: Flask, link: str) -> bool:
    return Browser(app).open(link).status == 200


# The way back ---------------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_somebody_who_forgot_the_password_chooses_another_and_still_needs_the_app(
    app: Flask, browser: Browser, omar: Person, inbox: Inbox
) -> None:
    page = browser.get("/login")
    assert "/forgot" in page.links
    page = browser.get("/forgot")
    assert page.h1 == "Forgot your password?"
    answer = browser.send(page, {"email": " OMAR@example.com"}, buffered=True)
    assert (answer.status, answer.h1) == (200, ASKED)
    assert "If omar@example.com has an account with an authenticator app, a link is on its way." in answer.text
    page = browser.get(link_in(inbox.next()))
    assert page.h1 == "Choose a new password"
    assert "Lost your phone as well? Choose the password, then use your recovery code" in page.text
    assert browser.submit(page, new_password="short").errors[0].startswith("Use at least 15 characters")
    page = browser.submit(page, new_password=NEW_PASSWORD)
    assert (page.path, page.notice) == (
        "/login",
        "Your new password is set. Sign in with it, and with your authenticator app.",
    )
    assert not is_signed_in(browser)
    assert give_password(browser, omar).status == 422, "the old password"
    omar.password = NEW_PASSWORD
    assert give_password(browser, omar).h1 == "Enter your code"
    assert not is_signed_in(browser)
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"
    assert next_about(inbox, "Your password was changed")["To"] == omar.email
    assert count(app, Event, Event.kind == EventKind.INVITATION_USED) == 1


@pytest.mark.databases
def test_it_works_once_ends_every_session_and_makes_no_browser_known(app: Flask, omar: Person, inbox: Inbox) -> None:
    signed_in, half, mine = Browser(app), Browser(app), Browser(app)
    sign_in(signed_in, omar)
    give_password(half, omar)
    link = mailed_link(app, inbox, omar.email)
    assert is_signed_in(signed_in), "asking changes nothing yet"
    mine.submit(link, new_password=NEW_PASSWORD)
    assert not is_signed_in(signed_in)
    assert half.get("/login/code").h1 == "Sign in"
    assert mine.cookie("known-browser") is None
    assert not works(app, link)
    assert (
        Browser(app).open(link, method="POST", data={**csrf(mine.get("/login")), "new_password": PASSWORD}).status
        == 400
    )
    page = mine.open(link, method="POST", data={**csrf(mine.get("/login")), "new_password": PASSWORD})
    assert (page.status, page.h1) == (404, "This link doesn't work any more")
    omar.password = NEW_PASSWORD
    assert give_password(Browser(app), omar).h1 == "Enter your code"


def test_who_has_lost_the_phone_as_well_comes_back_with_a_recovery_code(
    app: Flask, browser: Browser, omar: Person, inbox: Inbox
) -> None:
    browser.submit(mailed_link(app, inbox, omar.email), new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    assert use_recovery_code(browser, omar).h1 == "You're in. Save your new recovery code"


@pytest.mark.parametrize("codes_on", [True, False])
def test_mail_and_page_speak_of_a_recovery_code_only_where_there_is_one(
    app: Flask, omar: Person, inbox: Inbox, codes_on: bool
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = codes_on
    ask_and_wait(app, omar.email)
    mail = inbox.next()
    page = Browser(app).get(link_in(mail))
    assert ("recovery code" in text_of(mail), "recovery code" in page.text) == (codes_on, codes_on)
    assert "You'll still need your authenticator app" in text_of(mail)
    assert "ask the person who runs this site" in text_of(mail)


# The mail -------------------------------------------------------------------------------------------------------------


def test_the_mail_is_one_that_every_program_reads(make_app: Callable[..., Flask], make_person, inbox, port) -> None:
    site = {
        "SITE_NAME": "Zo\u00eb's caf\u00e9",
        "SUPPORT_CONTACT": "Ren\u00e9e on extension 12",
    }
    app = make_app("cafe", RECOVERY_CODES_ENABLED=True, MAIL_URL=mail_url(port), **site)
    omar = make_person("omar@example.com", on=app)
    ask_and_wait(app, omar.email)
    mail = inbox.next()
    assert (mail["To"], mail["From"]) == ("omar@example.com", "site@example.com")
    assert mail["Subject"] == "Choose a new password for Zo\u00eb's caf\u00e9"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(mail["Date"]).tzinfo is not None
    assert re.fullmatch(r"<[^<>@\s]+@localhost>", mail["Message-ID"])
    assert mail.defects == [] and all(not value.defects for value in mail.values())
    assert (mail.get_content_type(), mail.get_content_charset(), mail.is_multipart()) == ("text/plain", "utf-8", False)
    assert max(map(len, mail.get_content().splitlines())) < 78
    assert max(map(len, mail.as_string().splitlines())) < 79
    said = text_of(mail)
    assert said.startswith(
        "Somebody asked for a new password for omar@example.com at Zo\u00eb's caf\u00e9 on 30 November 2026, "
        "01:00 UTC, from 203.0.113.7."
    )
    assert "The link works once, until 30 November 2026, 02:00 UTC:" in said
    assert said.endswith("If it wasn't you, do nothing: the link alone lets nobody in.")
    assert works(app, link_in(mail))


@pytest.mark.parametrize("plus", ["+", "%2B"])
def test_the_senders_address_may_have_a_plus(make_app: Callable[..., Flask], make_person, inbox, port, plus) -> None:
    app = make_app("plus", MAIL_URL=f"smtp://127.0.0.1:{port}?from=site{plus}mail@example.com")
    ask_and_wait(app, make_person("omar@example.com", on=app).email)
    assert inbox.next()["From"] == "site+mail@example.com"


def test_each_mail_has_an_id_of_its_own_and_notices_are_such_mails_too(app: Flask, omar: Person, inbox: Inbox) -> None:
    Browser(app).submit(mailed_link(app, inbox, omar.email), new_password=NEW_PASSWORD)
    notice = inbox.next()
    mailed_link(app, inbox, omar.email)
    assert notice["Subject"] == "Sparekey: Your password was changed"
    assert notice["Auto-Submitted"] == "auto-generated"
    assert notice["Date"] and notice["Message-ID"]
    assert max(map(len, notice.get_content().splitlines())) < 78


@pytest.mark.parametrize(
    "address",
    [
        *("omar,noor@example.com", "<omar@example.com", '"omar@example.com', "omar(noor)@example.com"),
        *("omar;a@example.com", '"omar@example.com"', '"root,omar@example.com"'),
    ],
)
def test_an_address_that_no_header_holds_as_it_is_is_mailed_nothing(
    app: Flask, make_person: Callable[..., Person], inbox: Inbox, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd, omar = make_person(address), make_person("omar@example.com")
    ask_and_wait(app, odd.email)
    assert kinds(app)[-2:] == [EventKind.LINK_ASKED, EventKind.LINK_NOT_MAILED]
    assert "a link could not be mailed:" in caplog.text
    ask_and_wait(app, omar.email)
    assert inbox.next()["To"] == "omar@example.com"
    assert inbox.mails.empty()


# To whom it says what -------------------------------------------------------------------------------------------------


def invited(app: Flask, _make: Callable[..., Person]) -> str:
    acts.add_person(app, "new@example.com", None, now=1_796_000_000)
    acts.invite(app, "new@example.com")
    return "new@example.com"


def changed(act: Callable[[Flask, str], Any], app: Flask, make: Callable[..., Person]) -> str:
    person = make("omar@example.com")
    act(app, person.email)
    return person.email


# Who gets no link; each is answered like somebody who does.
OTHERS: dict[str, Callable[[Flask, Callable[..., Person]], str]] = {
    "nobody": lambda app, make: NOBODY,
    "somebody without an app": lambda app, make: make("maya@example.com", enrolled=False).email,
    "deactivated": partial(changed, acts.deactivate),
    "reset": partial(changed, acts.reset),
    "invited, without a password": invited,
}


def answer_of(app: Flask, email: str) -> tuple[int, dict[str, str], str]:
    """All that an answer says, without the token, the address that was typed and the cookie's value."""
    browser = Browser(app)
    page = ask(browser, email)
    headers = {name: re.sub("=[^;]*", "=", value, count=1) for name, value in page.headers}
    assert headers.pop("Content-Length") == str(len(page.raw.encode()))
    return page.status, headers, re.sub(r'name="csrf_token" value="[^"]*"', "", page.raw.replace(email, "ADDRESS"))


@pytest.mark.databases
@pytest.mark.parametrize("who", OTHERS)
def test_whoever_it_is_the_answer_has_the_same_bytes_and_only_who_has_both_factors_gets_a_mail(
    app: Flask, make_person: Callable[..., Person], inbox: Inbox, who: str
) -> None:
    """At each of the first three times and in the pauses after them."""
    served, other = make_person("noor@example.com"), OTHERS[who](app, make_person)
    answers: dict[str, list[Any]] = {}
    for email in (served.email, other):
        answers[email] = [answer_of(app, email) for _ in range(4)]
    assert answers[other] == answers[served.email]
    assert [status for status, *_ in answers[other]] == [200, 200, 200, 429]
    assert until(lambda: answered(app) == 6)
    assert {next_about(inbox, "Choose a new password")["To"] for _ in range(3)} == {served.email}
    assert "Choose a new password" not in repr([mail["Subject"] for mail in inbox.mails.queue])
    asked = {row["detail"] for row in rows(app, Event) if row["kind"] == EventKind.LINK_ASKED}
    assert asked == {"", "nobody is here" if who == "nobody" else "not sent"}


@pytest.mark.databases
@pytest.mark.parametrize("who", OTHERS)
def test_the_database_is_asked_the_same_whoever_it_is(
    app: Flask, make_person: Callable[..., Person], who: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, other = make_person("noor@example.com"), OTHERS[who](app, make_person)
    asked = []
    for number, email in enumerate((served.email, other)):
        browser = Browser(app, f"203.0.{number}.7")
        page = browser.get("/forgot")
        asked.append(statements(caplog, partial(browser.send, page, {"email": email})))
    assert asked[0] == asked[1]
    assert len(asked[0]) >= 2


def test_nothing_is_looked_up_before_the_answer_has_gone(app: Flask, omar: Person, inbox: Inbox) -> None:
    browser = Browser(app)
    data = {**csrf(browser.get("/forgot")), "email": omar.email}
    answer = browser.client.post("/forgot", data=data, base_url=HERE)
    assert answer.status_code == 200
    assert ASKED in answer.text
    assert EventKind.LINK_ASKED not in kinds(app)
    answer.close()  # as a server does with an answer that has gone
    assert works(app, link_in(inbox.next()))


def test_what_is_no_address_is_said_and_not_charged(app: Flask, omar: Person, inbox: Inbox) -> None:
    browser = Browser(app)
    for typed, error in (
        ("", "Enter your email address"),
        ("omar", "Enter an email address in the form name@example.com"),
        ("x" * 60_000, "Enter an email address in the form name@example.com"),
    ):
        page = ask(browser, typed)
        assert (page.status, page.errors) == (422, [error])
    assert count(app, Throttle) == 0
    ask_and_wait(app, omar.email, browser)
    assert inbox.next()["To"] == omar.email


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({"csrf_token": ""}, {}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Origin": "https://evil.example"}),
    ],
    ids=["no token", "another site", "another origin"],
)
def test_another_site_cannot_ask(app: Flask, omar: Person, inbox: Inbox, data: Any, headers: Any) -> None:
    browser = Browser(app)
    right = {**csrf(browser.get("/forgot")), "email": omar.email}
    sent = {**right, **data}
    assert browser.open("/forgot", method="POST", data=sent, headers=headers, buffered=True).status == 400
    assert count(app, Throttle) == 0
    assert browser.open("/forgot", method="POST", data=right, buffered=True).status == 200
    assert inbox.next()["To"] == omar.email


# How a link ends ------------------------------------------------------------------------------------------------------


def ask_again(app: Flask, omar: Person, inbox: Inbox) -> None:
    assert works(app, mailed_link(app, inbox, omar.email))


def change_password(app: Flask, omar: Person, inbox: Inbox) -> None:
    sign_in(browser := Browser(app), omar)
    browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)


def deactivate_and_activate(app: Flask, omar: Person, inbox: Inbox) -> None:
    acts.deactivate(app, omar.email)
    command(app, "users", "activate", omar.email)


def use_an_invitation(app: Flask, omar: Person, inbox: Inbox) -> None:
    Browser(app).submit(acts.invite(app, omar.email), new_password=NEW_PASSWORD)


def lose_the_app(app: Flask, omar: Person, inbox: Inbox) -> None:
    with app.app_context():
        TotpAuthenticator.delete().execute()


def wait_an_hour(app: Flask, omar: Person, inbox: Inbox) -> None:
    omar.clock.pass_by(1)


ENDINGS = {
    "another one": ask_again,
    "a changed password": change_password,
    "a reset": lambda app, omar, inbox: acts.reset(app, omar.email),
    "deactivation": deactivate_and_activate,
    "an invitation that is used": use_an_invitation,
    "no second factor any more": lose_the_app,
    "an hour": wait_an_hour,
}


@pytest.mark.databases
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_link_ends_with(app: Flask, omar: Person, inbox: Inbox, ending: str) -> None:
    link = mailed_link(app, inbox, omar.email)
    browser = Browser(app)
    page = browser.get(link)
    omar.clock.pass_by(3599)
    assert works(app, link)
    ENDINGS[ending](app, omar, inbox)
    before = {row["email"]: row["password_hash"] for row in rows(app, User)}
    answer = browser.send(page, {"new_password": "four herons and a harbour"})
    assert (answer.status, answer.h1) == (404, "This link doesn't work any more")
    assert not works(app, link)
    assert "for an hour if you asked for it yourself, else for 72 hours" in answer.text
    assert "/forgot" in answer.links
    assert {row["email"]: row["password_hash"] for row in rows(app, User)} == before


@pytest.mark.databases
def test_asking_leaves_the_links_of_admins_and_using_one_ends_them_too(
    app: Flask, omar: Person, noor: Person, inbox: Inbox
) -> None:
    invitation, reset = acts.invite(app, omar.email), acts.reset(app, noor.email)
    link = mailed_link(app, inbox, omar.email)
    ask_and_wait(app, noor.email)
    assert [works(app, each) for each in (invitation, reset, link)] == [True, True, True]
    Browser(app).submit(link, new_password=NEW_PASSWORD)
    assert [works(app, each) for each in (invitation, reset, link)] == [False, True, False]
    update(app, Invitation.used_at, None)
    assert {row["purpose"] for row in rows(app, Invitation)} == {"forgot", "reset"}


def test_of_two_who_use_one_link_at_once_the_second_is_told(app: Flask, omar: Person, inbox: Inbox) -> None:
    link = mailed_link(app, inbox, omar.email)
    browsers = [Browser(app), Browser(app)]
    pages = [browser.get(link) for browser in browsers]
    answers = [
        browser.send(page, {"new_password": NEW_PASSWORD}) for browser, page in zip(browsers, pages, strict=True)
    ]
    assert [answer.status for answer in answers] == [303, 404]


def test_no_token_is_kept_where_it_can_be_read(
    app: Flask, omar: Person, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        link = mailed_link(app, inbox, omar.email)
        page = Browser(app).get(link)
        Browser(app).submit(page, new_password=NEW_PASSWORD)
    token = link.rpartition("/")[2]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert token not in repr(everything(app))
    assert token not in caplog.text
    assert EventKind.LINK_MAILED in kinds(app)


# How often ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["somebody", "nobody"])
def test_the_third_time_brings_a_pause_that_doubles_up_to_an_hour_and_never_decays(
    app: Flask, omar: Person, inbox: Inbox, clock: Clock, who: str
) -> None:
    email = omar.email if who == "somebody" else NOBODY
    for _ in range(3):
        ask_and_wait(app, email)
    for pause in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        answer = ask(Browser(app, "198.51.100.7"), email)
        assert (answer.status, answer.h1, answer.headers["Retry-After"]) == (429, "Too many tries", str(pause))
        clock.pass_by(pause - 1)
        assert ask(Browser(app), email).status == 429
        clock.pass_by(1)
        ask_and_wait(app, email)
    clock.pass_by(30 * 86400)
    sign_in(Browser(app), omar)
    ask_and_wait(app, email)
    assert ask(Browser(app), email).headers["Retry-After"] == "3600", "a month later it is as it was"


def test_a_pause_says_what_to_do_and_an_admin_or_a_new_password_ends_it(app: Flask, omar: Person, inbox: Inbox) -> None:
    for end in ("unlock", "password"):
        for _ in range(3):
            ask_and_wait(app, omar.email)
        page = ask(Browser(app), omar.email)
        assert page.status == 429
        assert "A link was asked for too often. You can ask again in 30 seconds" in page.text
        assert give_password(Browser(app), omar).h1 == "Enter your code", "a sign-in is not paused by it"
        links = [link_in(next_about(inbox, "Choose a new password")) for _ in range(3)]
        assert [works(app, link) for link in links] == [False, False, True]
        if end == "unlock":
            acts.unlock(app, omar.email)
        else:
            Browser(app).submit(links[-1], new_password=NEW_PASSWORD)
        assert failures(app, "forgotten password") == 0
        ask_and_wait(app, omar.email)
        acts.unlock(app, omar.email)
        next_about(inbox, "Choose a new password")


def test_who_asks_for_many_is_stopped_by_the_limit_of_an_address(
    make_app: Callable[..., Flask], port: int, inbox: Inbox
) -> None:
    app = make_app("few", MAIL_URL=mail_url(port), ADDRESS_LIMIT=4)
    for number in range(4):
        ask_and_wait(app, f"nobody{number}@example.com")
    assert ask(Browser(app), "another@example.com").status == 429
    ask_and_wait(app, "another@example.com", Browser(app, "198.51.100.7"))


# The mail server ------------------------------------------------------------------------------------------------------


@contextmanager
def talking(port: int, *lines: bytes) -> Iterator[list[bytes]]:
    """A mail server that answers with these lines, whatever it is told, and then with nothing. It hangs up at the end
    of the block."""
    heard, peers = list[bytes](), list[socket.socket]()

    def serve(listener: socket.socket) -> None:
        try:
            while True:
                peer, _ = listener.accept()
                peers.append(peer)
                for line in lines:
                    peer.sendall(line + b"\r\n")
                    if not (said := peer.recv(4096)):
                        break
                    heard.append(said)
        except OSError:
            pass  # the block is over

    with closing(socket.create_server(("127.0.0.1", port))) as listener:
        thread = Thread(target=serve, args=[listener])
        thread.start()
        try:
            yield heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for peer in peers:
                peer.close()
            thread.join()


WAYS_TO_FAIL = {
    "silent": [],
    "slow": [b"220 mail.example.com", b"250 mail.example.com"],
    "refusing": [b"220 mail.example.com", b"250 mail.example.com", b"250 yes", b"550 not here", b"250 yes", b"221 bye"],
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_mail_server_that_fails_changes_no_page_and_holds_up_no_request(
    app: Flask, omar: Person, port: int, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answer_of(app, NOBODY)
    assert until(lambda: answered(app) == 1)
    with talking(port, *WAYS_TO_FAIL[way]):
        assert answer_of(app, omar.email) == expected, "while the mail is on its way or stuck"
        assert sign_in(Browser(app), omar).h1 == "Security"
        if way == "refusing":
            assert until(lambda: EventKind.LINK_NOT_MAILED in kinds(app))
    assert until(lambda: EventKind.LINK_NOT_MAILED in kinds(app))
    assert caplog.text.count("a link could not be mailed:") == 1
    assert EventKind.LINK_MAILED not in kinds(app)


def test_a_mail_server_that_is_gone_changes_no_page_and_the_next_link_is_mailed(
    app: Flask, omar: Person, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answer_of(app, NOBODY)
    assert answer_of(app, omar.email) == expected
    assert until(lambda: answered(app) == 2)
    assert "a link could not be mailed: ConnectionRefusedError" in caplog.text
    with listening(Inbox(), port) as inbox:
        assert works(app, mailed_link(app, inbox, omar.email))


def test_a_server_that_quotes_the_link_it_refuses_brings_no_token_into_the_log(
    app: Flask, omar: Person, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Quoting(Inbox):
        async def handle_DATA(self, _server, _session, envelope) -> str:
            await super().handle_DATA(_server, _session, envelope)
            link = re.findall(rb"http\S+/welcome/\S+", envelope.content)[0].decode()
            return f"554 spam: {link}"

    with listening(Quoting(), port) as inbox:
        ask_and_wait(app, omar.email)
        link = link_in(inbox.next())
    assert "554, b'spam: http://localhost:5000/welcome/\u2026'" in caplog.text
    assert link.rpartition("/")[2] not in caplog.text
    assert kinds(app)[-1] == EventKind.LINK_NOT_MAILED


def test_a_full_queue_changes_no_page_and_is_one_line_of_the_log(
    app: Flask, omar: Person, ada: Person, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    mailer, store = app.extensions["mailer"], app.extensions["store"]
    expected = answer_of(app, NOBODY)
    assert until(lambda: answered(app) == 1)
    with talking(port):
        ask(Browser(app), omar.email)
        his = Event.kind == EventKind.LINK_ASKED, Event.user.is_null(False)
        assert until(lambda: count(app, Event, *his)), "the thread has the first one in hand"
        while "too many wait" not in caplog.text:
            mailer.answer_forgotten(store, NOBODY, Context(omar.clock.now))
        before = caplog.text.count("too many wait")
        assert answer_of(app, omar.email) == expected
        assert caplog.text.count("a link that was asked for was not queued: too many wait") == before + 1
        mailer.mail_invitation(store, ada.email, "a-token", Context(omar.clock.now))
        assert kinds(app)[-1] == EventKind.LINK_NOT_MAILED
    assert until(lambda: answered(app) >= 1000, seconds=100), "all that waited is done"


# Without mail ---------------------------------------------------------------------------------------------------------


def test_it_is_one_page_for_everybody(make_app: Callable[..., Flask], app: Flask) -> None:
    rules = [{str(rule): rule.endpoint for rule in each.url_map.iter_rules()} for each in (app, make_app("without"))]
    assert dict(rules[0].items() - rules[1].items()) == {"/forgot": "forgot.ask"}
    assert app.view_functions["forgot.ask"].is_public  # type: ignore[attr-defined]


def test_without_mail_url_nothing_of_it_is_there(make_app: Callable[..., Flask], make_person, inbox, app, omar) -> None:
    def see(app: Flask, email: str) -> tuple[int, int, bool, bool, bool]:
        browser = Browser(app)
        login, old = browser.get("/login"), browser.get("/welcome/nobody-has-this")
        posted = browser.open("/forgot", method="POST", data={**csrf(login), "email": email}, buffered=True)
        assert "Can't sign in? Ask the person who runs this site." in login.text
        told = "It works once, for 72 hours. Ask the person who runs this site for a new one." in old.text
        return browser.open("/forgot").status, posted.status, "/forgot" in login.links, "/forgot" in old.links, told

    without = make_app("without", RECOVERY_CODES_ENABLED=True)
    make_person("omar@example.com", on=without)
    assert see(without, omar.email) == (404, 404, False, False, True)
    assert see(app, omar.email) == (200, 200, True, True, False)
    assert inbox.next()["To"] == omar.email
    assert masked(Browser(without).open("/forgot")) == masked(Browser(without).open("/nothing"))
