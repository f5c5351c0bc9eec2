"""What an attack on the running app found, so that it stays mended."""

import sqlite3
from contextlib import ExitStack, closing
from functools import partial

import pytest
from flask import Flask

from authn import email_addresses, passwords, totp
from models import Act, Enrollment, Event, Kind, RecoveryCode, Session, Superseded, Throttle, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import on_sqlite
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, live_codes, rows


def test_a_full_queue_for_hashing_answers_503_and_charges_nobody(make_app, make_person, monkeypatch) -> None:
    app = make_app(PASSWORD_HASH_SLOTS=2)
    omar, browser, policy = make_person("omar@example.com", on=app), Browser(app), app.extensions["store"].policy
    page = browser.get("/login")

    def send() -> Page:
        return browser.send(page, {"email": omar.email, "password": PASSWORD})

    with ExitStack() as line:
        for _ in range(2 + passwords._LONGEST_LINE):
            line.enter_context(policy.place_in_line())
        answers = [send() for _ in range(7)]
    assert rows(app, Throttle) == []
    monkeypatch.setattr(passwords, "_LONGEST_WAIT_SECONDS", 0.05)
    with policy._slot(), policy._slot():
        answers += [send() for _ in range(7)]
    assert {(answer.status, answer.h1) for answer in answers} == {(503, "Many people are signing in just now")}
    assert {int(answer.headers["Retry-After"]) for answer in answers} <= set(range(2, 9))
    assert {row["failures"] for row in rows(app, Throttle)} == {0}
    assert browser.submit(page, email=omar.email, password=PASSWORD).h1 == "Enter your code"


def test_a_tick_for_a_code_that_died_meanwhile_says_so(app: Flask, omar: Person) -> None:
    browser, other = Browser(app), Browser(app)
    sign_in(browser, omar)
    prompt = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    save_new_code(other, use_recovery_code(other, omar), omar)
    page = browser.submit(prompt, saved="yes")
    assert page.notice.startswith("Another code was saved meanwhile in another browser.")
    assert browser.get("/mfa/recovery-code").notice.startswith("You've already saved this code.")


def test_claiming_while_signing_out_is_no_error(app: Flask, omar: Person) -> None:
    for _ in range(20):
        browser = Browser(app)
        give_password(browser, omar)
        form = browser.get("/login/recovery")
        leave = browser.copy()
        answers = at_once(
            [
                partial(browser.send, form, {"recovery_code": omar.recovery_code}),
                partial(leave.open, "/logout", method="POST", data=form.form_with("recovery_code").fields),
            ]
        )
        assert {answer.status for answer in answers} == {303}
        with app.app_context():
            Session.delete().execute()
            Throttle.delete().execute()
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")


@pytest.mark.parametrize("host", ["a..b", ".", ".localhost", "a" * 64, "evil.test", "localhost.evil.test"])
def test_an_odd_host_is_refused_with_all_headers(app: Flask, host: str) -> None:
    answer = app.test_client().get("/login", headers={"Host": host})
    assert answer.status_code == 400
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert app.test_client().get("/login", headers={"Host": "localhost"}).status_code == 200


def test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    form = browser.get("/login/recovery")
    readings = iter([True, False])  # on when the gate looks, off when the claim does
    app.config["RECOVERY_CODES_ENABLED"] = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blueprints.signin.recovery_codes_on", lambda: next(readings, False))
        page = browser.send(form, {"recovery_code": omar.recovery_code})
    assert (page.status, page.h1) == (403, "Recovery codes are off")
    assert (live_codes(app), count(app, RecoveryCode, RecoveryCode.claimed_by.is_null(False))) == (1, 0)
    assert {row["failures"] for row in rows(app, Throttle)} == {0}
    app.config["RECOVERY_CODES_ENABLED"] = True
    prompt = browser.submit("/login/recovery", recovery_code=omar.recovery_code)
    app.config["RECOVERY_CODES_ENABLED"] = None
    readings = iter([True, True, False])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blueprints.signin.recovery_codes_on", lambda: next(readings, False))
        assert browser.send(prompt, {"saved": "yes"}).status == 403
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 0


