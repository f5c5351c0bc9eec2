"""Keys: none that can be guessed, a new one that signs nobody out, and what happens without the right one."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn.events import EventKind
from models import Enrollment, RecoveryCode, TotpAuthenticator, User
from tests.support.apps import KEY, ROOT, on_postgresql
from tests.support.commands import refusal, run, said
from tests.support.cookies import moved, opened
from tests.support.endings import lingering
from tests.support.forms import Site, arrive
from tests.support.pages import Browser, csrf
from tests.support.people import (
    Clock,
    Person,
    enroll,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import kinds

Make = Callable[..., Flask]
NEW_KEY = "the-next-key-0123456789-abcdefghijk"


def sealed_everywhere(site: Site) -> dict[str, Any]:
    """Omar has an app and a code not saved yet, Maya is at the prompt, Rosa at setup: all that is ever sealed."""
    arrive(site, "account.new_recovery_code").send()
    arrive(site, "recovery.prompt")
    give_password(Browser(site.app), site.person("rosa@example.com", enrolled=False))
    return sealed_values(site.app)


def sealed_values(app: Flask) -> dict[str, Any]:
    with app.app_context():
        return {
            "apps": {row.id: bytes(row.sealed_secret) for row in TotpAuthenticator.select()},
            "setups": {row.id: bytes(row.sealed_secret) for row in Enrollment.select()},
            "codes": {row.id: bytes(row.sealed_code) for row in RecoveryCode.select() if row.sealed_code},
        }


def test_after_resealing_the_new_key_alone_opens_everything(site: Site, make_app: Make, clock: Clock) -> None:
    """Until then the old one is needed beside it; the command says when that one may go."""
    before = sealed_everywhere(site)
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY], RECOVERY_CODES_ENABLED=True)
    alone = make_app("site", SECRET_KEY=NEW_KEY, RECOVERY_CODES_ENABLED=True)

    early = Browser(alone)
    give_password(early, site.omar)
    clock.pass_by(30)
    assert early.submit("/login/code", code=site.omar.code()).status == 422, "not yet"
    result = run(both, "keys", "reseal")
    until = "the earlier keys may go on 1 December 2026, 01:00 UTC, with the last session that they signed."
    assert said(result) == (f"The newest key opens 6 of 6 sealed values (6 resealed), 0 can't be opened; {until}")
    after = sealed_values(both)
    assert [len(part) for part in after.values()] == [2, 2, 2]
    assert all(after[part][ident] != before[part][ident] for part in after for ident in after[part])
    assert kinds(both)[-1] == EventKind.KEYS_RESEALED
    assert said(run(both, "keys", "reseal")) == (
        f"The newest key opens 6 of 6 sealed values (0 resealed), 0 can't be opened; {until}"
    )
    assert sealed_values(both) == after

    clock.pass_by(30)
    late = Browser(alone)
    assert sign_in(late, site.omar).h1 == "Security"
    with alone.app_context():
        codes = [row.in_plain() for row in RecoveryCode.select().where(RecoveryCode.sealed_code.is_null(False))]
    assert [len(code) for code in codes] == [24, 24]


def test_a_session_lives_on_its_old_key_until_the_day_the_command_names(
    site: Site, make_app: Make, clock: Clock
) -> None:
    """Rotation signs nobody out, and the old key is of no use to a session that is older than a day."""
    browser = Browser(site.app)
    sign_in(browser, site.omar)
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY], RECOVERY_CODES_ENABLED=True)
    alone = make_app("site", SECRET_KEY=NEW_KEY, RECOVERY_CODES_ENABLED=True)
    said(run(both, "keys", "reseal"))
    on_both = moved(browser, both)
    for _ in range(47):
        clock.pass_by(1800)
        assert is_signed_in(on_both)
    assert not is_signed_in(moved(on_both, alone))
    clock.pass_by(1800)
    assert not is_signed_in(on_both)


def test_reseal_refuses_where_no_earlier_key_is_named(site: Site, make_app: Make) -> None:
    """As in a shell without the service's settings: "0 values" would mean that the old key may go."""
    sealed_everywhere(site)
    before = site.tables()
    for key in (KEY, NEW_KEY):
        assert refusal(run(make_app("site", SECRET_KEY=key), "keys", "reseal")).startswith(
            "SECRET_KEY_FALLBACKS is empty"
        )
    assert site.tables() == before
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY])
    assert "(6 resealed)" in said(run(both, "keys", "reseal"))


def test_what_no_key_opens_is_counted_beside_what_the_newest_opens(site: Site, make_app: Make) -> None:
    """The earlier keys may go only when nothing is left that none opens."""
    sealed_everywhere(site)
    with site.app.app_context():
        omars = TotpAuthenticator.user == User.get(User.email == site.omar.email)
        right = TotpAuthenticator.get(omars).sealed_secret
        TotpAuthenticator.update(sealed_secret=b"x" * 48).where(omars).execute()
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY])
    assert " 1 can't be opened with any key, the newest key opens 5 of 6 sealed values (5 resealed): " in refusal(
        run(both, "keys", "reseal")
    )
    with site.app.app_context():
        TotpAuthenticator.update(sealed_secret=right).where(omars).execute()
    assert "opens 6 of 6 sealed values (1 resealed), 0 can't be" in said(run(both, "keys", "reseal"))


