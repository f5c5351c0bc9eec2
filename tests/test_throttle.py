"""Tries: how many are free, the pauses after them, what ends them, and what gives new ones."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from itertools import count as count_up
from threading import Timer
from typing import Any

import psycopg
import pytest
from flask import Flask
from passlib.context import CryptContext

from authn.events import EventKind
from authn.passwords import TooBusy
from authn.refusals import WrongCode
from models import Event, RecoveryCode, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import few_of
from tests.support.commands import command, link
from tests.support.forms import Site
from tests.support.guesses import (
    GUESS_IDS,
    GUESSES,
    WRONG,
    failures,
    guesser,
    right_one,
    taken_at_enrollment,
    wrong_one_time_code,
    wrong_password,
    wrong_recovery_code,
)
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    WELL_FORMED,
    Clock,
    Person,
    full,
    give_password,
    half,
    save_new_code,
    sign_in,
    step_up,
    use_recovery_code,
)
from tests.support.tables import count, ids, kinds, rows

# How many -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_a_known_browser_that_signs_in_has_all_its_tries_again(app: Flask, omar: Person, clock, guess, free) -> None:
    own = full(app, omar, clock)
    for _ in range(3):
        own.press(own.get("/account"), "Sign out")
        if guess is not wrong_password:
            give_password(own, omar)
        for _ in range(free - 1):
            assert guess(own, omar).status == 422
        if guess is wrong_password:
            give_password(own, omar)
        assert own.submit("/login/code", code=omar.code()).h1 == "Security"
        clock.pass_by(30)


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_one_failure_is_forgotten_in_so_many_hours_and_no_sign_in_moves_them(app, omar, clock, guess, free) -> None:
    hours = 1 if guess is wrong_recovery_code else 12
    for _ in range(free - 1):
        assert guess(guesser(app, omar, guess), omar).status == 422
    clock.pass_by(hours * 3600 - 60)
    assert sign_in(Browser(app), omar).h1 == "Security"
    clock.pass_by(30)
    own = guesser(app, omar, guess)
    assert guess(own, omar).status == 422
    assert right_one(app, omar, guess).status == 429, "not yet"
    clock.pass_by(30)
    assert right_one(app, omar, guess).status == 200
    assert guess(guesser(app, omar, guess), omar).status == 422, "one is forgotten, and the pause over"
    assert right_one(app, omar, guess).status == 429


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_20_browsers_from_20_addresses_are_throttled_like_one(make_app, make_person, guess, free: int) -> None:
    answers = {}
    for name in ("one", "many"):
        app = make_app(name, RECOVERY_CODES_ENABLED=True)
        omar = make_person("omar@example.com", on=app)
        one = guesser(app, omar, guess)
        answers[name] = []
        for number in range(20):
            browser = one if name == "one" else guesser(app, omar, guess, f"198.51.{number}.7")
            if name == "many":
                browser.client.environ_base |= {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}", "HTTP_FORWARDED": "for=a"}
            answers[name].append(guess(browser, omar).status)
    assert answers["many"] == answers["one"] == [422] * free + [429] * (20 - free)
    omar.clock.pass_by(30)
    assert sign_in(Browser(app), omar).h1 == "Security"


def test_one_password_tried_on_many_accounts_is_stopped_by_address(make_app, make_person, clock) -> None:
    app = make_app("sprayed", ADDRESS_LIMIT=20)
    people = [make_person(f"person{number}@example.com", on=app) for number in range(2)]
    for number in range(25):
        headers = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.2"}
        browser = Browser(app, f"2001:db8:0:1:{number}::7")  # another address of the same household
        values = {"email": f"person{number}@example.com", "password": "a guess"}
        assert browser.send(browser.get("/login"), values, headers=headers).status == (422 if number < 20 else 429)
    assert give_password(Browser(app, "2001:db8:0:1::1"), people[0]).status == 429
    assert give_password(Browser(app, "2001:db8:0:2::1"), people[0]).h1 == "Enter your code"
    clock.pass_by(900)
    assert give_password(Browser(app, "2001:db8:0:1::1"), people[1]).h1 == "Enter your code"


# New tries ------------------------------------------------------------------------------------------------------------


def page_again(app: Flask, person: Person, own: Browser) -> None:
    browser = half(app, person)
    assert [browser.open(path).status for path in ("/login/code", "/login/recovery", "/login")] == [200, 200, 303]


def signed_out(app: Flask, person: Person, own: Browser) -> None:
    browser = half(app, person)
    assert browser.press(browser.get("/login/code"), "Sign in as someone else").path == "/login"


def slip(app: Flask, person: Person, own: Browser) -> None:
    assert half(app, person).submit("/login/code", code="12345").status == 422
    assert half(app, person).submit("/login/recovery", recovery_code=WELL_FORMED[:-1] + "4").status == 422


def other_spelling(app: Flask, person: Person, own: Browser) -> None:
    person.email = " OMAR@EXAMPLE.ｃｏｍ "
    half(app, person)


def step_up_of_the_owner(app: Flask, person: Person, own: Browser) -> None:
    assert step_up(own, person.code()).h1 == "Security"
    person.clock.pass_by(30)


def sign_in_of_the_owner(app: Flask, person: Person, own: Browser) -> None:
    own.press(own.get("/account"), "Sign out")
    assert sign_in(own, person).h1 == "Security"
    person.clock.pass_by(30)


def setup_begun(app: Flask, person: Person, own: Browser) -> None:
    assert own.submit("/mfa/setup", code=person.code()).errors[0].startswith(WRONG)


def deactivated_for_a_moment(app: Flask, person: Person, own: Browser) -> None:
    command(app, "users", "deactivate", person.email)
    command(app, "users", "activate", person.email)


def recovery_sign_in(app: Flask, person: Person, own: Browser) -> None:
    browser = Browser(app)
    page = save_new_code(browser, use_recovery_code(browser, person), person)
    assert browser.submit(page, still_have="yes").h1 == "Security"


def sign_in_by_app(app: Flask, person: Person, own: Browser) -> None:
    assert sign_in(Browser(app), person).h1 == "Security"
    person.clock.pass_by(30)


TRICKS = [page_again, signed_out, slip, other_spelling, step_up_of_the_owner, sign_in_of_the_owner, setup_begun]
TRICKS += [deactivated_for_a_moment, recovery_sign_in, sign_in_by_app]
FORGIVES_NOTHING = [(guess, free, trick) for guess, free in GUESSES for trick in TRICKS]
ONE_EACH = [
    case for case in FORGIVES_NOTHING if case[0] is wrong_one_time_code or case[2] in (other_spelling, sign_in_by_app)
]


@pytest.mark.parametrize(("guess", "free", "trick"), few_of(FORGIVES_NOTHING, *ONE_EACH))
def test_no_sign_in_and_nothing_else_gives_strangers_new_tries(app, omar, clock, guess, free, trick) -> None:
    own, browser = full(app, omar, clock), guesser(app, omar, guess)
    for _ in range(free - 1):
        assert guess(browser, omar).status == 422
    trick(app, omar, own)
    assert guess(guesser(app, omar, guess), omar).status == 422
    assert right_one(app, omar, guess).status == 429
    clock.pass_by(30)
    assert right_one(app, omar, guess).status == 200


# In a pause -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_a_right_guess_during_a_pause_is_refused_with_the_words_of_a_wrong_one(app, omar, clock, guess, free) -> None:
    browser = guesser(app, omar, guess)
    for _ in range(free):
        assert guess(browser, omar).status == 422
    clock.pass_by(29)

    def state() -> tuple[Any, ...]:
        charged = {(row["key"], row["failures"], row["paused_until"]) for row in rows(app, Throttle)}
        return charged, rows(app, TotpAuthenticator), rows(app, RecoveryCode)

    before = state()
    wrong, right = guess(browser, omar), right_one(app, omar, guess)
    assert (wrong.status, right.status) == (429, 429)
    assert wrong.raw == right.raw
    assert wrong.headers == right.headers
    assert state() == before
    clock.pass_by(1)
    assert right_one(app, omar, guess).status == 200


def test_tries_during_a_pause_do_not_fill_a_persons_own_record(app: Flask, omar: Person) -> None:
    for _ in range(20):
        page = Browser(app).submit("/login", email=omar.email, password="wrong")
    assert page.status == 429
    told = {row["kind"]: (row["user"], row["count"]) for row in rows(app, Event)}
    assert told[EventKind.PASSWORD_WRONG] == (ids(app)[omar.email], 5)
    assert told[EventKind.PAUSED] == (None, 15)


def fail_often(app: Flask, person: Person, guess: Callable[..., Page], times: int) -> None:
    """Wrong tries without the pages around them, each after its pause, until so many are counted; the clock is set back
    now and then."""
    kind = "password" if guess is wrong_password else "one-time code"
    for number in count_up():
        if failures(app, kind) == times:
            return
        person.clock.pass_by(-7200 if number % 10 == 9 else 3600)
        if guess is wrong_password:
            assert acts.try_password(app, person.email, "a guess") is None
        else:
            assert acts.try_code(app, person.email, person.wrong_code()) == WrongCode()


@pytest.mark.parametrize("lifted_by", ["command", "admin", "new secret"])
@pytest.mark.parametrize("guess", [wrong_password, wrong_one_time_code], ids=["password", "one-time code"])
def test_a_hundred_failures_stop_a_secret_until_an_admin_acts_or_it_is_another(
    app: Flask,
    omar: Person,
    make_person: Callable[..., Person],
    clock: Clock,
    guess: Callable[..., Page],
    lifted_by: str,
) -> None:
    ada, own = make_person("ada@example.com", admin=True), full(app, omar, clock)
    fail_often(app, omar, guess, 99)
    clock.pass_by(3600)
    assert guess(guesser(app, omar, guess), omar).status == 422
    for seconds in (3600, 31 * 86400, 10 * 365 * 86400, -86400):
        clock.pass_by(seconds)
        page = right_one(app, omar, guess)
        assert (page.status, "is stopped until" in page.text) == (429, True)
    assert sign_in(own, omar).h1 == "Security", "the owner's browser has tries of its own"
    deactivated_for_a_moment(app, omar, own)
    clock.pass_by(30)
    assert sign_in(own, omar).h1 == "Security"
    assert right_one(app, omar, guess).status == 429

    if lifted_by == "command":
        command(app, "users", "unlock", omar.email)
    elif lifted_by == "admin":
        admin = Browser(app)
        token = sign_in(admin, ada).forms[0].fields
        assert admin.open("/admin/people/1/unlock", method="POST", data=token).status == 303
    elif guess is wrong_password:
        Browser(app).submit(link(app, "invite", omar.email), new_password=NEW_PASSWORD)
        omar.password = NEW_PASSWORD
    else:
        taken_at_enrollment(app, omar, own)
    clock.pass_by(30)
    browser = guesser(app, omar, guess)
    assert [guess(browser, omar).status for _ in range(4)] == [422] * 4
    assert right_one(app, omar, guess).status == 200


def test_a_clock_that_ran_ahead_locks_nobody_out(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    clock.pass_by(86400)
    for _ in range(5):
        browser.submit("/login", email=omar.email, password="wrong")
    assert give_password(browser, omar).status == 429
    clock.pass_by(-86400)
    assert give_password(browser, omar).h1 == "Enter your code"
    with app.app_context():
        TotpAuthenticator.update(last_step=clock.now // 30 + 120).execute()  # a code was taken an hour ahead
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"


@pytest.mark.parametrize("minutes", [5, 30, 59, 61])
def test_a_clock_that_is_set_back_makes_no_pause_longer(app: Flask, omar: Person, clock, minutes: int) -> None:
    for _ in range(5):
        assert wrong_password(Browser(app), omar).status == 422
    assert give_password(Browser(app), omar).status == 429
    clock.pass_by(-minutes * 60)
    clock.pass_by(30)
    assert give_password(Browser(app), omar).h1 == "Enter your code"


def test_an_address_is_open_again_when_the_clock_that_ran_ahead_is_set_right(make_app, make_person, clock) -> None:
    app = make_app(ADDRESS_LIMIT=5)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    clock.pass_by(86400)
    for number in range(6):
        page = browser.submit("/login", email=f"nobody{number}@example.com", password="wrong")
    assert page.status == 429
    clock.pass_by(-86400)
    assert give_password(browser, omar).h1 == "Enter your code"


def no_slot_comes_free(password: str, stored: str | None) -> None:
    raise TooBusy


def test_a_full_queue_for_hashing_answers_503_and_charges_nobody(make_app, make_person, monkeypatch) -> None:
    app = make_app(PASSWORD_HASH_SLOTS=2)
    omar, browser, policy = make_person("omar@example.com", on=app), Browser(app), app.extensions["store"].policy
    page = browser.get("/login")

    def send() -> Page:
        return browser.send(page, {"email": omar.email, "password": PASSWORD})

    with ExitStack() as line:
        with suppress(TooBusy):
            for number in count_up(1):
                line.enter_context(policy.queued(f"198.51.100.{number}"))
        answers = [send() for _ in range(7)]
    assert rows(app, Throttle) == []
    with monkeypatch.context() as patch:
        patch.setattr(policy, "verify", no_slot_comes_free)
        answers += [send() for _ in range(7)]
    assert {(answer.status, answer.h1) for answer in answers} == {(503, "Many people are signing in just now")}
    assert {int(answer.headers["Retry-After"]) for answer in answers} <= set(range(2, 9))
    assert rows(app, Throttle) == []
    assert browser.submit(page, email=omar.email, password=PASSWORD).h1 == "Enter your code"


def test_a_network_with_its_share_of_the_line_waits_and_nobody_else(make_app, make_person, clock) -> None:
    """Whoever chooses a password stands in the same line."""
    app = make_app()
    omar, noor = make_person("omar@example.com", on=app), make_person("noor@example.com", on=app)
    busy, policy = "2001:db8::1", app.extensions["store"].policy
    signed_in, invited, stranger, other = (Browser(app, address) for address in (busy, busy, busy, "203.0.113.9"))
    sign_in(signed_in, noor)
    forms = [
        (stranger, stranger.get("/login"), {"email": omar.email, "password": PASSWORD}),
        (invited, invited.get(link(app, "invite", omar.email)), {"new_password": NEW_PASSWORD}),
        (signed_in, signed_in.get("/account/password"), {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ]
    with ExitStack() as line:
        for _ in range(3):
            line.enter_context(policy.queued("2001:db8::"))
        before = rows(app, User), rows(app, Throttle)
        assert [browser.send(page, typed).status for browser, page, typed in forms] == [503] * 3
        assert (rows(app, User), rows(app, Throttle)) == before
        assert give_password(other, omar).h1 == "Enter your code"
    assert [browser.send(page, typed).status for browser, page, typed in forms] == [303] * 3


@pytest.mark.databases
def test_a_right_password_is_not_charged_when_the_database_fails_for_a_moment_after_it(
    app: Flask, omar: Person, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds SQLite's write lock; PostgreSQL ends the connection."""
    compare, database = CryptContext.verify_and_update, app.extensions["store"].database

    def fail_meanwhile(context: CryptContext, typed: str, stored: str) -> Any:
        if engine == "postgresql":
            (own,) = database.execute_sql("SELECT pg_backend_pid()").fetchone()
            with closing(psycopg.connect(database.connection().info.dsn, autocommit=True)) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (own,))
        else:
            path = app.config["DATABASE_URL"].removeprefix("sqlite:///")
            other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            Timer(0.3, other.close).start()
        return compare(context, typed, stored)

    if engine == "sqlite":
        database.pragma("busy_timeout", 1, permanent=True)
    with monkeypatch.context() as patch:
        patch.setattr(CryptContext, "verify_and_update", fail_meanwhile)
        assert give_password(Browser(app), omar).h1 == "Enter your code"
    assert rows(app, Throttle) == []
    assert kinds(app).count(EventKind.PASSWORD_RIGHT) == 1


