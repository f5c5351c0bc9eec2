"""A browser that has signed in has tries of its own, which strangers cannot use up; its mark opens nothing."""

import pytest
from flask import Flask

from models import Throttle, User
from tests.support import acts
from tests.support.commands import command
from tests.support.cookies import opened
from tests.support.forms import Site
from tests.support.guesses import taken_at_enrollment, wrong_one_time_code, wrong_password
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    full,
    give_password,
    half,
    is_signed_in,
    save_new_code,
    sign_in,
    step_up,
)
from tests.support.tables import rows, statements


def test_strangers_behind_one_address_do_not_lock_out_a_known_browser(make_app, make_person) -> None:
    app = make_app(ADDRESS_LIMIT=5)
    omar = make_person("omar@example.com", on=app)
    owner, stranger = Browser(app), Browser(app)
    owner.press(sign_in(owner, omar), "Sign out")
    for number in range(6):
        page = stranger.submit("/login", email=f"nobody{number}@example.com", password="wrong")
    assert page.status == 429
    assert give_password(owner, omar).h1 == "Enter your code"


def test_strangers_who_stop_an_account_stop_neither_its_owners_session_nor_browser(app, omar, clock) -> None:
    own = full(app, omar, clock)
    wrong_password(Browser(app), omar)
    wrong_one_time_code(half(app, omar), omar)
    with app.app_context():
        Throttle.update(failures=100).where(Throttle.account != "").execute()
    assert give_password(Browser(app), omar).status == 429
    assert is_signed_in(own)
    assert step_up(own, omar.code()).h1 == "Security"
    assert own.press(own.get("/account"), "Sign out").path == "/login"
    clock.pass_by(30)
    assert sign_in(own, omar).h1 == "Security"

    with app.app_context():
        Throttle.update(failures=0).where(Throttle.key.startswith("password:")).execute()
    stranger = half(app, omar)
    assert stranger.submit("/login/code", code=omar.code(30)).status == 429
    assert stranger.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_a_stolen_forged_or_outdated_mark_of_a_known_browser_only_chooses_whose_tries_it_spends(
    make_app, app: Flask, omar: Person, noor: Person, clock: Clock
) -> None:

    def mark_of(person: Person, on: Flask = app) -> str:
        browser = Browser(on)
        assert sign_in(browser, person).h1 == "Security"
        clock.pass_by(30)
        return browser.cookie("known-browser") or ""

    def answers(mark: str) -> tuple[int, list[str]]:
        browser = Browser(app, "198.51.100.1")
        browser.client.set_cookie("known-browser", mark)
        assert opened(browser) == []
        return browser.submit("/login", email=omar.email, password="wrong").status, opened(browser)

    keys = {"SECRET_KEY": "another-key-0123456789-abcdefghijk", "SECRET_KEY_FALLBACKS": [app.config["SECRET_KEY"]]}
    rekeyed = make_app(RECOVERY_CODES_ENABLED=True, **keys)
    before_the_change = mark_of(omar)
    owner = Browser(app)
    sign_in(owner, omar)
    owner.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    clock.pass_by(30)
    with app.app_context():
        User.update(password_changed_at=clock.now).execute()  # the two of them in the same second
    own, second, noors = mark_of(omar), mark_of(omar), mark_of(noor)
    other_keys = mark_of(omar, rekeyed)
    for _ in range(5):
        Browser(app).submit("/login", email=omar.email, password="wrong")

    name, _, proof = own.partition(".")
    forged = [before_the_change, noors, other_keys, f"{second.partition('.')[0]}.{proof}", f"{name}.{proof.upper()}"]
    forged += [
        f"{name}.{proof[:-1]}",
        f".{proof}",
        f"{name}x.{proof}",
        f"{name}.{'0' * 64}",
        f"{name}%00.{proof}",
        name,
    ]
    for mark in forged:
        assert answers(mark) == (429, []), mark
    assert [answers(own) for _ in range(6)] == [(422, [])] * 5 + [(429, [])], "a stolen one has five tries, once"
    assert answers(second) == (422, [])


