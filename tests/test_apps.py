"""Other sites behind the same sign-in: who may enter one, until when, and that nothing else lets anybody in."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from flask import Flask

from authn import apps as rules
from authn.events import EventKind
from database import store
from models import Event, Session, User
from tests.support import acts
from tests.support.apps import KEY, ROOT, on_sqlite
from tests.support.commands import run, said
from tests.support.gates import ACCOUNTS, APPS, ASKED, GRAFANA, NAVIGATION, SCRIPT, WIKI, Window
from tests.support.pages import Browser, Page
from tests.support.people import NEW_PASSWORD, PASSWORD, Person, save_new_code, sign_in, step_up, use_recovery_code
from tests.support.tables import everything, kinds, rows, statements

HOST = "wiki.example.org"
NAMES = ("Remote-User", "Remote-Email", "Remote-Groups")


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(RECOVERY_CODES_ENABLED=True, **APPS)


@pytest.fixture
def window(app: Flask) -> Window:
    return Window(app)


def put_into(app: Flask, person: Person, *groups: str) -> None:
    said(run(app, "users", "groups", person.email, *(groups or ("--none",))))


def enter(window: Window, person: Person, url: str = f"{WIKI}/") -> Page:
    """From a browser that has nothing to the site."""
    page = window.submit(window.get(url), email=person.email, password=person.password)
    page = window.submit(page, code=person.code())
    person.clock.pass_by(30)
    assert (page.status, page.url) == (200, url)
    return page


def given(page: Page) -> list[str | None]:
    """What the app is told."""
    return [page.headers.get(name) for name in NAMES]


def raw(app: Flask, url: str, cookies: str = "", **headers: str) -> Any:
    """One request with these very bytes as its cookies."""
    client, parts = app.test_client(use_cookies=False), urlsplit(url)
    environ = {"REMOTE_ADDR": "203.0.113.7", "HTTP_COOKIE": cookies}
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return client.open(
        target, base_url=f"https://{parts.netloc}", environ_overrides=environ, headers={**NAVIGATION, **headers}
    )


def check(app: Flask, cookies: str, host: str = WIKI, **headers: str) -> int:
    return int(raw(app, f"{host}{ASKED}check", cookies, **headers).status_code)


# The way in -----------------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_somebody_who_opens_a_site_signs_in_and_arrives_at_the_page(app: Flask, window: Window, omar: Person) -> None:
    page = enter(window, omar, f"{WIKI}/pages/1?a=b%20c&d=%2Fe")
    assert given(page) == [omar.email, omar.email, "people"]
    assert page.raw == ""
    assert window.open(f"{WIKI}/pages/2").status == 200
    assert window.ask(WIKI).status == 200
    opened = [row for row in rows(app, Event) if row["kind"] == EventKind.APP_OPENED]
    assert [(row["detail"], row["remote_addr"]) for row in opened] == [(HOST, "203.0.113.7")]


def test_somebody_who_is_signed_in_goes_straight_through(app: Flask, window: Window, omar: Person) -> None:
    """Each site has a pass of its own, and each is noted."""
    put_into(app, omar, "ops")
    sign_in(window, omar)
    assert window.get(f"{WIKI}/a").status == 200
    assert window.on(GRAFANA) is None
    page = window.get(f"{GRAFANA}/b")
    assert given(page) == [omar.email, omar.email, "people,ops"]
    assert kinds(app).count(EventKind.APP_OPENED) == 2


def test_the_address_arrives_whole_in_utf_8_and_no_header_is_ever_empty(
    app: Flask, window: Window, make_person: Callable[..., Person]
) -> None:
    """Proxies let the client's own header through in place of an empty one."""
    person = make_person("zoë+wiki,\u65e5\u672c@example.com")
    page = enter(window, person)
    sent = [(page.headers[name]).encode("latin-1").decode() for name in NAMES]
    assert sent == [person.email, person.email, "people"]
    assert [len(page.headers.getlist(name)) for name in NAMES] == [1, 1, 1]


def test_an_admin_is_in_the_group_admins_as_long_as_that_is_so(
    app: Flask, window: Window, ada: Person, ines: Person
) -> None:
    put_into(app, ada, "wiki", "ops")
    enter(window, ada)
    assert given(window.ask(WIKI))[2] == "people,admins,ops,wiki"
    assert acts.remove_admin(app, ada.email)
    assert given(window.ask(WIKI))[2] == "people,ops,wiki"


