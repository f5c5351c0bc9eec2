"""Every page that has to do with security keys."""

from tests.support import acts
from tests.support.pages import Browser, Page
from tests.support.people import Person, give_password, save_new_code, sign_in, use_recovery_code
from tests.support.places.signed_in import as_admin
from tests.support.places.world import LONG, LOST, Visit, World, place
from tests.support.security_key import SecurityKey, options_of

ADD = "Add a security key"
USE = "Use your security key"
VERIFY = "Confirm it's you"
LONG_NAME = "the blue one with a dent from the kitchen"[:40]
NO_ANSWER = {"answer": "no answer of a key"}


def new_key(world: World) -> SecurityKey:
    return SecurityKey(at=world.app.config["SITE_URL"])


def add_key(browser: Browser, key: SecurityKey, name: str) -> Page:
    page = browser.get("/account/keys/new")
    return browser.submit(page, name=name, answer=key.create(options_of(page)))


def owner(world: World, *names: str, email: str = "omar@example.com") -> tuple[Person, Browser, list[SecurityKey]]:
    """Somebody signed in whose keys have these names."""
    omar, browser, keys = world.omar(email), world.browser(), [new_key(world) for _ in names]
    sign_in(browser, omar)
    world.clock.pass_by(30)
    for key, name in zip(keys, names, strict=True):
        assert add_key(browser, key, name).h1 == "Security"
    return omar, browser, keys


def ask_only_for_keys(browser: Browser) -> None:
    assert "only for your key" in browser.press(browser.get("/account"), "Ask me only for my key").text


# At the challenge -----------------------------------------------------------------------------------------------------


def at_the_key(world: World, path: str = "/login/key", typed: dict[str, str] | None = None, email: str = LONG) -> Visit:
    omar, _, _ = owner(world, "blue key", email=email)
    browser = world.browser()
    give_password(browser, omar)
    return Visit(browser, path, typed)


@place(200, USE)
def key_challenge(world: World) -> Visit:
    return at_the_key(world, email="omar@example.com")


@place(200, USE, RECOVERY_CODES_ENABLED=False)
def key_challenge_while_codes_are_off(world: World) -> Visit:
    return at_the_key(world)


@place(422, USE)
def key_challenge_with_no_answer_of_a_key(world: World) -> Visit:
    return at_the_key(world, typed=NO_ANSWER)


@place(422, USE)
def key_challenge_with_a_copied_key(world: World) -> Visit:
    omar, _, (key,) = owner(world, "blue key")
    browser = world.browser()
    page = give_password(browser, omar)
    return Visit(browser, "/login/key", {"answer": key.get(options_of(page), count=key.count)})


def asked_only_for_keys(world: World) -> Browser:
    omar, browser, _ = owner(world, "blue key", "laptop")
    ask_only_for_keys(browser)
    browser = world.browser()
    give_password(browser, omar)
    return browser


@place(200, USE)
def key_challenge_when_asked_only_for_keys(world: World) -> Visit:
    return Visit(asked_only_for_keys(world), "/login/code")


@place(200, "Enter your code")
def challenge_of_somebody_with_a_key(world: World) -> Visit:
    return at_the_key(world, "/login/code")


@place(200, "Use your recovery code")
def recovery_of_somebody_with_a_key(world: World) -> Visit:
    return at_the_key(world, "/login/recovery")


@place(200, "Use your recovery code")
def recovery_when_asked_only_for_keys(world: World) -> Visit:
    return Visit(asked_only_for_keys(world), "/login/recovery")


@place(200, LOST)
def lost_device_of_somebody_with_keys(world: World) -> Visit:
    omar, _, _ = owner(world, "blue key", LONG_NAME)
    browser = world.browser()
    save_new_code(browser, use_recovery_code(browser, omar), omar)
    return Visit(browser, "/mfa/lost-device")


@place(422, LOST)
def lost_device_of_somebody_with_keys_and_no_answer(world: World) -> Visit:
    return Visit(lost_device_of_somebody_with_keys(world).browser, "/mfa/lost-device", {"still_have": "perhaps"})


