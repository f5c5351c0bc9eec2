"""What an act guarantees when something else happens between two of its steps."""

import time
from dataclasses import replace
from threading import Barrier, Thread

import pytest
from flask import Flask

from authn import totp
from authn.events import EventKind
from authn.passwords import Cost, Policy
from authn.refusals import LinkUsed, WrongPassword
from authn.throttle import PASSWORD as PASSWORDS
from flows import enrollment, passwords, people, recovery, second_factor, sessions, throttle
from flows.transactions import Context, Superseded
from models import Enrollment, Invitation, RecoveryCode, Session, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import KEY, on_postgresql
from tests.support.commands import run, said
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, live_codes, rows

pytestmark = pytest.mark.databases


# A password -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def context(clock) -> Context:
    return acts.at(clock)


@pytest.mark.parametrize("meanwhile", ["reset", "password changed", "deactivated"])
def test_a_password_that_stopped_being_right_after_it_was_compared_starts_no_session(
    app: Flask, omar: Person, context: Context, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    def happen(_now: int) -> None:
        there = acts.user_of(omar.email)
        if meanwhile == "reset":
            people.reset(there, context)
        elif meanwhile == "deactivated":
            assert people.deactivate(there, context) is None
        else:
            with acts.alone_with(there):
                passwords.set_password(there, Policy(Cost(8, 1, 1)).hash(NEW_PASSWORD), context)

    with app.app_context():
        compared = acts.user_of(omar.email).password_hash
        with monkeypatch.context() as between:
            between.setattr("flows.sessions.sweep", happen)  # what stands between the comparison and the session
            with pytest.raises(Superseded):
                sessions.start(Session(next_path=""), omar.email, PASSWORD, context)
        assert Session.select().count() == 0
        User.update(is_active=True, password_hash=compared).execute()
        assert sessions.start(Session(next_path=""), omar.email, PASSWORD, context) is None


def test_a_password_whose_hash_is_renewed_waits_for_nobody_who_waits_for_it(
    make_app, make_person, context: Context
) -> None:
    """Deadlocks end in an error on PostgreSQL: whoever locks a person's row locks the counts after it."""
    cheap, dear = make_app(), make_app(PASSWORD_HASH_COST="m=16,t=1,p=1")
    omar = make_person("omar@example.com", on=cheap)
    locked = Barrier(2)

    def hold() -> None:
        with cheap.app_context(), acts.alone_with(acts.user_of(omar.email)):
            locked.wait()
            time.sleep(0.5)
            throttle.forget((PASSWORDS,), omar.email)

    def give_it() -> bool:
        with dear.app_context():
            locked.wait()
            return passwords.check_password(omar.email, PASSWORD, context) is not None

    at_once([hold, give_it])
    with dear.app_context():
        assert "$m=16," in User.get().password_hash


# Setting up an app ----------------------------------------------------------------------------------------------------


def test_a_session_begun_before_somebody_enrolled_cannot_replace_their_app(
    app: Flask, maya: Person, context: Context
) -> None:
    with app.app_context():
        user = acts.user_of(maya.email)
        session = acts.begin_session(user, context)
        assert session.step == "enroll"
        with acts.alone_with(user):  # as if completed in a session that did not see this one
            enrollment.add_app(user, b"", 0, context)
        with pytest.raises(Superseded):
            enrollment.begin(session, context)
        TotpAuthenticator.delete().execute()
        assert enrollment.begin(session, context).replaces is None


def test_a_double_click_on_continue_keeps_the_code_that_was_shown(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    page = give_password(browser, maya)
    maya.secret = totp.read_setup_key(page.text_of("setup-key"))
    with app.app_context():
        session = Session.get()
        slow = Enrollment.open_in(session, clock.now)
    code = shown_code(browser.submit(page, code=maya.code()))
    with app.app_context():
        assert slow and enrollment.confirm(session, slow, maya.code(), Context(clock.now)) is None
    assert shown_code(browser.get("/mfa/recovery-code")) == code


def test_a_code_confirms_only_the_app_it_was_typed_for(app: Flask, omar: Person, clock, context: Context) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    browser.open("/mfa/setup")
    with app.app_context():
        stale = Enrollment.get()
        session = Session.get(Session.id == stale.session_id)
        code = totp.code_at(stale.secret(), clock.now)
        recovery.make_new_code(session, context)  # in another tab
        with pytest.raises(Superseded):
            enrollment.confirm(session, stale, code, context)
        fresh = enrollment.begin(session, context)
        with pytest.raises(Superseded):
            enrollment.confirm(session, stale, code, context)
        assert enrollment.confirm(session, fresh, totp.code_at(fresh.secret(), clock.now), context) is None


def test_confirming_for_a_session_that_is_gone_is_superseded(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    key = totp.read_setup_key(give_password(browser, maya).text_of("setup-key"))
    with app.app_context():
        session = Session.select(Session, User).join(User).get()
        begun = Enrollment.open_in(session, clock.now)
        Session.delete().execute()
        with pytest.raises(Superseded):
            enrollment.confirm(session, begun, totp.code_at(key, clock.now), Context(clock.now))


def test_what_ran_out_of_time_in_this_very_second_is_not_finished(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    page = give_password(browser, maya)
    scan(page, maya)
    browser.submit(page, code=maya.code())
    with app.app_context():
        session = Session.select(Session, User).join(User).get()
        app.config["RECOVERY_CODES_ENABLED"] = False
        with pytest.raises(Superseded):
            recovery.finish_without_code(session, Context(clock.now + 900))
        assert EventKind.SIGNED_IN not in kinds(app)
        assert recovery.finish_without_code(session, Context(clock.now + 899)) is None
    assert kinds(app)[-1] == EventKind.SIGNED_IN


# Codes ----------------------------------------------------------------------------------------------------------------


def test_a_six_digit_code_is_not_used_up_when_its_session_is_gone(app: Flask, omar: Person, context: Context) -> None:
    with app.app_context():
        user = acts.user_of(omar.email)
        session = acts.begin_session(user, context)
        Session.delete().execute()
        with pytest.raises(Superseded):
            second_factor.pass_challenge(session, omar.code(), context)
        assert second_factor.pass_challenge(acts.begin_session(user, context), omar.code(), context) is None


def test_a_dead_session_makes_no_code(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    with app.app_context():
        session, context = Session.get(), Context(clock.now)
        people.reset(session.user, context)
        with pytest.raises(Superseded):
            recovery.make_new_code(session, context)
    assert live_codes(app) == 0


def test_a_right_code_that_came_too_late_is_no_failure(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    give_password(Browser(app), omar)
    clock.pass_by(30)
    with app.app_context():
        context = Context(clock.now)
        late, code_late = Session.select().order_by(Session.id)
        assert second_factor.step_up(Session.get(), PASSWORD, omar.code(), context) is None
        with pytest.raises(Superseded):
            second_factor.step_up(late, PASSWORD, omar.code(30), context)
        sessions.end(code_late, EventKind.SIGNED_OUT, context)
        with pytest.raises(Superseded):
            recovery.claim(code_late, omar.recovery_code or "", context)
    assert rows(app, Throttle) == []


OLD_KEY = "an-earlier-key-of-the-tests-0123456789abcdef"


@on_postgresql  # on SQLite nobody else writes meanwhile
def test_resealing_brings_back_no_code_that_is_saved_meanwhile(make_app, make_person, monkeypatch) -> None:
    """Whoever saves one waits until its turn is over."""
    before = make_app(SECRET_KEY=OLD_KEY, RECOVERY_CODES_ENABLED=True)
    both = make_app(SECRET_KEY=KEY, SECRET_KEY_FALLBACKS=[OLD_KEY])
    ines, browser = make_person("ines@example.com", code=False, on=before), Browser(before)
    prompt = sign_in(browser, ines)
    keyring, saved = both.extensions["store"].keyring, list[Page]()
    seal, saving = keyring.seal, Thread(target=lambda: saved.append(save_new_code(browser, prompt, ines)))

    def seal_late(plain: bytes, purpose: str, owner: int) -> bytes:
        if purpose == "recovery code" and not saving.ident:
            saving.start()
            saving.join(0.2)
            assert not saved, "it waits"
        return seal(plain, purpose, owner)

    monkeypatch.setattr(keyring, "seal", seal_late)
    assert said(run(both, "keys", "reseal")).startswith("The newest key opens 2 of 2 sealed values (2 ")
    saving.join()
    assert saved[0].h1 == "Security"
    assert count(both, RecoveryCode, RecoveryCode.sealed_code.is_null()) == 1
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    assert said(run(both, "keys", "reseal")).startswith("The newest key opens 2 of 2 sealed values (1 "), "her code"


# Ends -----------------------------------------------------------------------------------------------------------------


def test_signing_out_beside_a_step_up_ends_the_session(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(30)
    with app.app_context():
        slow, context = Session.get(), Context(clock.now)
        assert second_factor.step_up(Session.get(), PASSWORD, omar.code(), context) is None
        sessions.end(slow, EventKind.SIGNED_OUT, context)
        assert Session.select().count() == 0
    assert kinds(app)[-1] == EventKind.SIGNED_OUT


def test_a_link_that_was_found_before_a_reset_does_not_stand_in_for_the_one_after(
    app: Flask, omar: Person, context: Context
) -> None:
    with app.app_context():
        user = acts.user_of(omar.email)
        old = Invitation.find(people.invite(user, context), context.now)
        assert old
        token = people.reset(user, context)
        assert people.accept_invitation(old, NEW_PASSWORD, context) == LinkUsed()
        assert passwords.check_password(omar.email, NEW_PASSWORD, context) is None
        new = Invitation.find(token, context.now)
        assert new and people.accept_invitation(new, NEW_PASSWORD, context) is None
        assert passwords.check_password(omar.email, NEW_PASSWORD, context)


@pytest.mark.parametrize("change", [people.promote, people.unlock, people.deactivate, people.reset, people.invite])
@pytest.mark.parametrize("end", [people.deactivate, people.demote])
def test_what_an_admin_asked_for_does_not_happen_once_they_are_none(
    app: Flask, ines: Person, omar: Person, make_person, context: Context, end, change
) -> None:
    make_person("rosa@example.com", admin=True)
    with app.app_context():
        asking = User.get(User.email == ines.email)
        hers = replace(context, actor=ines.email, admin_id=asking.id)
        assert end(asking, context) is None
        before = rows(app, User), rows(app, TotpAuthenticator), kinds(app)
        with pytest.raises(Superseded):
            change(acts.user_of(omar.email), hers)
        assert (rows(app, User), rows(app, TotpAuthenticator), kinds(app)) == before
        User.update(is_admin=True, is_active=True).where(User.id == asking.id).execute()
        change(acts.user_of(omar.email), hers)
        assert kinds(app) != before[2]


@pytest.mark.parametrize("change", [people.promote, people.reset, people.invite])
def test_what_an_admin_asked_for_does_not_happen_once_their_session_has_ended(
    app: Flask, ines: Person, omar: Person, context: Context, change
) -> None:
    sign_in(Browser(app), ines)
    with app.app_context():
        asking = Session.get()
        hers = replace(context, actor=ines.email, admin_id=asking.user.id, admin_session=asking.id)
        Session.update(step="challenge").execute()
        with pytest.raises(Superseded):
            change(acts.user_of(omar.email), hers)
        Session.update(step="signed_in").execute()
        change(acts.user_of(omar.email), hers)
        before = kinds(app)
        sessions.end(asking, EventKind.SIGNED_OUT, context)
        with pytest.raises(Superseded):
            change(acts.user_of(omar.email), hers)
    assert kinds(app) == [*before, EventKind.SIGNED_OUT]


def test_a_session_that_has_ended_ends_no_other_and_dismisses_nothing(
    app: Flask, omar: Person, context: Context
) -> None:
    for browser in (Browser(app), Browser(app)):
        assert use_recovery_code(browser, omar).h1.startswith("You're in.")
        page = save_new_code(browser, browser.get("/mfa/recovery-code"), omar)
        assert browser.submit(page, still_have="yes").h1 == "Security"
    with app.app_context():
        ended, other = Session.select().order_by(Session.id)
        sessions.end(ended, EventKind.SIGNED_OUT, context)
        with pytest.raises(Superseded):
            sessions.revoke(ended, other.id, context)
        with pytest.raises(Superseded):
            recovery.dismiss_notice(ended, context)
        assert User.get().recovery_used_at is not None
        recovery.dismiss_notice(other, context)
        assert User.get().recovery_used_at is None


def test_the_second_half_of_a_double_click_on_a_new_password_is_not_told_that_it_was_wrong(
    app: Flask, omar: Person, context: Context
) -> None:
    sign_in(Browser(app), omar)
    with app.app_context():
        slow = Session.get()
        assert people.change_password(Session.get(), PASSWORD, NEW_PASSWORD, context) is None
        with pytest.raises(Superseded):
            people.change_password(slow, PASSWORD, NEW_PASSWORD, context)
        assert people.change_password(Session.get(), PASSWORD, NEW_PASSWORD, context) == WrongPassword()


def test_whoever_decides_by_a_session_is_waited_for_before_it_ends(app: Flask, omar: Person, context: Context) -> None:
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
            sessions.end(session, EventKind.SIGNED_OUT, context)

    at_once([decide, end])
    assert (asked, count(app, Session)) == ([True], 0)