def test_reseal_names_its_database_too_where_something_was_resealed_and_something_cannot_be(
    site: Site, make_app: Make
) -> None:
    sealed_everywhere(site)
    with site.app.app_context():
        omars = TotpAuthenticator.user == User.get(User.email == site.omar.email)
        TotpAuthenticator.update(sealed_secret=b"x" * 48).where(omars).execute()
    both = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY])
    result = run(both, "keys", "reseal")
    assert (result.exit_code, "(5 resealed)" in result.stderr) == (1, True)
    assert re.search("In the (SQLite file|PostgreSQL database) ", result.stderr)


@on_postgresql
def test_while_keys_are_resealed_setups_end_and_neither_knows_of_the_other(
    make_app: Make, make_person: Callable[..., Person], database_url: Callable[..., str], rounds: int
) -> None:
    """As the guide has it, the service runs meanwhile."""
    url = database_url("resealed")
    app = make_app(DATABASE_URL=url, RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_SLOTS=50)
    keys = {"SECRET_KEY": NEW_KEY, "SECRET_KEY_FALLBACKS": [KEY]}
    both = make_app(DATABASE_URL=url, RECOVERY_CODES_ENABLED=True, **keys)
    make_person("omar@example.com", on=app)  # so that something is always sealed
    for number in range(rounds):
        leave = []
        for each in range(8):
            person, browser = make_person(f"{number}.{each}@example.com", on=app, enrolled=False), Browser(app)
            page = give_password(browser, person)
            page = browser.submit(page, code=scan(page, person).code())
            leave.append(partial(browser.open, "/logout", method="POST", data=csrf(page)))
        with lingering(app):
            *pages, result = at_once([*leave, partial(run, both, "keys", "reseal")])
        assert {page.status for page in pages} == {303}
        assert (result.exit_code, result.exception) == (0, None), result.output


@pytest.mark.parametrize("fallbacks", [[], [NEW_KEY], [KEY]], ids=["none", "another wrong one", "the old one"])
def test_a_recovery_code_survives_any_change_of_key(site: Site, make_app: Make, fallbacks: list[str]) -> None:
    """It is no key's affair, so a lost key locks out nobody who saved a code."""
    changed = make_app("site", SECRET_KEY="another-key-altogether-0123456789", SECRET_KEY_FALLBACKS=fallbacks)
    browser = Browser(changed)
    page = use_recovery_code(browser, site.omar)
    assert page.h1.startswith("You're in")
    page = browser.submit(save_new_code(browser, page, site.omar), still_have="no")
    page = browser.submit("/mfa/setup", code=scan(page, site.omar).code())
    assert page.h1 == "Security"


def test_a_wrong_key_fails_closed_is_recorded_and_is_told_by_the_command(site: Site, make_app: Make, clock) -> None:
    """What no key opens lets nobody in and is not thrown away; the right key mends it."""
    before = sealed_everywhere(site)
    wrong = make_app("site", SECRET_KEY=NEW_KEY)
    clock.pass_by(30)
    browser = Browser(wrong)
    give_password(browser, site.omar)
    assert browser.submit("/login/code", code=site.omar.code()).errors[0].startswith("That code didn't match.")
    assert not is_signed_in(browser)
    assert EventKind.UNREADABLE in kinds(wrong)
    also_wrong = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=["another-key-altogether-0123456789"])
    assert refusal(run(also_wrong, "keys", "reseal")).endswith(
        " 6 can't be opened with any key, the newest key opens 0 of 6 sealed values (0 resealed): add the key they "
        "need to SECRET_KEY_FALLBACKS, or reset whose they are, and keep the earlier keys until then."
    )
    assert sealed_values(wrong) == before
    assert sign_in(Browser(site.app), site.omar).h1 == "Security"


def test_a_new_key_starts_the_counts_of_failures_anew(site: Site, make_app: Make) -> None:
    """The documented limit: counts lie under keyed hashes; only the operator changes the key."""
    for _ in range(5):
        Browser(site.app).submit("/login", email=site.omar.email, password="a guess")
    assert give_password(Browser(site.app), site.omar).status == 429
    rotated = make_app("site", SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[KEY])
    assert give_password(Browser(rotated), site.omar).h1 == "Enter your code"
    assert "counts of failures start anew" in " ".join((ROOT / "README.md").read_text().split())


def test_a_session_outlives_the_rotation_of_the_key(make_app, app, browser, maya, clock) -> None:
    old, new = app.config["SECRET_KEY"], "the-next-key-0123456789-abcdefghijk"
    enroll(browser, maya)
    rotated = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old], RECOVERY_CODES_ENABLED=True)
    switched = make_app(SECRET_KEY=new, RECOVERY_CODES_ENABLED=True)
    assert opened(moved(browser, switched)) == []
    browser = moved(browser, rotated)
    assert is_signed_in(browser)
    clock.pass_by(30)
    assert browser.submit("/verify", password=maya.password, code=maya.code()).h1 == "Security"
    assert is_signed_in(moved(browser, switched))  # its cookie bears the new key by now
