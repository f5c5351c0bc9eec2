"""Attacks on what is typed: codes used again, guessed, raced for or stolen, and the counts of tries."""

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from authn import passwords, recovery_codes
from models import Kind, RecoveryCode, Refusal, Session, Throttle, TotpAuthenticator
from tests.support import acts
from tests.support.cookies import opened
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    is_signed_in,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, kinds, rows

WELL_FORMED = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
USED, WRONG = "You've already used", "That code didn't match"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Recovery codes are on, and of 50 people at once nobody finds the line for hashing full."""
    return make_app(RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_SLOTS=50)


@pytest.fixture
def noor(make_person: Callable[..., Person]) -> Person:
    """Enrolled, recovery code saved; somebody other than Omar."""
    return make_person("noor@example.com")


def half(app: Flask, person: Person, address: str = "203.0.113.7") -> Browser:
    browser = Browser(app, address)
    assert give_password(browser, person).h1 == "Enter your code"
    return browser


def full(app: Flask, person: Person, clock: Clock) -> Browser:
    """Somebody's own browser, known to their account; its code is used up and the next one shown."""
    browser = Browser(app)
    assert sign_in(browser, person).h1 == "Security"
    clock.pass_by(30)
    return browser


def step_up(browser: Browser, code: str) -> Page:
    return browser.submit("/verify", password=PASSWORD, code=code)


def failures(app: Flask, kind: str) -> int:
    """Of all browsers together."""
    return sum(row["failures"] for row in rows(app, Throttle) if row["key"].startswith(f"{kind}:"))


def plain(page: Page, *without: str) -> str:
    """The page without its CSRF tokens, and without these words."""
    return re.sub("|".join(['name="csrf_token" value="[^"]+"', *map(re.escape, without)]), "", page.raw)


def command(app: Flask, *args: str) -> str:
    result = app.test_cli_runner().invoke(args=list(args))
    assert result.exit_code == 0, result.output
    return str(result.stdout).strip()


def use_link(app: Flask, output: str) -> None:
    assert (
        Browser(app).submit(output.split()[-1].removeprefix("http://localhost:5000"), new_password=NEW_PASSWORD).path
        == "/login"
    )


# 18: a six-digit code again -------------------------------------------------------------------------------------------


def taken_at_enrollment(app: Flask, person: Person, own: Browser) -> str:
    page = own.get("/mfa/setup")
    assert own.submit(page, code=scan(page, person).code()).h1 == "Security"
    return person.code()


def taken_at_sign_in(app: Flask, person: Person, own: Browser) -> str:
    assert half(app, person).submit("/login/code", code=person.code()).h1 == "Security"
    return person.code()


def taken_at_step_up(app: Flask, person: Person, own: Browser) -> str:
    assert step_up(own, person.code()).h1 == "Security"
    return person.code()


AGAIN: dict[str, Callable[[Flask, Person, Browser, str], Page]] = {
    "sign-in": lambda app, person, own, code: half(app, person).submit("/login/code", code=code),
    "sign-in from elsewhere": lambda app, person, own, code: half(app, person, "2001:db8::9").submit(
        "/login/code", code=f" {code[:3]}-{code[3:]}\n"
    ),
    "step-up": lambda app, person, own, code: step_up(own, code),
}


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("taken", [taken_at_enrollment, taken_at_sign_in, taken_at_step_up], ids=lambda f: f.__name__)
def test_a_code_taken_anywhere_is_used_up_everywhere(app, omar, clock, taken, again: str) -> None:
    """B18, TO-3, TO-6, TH-14."""
    own = full(app, omar, clock)
    code = taken(app, omar, own)
    for seconds in (0, 20, 29):  # in its own step, 10 s into the next one, in the last second that would take it
        clock.pass_by(seconds)
        page = AGAIN[again](app, omar, own, code)
        assert page.status == 422
        assert page.errors[0].startswith(USED)
    assert failures(app, "one-time code") == kinds(app).count(Kind.CODE_REPLAYED) == 3
    clock.pass_by(1)
    assert AGAIN[again](app, omar, own, code).errors[0].startswith(WRONG)
    assert AGAIN[again](app, omar, own, omar.code()).h1 == "Security"


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("taken", [taken_at_enrollment, taken_at_sign_in, taken_at_step_up], ids=lambda f: f.__name__)
def test_a_code_that_is_older_than_one_taken_is_refused_everywhere(app, omar, clock, taken, again: str) -> None:
    """B18, TO-4."""
    own = full(app, omar, clock)
    clock.pass_by(30)
    taken(app, omar, own)
    clock.pass_by(-30)  # the next server's clock is a step behind
    for older in (omar.code(-30), omar.code()):
        assert AGAIN[again](app, omar, own, older).errors[0].startswith(USED)
    assert AGAIN[again](app, omar, own, omar.code(30)).errors[0].startswith(USED)
    clock.pass_by(60)
    assert AGAIN[again](app, omar, own, omar.code()).h1 == "Security"


