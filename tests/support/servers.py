"""The app as gunicorn serves it, in several processes; a browser that speaks to it over real connections; and every
form of the flow, filled in and about to be sent."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from app import create_app
from authn import totp
from tests.support import acts
from tests.support.apps import CHEAP, ROOT
from tests.support.pages import Browser, Form, Page, read_page
from tests.support.people import NEW_PASSWORD

ADDRESSES = count()
SHARED = ("DATABASE_URL", "SECRET_KEY", "RECOVERY_CODES_ENABLED", "SIGN_IN_SECONDS", "ENROLLMENT_SECONDS")


class SharedClock:
    """A clock that stands still in every process until one moves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not os.fstat(self._file).st_size:
            self.now = 1_796_000_400 // 30 * 30 + 10

    def __call__(self) -> float:
        return float(self.now)

    @property
    def now(self) -> int:
        return int(os.pread(self._file, 20, 0))

    @now.setter
    def now(self, seconds: int) -> None:
        os.pwrite(self._file, b"%020d" % seconds, 0)

    def pass_by(self, seconds: int) -> None:
        self.now += seconds

    def close(self) -> None:
        os.close(self._file)


# In the workers -------------------------------------------------------------------------------------------------------


def serve() -> Flask:
    """What gunicorn is told to serve: the app of the test, but each worker dies where a request says so."""
    given = json.loads(os.environ["SERVED"])
    app = create_app({**given, "TESTING": True, "CLOCK": SharedClock(Path(os.environ["CLOCK"]))})
    _warm_up(app)
    _let_requests_kill(app)
    return app


def _warm_up(app: Flask) -> None:
    """What takes long the first time is done before there are workers: each that takes a dead one's place has it."""
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
    app.extensions["store"].policy.weakness("three herons and a lighthouse", "")
    gc.freeze()  # or the first collection in each worker would copy every object


def _let_requests_kill(app: Flask) -> None:
    """A request with the header Die-At: n kills its worker, as kill -9 does, in place of its n-th word to the database
    that is not a question, BEGIN and COMMIT counted; or, after one word less, before the answer is given."""
    database, here = app.extensions["store"].database, local()

    def dying(speak: Callable[..., Any]) -> Callable[..., Any]:
        def speak_or_die(*words: Any, **kwargs: Any) -> Any:
            if not str(words[:1]).startswith("('SELECT"):
                _count_down()
            return speak(*words, **kwargs)

        return speak_or_die

    def _count_down() -> None:
        here.left = getattr(here, "left", 0) - 1
        if here.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("execute_sql", "begin", "commit", "rollback"):
        setattr(database, name, dying(getattr(database, name)))
    serve_request = app.wsgi_app

    def serve_or_die(environ: dict[str, Any], start_response: Any) -> Any:
        here.left = int(environ.get("HTTP_DIE_AT", 0))
        answer = serve_request(environ, start_response)
        _count_down()
        return answer

    app.wsgi_app = serve_or_die  # type: ignore[method-assign]


# In the test ----------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    app: Flask  # the same settings and database, in this process
    port: int
    server: subprocess.Popen[bytes]
    log: Path

    def browser(self, address: str = "") -> "RemoteBrowser":
        """One at this address, or at one of its own."""
        return RemoteBrowser(self, address or f"2001:db8:0:{next(ADDRESSES):x}::1")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self) -> list[int]:
        """The arbiter and its workers."""
        lines = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/stat")}
        parents = {pid: int(line.rpartition(")")[2].split()[1]) for pid, line in lines.items()}
        return [self.server.pid, *(pid for pid, parent in parents.items() if parent == self.server.pid)]

    def stop(self) -> None:
        self.server.send_signal(signal.SIGINT)  # at once
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()


