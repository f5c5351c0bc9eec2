"""A mail server on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from queue import Queue
from typing import Any

from aiosmtpd.controller import Controller


class Inbox:
    """A mail server on this machine that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: Queue[Message] = Queue()

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.mails.put(message_from_bytes(envelope.content))
        return "250 OK"

    def next(self) -> Message:
        return self.mails.get(timeout=10)


@contextmanager
def listening(inbox: Inbox, port: int, **options: Any) -> Iterator[Inbox]:
    server = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    server.start()
    try:
        yield inbox
    finally:
        server.stop()
