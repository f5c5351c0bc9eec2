"""A browser that has signed in has tries of its own, which strangers cannot use up; its mark opens nothing."""

from flask import Flask

from models import Throttle, User
from tests.support import acts
from tests.support.cookies import opened
from tests.support.forms import Site
from tests.support.guesses import wrong_one_time_code, wrong_password
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
    sign_in,
    step_up,
)


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
