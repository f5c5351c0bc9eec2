"""Many browsers at one moment, served by four processes of four threads on either database: one code lets one of them
in, what excludes each other does not happen twice, and nothing breaks."""

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from authn.refusals import Retirement
from models import Enrollment, RecoveryCode, Session, TotpAuthenticator, User
from tests.support import servers
from tests.support.pages import Form, read_page
from tests.support.people import Person, save_new_code
from tests.support.races import at_once
from tests.support.servers import MOMENTS, Answer, Moment, RemoteBrowser, World
from tests.support.tables import forget_failures

BROWSERS = 20
ROUNDS = max(20, int(os.environ.get("ROUNDS", "20")))  # of each race, in all of its ways together
CLICKS = 3

pytestmark = pytest.mark.databases


def clicks(browser: RemoteBrowser, form: Form, **typed: Any) -> Callable[[], Answer]:
    """Sending the form with this typed in."""
    return lambda: browser.ask(form.action, "POST", {**form.fields, **typed})


def of_person(app: Flask, person: Person, table: Any, *where: Any) -> int:
    with app.app_context():
        user = User.get(User.email == person.email)
        if table is Enrollment:
            return int(Enrollment.select().join(Session).where(Session.user == user, *where).count())
        return int(table.select().where(table.user == user, *where).count())


def live(app: Flask, person: Person) -> int:
    return of_person(app, person, RecoveryCode, RecoveryCode.retired_at.is_null())


# One code, many browsers ----------------------------------------------------------------------------------------------


def arrive(world: World, person: Person, path: str, browser: RemoteBrowser) -> tuple[RemoteBrowser, Form]:
    """A browser that has given the person's password and opened the page, with its form."""
    page = browser.send(browser.open("/login"), {"email": person.email, "password": person.password})
    assert page.status == 303
    return browser, browser.open(path).form_with()


def refuses(answer: Answer, sentence: str) -> bool:
    """As the page itself does, or because there were too many such answers already."""
    text = answer.get_data(as_text=True)
    return (answer.status_code == 422 and sentence in text) or (answer.status_code == 429 and "Too many tries" in text)


