"""A flood of sign-ins, served as gunicorn.conf.py says and at the real price of a hash: hashing takes no more than its
slots, memory stays flat, signed-in pages stay quick, and everybody gets in who comes back when told to."""

import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from runpy import run_path
from statistics import median
from threading import Event

import pytest
from flask import Flask

from authn.passwords import Cost, Policy
from models import User
from settings import SETTINGS
from tests.support.apps import on_sqlite
from tests.support.pages import Form
from tests.support.people import PASSWORD, Person
from tests.support.races import at_once
from tests.support.sentences import BUSY_PAGE
from tests.support.servers import ROOT, Answer, RemoteBrowser, served

BROWSERS = 200
COST, SLOTS = Cost(), SETTINGS["PASSWORD_HASH_SLOTS"].default
GUNICORN = run_path(str(ROOT / "gunicorn.conf.py"))
WORKERS, THREADS = GUNICORN["workers"], GUNICORN["threads"]


class Worker:
    """A worker's memory in KiB, and how many hashes it computes: each has a thread of its own for every lane."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def memory(self, name: str = "VmRSS") -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])

    def forget_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")  # see proc(5): VmHWM begins anew

    def hashes(self) -> float:
        return (len(list((self._folder / "task").iterdir())) - (1 + THREADS)) / COST.parallelism


def sign_in(browser: RemoteBrowser, form: Form, n: int, over: list[float]) -> list[Answer]:
    """Every answer until the person has got in, or was told that the password is wrong, coming back when told to."""
    typed = {"email": f"{n}@example.com", "password": PASSWORD if n % 10 else "a lamp, a boat and a crow"}
    answers = []
    while True:
        answers.append(browser.ask(form.action, "POST", {**form.fields, **typed}))
        if answers[-1].status_code != 503:
            over.append(time.monotonic())
            return answers
        time.sleep(int(answers[-1].headers["Retry-After"]))


@pytest.mark.alone
@on_sqlite
def test_in_a_flood_of_sign_ins_everybody_gets_in_and_those_who_are_in_notice_little(
    app: Flask, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    ines = make_person("ines@example.com")
    with app.app_context():
        password_hash = Policy(COST).hash(PASSWORD)
        User.update(password_hash=password_hash).execute()
        for n in range(BROWSERS):
            User.create(email=f"{n}@example.com", password_hash=password_hash, created_at=1)

    cost = f"m={COST.memory_kib},t={COST.rounds},p={COST.parallelism}"
    with served(app, tmp_path, WORKERS, THREADS, PASSWORD_HASH_COST=cost) as site:
        reader = site.browser()
        reader.submit(reader.submit("/login", email=ines.email, password=PASSWORD), code=ines.code())
        doors = [(browser := site.browser(), browser.open("/login").form_with("email")) for _ in range(BROWSERS)]

        def pages_until(is_over: Event, most: float = inf) -> list[tuple[float, float]]:
            """When a signed-in page was opened, again and again, and how many seconds it took."""
            opened = list[tuple[float, float]]()
            while len(opened) < most and not is_over.wait(0.05):
                assert reader.ask("/account").status_code == 200
                opened.append((time.monotonic(), reader.seconds))
            return opened

        at_once([partial(reader.copy().ask, "/account")] * (4 * WORKERS * THREADS))  # until all threads are there
        idle = pages_until(Event(), most=40)
        workers = [Worker(pid) for pid in site.processes()[1:]]
        before = [worker.memory() for worker in workers]
        for worker in workers:
            worker.forget_peak()

        over, is_over, hashes = list[float](), Event(), list[float]()

        def watch() -> None:
            while not is_over.wait(0.01):
                hashes.extend(worker.hashes() for worker in workers)

        def flood() -> list[list[Answer]]:
            try:
                return at_once([partial(sign_in, *door, n, over) for n, door in enumerate(doors)])
            finally:
                is_over.set()

        answers, pages, _ = at_once([flood, partial(pages_until, is_over), watch])
        after, peak = [worker.memory() for worker in workers], [worker.memory("VmHWM") for worker in workers]
        idle += pages_until(Event(), most=40)

    turned_away = [answer for each in answers for answer in each[:-1]]
    assert {answer.status_code for answer in turned_away} == {503}
    assert all(BUSY_PAGE[0] in answer.get_data(as_text=True) for answer in turned_away)
    for n, each in enumerate(answers):
        assert (each[-1].status_code, each[-1].headers["Location"]) == ((303, "/mfa/setup") if n % 10 else (422, None))
    assert "Traceback" not in site.said()

    assert SLOTS <= max(hashes) < SLOTS + 1
    for rest, most, at_first in zip(after, peak, before, strict=True):
        assert most - rest <= SLOTS * COST.memory_kib * 1.05  # hashing took no more than its slots
        assert rest - at_first < COST.memory_kib / 4  # and gave it back

    thick = sorted(over)[BROWSERS * 3 // 4]  # then the flood thins out
    seconds = [seconds for at, seconds in pages if at < thick]
    third = len(seconds) // 3
    assert third > 20
    stretches = [seconds[n * third : (n + 1) * third] for n in range(3)]  # one of which other programs leave alone
    assert min(map(median, stretches)) <= 5 * median(seconds for _, seconds in idle)
