"""Every page of the site in every state a visitor can meet it in, and how somebody gets there.

A place is a function from a World to a Visit. It is the same for a test client and for a real browser: both open the
visit's path with the cookies of its browser and, where something is typed, fill in the form that is served."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Flask

from tests.support.pages import Browser, Page
from tests.support.people import Clock, Person

LONG = f"{'maya-who-has-a-long-name-' * 2}and-no-dots@{'a-long-name-of-a-host-' * 2}without-end.{'example-' * 6}com"


SLIP_OF_THE_PEN = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ4"


SETUP = "Set up your authenticator app"


SAVE = "Save your recovery code"


SAVE_NEW = "You're in. Save your new recovery code"


LOST = "Do you still have your authenticator app?"


PAUSED = "Too many tries"


OFF = "Recovery codes are off"


class World:
    """A site and whoever a visit to it needs."""

    def __init__(self, app: Flask, clock: Clock, make_person: Callable[..., Person]) -> None:
        self.app, self.clock = app, clock
        self.person = partial(make_person, on=app)

    def maya(self, email: str = "maya@example.com") -> Person:
        """Not enrolled."""
        return self.person(email, enrolled=False)

    def omar(self, email: str = "omar@example.com") -> Person:
        """Enrolled, recovery code saved."""
        return self.person(email)

    def ines(self, email: str = "ines@example.com") -> Person:
        """Enrolled without a recovery code; an admin."""
        return self.person(email, code=False, admin=True)

    def browser(self) -> Browser:
        return Browser(self.app, base_url=self.app.config["SITE_URL"])

    def turn_codes(self, on: bool) -> None:
        self.app.config["RECOVERY_CODES_ENABLED"] = on

    def breaks(self, endpoint: str, error: Exception) -> None:
        """From now on this page meets an error that nobody foresaw."""

        def broken() -> None:
            raise error

        broken.is_public = True  # type: ignore[attr-defined]
        self.app.view_functions[endpoint] = broken


@dataclass
class Visit:
    browser: Browser
    path: str
    typed: dict[str, str] | None = None  # what is filled in and sent there; None: the page is only opened

    def page(self) -> Page:
        page = self.browser.get(self.path)
        return page if self.typed is None else self.browser.follow(self.browser.send(page, self.typed))


@dataclass(frozen=True)
class Place:
    status: int
    h1: str
    go: Callable[[World], Visit]
    settings: dict[str, Any] = field(default_factory=dict)


PLACES: dict[str, Place] = {}


def place(status: int, h1: str, **settings: Any) -> Callable[[Callable[[World], Visit]], Callable[[World], Visit]]:
    """The function leads to a page with this status and heading, on a site with these settings."""

    def keep(go: Callable[[World], Visit]) -> Callable[[World], Visit]:
        PLACES[go.__name__.replace("_", " ")] = Place(status, h1, go, {"RECOVERY_CODES_ENABLED": True, **settings})
        return go

    return keep