COOKIE = {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


def test_cookies_are_their_hosts_own_and_a_start_is_used_up(app: Flask, window: Window, omar: Person) -> None:
    """No Domain: no app sees what another's browser holds."""
    sign_in(window, omar)
    begun = window.open(f"{WIKI}/")
    (start,) = begun.headers.getlist("Set-Cookie")
    name, _, value = start.partition(";")[0].partition("=")
    assert {part for part in start.split("; ")[1:] if "Expires" not in part} == {*COOKIE, "Max-Age=600"}
    assert re.fullmatch("__Host-start-[0-9a-f]{16}", name)
    assert len(value) == 43
    entered = window.open(window.open(begun.headers["Location"]).headers["Location"])
    gone, passed = (set(cookie.split("; ")) for cookie in entered.headers.getlist("Set-Cookie"))
    assert {f"{name}=", "Max-Age=0", *COOKIE} < gone
    assert passed - {f"__Host-pass={window.on(WIKI)}"} == COOKIE
    assert value not in begun.headers["Location"]


def test_the_start_names_the_app_the_digest_and_the_path(app: Flask, window: Window) -> None:
    location = urlsplit(window.open(f"{WIKI}/a?b=c").headers["Location"])
    assert (location.scheme, location.netloc, location.path) == ("https", "accounts.example.org", "/pass")
    said_ = {name: values[0] for name, values in parse_qs(location.query).items()}
    assert said_ == {"app": HOST, "nonce": said_["nonce"], "path": "/a?b=c"}
    assert re.fullmatch("[0-9a-f]{64}", said_["nonce"])


def test_five_tabs_opened_at_once_all_arrive_and_of_six_the_last_five(window: Window, omar: Person) -> None:
    sign_in(window, omar)
    begun = [window.open(f"{WIKI}/{number}") for number in range(6)]
    back = [window.open(page.headers["Location"]).headers["Location"] for page in begun]
    assert [window.open(url).status for url in back] == [400, 303, 303, 303, 303, 303]


# Asking ---------------------------------------------------------------------------------------------------------------


def test_whoever_has_no_pass_is_told_nothing(app: Flask, window: Window, omar: Person) -> None:
    for what in ("check", "forward"):
        answer = window.ask(WIKI, what, headers=SCRIPT)
        assert (answer.status, answer.raw, given(answer)) == (401, "", [None, None, None])
        assert "Location" not in answer.headers
    assert window.ask(WIKI).status == 401, "also to a navigation: the proxy asks for `start` then"
    enter(window, omar)
    assert [window.ask(WIKI, what, headers=SCRIPT).status for what in ("check", "forward")] == [200, 200]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Mode": "navigate"}, 303),
        ({"Sec-Fetch-Mode": "navigate", "Accept": "*/*"}, 303),
        ({"Sec-Fetch-Mode": "", "Accept": "text/html,*/*;q=0.8"}, 303),
        ({"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, 401),
        ({"Sec-Fetch-Mode": "no-cors", "Accept": "text/html"}, 401),
        ({"Sec-Fetch-Mode": "websocket", "Accept": "text/html"}, 401),
        ({"Sec-Fetch-Mode": "", "Accept": "*/*"}, 401),
        ({"Sec-Fetch-Mode": ""}, 401),
    ],
)
def test_only_a_navigation_is_led_to_the_sign_in(window: Window, headers: dict[str, str], status: int) -> None:
    """A script cannot follow there. A browser too old to say what it does is believed when it wants a page."""
    for what in ("start", "forward"):
        answer = window.ask(WIKI, what, headers=headers)
        assert (answer.status, answer.raw) == (status, "")
        assert ("Set-Cookie" in answer.headers) is (status == 303)


def test_a_websocket_handshake_is_answered_like_anything_else(window: Window, omar: Person) -> None:
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Fetch-Mode": "websocket"}
    addresses = ("check", "forward", "start")
    assert [window.ask(WIKI, what, headers=handshake).status for what in addresses] == [401, 401, 401]
    enter(window, omar)
    assert [window.ask(WIKI, what, headers=handshake).status for what in addresses] == [200, 200, 401]


def test_no_other_method_and_no_other_address_lets_anybody_pass(window: Window, omar: Person) -> None:
    enter(window, omar)
    methods = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "GET")
    whats = ("check", "forward", "start", "enter", "", "x", "check/", "check//", "./check", "CHECK", "check%00")
    for method, what in product(methods, whats):
        answer = window.ask(WIKI, what, method=method)
        asked_rightly = method == "GET" and what in ("check", "forward")
        assert (answer.status == 200) is asked_rightly, (method, what)
        assert answer.status < 500
        assert (answer.headers.get("Remote-User") is not None) is asked_rightly


@pytest.mark.databases
def test_asking_takes_one_statement_and_writes_at_most_once_a_minute(
    app: Flask, window: Window, omar: Person, caplog: pytest.LogCaptureFixture
) -> None:
    enter(window, omar)

    def asked(**kwargs: Any) -> list[str]:
        def ask() -> None:
            assert window.ask(WIKI, **kwargs).status == 200

        return [statement.split()[0] for statement in statements(caplog, ask)]

    assert asked() == asked(headers=SCRIPT) == ["SELECT"]
    omar.clock.pass_by(60)
    assert asked() == ["SELECT", "UPDATE"]
    assert asked() == ["SELECT"]


def test_a_page_that_asks_by_itself_does_not_keep_a_session_alive(app: Flask, window: Window, omar: Person) -> None:
    """Somebody who opens pages of the app does."""
    enter(window, omar)
    for headers, statuses in ((NAVIGATION, [200] * 4), (SCRIPT, [200, 200, 401, 401])):
        found = []
        for _ in range(4):
            omar.clock.pass_by(app.config["SESSION_IDLE_SECONDS"] // 3 + 1)
            found.append(window.ask(WIKI, headers=headers).status)
        assert found == statuses


# What ends a pass -----------------------------------------------------------------------------------------------------


def sign_out(app: Flask, window: Window, omar: Person) -> None:
    window.press(window.get("/account"), "Sign out")


def revoke(app: Flask, window: Window, omar: Person) -> None:
    other = Window(app)
    sign_in(other, omar)
    other.press(other.get("/account"), "Sign out everywhere else")


def change_password(app: Flask, window: Window, omar: Person) -> None:
    other = Window(app)
    sign_in(other, omar)
    other.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)


