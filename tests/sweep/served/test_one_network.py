"""One right password, sent again and again over 40 connections of one address: others sign in as if it were not."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from flask import Flask

from models import Throttle
from tests.support.people import Person
from tests.support.races import at_once
from tests.support.servers import RemoteBrowser, served
from tests.support.tables import rows

CONNECTIONS, OTHERS, ANSWERS = 40, 12, 500
COST = "m=19456,t=2,p=1"

pytestmark = [pytest.mark.databases, pytest.mark.alone]


def send(browser: RemoteBrowser, person: Person) -> Callable[[], int]:
    """Giving the password, from the same page each time; what is answered."""
    form = browser.open("/login").form_with("email")
    typed = {**form.fields, "email": person.email, "password": person.password}
    return lambda: browser.ask(form.action, "POST", typed).status_code


def test_a_flood_from_one_address_turns_away_nobody_else_and_leaves_no_charge(
    app: Flask, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    mallory = make_person("mallory@example.com")
    people = [make_person(f"person{number}@example.com") for number in range(OTHERS)]
    with served(app, tmp_path, workers=2, threads=16, PASSWORD_HASH_COST=COST, ADDRESS_LIMIT=100) as site:
        flood = [send(site.browser("203.0.113.66"), mallory) for _ in range(CONNECTIONS)]
        others = [send(site.browser(), person) for person in people]
        seen, is_over = list[int](), Event()

        def send_until_over(give: Callable[[], int]) -> None:
            while not is_over.wait(0.2):
                seen.append(give())

        def come_while_it_goes_on() -> list[list[int]]:
            """Four at a time: even if all came to one worker, its line would have room for them beside the flood."""
            time.sleep(1)
            try:
                with ThreadPoolExecutor(4) as pool:
                    answers = list(pool.map(lambda give: [give() for _ in range(3)], others))
                is_over.wait(max(0, ANSWERS - len(seen)) / 50)
                return answers
            finally:
                is_over.set()

        *_, answers = at_once([*[partial(send_until_over, give) for give in flood], come_while_it_goes_on])
    assert answers == [[303] * 3] * OTHERS
    assert set(seen) <= {303, 429, 503}
    assert min(seen.count(303), seen.count(503)) > 0
    assert len(seen) >= ANSWERS
    assert "Traceback" not in site.said()
    assert rows(app, Throttle) == []
