"""What answers tell by their bytes: who is here, how somebody signs in, whose a code or a session is.

Told on purpose: a pause is told to whoever types the address, whether or not anybody has it."""

import re
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from flask import Flask

from blueprints import access
from models import RecoveryCode, User
from tests.support import acts
from tests.support.forms import Site, bare
from tests.support.pages import Browser, masked
from tests.support.people import PASSWORD, Clock, Person, enroll, give_password, sign_in
from tests.support.tables import statements

# Who is here ----------------------------------------------------------------------------------------------------------


NOBODY = "nobody@example.com"
WRONG = "a guess of somebody"


def change(site: Site, person: Person, act: Callable[[Flask, str], Any]) -> Person:
    act(site.app, person.email)
    return person


def invited(site: Site) -> Person:
    acts.add_person(site.app, "new@example.com", None, now=site.omar.clock.now)
    acts.invite(site.app, "new@example.com")
    return Person("new@example.com", site.omar.clock)


def half_enrolled(site: Site) -> Person:
    maya = site.person("maya@example.com", enrolled=False)
    give_password(Browser(site.app), maya)
    return maya


def stopped_at_the_code(site: Site) -> Person:
    browser = Browser(site.app)
    give_password(browser, site.omar)
    for _ in range(6):
        browser.submit("/login/code", code=site.omar.wrong_code())
    return site.omar


# Whoever it is, and with what password; each looks like an address that nobody has.
PEOPLE: dict[str, tuple[Callable[[Site], Person], str]] = {
    "with an app and a saved code": (lambda site: site.omar, WRONG),
    "an admin": (lambda site: site.ines, WRONG),
    "without an app": (lambda site: site.person("maya@example.com", enrolled=False), WRONG),
    "at the setup of an app": (half_enrolled, WRONG),
    "without a recovery code": (lambda site: site.person("rosa@example.com", code=False), WRONG),
    "signed in elsewhere": (lambda site: (sign_in(Browser(site.app), site.omar), site.omar)[1], WRONG),
    "stopped at the six-digit code": (stopped_at_the_code, WRONG),
    "deactivated, wrong password": (lambda site: change(site, site.omar, acts.deactivate), WRONG),
    "deactivated, right password": (lambda site: change(site, site.omar, acts.deactivate), PASSWORD),
    "reset, old password": (lambda site: change(site, site.omar, acts.reset), PASSWORD),
    "invited, no password yet": (invited, PASSWORD),
    "empty-looking password": (lambda site: site.omar, " "),
    "password of 4,097 characters": (lambda site: site.omar, "x" * 4097),
    "password with a NUL": (lambda site: site.omar, f"{PASSWORD}\0"),
}


def try_password(site: Site, email: str, password: str) -> tuple[int, Any, str]:
    """All that an answer says, without the token of the form, the address that was typed and the cookie's value."""
    browser = Browser(site.app)
    token = browser.open("/login").form_with("email").fields["csrf_token"]
    data = {"csrf_token": token, "email": email, "password": password}
    answer = bare(browser, "/login", "POST", data=data)
    body = re.sub(r'name="csrf_token" value="[^"]*"', "", answer.text.replace(email, "ADDRESS"))
    headers = {name: re.sub("=[^;]*", "=", value, count=1) for name, value in answer.headers}
    assert headers.pop("Content-Length") == str(len(answer.data))
    return answer.status_code, headers, body


WITH_CODES_OFF = ["with an app and a saved code", "without a recovery code", "without an app"]


@pytest.mark.parametrize(
    ("who", "codes_on"), [*((who, True) for who in PEOPLE), *((who, False) for who in WITH_CODES_OFF)]
)
def test_a_refused_password_looks_the_same_whoever_it_is(site: Site, who: str, codes_on: bool) -> None:
    """Every byte but token and address, and again at each try until the pause and after it."""
    make, password = PEOPLE[who]
    site.switch(codes_on)
    person = make(site)
    seen = []
    for email in (person.email, NOBODY):
        answers = [try_password(site, email, password) for _ in range(6)]
        site.omar.clock.pass_by(29)
        answers.append(try_password(site, email, password))
        site.omar.clock.pass_by(1)
        answers += [try_password(site, email, password), try_password(site, email, password)]
        site.omar.clock.pass_by(-30)
        seen.append(answers)
    assert seen[0] == seen[1]
    assert [status for status, *_ in seen[0]] == [422] * 5 + [429, 429, 422, 429]