# 19: races ------------------------------------------------------------------------------------------------------------


def test_of_one_code_typed_at_sign_in_and_at_step_up_at_the_same_moment_one_is_taken(app, omar, clock) -> None:
    """B19, TO-5, TO-6."""
    own = full(app, omar, clock)
    for _ in range(5):
        own_page = own.get("/verify")
        half_browser = half(app, omar)
        page = half_browser.get("/login/code")
        sends = [partial(half_browser.copy().send, page, {"code": omar.code()}) for _ in range(8)]
        copies = [own.copy() for _ in range(8)]
        sends += [partial(copy.send, own_page, {"password": PASSWORD, "code": omar.code()}) for copy in copies]
        before = kinds(app)
        answers = at_once(sends)
        assert {answer.status for answer in answers} <= {303, 422, 429}
        assert sum("Set-Cookie" in answer.headers for answer in answers) == 1
        new = kinds(app)[len(before) :]
        assert new.count(Kind.SIGNED_IN) + new.count(Kind.STEPPED_UP) == 1
        clock.pass_by(30)
        own = next((copy for copy in copies if is_signed_in(copy)), own)
        with app.app_context():
            Throttle.delete().execute()
    assert step_up(own, omar.code()).h1 == "Security"


@pytest.mark.parametrize("undo", [acts.reset, acts.deactivate])
def test_a_code_typed_in_the_very_moment_an_admin_acts_leaves_nobody_signed_in(app, make_person, undo) -> None:
    """B19, RC-4, SE-11, TO-16."""

    for number in range(5):
        person = make_person(f"somebody{number}@example.com")
        by_code, by_app = half(app, person), half(app, person)
        forms = by_code.get("/login/recovery"), by_app.get("/login/code")
        copies = [by_code.copy() for _ in range(4)], [by_app.copy() for _ in range(2)]
        sends = [partial(copy.send, forms[0], {"recovery_code": person.recovery_code}) for copy in copies[0]]
        sends += [partial(copy.send, forms[1], {"code": person.code()}) for copy in copies[1]]
        answers = at_once([*sends, partial(undo, app, person.email)])
        assert {answer.status for answer in answers[:-1]} <= {303, 422}
        assert [opened(copy) for copy in (*copies[0], *copies[1])] == [[]] * 6
        assert count(app, Session) == 0
    other = make_person("other@example.com")
    assert use_recovery_code(Browser(app), other).h1.startswith("You're in")


# 20: the code of another app ------------------------------------------------------------------------------------------


