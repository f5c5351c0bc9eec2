"""The load generator: a browser of few words, with one connection that stays open, that times each answer."""

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import urlencode

IDLE_SECONDS = 1  # gunicorn closes a connection after two
_NUMBERS = count()


@dataclass(frozen=True)
class Answer:
    seconds: float  # from the first byte sent to the last one read, on a connection that was open already
    status: int
    head: str
    body: str

    def header(self, name: str) -> str:
        return "".join(re.findall(rf"(?mi)^{name}: (.*?)\r$", self.head))

    def expect(self, status: int, to: str = "") -> float:
        """The seconds it took; RuntimeError when it is another answer, or leads elsewhere."""
        if (self.status, self.header("Location")) != (status, to):
            raise RuntimeError(f"{status} {to} was expected:\n{self.head}\n{self.body}")
        return self.seconds


def options_in(page: str) -> dict[str, Any]:
    """What the page would have the browser ask of a key."""
    (options,) = re.findall('data-options="(.*?)"', page)
    return dict(json.loads(unescape(options)))


class Visitor:
    def __init__(self, port: int, session: str = "", headers: Mapping[str, str] | None = None) -> None:
        self._sends_cookies = "Cookie" not in (headers or {})
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._port, self._cookies, self._hidden = port, {"session": session}, dict[str, str]()
        self._address = f"2001:db8:0:{next(_NUMBERS):x}::1"  # which a site that trusts a proxy believes
        self._socket, self._used_at = socket.socket(), 0.0

    def get(self, path: str) -> Answer:
        return self._ask(f"GET {path}")

    def post(self, path: str, **typed: str) -> Answer:
        """Send a form, with the hidden fields of the page that was served last."""
        return self._ask(f"POST {path}", urlencode({**self._hidden, **typed}))

    def close(self) -> None:
        self._socket.close()
        self._used_at = 0

    def _ask(self, what: str, form: str = "") -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        head = f"{what} HTTP/1.1\r\nHost: localhost:{self._port}\r\nX-Forwarded-For: {self._address}\r\n"
        head += self._headers + (f"Cookie: {cookies}\r\n" if self._sends_cookies else "")
        if form:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=200)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = self._exchange(f"{head}\r\n{form}".encode())
        self._used_at = 0 if answer.header("Connection") == "close" else time.monotonic()
        self._cookies |= dict(re.findall(r"(?mi)^set-cookie: (.+?)=(.*?);", answer.head))
        hidden = re.findall('<input (?=[^>]*type="hidden")[^>]*name="(.*?)"[^>]*value="(.*?)"', answer.body)
        self._hidden = dict(hidden) or self._hidden
        return answer

    def _exchange(self, sent: bytes) -> Answer:
        started = time.perf_counter()
        self._socket.sendall(sent)
        with self._socket.makefile("rb") as received:
            head = ""
            while (line := received.readline().decode()) not in ("\r\n", ""):
                head += line
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = received.read(int(length[1])) if length else b""
        return Answer(time.perf_counter() - started, int(head[9:12]), head, body.decode())
