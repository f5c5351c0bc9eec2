"""A year in which somebody who knows the password guesses six-digit codes, against the pages, with the clock held."""

import re
from itertools import cycle

import pytest
from flask import Flask

from authn.throttle import ONE_TIME_CODE
from models import Throttle
from tests.support.apps import on_sqlite
from tests.support.people import PASSWORD, Clock, Person
from tests.support.tables import rows

HOURS = 365 * 24
RIGHT_ONES = 3 / 1_000_000  # of all codes, those that an app accepts at a moment


class Visitor:
    """A browser that follows nothing and looks at no page."""

    def __init__(self, app: Flask, mark: str = "") -> None:
        self.client = app.test_client()
        if mark:
            self.client.set_cookie("known-browser", mark)

    def send(self, path: str, **fields: str) -> int:
        token = re.search('name="csrf_token"[^>]* value="([^"]+)"', self.client.get(path).text)
        assert token
        return self.client.post(path, data={**fields, "csrf_token": token[1]}).status_code

    def gives(self, person: Person, code: str) -> int:
        status = self.send("/login", email=person.email, password=PASSWORD)
        return self.send("/login/code", code=code) if status == 303 else status


def sign_in(app: Flask, person: Person, mark: str = "") -> str:
    """In a browser that was never here, or that has a mark. The mark that it is given."""
    visitor = Visitor(app, mark)
    assert visitor.gives(person, person.code()) == 303
    cookie = visitor.client.get_cookie("known-browser")
    return cookie.value if cookie else ""


def may_fail(app: Flask, bucket: str, now: int) -> bool:
    """Whether one more failure leaves the count below its stop, where it would stay. A guesser can reckon that, too."""
    counts = [Throttle(**row).count for row in rows(app, Throttle) if row["key"].startswith(ONE_TIME_CODE.kind)]
    kept = [row["key"].endswith(bucket) for row in rows(app, Throttle) if row["key"].startswith(ONE_TIME_CODE.kind)]
    left = [ONE_TIME_CODE.decayed(count, now).failures for count, is_it in zip(counts, kept, strict=True) if is_it]
    return max(left, default=0) < (ONE_TIME_CODE.stop or 0) - 1


@on_sqlite  # long, and about the pages
@pytest.mark.parametrize(
    ("guesser", "hours_between"),
    [("strangers", 24), ("strangers", 1), ("known browsers", 24), ("strangers and known browsers", 24)],
    ids=[
        "the owner signs in daily",
        "the owner signs in hourly",
        "in browsers that were made known for an hour",
        "in those and in others",
    ],
)
def test_a_year_of_guesses_with_the_password_finds_a_code_in_less_than_three_of_a_thousand(
    app: Flask, omar: Person, clock: Clock, caplog: pytest.LogCaptureFixture, guesser: str, hours_between: int
) -> None:
    caplog.set_level("ERROR", "sparekey.events")
    marks: dict[str, list[str]] = {":": [""]} if "strangers" in guesser else {}
    if "known browsers" in guesser:
        marks[":known"] = []
        for _ in range(120):
            marks[":known"].append(sign_in(app, omar))
            clock.pass_by(30)
    # Guesses in known browsers are counted as strangers' too, so that in the end no browser of the owner's is new.
    own, most = (sign_in(app, omar), 930) if len(marks) > 1 else ("", 830)
    browsers, guesses = {bucket: cycle(each) for bucket, each in marks.items()}, 0
    for hour in range(HOURS):
        clock.pass_by(3600)
        if hour % hours_between == 0:
            sign_in(app, omar, own)
        for bucket, each in marks.items():
            for _ in each:
                if not may_fail(app, bucket, clock.now):
                    break
                guesses += Visitor(app, next(browsers[bucket])).gives(omar, omar.wrong_code()) == 422
    chance = guesses * RIGHT_ONES
    print(f"{guesses} guesses in a year by {guesser}, the owner signing in every {hours_between} h: {chance:.2%}")
    assert 800 < guesses <= most
    assert chance < 0.003