@pytest.mark.databases
def test_made_up_addresses_fill_the_table_no_faster_than_an_address_may_try_and_not_for_ever(
    make_app, make_person, clock
) -> None:
    app = make_app("flooded", ADDRESS_LIMIT=20)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    page = browser.get("/login")
    for number in range(60):
        long = f"{number}{'n' * 200}@example.com"
        assert browser.send(page, {"email": long, "password": "a guess"}).status == (422 if number < 20 else 429)
    assert count(app, Throttle) == 21
    assert max(len(row["key"]) for row in rows(app, Throttle)) < 100
    clock.pass_by(51 * 86400)
    assert sign_in(browser, omar).h1 == "Security"
    assert count(app, Throttle, Throttle.failures > 0) == 0


def test_an_address_full_of_wildcards_is_one_person(site: Site, clock: Clock) -> None:
    """What is forgotten for it is forgotten for nobody else."""
    wild = site.person("%_a_@example.com")
    for person in (site.omar, wild):
        for _ in range(5):
            Browser(site.app).submit("/login", email=person.email, password="a guess")
        assert give_password(Browser(site.app), person).status == 429
    acts.unlock(site.app, wild.email)
    assert give_password(Browser(site.app), wild).h1 == "Enter your code"
    assert give_password(Browser(site.app), site.omar).status == 429
