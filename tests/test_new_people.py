"""Adding many people in one page: all of them or nobody, and each with a link that is shown once."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from models import Event, Invitation, User
from tests.support import acts
from tests.support.pages import Browser, Page, csrf, words
from tests.support.people import NEW_PASSWORD, PASSWORD, Clock, Person, give_password, sign_in
from tests.support.races import at_once
from tests.support.tables import count, everything, ids, kinds, rows, statements

NEW = "/admin/people/new"


@pytest.fixture
def admin(app: Flask, ada: Person) -> Browser:
    browser = Browser(app)
    sign_in(browser, ada)
    return browser


def added(browser: Browser, *lines: str) -> Page:
    return browser.submit(NEW, emails="\r\n".join(lines))


def links(page: Page) -> dict[str, str]:
    """By address, where the link of each row leads."""
    found = {}
    for row in next(iter(page.all("tbody"))).iter("tr"):
        email, link = (words(cell) for cell in row)
        found[email] = re.sub("http://localhost:5000|Copy$", "", link).strip()
    return found


def emails(number: int) -> list[str]:
    return [f"p{each:02}@example.com" for each in range(number)]


# All of them ----------------------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_everybody_in_the_list_gets_a_link_that_leads_to_a_first_sign_in(
    app: Flask, admin: Browser, clock: Clock
) -> None:
    page = added(admin, " Rui@Example.com ", "", "nora@example.com")
    assert (page.status, page.h1) == (200, "Links for 2 people")
    assert "They work once, for 72 hours. This page shows them only now." in page.text
    found = links(page)
    assert list(found) == ["rui@example.com", "nora@example.com"], "in the order of the list"
    for email, link in found.items():
        stranger = Browser(app)
        assert f"For {email}." in stranger.get(link).text
        assert stranger.submit(link, new_password=NEW_PASSWORD).notice == "Your password is set. Sign in with it."
        person = Person(email, clock, password=NEW_PASSWORD)
        assert give_password(stranger, person).h1 == "Set up your authenticator app"
    assert "nora@example.com" in admin.get("/admin/people").text


def test_all_links_are_there_as_one_text_to_copy(admin: Browser) -> None:
    page = added(admin, "rui@example.com", "nora@example.com")
    text = page.by_id("links")
    assert text is not None
    lines = "".join(text.itertext()).strip().split("\n")
    assert lines == [f"{email}\thttp://localhost:5000{link}" for email, link in links(page).items()]
    buttons = {button.get("data-copy"): words(button) for button in page.all("button") if button.get("data-copy")}
    assert buttons == {"link-1": "Copy", "link-2": "Copy", "links": "Copy all"}


def test_one_person_is_one_link(admin: Browser) -> None:
    assert added(admin, "nora@example.com").h1 == "Link for 1 person"


@pytest.mark.databases
def test_each_is_two_events_by_the_admin_and_a_line_of_the_log_each(
    app: Flask, admin: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    before = count(app, Event)
    with caplog.at_level("INFO", "sparekey.events"):
        caplog.clear()
        found = links(added(admin, "rui@example.com", "nora@example.com"))
    events = rows(app, Event)[before:]
    people = {ident: email for email, ident in ids(app).items()}
    assert sorted((people[event["user"]], event["kind"]) for event in events) == [
        (email, kind) for email in sorted(found) for kind in ("user_created", "user_invited")
    ]
    assert {event["actor"] for event in events} == {"ada@example.com"}
    assert len([record for record in caplog.records if record.name == "sparekey.events"]) == 4
    for link in found.values():
        assert link.rpartition("/")[2] not in caplog.text + repr(everything(app))


@pytest.mark.databases
def test_fifty_are_one_transaction_and_few_statements(
    app: Flask, admin: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    page = admin.get(NEW)
    asked = statements(caplog, lambda: admin.send(page, {"emails": "\n".join(emails(50))}))
    assert (count(app, User), count(app, Invitation)) == (51, 50)
    assert len([statement for statement in asked if statement.startswith("BEGIN")]) <= 1
    assert len([statement for statement in asked if statement.startswith("INSERT")]) == 4
    assert len(asked) < 12


# Or nobody ------------------------------------------------------------------------------------------------------------


WRONG = {
    "no list": ([], ["Enter at least one email address"]),
    "empty lines": (["", "  "], ["Enter at least one email address"]),
    "one too many": (emails(51), ["That's 51 lines; 50 is the most at once"]),
    "no address": (["nora"], ["Line 1 isn't an email address: nora"]),
    "a name before it": (
        ["Nora <nora@example.com>", "<rui@example.com>"],
        [
            "Line 1 isn't an email address: Nora <nora@example.com>",
            "Line 2 isn't an email address: <rui@example.com>",
        ],
    ),
    "two in a line": (
        ["nora@example.com, rui@example.com", "nora@example.com;"],
        [
            "Line 1 isn't an email address: nora@example.com, rui@example.com",
            "Line 2 isn't an email address: nora@example.com;",
        ],
    ),
    "a line of a spreadsheet": (
        ['"nora@example.com"'],
        ['Line 1 isn\'t an email address: "nora@example.com"'],
    ),
    "a comma of another width": (
        ["nora@example.com\uff0c"],
        ["Line 1 isn't an email address: nora@example.com\uff0c"],
    ),
    "twice": (
        ["nora@example.com", "", "NORA@example.com"],
        ["Line 3 is there twice: nora@example.com"],
    ),
    "here already": (["Ada@Example.com"], ["Line 1 is here already: ada@example.com"]),
    "a character that no page holds": (["no\0ra@example.com"], ["Line 1 isn't an email address: no ra@example.com"]),
    "a line without end": (["x" * 5000], [f"Line 1 isn't an email address: {'x' * 100}"]),
    "all of it": (
        ["", "ada@example.com", "rui@example.com", "Rui", "rui@example.com"],
        [
            "Line 2 is here already: ada@example.com",
            "Line 4 isn't an email address: Rui",
            "Line 5 is there twice: rui@example.com",
        ],
    ),
}


@pytest.mark.databases
@pytest.mark.parametrize(("lines", "errors"), WRONG.values(), ids=WRONG)
def test_one_line_that_will_not_do_adds_nobody_and_is_named(
    app: Flask, admin: Browser, lines: list[str], errors: list[str]
) -> None:
    page = admin.get(NEW)
    before = everything(app)
    answer = admin.send(page, {"emails": "\r\n".join(lines)})
    assert (answer.status, answer.h1, answer.errors) == (422, "Add people", errors)
    assert everything(app) == before
    assert ("make a new link for each of them on the People page" in answer.text) is ("here already" in repr(errors))
    shown = answer.form_with("emails").fields["emails"]
    assert shown == "\n".join(lines).replace("\0", " "), "what was typed is there to be mended"
    assert admin.submit(answer, emails="nora@example.com\nrui@example.com").h1 == "Links for 2 people"


def test_whoever_clicks_add_twice_is_told_where_new_links_are_made(app: Flask, admin: Browser) -> None:
    page = admin.get(NEW)
    first, second = (admin.send(page, {"emails": "nora@example.com\nrui@example.com"}) for _ in range(2))
    assert (first.status, second.status) == (200, 422)
    assert second.errors == ["Line 1 is here already: nora@example.com", "Line 2 is here already: rui@example.com"]
    assert "Nobody was added." in second.text
    assert "/admin/people" in second.links
    path = f"/admin/people/{ids(app)['nora@example.com']}/invite"
    link = admin.open(path, method="POST", data=csrf(admin.get("/admin/people"))).text_of("link")
    assert Browser(app).open(link.removeprefix("http://localhost:5000")).status == 200
    assert Browser(app).open(links(first)["nora@example.com"]).status == 404


@pytest.mark.databases
def test_of_two_admins_who_add_one_address_at_once_one_is_told_and_adds_nobody(
    app: Flask, make_person: Callable[..., Person], rounds: int
) -> None:
    admins = []
    for number in range(2):
        sign_in(browser := Browser(app), make_person(f"admin{number}@example.com", admin=True))
        admins.append((browser, browser.get(NEW)))
    for at in range(rounds):
        both, own = (
            [f"b{at}-{each}@example.com" for each in range(10)],
            [f"o{at}-{each}@example.com" for each in (0, 1)],
        )
        lists = [[own[0], *both], [*reversed(both), own[1]]]
        answers = at_once(
            [
                partial(browser.send, page, {"emails": "\n".join(lines)})
                for (browser, page), lines in zip(admins, lists, strict=True)
            ]
        )
        assert sorted(answer.status for answer in answers) == [200, 422]
        loser = [answer.status for answer in answers].index(422)
        assert [error.rpartition(" ")[2] for error in answers[loser].errors] == [
            email for email in lists[loser] if email in both
        ]
        here = ids(app).keys()
        assert (own[loser] in here, own[1 - loser] in here, set(both) <= here) == (False, True, True)
    assert count(app, Invitation) == 11 * rounds
    assert kinds(app).count("user_invited") == 11 * rounds


def test_the_list_is_asked_for_after_who_it_is_so_that_nothing_typed_is_lost(
    app: Flask, admin: Browser, ada: Person, clock: Clock
) -> None:
    clock.pass_by(601)
    asked = admin.open(NEW)
    assert (asked.status, asked.headers["Location"]) == (303, f"/verify?next={NEW}")
    page = admin.submit(admin.follow(asked), password=PASSWORD, code=ada.code())
    assert (page.path, page.h1) == (NEW, "Add people")
    assert added(admin, "nora@example.com").status == 200


def test_an_admin_no_more_adds_nobody(app: Flask, admin: Browser, ines: Person) -> None:
    page = admin.get(NEW)
    assert acts.remove_admin(app, "ada@example.com")
    assert admin.send(page, {"emails": "nora@example.com"}).status == 403
    acts.make_admin(app, "ada@example.com")
    assert admin.send(page, {"emails": "nora@example.com"}).status == 200


# Groups on the same pages ---------------------------------------------------------------------------------------------


@pytest.mark.databases
def test_groups_are_set_on_a_page_and_shown_with_the_people(app: Flask, admin: Browser, omar: Person) -> None:
    path = f"/admin/people/{ids(app)[omar.email]}/groups"
    assert path in admin.get("/admin/people").links
    page = admin.get(path)
    assert (page.h1, page.form_with("groups").fields["groups"]) == ("Groups of omar@example.com", "")
    page = admin.submit(page, groups=" Wiki, ops\twiki")
    assert (page.path, page.notice) == ("/admin/people", "Their groups are saved.")
    assert "In ops, wiki" in page.text
    assert admin.get(path).form_with("groups").fields["groups"] == "ops wiki"
    assert "Groups changed (ops, wiki)" in admin.get("/admin/audit").text
    admin.submit(path, groups="")
    assert "Groups changed (no group)" in admin.get("/admin/audit").text
    assert "In ops" not in admin.get("/admin/people").text


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("ops <b>wiki</b>", "A group can't be called “<b>wiki</b>”: use up to 32 small letters, numbers and dashes."),
        ("ops people", "Leave out “people”: everybody is in the group people, and every admin in the group admins."),
        (" ".join(f"g{number}" for number in range(51)), "Use at most 50 groups."),
    ],
    ids=["a bad one", "a given one", "too many"],
)
def test_a_bad_group_is_named_and_changes_nothing(
    app: Flask, admin: Browser, omar: Person, typed: str, error: str
) -> None:
    acts.set_groups(app, omar.email, ["ops"])
    page = admin.get(f"/admin/people/{ids(app)[omar.email]}/groups")
    before = rows(app, User), rows(app, Event)
    answer = admin.submit(page, groups=typed)
    assert (answer.status, answer.errors) == (422, [error])
    assert answer.form_with("groups").fields["groups"] == typed
    assert (rows(app, User), rows(app, Event)) == before
    assert admin.submit(answer, groups="ops wiki").notice == "Their groups are saved."


def test_a_person_reads_of_a_change_of_groups_and_not_the_admins_words(
    app: Flask, admin: Browser, omar: Person
) -> None:
    admin.submit(f"/admin/people/{ids(app)[omar.email]}/groups", groups="under-watch")
    sign_in(browser := Browser(app), omar)
    activity = browser.get("/account/activity")
    assert "Groups changed, by ada@example.com" in activity.text
    assert "under-watch" not in activity.raw


def test_groups_of_nobody_are_a_page_not_found(app: Flask, admin: Browser, omar: Person) -> None:
    assert admin.open("/admin/people/9999/groups").status == 404
    assert admin.open(f"/admin/people/{ids(app)[omar.email]}/groups").status == 200