def test_neither_the_replaced_app_nor_another_persons_opens_anything(app, omar, noor, clock) -> None:
    """B20, TO-16."""
    own, lost = full(app, omar, clock), Person(omar.email, clock, omar.secret)
    taken_at_enrollment(app, omar, own)
    clock.pass_by(30)
    for other in (lost, noor):
        for ahead in (-30, 0):
            assert half(app, omar).submit("/login/code", code=other.code(ahead)).errors[0].startswith(WRONG)
            assert step_up(own, other.code(ahead)).errors[0].startswith(WRONG)
    page = own.get("/mfa/setup")
    for other in (lost, noor, omar):
        assert own.send(page, {"code": other.code()}).errors[0].startswith(WRONG)
    assert step_up(own, omar.code()).h1 == "Security"
    clock.pass_by(30)
    assert half(app, omar).submit("/login/code", code=omar.code()).h1 == "Security"
    assert half(app, noor).submit("/login/code", code=noor.code()).h1 == "Security"


# 21: many browsers, many ways to be forgiven --------------------------------------------------------------------------


def wrong_password(browser: Browser, person: Person) -> Page:
    return browser.submit("/login", email=person.email, password="a guess")


def wrong_one_time_code(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/code", code=person.wrong_code())


def wrong_recovery_code(browser: Browser, person: Person) -> Page:
    return browser.submit("/login/recovery", recovery_code=WELL_FORMED)


GUESSES = [(wrong_password, 5), (wrong_one_time_code, 5), (wrong_recovery_code, 10)]
GUESS_IDS = ["password", "one-time code", "recovery code"]
GUESS_EVENTS = [Kind.PASSWORD_WRONG, Kind.CODE_WRONG, Kind.RECOVERY_CODE_WRONG]


def guesser(app: Flask, person: Person, guess: Callable[..., Page], address: str = "203.0.113.7") -> Browser:
    """A browser at the page where this is guessed."""
    return Browser(app, address) if guess is wrong_password else half(app, person, address)


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_20_browsers_from_20_addresses_are_throttled_like_one(make_app, make_person, guess, free: int) -> None:
    """B21, TH-2, TH-13."""
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


# What somebody who guesses hopes is a new beginning, and what the owner may do meanwhile in `own`, a known browser.


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


TRICKS = [page_again, signed_out, slip, other_spelling, step_up_of_the_owner, sign_in_of_the_owner, setup_begun]
FORGIVES_NOTHING = [
    *((guess, free, trick) for guess, free in GUESSES for trick in (*TRICKS, deactivated_for_a_moment)),
    (wrong_one_time_code, 5, recovery_sign_in),
    (wrong_recovery_code, 10, sign_in_by_app),
]


def right_one(app: Flask, person: Person, guess: Callable[..., Page]) -> Page:
    """The right secret where this is guessed."""
    if guess is wrong_password:
        return give_password(Browser(app), person)
    if guess is wrong_recovery_code:
        return use_recovery_code(Browser(app), person)
    return half(app, person).submit("/login/code", code=person.code())


@pytest.mark.parametrize(("guess", "free", "trick"), FORGIVES_NOTHING)
def test_nothing_but_a_sign_in_with_the_secret_itself_gives_new_tries(app, omar, clock, guess, free, trick) -> None:
    """B21, TH-5, TH-6, TH-2."""
    own, browser = full(app, omar, clock), guesser(app, omar, guess)
    for _ in range(free - 1):
        assert guess(browser, omar).status == 422
    trick(app, omar, own)
    assert guess(guesser(app, omar, guess), omar).status == 422
    assert right_one(app, omar, guess).status == 429
    clock.pass_by(30)
    assert right_one(app, omar, guess).status == 200


def test_one_password_tried_on_many_accounts_is_stopped_by_address(make_app, make_person, clock) -> None:
    """B21, TH-11, TH-13."""
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


@pytest.mark.parametrize("who", ["unknown", "deactivated", "invited"])
def test_the_pauses_of_an_address_without_a_sign_in_are_those_of_a_real_one(app, omar, make_person, clock, who) -> None:
    """B21, B23, TH-3, TH-8, TH-10."""
    other = make_person("other@example.com")
    if who != "deactivated":
        acts.remove_person(app, other.email)
    if who != "unknown":
        command(app, "users", "invite" if who == "invited" else "deactivate", other.email)
    seen = []
    for person in (omar, other):
        started, answers = clock.now, []
        for number in range(14):
            in_a_pause = number in (5, 7, 9, 11, 13)
            page = (give_password if in_a_pause else wrong_password)(Browser(app), person)
            wait = page.headers.get("Retry-After")
            answers.append((page.status, wait, sorted(page.headers.keys()), plain(page, person.email)))
            clock.pass_by(int(wait or 0))
        seen.append(answers)
        clock.pass_by(started - clock.now)
    assert seen[0] == seen[1]
    assert [wait for _, wait, _, _ in seen[0] if wait] == ["30", "60", "120", "240", "480"]


# 22: at the limit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("already", [0, 1])
@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_of_50_guesses_at_the_same_moment_no_more_are_compared_than_are_free(app, omar, guess, free, already) -> None:
    """B22, TH-4."""
    browser = guesser(app, omar, guess)
    for _ in range((free - 1) * already):
        assert guess(browser, omar).status == 422
    path, values = {
        wrong_password: ("/login", {"email": omar.email, "password": "a guess"}),
        wrong_one_time_code: ("/login/code", {"code": omar.wrong_code()}),
        wrong_recovery_code: ("/login/recovery", {"recovery_code": WELL_FORMED}),
    }[guess]
    page = browser.get(path)
    answers = Counter(
        answer.status for answer in at_once([partial(browser.copy().send, page, values) for _ in range(50)])
    )
    left = 1 if already else free
    assert answers == {422: left, 429: 50 - left}
    compared = [kind for kind in kinds(app) if kind in GUESS_EVENTS]
    assert len(compared) == free == max(row["failures"] for row in rows(app, Throttle))
    omar.clock.pass_by(30)
    assert right_one(app, omar, guess).status == 200


@pytest.mark.parametrize(("guess", "most"), [(wrong_password, 5), (wrong_one_time_code, 9), (wrong_recovery_code, 10)])
def test_one_right_guess_among_50_at_the_same_moment_gives_the_others_no_new_tries(app, omar, guess, most: int) -> None:
    """B22, TH-4. Only the six-digit code finishes the sign-in, which clears its count: four before it, five after."""
    browser = guesser(app, omar, guess)
    path, wrong, right = {
        wrong_password: ("/login", {"email": omar.email, "password": "a guess"}, {"password": PASSWORD}),
        wrong_one_time_code: ("/login/code", {"code": omar.wrong_code()}, {"code": omar.code()}),
        wrong_recovery_code: ("/login/recovery", {"recovery_code": WELL_FORMED}, {"recovery_code": omar.recovery_code}),
    }[guess]
    page = browser.get(path)
    guesses = [*[wrong] * 3, {**wrong, **right}, *[wrong] * 46]
    answers = at_once([partial(browser.copy().send, page, values) for values in guesses])
    assert {answer.status for answer in answers} <= {303, 422, 429}
    assert len([kind for kind in kinds(app) if kind in GUESS_EVENTS]) <= most
    assert count(app, Session, Session.user == 1) <= 1
    omar.clock.pass_by(3600)
    assert right_one(app, omar, guess).status == 200


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_a_right_guess_during_a_pause_is_refused_with_the_words_of_a_wrong_one(app, omar, clock, guess, free) -> None:
    """B22, TH-1, TH-8, TH-12."""
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


@pytest.mark.parametrize(("guess", "free"), GUESSES, ids=GUESS_IDS)
def test_a_try_during_a_pause_takes_under_5_ms_and_hashes_nothing(make_app, make_person, guess, free) -> None:
    """B22, TH-12."""
    cost = passwords.Cost(19456, 2, 1)
    app = make_app("dear", RECOVERY_CODES_ENABLED=True, PASSWORD_HASH_COST=cost)
    omar = make_person("omar@example.com", on=app)
    browser = guesser(app, omar, guess)
    for _ in range(free):
        assert guess(browser, omar).status == 422
    path, names = {
        wrong_password: ("/login", ("email", "password")),
        wrong_one_time_code: ("/login/code", ("code",)),
        wrong_recovery_code: ("/login/recovery", ("recovery_code",)),
    }[guess]
    right = {"email": omar.email, "password": PASSWORD, "code": omar.code(), "recovery_code": omar.recovery_code}
    data = {**browser.get(path).form_with(*names).fields, **{name: right[name] for name in names}}

    def took(ask: Callable[[], Any]) -> float:
        started = time.process_time()
        ask()
        return time.process_time() - started

    times = [took(lambda: browser.client.post(path, data=data)) for _ in range(100)]  # a busy machine spoils most
    assert browser.client.post(path, data=data).status_code == 429
    assert min(times) < 0.005 < took(partial(passwords.Hasher(cost).verify, "a guess", None))


def fail_often(app: Flask, person: Person, guess: Callable[..., Page], times: int) -> None:
    """Wrong tries without the pages around them, each after its pause; the clock is set back now and then."""
    for number in range(times):
        person.clock.pass_by(-7200 if number % 10 == 9 else 3600)
        if guess is wrong_password:
            assert acts.try_password(app, person.email, "a guess") is None
        else:
            assert acts.try_code(app, person.email, person.wrong_code()) is Refusal.WRONG


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
    """B22, TH-1, TH-7."""
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
        use_link(app, command(app, "users", "invite", omar.email))
        omar.password = NEW_PASSWORD
    else:
        taken_at_enrollment(app, omar, own)
    clock.pass_by(30)
    browser = guesser(app, omar, guess)
    assert [guess(browser, omar).status for _ in range(4)] == [422] * 4
    assert right_one(app, omar, guess).status == 200


# 23: locking somebody out ---------------------------------------------------------------------------------------------


def test_strangers_who_stop_an_account_stop_neither_its_owners_session_nor_browser(app, omar, clock) -> None:
    """B23, TH-7."""
    own = full(app, omar, clock)
    wrong_password(Browser(app), omar)
    wrong_one_time_code(half(app, omar), omar)
    with app.app_context():
        Throttle.update(failures=100).where(Throttle.account != "").execute()
    assert give_password(Browser(app), omar).status == 429
    assert is_signed_in(own)
    assert step_up(own, omar.code()).h1 == "Security"
    assert own.press(own.get("/account"), "Sign out").path == "/login"
    clock.pass_by(30)
    assert sign_in(own, omar).h1 == "Security"

    with app.app_context():
        Throttle.update(failures=0).where(Throttle.key.startswith("password:")).execute()
    stranger = half(app, omar)
    assert stranger.submit("/login/code", code=omar.code(30)).status == 429
    assert stranger.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_made_up_addresses_fill_the_table_no_faster_than_an_address_may_try_and_not_for_ever(
    make_app, make_person, clock
) -> None:
    """B23, TH-7."""
    app = make_app("flooded", ADDRESS_LIMIT=20)
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    page = browser.get("/login")
    for number in range(60):
        long = f"{number}{'n' * 200}@example.com"
        assert browser.send(page, {"email": long, "password": "a guess"}).status == (422 if number < 20 else 429)
    assert count(app, Throttle) == 21
    assert max(len(row["key"]) for row in rows(app, Throttle)) < 100
    clock.pass_by(31 * 86400)
    assert sign_in(browser, omar).h1 == "Security"
    assert count(app, Throttle, Throttle.failures > 0) == 0


# 24: a recovery code in other words -----------------------------------------------------------------------------------

CODE = "7F1K-9QXM-2D8R-HJ5T-V0WB-4NZ"  # with a 0 and a 1, which have look-alikes; one symbol is missing


@pytest.fixture
def code(app: Flask, omar: Person) -> str:
    """Omar's recovery code."""
    omar.recovery_code = CODE + recovery_codes.check_character(CODE.replace("-", ""))
    with app.app_context():
        digest = recovery_codes.digest(omar.recovery_code.replace("-", ""), 1)
        RecoveryCode.update(digest=digest).execute()
    return omar.recovery_code


def wide(text: str) -> str:
    return "".join(chr(ord(symbol) + 0xFEE0) if symbol.isalnum() else symbol for symbol in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as shown": str,
    "lower case": str.lower,
    "without dashes": lambda code: code.replace("-", ""),
    "spaced": lambda code: f"  {' '.join(code)}\r\n",
    "trailing NUL": lambda code: code + "\0",
    "trailing stop": lambda code: code + ".",
    "look-alikes": lambda code: code.replace("0", "o").replace("1", "L"),
    "full width": wide,
    "other dashes": lambda code: code.replace("-", "\u2011"),
    "zero width": lambda code: "\u200b".join(code),
    "right to left": lambda code: f"\u202e{code}\u202c",
    "percent between": lambda code: code.replace("-", "%"),
    "underscore between": lambda code: code.replace("-", "_"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_one_code_which_works_once(app, omar, code: str, spelling: str) -> None:
    """B24, RC-3, RC-16."""
    browser = Browser(app)
    page = use_recovery_code(browser, omar, SPELLINGS[spelling](code))
    assert page.h1.startswith("You're in")
    new = shown_code(page)
    assert browser.submit(page, saved="yes").path == "/mfa/lost-device"
    other = half(app, omar)
    for again in SPELLINGS.values():
        with app.app_context():
            Throttle.delete().execute()
        refused = other.submit("/login/recovery", recovery_code=again(code))
        assert refused.errors[0].startswith("That code was used on")
    assert count(app, RecoveryCode, RecoveryCode.retired_by == "spent") == 1
    assert other.submit("/login/recovery", recovery_code=new).h1.startswith("You're in")


NOT_THE_CODE: dict[str, Callable[[str], str]] = {
    "nothing": lambda code: "",
    "a space": lambda code: " ",
    "NUL": lambda code: "\0",
    "the NUL first": lambda code: "\0" + code[:-1],
    "a word for nothing": lambda code: "NULL",
    "the first group": lambda code: code[:4],
    "all but the last": lambda code: code[:-1],
    "all but the first": lambda code: code[1:],
    "one too many": lambda code: code + "0",
    "twice": lambda code: code + code,
    "per cent": lambda code: "%" * 24,
    "underscores": lambda code: "_" * 24,
    "one per cent": lambda code: code[:-1] + "%",
    "one underscore": lambda code: "_" + code[1:],
    "half and per cent": lambda code: code[:14] + "%",
    "a star": lambda code: code[:-1] + "*",
    "a question mark": lambda code: code[:-1] + "?",
    "SQL": lambda code: "' OR digest LIKE '%' --",
    "backwards": lambda code: code[::-1],
    "neighbours swapped": lambda code: code[1] + code[0] + code[2:],
    "the last letter wrong": lambda code: code[:-1] + next(s for s in "ABC" if s != code[-1]),
    "a U for a V": lambda code: code.replace("V", "U"),
    "its digest": lambda code: recovery_codes.digest(code.replace("-", ""), 1),
    "a thousand": lambda code: code * 34,
}


def test_what_is_not_the_code_is_neither_taken_nor_a_try(app: Flask, omar: Person, code: str) -> None:
    """B24, RC-16, WEB-22."""
    browser = half(app, omar)
    form = browser.get("/login/recovery")
    before, happened = rows(app, RecoveryCode), kinds(app)
    for name, change in NOT_THE_CODE.items():
        page = browser.send(form, {"recovery_code": change(code)})
        assert (page.status, page.h1) == (422, "Use your recovery code"), name
    assert (rows(app, RecoveryCode), kinds(app), failures(app, "recovery code")) == (before, happened, 0)
    assert browser.submit(form, recovery_code=code).h1.startswith("You're in")


# 25: a code in the wrong hands or the wrong field ---------------------------------------------------------------------


def test_nothing_tells_that_a_wrong_code_is_somebody_elses(app, omar, noor, make_person, clock) -> None:
    """B25, RC-9, TH-8."""
    claimed = make_person("claimed@example.com")
    use_recovery_code(Browser(app), claimed)
    spent, browser = noor.recovery_code, Browser(app)
    save_new_code(browser, use_recovery_code(browser, noor), noor)
    before = rows(app, RecoveryCode)
    pages = []
    for typed in (WELL_FORMED, spent, noor.recovery_code, claimed.recovery_code):
        page = half(app, omar).submit("/login/recovery", recovery_code=typed)
        assert page.errors[0].startswith("That recovery code isn't right.")
        pages.append(plain(page, typed))
    assert len(set(pages)) == 1
    assert rows(app, RecoveryCode) == before
    charged = {row["key"] for row in rows(app, Throttle) if row["key"].startswith("recovery code:") and row["failures"]}
    assert len(charged) == 1, "Omar's account pays, not the owners of the codes"
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")
    assert use_recovery_code(Browser(app), noor).h1.startswith("You're in")


def test_codes_typed_into_each_others_fields_are_no_tries_and_stay_good(app, omar, clock) -> None:
    """B25, RA-6, TO-11."""
    own, other = full(app, omar, clock), half(app, omar)
    for _ in range(12):
        assert other.submit("/login/code", code=omar.recovery_code).errors[0].startswith("The code has six digits")
        assert other.submit("/login/recovery", recovery_code=omar.code()).errors[0].startswith("That looks like a code")
        assert step_up(own, omar.recovery_code).errors[0].startswith("The code has six digits")
    assert failures(app, "one-time code") == failures(app, "recovery code") == 0
    assert other.submit("/login/recovery", recovery_code=omar.recovery_code).h1.startswith("You're in")
    assert step_up(own, omar.code()).h1 == "Security"


# 26: after a recovery -------------------------------------------------------------------------------------------------


def test_after_a_recovery_with_a_new_app_nothing_the_thief_of_the_phone_has_opens_anything(
    app: Flask, omar: Person, clock: Clock
) -> None:
    """B26, RC-14, SE-12, TO-16."""
    thief, waiting, claiming = full(app, omar, clock), half(app, omar), half(app, omar)
    old_code, lost = omar.recovery_code, Person(omar.email, clock, omar.secret)
    owner = Browser(app)
    page = use_recovery_code(owner, omar)
    assert "another browser" in claiming.submit("/login/recovery", recovery_code=old_code).errors[0]
    page = save_new_code(owner, page, omar)
    assert opened(waiting) == opened(claiming) == []
    assert is_signed_in(thief), "until the app is another one"
    page = owner.submit(page, still_have="no")
    assert owner.submit(page, code=scan(page, omar).code()).h1 == "Security"
    assert opened(thief) == []

    clock.pass_by(30)
    again = half(app, omar)
    for ahead in (-30, 0, 30):
        assert again.submit("/login/code", code=lost.code(ahead)).errors[0].startswith(WRONG)
    assert again.submit("/login/recovery", recovery_code=old_code).errors[0].startswith("That code was used on")
    assert again.submit("/login/code", code=omar.code()).h1 == "Security"


# 27: clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [31, 3600, 86400])
def test_a_clock_set_back_makes_no_used_code_good_again_and_locks_nobody_out_for_longer(app, omar, clock, back) -> None:
    """B27, TO-3, TO-4."""
    used = [omar.code()]
    own = full(app, omar, clock)
    used.append(omar.code())
    assert step_up(own, omar.code()).h1 == "Security"
    clock.pass_by(-back)
    browser = half(app, omar)
    for ahead in (-30, 0, 30):
        assert browser.submit("/login/code", code=omar.code(ahead)).errors[0].startswith(USED)
    assert is_signed_in(own)
    assert use_recovery_code(Browser(app), omar).h1.startswith("You're in")
    with app.app_context():
        Session.delete().execute()

    clock.pass_by(back)
    browser = half(app, omar)
    for code in used:
        assert browser.submit("/login/code", code=code).errors[0].startswith(USED)
    clock.pass_by(30)
    assert browser.submit("/login/code", code=omar.code()).h1 == "Security"
