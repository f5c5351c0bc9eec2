"""A site that mails links: somebody asks for one, and what comes of it once the answer has gone."""

import re
from email.message import EmailMessage

from flask import Flask

from authn.events import EventKind
from models import Event
from tests.support.inbox import Inbox, until
from tests.support.pages import Browser, Page
from tests.support.tables import rows

ENDS = (EventKind.LINK_MAILED, EventKind.LINK_NOT_MAILED)


def mail_url(port: int) -> str:
    return f"smtp://127.0.0.1:{port}?from=site@example.com"


def ask(browser: Browser, email: str) -> Page:
    """Ask for a link on the page for it. The answer is taken to its end, as a server does."""
    return browser.send(browser.get("/forgot"), {"email": email}, buffered=True)


def answered(app: Flask) -> int:
    """How many of those who have asked, or were invited by mail, all is done for."""
    events = rows(app, Event)
    return sum(
        event["count"]
        for event in events
        if event["kind"] in ENDS or (event["kind"] == EventKind.LINK_ASKED and event["detail"])
    )


def ask_and_wait(app: Flask, email: str, browser: Browser | None = None) -> None:
    done = answered(app)
    assert ask(browser or Browser(app), email).status == 200
    assert until(lambda: answered(app) > done)


def link_in(mail: EmailMessage) -> str:
    """Where the one link with a token leads that somebody finds in a mail."""
    (link,) = re.findall(r"^http://localhost:5000(/welcome/[\w-]{43})\r?$", mail.get_content(), re.MULTILINE)
    return str(link)


def mailed_link(app: Flask, inbox: Inbox, email: str) -> str:
    ask_and_wait(app, email)
    return link_in(next_about(inbox, "Choose a new password"))


def next_about(inbox: Inbox, subject: str) -> EmailMessage:
    while subject not in (mail := inbox.next())["Subject"]:
        pass
    return mail
