"""The demo: three people, and a phone that shows their codes."""

import re
from collections.abc import Callable
from threading import Event

import pytest
from flask import Flask

from models import RecoveryCode, Session, TotpAuthenticator, User
from tests.support import acts
from tests.support.commands import actors, people, refusal, run
from tests.support.pages import Browser, Page
from tests.support.people import (
    Clock,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, rows, secret_of

Make = Callable[..., Flask]


@pytest.fixture
def demo(make_app: Make) -> Flask:
    return make_app("demo", DEMO=True, RECOVERY_CODES_ENABLED=True)


def seed(app: Flask, clock: Clock) -> dict[str, Person]:
    """The demo's people, with what the command says of them."""
    result = run(app, "demo", "seed")
    assert result.exit_code == 0, result.output
    (password,) = re.findall(r"with the password: +(.+)", result.stdout)
    (code,) = re.findall(r"(?:[0-9A-Z]{4}-){5}[0-9A-Z]{4}", result.stdout)
    emails = re.findall(r"\w+@example\.com", result.stdout)
    made = {email.partition("@")[0]: Person(email, clock, password=password) for email in emails}
    made["omar"].recovery_code = code
    return made


def test_the_demo_has_three_people_made_by_the_command_line(demo: Flask, clock: Clock) -> None:
    assert set(seed(demo, clock)) == {"maya", "omar", "ines"}
    assert [(p["email"], p["admin"], p["enrolled"], p["recovery_code_saved"]) for p in people(demo)] == [
        ("ines@example.com", True, True, False),
        ("maya@example.com", False, False, False),
        ("omar@example.com", False, True, True),
    ]
    assert (kinds(demo), actors(demo)) == (["user_created"] * 3, {"the command line"})


NORA = "nora@example.com"


def test_seeding_again_makes_the_three_anew_and_leaves_others_alone(
    demo: Flask, clock: Clock, make_person: Callable[..., Person]
) -> None:
    nora = make_person(NORA, on=demo)
    hers = Browser(demo)
    sign_in(hers, nora)

    omar = seed(demo, clock)["omar"]
    first_code, browser = omar.recovery_code, Browser(demo)
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    assert "was used on" in use_recovery_code(Browser(demo), omar, first_code).errors[0]

    again = seed(demo, clock)["omar"]
    assert again.recovery_code == first_code
    assert not is_signed_in(browser)
    fresh = Browser(demo)
    page = save_new_code(fresh, use_recovery_code(fresh, again), again)
    assert fresh.submit(page, still_have="yes").h1 == "Security"
    assert count(demo, User) == 4
    assert is_signed_in(hers)


def test_seeding_again_forgets_what_was_left_of_the_three(demo: Flask, clock: Clock) -> None:
    browser, maya = Browser(demo), seed(demo, clock)["maya"]
    enroll(browser, maya)
    for _ in range(5):
        give_password(Browser(demo), Person(maya.email, clock, password="wrong"))
    assert give_password(Browser(demo), maya).status == 429

    maya = seed(demo, clock)["maya"]
    assert give_password(Browser(demo), maya).h1 == "Set up your authenticator app"
    assert count(demo, TotpAuthenticator, TotpAuthenticator.user << User.select().where(User.email == maya.email)) == 0
    assert [row["saved_at"] is not None for row in rows(demo, RecoveryCode)] == [True]  # Omar's
    assert count(demo, Session) == 1


def test_what_somebody_made_anew_does_is_in_their_own_record(demo: Flask, clock: Clock) -> None:
    """Also within the hour, when the same has happened to who was here before."""
    for _ in range(2):
        omar = seed(demo, clock)["omar"]
        with demo.app_context():
            omar.secret = secret_of(omar)
        assert "Right password" in sign_in(Browser(demo), omar).text
        clock.pass_by(30)


def test_an_app_that_the_demo_gives_ends_a_setup_begun_in_that_moment(demo: Flask, clock: Clock) -> None:
    maya, browser = seed(demo, clock)["maya"], Browser(demo)
    assert give_password(browser, maya).h1 == "Set up your authenticator app"
    maya.secret = acts.enroll_person(demo, maya.email, now=clock.now)
    assert browser.get("/mfa/setup").h1 == "Sign in"
    assert sign_in(browser, maya).path == "/mfa/recovery-code"


@pytest.mark.databases
def test_seeding_while_people_sign_in_gives_nobody_an_error(make_app: Make, clock: Clock, rounds: int) -> None:
    app = make_app("demo", DEMO=True, RECOVERY_CODES_ENABLED=True, ADDRESS_LIMIT=0, PASSWORD_HASH_SLOTS=50)
    three, is_over = seed(app, clock), Event()

    def seed_again() -> set[int]:
        for _ in range(5 * rounds):
            seed(app, clock)
        is_over.set()
        return set()

    def mistype_password() -> set[int]:
        wrong = Person(three["omar"].email, clock, password="wrong")
        return {give_password(Browser(app), wrong).status for _ in iter(is_over.is_set, True)}

    def mistype_first_code() -> set[int]:
        return {prompted_wrongly(Browser(app), three["maya"]).status for _ in iter(is_over.is_set, True)}

    def recover() -> set[int]:
        return {with_recovery_code(Browser(app), three["omar"]).status for _ in iter(is_over.is_set, True)}

    statuses = set().union(*at_once([seed_again, mistype_password, mistype_first_code, recover]))
    assert statuses <= {200, 422, 429}
    assert use_recovery_code(Browser(app), seed(app, clock)["omar"]).h1.startswith("You're in")


def prompted_wrongly(browser: Browser, person: Person) -> Page:
    give_password(browser, person)
    page = browser.get("/mfa/setup")
    return browser.submit(page, code="000000") if page.path == "/mfa/setup" else page


def with_recovery_code(browser: Browser, person: Person) -> Page:
    give_password(browser, person)
    page = browser.get("/login/recovery")
    return browser.submit(page, recovery_code=person.recovery_code) if page.path == "/login/recovery" else page


def code_shown(app: Flask, *args: str) -> str:
    result = run(app, "demo", "code", *args)
    assert result.exit_code == 0, result.output
    shown = re.fullmatch(r"(\d{3} \d{3})  \(20 s left\)\n", result.stdout)
    assert shown, result.stdout
    return shown[1]


def test_the_demo_shows_the_code_that_lets_a_person_in(demo: Flask, clock: Clock) -> None:
    omar, browser = seed(demo, clock)["omar"], Browser(demo)
    give_password(browser, omar)
    assert browser.submit("/login/code", code=code_shown(demo, omar.email)).h1 == "Security"


@pytest.mark.parametrize("by", ["person", "setup key"])
def test_the_demo_shows_the_code_of_an_app_that_is_being_set_up(demo: Flask, clock: Clock, by: str) -> None:
    maya, browser = seed(demo, clock)["maya"], Browser(demo)
    page = give_password(browser, maya)
    args = [maya.email] if by == "person" else ["--key", page.text_of("setup-key")]
    page = browser.submit(page, code=code_shown(demo, *args))
    assert page.h1 == "Save your recovery code"
    assert save_new_code(browser, page, maya).h1 == "Security"


@pytest.mark.parametrize("email", ["maya@example.com", "nobody@example.com"])
def test_the_demo_has_no_code_for_somebody_without_an_app(demo: Flask, clock: Clock, email: str) -> None:
    maya = seed(demo, clock)["maya"]
    assert refusal(run(demo, "demo", "code", email)) == f"{email} has no authenticator app here."
    give_password(Browser(demo), maya)
    assert code_shown(demo, maya.email)


@pytest.mark.parametrize("key", ["no key!", "7ZZZ1888"])
def test_the_demo_has_no_code_for_what_is_not_a_setup_key(demo: Flask, clock: Clock, key: str) -> None:
    assert refusal(run(demo, "demo", "code", "--key", key)) == "That isn't a setup key."
    page = give_password(Browser(demo), seed(demo, clock)["maya"])
    assert code_shown(demo, "--key", page.text_of("setup-key").lower())


def test_an_unreadable_secret_shows_no_app_on_the_demos_phone(make_app, make_person) -> None:
    app = make_app(DEMO=True)
    omar = make_person("omar@example.com", on=app)
    phone = Browser(app).get("/demo/phone")
    assert omar.code()[:3] in phone.text
    with app.app_context():
        TotpAuthenticator.update(sealed_secret=b"x" * 48).execute()
    assert "No app yet" in Browser(app).get("/demo/phone").text
