"""How what a request takes grows: with the people of a site, with the sessions and events of one person, and with the
threads that serve. Each act is the median of some, on one site that is filled further and further."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.figures import Curve
from benchmarks.sites import CROWD, Site, fill
from benchmarks.visitor import Visitor
from models import User
from tests.support.races import at_once

SESSIONS = """
INSERT INTO session (token_digest, user_id, step, step_at, second_factor, created_at, last_seen_at, remote_addr,
    user_agent, next_path, refused_answers)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
SELECT lower(hex(randomblob(32))), {user}, 'signed_in', {now}, 'totp', {now}, {now}, '203.0.113.7', '', '', 0 FROM n
"""
EVENTS = """
INSERT INTO event (at, kind, user_id, actor, remote_addr, user_agent, detail, count)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
SELECT {now} - 86400, 'signed_in', {user}, '', '203.0.113.7', '', 'totp', 1 FROM n
"""
FORGET_CODES = "UPDATE totp_authenticator SET last_step = 0, earlier_steps = '' WHERE user_id = {user}"
SLICE_SECONDS, SLICES = 0.5, 3

Acts = dict[str, Callable[[], float]]


def measure(site: Site, *, quick: bool) -> list[Curve]:
    samples = 1 if quick else 9
    sizes = (10, 100) if quick else (4_000, 64_000, 1_000_000)
    sessions, events = ((1, 10), (10, 100)) if quick else ((1, 100, 10_000), (100, 10_000, 1_000_000))
    threads = (1, 2) if quick else (1, 2, 4, 8, 16, 32)
    with site.served():
        guest, owner = _Guest(site), _Guest(site)
        curves = _grow("sessions of one person", sessions, guest.have(SESSIONS), guest.acts(), samples)
        curves += _grow("events of one person", events, owner.have(EVENTS), owner.acts(), samples)
        admin = _Guest(site, is_admin=True)
        curves += _grow("people of the site", sizes, admin.have(CROWD), {**admin.acts(), **admin.admin_acts()}, samples)
    return curves + _by_threads(site, threads)


class _Guest:
    """Somebody who is signed in, and signs in again and again."""

    def __init__(self, site: Site, *, is_admin: bool = False) -> None:
        self.site, self.person, self.count = site, next(site.people), 0
        with site.app.app_context():
            self.user = User.get(User.email == self.person.email).id
            User.update(is_admin=is_admin).where(User.id == self.user).execute()
        self.visitor = site.signed_in(self.person)

    def have(self, filling: str) -> Callable[[int], None]:
        """What brings the rows of this kind up to a number."""

        def add(wanted: int) -> None:
            self._fill(filling, count=wanted - self.count)
            self.count = wanted

        return add

    def acts(self) -> Acts:
        return {
            "a closed page of your own": partial(self._open, "/ok"),
            "POST /login/code": lambda: self._give_code(self._past_the_password()),
            "GET /account": partial(self._open, "/account"),
            "GET /account/activity": partial(self._open, "/account/activity"),
        }

    def admin_acts(self) -> Acts:
        pages = ("/admin/people", "/admin/audit", "/admin/settings/recovery-codes")
        return {f"GET {path}": partial(self._open, path) for path in pages}

    def _open(self, path: str) -> float:
        return self.visitor.get(path).expect(200)

    def _past_the_password(self) -> Visitor:
        self._fill(FORGET_CODES)
        visitor = self.site.past_the_password(self.person)
        visitor.get("/login/code").expect(200)
        return visitor

    def _give_code(self, visitor: Visitor) -> float:
        return visitor.post("/login/code", code=self.person.code()).expect(303, "/account")

    def _fill(self, filling: str, count: int = 0) -> None:
        fill(self.site.folder, filling.format(user=self.user, now=int(time.time()), count=count, password_hash=""))


def _grow(what: str, sizes: tuple[int, ...], add: Callable[[int], None], acts: Acts, samples: int) -> list[Curve]:
    curves = [Curve(what, act, "ms") for act in acts]
    for size in sizes:
        add(size)
        for curve, act in zip(curves, acts.values(), strict=True):
            act()
            curve.figures[f"{size:,}"] = median(act() for _ in range(samples)) * 1000
    return curves


def _by_threads(site: Site, numbers: tuple[int, ...]) -> list[Curve]:
    """What one worker with so many threads serves to as many browsers as there are threads at most."""
    curve, person = Curve("threads of one worker", "a closed page of your own", "/s"), next(site.people)
    for number in numbers:
        with site.served("--workers=1", "--worker-class=gthread", f"--threads={number}"):
            browsers = [site.signed_in(person) for _ in range(max(numbers))]
            curve.figures[str(number)] = median(_pages_a_second(browsers) for _ in range(SLICES))
    return [curve]


def _pages_a_second(browsers: list[Visitor]) -> float:
    started = time.perf_counter()

    def visit(browser: Visitor) -> int:
        served = 0
        while time.perf_counter() < started + SLICE_SECONDS:
            browser.get("/ok").expect(200)
            served += 1
        return served

    return sum(at_once([partial(visit, browser) for browser in browsers])) / (time.perf_counter() - started)
