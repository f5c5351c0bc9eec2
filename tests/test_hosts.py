"""Hosts and proxies: no page is served under another name, and nobody chooses the address that is counted."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from os import environ
from pathlib import Path

import pytest
from flask import Flask

from models import Event, Session
from tests.support.apps import KEY, ROOT
from tests.support.commands import run
from tests.support.forms import Site, bare
from tests.support.pages import Browser
from tests.support.people import Person, sign_in
from tests.support.tables import rows

STALE = "This page was open too long"
FOREIGN = ["evil.test", "localhost.evil.test", "evil.test:80", "169.254.169.254", "0.0.0.0", "localhost@evil.test"]  # noqa: S104
ODD = ["a..b", ".", ".localhost", "a" * 64]


@pytest.mark.parametrize(
    ("site_url", "own"), [("http://localhost", "127.0.0.1:5000"), ("https://app.test", "app.test")]
)
def test_no_page_answers_to_another_host(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], site_url: str, own: str
) -> None:
    """On each rule but the health check, which says nothing; so no link or cookie is made for it."""
    site = Site(make_app, make_person, SITE_URL=site_url, DEMO=False)
    hosts = (
        FOREIGN if own != "app.test" else [*FOREIGN, "localhost", "app.test:444", "www.app.test", "app.test.evil.test"]
    )
    urls = site.app.url_map.bind("localhost")
    values = {"filename": "app.css", "token": "x", "session_id": 1, "person_id": 1, "key_id": 1, "change": "unlock"}
    for rule in site.app.url_map.iter_rules():
        path = urls.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        method = "GET" if "GET" in (rule.methods or ()) else "POST"
        browser = Browser(site.app)
        for host in [*hosts, *ODD]:
            answer = bare(browser, path, method, headers={"Host": host})
            assert answer.status_code == (200 if path == "/healthz" and host not in ODD else 400), (path, host)
            assert "Set-Cookie" not in answer.headers
            assert "evil" not in answer.text + str(answer.headers)
        for host in (own, own.upper()):
            served = bare(browser, path, method, headers={"Host": host})
            assert served.status_code != 400 or STALE in served.text, path


@pytest.mark.parametrize("proxies", [0, 1])
@pytest.mark.parametrize(
    ("site_url", "own"),
    [
        ("http://localhost:5000", ["localhost:5000", "127.0.0.1:5000"]),
        ("http://localhost", ["localhost", "127.0.0.1"]),
        ("http://127.0.0.1:5000", ["127.0.0.1:5000"]),
        ("http://demo.localhost:5000", ["demo.localhost:5000"]),
    ],
)
def test_the_demo_answers_at_the_host_that_site_url_names_alone(
    make_app: Callable[..., Flask], site_url: str, own: list[str], proxies: int
) -> None:
    """Everybody knows its passwords, so that a proxy which leads here from outside must find nothing. Whoever types
    localhost's number comes in as well, and no form goes from one of the two to the other."""
    app = make_app("demo", DEMO=True, SITE_URL=site_url, TRUSTED_PROXIES=proxies)
    assert run(app, "demo", "seed").exit_code == 0
    name = "X-Forwarded-Host" if proxies else "Host"
    loopback = ["localhost", "127.0.0.1", "127.0.0.2", "[::1]", "demo.localhost", "127.0.0.1.localhost"]
    numbered = [f"{host}{port}" for host in loopback for port in ("", ":5000", ":8000")]
    for host in {*FOREIGN, *ODD, *numbered, "localhost.:5000", "x@127.0.0.1:5000"} - {*own}:
        for path in ("/login", "/demo/phone"):
            answer = bare(Browser(app, base_url=site_url), path, "GET", headers={name: host})
            assert answer.status_code == 400, host
    known = {"email": "ines@example.com", "password": "spare key under the mat"}
    for host in own:
        browser, headers = Browser(app, base_url=f"http://{host}"), {name: host}
        page = browser.open("/login", headers=headers)
        for other in {*numbered, "evil.test"} - {host}:
            foreign = {**headers, "Origin": f"http://{other}"}
            assert browser.send(page, known, headers=foreign).status == 400, other
        assert browser.send(page, known, headers={**headers, "Origin": f"http://{host}"}).status == 303


FORWARDED = {
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Prefix": "/evil.test",
    "X-Forwarded-Server": "evil.test",
    "X-Forwarded-For": "198.51.100.1",
    "X-Real-IP": "198.51.100.1",
    "X-Client-IP": "198.51.100.1",
    "Forwarded": "for=198.51.100.1;host=evil.test;proto=https",
    "X-Original-URL": "/admin/people",
    "X-Rewrite-URL": "/admin/people",
}