def test_a_right_password_does_look_different(site: Site) -> None:
    """So that the comparison above is not one of two deaf pages."""
    assert try_password(site, site.omar.email, PASSWORD) != try_password(site, NOBODY, PASSWORD)
    assert try_password(site, site.omar.email, WRONG)[2] == try_password(site, NOBODY, WRONG)[2]


@pytest.mark.parametrize("who", PEOPLE)
def test_the_database_is_asked_the_same_whoever_it_is(site: Site, who: str, caplog: pytest.LogCaptureFixture) -> None:
    """One charge, one look-up, one record, so that no query tells by its time what the hash does not."""
    make, password = PEOPLE[who]
    person = make(site)
    try_password(site, "somebody-else@example.com", password)  # the address has been counted once
    asked = [statements(caplog, partial(try_password, site, email, password)) for email in (person.email, NOBODY)]
    assert asked[0] == asked[1]
    assert len(asked[0]) >= 3
    if who == "with an app and a saved code":
        assert statements(caplog, partial(try_password, site, person.email, PASSWORD)) != asked[0]


@pytest.mark.databases
def test_who_has_just_signed_in_is_refused_like_somebody_unknown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A sign-in leaves no row of its charges behind, which the next one to try would be spared making."""
    sign_in(Browser(site.app), site.omar)
    try_password(site, "somebody-else@example.com", WRONG)
    asked = [statements(caplog, partial(try_password, site, email, WRONG)) for email in (site.omar.email, NOBODY)]
    assert asked[0] == asked[1]


def test_a_pause_is_told_for_addresses_that_nobody_has_as_well(site: Site, clock: Clock) -> None:
    """The message is no oracle, the growing wait neither, and after a hundred it is the same again."""

    def waits(email: str) -> list[str | None]:
        browser, found = Browser(site.app), []
        data = {**browser.open("/login").form_with("email").fields, "email": email, "password": WRONG}
        for number in range(120):
            browser.address = f"203.0.{number}.7"
            answer = bare(browser, "/login", "POST", data=data)
            found.append(answer.text if answer.status_code == 429 else None)
            clock.pass_by(int(answer.headers["Retry-After"]) if found[-1] and number < 20 else 3600)
        return found

    start = clock.now
    known = waits(site.omar.email)
    clock.now = start
    assert waits(NOBODY) == known
    assert known[-1] is not None
    assert "sign-in is stopped until" in known[-1]


def test_thirty_days_of_failures_tell_nothing_of_somebody_who_signs_in_meanwhile(site: Site, clock: Clock) -> None:
    """The owner comes once a day in a browser that was never here, which takes back its own charge and no more."""
    start, answers = clock.now, {}
    for email in (site.omar.email, NOBODY):
        clock.now, randomly = start, Random(30)  # noqa: S311 - the same for both
        browser, answers[email] = Browser(site.app), list[tuple[int, str | None]]()
        data = {**browser.open("/login").form_with("email").fields, "email": email, "password": WRONG}
        for hour in range(30 * 24):
            clock.now = start + hour * 3600
            if hour % 24 == 20 and email == site.omar.email:
                assert sign_in(Browser(site.app, "198.51.100.7"), site.omar).h1 == "Security"
            for _ in range(randomly.choices([0, 1, 8], [80, 5, 1])[0]):
                clock.pass_by(randomly.randrange(60))
                answer = bare(browser, "/login", "POST", data=data)
                answers[email].append((answer.status_code, answer.headers.get("Retry-After")))
    assert answers[NOBODY] == answers[site.omar.email]
    statuses = [status for status, _ in answers[NOBODY]]
    assert min(statuses.count(422), statuses.count(429)) > 20


# Whose it is ----------------------------------------------------------------------------------------------------------


def test_a_session_of_somebody_else_is_as_unknown_as_one_that_never_was(site: Site) -> None:
    """By status, bytes and headers."""
    theirs, mine = Browser(site.app), Browser(site.app)
    sign_in(theirs, site.ines)
    page = sign_in(mine, site.omar)
    data = {"csrf_token": page.forms[0].fields["csrf_token"]}
    answers = [mine.open(f"/account/sessions/{ident}/revoke", "POST", data=data) for ident in (1, 2, 3, 99)]
    assert {(masked(answer), str(answer.headers)) for answer in answers} == {
        (masked(answers[0]), str(answers[0].headers))
    }
    assert answers[0].status == 404


def test_checking_a_recovery_code_takes_no_longer_with_many_old_ones(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """One look-up by digest, wherever a code stands: the same questions with none and with 500 retired."""

    def asked() -> list[str]:
        browser = Browser(site.app)
        page = give_password(browser, site.omar)
        page = browser.get("/login/recovery")
        wrong = {"recovery_code": "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"}
        return statements(caplog, lambda: browser.send(page, wrong))

    asked()  # a first try is counted in a new row
    few = asked()
    with site.app.app_context():
        omar = User.get(User.email == site.omar.email)
        old = {"user": omar, "created_at": 1, "saved_at": 1, "retired_at": 2, "retired_by": "replaced"}
        RecoveryCode.insert_many([{**old, "digest": f"{number:064}"} for number in range(500)]).execute()
    assert asked() == few


# What lies about ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/console", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/.git/config", "/.git/HEAD", "/.env"),
        *("/static/", "/static/app.css.map", "/static/app.js.map", "/static/../app.py", "/static/..%2fapp.py"),
        *(
            "/static/..%5capp.py",
            "/static/%2e%2e/instance/secret_key",
            "/static/%5c%5cetc%5cpasswd",
            "/instance/sparekey.db",
        ),
        *("/app.py", "/settings.py", "/templates/base.html", "/requirements.txt", "/server-status", "/metrics"),
        *("/robots.txt~", "/backup.sql", "/sparekey.db", "/debug", "/_debug", "/swagger.json", "/admin", "/admin/"),
    ],
)
def test_nothing_lies_about_that_is_no_page(browser: Browser, path: str) -> None:
    """No debugger, no list of files, no source, no key: each is the page for what is not here."""
    answer = browser.open(path, buffered=True)
    if path.startswith("/?"):
        assert answer.headers["Location"] == "/login"
        return
    assert (answer.status, answer.h1) == (404, "Page not found")
    assert answer.raw == browser.open("/nothing").raw


def test_an_error_nobody_foresaw_tells_a_reference_and_the_log_the_rest(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], caplog: pytest.LogCaptureFixture
) -> None:
    """To admins as well; what was in the error's hands is on no page."""
    site = Site(make_app, make_person, PROPAGATE_EXCEPTIONS=False)

    def broken() -> str:
        canary = PASSWORD
        raise LookupError(f"a yellow canary and {canary}")

    site.app.add_url_rule("/broken/a-live-token", "broken", access.public(broken))
    for browser in (Browser(site.app), admin := Browser(site.app)):
        if browser is admin:
            sign_in(admin, site.ines)
        page = browser.open("/broken/a-live-token")
        assert (page.status, page.h1) == (500, "Something broke on our side")
        assert not re.search("canary|LookupError|Traceback|File |line ", page.raw)
        (reference,) = re.findall("The reference is ([0-9a-f]{8})", page.text)
        assert [record.getMessage() for record in caplog.records if reference in record.getMessage()]
    assert "a yellow canary" in caplog.text
    assert "a-live-token" not in caplog.text, "as a path may hold one"
    maya = site.person("maya@example.com", enrolled=False)
    assert enroll(Browser(site.app), maya).h1 == "Security"
    assert site.rows(User)