ENDS: dict[str, Callable[[Flask, Window, Person], Any]] = {
    "signing out": sign_out,
    "signing out everywhere else": revoke,
    "a new password in another browser": change_password,
    "a reset": lambda app, window, omar: acts.reset(app, omar.email),
    "deactivation": lambda app, window, omar: acts.deactivate(app, omar.email),
    "an hour away": lambda app, window, omar: omar.clock.pass_by(3601),
    "the person's end": lambda app, window, omar: acts.remove_person(app, omar.email),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_site_closes_at_the_next_request_after(app: Flask, window: Window, omar: Person, end: str) -> None:
    put_into(app, omar, "ops")
    enter(window, omar)
    assert window.get(f"{GRAFANA}/").status == 200
    ENDS[end](app, window, omar)
    for host in (WIKI, GRAFANA):
        assert [window.ask(host, what, headers=SCRIPT).status for what in ("check", "forward")] == [401, 401]
        assert window.get(f"{host}/").h1 == "Sign in"


def test_a_day_ends_it_however_busy_somebody_is(window: Window, omar: Person) -> None:
    enter(window, omar)
    found = []
    for _ in range(25):
        omar.clock.pass_by(3600 - 60)
        found.append(window.ask(WIKI).status)
    assert found == [200] * 24 + [401]


def test_a_new_password_keeps_the_passes_of_the_browser_that_chose_it(app: Flask, window: Window, omar: Person) -> None:
    enter(window, omar)
    step_up(window, omar.code())
    window.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert window.ask(WIKI).status == 200


def test_a_lost_group_closes_its_sites_alone(app: Flask, window: Window, omar: Person) -> None:
    put_into(app, omar, "ops")
    enter(window, omar)
    assert window.get(f"{GRAFANA}/").status == 200
    put_into(app, omar)
    for what in ("check", "forward"):
        answer = window.ask(GRAFANA, what)
        assert (answer.status, given(answer)) == (403, [None, None, None])
        assert answer.raw == "You're signed in as omar@example.com, who is not in the group ops.\n"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert window.ask(WIKI).status == 200
    put_into(app, omar, "ops", "x")
    assert window.ask(GRAFANA).status == 200


def test_who_is_not_in_the_group_gets_no_ticket(app: Flask, window: Window, omar: Person) -> None:
    sign_in(window, omar)
    page = window.get(f"{GRAFANA}/")
    assert (page.status, page.h1) == (403, "You can't open this page")
    assert "You're signed in as omar@example.com, who may not open it." in page.text
    put_into(app, omar, "ops")
    assert window.get(f"{GRAFANA}/").status == 200


def test_a_group_lost_on_the_way_opens_nothing(app: Flask, window: Window, omar: Person) -> None:
    put_into(app, omar, "ops")
    sign_in(window, omar)
    back = [window.open(window.open(f"{GRAFANA}/").headers["Location"]).headers["Location"] for _ in range(2)]
    put_into(app, omar)
    assert window.open(back[0]).status == 400
    put_into(app, omar, "ops")
    assert window.open(back[0]).status == 303


@pytest.mark.databases
def test_half_a_sign_in_opens_nothing(app: Flask, window: Window, omar: Person) -> None:
    """Neither on the way nor with a pass for its session made by somebody who has the key."""
    page = window.get(f"{WIKI}/")
    page = window.submit(page, email=omar.email, password=omar.password)
    assert page.h1 == "Enter your code"
    assert window.get(f"{WIKI}/").h1 == "Enter your code"
    window.keep(WIKI, "__Host-pass", pass_for(app, rows(app, Session)[0]))
    assert window.ask(WIKI).status == 401
    assert window.get(f"{WIKI}/").h1 == "Enter your code"
    window.submit("/login/code", code=omar.code())
    assert window.ask(WIKI).status == 200


def test_a_recovery_that_is_not_finished_opens_nothing(app: Flask, window: Window, omar: Person) -> None:
    page = save_new_code(window, use_recovery_code(window, omar), omar)
    assert page.path == "/mfa/lost-device"
    (session,) = rows(app, Session)
    assert session["second_factor"] == "recovery"
    window.keep(WIKI, "__Host-pass", pass_for(app, session))
    assert window.ask(WIKI).status == 401
    assert window.submit(page, still_have="yes").h1 == "Security"
    assert window.ask(WIKI).status == 200


def test_what_nothing_here_leaves_behind_opens_nothing(app: Flask, window: Window, omar: Person) -> None:
    """A session that is signed in without a second factor, or of somebody who is not active."""
    enter(window, omar)
    changes = [Session.update(second_factor=None), User.update(is_active=False)]
    mended = [Session.update(second_factor="totp"), User.update(is_active=True)]
    for change, mend in zip(changes, mended, strict=True):
        for statement, status in ((change, 401), (mend, 200)):
            with app.app_context():
                statement.execute()
            assert window.ask(WIKI).status == status


# Passes ---------------------------------------------------------------------------------------------------------------


def pass_for(app: Flask, session: dict[str, Any], host: str = HOST) -> str:
    with app.app_context():
        return rules.make_pass(store().keyring, host, (session["id"], session["created_at"]))


def test_a_pass_works_on_no_other_host(app: Flask, window: Window, omar: Person) -> None:
    put_into(app, omar, "ops")
    enter(window, omar)
    theirs = f"__Host-pass={window.on(WIKI)}"
    assert check(app, theirs, WIKI) == 200
    assert check(app, theirs, GRAFANA) == 401
    assert raw(app, f"{ACCOUNTS}/account", theirs).status_code == 303
    assert raw(app, f"{ACCOUNTS}/account", f"__Host-session={window.on(WIKI)}").status_code == 303


def test_the_cookie_of_our_own_host_opens_no_site(app: Flask, window: Window, omar: Person) -> None:
    enter(window, omar)
    own = window.on(ACCOUNTS, "__Host-session")
    assert own
    assert check(app, f"__Host-session={own}") == 401
    assert check(app, f"__Host-pass={own}") == 401
    assert raw(app, f"{ACCOUNTS}/account", f"__Host-session={own}").status_code == 200


def test_no_two_passes_count_and_nobody_is_sent_in_circles(app: Flask, window: Window, omar: Person) -> None:
    """Another site of the domain may have planted one, for a part of the host where only some requests carry it."""
    enter(window, omar)
    good, other = f"__Host-pass={window.on(WIKI)}", Window(app)
    enter(other, omar)
    planted = f"__Host-pass={other.on(WIKI)}"
    for cookies in (f"{good}; {planted}", f"{planted}; {good}", f"{good}; {good}", f"{good};__Host-pass="):
        assert check(app, cookies) == 401
        for what in ("start", "forward"):
            answer = raw(app, f"{WIKI}{ASKED}{what}", cookies)
            assert (answer.status_code, answer.headers.get("Location")) == (400, None)
            assert answer.text.startswith("This browser sends two passes for wiki.example.org. Delete the cookies of")
    assert check(app, good) == 200
    back = ticket_for(window)
    starts = f"{name_of(back)}={window.on(WIKI, name_of(back))}"
    answer = raw(app, back, f"{starts}; {good}; {planted}")
    assert (answer.status_code, answer.headers.get("Location")) == (400, None)
    assert raw(app, back, f"{starts}; {good}").status_code == 303


def name_of(back: str) -> str:
    """The name of the cookie that goes with the ticket in this address."""
    (ticket,) = parse_qs(urlsplit(back).query)["ticket"]
    return f"__Host-start-{ticket.split('.')[3][:16]}"


LOOK_ALIKE = [
    *("={0}", "\u2000{0}", "\xa0{0}", "\x85{0}", "__host-pass={1}", "__HOST-PASS={1}", "__Host-pass ={1}"),
    *('"{0}"', "$Path=/,{0}", "={0}={1}"),
]
ODD = ["theme=d\xe4rk", "x=\xff\xfe", 'a="b', "=", ";;", "__Host-session=\xff", "a=" + "b" * 3000]


def test_a_cookie_that_only_looks_like_a_pass_is_none(app: Flask, window: Window, omar: Person) -> None:
    """Browsers let other sites of the domain set these: the prefix protects its own spelling alone."""
    enter(window, omar)
    value = window.on(WIKI)
    in_bytes = [spelling.encode().decode("latin-1") for spelling in LOOK_ALIKE]
    for spelling in [*in_bytes, "\xa0{0}", "\x85{0}", "\x0b{0}", "\x1f{0}"]:
        planted = spelling.format(f"__Host-pass={value}", value)
        assert check(app, planted) == 401, spelling
        assert check(app, f"__Host-pass={value}; {planted}") == 200, "nor does it spoil the one that is there"


def test_whatever_else_an_app_keeps_in_its_cookies_does_no_harm(app: Flask, window: Window, omar: Person) -> None:
    enter(window, omar)
    for other in ODD:
        assert check(app, f"{other}; __Host-pass={window.on(WIKI)}") == 200, other
        assert check(app, other) == 401
        assert raw(app, f"{WIKI}{ASKED}start", other).status_code == 303


def changed(text: str) -> list[str]:
    """The text with each of its parts a little different, and other things that it is not."""
    parts = text.split(".")
    others = [part[:-1] + ("1" if part[-1] != "1" else "2") for part in parts]
    found = [".".join([*parts[:n], other, *parts[n + 1 :]]) for n, other in enumerate(others)]
    return [*found, text[:-1], text + "0", text + " .", f'"{text}"', text.upper(), "", ".", "a", "0.0." + "0" * 64]


def test_a_pass_or_ticket_that_is_not_exactly_ours_is_none(app: Flask, window: Window, omar: Person) -> None:
    enter(window, omar)
    value = window.on(WIKI) or ""
    assert {check(app, f"__Host-pass={other}") for other in changed(value)} == {401}
    assert check(app, f"__Host-pass={value}") == 200
    back = ticket_for(window)
    (ticket,) = parse_qs(urlsplit(back).query)["ticket"]
    cookies = f"{name_of(back)}={window.on(WIKI, name_of(back))}"
    for other in [*changed(ticket), value]:
        assert raw(app, f"{WIKI}{ASKED}enter?{urlencode({'ticket': other})}", cookies).status_code == 400
    assert check(app, f"__Host-pass={ticket}") == 401
    assert raw(app, back, cookies).status_code == 303


def test_a_pass_is_good_for_no_later_session_of_the_same_number(app: Flask, window: Window, omar: Person) -> None:
    """After a backup was restored the database gives numbers that it had given before."""
    enter(window, omar)
    (session,) = rows(app, Session)
    sign_out(app, window, omar)
    assert window.ask(WIKI).status == 401
    omar.clock.pass_by(30)
    sign_in(other := Window(app), omar)
    with app.app_context():
        Session.update(id=session["id"]).execute()
    assert window.ask(WIKI).status == 401
    with app.app_context():
        Session.update(created_at=session["created_at"]).execute()
    assert window.ask(WIKI).status == 200
    assert other.get("/account").status == 200


def test_a_pass_lives_through_a_change_of_the_key_until_the_old_one_is_taken_out(
    make_app: Callable[..., Flask], app: Flask, window: Window, omar: Person
) -> None:
    enter(window, omar)
    new = {**APPS, "SECRET_KEY": KEY[::-1]}
    assert check(make_app(SECRET_KEY_FALLBACKS=[KEY], **new), f"__Host-pass={window.on(WIKI)}") == 200
    assert check(make_app(**new), f"__Host-pass={window.on(WIKI)}") == 401


# Tickets --------------------------------------------------------------------------------------------------------------


def ticket_for(window: Window, host: str = WIKI) -> str:
    """Where our host sends a signed-in browser back to."""
    return str(window.open(window.ask(host, "start").headers["Location"]).headers["Location"])


REFUSED = (
    "This link works for a minute, in the browser that asked for it, if it keeps cookies. "
    "Open wiki.example.org again.\n"
)


def refused(page: Page) -> bool:
    assert (page.status, page.raw, page.headers.get("Location")) == (400, REFUSED, None)
    assert "Set-Cookie" not in page.headers
    return True


def test_a_ticket_works_once_in_one_browser(app: Flask, window: Window, omar: Person) -> None:
    sign_in(window, omar)
    back = ticket_for(window)
    assert refused(Window(app).open(back)), "another browser"
    assert window.open(back).status == 303
    assert refused(window.open(back)), "again"
    assert kinds(app).count(EventKind.APP_OPENED) == 1
    assert window.open(ticket_for(window)).status == 303


def test_whoever_leads_a_signed_in_browser_here_again_and_again_fills_no_record(
    app: Flask, window: Window, omar: Person
) -> None:
    """Any page can: a link to `start` is enough."""
    put_into(app, omar, "ops")
    sign_in(window, omar)
    for host in (WIKI, GRAFANA, WIKI, WIKI):
        assert window.open(ticket_for(window, host)).status == 303
    opened = [(row["detail"], row["count"]) for row in rows(app, Event) if row["kind"] == EventKind.APP_OPENED]
    assert sorted(opened) == [("grafana.example.org", 1), (HOST, 3)]


@pytest.mark.parametrize(("seconds", "opens"), [(0, True), (59, True), (60, False), (3000, False)])
def test_a_ticket_works_for_a_minute(app: Flask, window: Window, omar: Person, seconds: int, opens: bool) -> None:
    sign_in(window, omar)
    back = ticket_for(window)
    omar.clock.pass_by(seconds)
    assert window.open(back).status == 303 if opens else refused(window.open(back))


@pytest.mark.parametrize(("ahead", "opens"), [(50, True), (3000, False)])
def test_a_ticket_of_a_clock_that_ran_ahead_does_not_wait_for_that_time(
    app: Flask, window: Window, omar: Person, ahead: int, opens: bool
) -> None:
    sign_in(window, omar)
    omar.clock.pass_by(ahead)
    back = ticket_for(window)
    omar.clock.pass_by(-ahead)
    assert window.open(back).status == 303 if opens else refused(window.open(back))
    omar.clock.pass_by(ahead + 60)
    assert refused(window.open(back))


def test_a_ticket_is_for_its_own_start(app: Flask, window: Window, omar: Person) -> None:
    """Somebody who leads another's browser to `pass` with a nonce of their own, or to `enter` with a ticket of their
    own, brings them in nowhere."""
    sign_in(window, omar)
    mine = Window(app)
    location = mine.open(f"{WIKI}/").headers["Location"]
    for_me = window.open(location).headers["Location"]
    assert refused(window.open(for_me)), "the victim has no such nonce"
    other_start = window.open(f"{WIKI}/").headers["Location"]
    window.keep(WIKI, name_of(for_me), window.on(WIKI, name_of(window.open(other_start).headers["Location"])) or "")
    assert refused(window.open(for_me)), "nor under the name of the other one"


def test_a_ticket_works_on_no_other_host(app: Flask, window: Window, omar: Person) -> None:
    put_into(app, omar, "ops")
    sign_in(window, omar)
    back = ticket_for(window)
    nonce = window.on(WIKI, name_of(back)) or ""
    elsewhere = back.replace(WIKI, GRAFANA)
    window.keep(GRAFANA, name_of(back), nonce)
    assert window.open(elsewhere).status == 400
    assert window.open(back).status == 303


@pytest.mark.parametrize("end", ["signing out", "a reset", "deactivation"])
def test_a_ticket_dies_with_its_session(app: Flask, window: Window, omar: Person, end: str) -> None:
    sign_in(window, omar)
    back = ticket_for(window)
    ENDS[end](app, window, omar)
    assert refused(window.open(back))


def test_two_nonces_under_one_name_are_none(app: Flask, window: Window, omar: Person) -> None:
    sign_in(window, omar)
    back = ticket_for(window)
    nonce = f"{name_of(back)}={window.on(WIKI, name_of(back))}"
    assert raw(app, back, f"{nonce}; {nonce}").status_code == 400
    assert raw(app, back, nonce).status_code == 303


@pytest.mark.parametrize("keeps", ["nothing", "starts alone"])
def test_a_browser_that_keeps_no_cookies_is_told_and_not_sent_in_circles(
    app: Flask, window: Window, omar: Person, keeps: str
) -> None:
    """`start` is asked by the proxy, and `enter` leads back to it: it must be a page that ends there."""
    sign_in(window, omar)
    begun = window.open(f"{WIKI}/")
    back = window.open(begun.headers["Location"]).headers["Location"]
    if keeps == "nothing":
        assert raw(app, back).status_code == 400
    else:
        assert raw(app, back, begun.headers["Set-Cookie"].partition(";")[0]).status_code == 303


# Where it leads -------------------------------------------------------------------------------------------------------

PAYLOADS = [
    case["next"] for case in json.loads(Path(__file__).with_name("next_payloads.json").read_text(encoding="utf-8"))
]
RESERVED = [
    f"{ASKED}start",
    f"{ASKED}enter?ticket=x",
    "/.sparekey",
    "/.SPAREKEY/start",
    "/%2esparekey/start",
    "/%2Esparekey%2Fstart",
    "/%252esparekey/start",
    "/%" + "25" * 9 + "2esparekey/start",
    "/a/../.sparekey/start",
    "/a/%2e%2e/.sparekey/start",
    "/./.sparekey/start",
    "/a%5C.sparekey/start",
    "/%2f.sparekey/start",
]
KEPT = [
    "/",
    "/a",
    "/a?b=c&d=%2Fe",
    "/a//b",
    "/%D0%B2%D0%B8%D0%BA%D0%B8",
    "/search?q=https://example.com/.sparekey/",
    "/a;b=c,d@e!f$g'h(i)*j+k~l",
    "/.well-known/x",
    "/?" + "x" * 1498,
]


def readable(payload: str) -> str:
    """As a header or an address can hold it."""
    return re.sub("[\0-\x1f]", "", payload).encode().decode("latin-1")


def led(window: Window, asked_for: str) -> tuple[str, str, str]:
    """Where `start`, `pass` and `enter` lead when each of them is asked for this, all of it on the hosts it must be."""
    begun = window.ask(WIKI, "start", headers={"X-Forwarded-Uri": readable(asked_for), "X-Forwarded-Method": "GET"})
    at_start = urlsplit(begun.headers["Location"])
    assert f"{at_start.scheme}://{at_start.netloc}{at_start.path}" == f"{ACCOUNTS}/pass"
    at_pass = window.open(begun.headers["Location"].rpartition("path=")[0] + urlencode({"path": asked_for}))
    target = urlsplit(at_pass.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == f"{WIKI}{ASKED}enter"
    entered = window.open(at_pass.headers["Location"].rpartition("path=")[0] + urlencode({"path": asked_for}))
    assert re.fullmatch(rf"{re.escape(WIKI)}/[!-\[\]-~]*", entered.headers["Location"])
    (first,), (second,) = parse_qs(at_start.query)["path"], parse_qs(target.query)["path"]
    return first, second, entered.headers["Location"].removeprefix(WIKI)


def test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter(window: Window, omar: Person) -> None:
    """Nor back to what we serve there, however it is written."""
    sign_in(window, omar)
    for asked_for in [*PAYLOADS, "a", "", "*", "/\xe9"]:
        for path in led(window, asked_for):
            assert path in ("/", asked_for, readable(asked_for))
            assert not path.startswith(("//", "/\\"))
    for asked_for in [*RESERVED, "/?" + "x" * 1499]:
        assert led(window, asked_for) == ("/", "/", "/"), asked_for
    for asked_for in KEPT:
        assert led(window, asked_for) == (asked_for, asked_for, asked_for)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/a"), ("HEAD", "/a"), ("POST", "/"), ("get", "/"), ("DELETE", "/"), ("", "/")]
)
def test_a_form_that_was_sent_is_not_asked_for_again(window: Window, method: str, path: str) -> None:
    headers = {"X-Forwarded-Uri": "/a", **({"X-Forwarded-Method": method} if method else {})}
    location = window.ask(WIKI, "start", headers=headers).headers["Location"]
    assert parse_qs(urlsplit(location).query)["path"] == [path]


def test_the_longest_path_lives_through_a_whole_sign_in(window: Window, omar: Person) -> None:
    for path in ("/" + "x" * 1499, "/" + quote("вики" * 62)[:1488], "/?" + "&/" * 749):
        assert enter(Window(window.app), omar, f"{WIKI}{path}").url == f"{WIKI}{path}"


def test_pass_is_an_ordinary_closed_page_and_knows_its_apps(app: Flask, window: Window, omar: Person) -> None:
    query = {"app": HOST, "nonce": "0" * 64, "path": "/a"}
    assert window.open(f"/pass?{urlencode(query)}").headers["Location"].startswith("/login?")
    sign_in(window, omar)
    wrong = [
        {"app": "evil.test"},
        {"app": ""},
        {"app": "WIKI.example.org"},
        {"app": f"{HOST}:444"},
        {"app": f"{HOST}."},
    ]
    wrong += [{"app": WIKI}, {"nonce": ""}, {"nonce": "0" * 63}, {"nonce": "0" * 63 + "."}, {"nonce": "A" * 64}]
    for change in wrong:
        assert window.open(f"/pass?{urlencode({**query, **change})}").status == 404
    for missing in ("app", "nonce"):
        rest = {name: value for name, value in query.items() if name != missing}
        assert window.open(f"/pass?{urlencode(rest)}").status == 404
    assert window.open(f"/pass?{urlencode(query)}").status == 303


def test_going_through_pass_changes_nothing(app: Flask, window: Window, omar: Person) -> None:
    sign_in(window, omar)
    before = everything(app)
    ticket_for(window)
    assert everything(app) == before


# Hosts ----------------------------------------------------------------------------------------------------------------


def test_the_host_of_an_app_serves_nothing_of_ours_and_ours_nothing_of_theirs(
    app: Flask, window: Window, omar: Person
) -> None:
    enter(window, omar)
    urls = app.url_map.bind("localhost")
    values = {
        "filename": "app.css",
        "token": "x",
        "session_id": 1,
        "person_id": 1,
        "key_id": 1,
        "change": "unlock",
        "notice": "x",
    }
    for rule in app.url_map.iter_rules():
        path = urls.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        if path != "/healthz":
            answer = Browser.open(window, path, base_url=WIKI, buffered=True)
            assert (answer.status, answer.raw) == (404, "There is nothing here. Open wiki.example.org instead.\n"), path
    for method in ("POST", "OPTIONS", "PUT"):
        answer = Browser.open(window, "/healthz", method, base_url=WIKI)
        assert (answer.status, answer.raw) == (404, "There is nothing here. Open wiki.example.org instead.\n"), method
    for what in ("check", "forward", "start", "enter"):
        assert window.open(f"{ACCOUNTS}{ASKED}{what}").status == 404
    assert window.open(f"{ACCOUNTS}/account").status == 200


UNKNOWN = [
    *("evil.test", "wiki.example.org.evil.test", "evilwiki.example.org", "wiki.example.org.", "wiki.example.org:444"),
    *("www.wiki.example.org", "example.org", "wiki.example.org:80"),
]


def test_an_unknown_host_is_refused_and_the_log_says_what_to_set(
    app: Flask, window: Window, omar: Person, caplog: pytest.LogCaptureFixture
) -> None:
    enter(window, omar)
    cookies = f"__Host-pass={window.on(WIKI)}"
    for host, what in product(UNKNOWN, ("check", "forward", "start", "enter")):
        caplog.clear()
        forwarded = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        answer = raw(app, f"{WIKI}{ASKED}{what}", cookies, **forwarded)
        assert answer.status_code == 400, host
        assert not {"Location", "Remote-User"} & set(dict(answer.headers))
        (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert line == f"a proxy asks for {host}: name https://{host} in APPS, or have it pass Host on"
    assert check(app, cookies, **{"X-Forwarded-Host": "*", "X-Forwarded-Proto": "https"}) == 400
    assert check(app, cookies, **{"X-Forwarded-Host": HOST, "X-Forwarded-Proto": "https"}) == 200


def test_a_host_that_apps_does_not_name_yet_is_promised_nothing(app: Flask) -> None:
    """HSTS with includeSubDomains in the answer of a proxy would close all of somebody else's sites that have no https
    for two years, and taking the answer back would not open them."""
    for host in UNKNOWN:
        answer = raw(app, f"{WIKI}{ASKED}forward", **{"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"})
        assert answer.status_code == 400
        assert "Strict-Transport-Security" not in answer.headers
    for host in ("accounts.example.org", "ACCOUNTS.example.org", "accounts.example.org:443"):
        answer = raw(app, f"{WIKI}/login", **{"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"})
        assert "Strict-Transport-Security" in answer.headers, host


def test_hosts_are_compared_folded(app: Flask, window: Window, omar: Person) -> None:
    enter(window, omar)
    for host in ("WIKI.example.org", "wiki.EXAMPLE.org:443"):
        forwarded = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        assert check(app, f"__Host-pass={window.on(WIKI)}", **forwarded) == 200


def test_an_app_on_another_port_is_another_host(make_app: Callable[..., Flask], omar: Person) -> None:
    site = make_app(**{**APPS, "APPS": f"{WIKI}:8443"})
    window = Window(site)
    sign_in(window, omar)
    begun = Browser.open(window, f"{ASKED}start", base_url=f"{WIKI}:8443", headers=NAVIGATION)
    assert parse_qs(urlsplit(begun.headers["Location"]).query)["app"] == [f"{HOST}:8443"]
    location = window.open(begun.headers["Location"]).headers["Location"]
    assert location.startswith(f"{WIKI}:8443{ASKED}enter?")
    assert check(site, "", WIKI) == 400
    assert check(site, "", f"{WIKI}:8443") == 401


# Headers --------------------------------------------------------------------------------------------------------------

OF_PAGES = {"Strict-Transport-Security", "Content-Security-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy"}


def away(app: Flask, hidden: bool) -> None:
    names = ("session", "elsewhere") if hidden else ("elsewhere", "session")
    with app.app_context():
        app.extensions["store"].database.execute_sql(f"ALTER TABLE {names[0]} RENAME TO {names[1]}")


def test_answers_on_the_host_of_an_app_promise_nothing_for_it(app: Flask, window: Window, omar: Person) -> None:
    """A policy or HSTS with includeSubDomains would hold for all of somebody else's site."""
    answers = [window.ask(WIKI, headers=SCRIPT), window.ask(WIKI, "start"), window.ask(WIKI, "enter")]
    enter(window, omar)
    answers += [
        Browser.open(window, "/healthz", base_url=WIKI),
        window.ask(WIKI),
        window.ask(WIKI, "x"),
        window.ask(WIKI, method="POST"),
        window.ask(GRAFANA),
    ]
    assert {answer.status for answer in answers} == {401, 303, 400, 200, 404, 405}
    put_into(app, omar, "ops")
    window.get(f"{GRAFANA}/")
    put_into(app, omar)
    answers.append(window.ask(GRAFANA))
    assert answers[-1].status == 403
    away(app, True)
    answers.append(window.ask(WIKI))
    away(app, False)
    assert answers[-1].status == 503
    assert answers[3].raw == "ok"
    for answer in answers:
        assert not OF_PAGES & set(dict(answer.headers))
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "html" not in answer.raw
    own = window.open("/account").headers
    assert set(dict(own)) >= OF_PAGES


def test_the_policy_of_our_pages_names_the_apps_where_forms_may_end(app: Flask, make_app: Any) -> None:
    def policy(of: Flask) -> str:
        return Browser(of, base_url=ACCOUNTS).open("/login").headers["Content-Security-Policy"]

    with_apps, without = policy(app), policy(make_app("plain", SITE_URL=ACCOUNTS))
    assert "form-action 'self' https://wiki.example.org https://grafana.example.org;" in with_apps
    assert with_apps.replace(f" {WIKI} {GRAFANA}", "") == without


# When something is away -----------------------------------------------------------------------------------------------


@pytest.mark.databases
@pytest.mark.parametrize("what", ["check", "forward", "enter"])
def test_while_the_database_is_away_nobody_passes(app: Flask, window: Window, omar: Person, what: str) -> None:
    enter(window, omar)
    back = ticket_for(window)
    url = back if what == "enter" else f"{WIKI}{ASKED}{what}"
    away(app, True)
    answer = window.open(url)
    assert (answer.status, answer.raw) == (503, "We can't reach our records. Try again in a minute.\n")
    assert given(answer) == [None, None, None]
    assert "Set-Cookie" not in answer.headers
    away(app, False)
    assert window.open(url).status == (303 if what == "enter" else 200)


@on_sqlite
def test_a_connection_that_failed_is_not_used_again(app: Flask, window: Window, omar: Person) -> None:
    """One that was made while the database was read-only stays so."""
    sign_in(window, omar)
    back = ticket_for(window)
    with app.app_context():
        app.extensions["store"].database.execute_sql("PRAGMA query_only = 1")
    assert [window.open(back).status for _ in range(2)] == [503, 303]


def test_what_nobody_foresaw_lets_nobody_pass(
    make_app: Callable[..., Flask], omar: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_app(PROPAGATE_EXCEPTIONS=False, **APPS)
    window = Window(site)
    enter(window, omar)
    with monkeypatch.context() as broken:
        broken.setattr(User, "is_in", lambda *_: 1 / 0)
        answer = window.ask(WIKI)
    assert (answer.status, given(answer)) == (500, [None, None, None])
    assert window.ask(WIKI).status == 200


# Without APPS ---------------------------------------------------------------------------------------------------------


def test_without_apps_none_of_this_exists(make_app: Callable[..., Flask], omar: Person) -> None:
    plain = make_app(SITE_URL=ACCOUNTS, TRUSTED_PROXIES=1)
    browser = Window(plain)
    assert not {"/pass"} & {rule.rule for rule in plain.url_map.iter_rules()}
    sign_in(browser, omar)
    for path in ("/pass", *(f"{ASKED}{what}" for what in ("check", "forward", "start", "enter"))):
        assert browser.open(f"{ACCOUNTS}{path}").status == 404
        assert Browser.open(browser, path, base_url=WIKI).status == 400
    assert "Your sites" not in browser.get("/account").text


def test_without_apps_nothing_of_this_is_imported(tmp_path: Path) -> None:
    given = {"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}
    script = (
        "import sys; from app import create_app\n"
        f"for more in ({{}}, {APPS!r}):\n"
        f"    create_app({given!r} | more)\n"
        "    print(sorted(name for name in sys.modules if name in ('blueprints.apps', 'flows.apps', 'authn.apps')))"
    )
    run_ = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, env={})
    assert run_.stdout.splitlines() == ["[]", "['authn.apps', 'blueprints.apps', 'flows.apps']"]


# The Security page ----------------------------------------------------------------------------------------------------


def test_the_security_page_lists_the_sites_that_somebody_may_enter(app: Flask, window: Window, omar: Person) -> None:
    sign_in(window, omar)
    page = window.get("/account")
    assert "Your sites" in page.text
    assert [link for link in page.links if link.startswith("https:")] == [f"{WIKI}/"]
    put_into(app, omar, "ops")
    page = window.get("/account")
    assert [link for link in page.links if link.startswith("https:")] == [f"{WIKI}/", f"{GRAFANA}/"]
    assert "Site opened" not in page.text
    window.get(f"{WIKI}/")
    assert "Site opened: wiki.example.org" in window.get("/account").text


def test_somebody_who_may_enter_no_site_is_shown_none(make_app: Callable[..., Flask], omar: Person) -> None:
    window = Window(make_app(**{**APPS, "APPS": f"{GRAFANA} ops"}))
    sign_in(window, omar)
    assert "Your sites" not in window.get("/account").text
