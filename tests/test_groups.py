"""Groups: who puts whom into which, and which pages open because of it."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from blueprints import access
from models import Event, User
from tests.support.commands import refusal, run, said
from tests.support.pages import Browser
from tests.support.people import Person, give_password, sign_in
from tests.support.tables import rows, statements


def hello() -> str:
    return "<!doctype html><html lang=en><title>Ops</title><h1>Ops</h1>"


def add_page(app: Flask, path: str, view: Callable[..., Any]) -> None:
    app.add_url_rule(path, path.strip("/"), view)


def groups_of(app: Flask, person: Person) -> str:
    with app.app_context():
        return str(User.get(User.email == person.email).groups)


# Pages for a group ----------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_a_page_for_a_group_opens_at_the_next_request_in_every_worker(
    make_app: Callable[..., Flask], make_person: Callable[..., Person]
) -> None:
    here, there = make_app(), make_app()
    omar, browsers = make_person("omar@example.com", on=here), [Browser(here), Browser(there)]
    for app, browser in zip((here, there), browsers, strict=True):
        add_page(app, "/ops", access.group_required("ops")(hello))
        sign_in(browser, omar)
        omar.clock.pass_by(30)

    def answers() -> set[tuple[int, str]]:
        return {(page.status, page.h1) for page in (browser.open("/ops") for browser in browsers)}

    closed = {(403, "You can't open this page")}
    assert answers() == closed
    assert "You're signed in as omar@example.com, who may not open it." in browsers[0].open("/ops").text
    said(run(there, "users", "groups", omar.email, "ops", "wiki"))
    assert answers() == {(200, "Ops")}
    said(run(here, "users", "groups", omar.email, "wiki"))
    assert answers() == closed


def test_whether_somebody_is_in_a_group_costs_no_statement(
    app: Flask, browser: Browser, omar: Person, caplog: pytest.LogCaptureFixture
) -> None:
    add_page(app, "/ops", access.group_required("ops")(hello))
    add_page(app, "/anybody", hello)
    said(run(app, "users", "groups", omar.email, "ops"))
    sign_in(browser, omar)
    asked = [statements(caplog, lambda path=path: browser.open(path)) for path in ("/ops", "/anybody")]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 1
    said(run(app, "users", "groups", omar.email, "--none"))
    assert browser.open("/ops").status == 403


def test_everybody_is_in_people_and_admins_alone_in_admins(app: Flask, omar: Person, ada: Person) -> None:
    for name in ("people", "admins"):
        add_page(app, f"/{name}", access.group_required(name)(hello))
    opened = {}
    for person in (omar, ada):
        sign_in(browser := Browser(app), person)
        opened[person.email] = [browser.open(path).status for path in ("/people", "/admins")]
    assert opened == {"omar@example.com": [200, 403], "ada@example.com": [200, 200]}
    stranger = Browser(app)
    assert stranger.open("/people").headers["Location"].startswith("/login?")
    give_password(stranger, omar)
    assert stranger.open("/people").headers["Location"] == "/login/code"


def careless(view: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator that takes along nothing of what the view says at its top."""
    return lambda: view()


@pytest.mark.parametrize(
    "view",
    [
        access.public(access.group_required("people")(hello)),
        access.group_required("people")(access.public(careless(hello))),
        access.public(careless(access.group_required("people")(hello))),
    ],
    ids=["public outside", "public inside", "public outside of something else"],
)
def test_a_page_that_is_public_and_for_a_group_never_opens(
    app: Flask, browser: Browser, ada: Person, view: Callable[[], Any]
) -> None:
    add_page(app, "/both", view)
    add_page(app, "/one", careless(access.group_required("people")(hello)))
    assert (browser.open("/both").status, browser.open("/one").status) == (403, 303)
    sign_in(browser, ada)
    assert (browser.open("/both").status, browser.open("/one").status) == (403, 200)


def test_a_page_for_two_groups_wants_both_and_keeps_what_else_it_says(
    app: Flask, browser: Browser, omar: Person
) -> None:
    add_page(app, "/both", access.group_required("ops")(access.group_required("wiki")(access.step_up_required(hello))))
    sign_in(browser, omar)
    for names, status in ((("ops",), 403), (("wiki",), 403), (("ops", "wiki"), 200)):
        said(run(app, "users", "groups", omar.email, *names))
        assert browser.open("/both").status == status
    omar.clock.pass_by(601)
    assert browser.open("/both").headers["Location"].startswith("/verify?")


@pytest.mark.parametrize("name", ["Ops", "ops wiki", "", "o" * 33])
def test_a_view_for_a_group_that_nobody_can_be_in_is_a_mistake_that_shows(name: str) -> None:
    with pytest.raises(ValueError, match="can't be a group"):
        access.group_required(name)
    assert access.group_required("ops")


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_sets_all_groups_of_a_person_and_says_them(app: Flask, omar: Person) -> None:
    assert said(run(app, "users", "groups", omar.email)) == "omar@example.com is in no group."
    assert rows(app, Event)[-1]["kind"] != "groups_changed"
    assert said(run(app, "users", "groups", "OMAR@example.com", "Wiki", "ops")) == "omar@example.com is in ops, wiki."
    assert said(run(app, "users", "groups", omar.email)) == "omar@example.com is in ops, wiki."
    assert said(run(app, "users", "groups", omar.email, "night-shift,ops")) == (
        "omar@example.com is in night-shift, ops."
    )
    event = rows(app, Event)[-1]
    assert (event["kind"], event["actor"], event["detail"]) == (
        "groups_changed",
        "the command line",
        "night-shift, ops",
    )
    assert said(run(app, "users", "groups", omar.email, "--none")) == "omar@example.com is in no group."
    assert [row["detail"] for row in rows(app, Event)[-2:]] == ["night-shift, ops", ""]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["ops", "--none"], "Give names or --none, and not both."),
        ([""], "Give names or --none, and not both."),
        (["ops", "o.ps"], "A group can't be called “o.ps”: use up to 32 small letters, numbers and dashes."),
        (["admins"], "Leave out “admins”: everybody is in the group people, and every admin in the group admins."),
        ([f"g{number}" for number in range(51)], "Use at most 50 groups."),
    ],
    ids=["names and none", "an empty one", "a bad one", "a given one", "too many"],
)
def test_a_command_that_cannot_be_meant_changes_nothing(
    app: Flask, omar: Person, typed: list[str], reason: str
) -> None:
    said(run(app, "users", "groups", omar.email, "wiki"))
    before = rows(app, User), rows(app, Event)
    assert refusal(run(app, "users", "groups", omar.email, *typed)) == reason
    assert (rows(app, User), rows(app, Event)) == before
    said(run(app, "users", "groups", omar.email, "ops"))
    assert groups_of(app, omar) == "ops"


def test_groups_of_nobody_are_refused(app: Flask, omar: Person) -> None:
    assert refusal(run(app, "users", "groups", "nobody@example.com", "ops")) == "nobody@example.com is not here."
    said(run(app, "users", "groups", omar.email, "ops"))
