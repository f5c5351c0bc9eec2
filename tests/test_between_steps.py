"""What an act guarantees when something else happens between two of its steps."""

import time
from dataclasses import replace
from threading import Barrier

import pytest
from flask import Flask

from authn import passwords, throttle, totp
from models import (
    Act,
    Enrollment,
    Invitation,
    Kind,
    RecoveryCode,
    Refusal,
    Session,
    Superseded,
    Throttle,
    TotpAuthenticator,
    User,
)
from tests.support import acts
from tests.support.apps import KEY, on_postgresql
from tests.support.commands import run, said
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    save_new_code,
    scan,
    shown_code,
    sign_in,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, live_codes, rows

pytestmark = pytest.mark.databases


# A password -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def act(clock) -> Act:
    return acts.at(clock)


@pytest.mark.parametrize("meanwhile", ["reset", "password changed", "deactivated"])
def test_a_password_that_stopped_being_right_after_it_was_compared_starts_no_session(
    app: Flask, omar: Person, act: Act, meanwhile: str
) -> None:
    with app.app_context():
        user = User.with_password(omar.email, PASSWORD, act)
        assert user
        there = User.get_by_id(user.id)  # in another request
        if meanwhile == "reset":
            there.reset_mfa(act)
        elif meanwhile == "deactivated":
            there.deactivate(act)
        else:
            there.set_password(passwords.Hasher(passwords.Cost(8, 1, 1)).hash(NEW_PASSWORD), act)
        with pytest.raises(Superseded):
            Session.start(user, "", act)
        assert Session.select().count() == 0
        again = User.get_by_id(user.id)
        User.update(is_active=True, password_hash=user.password_hash).execute()
        assert Session.start(User.get_by_id(again.id), "", act)


def test_a_password_whose_hash_is_renewed_waits_for_nobody_who_waits_for_it(make_app, make_person, act: Act) -> None:
    """Deadlocks end in an error on PostgreSQL: whoever locks a person's row locks the counts after it."""
    cheap, dear = make_app(), make_app(PASSWORD_HASH_COST="m=16,t=1,p=1")
    omar = make_person("omar@example.com", on=cheap)
    locked = Barrier(2)

    def hold() -> None:
        with cheap.app_context(), acts.alone_with(acts.user_of(omar.email)):
            locked.wait()
            time.sleep(0.5)
            Throttle.forget((throttle.PASSWORD,), omar.email)

    def give_it() -> bool:
        with dear.app_context():
            locked.wait()
            return User.with_password(omar.email, PASSWORD, act) is not None

    at_once([hold, give_it])
    with dear.app_context():
        assert "$m=16," in User.get().password_hash


# Setting up an app ----------------------------------------------------------------------------------------------------


def test_a_session_begun_before_somebody_enrolled_cannot_replace_their_app(app: Flask, maya: Person, act: Act) -> None:
    with app.app_context():
        user = User.get(User.email == maya.email)
        session = Session.find(Session.start(user, "", act))
        assert session and session.step == "enroll"
        user.enroll(act)  # as if completed in a session that did not see this one
        with pytest.raises(Superseded):
            Enrollment.open_or_begin(session, act)
        TotpAuthenticator.delete().execute()
        assert Enrollment.open_or_begin(session, act).replaces is None


