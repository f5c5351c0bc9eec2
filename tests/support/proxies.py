"""nginx and Caddy as docs/operations.md has them, in front of a served site and of two apps that tell what arrives; and
a browser without JavaScript that speaks to them over TLS."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask

from app import create_app
from tests.support import acts
from tests.support.apps import CHEAP, KEY
from tests.support.commands import run, said
from tests.support.gates import APPS, WIKI
from tests.support.machines import blocks
from tests.support.pages import Browser, Page, read_page
from tests.support.people import PASSWORD, Person
from tests.support.servers import Answer, SharedClock, Site, served

NAMES = ("accounts.example.org", "wiki.example.org", "grafana.example.org")
NGINX, CADDY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"), shutil.which("caddy")


def required(name: str) -> str:
    """Where the program is. Without it the test is skipped, and in CI fails."""
    found = {"nginx": NGINX, "caddy": CADDY}[name]
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {name} here: install Debian's package {name}")
    return str(found)


PAGE = (
    "<!doctype html><html lang=en><title>{0}</title><h1>{0}</h1><form method=post><button>Send</button></form></html>"
)

# The apps -------------------------------------------------------------------------------------------------------------


@dataclass
class Upstream:
    """An app behind the proxy. It answers every request with 200 and keeps what arrived, in the bytes of UTF-8."""

    name: str
    port: int = 0
    arrived: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)

    def told(self) -> dict[str, list[str]]:
        """The headers of the last request that could be taken for ours, folded as WSGI folds them."""
        found = dict[str, list[str]]()
        for name, value in self.arrived[-1][2]:
            if (folded := name.lower().replace("_", "-")).startswith("remote-"):
                found.setdefault(folded, []).append(value.encode("latin-1").decode())
        return found


@contextmanager
def upstream(name: str) -> Iterator[Upstream]:
    app = Upstream(name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            app.arrived.append((self.command, self.path, self.headers.items()))
            body = PAGE.format(name).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = answer

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        app.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield app
        finally:
            server.shutdown()


# The proxies ----------------------------------------------------------------------------------------------------------


def _certificate(folder: Path) -> None:
    """One for all three names, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(2))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES]), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "site.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "site.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def _placed(text: str, places: dict[str, str]) -> str:
    """The stanza of the guide with this machine's addresses, ports and certificates in place of its own."""
    for place, here in places.items():
        text = re.sub(place, here, text)
    return text


def _nginx(folder: Path, port: int, site: int, wiki: int, grafana: int) -> list[str]:
    ours, snippet, app = (
        next(block for block in blocks("Behind a proxy, with https") if block.startswith("server {")),
        next(block for block in blocks("nginx") if block.startswith("auth_request ")),
        next(block for block in blocks("nginx") if block.startswith("server {")),
    )
    places = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "127.0.0.1:8000": f"127.0.0.1:{site}",
        r"/etc/ssl/\w+\.(pem|key)": rf"{folder}/site.\1",
    }
    api = next(block for block in blocks("What the app is told") if block.startswith("location /api/"))
    app = app.replace("location / {", api.replace("\n", "\n    ") + "location / {")  # as the guide says, by its side
    no_dots = "location ~ /\\. { deny all; }\n    location / {"  # a rule that many servers have
    (folder / "snippets").mkdir()
    (folder / "snippets" / "sparekey.conf").write_text(_placed(snippet, places))
    other = app.replace(":3000", f":{grafana}").replace("wiki.", "grafana.").replace("location / {", no_dots)
    apps = app.replace(":3000", f":{wiki}") + other
    return _nginx_with(folder, _placed(ours + apps, places))


def _caddy(folder: Path, port: int, site: int, wiki: int, grafana: int) -> list[str]:
    (stanza,) = blocks("Caddy")
    app = stanza[: stanza.index("accounts.example.org")]
    text = stanza.replace(":3000", f":{wiki}") + app.replace(":3000", f":{grafana}").replace("wiki.", "grafana.")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{site}")
    certificate = f"{{\n    tls {folder}/site.pem {folder}/site.key"
    text = re.sub(r"^([a-z.]+) \{", rf"\1 {certificate}", text, flags=re.MULTILINE)
    options = f"admin off\nauto_https disable_redirects\nhttps_port {port}\ndefault_bind 127.0.0.1\n"
    (folder / "Caddyfile").write_text(f"{{\n{options}}}\n{text}")
    return [required("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@dataclass
class Front:
    """A proxy that listens, and what is behind it."""

    which: str
    port: int
    wiki: Upstream
    grafana: Upstream
    folder: Path

    def window(self) -> "SecureWindow":
        return SecureWindow(self.port)


@contextmanager
def front(which: str, folder: Path, site_port: int, wiki_port: int = 0) -> Iterator[Front]:
    """The proxy on a free port of this machine, ended by its process id."""
    required(which)
    folder.mkdir()
    folder.chmod(0o755)  # nginx's workers may be another user's
    _certificate(folder)
    with socket.socket() as probe, upstream("Wiki") as wiki, upstream("Grafana") as grafana:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = {"nginx": _nginx, "caddy": _caddy}[which](
            folder, port, site_port, wiki_port or wiki.port, grafana.port
        )
        with running(command, folder, port):
            yield Front(which, port, wiki, grafana, folder)


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    with (folder / "output").open("ab") as log:
        server = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **homes}, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def balancer(folder: Path, *ports: int) -> Iterator[int]:
    """nginx in front of two machines, as the guide has it, on a free port of this machine, without TLS."""
    folder.mkdir()
    ours = next(block for block in blocks("Behind a proxy, with https") if block.startswith("server {"))
    group = next(block for block in blocks("PostgreSQL") if block.startswith("upstream "))
    for number, machine in enumerate(ports, 1):
        group = group.replace(f"10.0.0.{number}:8000", f"127.0.0.1:{machine}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plain = re.sub(r" *ssl_certificate.*\n", "", ours.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};"))
    # The tests' own browsers say from where they come, and whom a request is to kill.
    plain = plain.replace("$remote_addr", "$http_x_forwarded_for").replace("http://127.0.0.1:8000", "http://sparekey")
    with running(_nginx_with(folder, group + plain), folder, port):
        yield port


