"""What each step takes, beside the least that it could take and beside the same step on a site with many more people.
All take turns all the time, so that what else the machine does happens to both sides of every ratio."""

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any

from authn import totp
from benchmarks.closed_page import BARE, OWN
from benchmarks.figures import Row
from benchmarks.sites import PASSWORD, ROOT, Site, gunicorn
from benchmarks.visitor import Visitor, options_in
from tests.support.races import at_once

STEPS = (
    "GET /login",
    "POST /login",
    "GET /login/code",
    "POST /login/code",
    "POST /login/recovery",
    "GET /account",
    OWN,
)
FORM, VERIFY, PAGE = "a form, one commit", "one argon2 verify", "a page and form alone"
PEER = "Flask-Security"
BESIDE = [
    ("POST /login", VERIFY, "<= 1.1"),
    ("POST /login/code", FORM, "<= 2.2"),
    ("POST /login/code", PEER, "<= 0.4"),
    ("POST /login/key", FORM, ""),
    ("POST /login/recovery", FORM, "<= 2.2"),
    ("POST /login/recovery", PEER, "<= 1"),
]
PAGES = [(BARE, ""), (PAGE, ">= 0.8")]
PEERS = ROOT / ".venv" / "peers"  # with a file `ready` once all is installed
PASSWORDS_A_ROUND, CODES_A_ROUND = 3, 8
CLIENTS = 8
SLICE_SECONDS = 0.1
START = """
from time import perf_counter as now
begun = now(); import app; imported = now(); app.create_app(); print(imported - begun, now() - imported)
"""

Times = defaultdict[str, list[float]]


@dataclass
class References:
    """What stands beside ours: where each is served, and what it took."""

    port: int  # of the bare page, the form, and the page with a form
    peer: int | None  # the port of Flask-Security; None where it is not installed
    peer_people: Iterator[dict[str, Any]]
    times: Times


def measure(small: Site, large: Site, seconds: float) -> list[Row]:
    """Rounds of every step on both sites, and of the references, for about so long."""
    few, many, pages = Times(list), Times(list), Times(list)
    with _references(small) as beside, small.served(), large.served():
        end = time.monotonic() + seconds
        passwords = [partial(_verify, beside), partial(_give_password, small, few)]
        passwords += [partial(_give_password, large, many)]
        codes = [partial(_use, beside), partial(_give_codes, small, few), partial(_give_codes, large, many)]
        served = {"ours": (small.port, "/login"), BARE: (beside.port, "/"), PAGE: (beside.port, "/page")}
        visits = [partial(_visit, *where, pages[name]) for name, where in served.items()]
        while time.monotonic() < end:
            for acts in (*[passwords] * PASSWORDS_A_ROUND, *[codes] * CODES_A_ROUND, visits):
                for act in random.sample(acts, len(acts)):  # whoever comes first is quicker
                    act()
        memory = Row("memory of a worker after all this", small.memory(), "MiB")
    least = beside.times
    pairs = [(step, few[step], _of(least, name, step), name, promise) for step, name, promise in BESIDE]
    crowd, people = f"with {large.size:,} people", f"with {small.size:,}"
    pairs += [(f"{step} {crowd}", many[step], few[step], people, "<= 1.2") for step in STEPS]
    rows = [
        Row(what, median(a) * 1000, "ms", median(b) * 1000, name, promise) for what, a, b, name, promise in pairs if b
    ]
    for name, promise in PAGES:
        rows.append(Row("GET /login by many at once", median(pages["ours"]), "/s", median(pages[name]), name, promise))
    return [*rows, memory, *_start(small)]


def _of(times: Times, name: str, step: str) -> list[float]:
    """What the reference took: nothing when it was left out. Flask-Security has a time for each step."""
    return times[f"{name} {step}" if name == PEER else name]


@contextmanager
def _references(site: Site) -> Iterator[References]:
    with gunicorn(["benchmarks.references:app"], site.folder, site.settings) as (port, _), _peer(site) as peer:
        for path in ("/", "/form", "/page") * 3:  # what is done the first time takes longer
            at_once([lambda path=path: Visitor(port).get(path).expect(200)] * CLIENTS)  # type: ignore[misc]
        yield References(port, *peer, Times(list))