def test_without_a_proxy_forwarded_headers_mean_nothing(
    make_app: Callable[..., Flask], make_person: Callable[..., Person]
) -> None:
    """Neither for links, nor for cookies, nor for the address that is noted and throttled."""
    site = Site(make_app, make_person, DEMO=False)
    browser = Browser(site.app)
    browser.client.environ_base |= {f"HTTP_{name.upper().replace('-', '_')}": FORWARDED[name] for name in FORWARDED}
    answers = [browser.open("/account"), browser.open("/login")]
    assert answers[0].headers["Location"] == "/login?notice=needed&next=/account"
    assert "Secure" not in answers[1].headers["Set-Cookie"]
    sign_in(browser, site.omar)
    pages = [browser.get(path) for path in ("/account", "/mfa/setup", "/account/password")]
    assert "evil" not in "".join(page.raw + str(page.headers) for page in [*answers, *pages])
    assert {row["remote_addr"] for row in site.rows(Session)} == {"203.0.113.7"}
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    link = f"/admin/people/{site.id_of(site.omar)}/invite"
    data = {"csrf_token": admin.get("/account").forms[0].fields["csrf_token"]}
    admin.client.set_cookie("session", admin.cookie() or "", domain="127.0.0.1")
    page = admin.open(link, "POST", data=data, headers={**FORWARDED, "Host": "127.0.0.1:9999"})
    assert page.text_of("link").startswith("http://localhost:5000/welcome/"), "as SITE_URL says"


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_stranger_does_not_choose_the_address_that_is_counted(make_app: Callable[..., Flask], proxies: int) -> None:
    """Without a proxy the header is ignored; behind one, only what the proxy itself added counts."""
    app = make_app("proxied", TRUSTED_PROXIES=proxies, ADDRESS_LIMIT=3)

    def wrong(number: int, real: str) -> int:
        forged = f"198.51.100.{number}, 192.0.2.{number}"
        if proxies:
            address, headers = "10.0.0.1", {"X-Forwarded-For": f"{forged}, {real}"}
        else:
            address, headers = real, {"X-Forwarded-For": forged}
        browser = Browser(app, address)
        data = {"email": f"nobody{number}@example.com", "password": "a guess"}
        return browser.send(browser.open("/login", headers=headers), data, headers=headers).status

    assert [wrong(number, "203.0.113.7") for number in range(5)] == [422, 422, 422, 429, 429]
    assert wrong(6, "203.0.113.8") == 422
    assert {row["remote_addr"] for row in rows(app, Event)} == {"203.0.113.7", "203.0.113.8"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-Host": "app.test", "X-Forwarded-Proto": "https"}, 200),
        ({"X-Forwarded-Host": "evil.test"}, 400),
        ({"X-Forwarded-Host": "app.test, evil.test"}, 400),
        ({"X-Forwarded-Host": "evil.test, app.test"}, 200),
        ({"X-Forwarded-Prefix": "//evil.test"}, 200),
        ({"Host": "evil.test"}, 400),
    ],
)
def test_behind_a_proxy_only_the_host_it_names_counts(make_app: Callable[..., Flask], headers, status: int) -> None:
    """What the proxy names must be this site's all the same."""
    app = make_app("proxied", TRUSTED_PROXIES=1, SITE_URL="https://app.test")
    browser = Browser(app, base_url="https://app.test")
    page = browser.open("/login", headers=headers)
    assert page.status == status
    assert "evil" not in page.raw + str(page.headers)
    assert browser.open("/account").headers["Location"].startswith("/login?")


# A real server, for what no test client can send ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of gunicorn, as `make run` starts it, on a database without people."""
    database = tmp_path_factory.mktemp("server") / "server.db"
    env = {"PATH": environ["PATH"], "FLASK_SECRET_KEY": KEY, "FLASK_DATABASE_URL": f"sqlite:///{database}"}
    bin_ = Path(sys.executable).parent
    subprocess.run(
        [bin_ / "flask", "--app", "app", "db", "upgrade"], cwd=ROOT, env=env, check=True, capture_output=True
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [bin_ / "gunicorn", "--threads", "2", "--bind", f"fd://{listener.fileno()}", "app:create_app()"]
        running = subprocess.Popen(
            [*command, "--no-control-socket", "--forwarder-headers", ""],
            cwd=ROOT,
            env=env,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(20)


def say(port: int, request: str, body: bytes = b"") -> tuple[int, str]:
    """Send these very bytes; the status and all of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
    return int(answer.split(" ", 2)[1]), answer


OWN = "Host: localhost\nConnection: close"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (f"GET /login HTTP/1.1\n{OWN}", {200}),
        (f"GET /login HTTP/1.1\nHost: evil.test\n{OWN}", {400}),
        (f"GET /login HTTP/1.1\n{OWN}\nHost: evil.test", {400}),
        (f"GET http://evil.test/login HTTP/1.1\n{OWN}", {200, 400}),
        ("GET http://evil.test/login HTTP/1.1\nHost: evil.test\nConnection: close", {400}),
        (f"GET //evil.test/login HTTP/1.1\n{OWN}", {404}),
        (f"GET //evil.test/..%2f..%2faccount HTTP/1.1\n{OWN}", {404}),
        ("GET /login HTTP/1.1\nConnection: close", {200, 400}),
        ("GET /login HTTP/1.0\nHost:", {400}),
        (f"GET /account HTTP/1.1\n{OWN}\nX_Forwarded_Host: evil.test\nX-Forwarded-Host: evil.test", {303}),
        (f"GET /account HTTP/1.1\n{OWN}\nSCRIPT_NAME: /evil.test\nPATH_INFO: /evil.test", {303}),
        (f"TRACE /login HTTP/1.1\n{OWN}\nCookie: session=evil.test", {405, 501}),
        (f"GET /login HTTP/1.1\n{OWN}\nX-Odd: a\x00evil.test", {400}),
        (f"GET /login HTTP/1.1\n{OWN}\nCookie: {'evil.test' * 2000}", {400, 431}),
    ],
)
def test_no_request_line_or_doubled_host_makes_the_server_speak_for_another(
    server: int, request_: str, statuses
) -> None:
    """On a real server; it names neither itself in a version nor what was forged."""
    status, answer = say(server, request_)
    assert status in statuses
    assert "evil" not in answer
    assert not re.search(r"(?i)^server:.*\d", answer, re.MULTILINE)
    assert not re.search(r"(?i)python|werkzeug|traceback", answer)
