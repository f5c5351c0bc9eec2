"""One-time links, by which people choose their first password or their next one."""

from flask import Flask

from authn.events import EventKind
from tests.support import acts
from tests.support.commands import link
from tests.support.forms import FORMS, Site, bare
from tests.support.pages import Browser, masked
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    enroll,
    give_password,
    is_signed_in,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import kinds


def test_a_link_lets_a_new_person_choose_a_password_once(app: Flask, browser: Browser, clock) -> None:
    path = link(app, "invite", "noor@example.com")
    noor = Person("noor@example.com", clock, password=NEW_PASSWORD)
    assert give_password(browser, noor).status == 422
    page = browser.get(path)
    assert page.h1 == "Choose your password"
    page = browser.submit(page, new_password="short")
    assert page.errors[0].startswith("Use at least 15 characters")
    page = browser.submit(page, new_password=NEW_PASSWORD)
    assert (page.path, page.notice) == ("/login", "Your password is set. Sign in with it.")
    assert browser.get(path).h1 == "This link doesn't work any more"
    assert give_password(browser, noor).h1 == "Set up your authenticator app"


def test_a_link_does_not_skip_the_second_factor_and_ends_all_sessions(app: Flask, omar: Person, clock) -> None:
    signed_in, helper = Browser(app), Browser(app)
    sign_in(signed_in, omar)
    path = link(app, "invite", omar.email)
    assert is_signed_in(signed_in), "making a link changes nothing yet"
    helper.submit(path, new_password=NEW_PASSWORD)
    assert not is_signed_in(signed_in)
    assert not is_signed_in(helper)
    omar.password = NEW_PASSWORD
    assert give_password(helper, omar).h1 == "Enter your code"


def test_a_link_runs_out_after_72_hours_and_a_new_one_ends_the_old_one(
    app: Flask, browser: Browser, omar, clock
) -> None:
    first = link(app, "invite", omar.email)
    second = link(app, "invite", omar.email)
    assert browser.open(first).status == 404
    clock.pass_by(72 * 3600 - 1)
    assert browser.open(second).status == 200
    clock.pass_by(1)
    assert browser.open(second).status == 404


def test_after_a_reset_nobody_signs_in_until_the_link_is_used(app: Flask, omar: Person, clock) -> None:
    owner, thief = Browser(app), Browser(app)
    sign_in(owner, omar)
    path = link(app, "reset-mfa", omar.email)
    assert not is_signed_in(owner)
    assert give_password(thief, omar).status == 422, "whoever knows only the old password cannot enroll first"
    owner.submit(path, new_password=NEW_PASSWORD)
    assert give_password(thief, omar).status == 422
    omar.password = NEW_PASSWORD
    page = give_password(owner, omar)
    assert page.h1 == "Set up your authenticator app"
    assert kinds(app).count(EventKind.MFA_RESET) == 1


def test_a_code_from_before_a_reset_is_told_as_such(app: Flask, browser: Browser, omar: Person, clock) -> None:
    old = omar.recovery_code
    browser.submit(link(app, "reset-mfa", omar.email), new_password=NEW_PASSWORD)
    omar.password = NEW_PASSWORD

    browser.press(enroll(browser, omar), "Sign out")
    page = use_recovery_code(browser, omar, old)
    assert page.errors == ["That code stopped working on 30 November 2026, when your sign-in was reset."]
    assert browser.submit(page, recovery_code=omar.recovery_code).h1.startswith("You're in")


def test_a_changed_password_voids_an_open_link(app: Flask, browser: Browser, omar: Person) -> None:
    path = link(app, "invite", omar.email)
    sign_in(browser, omar)
    assert Browser(app).open(path).status == 200
    browser.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert Browser(app).open(path).status == 404


def test_looking_at_a_link_by_any_verb_leaves_it_to_be_used(site: Site) -> None:
    """A mail scanner that opens a one-time link, by HEAD or GET and in parts, does not use it up."""
    visit = FORMS["account.welcome"](site, Browser(site.app))
    for method, headers in (("HEAD", {}), ("GET", {}), ("OPTIONS", {}), ("GET", {"Range": "bytes=0-0"})):
        assert bare(Browser(site.app), visit.path, method, headers=headers).status_code == 200
    assert visit.send().status == 303
    assert Browser(site.app).open(visit.path).status == 404


def test_a_link_that_does_not_work_never_says_why(site: Site, clock: Clock) -> None:
    """Never made, used, replaced, run out, or somebody's who is deactivated: one page."""

    def link(person: Person) -> str:
        return acts.invite(site.app, person.email)

    rosa, away = site.person("rosa@example.com"), site.person("away@example.com")
    used, replaced, run_out, deactivated = link(site.omar), link(site.ines), link(rosa), link(away)
    assert {Browser(site.app).open(path).status for path in (used, replaced, run_out, deactivated)} == {200}
    Browser(site.app).submit(used, new_password=NEW_PASSWORD)
    link(site.ines)
    acts.deactivate(site.app, away.email)
    early = {masked(Browser(site.app).open(path)) for path in (used, replaced, deactivated, "/welcome/never-made")}
    clock.pass_by(72 * 3600)
    assert early | {masked(Browser(site.app).open(run_out))} == early
    assert len(early) == 1