# On the Security page -------------------------------------------------------------------------------------------------


@place(200, ADD)
def new_key_page(world: World) -> Visit:
    return Visit(owner(world)[1], "/account/keys/new")


@place(422, ADD)
def new_key_without_a_name(world: World) -> Visit:
    return Visit(owner(world)[1], "/account/keys/new", {"name": "", **NO_ANSWER})


@place(422, ADD)
def new_key_with_a_long_name(world: World) -> Visit:
    return Visit(owner(world)[1], "/account/keys/new", {"name": LONG_NAME * 2, **NO_ANSWER})


@place(422, ADD)
def new_key_with_no_answer_of_a_key(world: World) -> Visit:
    return Visit(owner(world)[1], "/account/keys/new", {"name": LONG_NAME, **NO_ANSWER})


@place(422, ADD)
def new_key_that_is_there_already(world: World) -> Visit:
    _, browser, (key,) = owner(world, "blue key")
    options = options_of(browser.get("/account/keys/new"))
    return Visit(browser, "/account/keys/new", {"name": "blue key", "answer": key.create(options)})


@place(422, ADD)
def new_key_beside_ten_others(world: World) -> Visit:
    _, browser, _ = owner(world, *(f"key {number}" for number in range(10)))
    options = options_of(browser.get("/account/keys/new"))
    return Visit(browser, "/account/keys/new", {"name": "one more", "answer": new_key(world).create(options)})


@place(200, "Security")
def account_when_a_key_is_added(world: World) -> Visit:
    return Visit(owner(world, "blue key", email=LONG)[1], "/account?notice=key-added")


@place(200, "Security")
def account_with_keys(world: World) -> Visit:
    omar, browser, keys = owner(world, LONG_NAME, "laptop")
    page = give_password(other := world.browser(), omar)
    other.submit(page, answer=keys[1].get(options_of(page)))
    return Visit(browser, "/account")


@place(200, "Security", RECOVERY_CODES_ENABLED=False)
def account_with_one_key_while_codes_are_off(world: World) -> Visit:
    return Visit(owner(world, "blue key")[1], "/account")


@place(200, "Security")
def account_when_asked_only_for_keys(world: World) -> Visit:
    _, browser, _ = owner(world, "blue key", "laptop")
    ask_only_for_keys(browser)
    return Visit(browser, "/account?notice=only-key-on")


def after_a_while(world: World, *names: str, only_keys: bool = False, typed: dict[str, str] | None = None) -> Visit:
    _, browser, _ = owner(world, *names)
    if only_keys:
        ask_only_for_keys(browser)
    world.clock.pass_by(700)
    return Visit(browser, "/account/password", typed)


@place(200, VERIFY)
def verify_of_somebody_with_a_key(world: World) -> Visit:
    return after_a_while(world, "blue key")


@place(422, VERIFY)
def verify_of_somebody_with_a_key_left_empty(world: World) -> Visit:
    return after_a_while(world, "blue key", typed={"password": "", "code": ""})


@place(422, VERIFY)
def verify_with_no_answer_of_a_key(world: World) -> Visit:
    typed = {"password": "a lamp, a boat and a heron", **NO_ANSWER}
    return after_a_while(world, "blue key", typed=typed)


@place(200, VERIFY)
def verify_when_asked_only_for_keys(world: World) -> Visit:
    return after_a_while(world, "blue key", "laptop", only_keys=True)


@place(422, VERIFY)
def verify_when_asked_only_for_keys_left_empty(world: World) -> Visit:
    return after_a_while(world, "blue key", "laptop", only_keys=True, typed={"password": ""})


@place(200, "People")
def people_with_keys(world: World) -> Visit:
    owner(world, "blue key")
    owner(world, "blue key", LONG_NAME, email="rosa@example.com")
    acts.deactivate(world.app, "rosa@example.com")
    return as_admin(world, "/admin/people")
