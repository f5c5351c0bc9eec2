"""What each step takes, beside the least that it could take and beside the same step on a site with many more people.
All take turns all the time, so that what else the machine does happens to both sides of every ratio."""

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from statistics import median

from benchmarks.figures import Row
from benchmarks.sites import PASSWORD, ROOT, Site, gunicorn
from benchmarks.visitor import Visitor, options_in
from tests.support.races import at_once

STEPS = ("GET /login", "POST /login", "GET /login/code", "POST /login/code", "POST /login/recovery", "GET /account")
BARE, FORM, VERIFY = "bare Flask", "a form, one commit", "one argon2 verify"
BESIDE = [
    ("POST /login", VERIFY, "<= 1.1"),
    ("POST /login/code", BARE, "<= 3"),
    ("POST /login/code", FORM, ""),
    ("POST /login/key", FORM, ""),
    ("POST /login/recovery", BARE, "<= 3"),
    ("POST /login/recovery", FORM, ""),
]
PASSWORDS_A_ROUND, CODES_A_ROUND = 3, 8
CLIENTS = 8
SLICE_SECONDS = 0.1
START = """
from time import perf_counter as now
begun = now(); import app; imported = now(); app.create_app(); print(imported - begun, now() - imported)
"""

Times = defaultdict[str, list[float]]


def measure(small: Site, large: Site, seconds: float) -> list[Row]:
    """Rounds of every step on both sites, and of the references, for about so long."""
    few, many, least, pages = Times(list), Times(list), Times(list), Times(list)
    references = gunicorn(["benchmarks.references:app"], small.folder, small.settings)
    with references as (port, _), small.served(), large.served():
        idle, end = small.memory(), time.monotonic() + seconds
        passwords = [partial(_verify, port, least), partial(_give_password, small, few)]
        passwords += [partial(_give_password, large, many)]
        codes = [partial(_send_forms, port, least), partial(_give_codes, small, few), partial(_give_codes, large, many)]
        served = {"ours": (small.port, "/login"), BARE: (port, "/"), FORM: (port, "/form")}
        visits = [partial(_visit, *where, pages[name]) for name, where in served.items()]
        while time.monotonic() < end:
            for acts in (*[passwords] * PASSWORDS_A_ROUND, *[codes] * CODES_A_ROUND, visits):
                for act in random.sample(acts, len(acts)):  # whoever comes first is quicker
                    act()
        memory = [Row("memory of a worker", idle, "MiB"), Row("after all this", small.memory(), "MiB")]
    pairs = [(step, few[step], least[name], name, promise) for step, name, promise in BESIDE]
    crowd, people = f"with {large.size:,} people", f"with {small.size:,}"
    pairs += [(f"{step} {crowd}", many[step], few[step], people, "<= 1.2") for step in STEPS]
    rows = [Row(what, median(a) * 1000, "ms", median(b) * 1000, name, promise) for what, a, b, name, promise in pairs]
    for name, promise in ((BARE, ">= 0.6"), (FORM, "")):
        rows.append(Row("GET /login by many at once", median(pages["ours"]), "/s", median(pages[name]), name, promise))
    return rows + memory + _start(small)


def _verify(port: int, times: Times) -> None:
    """In a worker, as sign-ins are: on some days a machine is kinder to the process that measures."""
    visitor = Visitor(port)
    visitor.get("/")
    times[VERIFY].append(float(visitor.get("/verify").body))
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


def _send_forms(port: int, times: Times) -> None:
    visitor = Visitor(port)
    visitor.get("/form")
    times[BARE].append(visitor.post("/", code="123456").expect(200))
    times[FORM].append(visitor.post("/form", email="maya@example.com", password=PASSWORD).expect(303, "/form"))
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
