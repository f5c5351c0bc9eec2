"""Invitations by mail: from the page that adds people and from the command; and never the link of a reset."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from authn.events import EventKind
from models import Event, User
from tests.support.commands import link, refusal, run
from tests.support.inbox import Inbox, listening, text_of, until
from tests.support.mails import answered, link_in, mail_url
from tests.support.pages import Browser
from tests.support.people import NEW_PASSWORD, Clock, Person, give_password, sign_in
from tests.support.tables import count, everything, kinds, rows

NEW = "/admin/people/new"


@pytest.fixture
def app(make_app: Callable[..., Flask], port: int) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, MAIL_URL=mail_url(port))


@pytest.fixture
def inbox(port: int) -> Iterator[Inbox]:
    with listening(Inbox(), port) as inbox:
        yield inbox


@pytest.fixture
def admin(app: Flask, ada: Person) -> Browser:
    sign_in(browser := Browser(app), ada)
    return browser


@pytest.mark.databases
def test_the_links_of_people_who_are_added_are_mailed_where_that_is_ticked(
    app: Flask, admin: Browser, inbox: Inbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    page = admin.submit(NEW, emails="nora@example.com\nrui@example.com", mail="yes")
    assert page.h1 == "Links for 2 people"
    assert "They are on their way by mail; the audit log says of each whether it was sent." in page.text
    assert until(lambda: answered(app) == 2)
    mails = {mail["To"]: mail for mail in (inbox.next(), inbox.next())}
    assert mails.keys() == {"nora@example.com", "rui@example.com"}
    nora = mails["nora@example.com"]
    assert nora["Subject"] == "Choose a password for Sparekey"
    assert text_of(nora).startswith(
        "ada@example.com has given you a link to choose a password at Sparekey, where you sign in as nora@example.com. "
        "It works once, until 3 December 2026, 01:00 UTC:"
    )
    path = link_in(nora)
    assert f"http://localhost:5000{path}" in page.raw, "the admin has it as well"
    assert path.rpartition("/")[2] not in caplog.text + repr(everything(app))
    Browser(app).submit(path, new_password=NEW_PASSWORD)
    person = Person("nora@example.com", clock, password=NEW_PASSWORD)
    assert give_password(Browser(app), person).h1 == "Set up your authenticator app"
    log = admin.get("/admin/audit")
    assert log.text.count("Link to choose a password mailed") == 2


def test_without_the_tick_nothing_is_mailed(app: Flask, admin: Browser, inbox: Inbox) -> None:
    page = admin.submit(NEW, emails="nora@example.com")
    assert "Give each person their own." in page.text
    admin.submit(NEW, emails="rui@example.com", mail="yes")
    assert inbox.next()["To"] == "rui@example.com"
    assert until(lambda: answered(app) == 1)
    assert inbox.mails.empty()


def test_a_rejected_list_mails_nothing_and_keeps_the_tick(app: Flask, admin: Browser, inbox: Inbox) -> None:
    page = admin.submit(NEW, emails="nora@example.com\nrui", mail="yes")
    box = page.by_id("mail")
    assert box is not None and box.get("checked") is not None
    admin.submit(page, emails="nora@example.com", mail="yes")
    assert until(lambda: answered(app) == 1)
    assert inbox.mails.qsize() == 1


def test_a_link_that_could_not_be_mailed_is_told_on_the_audit_page(
    app: Flask, admin: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    page = admin.submit(NEW, emails="nora@example.com", mail="yes")
    assert page.status == 200
    assert until(lambda: answered(app) == 1)
    assert "Link to choose a password could not be mailed" in admin.get("/admin/audit").text
    event = rows(app, Event)[-1]
    assert (event["kind"], event["actor"]) == ("link_not_mailed", "ada@example.com")
    assert "a link could not be mailed: ConnectionRefusedError" in caplog.text


def test_without_mail_url_there_is_no_tick_and_one_that_is_sent_changes_nothing(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], app: Flask, admin: Browser
) -> None:
    without = make_app("without", RECOVERY_CODES_ENABLED=True)
    sign_in(browser := Browser(without), make_person("ada@example.com", admin=True, on=without))
    page = browser.get(NEW)
    assert page.by_id("mail") is None
    data = {**page.form_with("emails").fields, "emails": "nora@example.com", "mail": "yes"}
    answer = browser.open(NEW, method="POST", data=data)
    assert (answer.status, "Give each person their own." in answer.text) == (200, True)
    assert {EventKind.LINK_MAILED, EventKind.LINK_NOT_MAILED}.isdisjoint(kinds(without))
    assert admin.get(NEW).by_id("mail") is not None


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_the_command_mails_each_person_a_link_and_says_so(app: Flask, omar: Person, inbox: Inbox) -> None:
    result = run(app, "users", "invite", "Nora@example.com", omar.email, "nora@example.com", "--mail")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Mailed a link to nora@example.com; it works once, for 72 hours.",
        "Mailed a link to omar@example.com; it works once, for 72 hours.",
    ]
    mails = [inbox.next(), inbox.next()]
    assert [mail["To"] for mail in mails] == ["nora@example.com", "omar@example.com"]
    assert text_of(mails[0]).startswith("Here is a link to choose a password at Sparekey, where you sign in as nora@")
    assert all(Browser(app).open(link_in(mail)).status == 200 for mail in mails)
    assert kinds(app).count(EventKind.LINK_MAILED) == 2


def test_a_link_that_the_command_cannot_mail_is_printed_to_be_handed_over(app: Flask) -> None:
    result = run(app, "users", "invite", "nora@example.com", "--mail")
    assert result.exit_code == 1
    assert result.stdout.startswith("Give this link to nora@example.com; it works once, for 72 hours: http://localhost")
    assert "Error: 1 of 1 could not be mailed: hand those links over." in result.stderr
    assert Browser(app).open(result.stdout.split()[-1].removeprefix("http://localhost:5000")).status == 200
    assert kinds(app)[-1] == EventKind.LINK_NOT_MAILED


def test_a_command_with_one_bad_address_or_nothing_to_mail_with_adds_nobody(
    make_app: Callable[..., Flask], app: Flask, inbox: Inbox
) -> None:
    without = make_app("without")
    said = refusal(run(without, "users", "invite", "nora@example.com", "--mail"))
    assert said == "MAIL_URL is not set, so that nothing can be mailed."
    said = refusal(run(app, "users", "invite", "nora@example.com", "rui", "--mail"))
    assert said == "Give an email address in the form name@example.com."
    assert (count(without, User), count(app, User)) == (0, 0)
    assert run(without, "users", "invite", "nora@example.com", "rui@example.com").stdout.count("Give this link to") == 2
    assert run(app, "users", "invite", "nora@example.com", "--mail").exit_code == 0


# Never --------------------------------------------------------------------------------------------------------------


def test_the_link_of_a_reset_is_never_mailed(
    app: Flask, admin: Browser, omar: Person, noor: Person, inbox: Inbox
) -> None:
    person = next(row["id"] for row in rows(app, User) if row["email"] == omar.email)
    page = admin.get(f"/admin/people/{person}/reset-mfa")
    assert set(page.form_with("reason").fields) == {"csrf_token", "reason"}
    by_command = link(app, "reset-mfa", noor.email)
    page = admin.submit(f"/admin/people/{person}/reset-mfa", reason="lost")
    by_page = page.text_of("link").removeprefix("http://localhost:5000")
    told = [inbox.next(), inbox.next()]
    assert {mail["Subject"] for mail in told} == {"Sparekey: Your sign-in was reset"}
    for path in (by_command, by_page):
        assert Browser(app).open(path).status == 200
        assert path.rpartition("/")[2] not in "".join(mail.get_content() for mail in told)
    assert run(app, "users", "reset-mfa", omar.email, "--mail").exit_code == 2


@pytest.mark.databases
def test_who_was_reset_is_mailed_no_invitation_in_place_of_that_link(app: Flask, omar: Person, inbox: Inbox) -> None:
    path = link(app, "reset-mfa", omar.email)
    assert inbox.next()["Subject"] == "Sparekey: Your sign-in was reset"
    before = everything(app)
    said = refusal(run(app, "users", "invite", "nora@example.com", omar.email, "--mail"))
    assert said == "omar@example.com was reset: make sure who is asking, and hand them a link made without --mail."
    assert everything(app) == before, "not even Nora is added"
    assert run(app, "users", "invite", "nora@example.com", "--mail").exit_code == 0
    assert inbox.next()["To"] == "nora@example.com"
    Browser(app).submit(path, new_password=NEW_PASSWORD)
    assert run(app, "users", "invite", omar.email, "--mail").exit_code == 0