def test_a_made_up_mark_of_a_known_browser_is_no_hindrance_and_is_replaced(app, omar, clock) -> None:
    for value in (".", "x.", ".x", "a.b.c", "caf\xe9.\xff", "\0.\0", "x" * 4000, "x." + "0" * 64):
        browser = Browser(app)
        browser.client.set_cookie("known-browser", value)
        assert sign_in(browser, omar).h1 == "Security", value
        new = browser.cookie("known-browser") or ""
        assert new != value
        assert len(new) > 64
        clock.pass_by(30)


def test_the_mark_of_a_known_browser_opens_nothing(app, browser, omar) -> None:
    sign_in(browser, omar)
    other = Browser(app)
    other.client.set_cookie("known-browser", browser.cookie("known-browser") or "")
    assert opened(other) == []
    assert opened(browser)


def test_a_known_browser_of_a_removed_account_is_a_stranger_to_the_new_one(site: Site, clock: Clock) -> None:
    """It spends tries from the budget of strangers, even where the new account has the old one's id."""
    rosa = site.person("rosa@example.com")
    known = Browser(site.app)
    known.press(sign_in(known, rosa), "Sign out")
    mark = known.cookie("known-browser")

    def buckets() -> set[bool]:
        known.submit("/login", email=rosa.email, password="a guess")
        counted = [row["key"] for row in site.rows(Throttle) if row["key"].startswith("password:") and row["failures"]]
        return {key.endswith(":") for key in counted}

    assert buckets() == {False}, "its own"
    acts.remove_person(site.app, rosa.email)
    clock.pass_by(1)
    site.person(rosa.email)
    with site.app.app_context():
        Throttle.delete().execute()
    assert known.cookie("known-browser") == mark
    assert buckets() == {True}, "the strangers'"


# Marks ----------------------------------------------------------------------------------------------------------------


def mark(browser: Browser) -> str:
    return browser.cookie("known-browser") or ""


def is_known(app: Flask, mark: str, person: Person) -> bool:
    """Whether a browser with this mark spends a try of its own on the person's password."""
    before = strangers(app)
    browser = Browser(app, "198.51.100.9")
    browser.client.set_cookie("known-browser", mark)
    assert wrong_password(browser, person).status == 422
    return strangers(app) == before


def strangers(app: Flask) -> int:
    return sum(row["failures"] for row in rows(app, Throttle) if row["key"].endswith(":"))


def test_a_session_makes_one_mark_when_its_sign_in_finishes_and_no_other(app: Flask, omar: Person, clock) -> None:
    """Whoever is signed in cannot farm marks, each with tries of its own, by leaving the cookie away."""
    browser = Browser(app)
    give_password(browser, omar)
    assert not mark(browser)
    browser.submit("/login/code", code=omar.code())
    assert is_known(app, mark(browser), omar)
    clock.pass_by(30)
    for _ in range(2):
        browser.client.delete_cookie("known-browser")
        step_up(browser, omar.code())
        save_new_code(browser, browser.press(browser.get("/account/recovery-code"), "Make a new code"), omar)
        clock.pass_by(30)
        assert not mark(browser)


def everywhere_else(app: Flask, browser: Browser, person: Person) -> None:
    browser.press(browser.get("/account"), "Sign out everywhere else")


def new_app(app: Flask, browser: Browser, person: Person) -> None:
    taken_at_enrollment(app, person, browser)


def new_password(app: Flask, browser: Browser, person: Person) -> None:
    browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    person.password = NEW_PASSWORD


def reset_and_link(app: Flask, browser: Browser, person: Person) -> None:
    browser.submit(acts.reset(app, person.email), new_password=NEW_PASSWORD)


def link_alone(app: Flask, browser: Browser, person: Person) -> None:
    browser.submit(acts.invite(app, person.email), new_password=NEW_PASSWORD)


