"""Mail to people about changes to how they sign in, and with links to choose a password, sent by a thread of its own
after the transaction: a mail that cannot be sent is logged and never a sign-in's concern. A process that ends sends
what waits first. Other receivers may connect to flows.audit.recorded as well."""

import atexit
import logging
import os
import ssl
import textwrap
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from functools import cached_property, partial
from queue import Full, Queue
from smtplib import SMTP, SMTP_SSL, SMTPException
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote, urlsplit

from authn.events import EventKind
from authn.links import LinkPurpose
from database import Store, opened
from flows import forgot
from flows.transactions import Context
from models import Event, recovery_codes_are_on
from settings import is_loopback

log = logging.getLogger("sparekey.mail")

_TIMEOUT_SECONDS = 10
_LONGEST_FAREWELL_SECONDS = 5
_LONGEST_QUEUE = 1000
_WIDTH = 76

Job = Callable[[], Any]  # what the thread does
Compose = Callable[[str, str, Context], EmailMessage]  # a mail to this address with this link

# What NIST SP 800-63B-4 4.1.2.1, 4.2.3 and 4.6 ask to tell people about.
SUBJECTS = {
    EventKind.AUTHENTICATOR_ADDED: "An authenticator app was set up",
    EventKind.AUTHENTICATOR_REPLACED: "Your authenticator app was replaced",
    EventKind.RECOVERY_CODE_SPENT: "Your recovery code was used",
    EventKind.RECOVERY_CODE_SAVED: "A new recovery code was saved",
    EventKind.SECURITY_KEY_ADDED: "A security key was added",
    EventKind.SECURITY_KEY_REMOVED: "A security key was removed",
    EventKind.SECURITY_KEY_COPIED: "A security key of yours may have been copied",
    EventKind.ONLY_KEY_ON: "You are asked only for your security key",
    EventKind.ONLY_KEY_OFF: "A code from your app signs you in again",
    EventKind.PASSWORD_CHANGED: "Your password was changed",
    EventKind.PASSWORD_KNOWN: "Somebody who knows your password typed three wrong codes",
    EventKind.MFA_RESET: "Your sign-in was reset",
}


