"""The commands about people, events and keys: what each does, that doing it again is no error, and what it says."""

import json

import pytest
from flask import Flask

import models
from models import Event, Kind, RecoveryCode, TotpAuthenticator, User
from tests.support.apps import KEY
from tests.support.commands import refusal, run, said
from tests.support.pages import Browser
from tests.support.people import (
    PASSWORD,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import count, rows

OLD_KEY = "an-earlier-key-of-the-tests-0123456789abcdef"
LINK = "http://localhost:5000/welcome/"


def last_event(app: Flask) -> tuple[str, str, str | None]:
    with app.app_context():
        event = Event.page(size=1)[0]
        return event.kind, event.actor, event.user.email if event.user else None


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("unlock", Kind.UNLOCKED),
        ("deactivate", Kind.USER_DEACTIVATED),
        ("activate", Kind.USER_ACTIVATED),
    ],
)
def test_an_act_about_a_person_says_so_can_be_repeated_and_is_an_event_by_the_command_line(
    app: Flask, omar: Person, command: str, kind: Kind
) -> None:
    for spelling in ("omar@example.com", "OMAR@Example.com"):
        assert "omar@example.com" in said(run(app, "users", command, spelling))
        assert last_event(app) == (kind, "the command line", "omar@example.com")


@pytest.mark.parametrize("command", ["unlock", "deactivate", "activate", "reset-mfa"])
def test_nobody_there_is_one_sentence_and_changes_nothing(app: Flask, omar: Person, command: str) -> None:
    before = rows(app, User)
    assert refusal(run(app, "users", command, "nobody@example.com")) == "nobody@example.com is not here."
    assert refusal(run(app, "users", command, "nobody")) == "Give an email address in the form name@example.com."
    assert rows(app, User) == before


