"""Every page for somebody who is signed in, for admins, and what cannot be served."""

from peewee import OperationalError
from werkzeug.exceptions import BadRequest

from authn.events import EventKind
from authn.passwords import TooBusy
from models import User
from tests.support import acts
from tests.support.pages import Browser
from tests.support.people import give_password, save_new_code, scan, sign_in
from tests.support.places.signing_in import MAIL, at_the_prompt, lost_device, prompt_asked_for
from tests.support.places.world import LONG, Visit, World, place
from tests.support.sentences import BUSY_PAGE, STATUS_PAGES

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


@place(200, "Security")
def account_of_somebody_whose_password_is_known(world: World) -> Visit:
    omar, stranger = world.omar(), world.browser()
    give_password(stranger, omar)
    for _ in range(4):
        stranger.submit("/login/code", code=omar.wrong_code())
    browser = world.browser()
    sign_in(browser, omar)
    return Visit(browser, "/account")


@place(200, "Activity")
def activity_of_every_kind(world: World) -> Visit:
    visit = signed_in(world, "/account/activity")
    for kind in EventKind:
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


@place(200, "Confirm it's you")
def verify_while_waiting_for_a_phone(world: World) -> Visit:
    browser = lost_device(world).browser
    browser.submit("/mfa/lost-device", still_have="later")
    return Visit(browser, "/mfa/setup")


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
    acts.set_groups(world.app, omar.email, ["ops", "wiki", "a" * 32])
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


@place(200, "Add people")
def new_people(world: World) -> Visit:
    return as_admin(world, "/admin/people/new")


@place(422, "Add people")
def new_people_with_no_line_that_will_do(world: World) -> Visit:
    world.omar()
    lines = ["nora@example.com", "Nora <nora@example.com>", "", "NORA@example.com", "omar@example.com", "x" * 200]
    return as_admin(world, "/admin/people/new", {"emails": "\n".join(lines)})


@place(422, "Add people")
def new_people_left_empty(world: World) -> Visit:
    return as_admin(world, "/admin/people/new", {"emails": ""})


@place(200, "Add people", MAIL_URL=MAIL)
def new_people_where_links_are_mailed(world: World) -> Visit:
    return as_admin(world, "/admin/people/new")


@place(200, "Links for 2 people", MAIL_URL=MAIL)
def new_people_added_by_mail(world: World) -> Visit:
    return as_admin(world, "/admin/people/new", {"emails": "rui@example.com\nnora@example.com", "mail": "yes"})


@place(200, "Links for 2 people")
def new_people_added(world: World) -> Visit:
    return as_admin(world, "/admin/people/new", {"emails": f"{LONG}\nnora@example.com"})


@place(200, f"Groups of {LONG}")
def groups(world: World) -> Visit:
    world.omar(LONG)
    acts.set_groups(world.app, LONG, ["ops", "wiki"])
    return as_admin(world, f"/admin/people/{id_of(world, LONG)}/groups")


@place(422, "Groups of omar@example.com")
def groups_with_a_bad_name(world: World) -> Visit:
    world.omar()
    return as_admin(world, f"/admin/people/{id_of(world, 'omar@example.com')}/groups", {"groups": "ops " + "o.ps" * 30})


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