class Mailer:
    """Sends through `url`: smtp://user:password@host:port?from=address, or smtps://. It takes what flows.audit.recorded
    sends."""

    def __init__(self, url: str, site: str, site_url: str, contact: str) -> None:
        self._server, self._site, self._site_url, self._contact = urlsplit(url), site, site_url, contact
        self._host = urlsplit(site_url).hostname or ""
        sender = self._server.query.removeprefix("from=")  # a plus in it is no space
        self._sender = unquote(sender) or f"no-reply@{self._host}"
        self._begin()
        there = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_anew(there()))

    def _begin(self) -> None:
        """Begin with nothing waiting, and no thread."""
        self._queue: Queue[Job] = Queue(_LONGEST_QUEUE)
        self.__dict__.pop("_thread", None)

    def __call__(self, _store: Any, event: Event) -> None:
        """Queue the mail about this event, if it is one to tell the person about."""
        if event.user is not None and event.kind in SUBJECTS:
            self._put(partial(self._tell, event.user.email, event), f"a mail about {event.kind}")

    def answer_forgotten(self, store: Store, email: str, context: Context) -> None:
        """Queue all that is done for somebody who has asked for a new password: whether there is a link for them is
        looked up by the thread, too."""
        self._put(partial(self._answer_forgotten, store, email, context), "a link that was asked for")

    def mail_invitation(self, store: Store, email: str, token: str, context: Context) -> None:
        """Queue the mail with this link. The record tells whether it was sent."""
        if not self._put(partial(self.send_invitation, store, email, token, context), "a link"):
            with opened(store):
                forgot.note_mail(email, False, context)

    def send_invitation(self, store: Store, email: str, token: str, context: Context) -> bool:
        """Send the mail with this link now. Return, and record, whether the mail server took it."""
        return self._send_link(store, email, token, context, self._invitation)

    def _answer_forgotten(self, store: Store, email: str, context: Context) -> None:
        with opened(store):
            token = forgot.issue(email, context)
        if token:
            self._send_link(store, email, token, context, self._forgotten)

    def _send_link(self, store: Store, email: str, token: str, context: Context, compose: Compose) -> bool:
        try:
            with opened(store):
                message = compose(email, f"{self._site_url}/welcome/{token}", context)
            self._send(message)
            sent = True
        except Exception as error:  # whatever it is, it is told in the record; a server may quote what it refuses
            log.error("a link could not be mailed: %s", repr(error).replace(token, "…"))
            sent = False
        with opened(store):
            forgot.note_mail(email, sent, context)
        return sent

    def _put(self, job: Job, what: str) -> bool:
        """Leave the job to the thread. Return whether there was room for it."""
        self._thread  # noqa: B018 - started with the first mail, in the process that sends it
        try:
            self._queue.put_nowait(job)
        except Full:
            log.error("%s was not queued: too many wait", what)
            return False
        return True

    @cached_property
    def _thread(self) -> Thread:
        thread = Thread(target=self._send_for_ever, name="mail", daemon=True)
        thread.start()
        atexit.register(self._send_what_waits)
        return thread

    def _tell(self, to: str, event: Event) -> None:
        subject, origin = SUBJECTS[EventKind(event.kind)], f" from {event.remote_addr}" if event.remote_addr else ""
        self._send(
            self._message(
                to,
                f"{self._site}: {subject}",
                f"{subject} on {_moment(event.at)}{origin}.",
                f"If that wasn't you, change your password, sign out everywhere else and tell {self._contact}. You can "
                "do both here:",
                f"{self._site_url}/account",
            )
        )

    def _forgotten(self, to: str, link: str, context: Context) -> EmailMessage:
        origin = f", from {context.remote_addr}" if context.remote_addr else ""
        until = _moment(context.now + LinkPurpose.FORGOT.seconds)
        needed = "You'll still need your authenticator app"
        if recovery_codes_are_on():
            needed += f", or your recovery code. If you have neither any more, ask {self._contact}."
        else:
            needed += f". If you've lost your phone as well, ask {self._contact}."
        return self._message(
            to,
            f"Choose a new password for {self._site}",
            f"Somebody asked for a new password for {to} at {self._site} on {_moment(context.now)}{origin}.",
            f"If it was you, choose one here. The link works once, until {until}:",
            link,
            needed,
            "If it wasn't you, do nothing: the link alone lets nobody in.",
        )

    def _invitation(self, to: str, link: str, context: Context) -> EmailMessage:
        giver = f"{context.actor} has given you" if context.admin_id else "Here is"
        return self._message(
            to,
            f"Choose a password for {self._site}",
            f"{giver} a link to choose a password at {self._site}, where you sign in as {to}. It works once, until "
            f"{_moment(context.now + LinkPurpose.INVITATION.seconds)}:",
            link,
            "If you haven't set up an authenticator app there yet, you do so next: have your phone at hand.",
            f"If you don't know what this is about, do nothing, or ask {self._contact}.",
        )

    def _message(self, to: str, subject: str, *paragraphs: str) -> EmailMessage:
        """Return a mail in plain text. ValueError when no header can hold the address as one address."""
        message = EmailMessage()
        message["To"], message["From"], message["Subject"] = to, self._sender, subject
        message["Date"], message["Message-ID"] = datetime.now(UTC), make_msgid(domain=self._host)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answering machine answers it
        read = [(address.addr_spec, f"{address.username}@{address.domain}") for address in message["To"].addresses]
        if read != [(to, to)]:  # quoted as a whole it would have no domain, and be read as what the quotes enclose
            raise ValueError("no header can hold the address")
        text = "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs) + "\n"
        is_short = text.isascii() and max(map(len, text.splitlines())) <= _WIDTH
        message.set_content(text, cte="7bit" if is_short else "quoted-printable")
        return message

    def _send_for_ever(self) -> None:
        while True:
            job = self._queue.get()
            try:
                job()
            except Exception as error:  # whatever it is, the next mail may do better
                log.error("a mail could not be sent: %r", error)
            self._queue.task_done()

    def _send_what_waits(self) -> None:
        """Leave the thread a few seconds to send what is queued; the log tells how many mails were lost."""
        deadline = monotonic() + _LONGEST_FAREWELL_SECONDS
        while self._queue.unfinished_tasks and monotonic() < deadline:
            sleep(0.05)
        if self._queue.unfinished_tasks:
            log.error("the process ended with %d mails not sent", self._queue.unfinished_tasks)

    def _send(self, message: EmailMessage) -> None:
        tls = ssl.create_default_context()  # which SMTP_SSL would otherwise do without, and trust any certificate
        kind = partial(SMTP_SSL, context=tls) if self._server.scheme == "smtps" else SMTP
        host = self._server.hostname or ""
        with kind(host, self._server.port or 0, timeout=_TIMEOUT_SECONDS) as smtp:
            if kind is SMTP and smtp.ehlo()[0] == 250 and smtp.has_extn("starttls"):
                smtp.starttls(context=tls)
            if self._server.username:
                if not (isinstance(smtp.sock, ssl.SSLSocket) or is_loopback(host)):
                    raise SMTPException("the server offers no TLS, and the password must not travel in clear")
                smtp.login(unquote(self._server.username), unquote(self._server.password or ""))
            smtp.send_message(message)


def _begin_anew(mailer: Mailer | None) -> None:
    """In a process just forked, as gunicorn's workers are, where no thread of the first one is."""
    if mailer:
        mailer._begin()


def _wrapped(paragraph: str) -> str:
    """Return the paragraph in lines for every screen. A link stays in one piece; an address that a proxy passed on may
    hold what cannot be seen."""
    seen = "".join(character if character.isprintable() else " " for character in paragraph)
    return textwrap.fill(seen, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _moment(at: int) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
