"""The stanzas of docs/operations.md, copied into real proxies: nginx and Caddy, with a served site and two apps behind
them on three host names."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import launched, needs_chromium, press
from tests.support.gates import ACCOUNTS, ASKED, GRAFANA, WIKI
from tests.support.people import PASSWORD
from tests.support.proxies import Gate, front, guarded

PROXIES = ["nginx", pytest.param("caddy", marks=pytest.mark.sweep)]


@pytest.fixture(scope="module", params=PROXIES)
def gate(request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with guarded(request.param, migrated, tmp_path_factory.mktemp(request.param)) as gate:
        yield gate


def test_somebody_signs_in_on_the_way_and_enters_the_next_site_without(gate: Gate) -> None:
    omar = gate.person()
    window = gate.inside(omar, f"{WIKI}/pages/1?a=b%20c&d=%2Fe")
    assert gate.front.wiki.arrived[-1][:2] == ("GET", "/pages/1?a=b%20c&d=%2Fe")
    named = {"remote-user": [omar.email], "remote-email": [omar.email], "remote-groups": ["people"]}
    assert gate.front.wiki.told() == named
    assert window.get(f"{GRAFANA}/").h1 == "You can't open this page"
    assert gate.front.grafana.arrived == []
    gate.put_into(omar, "ops")
    assert window.get(f"{GRAFANA}/d/1").h1 == "Grafana"
    assert gate.front.grafana.told() == {**named, "remote-groups": ["people,ops"]}


SPOOFED = [
    {"Remote-User": "ines@example.com", "Remote-Email": "ines@example.com", "Remote-Groups": "admins"},
    {"Remote_User": "ines@example.com", "REMOTE_EMAIL": "ines@example.com", "remote_groups": "admins"},
    {"Remote_user": "ines@example.com", "remote-Groups": "admins", "Remote-USER": "ines@example.com"},
    {"Connection": "Remote-User, Remote-Email, Remote-Groups", "Remote_User": "ines@example.com"},
]


def test_a_name_that_the_client_sends_never_arrives(gate: Gate) -> None:
    """In whatever spelling; at worst the app is told none."""
    omar = gate.person()
    window = gate.inside(omar)
    right = {"remote-user": [omar.email], "remote-email": [omar.email], "remote-groups": ["people"]}
    for spoofed in SPOOFED:
        before = len(gate.front.wiki.arrived)
        assert window.ask(f"{WIKI}/", **spoofed).status_code == 200
        assert len(gate.front.wiki.arrived) == before + 1
        told = {name: values for name, values in gate.front.wiki.told().items() if values != [""]}
        assert told == right or (told == {} and "Connection" in spoofed)


def test_without_a_pass_nothing_arrives(gate: Gate) -> None:
    """By whatever method, path or kind of request, with a name of one's own, or with another host's pass."""
    omar, stranger = gate.person(), gate.front.window()
    passed = gate.inside(omar).cookies["wiki.example.org"]
    gate.front.wiki.arrived.clear()
    gate.front.grafana.arrived.clear()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        body = {"a": "b"} if method in ("POST", "PUT") else None
        assert stranger.ask(f"{WIKI}/a", method, body).status_code == 303, "to the sign-in"
        for spoofed in ({}, *SPOOFED):
            headers = {**spoofed, "Sec-Fetch-Mode": "cors"}
            assert stranger.ask(f"{WIKI}/a", method, body, **headers).status_code == 401
    paths = [
        "//",
        "/.sparekey",
        "/.sparekey/../a",
        "/.sparekey/%2e%2e/a",
        "/%2esparekey/check",
        "/.sparekey/check",
        "/a%00",
    ]
    paths += ["/.sparekey/..;/a", "/.sparekey//a", "/.SPAREKEY/check", "/x/.sparekey/check", "/.sparekey/check/../../a"]
    for path in paths:
        assert stranger.ask(f"{WIKI}{path}", **{"Sec-Fetch-Mode": "cors"}).status_code in (301, 400, 401, 404), path
    stranger.cookies["grafana.example.org"] = passed
    assert stranger.ask(f"{GRAFANA}/", **{"Sec-Fetch-Mode": "cors"}).status_code == 401
    assert gate.front.wiki.arrived == gate.front.grafana.arrived == []
    stranger.cookies["wiki.example.org"] = passed
    assert stranger.ask(f"{WIKI}/a").status_code == 200
    assert len(gate.front.wiki.arrived) == 1


def say(gate: Gate, name: str, request: str) -> str:
    """Send these very bytes to that server; the status line."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", gate.front.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            return connection.recv(65536).partition(b"\r\n")[0].decode()