def test_a_double_click_on_continue_keeps_the_code_that_was_shown(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    page = give_password(browser, maya)
    maya.secret = totp.read_setup_key(page.text_of("setup-key"))
    with app.app_context():
        slow = Enrollment.open_in(Session.get(), clock.now)
    code = shown_code(browser.submit(page, code=maya.code()))
    with app.app_context():
        assert slow and slow.confirm(Session.get(), maya.code(), Act(clock.now), codes_on=True) is None
    assert shown_code(browser.get("/mfa/recovery-code")) == code


def test_a_code_confirms_only_the_app_it_was_typed_for(app: Flask, omar: Person, clock, act: Act) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    browser.open("/mfa/setup")
    with app.app_context():
        stale = Enrollment.get()
        session = Session.get(Session.id == stale.session_id)
        code = totp.code_at(stale.secret(), clock.now)
        session.make_new_code(act)  # in another tab
        with pytest.raises(Superseded):
            stale.confirm(session, code, act, codes_on=True)
        fresh = Enrollment.open_or_begin(session, act)
        with pytest.raises(Superseded):
            stale.confirm(session, code, act, codes_on=True)
        assert fresh.confirm(session, totp.code_at(fresh.secret(), clock.now), act, codes_on=True)


def test_confirming_for_a_session_that_is_gone_is_superseded(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    key = totp.read_setup_key(give_password(browser, maya).text_of("setup-key"))
    with app.app_context():
        session = Session.select(Session, User).join(User).get()
        enrollment = Enrollment.open_in(session, clock.now)
        Session.delete().execute()
        with pytest.raises(Superseded):
            enrollment.confirm(session, totp.code_at(key, clock.now), Act(clock.now), codes_on=True)


def test_what_ran_out_of_time_in_this_very_second_is_not_finished(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    page = give_password(browser, maya)
    scan(page, maya)
    browser.submit(page, code=maya.code())
    with app.app_context():
        session = Session.select(Session, User).join(User).get()
        with pytest.raises(Superseded):
            session.go_without_code(Act(clock.now + 900))
        assert Kind.SIGNED_IN not in kinds(app)
        assert session.go_without_code(Act(clock.now + 899))
    assert kinds(app)[-1] == Kind.SIGNED_IN


# Codes ----------------------------------------------------------------------------------------------------------------


def test_a_six_digit_code_is_not_used_up_when_its_session_is_gone(app: Flask, omar: Person, act: Act) -> None:
    with app.app_context():
        user = User.get(User.email == omar.email)
        session = Session.find(Session.start(user, "", act))
        assert session
        Session.delete().execute()
        with pytest.raises(Superseded):
            session.pass_challenge(omar.code(), act, codes_on=False)
        again = Session.find(Session.start(user, "", act))
        assert again and not isinstance(again.pass_challenge(omar.code(), act, codes_on=False), Refusal)


def test_a_dead_session_makes_no_code(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    with app.app_context():
        session, act = Session.get(), Act(clock.now)
        session.user.reset_mfa(act)
        with pytest.raises(Superseded):
            session.make_new_code(act)
    assert live_codes(app) == 0


def test_a_right_code_that_came_too_late_is_no_failure(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    give_password(Browser(app), omar)
    clock.pass_by(30)
    with app.app_context():
        act = Act(clock.now)
        late, code_late = Session.select().order_by(Session.id)
        assert isinstance(Session.get().step_up(PASSWORD, omar.code(), act), str)
        with pytest.raises(Superseded):
            late.step_up(PASSWORD, omar.code(30), act)
        code_late.end(Kind.SIGNED_OUT, act)
        with pytest.raises(Superseded):
            RecoveryCode.claim(code_late, omar.recovery_code or "", act, lambda: True)
    assert {row["failures"] for row in rows(app, Throttle)} == {0}


OLD_KEY = "an-earlier-key-of-the-tests-0123456789abcdef"


@on_postgresql  # on SQLite nobody else writes meanwhile
def test_resealing_brings_back_no_code_that_is_saved_meanwhile(make_app, make_person, monkeypatch) -> None:
    before = make_app(SECRET_KEY=OLD_KEY, RECOVERY_CODES_ENABLED=True)
    both = make_app(SECRET_KEY=KEY, SECRET_KEY_FALLBACKS=[OLD_KEY])
    ines, browser = make_person("ines@example.com", code=False, on=before), Browser(before)
    prompt = sign_in(browser, ines)
    keyring = both.extensions["store"].keyring
    seal = keyring.seal

    def seal_late(plain: bytes, purpose: str, owner: int) -> bytes:
        if purpose == "recovery code" and not ines.recovery_code:
            assert save_new_code(browser, prompt, ines).h1 == "Security"
        return seal(plain, purpose, owner)

    monkeypatch.setattr(keyring, "seal", seal_late)
    assert said(run(both, "keys", "reseal")).startswith("Resealed 1 values;"), "her app's secret"
    assert count(both, RecoveryCode, RecoveryCode.sealed_code.is_null()) == 1
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    assert said(run(both, "keys", "reseal")).startswith("Resealed 1 values;"), "the code not saved yet"


# Ends -----------------------------------------------------------------------------------------------------------------


def test_signing_out_beside_a_step_up_ends_the_session(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(30)
    with app.app_context():
        slow, act = Session.get(), Act(clock.now)
        assert isinstance(Session.get().step_up(PASSWORD, omar.code(), act), str)
        slow.end(Kind.SIGNED_OUT, act)
        assert Session.select().count() == 0
    assert kinds(app)[-1] == Kind.SIGNED_OUT


def test_a_link_that_was_found_before_a_reset_does_not_stand_in_for_the_one_after(
    app: Flask, omar: Person, act: Act
) -> None:
    with app.app_context():
        user = User.get(User.email == omar.email)
        old = Invitation.find(Invitation.issue(user, act), act.now)
        assert old
        token = user.reset_mfa(act)
        assert not old.use(NEW_PASSWORD, act)
        assert User.with_password(omar.email, NEW_PASSWORD, act) is None
        new = Invitation.find(token, act.now)
        assert new and new.use(NEW_PASSWORD, act)
        assert User.with_password(omar.email, NEW_PASSWORD, act)


@pytest.mark.parametrize("change", ["make_admin", "unlock", "deactivate", "reset_mfa"])
@pytest.mark.parametrize("end", ["deactivate", "remove_admin"])
def test_what_an_admin_asked_for_does_not_happen_once_they_are_none(
    app: Flask, ines: Person, omar: Person, make_person, act: Act, end: str, change: str
) -> None:
    make_person("rosa@example.com", admin=True)
    with app.app_context():
        asking = User.get(User.email == ines.email)
        hers = replace(act, by=ines.email, admin=asking.id)
        assert getattr(asking, end)(act)
        before = rows(app, User), rows(app, TotpAuthenticator), kinds(app)
        with pytest.raises(Superseded):
            getattr(User.get(User.email == omar.email), change)(hers)
        assert (rows(app, User), rows(app, TotpAuthenticator), kinds(app)) == before
        User.update(is_admin=True, is_active=True).where(User.id == asking.id).execute()
        assert getattr(User.get(User.email == omar.email), change)(hers)


def test_whoever_decides_by_a_session_is_waited_for_before_it_ends(app: Flask, omar: Person, act: Act) -> None:
    sign_in(Browser(app), omar)
    decided, asked = Barrier(2), list[bool]()

    def decide() -> None:
        with app.app_context():
            user = User.get(User.email == omar.email)
            with acts.alone_with(user):
                decided.wait()
                time.sleep(0.3)
                asked.append(Session.select().where(Session.user == user).exists())

    def end() -> None:
        with app.app_context():
            session = Session.get()
            decided.wait()
            session.end(Kind.SIGNED_OUT, act)

    at_once([decide, end])
    assert (asked, count(app, Session)) == ([True], 0)