def _nginx_with(folder: Path, servers: str) -> list[str]:
    temporary = "\n".join(
        f"{what}_temp_path {folder}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; worker_processes 2;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{servers}}}\n"
    )
    return [required("nginx"), "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]


# A browser ------------------------------------------------------------------------------------------------------------


class _Connection(HTTPSConnection):
    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", int(self.port)), timeout=60)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


class SecureWindow(Browser):
    """A visitor's browser in front of the proxy. It goes where Locations say, and keeps the cookies of each host."""

    def __init__(self, port: int) -> None:
        self.port, self.cookies, self.answers = port, dict[str, dict[str, str]](), list[Answer]()

    def ask(self, url: str, method: str = "GET", data: Any = None, **headers: str) -> Answer:
        """One request, as it is answered; its cookies are not kept."""
        parts = urlsplit(url)
        body = urlencode(data, doseq=True) if data is not None else None
        sent = {"Host": parts.netloc, "Sec-Fetch-Mode": "navigate"}
        if jar := self.cookies.get(parts.netloc):
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = _Connection(parts.netloc, self.port)
        try:
            target = url.removeprefix(f"https://{parts.netloc}") or "/"
            connection.request(method, target, body, {**sent, **headers})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def open(self, path: str, method: str = "GET", data: Any = None, **kwargs: Any) -> Page:
        url = urljoin(f"https://{NAMES[0]}", path)
        answer = self.ask(url, method, data)
        self.keep(urlsplit(url).netloc, answer.headers)
        self.answers.append(answer)
        return read_page(answer, url)

    def keep(self, host: str, headers: HTTPMessage) -> None:
        jar = self.cookies.setdefault(host, {})
        for header in headers.get_all("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            jar[name] = value
            if not value:
                del jar[name]


# All of it -----------------------------------------------------------------------------------------------------------


class Gate:
    """A proxy, the site that it asks, and people of the site."""

    def __init__(self, app: Flask, site: Site, front: Front) -> None:
        self.app, self.site, self.front, self.clock = app, site, front, app.config["CLOCK"]
        self._count = 0

    def person(self, email: str = "", *, groups: str = "") -> Person:
        self._count += 1
        person = Person(email or f"omar-{self._count}@example.com", self.clock)
        acts.add_person(self.app, person.email, now=self.clock.now - 86400)
        person.secret = acts.enroll_person(self.app, person.email, now=self.clock.now - 86400)
        if groups:
            self.put_into(person, groups)
        return person

    def put_into(self, person: Person, *groups: str) -> None:
        said(run(self.app, "users", "groups", person.email, *(groups or ("--none",))))

    def inside(self, person: Person, url: str = f"{WIKI}/") -> SecureWindow:
        """A browser that has opened the page, asked to sign in on the way."""
        window = self.front.window()
        page = window.submit(window.get(url), email=person.email, password=PASSWORD)
        page = window.submit(page, code=person.code())
        self.clock.pass_by(30)
        assert (page.status, page.url) == (200, url)
        return window


@contextmanager
def guarded(which: str, migrated: Path, folder: Path, wiki_port: int = 0) -> Iterator[Gate]:
    """A site of its own behind the proxy, with the apps that are its upstreams here, or what listens at that port."""
    required(which)
    shutil.copy(migrated, folder / "site.db")
    given = {"DATABASE_URL": f"sqlite:///{folder}/site.db", "SECRET_KEY": KEY, "CLOCK": SharedClock(folder / "clock")}
    app = create_app({"TESTING": True, "PASSWORD_HASH_COST": CHEAP, **given, **APPS})
    with served(app, folder, workers=2, **APPS) as site, front(which, folder / "front", site.port, wiki_port) as it:
        yield Gate(app, site, it)
    app.extensions["store"].database.close_all()
    given["CLOCK"].close()