def test_no_two_names_of_a_host_in_one_request_open_the_other_site(gate: Gate) -> None:
    """A proxy that asks for the one and goes to the other would let everybody in who may enter the first."""
    omar = gate.person()
    window = gate.inside(omar)
    cookie = f"Cookie: __Host-pass={window.cookies['wiki.example.org']['__Host-pass']}\nConnection: close"
    gate.front.grafana.arrived.clear()
    wiki, grafana = "wiki.example.org", "grafana.example.org"
    for sni in (wiki, grafana):
        say(gate, sni, f"GET https://{grafana}/ HTTP/1.1\nHost: {wiki}\n{cookie}")
        say(gate, sni, f"GET https://{wiki}/ HTTP/1.1\nHost: {grafana}\n{cookie}")
        say(gate, sni, f"GET / HTTP/1.1\nHost: {grafana}\nX-Forwarded-Host: {wiki}\n{cookie}")
        say(gate, sni, f"GET / HTTP/1.1\nHost: {grafana}\nHost: {wiki}\n{cookie}")
        say(gate, sni, f"GET / HTTP/1.1\nHost: {grafana}\nX_Forwarded_Host: {wiki}\nForwarded: host={wiki}\n{cookie}")
        say(gate, sni, f"GET / HTTP/1.1\nHost: {grafana}\nX-Forwarded-Uri: /.sparekey/check\n{cookie}")
        hop = cookie.replace("close", "close, X-Forwarded-Host")
        say(gate, sni, f"GET / HTTP/1.1\nHost: {grafana}\nX-Forwarded-Host: {wiki}\n{hop}")
    assert gate.front.grafana.arrived == []
    assert say(gate, wiki, f"GET / HTTP/1.1\nHost: {wiki}\n{cookie}") == "HTTP/1.1 200 OK"


def test_a_websocket_handshake_passes_with_a_pass_alone(gate: Gate) -> None:
    omar = gate.person()
    window, stranger = gate.inside(omar), gate.front.window()
    gate.front.wiki.arrived.clear()
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Fetch-Mode": "websocket"}
    handshake |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert stranger.ask(f"{WIKI}/live", **handshake).status_code == 401
    assert gate.front.wiki.arrived == []
    assert window.ask(f"{WIKI}/live", **handshake).status_code == 200
    assert gate.front.wiki.told()["remote-user"] == [omar.email]


def test_a_form_sent_after_the_pass_has_died_leads_back_to_the_start_of_the_app(gate: Gate) -> None:
    omar = gate.person()
    window = gate.inside(omar)
    window.press(window.get(f"{ACCOUNTS}/account"), "Sign out")
    gate.front.wiki.arrived.clear()
    page = window.follow(window.open(f"{WIKI}/pages/1", "POST", {"text": "lost"}))
    assert page.h1 == "Sign in"
    page = window.submit(page, email=omar.email, password=PASSWORD)
    assert window.submit(page, code=omar.code()).url == f"{WIKI}/"
    gate.clock.pass_by(30)
    assert [each[:2] for each in gate.front.wiki.arrived] == [("GET", "/")]


def test_signing_out_closes_every_site_at_the_next_request(gate: Gate) -> None:
    omar = gate.person(groups="ops")
    window = gate.inside(omar)
    assert window.get(f"{GRAFANA}/").h1 == "Grafana"
    kept = {host: dict(jar) for host, jar in window.cookies.items()}
    window.press(window.get(f"{ACCOUNTS}/account"), "Sign out")
    window.cookies = kept  # a copy
    gate.front.wiki.arrived.clear()
    gate.front.grafana.arrived.clear()
    for host in (WIKI, GRAFANA):
        assert window.ask(f"{host}/", **{"Sec-Fetch-Mode": "cors"}).status_code == 401
        assert window.get(f"{host}/").h1 == "Sign in"
    assert gate.front.wiki.arrived == gate.front.grafana.arrived == []