ACTS = [everywhere_else, new_app, new_password, reset_and_link, link_alone]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_what_ends_other_sessions_forgets_other_browsers_and_leaves_one_new_mark(app, omar, clock, act) -> None:
    other, own = full(app, omar, clock), full(app, omar, clock)
    former = [mark(other), mark(own)]
    assert [is_known(app, each, omar) for each in former] == [True, True]
    for _ in range(3):
        own.client.delete_cookie("known-browser")  # as somebody who farms them would
        act(app, own, omar)
        assert [is_known(app, each, omar) for each in former] == [False] * len(former)
        assert is_known(app, mark(own), omar)
        acts.unlock(app, omar.email)
        former.append(mark(own))
        clock.pass_by(30)
        if act is not everywhere_else:
            return  # once is enough


def test_a_reset_forgets_every_browser_before_its_link_is_used(app: Flask, omar: Person, clock) -> None:
    own = full(app, omar, clock)
    acts.reset(app, omar.email)
    assert not is_known(app, mark(own), omar)


def test_deactivating_somebody_for_a_moment_forgets_no_browser(app: Flask, omar: Person, clock) -> None:
    own = full(app, omar, clock)
    for command_of in ("deactivate", "activate"):
        command(app, "users", command_of, omar.email)
    assert is_known(app, mark(own), omar)


def test_the_browser_that_used_a_link_is_known(app: Flask, omar: Person, clock) -> None:
    """A stranger who tries at the end of each pause cannot keep somebody new out."""
    own = Browser(app)
    own.submit(acts.invite(app, omar.email), new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD
    for _ in range(5):
        assert wrong_password(Browser(app), omar).status == 422
    assert give_password(Browser(app), omar).status == 429
    assert sign_in(own, omar).h1 == "Security"


def test_a_browser_is_known_to_its_last_five_accounts(app: Flask, make_person, clock) -> None:
    browser, people = Browser(app), [make_person(f"person{number}@example.com") for number in range(6)]
    for person in people:
        browser.press(sign_in(browser, person), "Sign out")
    clock.pass_by(30)
    assert [is_known(app, mark(browser), person) for person in people] == [False, *[True] * 5]
    browser.press(sign_in(browser, people[1]), "Sign out")
    assert [is_known(app, mark(browser), person) for person in people] == [False, *[True] * 5]


def test_no_person_is_looked_up_for_a_mark_that_was_made_up(app, omar, clock, caplog) -> None:
    """Otherwise the time that it takes would tell who is here."""
    own = full(app, omar, clock)

    def asked(value: str, email: str) -> list[str]:
        browser = Browser(app)
        browser.client.set_cookie("known-browser", value)
        page = browser.get("/login")
        return statements(caplog, lambda: browser.send(page, {"email": email, "password": "wrong"}))

    for email in (omar.email, "nobody@example.com"):
        asked("", email)  # a first try is counted in a new row
    genuine, name = mark(own), mark(own).partition(".")[0]
    for made_up in (f"{name}.{'0' * 64}", f"{'x' * 22}.{genuine.partition('.')[2]}"):
        assert asked(made_up, omar.email) == asked("", omar.email) == asked(made_up, "nobody@example.com")
    assert len(asked(genuine, omar.email)) > len(asked("", omar.email))


@pytest.mark.parametrize("guess", [wrong_password, wrong_one_time_code], ids=["password", "one-time code"])
def test_all_known_browsers_share_one_count_that_stops_at_a_hundred(site: Site, clock: Clock, guess) -> None:
    app, omar = site.app, site.omar
    known = [full(app, omar, clock) for _ in range(3)]
    for browser in known:
        browser.press(browser.get("/account"), "Sign out")
        if guess is wrong_one_time_code:
            give_password(browser, omar)
        assert guess(browser, omar).status == 422
    together = Throttle.key.startswith(f"{'password' if guess is wrong_password else 'one-time code'}:")
    with app.app_context():
        Throttle.update(failures=98).where(together, Throttle.key.endswith(":known")).execute()
    assert [guess(browser, omar).status for browser in known] == [422, 422, 429]
    admin = Browser(app)
    sign_in(admin, site.ines)
    assert "Stopped after too many tries" in admin.get("/admin/people").text
    admin.press(admin.get("/admin/people"), "Let them try again")
    assert guess(known[2], omar).status == 422
