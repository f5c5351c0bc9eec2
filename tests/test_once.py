"""Single use, with threads that act at the same moment on a real database."""

from functools import partial

from flask import Flask

from models import RecoveryCode, Retirement, Session, TotpAuthenticator
from tests.support.apps import on_sqlite
from tests.support.pages import Browser
from tests.support.people import Person, give_password, save_new_code, shown_code, sign_in, use_recovery_code
from tests.support.races import all_send, at_once, past_the_password
from tests.support.tables import count, forget_failures, live_codes

THREADS = 16


@on_sqlite  # test_concurrency.py asks the same of both databases, with processes
def test_of_16_threads_spending_one_recovery_code_exactly_one_wins_50_times(app: Flask, omar: Person) -> None:
    for _ in range(50):
        waiting = [past_the_password(app, omar, "/login/recovery") for _ in range(THREADS)]
        forget_failures(app)
        pages = all_send(waiting, recovery_code=omar.recovery_code)
        assert sum(page.status == 303 for page in pages) == 1
        assert {page.status for page in pages} <= {303, 422, 429}
        ((winner, _),) = [pair for pair, page in zip(waiting, pages, strict=True) if page.status == 303]
        page = save_new_code(winner, winner.get("/mfa/recovery-code"), omar)
        assert winner.submit(page, still_have="yes").h1 == "Security"
    assert count(app, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == 50
    assert live_codes(app) == 1


@on_sqlite
def test_of_16_threads_sending_one_six_digit_code_exactly_one_wins_50_times(app: Flask, omar: Person, clock) -> None:
    for number in range(50):
        if number % 10 == 0:  # before their time is over
            waiting = [past_the_password(app, omar, "/login/code") for _ in range(THREADS)]
        forget_failures(app)
        pages = all_send(waiting, code=omar.code())
        (winner,) = (n for n, page in enumerate(pages) if page.status == 303)
        assert {page.status for page in pages} <= {303, 422, 429}
        waiting[winner] = past_the_password(app, omar, "/login/code")
        clock.pass_by(30)
    assert count(app, Session, Session.step.is_null()) == 50
    assert count(app, TotpAuthenticator) == 1


def test_a_double_click_by_threads_of_one_session_spends_one_code_and_signs_in_once(app: Flask, omar: Person) -> None:
    browser = Browser(app)
    give_password(browser, omar)
    page = browser.get("/login/recovery")
    copies = [browser.copy() for _ in range(THREADS)]
    pages = at_once([lambda b=b: b.send(page, {"recovery_code": omar.recovery_code}) for b in copies])
    assert {page.status for page in pages} <= {303, 429}
    prompt = browser.get("/mfa/recovery-code")
    pages = at_once([lambda b=b: b.send(prompt, {"saved": "yes"}) for b in copies])
    assert sum(page.headers["Location"] == "/mfa/lost-device" for page in pages) == 1
    assert sum("Set-Cookie" in page.headers for page in pages) == 1, "the late ones leave the new cookie alone"
    assert count(app, RecoveryCode, RecoveryCode.retired_by == Retirement.SPENT) == 1
    assert count(app, Session) == 1


def test_using_a_code_and_saving_a_new_one_at_once_leaves_one_that_works(app: Flask, omar: Person, clock) -> None:
    owner = Browser(app)
    sign_in(owner, omar)
    for _ in range(10):
        new = owner.press(owner.get("/account/recovery-code"), "Make a new code")
        other = Browser(app)
        give_password(other, omar)
        use = other.get("/login/recovery")
        saved, used = at_once(
            [
                partial(owner.send, new, {"saved": "yes"}),
                partial(other.send, use, {"recovery_code": omar.recovery_code}),
            ]
        )
        assert {saved.status, used.status} <= {303, 422}
        assert 1 <= live_codes(app) <= 2
        if saved.status == 422:  # the other's replacement has taken the place of the new code
            new = saved
            assert owner.submit(new, saved="yes").path == "/account"
        omar.recovery_code = shown_code(new)
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")
