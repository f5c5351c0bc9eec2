"""Many acts at one moment, each in a thread of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

from flask import Flask

from tests.support.pages import Browser, Page
from tests.support.people import Person, give_password


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """Run all of them, each in a thread of its own, started together; their results."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def past_the_password(app: Flask, person: Person, path: str) -> tuple[Browser, Page]:
    browser = Browser(app)
    give_password(browser, person)
    return browser, browser.get(path)


def all_send(waiting: list[tuple[Browser, Page]], **typed: Any) -> list[Page]:
    return at_once([partial(browser.send, page, typed) for browser, page in waiting])