def test_a_lost_group_is_closed_at_the_next_request(gate: Gate) -> None:
    omar = gate.person(groups="ops")
    window = gate.inside(omar, f"{GRAFANA}/")
    gate.put_into(omar)
    gate.front.grafana.arrived.clear()
    assert window.ask(f"{GRAFANA}/").status_code == 403
    assert gate.front.grafana.arrived == []


def test_an_address_in_any_script_arrives_whole(gate: Gate) -> None:
    zoe = gate.person("zo\u00eb+\u65e5\u672c@example.com")
    gate.inside(zoe)
    assert gate.front.wiki.told()["remote-user"] == [zoe.email]
    assert gate.front.wiki.told()["remote-email"] == [zoe.email]


@pytest.mark.sweep
def test_the_longest_path_lives_through_a_sign_in(gate: Gate) -> None:
    gate.inside(gate.person(), f"{WIKI}/" + "%D0%B2" * 249 + "/a")
    gate.inside(gate.person(), f"{WIKI}/?" + "x" * 1498)


def test_what_is_served_on_the_host_of_an_app_promises_nothing_for_it(gate: Gate) -> None:
    window = gate.front.window()
    for url in (f"{WIKI}/", f"{WIKI}{ASKED}enter", f"{WIKI}{ASKED}nothing"):
        answer = window.ask(url)
        assert answer.status_code in (303, 400, 404)
        assert not {"strict-transport-security", "content-security-policy"} & {name.lower() for name in answer.headers}
    assert "Strict-Transport-Security" in window.ask(f"{ACCOUNTS}/login").headers


@pytest.mark.sweep
def test_two_tabs_opened_at_once_both_arrive(gate: Gate) -> None:
    omar = gate.person()
    window = gate.front.window()
    page = window.submit("/login", email=omar.email, password=PASSWORD)
    window.submit(page, code=omar.code())
    gate.clock.pass_by(30)
    tabs = [window.open(f"{WIKI}/{number}") for number in range(3)]
    assert {tab.status for tab in tabs} == {303}
    assert [window.follow(tab).url for tab in tabs] == [f"{WIKI}/{number}" for number in range(3)]


def test_a_browser_that_keeps_no_cookies_comes_to_an_end(gate: Gate) -> None:
    """Signed in on our host, it is told at the app's."""
    omar = gate.person()
    window = gate.inside(omar)
    del window.cookies["wiki.example.org"]
    page = window.open(f"{WIKI}/")
    del window.cookies["wiki.example.org"]
    page = window.follow(page)
    assert (page.status, page.url.partition("?")[0]) == (400, f"{WIKI}{ASKED}enter")
    assert "if it keeps cookies" in page.text


@pytest.mark.parametrize("which", PROXIES)
def test_while_we_are_away_nothing_arrives(which: str, tmp_path: Path, port: int) -> None:
    with front(which, tmp_path / "front", port) as it:
        window = it.window()
        window.cookies["wiki.example.org"] = {"__Host-pass": "1.1." + "0" * 64}
        for headers in ({}, {"Sec-Fetch-Mode": "cors"}):
            assert window.ask(f"{WIKI}/", **headers).status_code in (500, 502, 503)
        assert it.wiki.arrived == []


def test_the_api_of_an_app_stays_open_as_the_guide_says_and_is_told_no_name(gate: Gate) -> None:
    if gate.front.which != "nginx":
        return
    answer = gate.front.window().ask(f"{WIKI}/api/1", **{"Sec-Fetch-Mode": "cors", **SPOOFED[0]})
    assert answer.status_code == 200
    assert gate.front.wiki.told() == {}


def test_a_rule_of_the_server_that_hides_files_with_a_dot_does_not_hide_the_sign_in(gate: Gate) -> None:
    if gate.front.which != "nginx":
        return
    window = gate.inside(gate.person(groups="ops"), f"{GRAFANA}/d/1")
    assert window.ask(f"{GRAFANA}/.git/config").status_code == 403