@contextmanager
def served(
    app: Flask,
    folder: Path,
    workers: int = 4,
    threads: int = 4,
    before: tuple[str, ...] = (),
    graceful_seconds: int = 1,
    **settings: Any,
) -> Iterator[Site]:
    """Gunicorn on a free port of this machine, with the settings and database of the app; ended by its pid. `before` is
    what its command line begins with."""
    usual = {"PASSWORD_HASH_COST": CHEAP, "ADDRESS_LIMIT": 0, "TRUSTED_PROXIES": 1}
    given = {key: app.config[key] for key in SHARED} | usual | settings
    with socket.socket() as listener, (folder / "server.log").open("ab") as log:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        options = f"--workers {workers} --threads {threads} --graceful-timeout {graceful_seconds}"
        server = subprocess.Popen(
            [
                *(*before, sys.executable, "-m", "gunicorn", *options.split()),
                *("--bind", f"fd://{listener.fileno()}", "tests.support.servers:serve()"),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "SERVED": json.dumps(given), "CLOCK": str(app.config["CLOCK"].path)},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        site = Site(app, listener.getsockname()[1], server, folder / "server.log")
    try:
        site.browser().open("/static/app.css")  # waits in the backlog until a worker accepts
        yield site
    finally:
        site.stop()


class Died(Exception):
    """The worker ended in the middle of the request."""


@dataclass
class Answer:
    status_code: int
    headers: HTTPMessage
    body: bytes

    @property
    def mimetype(self) -> str:
        return self.headers.get_content_type()

    def get_data(self, as_text: bool) -> str:
        return self.body.decode()


class RemoteBrowser(Browser):
    """A visitor's browser, over HTTP through a proxy that says its address. Each request has its own connection."""

    def __init__(self, site: Site, address: str) -> None:
        self.site, self.address, self.cookies = site, address, dict[str, str]()
        self.seconds = 0.0  # what the last answer took
        self.sent = 0  # requests that have left

    def open(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        answer = self.ask(path, method, **kwargs)
        self.keep_cookies(answer.headers)
        return read_page(answer, path)

    def ask(self, path: str, method: str = "GET", data: Any = None, die_at: int = 0) -> Answer:
        """One request, as it is answered; its cookies are not kept. Died when the worker has died of it."""
        body = urlencode(data, doseq=True) if method == "POST" else None
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, "X-Forwarded-For": self.address}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if die_at:
            headers["Die-At"] = str(die_at)
        connection, start = HTTPConnection("127.0.0.1", self.site.port, timeout=60), time.monotonic()
        try:
            connection.request(method, path, body, headers)
            self.sent += 1
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (ConnectionError, EOFError) as error:
            raise Died from error
        finally:
            self.seconds = time.monotonic() - start
            connection.close()

    def keep_cookies(self, headers: HTTPMessage) -> None:
        for header in headers.get_all("Set-Cookie", []):
            for name, cookie in SimpleCookie(header).items():
                self.cookies[name] = cookie.value
                if not cookie.value or cookie["max-age"] == "0":
                    del self.cookies[name]

    def cookie(self, name: str = "session") -> str | None:
        return self.cookies.get(name)

    def copy(self) -> "RemoteBrowser":
        other = RemoteBrowser(self.site, self.address)
        other.cookies = dict(self.cookies)
        return other


# Every form of the flow, about to be sent -----------------------------------------------------------------------------


@dataclass
class Moment:
    """A form that is filled in and not sent yet."""

    person: Any  # holding what was typed, and on the screens before
    before: Any  # holding what they had until then
    browser: RemoteBrowser
    form: Form
    typed: dict[str, str]
    leads_to: str

    def send(self, die_at: int = 0) -> Answer:
        return self.browser.ask(self.form.action, "POST", {**self.form.fields, **self.typed}, die_at)

    def goes_on(self, answer: Answer) -> Page:
        """Where the browser comes to with this answer."""
        self.browser.keep_cookies(answer.headers)
        return self.browser.follow(read_page(answer, self.form.action))


Scene = tuple[Any, RemoteBrowser, Page]
MOMENTS: dict[str, Callable[["World"], Moment]] = {}


class World:
    """A site, and as many people as a test needs, each anew."""

    def __init__(self, site: Site, make_person: Callable[..., Any]) -> None:
        self.site, self.clock, self._make_person = site, site.app.config["CLOCK"], make_person
        self._count, self._person = 0, None

    def person(self, **what: bool) -> Any:
        if self._person:
            return self._person
        self._count += 1
        return self._make_person(f"omar-{self._count}@example.com", **what)

    def meet(self, name: str, person: Any = None) -> Moment:
        """Come to that moment as a new person, or as this one."""
        self.turn_codes(True)
        self._person = person
        moment = MOMENTS[name](self)
        self._person = None
        return moment

    def turn_codes(self, on: bool) -> None:
        acts.switch_codes(self.site.app, on)

    def reset(self, person: Any) -> str:
        """Where the link leads that the person is given."""
        return acts.reset(self.site.app, person.email)

    # How far somebody may have come

    def past_the_password(self, **what: bool) -> Scene:
        person, browser = self.person(**what), self.site.browser()
        return person, browser, browser.submit("/login", email=person.email, password=person.password)

    def at_the_prompt(self, **what: bool) -> Scene:
        """Setting up a first app, or signing in without a code."""
        person, browser, page = self.past_the_password(**what)
        if page.path == "/mfa/setup":
            person = with_new_app(person, page)
        return person, browser, browser.submit(page, code=person.code())

    def recovering(self) -> Scene:
        person, browser, _ = self.past_the_password()
        return person, browser, browser.submit("/login/recovery", recovery_code=person.recovery_code)

    def asked_for_the_device(self) -> Scene:
        person, browser, page = self.recovering()
        return with_new_code(person, page), browser, browser.submit(page, saved="yes")

    def signed_in(self, path: str, **what: bool) -> Scene:
        person, browser, page = self.past_the_password(**what)
        browser.submit(page, code=person.code())
        return person, browser, browser.get(path)

    # How somebody goes on, whatever the page

    def go_on(self, browser: RemoteBrowser, holds: list[Any], *, without_phone: bool = False) -> None:
        """From the start to being signed in, as somebody does who holds all this and does not know what still counts,
        the newest last. What new pages give them is added. AssertionError when nothing they hold does."""
        page = browser.get("/")
        for _ in range(12):
            match page.path:
                case "/account":
                    return
                case "/login":
                    options = [{"email": person.email, "password": person.password} for person in holds]
                case "/login/code" if without_phone:
                    page = browser.get("/login/recovery")
                    continue
                case "/login/code":
                    self.clock.pass_by(60)
                    options = [{"code": person.code()} for person in holds if person.secret]
                case "/login/recovery":
                    options = [{"recovery_code": person.recovery_code} for person in holds if person.recovery_code]
                case "/mfa/setup":
                    holds.append(with_new_app(holds[-1], page))
                    options = [{"code": holds[-1].code()}]
                case "/mfa/recovery-code" if page.status == 403:
                    page = browser.press(page, "Finish setup")
                    continue
                case "/mfa/recovery-code":
                    holds.append(with_new_code(holds[-1], page))
                    options = [{"saved": "yes"}]
                case "/mfa/lost-device":
                    options = [{"still_have": "yes"}]
                case _:
                    raise AssertionError(f"{page.status} {page.url}: {page.text}")
            page = _first_taken(browser, page, options)
        raise AssertionError(f"did not arrive: {page.url}")


def _first_taken(browser: RemoteBrowser, page: Page, options: list[dict[str, str]]) -> Page:
    for typed in [option for n, option in enumerate(options) if option not in options[n + 1 :]][::-1]:
        page = browser.submit(page, **typed)
        if page.status == 200:
            return page
    raise AssertionError(f"{page.url}: {page.errors or page.text}")


def with_new_app(person: Any, page: Page) -> Any:
    return replace(person, secret=totp.read_setup_key(page.text_of("setup-key")))


def with_new_code(person: Any, page: Page) -> Any:
    return replace(person, recovery_code=page.text_of("recovery-code").replace(" ", ""))


def moment(leads_to: str, button: str = "", **typed: Any) -> Callable[..., Any]:
    """The function comes to the page whose form, or whose button, is sent with this typed in, and leads there; what is
    typed may be a function of the person."""

    def keep(come: Callable[[World], Scene]) -> Any:
        def meet(world: World) -> Moment:
            before, browser, page = come(world)
            person = with_new_app(before, page) if page.by_id("setup-key") is not None else before
            person = with_new_code(person, page) if page.by_id("recovery-code") is not None else person
            filled = {name: value(person) if callable(value) else value for name, value in typed.items()}
            if "new_password" in filled:
                person = replace(person, password=filled["new_password"])
            form = next(f for f in page.forms if button in f.buttons) if button else page.form_with(*filled)
            return Moment(person, before, browser, form, filled, leads_to)

        MOMENTS[come.__name__.replace("_", " ")] = meet
        return come

    return keep


@moment("/login/code", email=lambda person: person.email, password=lambda person: person.password)
def password(world: World) -> Scene:
    return world.person(), (browser := world.site.browser()), browser.open("/login")


@moment("/account", code=lambda person: person.code())
def six_digit_code(world: World) -> Scene:
    return world.past_the_password()


@moment("/mfa/recovery-code", code=lambda person: person.code())
def six_digit_code_of_somebody_without_a_recovery_code(world: World) -> Scene:
    return world.past_the_password(code=False)


@moment("/account", saved="yes")
def prompt_at_a_sign_in(world: World) -> Scene:
    return world.at_the_prompt(code=False)


@moment("/mfa/recovery-code", recovery_code=lambda person: person.recovery_code)
def recovery_code(world: World) -> Scene:
    person, browser, _ = world.past_the_password()
    return person, browser, browser.open("/login/recovery")


@moment("/mfa/lost-device", saved="yes")
def prompt_after_a_recovery_code(world: World) -> Scene:
    return world.recovering()


@moment("/account", still_have="yes")
def still_has_the_device(world: World) -> Scene:
    return world.asked_for_the_device()


@moment("/account", still_have="later")
def waits_for_a_device(world: World) -> Scene:
    return world.asked_for_the_device()


@moment("/mfa/setup", still_have="no")
def has_lost_the_device(world: World) -> Scene:
    return world.asked_for_the_device()


@moment("/account", code=lambda person: person.code())
def setup_after_a_lost_device(world: World) -> Scene:
    person, browser, page = world.asked_for_the_device()
    return person, browser, browser.submit(page, still_have="no")


@moment("/mfa/recovery-code", code=lambda person: person.code())
def first_setup(world: World) -> Scene:
    return world.past_the_password(enrolled=False)


@moment("/account", saved="yes")
def prompt_of_a_first_setup(world: World) -> Scene:
    return world.at_the_prompt(enrolled=False)


@moment("/account", button="Finish setup")
def finish_of_a_first_setup_without_a_code(world: World) -> Scene:
    person, browser, _ = world.at_the_prompt(enrolled=False)
    world.turn_codes(False)
    return person, browser, browser.get("/mfa/recovery-code")


@moment("/account", code=lambda person: person.code())
def setup_in_place_of_the_app_in_use(world: World) -> Scene:
    return world.signed_in("/mfa/setup")


@moment("/mfa/recovery-code")
def make_a_new_code(world: World) -> Scene:
    return world.signed_in("/account/recovery-code")


@moment("/account", saved="yes")
def prompt_for_a_new_code(world: World) -> Scene:
    person, browser, page = world.signed_in("/account/recovery-code")
    return person, browser, browser.submit(page)


@moment("/account", current_password=lambda person: person.password, new_password=NEW_PASSWORD)
def change_of_password(world: World) -> Scene:
    return world.signed_in("/account/password")


@moment("/login", new_password=NEW_PASSWORD)
def password_chosen_by_a_link(world: World) -> Scene:
    person, browser = world.person(), world.site.browser()
    return person, browser, browser.open(world.reset(person))


@moment("/account", password=lambda person: person.password, code=lambda person: person.code())
def step_up(world: World) -> Scene:
    person, browser, _ = world.signed_in("/account")
    world.clock.pass_by(60)
    return person, browser, browser.open("/verify")


@moment("/account", button="Sign out everywhere else")
def end_of_other_sessions(world: World) -> Scene:
    person, browser, _ = world.signed_in("/account")
    other = world.site.browser()
    other.submit("/login", email=person.email, password=person.password)
    world.clock.pass_by(60)
    other.submit("/login/code", code=person.code())
    return person, browser, browser.open("/account")


@moment("/login", button="Sign out")
def sign_out(world: World) -> Scene:
    return world.signed_in("/account")