def test_of_20_browsers_sending_one_recovery_code_exactly_one_gets_in(world: World, app: Flask, omar: Person) -> None:
    for _ in range(ROUNDS):
        waiting = [arrive(world, omar, "/login/recovery", world.site.browser()) for _ in range(BROWSERS)]
        forget_failures(app)
        answers = at_once([clicks(*pair, recovery_code=omar.recovery_code) for pair in waiting])
        results = list(zip(waiting, answers, strict=True))
        ((winner, _),) = (pair for pair, answer in results if answer.status_code == 303)
        late = [answer for _, answer in results if answer.status_code != 303]
        assert all(refuses(answer, "That code is being used in another browser.") for answer in late)
        page = save_new_code(winner, winner.get("/"), omar)
        assert winner.submit(page, still_have="yes").h1 == "Security"
        assert {browser.open("/account").status for (browser, _), _ in results if browser is not winner} == {303}
    assert of_person(app, omar, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == ROUNDS
    assert live(app, omar) == 1


def test_of_20_browsers_sending_one_six_digit_code_exactly_one_gets_in(world: World, app: Flask, omar: Person) -> None:
    waiting = [arrive(world, omar, "/login/code", world.site.browser()) for _ in range(BROWSERS)]
    for _ in range(ROUNDS):
        forget_failures(app)
        answers = at_once([clicks(*pair, code=omar.code()) for pair in waiting])
        (winner,) = (n for n, answer in enumerate(answers) if answer.status_code == 303)
        assert answers[winner].headers["Location"] == "/account"
        late = [answer for n, answer in enumerate(answers) if n != winner]
        assert all(refuses(answer, "already used that code") for answer in late)
        waiting[winner] = arrive(world, omar, "/login/code", world.site.browser())
        omar.clock.pass_by(30)
    assert of_person(app, omar, Session, Session.step == "signed_in") == ROUNDS


# A code used and replaced ---------------------------------------------------------------------------------------------


MADE = ["made", "saved", "both saved"]


@pytest.mark.parametrize("made", MADE)
def test_a_code_that_is_used_while_another_is_made_leaves_one_that_works(world: World, app: Flask, made: str) -> None:
    for _ in range(ROUNDS // len(MADE) + 1):
        owner = world.meet("make a new code" if made == "made" else "prompt for a new code")
        used, holds = owner.before, [owner.before, owner.person]
        browser, form = arrive(world, used, "/login/recovery", world.site.browser())
        typed = {"recovery_code": used.recovery_code}
        if made == "both saved":
            page = browser.submit("/login/recovery", **typed)
            holds.append(servers.with_new_code(used, page))  # it has taken the place of the owner's
            form, typed = page.form_with("saved"), {"saved": "yes"}
            owner.form = owner.browser.get("/mfa/recovery-code").form_with("saved")
        answers = at_once([owner.send, clicks(browser, form, **typed)])
        assert {answer.status_code for answer in answers} <= {303, 422}
        with app.app_context():
            for codes in (RecoveryCode.saved, RecoveryCode.unsaved):
                assert codes(User.get(User.email == used.email)).count() <= 1

        for person_here, answer in zip((owner.browser, browser), answers, strict=True):
            person_here.keep_cookies(answer.headers)
        for person_here in (browser, owner.browser):
            page = person_here.get("/mfa/recovery-code")
            if page.by_id("recovery-code") is not None:
                holds.append(servers.with_new_code(used, page))
                person_here.submit(page, saved="yes")
        assert live(app, used) == 1
        forget_failures(app)
        world.go_on(world.site.browser(), holds, without_phone=True)
        assert live(app, used) == 1


# Two who set up an app ------------------------------------------------------------------------------------------------


def two_with_the_password(world: World) -> list[Moment]:
    """The owner, and somebody who knows no more than the password."""
    person = world.person(enrolled=False)
    return [world.meet("prompt of a first setup", person) for _ in range(2)]


def two_with_the_password_while_codes_are_off(world: World) -> list[Moment]:
    person = world.person(enrolled=False)
    pair = [world.meet("first setup", person) for _ in range(2)]
    world.turn_codes(False)
    return pair


def two_signed_in(world: World) -> list[Moment]:
    first = world.meet("setup in place of the app in use")
    world.clock.pass_by(30)
    return [first, world.meet("setup in place of the app in use", first.before)]


def one_signed_in_and_one_with_the_recovery_code(world: World) -> list[Moment]:
    thief = world.meet("setup after a lost device")
    return [thief, world.meet("setup in place of the app in use", thief.before)]


PAIRS = [
    two_with_the_password,
    two_with_the_password_while_codes_are_off,
    two_signed_in,
    one_signed_in_and_one_with_the_recovery_code,
]


def test_of_two_who_finish_setting_up_an_app_at_once_one_does_and_the_other_is_out(world: World, app: Flask) -> None:
    for come in PAIRS * (ROUNDS // len(PAIRS)):
        pair = come(world)
        answers = at_once([moment.send for moment in pair])
        pages = [moment.goes_on(answer) for moment, answer in zip(pair, answers, strict=True)]
        assert sorted(page.path for page in pages) == ["/account", "/login"], come.__name__
        winner, loser = pair if pages[0].path == "/account" else pair[::-1]
        assert loser.person.secret != winner.person.secret
        with app.app_context():
            (in_use,) = TotpAuthenticator.select().join(User).where(User.email == winner.person.email)
            assert in_use.secret() == winner.person.secret
        assert of_person(app, winner.person, Session) == 1
        assert of_person(app, winner.person, Enrollment) == 0

        world.clock.pass_by(30)
        browser, form = arrive(world, winner.person, "/login/code", world.site.browser())
        assert clicks(browser, form, code=loser.person.code())().status_code == 422
        assert clicks(browser, form, code=winner.person.code())().status_code == 303
        if come is two_with_the_password:
            assert live(app, winner.person) == 1
            browser, form = arrive(world, winner.person, "/login/recovery", world.site.browser())
            assert clicks(browser, form, recovery_code=loser.person.recovery_code)().status_code == 422
            assert clicks(browser, form, recovery_code=winner.person.recovery_code)().status_code == 303


# Reset and sign-in ----------------------------------------------------------------------------------------------------


def test_a_reset_at_the_moment_of_any_other_act_leaves_nobody_signed_in(world: World, app: Flask) -> None:
    for name in [name for name in MOMENTS if name != "password chosen by a link" for _ in range(ROUNDS // 20)]:
        moment = world.meet(name)

        def reset(person: Person = moment.person) -> str:
            time.sleep(random.uniform(0, 0.01))  # noqa: S311
            return world.reset(person)

        answer, link = at_once([moment.send, reset])
        assert answer.status_code in {303, 422, 404}, name
        moment.goes_on(answer)
        assert moment.browser.open("/account").status == 303, name
        assert [of_person(app, moment.person, table) for table in (Session, TotpAuthenticator, Enrollment)] == [0] * 3
        assert live(app, moment.person) == 0, name
        world.turn_codes(True)
        stranger = world.site.browser()
        for person in (moment.before, moment.person):
            page = stranger.submit("/login", email=person.email, password=person.password)
            assert page.status == 422, (name, person.password, answer.status_code, answer.headers.items(), page.text)

        page = stranger.submit(link, new_password="a lantern, a rope and an owl")
        world.go_on(stranger, [replace(moment.person, password="a lantern, a rope and an owl")])


# Clicked twice --------------------------------------------------------------------------------------------------------


def test_whatever_button_is_clicked_three_times_acts_once_and_leads_on(world: World, app: Flask) -> None:
    for name in [name for name in MOMENTS if name != "change of password" for _ in range(ROUNDS // 20)]:
        moment = world.meet(name)
        answers = at_once([moment.send] * CLICKS)
        statuses = [answer.status_code for answer in answers]
        if name == "password chosen by a link":  # which works once, as it says
            answers = [answer for answer in answers if answer.status_code == 303]
            assert sorted(statuses) == [303, 404, 404]
        assert {answer.status_code for answer in answers} == {303}, name
        cookies = [cookie for answer in answers for cookie in answer.headers.get_all("Set-Cookie", [])]
        new_sessions = [cookie for cookie in cookies if re.match("session=[^;]", cookie)]
        assert len(new_sessions) <= 1 or name == "password", name
        for answer in answers:
            moment.browser.keep_cookies(answer.headers)
        for answer in answers:
            page = moment.browser.follow(read_page(answer, moment.form.action))
            assert page.path == moment.leads_to, name