def test_unlocking_lets_somebody_try_again(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    for _ in range(5):
        browser.submit("/login", email=omar.email, password="wrong")
    assert give_password(browser, omar).status == 429
    said(run(app, "users", "unlock", omar.email))
    assert give_password(browser, omar).h1 == "Enter your code"


def test_deactivating_signs_out_and_keeps_out_until_activated(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    said(run(app, "users", "deactivate", omar.email))
    assert not is_signed_in(browser)
    assert give_password(Browser(app), omar).status == 422
    said(run(app, "users", "activate", omar.email))
    clock.pass_by(30)
    assert sign_in(browser, omar).h1 == "Security"


def test_the_last_admin_is_not_deactivated(app: Flask, ines: Person, make_person) -> None:
    assert refusal(run(app, "users", "deactivate", ines.email)).startswith("ines@example.com is the last admin")
    make_person("second@example.com", admin=True)
    said(run(app, "users", "deactivate", ines.email))


def test_reset_and_invite_give_a_link_with_how_long_it_works(app: Flask, omar: Person) -> None:
    for command, email in (("invite", "omar@example.com"), ("reset-mfa", "omar@example.com"), ("invite", "new@x.test")):
        result = run(app, "users", command, email)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Give this link to {email}; it works once, for 72 hours: {LINK}")
        assert result.stdout.count("\n") == 1
    assert count(app, TotpAuthenticator) == 0
    assert refusal(run(app, "users", "invite", "nobody")) == "Give an email address in the form name@example.com."


def test_events_are_listed_newest_first_as_lines_and_as_json(app: Flask, omar: Person) -> None:
    sign_in(Browser(app), omar)
    lines = run(app, "events").stdout.splitlines()
    assert lines[0] == "2026-11-30 01:00  omar@example.com: Signed in, from 203.0.113.7"
    assert len(lines) == count(app, Event)
    facts = [json.loads(line) for line in run(app, "events", "--json", "--limit", "2").stdout.splitlines()]
    assert [fact["event"] for fact in facts] == ["signed_in", "password_right"]
    assert facts[0]["user"] == "omar@example.com"
    assert run(app, "events", "--limit", "0").exit_code == 2


def test_reseal_moves_everything_to_the_newest_key_and_says_when_the_old_one_may_go(make_app, make_person) -> None:
    before = make_app(SECRET_KEY=OLD_KEY, RECOVERY_CODES_ENABLED=True)
    omar, ines = make_person("omar@example.com", on=before), make_person("ines@example.com", code=False, on=before)
    assert sign_in(Browser(before), ines).h1 == "Save your recovery code"  # an unsaved code is sealed as well
    both = make_app(SECRET_KEY=KEY, SECRET_KEY_FALLBACKS=[OLD_KEY])
    sentence = said(run(both, "keys", "reseal"))
    assert sentence == (
        "Resealed 3 values; the earlier keys may go on 1 December 2026, 01:00 UTC, with the last session."
    )
    assert said(run(both, "keys", "reseal")).startswith("Resealed 0 values;")
    assert last_event(both)[:2] == (Kind.KEYS_RESEALED, "the command line")
    after = make_app(SECRET_KEY=KEY, RECOVERY_CODES_ENABLED=True)
    assert sign_in(Browser(after), omar).h1 == "Security"
    assert use_recovery_code(Browser(after), omar).h1.startswith("You're in"), "recovery codes survive any key"


def test_resealing_brings_back_no_code_that_is_saved_meanwhile(make_app, make_person) -> None:
    before = make_app(SECRET_KEY=OLD_KEY, RECOVERY_CODES_ENABLED=True)
    both = make_app(SECRET_KEY=KEY, SECRET_KEY_FALLBACKS=[OLD_KEY])
    ines, browser = make_person("ines@example.com", code=False, on=before), Browser(before)
    page = sign_in(browser, ines)

    def read() -> RecoveryCode:
        with both.app_context():
            return RecoveryCode.get(RecoveryCode.sealed_code.is_null(False))

    def reseal(row: RecoveryCode) -> list[int]:
        counts = [0, 0]
        with both.app_context():
            models._reseal(row, RecoveryCode.sealed_code, models._RECOVERY_CODE, row.user, counts)
        return counts

    unsaved = read()
    assert save_new_code(browser, page, ines).h1 == "Security"
    assert reseal(unsaved) == [0, 0]
    assert count(both, RecoveryCode, RecoveryCode.sealed_code.is_null()) == 1
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    assert reseal(read()) == [1, 0]


def test_reseal_fails_in_one_sentence_when_a_key_is_missing_and_works_once_it_is_back(make_app, make_person) -> None:
    make_person("omar@example.com", on=make_app(SECRET_KEY=OLD_KEY))
    assert refusal(run(make_app(SECRET_KEY=KEY), "keys", "reseal")).startswith("1 values can't be opened")
    mended = make_app(SECRET_KEY=KEY, SECRET_KEY_FALLBACKS=[OLD_KEY])
    assert said(run(mended, "keys", "reseal")).startswith("Resealed 1 values;")


def test_a_person_who_lost_the_phone_ends_with_a_new_app_and_a_new_code_after_five_forms(
    app: Flask, omar: Person
) -> None:
    from authn import totp

    browser, requests = Browser(app), 0
    served = browser.client.open

    def counted(*args, **kwargs):
        nonlocal requests
        requests += 1
        return served(*args, **kwargs)

    browser.client.open = counted
    page = browser.open("/login")
    for path, values in (
        ("/login", {"email": omar.email, "password": PASSWORD}),
        ("/login/recovery", {"recovery_code": omar.recovery_code}),
        ("/mfa/recovery-code", {"saved": "yes"}),
        ("/mfa/lost-device", {"still_have": "no"}),
    ):
        if page.path != path:
            page = browser.open(path)
        answer = browser.send(page, values)
        assert answer.status == 303
        page = browser.open(answer.headers["Location"]) if path != "/login" else page
    new_app = totp.read_setup_key(page.text_of("setup-key"))
    answer = browser.send(page, {"code": totp.code_at(new_app, omar.clock.now)})
    assert answer.status == 303
    assert requests == 10, "five pages and the form on each"
    assert is_signed_in(browser)