def test_no_way_to_an_app_lets_a_client_say_from_where_it_comes(gate: Gate) -> None:
    """An app that counts failures by address would count them for whom the client names."""
    window = gate.inside(gate.person())
    for path in ("/", "/api/1") if gate.front.which == "nginx" else ("/",):
        claimed = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test"}
        assert window.ask(f"{WIKI}{path}", **claimed).status_code == 200
        arrived = {name.lower(): value for name, value in gate.front.wiki.arrived[-1][2]}
        said = [arrived[name.lower()] for name in claimed]
        assert said[:2] == ["127.0.0.1", "https"], path
        assert said[2].startswith("wiki.example.org"), path


@pytest.fixture
def tab(gate: Gate) -> Iterator[Any]:
    """Of a real browser, for which the names lead to the proxy."""
    with launched(f"--host-resolver-rules=MAP *.example.org 127.0.0.1:{gate.front.port}") as chromium:
        context = chromium.new_context(ignore_https_errors=True)
        page = context.new_page()
        said_by_it = list[str]()
        page.on("console", lambda message: said_by_it.append(message.text))
        yield page
        assert [text for text in said_by_it if "Content Security" in text] == []


@needs_chromium
def test_a_real_browser_goes_from_the_app_through_the_sign_in_and_back(gate: Gate, tab: Any) -> None:
    """Through forms whose answers lead on to the hosts of apps, which it holds to form-action; by a link and by a form
    of the app; and out again."""
    omar = gate.person(groups="ops")
    tab.goto(f"{WIKI}/pages/1?a=b#part")
    tab.get_by_label("Email address").fill(omar.email)
    tab.get_by_label("Password", exact=True).fill(PASSWORD)
    press(tab, "Sign in")
    tab.get_by_label("Six-digit code").fill(omar.code())
    press(tab, "Sign in")
    gate.clock.pass_by(30)
    tab.wait_for_url(f"{WIKI}/pages/1?a=b**")
    assert tab.get_by_role("heading").inner_text() == "Wiki"
    assert gate.front.wiki.told()["remote-user"] == [omar.email]
    gate.front.wiki.arrived.clear()
    with tab.expect_navigation():
        tab.get_by_role("button", name="Send").click()
    assert "POST" in [method for method, _, _ in gate.front.wiki.arrived]
    tab.goto(f"{ACCOUNTS}/account")
    tab.get_by_role("link", name="grafana.example.org").click()
    tab.wait_for_url(f"{GRAFANA}/")
    cookies = {(each["domain"], each["name"]): each for each in tab.context.cookies()}
    mine = {where: each for where, each in cookies.items() if where[1].startswith("__Host-")}
    assert {where for where in mine if where[1] == "__Host-pass"} == {
        ("wiki.example.org", "__Host-pass"),
        ("grafana.example.org", "__Host-pass"),
    }
    assert not [where for where in mine if "start" in where[1]], "used up"
    assert {(each["secure"], each["httpOnly"], each["sameSite"]) for each in mine.values()} == {(True, True, "Lax")}
    tab.goto(f"{ACCOUNTS}/account")
    tab.get_by_role("button", name="Sign out", exact=True).first.click()
    tab.wait_for_url(f"{ACCOUNTS}/login**")
    for host in (WIKI, GRAFANA):
        tab.goto(f"{host}/")
        assert tab.get_by_role("heading").inner_text() == "Sign in"


@pytest.mark.sweep
@needs_chromium
def test_a_real_browser_whose_pass_died_sends_a_form_and_comes_to_the_sign_in(gate: Gate, tab: Any) -> None:
    omar = gate.person()
    window = gate.inside(omar)
    for name, value in window.cookies["wiki.example.org"].items():
        tab.context.add_cookies([{"name": name, "value": value, "url": WIKI, "secure": True}])
    tab.goto(f"{WIKI}/pages/1")
    window.press(window.get(f"{ACCOUNTS}/account"), "Sign out")
    tab.get_by_role("button", name="Send").click()
    tab.wait_for_url(f"{ACCOUNTS}/login**")
    tab.get_by_label("Email address").fill(omar.email)
    tab.get_by_label("Password", exact=True).fill(PASSWORD)
    press(tab, "Sign in")
    tab.get_by_label("Six-digit code").fill(omar.code())
    press(tab, "Sign in")
    gate.clock.pass_by(30)
    tab.wait_for_url(f"{WIKI}/")
