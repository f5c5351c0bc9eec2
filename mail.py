"""Mail to people about changes to how they sign in, sent by a thread of its own after the transaction: a mail that
cannot be sent is logged and never a sign-in's concern. A process that ends sends what waits first. Other receivers may
connect to flows.audit.recorded as well."""

import atexit
import logging
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cached_property, partial
from queue import Full, Queue
from smtplib import SMTP, SMTP_SSL, SMTPException
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from authn.events import EventKind
from models import Event
from settings import is_loopback

log = logging.getLogger("sparekey.mail")

_TIMEOUT_SECONDS = 10
_LONGEST_FAREWELL_SECONDS = 5
_LONGEST_QUEUE = 1000

# What NIST SP 800-63B-4 4.1.2.1, 4.2.3 and 4.6 ask to tell people about.
SUBJECTS = {
    EventKind.AUTHENTICATOR_ADDED: "An authenticator app was set up",
    EventKind.AUTHENTICATOR_REPLACED: "Your authenticator app was replaced",
    EventKind.RECOVERY_CODE_SPENT: "Your recovery code was used",
    EventKind.RECOVERY_CODE_SAVED: "A new recovery code was saved",
    EventKind.PASSWORD_CHANGED: "Your password was changed",
    EventKind.PASSWORD_KNOWN: "Somebody who knows your password typed three wrong codes",
    EventKind.MFA_RESET: "Your sign-in was reset",
}


class Mailer:
    """Sends through `url`: smtp://user:password@host:port?from=address, or smtps://. It takes what flows.audit.recorded
    sends."""

    def __init__(self, url: str, site: str, site_url: str, contact: str) -> None:
        self._server, self._site, self._site_url, self._contact = urlsplit(url), site, site_url, contact
        host = urlsplit(site_url).hostname
        self._sender = parse_qs(self._server.query).get("from", [f"no-reply@{host}"])[0]
        self._queue: Queue[EmailMessage] = Queue(_LONGEST_QUEUE)

    def __call__(self, _store: Any, event: Event) -> None:
        """Queue the mail about this event, if it is one to tell the person about."""
        if event.user is None or event.kind not in SUBJECTS:
            return
        self._thread  # noqa: B018 - started with the first mail, in the process that sends it
        try:
            self._queue.put_nowait(self._message(event.user.email, event))
        except (Full, ValueError) as error:  # ValueError: an address that no header can hold
            log.error("a mail about %s was not queued: %s", event.kind, error)

    @cached_property
    def _thread(self) -> Thread:
        thread = Thread(target=self._send_for_ever, name="mail", daemon=True)
        thread.start()
        atexit.register(self._send_what_waits)
        return thread

    def _message(self, to: str, event: Event) -> EmailMessage:
        subject, at = SUBJECTS[EventKind(event.kind)], datetime.fromtimestamp(event.at, UTC)
        message = EmailMessage()
        message["To"], message["From"] = to, self._sender
        message["Subject"] = f"{self._site}: {subject}"
        origin = f" from {event.remote_addr}" if event.remote_addr else ""
        message.set_content(
            f"{subject} on {at.day} {at:%B %Y, %H:%M} UTC{origin}.\n\n"
            f"If that wasn't you, change your password, sign out everywhere else and tell {self._contact}.\n"
            f"You can do both at {self._site_url}/account\n"
        )
        return message

    def _send_for_ever(self) -> None:
        while True:
            message = self._queue.get()
            try:
                self._send(message)
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
