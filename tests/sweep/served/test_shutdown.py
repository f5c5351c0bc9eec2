"""Gunicorn told to end: what it has accepted is answered and whole, mails that wait are sent, and it ends by itself."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.apps import KEY, ROOT, on_sqlite
from tests.support.inbox import Inbox, listening
from tests.support.mails import link_in, mail_url
from tests.support.pages import Browser
from tests.support.people import Person
from tests.support.races import at_once
from tests.support.servers import Answer, Moment, Site, World, served

GRACEFUL_SECONDS = 30  # gunicorn's default
DEAR = "m=65536,t=3,p=4"
HASHING = ["password", "change of password", "password chosen by a link"] * 4 + ["step up"]
OTHERS = ["six digit code", "recovery code", "prompt after a recovery code", "first setup", "sign out"]


def wait_until_accepted(site: Site, are_sent: Callable[[int], bool]) -> None:
    """Until as many connections are open as are needed, and none waits in the listener's backlog."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [row for row in rows if row[1].endswith(f":{site.port:04X}")]
        backlog = [int(row[4].partition(":")[2], 16) for row in ours if row[3] == "0A"]
        if backlog == [0] and are_sent([row[3] for row in ours].count("01")):
            return
        time.sleep(0.001)
    raise TimeoutError


def test_what_was_accepted_is_answered_whole_and_the_server_ends_by_itself(
    app: Flask, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    with served(app, tmp_path, workers=2, graceful_seconds=GRACEFUL_SECONDS, PASSWORD_HASH_COST=DEAR) as site:
        world, answered = World(site, make_person), list[float]()
        moments = [world.meet(name) for name in [*HASHING, *OTHERS]]
        before = [moment.browser.sent for moment in moments]

        def send(moment: Moment) -> Answer:
            answer = moment.send()
            answered.append(time.monotonic())
            return answer

        def end() -> float:
            wait_until_accepted(site, lambda still_open: len(answered) + still_open >= len(moments))
            while any(moment.browser.sent == n for moment, n in zip(moments, before, strict=True)):
                time.sleep(0.001)
            time.sleep(0.1)  # until a worker has seen what the last one sent: on an idle connection nobody waits
            site.server.send_signal(signal.SIGTERM)
            return time.monotonic()

        *answers, ended_at = at_once([*[lambda moment=moment: send(moment) for moment in moments], end])
        assert site.server.wait(GRACEFUL_SECONDS) == 0
    assert len([at for at in answered if at > ended_at]) > len(HASHING) / 2
    assert {answer.status_code for answer in answers} == {303}
    assert "Traceback" not in site.said()
    (again := tmp_path / "again").mkdir()
    with served(app, again) as fresh:
        for moment, answer in zip(moments, answers, strict=True):
            moment.browser.site = fresh
            assert moment.goes_on(answer).path == moment.leads_to


# Mails ----------------------------------------------------------------------------------------------------------------


class SlowInbox(Inbox):
    async def handle_DATA(self, *mail: Any) -> str:
        await asyncio.sleep(0.3)
        return await super().handle_DATA(*mail)


@pytest.fixture
def inbox(port: int) -> Iterator[Inbox]:
    with listening(SlowInbox(), port) as inbox:
        yield inbox


def use_recovery_codes(site: Site, make_person: Callable[..., Person], people: int) -> None:
    """Two mails for each of them."""
    world = World(site, make_person)
    for _ in range(people):
        _, browser, page = world.recovering()
        assert browser.submit(page, saved="yes").status == 200


@on_sqlite
def test_mails_that_wait_are_sent_before_the_server_ends(
    app: Flask, make_person: Callable[..., Person], inbox: Inbox, port: int, tmp_path: Path
) -> None:
    with served(app, tmp_path, workers=1, graceful_seconds=GRACEFUL_SECONDS, MAIL_URL=mail_url(port)) as site:
        use_recovery_codes(site, make_person, 4)
        site.server.send_signal(signal.SIGTERM)
        assert inbox.mails.qsize() < 6
        assert site.server.wait(GRACEFUL_SECONDS) == 0
    subjects = sorted(mail["Subject"] for mail in inbox.mails.queue)
    told = ["Sparekey: A new recovery code was saved", "Sparekey: Your recovery code was used"]
    assert subjects == [subject for subject in told for _ in range(4)]
    assert "not sent" not in site.said()
    assert "Traceback" not in site.said()


@on_sqlite
def test_links_that_were_asked_for_are_mailed_before_the_server_ends(
    app: Flask, make_person: Callable[..., Person], inbox: Inbox, port: int, tmp_path: Path
) -> None:
    people = [make_person(f"person{number}@example.com") for number in range(4)]
    with served(app, tmp_path, workers=1, graceful_seconds=GRACEFUL_SECONDS, MAIL_URL=mail_url(port)) as site:
        for person in people:
            assert site.browser().submit("/forgot", email=person.email).h1 == "Look in your mail"
        site.server.send_signal(signal.SIGTERM)
        assert inbox.mails.qsize() < 4
        assert site.server.wait(GRACEFUL_SECONDS) == 0
    mails = list(inbox.mails.queue)
    assert [mail["To"] for mail in mails] == [person.email for person in people]
    assert {Browser(app).open(link_in(mail)).status for mail in mails} == {200}
    assert "not sent" not in site.said()
    assert "Traceback" not in site.said()


@on_sqlite
def test_links_that_are_lost_when_the_server_ends_are_one_line_of_the_log(
    app: Flask, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    omar = make_person("omar@example.com")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = mail_url(mute.getsockname()[1])
        with served(app, tmp_path, workers=1, graceful_seconds=GRACEFUL_SECONDS, MAIL_URL=url) as site:
            for email in (omar.email, "nobody@example.com"):
                assert site.browser().submit("/forgot", email=email).h1 == "Look in your mail"
            site.server.send_signal(signal.SIGTERM)
            assert site.server.wait(GRACEFUL_SECONDS) == 0
    assert site.said().count("the process ended with 2 mails not sent") == 1
    assert "Traceback" not in site.said()


@on_sqlite
def test_a_mail_server_that_does_not_answer_holds_up_the_end_for_seconds_and_the_log_tells_of_it(
    app: Flask, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = mail_url(mute.getsockname()[1])
        with served(app, tmp_path, workers=1, graceful_seconds=GRACEFUL_SECONDS, MAIL_URL=url) as site:
            use_recovery_codes(site, make_person, 1)
            site.server.send_signal(signal.SIGTERM)
            assert site.server.wait(GRACEFUL_SECONDS) == 0
    assert "the process ended with 2 mails not sent" in site.said()
    assert "Traceback" not in site.said()


@on_sqlite
def test_a_command_ends_once_its_mail_is_sent(
    app: Flask, make_person: Callable[..., Person], inbox: Inbox, port: int
) -> None:
    omar = make_person("omar@example.com")
    settings = {"SECRET_KEY": KEY, "DATABASE_URL": app.config["DATABASE_URL"], "MAIL_URL": mail_url(port)}
    command = [sys.executable, "-m", "flask", "--app", "app", "users", "reset-mfa", omar.email]
    env = {"PATH": os.environ["PATH"], **{f"FLASK_{key}": value for key, value in settings.items()}}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "/welcome/" in done.stdout
    assert [mail["Subject"] for mail in inbox.mails.queue] == ["Sparekey: Your sign-in was reset"]