def test_an_error_page_for_a_static_file_is_not_kept(app: Flask, browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    missing = browser.open("/static/account.css")
    assert (missing.status, missing.headers["Cache-Control"]) == (404, "no-store")
    with browser.client.get("/static/app.css") as found:
        assert found.headers["Cache-Control"] != "no-store"


def test_strangers_behind_one_address_do_not_lock_out_a_known_browser(make_app, make_person) -> None:
    app = make_app(ADDRESS_LIMIT=5)
    omar = make_person("omar@example.com", on=app)
    owner, stranger = Browser(app), Browser(app)
    owner.press(sign_in(owner, omar), "Sign out")
    for number in range(6):
        page = stranger.submit("/login", email=f"nobody{number}@example.com", password="wrong")
    assert page.status == 429
    assert give_password(owner, omar).h1 == "Enter your code"


def test_a_changed_password_voids_an_open_link(app: Flask, browser: Browser, omar: Person) -> None:
    invited = app.test_cli_runner().invoke(args=["users", "invite", omar.email]).stdout.split()[-1]
    link = invited.removeprefix("http://localhost:5000")
    sign_in(browser, omar)
    assert Browser(app).open(link).status == 200
    browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert Browser(app).open(link).status == 404


def test_the_longest_address_can_be_drawn_as_a_qr_code(app: Flask, browser: Browser, make_person) -> None:
    longest = "\U00020000" * 60 + "@example.com"
    assert email_addresses.fold("\U00020000" * 61 + "@example.com") is None
    person = make_person(longest, enrolled=False)
    assert give_password(browser, person).h1 == "Set up your authenticator app"


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
    for _ in range(8):
        page = browser.submit("/login/code", code=omar.code())
        assert page.errors[0].startswith("You've already used that code"), "refused, and not charged"


def test_a_step_up_in_the_future_does_not_count(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    assert browser.get("/account/password").h1 == "Change your password"
    clock.pass_by(-60)
    assert browser.get("/account/password").h1 == "Confirm it's you"


def test_a_row_without_any_factor_opens_nothing(app: Flask, browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    with app.app_context():
        Session.update(second_factor=None).execute()
    assert not is_signed_in(browser)
    with app.app_context():
        Session.update(second_factor="totp").execute()
    assert is_signed_in(browser)


def test_a_long_next_does_not_come_back(browser: Browser, omar: Person) -> None:
    give_password(browser, omar, "/account?x=" + "1" * 4000)
    page = browser.open("/login/code")
    answer = browser.send(page, {"code": omar.code()})
    assert answer.headers["Location"] == "/account"


def test_two_admins_who_remove_each_other_at_once_leave_one(app: Flask, make_person) -> None:
    for number in range(10):
        with app.app_context():
            User.update(is_admin=False).execute()
        for name in ("first", "second"):
            make_person(f"{name}{number}@example.com", admin=True)
        at_once([partial(acts.remove_admin, app, f"{name}{number}@example.com") for name in ("first", "second")])
        assert count(app, User, User.is_admin) == 1


def test_two_admins_who_reset_each_other_at_once_both_do(app: Flask, make_person, clock) -> None:
    for number in range(10):
        pair = [f"{name}{number}@example.com" for name in ("first", "second")]
        for email in pair:
            make_person(email, admin=True)
        links = at_once([partial(acts.reset, app, one, by=other) for one, other in (pair, pair[::-1])])
        assert all(Browser(app).get(link).h1 == "Choose your password" for link in links)


def test_an_unreadable_secret_shows_no_app_on_the_demos_phone(make_app, make_person) -> None:
    app = make_app(DEMO=True)
    omar = make_person("omar@example.com", on=app)
    phone = Browser(app).get("/demo/phone")
    assert omar.code()[:3] in phone.text
    with app.app_context():
        TotpAuthenticator.update(sealed_secret=b"x" * 48).execute()
    assert "No app yet" in Browser(app).get("/demo/phone").text


def test_a_code_shown_for_a_removed_person_is_no_error(app: Flask, browser: Browser, omar: Person) -> None:
    form = give_password(browser, omar)
    acts.remove_person(app, omar.email)
    assert browser.follow(browser.send(form, {"code": omar.code()})).h1 == "Sign in"
    assert Kind.SIGNED_IN not in kinds(app)


def test_confirming_for_a_session_that_is_gone_is_superseded(app: Flask, maya: Person, clock) -> None:
    browser = Browser(app)
    key = totp.read_setup_key(give_password(browser, maya).text_of("setup-key"))
    with app.app_context():
        session = Session.select(Session, User).join(User).get()
        enrollment = Enrollment.open_in(session, clock.now)
        Session.delete().execute()
        with pytest.raises(Superseded):
            enrollment.confirm(session, totp.code_at(key, clock.now), Act(clock.now), codes_on=True)


def test_an_address_is_open_again_when_the_clock_that_ran_ahead_is_set_right(make_app, make_person, clock) -> None:
    app = make_app(ADDRESS_LIMIT=5)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    clock.pass_by(86400)
    for number in range(6):
        page = browser.submit("/login", email=f"nobody{number}@example.com", password="wrong")
    assert page.status == 429
    clock.pass_by(-86400)
    assert give_password(browser, omar).h1 == "Enter your code"


def test_signing_out_beside_a_step_up_ends_the_session(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    clock.pass_by(30)
    with app.app_context():
        slow, act = Session.get(), Act(clock.now)
        assert isinstance(Session.get().step_up(PASSWORD, omar.code(), act), str)
        slow.end(Kind.SIGNED_OUT, act)
        assert Session.select().count() == 0
    assert kinds(app)[-1] == Kind.SIGNED_OUT


def test_a_dead_session_makes_no_code(app: Flask, browser: Browser, omar: Person, clock) -> None:
    sign_in(browser, omar)
    with app.app_context():
        session, act = Session.get(), Act(clock.now)
        session.user.reset_mfa(act)
        with pytest.raises(Superseded):
            session.make_new_code(act)
    assert live_codes(app) == 0


@on_sqlite
def test_a_claim_that_outlived_its_session_is_nobody_elses(app: Flask, make_person) -> None:
    """As a program leaves it that deletes sessions with SQLite's foreign keys off."""
    first, second = make_person("first@example.com"), make_person("second@example.com")
    use_recovery_code(Browser(app), first)
    with closing(sqlite3.connect(app.config["DATABASE_URL"].removeprefix("sqlite:///"))) as other, other:
        other.execute("DELETE FROM session")
    browser = Browser(app)
    save_new_code(browser, use_recovery_code(browser, second), second)
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 1
    assert use_recovery_code(Browser(app), first).h1 == "You're in. Save your new recovery code"


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


@pytest.mark.parametrize("who", ["maya", "ines"])
def test_a_step_up_counts_from_when_the_code_was_typed(
    app: Flask, clock, who: str, request: pytest.FixtureRequest
) -> None:
    person, browser = request.getfixturevalue(who), Browser(app)
    page = give_password(browser, person)
    if who == "maya":
        scan(page, person)
    prompt = browser.submit(page, code=person.code())
    clock.pass_by(590)
    save_new_code(browser, prompt, person)
    assert browser.open("/account/password").status == 200
    clock.pass_by(20)
    assert browser.get("/account/password").path == "/verify"


def test_tries_during_a_pause_do_not_fill_a_persons_own_record(app: Flask, omar: Person) -> None:
    for _ in range(20):
        page = Browser(app).submit("/login", email=omar.email, password="wrong")
    assert page.status == 429
    with app.app_context():
        omars = Event.select().where(Event.user == User.get(User.email == omar.email))
        assert omars.where(Event.kind == Kind.PASSWORD_WRONG).count() == 5
        assert omars.where(Event.kind == Kind.PAUSED).count() == 0


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


def test_where_an_error_page_cannot_write_it_says_that_the_records_are_away(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    form = browser.get("/login/recovery")
    app.config["RECOVERY_CODES_ENABLED"] = None
    for old, new, status in (("event", "away", 503), ("away", "event", 403)):
        with app.app_context():
            app.extensions["store"].database.execute_sql(f"ALTER TABLE {old} RENAME TO {new}")
        readings = iter([True, False])  # on when the gate looks, off when the claim does
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("blueprints.signin.recovery_codes_on", partial(next, readings, False))
            assert browser.send(form, {"recovery_code": omar.recovery_code}).status == status
