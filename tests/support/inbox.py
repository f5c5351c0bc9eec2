"""A mail server on this machine."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from queue import Queue
from typing import Any

from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Inbox:
    """A mail server on this machine that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: Queue[EmailMessage] = Queue()

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.mails.put(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def next(self) -> EmailMessage:
        return self.mails.get(timeout=10)


@contextmanager
def listening(inbox: Inbox, port: int, **options: Any) -> Iterator[Inbox]:
    server = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    server.start()
    try:
        yield inbox
    finally:
        until(lambda: _is_quiet(server), 2)  # whoever has given a mail says goodbye first, or brings the next one
        server.stop()


def _is_quiet(server: Controller) -> bool:
    if asyncio.all_tasks(server.loop):
        return False
    time.sleep(0.03)
    return not asyncio.all_tasks(server.loop)


def text_of(mail: EmailMessage) -> str:
    """What somebody reads, wherever its lines end."""
    return " ".join(mail.get_content().split())


def until(condition: Callable[[], Any], seconds: int = 10) -> bool:
    """Whether this comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def certificate(folder: Path) -> Path:
    """One for 127.0.0.1 that it has given to itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, address = datetime.now(UTC), x509.IPAddress(ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=True)
        .sign(key, SHA256())
    )
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    return path
