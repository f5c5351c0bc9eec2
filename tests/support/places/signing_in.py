"""Every page on the way in, from the first one to the recovery code's prompt."""

from authn.throttle import PASSWORD as PASSWORDS
from tests.support import acts
from tests.support.guesses import failures
from tests.support.pages import Page
from tests.support.people import (
    NEW_PASSWORD,
    WELL_FORMED,
    Person,
    give_password,
    save_new_code,
    scan,
    sign_in,
    use_recovery_code,
)
from tests.support.places.world import (
    LONG,
    LOST,
    OFF,
    PAUSED,
    SAVE,
    SAVE_NEW,
    SETUP,
    SLIP_OF_THE_PEN,
    Visit,
    World,
    place,
)
from tests.support.sentences import NOTICES

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
    while failures(world.app, PASSWORDS.kind) < (PASSWORDS.stop or 0):
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


# By mail --------------------------------------------------------------------------------------------------------------

MAIL = "smtp://127.0.0.1:1"  # where nobody listens


@place(200, "Sign in", MAIL_URL=MAIL)
def sign_in_where_links_are_mailed(world: World) -> Visit:
    return Visit(world.browser(), "/login")


@place(200, "Forgot your password?", MAIL_URL=MAIL)
def forgot(world: World) -> Visit:
    return Visit(world.browser(), "/forgot")


@place(422, "Forgot your password?", MAIL_URL=MAIL)
def forgot_with_what_is_no_address(world: World) -> Visit:
    return Visit(world.browser(), "/forgot", {"email": "maya"})


@place(200, "Look in your mail", MAIL_URL=MAIL)
def forgot_and_asked(world: World) -> Visit:
    return Visit(world.browser(), "/forgot", {"email": LONG})


@place(429, PAUSED, MAIL_URL=MAIL)
def forgot_and_asked_too_often(world: World) -> Visit:
    browser = world.browser()
    for _ in range(3):
        browser.submit("/forgot", email=LONG)
    return Visit(browser, "/forgot", {"email": LONG})


def forgotten(world: World) -> str:
    return acts.forget_password(world.app, world.omar(LONG).email)


@place(200, "Choose a new password", MAIL_URL=MAIL)
def forgotten_password(world: World) -> Visit:
    return Visit(world.browser(), forgotten(world))


@place(200, "Choose a new password", MAIL_URL=MAIL, RECOVERY_CODES_ENABLED=False)
def forgotten_password_while_codes_are_off(world: World) -> Visit:
    return Visit(world.browser(), forgotten(world))


@place(422, "Choose a new password", MAIL_URL=MAIL)
def forgotten_password_with_a_short_one(world: World) -> Visit:
    return Visit(world.browser(), forgotten(world), {"new_password": "short"})


@place(200, "Sign in", MAIL_URL=MAIL)
def forgotten_password_replaced(world: World) -> Visit:
    return Visit(world.browser(), forgotten(world), {"new_password": NEW_PASSWORD})


@place(404, "This link doesn't work any more", MAIL_URL=MAIL)
def forgotten_password_with_an_old_link(world: World) -> Visit:
    path = forgotten(world)
    world.clock.pass_by(3600)
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
