"""Many at the same moment: one code in many browsers, and a flood of sign-ins."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event

from benchmarks.figures import Row
from benchmarks.sites import PASSWORD, Site, gunicorn
from benchmarks.visitor import Visitor
from tests.support.races import at_once

FORMS = [("/login/recovery", "recovery_code"), ("/login/code", "code")]
BROWSERS = 20
APP = "wiki.example.org"
CLIENTS = 8
SLICE_SECONDS = 0.2
READERS = 4
TICK_SECONDS = 0.1
HASH_MIB = 64  # argon2's memory at its default cost
PATIENCE_SECONDS = 150


def one_code(site: Site, rounds: int) -> list[Row]:
    """One code typed at once into many browsers, past the password, on 4 workers of 4 threads; how many get in."""
    statuses, rows = Counter[int](), []
    with site.served("--workers=4", "--threads=4", ADDRESS_LIMIT="0", TRUSTED_PROXIES="1"):
        for path, field in FORMS:
            got_in = []
            for _ in range(rounds):
                person = next(site.people)
                browsers = [site.past_the_password(person) for _ in range(BROWSERS)]
                for browser in browsers:
                    browser.get(path).expect(200)
                code = person.code() if field == "code" else person.recovery_code
                answers = at_once([partial(browser.post, path, **{field: code}) for browser in browsers])
                statuses.update(answer.status for answer in answers)
                got_in.append(sum(map(_arrives, browsers)))
            worst = max(got_in, key=lambda number: abs(number - 1))
            rows.append(Row(f"{BROWSERS} browsers send one {field} at once: sign-ins", worst, promise="= 1"))
    broken = sum(count for status, count in statuses.items() if status >= 500)
    return [*rows, Row("answers 5xx to these browsers", broken, promise="= 0")]


def _arrives(browser: Visitor) -> bool:
    """Whether the browser comes to be signed in, by whatever it may do next."""
    if browser.get("/mfa/recovery-code").status == 200:
        browser.post("/mfa/recovery-code", saved="yes")
        browser.get("/mfa/lost-device")
        browser.post("/mfa/lost-device", still_have="yes")
    arrived = browser.get("/account").status == 200
    browser.close()
    return arrived


def ask(site: Site, seconds: float) -> list[Row]:
    """What proxies of other sites ask for somebody with a pass, by turns with a bare page; how often a second."""
    signed_in = site.pass_for(next(site.people), APP)
    proxied = {"SITE_URL": "https://accounts.example.org", "APPS": f"https://{APP}", "TRUSTED_PROXIES": "1"}
    by_a_proxy = {"X-Forwarded-Host": APP, "X-Forwarded-Proto": "https", "Cookie": f"__Host-pass={signed_in}"}
    references = gunicorn(["benchmarks.references:app"], site.folder, site.settings)
    with (
        references as (bare, _),
        gunicorn(["app:create_app()"], site.folder, {**site.settings, **proxied}) as (ours, _),
    ):
        served = {"ours": (ours, "/.sparekey/check", by_a_proxy), "bare": (bare, "/", {})}
        answers, end = {name: list[float]() for name in served}, time.monotonic() + seconds
        while time.monotonic() < end:
            for name, where in served.items():
                answers[name].append(_answers_a_second(*where))
    figures = [median(answers[name]) for name in served]
    return [Row("/.sparekey/check by many at once", figures[0], "/s", figures[1], "bare Flask", ">= 0.5")]


def _answers_a_second(port: int, path: str, headers: dict[str, str]) -> float:
    started = time.perf_counter()

    def visit() -> int:
        visitor, answers = Visitor(port, headers=headers), 0
        while time.perf_counter() < started + SLICE_SECONDS:
            visitor.get(path).expect(200)
            answers += 1
        visitor.close()
        return answers

    return sum(at_once([visit] * CLIENTS)) / (time.perf_counter() - started)


def flood(site: Site, visitors: int, floods: int, idle_seconds: float) -> list[Row]:
    """Many give their password at once, again and again, while others read pages, as they do between the floods."""
    answers, arrived, busy = Counter[str](), list[list[float]](), list[float]()
    with site.served(TRUSTED_PROXIES="1"):
        idle, fresh = _idle_waits(site, idle_seconds), site.memory()
        for _ in range(floods):
            before = site.memory()
            for pid in site.workers:
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # peaks count from here
            waiting = [Visitor(site.port) for _ in range(visitors)]
            for visitor in waiting:
                visitor.get("/login").expect(200)
            with _readers(site) as waits:
                arrived.append(_come_at_once(site, waiting, answers))
            busy += waits
            idle += _idle_waits(site, idle_seconds)
        peak, afterwards = site.memory("VmHWM"), site.memory()
    slots = site.app.config["PASSWORD_HASH_SLOTS"]
    broken = sum(count for answer, count in answers.items() if answer >= "5" and answer != "503 later")
    return [
        Row(f"{visitors} sign-ins at once: got in", min(map(len, arrived)), promise=f"= {visitors}"),
        Row("a worker's memory, above idle", peak - before, "MiB", slots * HASH_MIB, "its slots", "<= 1.05"),
        Row("what the first floods left, all threads at work", before - fresh, "MiB"),
        Row("what the last flood left", max(afterwards - before, 0), "MiB", promise="<= 4"),
        Row("a signed-in page", median(busy) * 1000, "ms", median(idle) * 1000, "idle", "<= 5"),
        Row("answers 5xx but for 503 with Retry-After", broken, promise="= 0"),
        Row("answers 503 with Retry-After", answers["503 later"] / floods),
        Row("until the last is in", max(max(times, default=0) for times in arrived), "s"),
    ]


def _come_at_once(site: Site, visitors: list[Visitor], answers: Counter[str]) -> list[float]:
    """Each signs in, and comes again when a page asks for that; after how long those got in who did. Counts what they
    were answered."""
    arrived, begun = list[float](), time.perf_counter()

    def come(visitor: Visitor, email: str) -> None:
        while time.perf_counter() - begun < PATIENCE_SECONDS:
            answer = visitor.post("/login", email=email, password=PASSWORD)
            wait = answer.header("Retry-After")
            answers[f"{answer.status} {wait and 'later'}"] += 1
            if answer.header("Location") == "/login/code":
                arrived.append(time.perf_counter() - begun)
            if not wait:
                return
            time.sleep(int(wait))

    at_once([partial(come, visitor, next(site.people).email) for visitor in visitors])
    return arrived


def _idle_waits(site: Site, seconds: float) -> list[float]:
    """What readers wait while nobody else is there."""
    with _readers(site) as waits:
        time.sleep(seconds)
    return waits


@contextmanager
def _readers(site: Site) -> Iterator[list[float]]:
    """People who open a signed-in page every tick, and what they wait for it. It counts from when the page was due: one
    that is stuck stands for all that would have been opened meanwhile. RuntimeError when one of them is refused it."""
    waits, over = list[float](), Event()

    def read(reader: Visitor, due: float) -> None:
        while not over.is_set():
            time.sleep(max(due - time.perf_counter(), 0))
            reader.get("/account").expect(200)
            waits.append(time.perf_counter() - due)
            due += TICK_SECONDS

    readers, now = [site.sign_in() for _ in range(READERS)], time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(read, reader, now + n * TICK_SECONDS / READERS) for n, reader in enumerate(readers)]
        try:
            yield waits
        finally:
            over.set()
    for each in reading:
        each.result()