@contextmanager
def _peer(site: Site) -> Iterator[tuple[int | None, Iterator[dict[str, Any]]]]:
    """Flask-Security, on a database and in an environment of its own."""
    if not (PEERS / "ready").exists():
        print(f"{PEER} is not installed, so its rows are left out.", file=sys.stderr)
        yield None, iter([])
        return
    settings = {**site.settings, "DATABASE_URL": f"sqlite:///{site.folder}/peer.db"}
    environment = {"PATH": os.environ["PATH"], **{f"FLASK_{key}": value for key, value in settings.items()}}
    python = str(PEERS / "bin" / "python")
    command = [python, "-m", "benchmarks.peer", str(site.size // 10)]  # with five codes each
    people = json.loads(subprocess.check_output(command, cwd=ROOT, env=environment))
    with gunicorn(["benchmarks.peer:app"], site.folder, settings, python) as (port, _):
        yield port, cycle(people)


def _verify(beside: References) -> None:
    """In a worker, as sign-ins are: on some days a machine is kinder to the process that measures."""
    visitor = Visitor(beside.port)
    visitor.get("/")
    beside.times[VERIFY].append(float(visitor.get("/verify").body))
    visitor.close()


def _give_password(site: Site, times: Times) -> None:
    visitor = Visitor(site.port)
    visitor.get("/login")
    answer = visitor.post("/login", email=next(site.people).email, password=PASSWORD)
    times["POST /login"].append(answer.expect(303, "/login/code"))
    visitor.close()


def _give_codes(site: Site, times: Times) -> None:
    stranger = Visitor(site.port)
    stranger.get("/login")
    times["GET /login"].append(stranger.get("/login").expect(200))
    stranger.close()
    person = next(site.people)
    visitor = site.past_the_password(person)
    visitor.get("/login/code")
    times["GET /login/code"].append(visitor.get("/login/code").expect(200))
    times["POST /login/code"].append(visitor.post("/login/code", code=person.code()).expect(303, "/account"))
    times["GET /account"].append(visitor.get("/account").expect(200))
    visitor.get("/ok")
    times[OWN].append(visitor.get("/ok").expect(200))
    visitor.close()
    person = next(site.people)
    key, visitor = site.give_key(person), site.past_the_password(person)
    answer = key.get(options_in(visitor.get("/login/key").body))
    times["POST /login/key"].append(visitor.post("/login/key", answer=answer).expect(303, "/account"))
    visitor.close()
    person = next(site.people)
    visitor = site.past_the_password(person)
    visitor.get("/login/recovery")
    answer = visitor.post("/login/recovery", recovery_code=person.recovery_code)
    times["POST /login/recovery"].append(answer.expect(303, "/mfa/recovery-code"))
    visitor.close()


def _use(beside: References) -> None:
    visitor, times = Visitor(beside.port), beside.times
    visitor.get("/form")
    times[FORM].append(visitor.post("/form", email="maya@example.com", password=PASSWORD).expect(303, "/form"))
    visitor.close()
    if beside.peer:
        _use_peer(beside.peer, next(beside.peer_people), times)


def _use_peer(port: int, person: dict[str, Any], times: Times) -> None:
    """The same two steps as Flask-Security has them."""
    secret = totp.read_setup_key(person["key"]) or b""
    for step, path, code in (
        ("POST /login/code", "/tf-validate", totp.code_at(secret, int(time.time()))),
        ("POST /login/recovery", "/mf-recovery", person["codes"].pop()),
    ):
        visitor = Visitor(port)
        visitor.get("/login")
        visitor.post("/login", email=person["email"], password=PASSWORD)
        visitor.get(path).expect(200)
        answer = visitor.post(path, code=code)
        times[f"{PEER} {step}"].append(answer.expect(302, answer.header("Location")))
        if visitor.get(path).status == 200:
            raise RuntimeError(f"{PEER} did not take the code:\n{answer.head}")
        visitor.close()


def _visit(port: int, path: str, pages_a_second: list[float]) -> None:
    """Note how many pages are served to several visitors at once."""
    started = time.perf_counter()

    def visit() -> int:
        visitor, served = Visitor(port), 0
        while time.perf_counter() < started + SLICE_SECONDS:
            visitor.get(path).expect(200)
            served += 1
        visitor.close()
        return served

    served = sum(at_once([visit] * CLIENTS))
    pages_a_second.append(served / (time.perf_counter() - started))


def _start(site: Site) -> list[Row]:
    """What a process takes until it can serve."""
    command = [sys.executable, "-c", START]
    environment = {**os.environ, **{f"FLASK_{key}": value for key, value in site.settings.items()}}
    said = [subprocess.check_output(command, cwd=ROOT, env=environment).split() for _ in range(5)]
    names = ("import app", "create_app()")
    return [
        Row(name, median(map(float, took)) * 1000, "ms")
        for name, took in zip(names, zip(*said, strict=True), strict=True)
    ]
