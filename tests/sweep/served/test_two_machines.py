"""Two machines on one database, behind nginx: one dies in the middle of an enrollment or of a recovery, and the other
goes on. Nobody notices but by an error and a second try."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from models import Session
from tests.support.apps import on_postgresql
from tests.support.proxies import balancer
from tests.support.servers import Site, World, served
from tests.support.tables import live_codes, rows

pytestmark = on_postgresql


@pytest.fixture
def machines(app: Flask, tmp_path: Path) -> Iterator[list[Site]]:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with served(app, folders[0], workers=2) as first, served(app, folders[1], workers=2) as second:
        yield [first, second]
    assert "Traceback" not in first.said() + second.said()


@pytest.fixture
def world(machines: list[Site], make_person: Callable[..., Any], tmp_path: Path) -> Iterator[World]:
    with balancer(tmp_path / "balancer", *(machine.port for machine in machines)) as port:
        yield World(replace(machines[0], port=port), make_person)


def crash(machine: Site) -> None:
    """As when the power fails."""
    for process in machine.processes():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    machine.server.wait(20)


def where_a_worker_died(machines: list[Site], before: list[set[int]]) -> Site:
    """The machine that has another one in its place, as soon as it has."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for machine, known in zip(machines, before, strict=True):
            if {*machine.processes()} - known:
                return machine
    raise AssertionError("no worker has died")


@pytest.mark.parametrize(
    "moment", ["first setup", "prompt of a first setup", "recovery code", "prompt after a recovery code"]
)
def test_the_other_machine_goes_on_where_one_has_died(machines: list[Site], world: World, moment: str) -> None:
    """A worker in the middle of the transaction, then all of its machine."""
    here, before = world.meet(moment), [{*machine.processes()} for machine in machines]
    assert here.send(die_at=2).status_code == 502
    crash(where_a_worker_died(machines, before))
    page = here.goes_on(here.send())
    assert page.path == here.leads_to
    if page.path == "/mfa/recovery-code":
        page = here.browser.submit(page, saved="yes")
    if page.path == "/mfa/lost-device":
        page = here.browser.submit(page, still_have="yes")
    assert page.h1 == "Security"
    assert here.browser.get("/account").h1 == "Security"
    assert live_codes(world.site.app) == 1
    assert [row["step"] for row in rows(world.site.app, Session)] == ["signed_in"]
