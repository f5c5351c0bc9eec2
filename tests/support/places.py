"""Every page of the site in every state a visitor can meet it in, and how somebody gets there.

A place is a function from a World to a Visit. It is the same for a test client and for a real browser: both open the
visit's path with the cookies of its browser and, where something is typed, fill in the form that is served."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Flask
from peewee import OperationalError
from werkzeug.exceptions import BadRequest

from authn.passwords import TooBusy
from authn.throttle import PASSWORD as PASSWORDS
from blueprints.words import BUSY_PAGE, NOTICES, STATUS_PAGES
from models import Kind, User
from tests.support import acts
from tests.support.pages import Browser, Page
from tests.support.people import Clock, Person, give_password, save_new_code, scan, sign_in, use_recovery_code

LONG = f"{'maya-who-has-a-long-name-' * 2}and-no-dots@{'a-long-name-of-a-host-' * 2}without-end.{'example-' * 6}com"
SLIP_OF_THE_PEN = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ4"
WELL_FORMED = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
SETUP = "Set up your authenticator app"
SAVE = "Save your recovery code"
SAVE_NEW = "You're in. Save your new recovery code"
LOST = "Do you still have your authenticator app?"
PAUSED = "Too many tries"
OFF = "Recovery codes are off"


class World:
    """A site and whoever a visit to it needs."""

    def __init__(self, app: Flask, clock: Clock, make_person: Callable[..., Person]) -> None:
        self.app, self.clock = app, clock
        self.person = partial(make_person, on=app)

    def maya(self, email: str = "maya@example.com") -> Person:
        """Not enrolled."""
        return self.person(email, enrolled=False)

    def omar(self, email: str = "omar@example.com") -> Person:
        """Enrolled, recovery code saved."""
        return self.person(email)

    def ines(self, email: str = "ines@example.com") -> Person:
        """Enrolled without a recovery code; an admin."""
        return self.person(email, code=False, admin=True)

    def browser(self) -> Browser:
        return Browser(self.app)

    def turn_codes(self, on: bool) -> None:
        self.app.config["RECOVERY_CODES_ENABLED"] = on

    def breaks(self, endpoint: str, error: Exception) -> None:
        """From now on this page meets an error that nobody foresaw."""

        def broken() -> None:
            raise error

        broken.is_public = True  # type: ignore[attr-defined]
        self.app.view_functions[endpoint] = broken


@dataclass
class Visit:
    browser: Browser
    path: str
    typed: dict[str, str] | None = None  # what is filled in and sent there; None: the page is only opened

    def page(self) -> Page:
        page = self.browser.get(self.path)
        return page if self.typed is None else self.browser.follow(self.browser.send(page, self.typed))


@dataclass(frozen=True)
class Place:
    status: int
    h1: str
    go: Callable[[World], Visit]
    settings: dict[str, Any] = field(default_factory=dict)


PLACES: dict[str, Place] = {}


def place(status: int, h1: str, **settings: Any) -> Callable[[Callable[[World], Visit]], Callable[[World], Visit]]:
    """The function leads to a page with this status and heading, on a site with these settings."""

    def keep(go: Callable[[World], Visit]) -> Callable[[World], Visit]:
        PLACES[go.__name__.replace("_", " ")] = Place(status, h1, go, {"RECOVERY_CODES_ENABLED": True, **settings})
        return go

    return keep


# Signing in -----------------------------------------------------------------------------------------------------------


@place(200, "Sign in")
def sign_in_page(world: World) -> Visit:
    return Visit(world.browser(), "/login")


@place(422, "Sign in")
def sign_in_left_empty(world: World) -> Visit:
    return Visit(world.browser(), "/login", {"email": "", "password": ""})


@place(422, "Sign in")
def sign_in_with_what_is_no_address(world: World) -> Visit:
    return Visit(world.browser(), "/login", {"email": "maya", "password": "a guess"})


@place(422, "Sign in")
def sign_in_with_a_wrong_password(world: World) -> Visit:
    return Visit(world.browser(), "/login", {"email": LONG, "password": "a guess"})


@place(200, "Sign in")
def sign_in_with_a_notice(world: World) -> Visit:
    longest = max(NOTICES, key=lambda notice: len(NOTICES[notice]))
    return Visit(world.browser(), f"/login?notice={longest}")


@place(200, "Sign in")
def sign_in_needed(world: World) -> Visit:
    return Visit(world.browser(), "/account/activity")


@place(200, "Sign in")
def sign_in_that_took_too_long(world: World) -> Visit:
    browser = world.browser()
    give_password(browser, world.omar())
    world.clock.pass_by(601)
    return Visit(browser, "/login/code")


@place(200, "Sign in")
def signed_out_after_being_away(world: World) -> Visit:
    browser = world.browser()
    sign_in(browser, world.omar())
    world.clock.pass_by(3601)
    return Visit(browser, "/account")


@place(429, PAUSED)
def sign_in_paused(world: World) -> Visit:
    wrong = {"email": "omar@example.com", "password": "a guess"}
    browser = world.browser()
    for _ in range(8):
        page = browser.submit("/login", **wrong)
        world.clock.pass_by(int(page.headers.get("Retry-After", 0)))
    browser.submit("/login", **wrong)
    return Visit(browser, "/login", wrong)


@place(429, PAUSED)
def sign_in_stopped(world: World) -> Visit:
    for _ in range(PASSWORDS.stop or 0):
        acts.charge_password(world.app, "omar@example.com")
        world.clock.pass_by(3600)
    return Visit(world.browser(), "/login", {"email": "omar@example.com", "password": "a guess"})


def invited(world: World, email: str = "omar@example.com") -> str:
    world.omar(email)
    return acts.invite(world.app, email)


@place(200, "Choose your password")
def welcome(world: World) -> Visit:
    return Visit(world.browser(), invited(world, LONG))


@place(422, "Choose your password")
def welcome_with_a_short_password(world: World) -> Visit:
    return Visit(world.browser(), invited(world), {"new_password": "short"})


@place(404, "This link doesn't work any more")
def welcome_with_an_old_link(world: World) -> Visit:
    path = invited(world)
    world.clock.pass_by(72 * 3600)
    return Visit(world.browser(), path)


# The second factor ----------------------------------------------------------------------------------------------------


def at_the_challenge(
    world: World, path: str, typed: dict[str, str] | None = None, email: str = "omar@example.com"
) -> Visit:
    browser = world.browser()
    give_password(browser, world.omar(email))
    return Visit(browser, path, typed)


@place(200, "Enter your code")
def challenge(world: World) -> Visit:
    return at_the_challenge(world, "/login/code")


@place(200, "Enter your code", RECOVERY_CODES_ENABLED=False)
def challenge_while_codes_are_off(world: World) -> Visit:
    return at_the_challenge(world, "/login/code", email=LONG)


@place(422, "Enter your code")
def challenge_left_empty(world: World) -> Visit:
    return at_the_challenge(world, "/login/code", {"code": ""})


@place(422, "Enter your code")
def challenge_with_five_digits(world: World) -> Visit:
    return at_the_challenge(world, "/login/code", {"code": "123 45"})


@place(422, "Enter your code")
def challenge_with_a_wrong_code(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    give_password(browser, omar)
    return Visit(browser, "/login/code", {"code": omar.wrong_code()})


@place(422, "Enter your code")
def challenge_with_a_used_code(world: World) -> Visit:
    omar = world.omar()
    sign_in(world.browser(), omar)
    browser = world.browser()
    give_password(browser, omar)
    return Visit(browser, "/login/code", {"code": omar.code()})


@place(429, PAUSED)
def challenge_paused(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    give_password(browser, omar)
    for _ in range(5):
        browser.submit("/login/code", code=omar.wrong_code())
    return Visit(browser, "/login/code", {"code": omar.code()})


@place(200, "Use your recovery code")
def recovery(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery")


@place(422, "Use your recovery code")
def recovery_left_empty(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery", {"recovery_code": ""})


@place(422, "Use your recovery code")
def recovery_with_a_short_code(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery", {"recovery_code": "7F3K-9QXM"})


@place(422, "Use your recovery code")
def recovery_with_a_slip(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery", {"recovery_code": SLIP_OF_THE_PEN})


@place(422, "Use your recovery code")
def recovery_with_a_wrong_code(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery", {"recovery_code": WELL_FORMED})


@place(422, "Use your recovery code")
def recovery_with_six_digits(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery", {"recovery_code": "123 456"})


@place(422, "Use your recovery code")
def recovery_with_a_used_code(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    used = omar.recovery_code or ""
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser = world.browser()
    give_password(browser, omar)
    return Visit(browser, "/login/recovery", {"recovery_code": used})


@place(422, "Use your recovery code")
def recovery_with_a_code_in_use_elsewhere(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    use_recovery_code(world.browser(), omar)
    give_password(browser, omar)
    return Visit(browser, "/login/recovery", {"recovery_code": omar.recovery_code or ""})


@place(403, OFF, RECOVERY_CODES_ENABLED=False)
def recovery_while_codes_are_off(world: World) -> Visit:
    return at_the_challenge(world, "/login/recovery")


@place(403, OFF, RECOVERY_CODES_ENABLED=False)
def recovery_while_codes_are_off_for_a_stranger(world: World) -> Visit:
    return Visit(world.browser(), "/login/recovery")


@place(403, OFF)
def recovery_ended_because_codes_were_turned_off(world: World) -> Visit:
    browser = world.browser()
    use_recovery_code(browser, world.omar())
    world.turn_codes(False)
    return Visit(browser, "/mfa/recovery-code")


# Enrollment -----------------------------------------------------------------------------------------------------------


def at_setup(world: World, typed: dict[str, str] | None = None, email: str = "maya@example.com") -> Visit:
    browser = world.browser()
    give_password(browser, world.maya(email))
    return Visit(browser, "/mfa/setup", typed)


def wrong_for(page: Page, person: Person) -> str:
    return scan(page, person).wrong_code()


@place(200, SETUP)
def setup(world: World) -> Visit:
    return at_setup(world, email=LONG)


@place(200, SETUP, RECOVERY_CODES_ENABLED=False)
def setup_while_codes_are_off(world: World) -> Visit:
    return at_setup(world)


@place(422, SETUP)
def setup_left_empty(world: World) -> Visit:
    return at_setup(world, {"code": ""})


@place(422, SETUP)
def setup_with_letters(world: World) -> Visit:
    return at_setup(world, {"code": "abc def"})


@place(422, SETUP)
def setup_with_a_third_wrong_code(world: World) -> Visit:
    maya, browser = world.maya(), world.browser()
    wrong = wrong_for(give_password(browser, maya), maya)
    for _ in range(2):
        browser.submit("/mfa/setup", code=wrong)
    return Visit(browser, "/mfa/setup", {"code": wrong})


@place(200, SETUP)
def setup_begun_before(world: World) -> Visit:
    maya, browser = world.maya(), world.browser()
    give_password(world.browser(), maya)
    world.clock.pass_by(60)
    give_password(browser, maya)
    return Visit(browser, "/mfa/setup")


@place(200, "Sign in")
def setup_that_took_too_long(world: World) -> Visit:
    visit = at_setup(world)
    world.clock.pass_by(901)
    return visit


@place(200, SETUP)
def setup_after_a_lost_device(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    page = save_new_code(browser, use_recovery_code(browser, omar), omar)
    browser.submit(page, still_have="no")
    return Visit(browser, "/mfa/setup")


@place(422, SETUP)
def setup_in_place_of_the_app_in_use(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    sign_in(browser, omar)
    return Visit(browser, "/mfa/setup", {"code": wrong_for(browser.get("/mfa/setup"), omar)})


# The recovery code prompt ---------------------------------------------------------------------------------------------


def at_the_prompt(world: World, typed: dict[str, str] | None = None, email: str = "maya@example.com") -> Visit:
    maya, browser = world.maya(email), world.browser()
    page = give_password(browser, maya)
    browser.submit(page, code=scan(page, maya).code())
    return Visit(browser, "/mfa/recovery-code", typed)


@place(200, SAVE)
def prompt(world: World) -> Visit:
    return at_the_prompt(world)


@place(200, SAVE)
def prompt_with_a_long_address(world: World) -> Visit:
    return at_the_prompt(world, email=LONG)


@place(422, SAVE)
def prompt_without_the_tick(world: World) -> Visit:
    return at_the_prompt(world, {})


@place(422, SAVE)
def prompt_with_a_code_that_is_no_longer_the_newest(world: World) -> Visit:
    return at_the_prompt(world, {"saved": "yes", "shown": "another one"})


@place(200, SAVE)
def prompt_for_somebody_without_a_code(world: World) -> Visit:
    browser = world.browser()
    sign_in(browser, world.ines())
    return Visit(browser, "/mfa/recovery-code")


@place(200, SAVE_NEW)
def prompt_after_a_recovery_code(world: World) -> Visit:
    browser = world.browser()
    use_recovery_code(browser, world.omar())
    return Visit(browser, "/mfa/recovery-code")


@place(200, "Save your new recovery code")
def prompt_asked_for(world: World) -> Visit:
    browser = world.browser()
    sign_in(browser, world.omar())
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    return Visit(browser, "/mfa/recovery-code")


@place(403, OFF)
def prompt_when_codes_were_turned_off(world: World) -> Visit:
    visit = at_the_prompt(world)
    world.turn_codes(False)
    return visit


@place(200, "Security")
def prompt_once_it_is_saved(world: World) -> Visit:
    visit = at_the_prompt(world, {"saved": "yes"})
    visit.page()
    return Visit(visit.browser, visit.path)


@place(200, LOST)
def lost_device(world: World) -> Visit:
    omar, browser = world.omar(), world.browser()
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    return Visit(browser, "/mfa/lost-device")


@place(422, LOST)
def lost_device_with_no_answer(world: World) -> Visit:
    return Visit(lost_device(world).browser, "/mfa/lost-device", {"still_have": "perhaps"})


# Security -------------------------------------------------------------------------------------------------------------


def signed_in(world: World, path: str, typed: dict[str, str] | None = None, email: str = "omar@example.com") -> Visit:
    browser = world.browser()
    sign_in(browser, world.omar(email))
    return Visit(browser, path, typed)


@place(200, "Security")
def account(world: World) -> Visit:
    return signed_in(world, "/account", email=LONG)


@place(200, "Security", RECOVERY_CODES_ENABLED=False)
def account_while_codes_are_off(world: World) -> Visit:
    return signed_in(world, "/account")


@place(200, "Security")
def account_when_setup_is_done(world: World) -> Visit:
    return at_the_prompt(world, {"saved": "yes"})


@place(200, "Security")
def account_with_a_code_not_saved_yet(world: World) -> Visit:
    return Visit(prompt_asked_for(world).browser, "/account")


@place(200, "Security", RECOVERY_CODES_ENABLED=False)
def account_without_a_code(world: World) -> Visit:
    browser = world.browser()
    sign_in(browser, world.ines())
    world.turn_codes(True)
    return Visit(browser, "/account")


@place(200, "Security")
def account_after_a_recovery_code_while_waiting_for_a_phone(world: World) -> Visit:
    return Visit(lost_device(world).browser, "/mfa/lost-device", {"still_have": "later"})


@place(200, "Security")
def account_while_waiting_for_a_phone_when_codes_were_turned_off(world: World) -> Visit:
    visit = account_after_a_recovery_code_while_waiting_for_a_phone(world)
    visit.page()
    world.turn_codes(False)
    return Visit(visit.browser, "/account")


@place(200, "Security")
def account_signed_in_elsewhere_too(world: World) -> Visit:
    omar = world.omar()
    for agent in ("Mozilla/5.0 (iPhone) Safari/605", "Mozilla/5.0 (Windows NT 10.0) Edg/120", ""):
        elsewhere = Browser(world.app, "2001:db8:85a3:8d3:1319:8a2e:370:7348")
        elsewhere.client.environ_base["HTTP_USER_AGENT"] = agent
        sign_in(elsewhere, omar)
        world.clock.pass_by(30)
    browser = world.browser()
    sign_in(browser, omar)
    return Visit(browser, "/account")


@place(200, "Security", RECOVERY_CODES_ENABLED=False)
def account_after_a_reset(world: World) -> Visit:
    omar, browser, new = world.omar(), world.browser(), "an oar, a pier and a gull"
    link = acts.reset(world.app, omar.email, by=world.ines().email, reason="lost his phone on the ferry")
    browser.submit(link, new_password=new)
    page = browser.submit("/login", email=omar.email, password=new)
    browser.submit(page, code=scan(page, omar).code())
    return Visit(browser, "/account")


@place(200, "Activity")
def activity_of_every_kind(world: World) -> Visit:
    visit = signed_in(world, "/account/activity")
    for kind in Kind:
        acts.record(world.app, kind, "omar@example.com")
    return visit


@place(200, "Activity")
def activity_before_all_activity(world: World) -> Visit:
    return signed_in(world, "/account/activity?before=1")


@place(200, "Change your password")
def password(world: World) -> Visit:
    return signed_in(world, "/account/password")


@place(422, "Change your password")
def password_left_empty(world: World) -> Visit:
    return signed_in(world, "/account/password", {"current_password": "", "new_password": ""})


@place(422, "Change your password")
def password_that_is_not_the_current_one(world: World) -> Visit:
    typed = {"current_password": "a guess", "new_password": "an oar, a pier and a gull"}
    return signed_in(world, "/account/password", typed)


@place(422, "Change your password")
def password_that_is_too_short(world: World) -> Visit:
    typed = {"current_password": "a lamp, a boat and a heron", "new_password": "short"}
    return signed_in(world, "/account/password", typed)


@place(200, "Make a new recovery code?")
def new_recovery_code(world: World) -> Visit:
    return signed_in(world, "/account/recovery-code")


@place(200, "Make a recovery code?", RECOVERY_CODES_ENABLED=False)
def first_recovery_code(world: World) -> Visit:
    return Visit(account_without_a_code(world).browser, "/account/recovery-code")


def after_a_while(world: World, typed: dict[str, str] | None = None) -> Visit:
    visit = signed_in(world, "/account/password", typed)
    world.clock.pass_by(700)
    return visit


@place(200, "Confirm it's you")
def verify(world: World) -> Visit:
    return after_a_while(world)


@place(422, "Confirm it's you")
def verify_left_empty(world: World) -> Visit:
    return after_a_while(world, {"password": "", "code": ""})


@place(422, "Confirm it's you")
def verify_with_a_wrong_password(world: World) -> Visit:
    return after_a_while(world, {"password": "a guess", "code": "123456"})


# Admin ----------------------------------------------------------------------------------------------------------------


def as_admin(world: World, path: str, typed: dict[str, str] | None = None) -> Visit:
    ines, browser = world.ines(), world.browser()
    if sign_in(browser, ines).by_id("recovery-code") is not None:
        save_new_code(browser, browser.get("/mfa/recovery-code"), ines)
    return Visit(browser, path, typed)


def id_of(world: World, email: str) -> int:
    with world.app.app_context():
        return int(User.get(User.email == email).id)


@place(200, "People")
def people(world: World) -> Visit:
    visit = as_admin(world, "/admin/people")
    give_password(world.browser(), world.maya(LONG))
    omar, browser = world.omar(), world.browser()
    sign_in(browser, omar)
    browser.press(browser.get("/account/recovery-code"), "Make a new code")
    for _ in range(6):
        world.browser().submit("/login", email=omar.email, password="a guess")
    world.person("rosa@example.com", code=False)
    acts.deactivate(world.app, "rosa@example.com")
    return visit


@place(200, "People", RECOVERY_CODES_ENABLED=False)
def people_while_codes_are_off(world: World) -> Visit:
    world.omar()
    return as_admin(world, "/admin/people?notice=last-admin")


@place(200, "People")
def people_after_the_last_one(world: World) -> Visit:
    return as_admin(world, "/admin/people?after=zoe@example.com")


def about_somebody(world: World, email: str, typed: dict[str, str] | None = None) -> Visit:
    world.omar(email)
    return as_admin(world, f"/admin/people/{id_of(world, email)}/reset-mfa", typed)


@place(200, f"Reset MFA for {LONG}?")
def reset(world: World) -> Visit:
    return about_somebody(world, LONG)


@place(422, "Reset MFA for omar@example.com?")
def reset_with_a_long_reason(world: World) -> Visit:
    return about_somebody(world, "omar@example.com", {"reason": "because " * 30})


@place(200, "Hand over this link")
def reset_done(world: World) -> Visit:
    return about_somebody(world, LONG, {"reason": "lost phone"})


@place(403, "You can't reset yourself here")
def reset_of_oneself(world: World) -> Visit:
    visit = as_admin(world, "")
    visit.path = f"/admin/people/{id_of(world, 'ines@example.com')}/reset-mfa"
    return visit


@place(200, "Settings", RECOVERY_CODES_ENABLED=None)
def settings(world: World) -> Visit:
    return as_admin(world, "/admin/settings")


@place(200, "Settings", RECOVERY_CODES_ENABLED=None)
def settings_with_codes_on(world: World) -> Visit:
    return as_admin(world, "/admin/settings/recovery-codes", {"turn": "on"})


@place(200, "Settings")
def settings_fixed_by_the_configuration(world: World) -> Visit:
    return as_admin(world, "/admin/settings")


@place(200, "Turn on recovery codes?", RECOVERY_CODES_ENABLED=None)
def settings_before_turning_codes_on(world: World) -> Visit:
    return as_admin(world, "/admin/settings/recovery-codes")


@place(200, "Turn off recovery codes?", RECOVERY_CODES_ENABLED=None)
def settings_before_turning_codes_off(world: World) -> Visit:
    visit = settings_with_codes_on(world)
    visit.page()
    return Visit(visit.browser, "/admin/settings/recovery-codes")


@place(200, "Audit log")
def audit(world: World) -> Visit:
    at_the_prompt(world, email=LONG)
    visit = about_somebody(world, "omar@example.com", {"reason": "lost phone"})
    visit.page()
    give_password(world.browser(), world.person("rosa@example.com"))
    return Visit(visit.browser, "/admin/audit")


@place(200, "Audit log of omar@example.com")
def audit_of_one_person(world: World) -> Visit:
    world.omar()
    return as_admin(world, f"/admin/audit?person={id_of(world, 'omar@example.com')}")


@place(200, "Audit log")
def audit_before_all_events(world: World) -> Visit:
    return as_admin(world, "/admin/audit?before=1")


# What cannot be served ------------------------------------------------------------------------------------------------


@place(400, "This page was open too long")
def a_form_that_was_open_too_long(world: World) -> Visit:
    return Visit(world.browser(), "/login", {"csrf_token": "of another session"})


@place(400, STATUS_PAGES[400][0])
def a_request_that_cannot_be_read(world: World) -> Visit:
    world.breaks("login.password", BadRequest())
    return Visit(world.browser(), "/login")


@place(403, STATUS_PAGES[403][0])
def somebody_elses_page(world: World) -> Visit:
    return signed_in(world, "/admin/people", email=LONG)


@place(404, STATUS_PAGES[404][0])
def no_page(world: World) -> Visit:
    return Visit(world.browser(), "/nowhere")


@place(405, STATUS_PAGES[405][0])
def a_button_opened_as_a_page(world: World) -> Visit:
    return signed_in(world, "/logout")


@place(413, STATUS_PAGES[413][0])
def too_much_sent(world: World) -> Visit:
    return Visit(world.browser(), "/login", {"email": "a" * 70_000})


@place(500, STATUS_PAGES[500][0], PROPAGATE_EXCEPTIONS=False)
def a_page_that_breaks(world: World) -> Visit:
    visit = signed_in(world, "/account")
    world.breaks("account.overview", LookupError("nobody foresaw this"))
    return visit


@place(503, STATUS_PAGES[503][0])
def a_database_that_is_away(world: World) -> Visit:
    world.breaks("login.password", OperationalError("away"))
    return Visit(world.browser(), "/login")


@place(503, BUSY_PAGE[0])
def too_many_at_the_door(world: World) -> Visit:
    world.breaks("login.password", TooBusy())
    return Visit(world.browser(), "/login")


# The demo -------------------------------------------------------------------------------------------------------------


@place(200, "The demo's phone", DEMO=True)
def demo_phone(world: World) -> Visit:
    world.omar()
    world.maya()
    return Visit(world.browser(), "/demo/phone")


@place(200, "The demo's phone", DEMO=True)
def demo_phone_with_a_setup_key(world: World) -> Visit:
    return Visit(world.browser(), "/demo/phone", {"key": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"})


@place(422, "The demo's phone", DEMO=True)
def demo_phone_with_half_a_key(world: World) -> Visit:
    return Visit(world.browser(), "/demo/phone", {"key": "JBSW"})
