"""What the verbs of models guarantee when something else happens between two of their steps."""

import time
from dataclasses import replace
from threading import Barrier

import pytest
from flask import Flask

import models
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
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    enroll,
    give_password,
    save_new_code,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, rows


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


def test_an_enrollment_completes_only_over_the_app_it_was_to_replace(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    page = browser.get("/mfa/setup")
    key = totp.read_setup_key(page.text_of("setup-key"))
    with app.app_context():
        TotpAuthenticator.update(id=TotpAuthenticator.id + 100).execute()
    assert browser.submit(page, code=totp.code_at(key, clock.now)).path == "/account", "sent on, nothing changed"
    assert count(app, TotpAuthenticator, TotpAuthenticator.id > 100) == 1
    with app.app_context():
        TotpAuthenticator.update(id=TotpAuthenticator.id - 100).execute()
    assert browser.submit(page, code=totp.code_at(key, clock.now)).path == "/account"
    assert kinds(app).count(Kind.AUTHENTICATOR_REPLACED) == 1


def test_replacing_the_app_while_an_unsaved_code_waits_completes(app: Flask, ines: Person, clock) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    browser.press(browser.get("/account/recovery-code"), "Make a code")
    page = browser.get("/mfa/setup")
    ines.secret = totp.read_setup_key(page.text_of("setup-key"))
    page = browser.submit(page, code=ines.code())
    assert "Step 2 of 2" in page.text
    assert save_new_code(browser, page, ines).path == "/account"
    assert [row["retired_by"] for row in rows(app, RecoveryCode)] == ["replaced", None]


def test_a_confirmed_replacement_that_was_left_lying_does_not_shadow_a_new_code(
    app: Flask, ines: Person, clock
) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    page = browser.get("/mfa/setup")
    abandoned = totp.read_setup_key(page.text_of("setup-key"))
    old_code = shown_code(browser.submit(page, code=totp.code_at(abandoned, clock.now)))
    page = browser.press(browser.get("/account/recovery-code"), "Make a code")
    assert "Step 2 of 2" not in page.text
    assert shown_code(page) != old_code
    assert save_new_code(browser, page, ines).path == "/account"
    clock.pass_by(30)
    assert sign_in(Browser(app), ines).h1 == "Security", "the app is the old one"


def test_a_confirmed_replacement_runs_out_of_time(app: Flask, ines: Person, clock) -> None:
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser = Browser(app)
    sign_in(browser, ines)
    app.config["RECOVERY_CODES_ENABLED"] = True
    page = browser.get("/mfa/setup")
    key = totp.read_setup_key(page.text_of("setup-key"))
    browser.submit(page, code=totp.code_at(key, clock.now))
    clock.pass_by(900)
    page = browser.submit("/verify", password=PASSWORD, code=ines.code())
    assert browser.get("/mfa/recovery-code").path == "/account"
    app.config["RECOVERY_CODES_ENABLED"] = False
    finish = browser.open("/mfa/finish", method="POST", data=page.forms[0].fields)
    assert finish.headers["Location"] == "/mfa/recovery-code"
    assert kinds(app).count(Kind.AUTHENTICATOR_REPLACED) == 0


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


def test_typing_an_unsaved_code_ends_the_sign_in_that_had_claimed_the_saved_one(app: Flask, omar: Person) -> None:
    owner, first, second = Browser(app), Browser(app), Browser(app)
    sign_in(owner, omar)
    unsaved = shown_code(owner.press(owner.get("/account/recovery-code"), "Make a new code"))
    give_password(second, omar)
    give_password(first, omar)
    saved = omar.recovery_code
    assert first.submit("/login/recovery", recovery_code=saved).h1.startswith("You're in")
    page = second.submit("/login/recovery", recovery_code=unsaved)
    assert "was replaced" in page.errors[0], "the first one's replacement has taken its place"
    assert first.get("/mfa/recovery-code").h1.startswith("You're in")

    replacement = shown_code(first.get("/mfa/recovery-code"))
    assert second.submit("/login/recovery", recovery_code=replacement).h1.startswith("You're in")
    assert first.get("/mfa/recovery-code").h1 == "Sign in", "its claim is void, so it is told at once"


def test_a_code_retired_before_it_was_saved_is_told_as_such(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    first = shown_code(browser.press(browser.get("/account/recovery-code"), "Make a new code"))
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    other = Browser(app)
    give_password(other, omar)
    page = other.submit("/login/recovery", recovery_code=first)
    assert page.errors == [
        "That code was replaced on 30 November 2026, before it was saved. Use the newest one you saved."
    ]
    assert other.submit(page, recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_a_right_password_takes_back_its_charge_and_the_address_with_it(app: Flask, omar: Person, act: Act) -> None:
    with app.app_context():
        for _ in range(20):
            assert User.with_password(omar.email, PASSWORD, act)
        assert {row.failures for row in Throttle.select()} == {0}
        assert User.with_password(omar.email, "wrong", act) is None
        assert {row.failures for row in Throttle.select()} == {1}


def test_a_stop_at_a_hundred_outlasts_the_sweep_and_an_admin_lifts_it(app: Flask, omar: Person, clock) -> None:
    with app.app_context():
        for _ in range(100):
            clock.pass_by(3600)
            assert User.with_password(omar.email, "wrong", Act(clock.now)) is None
    clock.pass_by(90 * 86400)
    other = Browser(app)
    page = give_password(other, omar)
    assert (page.status, "is stopped until" in page.text) == (429, True)
    with app.app_context():
        Throttle.sweep(clock.now)
        user = User.get(User.email == omar.email)
    assert give_password(other, omar).status == 429
    with app.app_context():
        user.unlock(Act(clock.now))
    assert give_password(other, omar).h1 == "Enter your code"


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


def test_the_notice_about_a_missing_device_ends_with_a_sign_in_by_app(app: Flask, omar: Person, clock) -> None:

    browser = Browser(app)
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    page = browser.submit(page, still_have="later")
    assert "When you have your new phone" in page.notice
    browser.press(page, "Sign out")
    assert "When you have your new phone" not in sign_in(browser, omar).notice


def test_a_notice_does_not_travel_through_a_sign_in(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    page = browser.get("/account?notice=code-saved")
    browser.submit(page, email=omar.email, password=PASSWORD)
    page = browser.submit("/login/code", code=omar.code())
    assert (page.url, page.notice) == ("/account", "")


def test_somebody_who_was_away_is_told_so_on_the_sign_in_page_itself(app: Flask, omar: Person, clock) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    clock.pass_by(3600)
    assert browser.get("/login").notice == "You were signed out because you'd been away a while."
    assert browser.get("/login").notice == "", "once: the cookie is a new one"


@pytest.mark.parametrize("origin", ["http://[", "null", "https://evil.test", "http://localhost:99999"])
def test_an_odd_origin_is_refused_with_a_page_and_ours_is_taken(app: Flask, omar: Person, origin: str) -> None:
    browser = Browser(app)
    page = browser.get("/login")
    values = {"email": omar.email, "password": PASSWORD}
    assert browser.send(page, values, headers={"Origin": origin}).status == 400
    assert browser.send(page, values, headers={"Origin": "http://localhost"}).status == 303


def test_the_end_of_a_recovery_sign_in_by_the_flag_is_an_event(app: Flask, omar: Person) -> None:

    browser = Browser(app)
    use_recovery_code(browser, omar)
    app.config["RECOVERY_CODES_ENABLED"] = False
    browser.get("/account")
    assert kinds(app)[-1] == Kind.SIGN_IN_ENDED
    assert count(app, Session) == 0


def test_looking_at_a_recovery_page_while_they_are_off_writes_nothing(app: Flask, maya: Person) -> None:
    browser = Browser(app)
    app.config["RECOVERY_CODES_ENABLED"] = False
    enroll(browser, maya)
    before = kinds(app)
    assert browser.open("/login/recovery").status == 403
    assert kinds(app) == before
    fields = browser.get("/account").forms[0].fields
    assert browser.open("/login/recovery", method="POST", data=fields).status == 403
    assert kinds(app) == [*before, Kind.RECOVERY_CODE_WHILE_OFF]


@pytest.mark.parametrize("referer", ["http://[evil", "", "http://localhost/account/recovery-code"])
def test_an_odd_referer_does_not_keep_from_confirming(app: Flask, omar: Person, clock, referer: str) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    page = browser.get("/account/recovery-code")
    clock.pass_by(600)
    answer = browser.open(page.path, method="POST", data=page.form_with().fields, headers={"Referer": referer})
    assert answer.headers["Location"].startswith("/verify?next=")


def test_normalizing_a_flood_of_marks_is_not_paid_for(app: Flask, omar: Person) -> None:
    flood = "\u0301" * 15000 + "\u0323" * 15000
    started = time.process_time()
    for field in ("email", "password"):
        page = Browser(app).submit("/login", **{"email": omar.email, "password": "x", field: flood})
        assert page.status in (413, 422)
    assert time.process_time() - started < 0.5


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


def test_somebody_reset_while_the_account_page_is_made_is_sent_to_sign_in(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    sign_in(browser, omar)
    with app.app_context():
        app_in_use = TotpAuthenticator.get()
        app_in_use.delete_instance()
    answer = browser.open("/account")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    with app.app_context():
        app_in_use.save(force_insert=True)
    assert browser.open("/account").status == 200


def test_whoever_decides_by_a_session_is_waited_for_before_it_ends(app: Flask, omar: Person, act: Act) -> None:
    sign_in(Browser(app), omar)
    decided, asked = Barrier(2), list[bool]()

    def decide() -> None:
        with app.app_context():
            user = User.get(User.email == omar.email)
            with models._alone_with(user):
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


def test_a_password_whose_hash_is_renewed_waits_for_nobody_who_waits_for_it(make_app, make_person, act: Act) -> None:
    """Deadlocks end in an error on PostgreSQL: whoever locks a person's row locks the counts after it."""
    cheap, dear = make_app(), make_app(PASSWORD_HASH_COST="m=16,t=1,p=1")
    omar = make_person("omar@example.com", on=cheap)
    locked = Barrier(2)

    def hold() -> None:
        with cheap.app_context(), models._alone_with(User.get(User.email == omar.email)):
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
