"""The record: every kind of event is a row in the table and one line of JSON in the log, which no name, address or
browser can break, and in which nothing stands that is secret or was typed."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import pytest
from flask import Flask

from app import create_app
from authn.events import EventKind
from flows.transactions import Context
from models import Event, RecoveryCode, Session, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import KEY
from tests.support.commands import run
from tests.support.forms import Site, arrive
from tests.support.gates import APPS, WIKI, Window
from tests.support.pages import Browser
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    enroll,
    give_password,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.security_key import SecurityKey, add_key, options_of, use_key

GUESS = "a guess that was typed"
NEVER = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"
AGENT = 'Mozilla/5.0 ("a\\r\\n{}") \x1b[31m\x01\x85\xff'
ADDRESS = "2001:db8::7"


@dataclass
class Scene:
    """A site, a browser of a known kind and address, and the secrets that pass by."""

    site: Site
    secrets: set[str] = field(default_factory=set)

    @property
    def app(self) -> Flask:
        return self.site.app

    @property
    def omar(self) -> Person:
        return self.site.omar

    def browser(self) -> Browser:
        browser = Browser(self.app, ADDRESS)
        browser.client.environ_base["HTTP_USER_AGENT"] = AGENT
        return browser

    def half(self) -> Browser:
        give_password(browser := self.browser(), self.omar)
        return browser

    def full(self) -> Browser:
        sign_in(browser := self.browser(), self.omar)
        return browser

    def admin(self) -> Browser:
        sign_in(browser := self.browser(), self.site.ines)
        return browser

    def maya(self) -> Person:
        return self.site.person("maya@example.com", enrolled=False)

    def command(self, *args: str) -> str:
        result = run(self.app, *args)
        assert result.exit_code == 0, result.output
        return result.stdout

    def person_page(self, act: str) -> str:
        return f"/admin/people/{self.site.id_of(self.omar)}/{act}"

    def press(self, browser: Browser, path: str, **fields: str) -> None:
        data = {"csrf_token": browser.get("/").forms[0].fields["csrf_token"], **fields}
        assert browser.open(path, "POST", data=data).status in (200, 303)


Case = Callable[[Scene], Any]
CASES: dict[str, tuple[list[str], Case]] = {}  # what is recorded, newest last, and how to bring it about


def case(*recorded: EventKind) -> Callable[[Case], Case]:
    """These are the last events that it writes, after what leads up to it."""

    def keep(bring_about: Case) -> Case:
        CASES[bring_about.__name__.replace("_", " ")] = (list(recorded), bring_about)
        return bring_about

    return keep


# Signing in


@case(EventKind.PASSWORD_WRONG)
def a_wrong_password(scene: Scene) -> None:
    scene.browser().submit("/login", email=scene.omar.email, password=GUESS)


@case(EventKind.PASSWORD_WRONG)
def an_unknown_address(scene: Scene) -> None:
    scene.browser().submit("/login", email="typed-as-an@address", password=GUESS)


@case(EventKind.PASSWORD_RIGHT)
def a_right_password(scene: Scene) -> None:
    scene.half()


@case(EventKind.PASSWORD_WRONG, EventKind.PAUSED)
def a_pause(scene: Scene) -> None:
    for _ in range(6):
        scene.browser().submit("/login", email=scene.omar.email, password=GUESS)


@case(EventKind.PASSWORD_RIGHT, EventKind.CODE_WRONG)
def a_wrong_six_digit_code(scene: Scene) -> None:
    scene.half().submit("/login/code", code=scene.omar.wrong_code())


@case(EventKind.SIGNED_IN, EventKind.PASSWORD_RIGHT, EventKind.CODE_REPLAYED)
def a_six_digit_code_typed_again(scene: Scene) -> None:
    scene.full()
    scene.half().submit("/login/code", code=scene.omar.code())


@case(EventKind.PASSWORD_RIGHT, EventKind.SIGNED_IN)
def a_finished_sign_in(scene: Scene) -> None:
    scene.full()


@case(EventKind.SIGNED_IN, EventKind.SIGNED_OUT)
def a_sign_out(scene: Scene) -> None:
    browser = scene.full()
    browser.press(browser.get("/account"), "Sign out")


@case(EventKind.SIGNED_IN, EventKind.PASSWORD_RIGHT, EventKind.STEPPED_UP)
def a_confirmation(scene: Scene) -> None:
    browser = scene.full()
    scene.omar.clock.pass_by(30)
    browser.submit("/verify", password=PASSWORD, code=scene.omar.code())


@case(EventKind.SIGNED_IN, EventKind.PASSWORD_WRONG)
def a_confirmation_refused(scene: Scene) -> None:
    scene.full().submit("/verify", password=GUESS, code=scene.omar.code())


@case(EventKind.REQUEST_REFUSED)
def a_forged_form(scene: Scene) -> None:
    scene.browser().open("/login", "POST", data={"email": "typed-as-an@address", "csrf_token": GUESS})


@case(EventKind.PASSWORD_RIGHT, EventKind.UNREADABLE, EventKind.CODE_WRONG)
def a_secret_that_no_key_opens(scene: Scene) -> None:
    with scene.app.app_context():
        TotpAuthenticator.update(sealed_secret=b"x" * 48).execute()
    scene.half().submit("/login/code", code=scene.omar.code())


# The app


@case(EventKind.PASSWORD_RIGHT, EventKind.ENROLLMENT_STARTED)
def a_setup_begun(scene: Scene) -> None:
    give_password(scene.browser(), scene.maya())


@case(EventKind.ENROLLMENT_STARTED, EventKind.ENROLLMENT_CODE_WRONG)
def a_setup_with_a_wrong_code(scene: Scene) -> None:
    maya, browser = scene.maya(), scene.browser()
    page = give_password(browser, maya)
    browser.submit(page, code=scan(page, maya).wrong_code())


@case(EventKind.AUTHENTICATOR_ADDED, EventKind.RECOVERY_CODE_SAVED, EventKind.SIGNED_IN)
def a_setup_completed(scene: Scene) -> None:
    maya, browser = scene.maya(), scene.browser()
    page = give_password(browser, maya)
    scene.secrets |= {page.text_of("setup-key"), page.text_of("setup-key").replace(" ", "")}
    page = browser.submit(page, code=scan(page, maya).code())
    save_new_code(browser, page, maya)
    scene.secrets |= {maya.code(), maya.recovery_code or ""}


@case(EventKind.SIGNED_IN, EventKind.ENROLLMENT_STARTED, EventKind.AUTHENTICATOR_REPLACED)
def an_app_replaced(scene: Scene) -> None:
    browser = scene.full()
    page = browser.get("/mfa/setup")
    browser.submit(page, code=scan(page, scene.omar).code())


# Security keys


@case(EventKind.SIGNED_IN, EventKind.SECURITY_KEY_ADDED)
def a_key_added(scene: Scene) -> tuple[Browser, SecurityKey]:
    browser = scene.full()
    return browser, add_key(browser)


@case(EventKind.SECURITY_KEY_ADDED, EventKind.PASSWORD_RIGHT, EventKind.SIGNED_IN)
def a_key_used(scene: Scene) -> SecurityKey:
    _, key = a_key_added(scene)
    browser = scene.half()
    answer = key.get(options_of(page := browser.get("/login/key")))
    scene.secrets |= {answer, json.loads(answer)["response"]["signature"]}
    browser.submit(page, answer=answer)
    return key


@case(EventKind.PASSWORD_RIGHT, EventKind.SECURITY_KEY_REFUSED)
def a_key_refused(scene: Scene) -> None:
    a_key_added(scene)
    scene.half().submit("/login/key", answer=GUESS)


@case(EventKind.PASSWORD_RIGHT, EventKind.SECURITY_KEY_COPIED)
def a_key_copied(scene: Scene) -> None:
    key = a_key_used(scene)
    use_key(scene.half(), key, count=1)


@case(EventKind.SECURITY_KEY_ADDED, EventKind.ONLY_KEY_ON)
def a_person_asked_for_the_key_alone(scene: Scene) -> Browser:
    browser, _ = a_key_added(scene)
    browser.press(browser.get("/account"), "Ask me only for my key")
    return browser


@case(EventKind.ONLY_KEY_ON, EventKind.SECURITY_KEY_REMOVED, EventKind.ONLY_KEY_OFF)
def a_key_removed(scene: Scene) -> None:
    browser = a_person_asked_for_the_key_alone(scene)
    browser.press(browser.get("/account"), "Remove blue key")


# Recovery codes


@case(EventKind.SIGNED_IN, EventKind.RECOVERY_CODE_MADE)
def a_code_made(scene: Scene) -> None:
    browser = scene.full()
    scene.secrets.add(shown_code(browser.press(browser.get("/account/recovery-code"), "Make a new code")))


@case(EventKind.RECOVERY_CODE_CLAIMED, EventKind.RECOVERY_CODE_MADE)
def a_code_typed(scene: Scene) -> None:
    use_recovery_code(scene.browser(), scene.omar)


@case(EventKind.RECOVERY_CODE_MADE, EventKind.RECOVERY_CODE_SPENT, EventKind.RECOVERY_CODE_SAVED)
def a_code_spent(scene: Scene) -> Browser:
    browser = scene.browser()
    scene.secrets.add(scene.omar.recovery_code or "")
    save_new_code(browser, use_recovery_code(browser, scene.omar), scene.omar)
    return browser


@case(EventKind.RECOVERY_CODE_SAVED, EventKind.DEVICE_KEPT, EventKind.SIGNED_IN)
def a_device_kept(scene: Scene) -> Browser:
    browser = a_code_spent(scene)
    browser.submit("/mfa/lost-device", still_have="yes")
    return browser


@case(EventKind.RECOVERY_CODE_SAVED, EventKind.DEVICE_MISSING, EventKind.SIGNED_IN)
def a_device_missing(scene: Scene) -> None:
    a_code_spent(scene).submit("/mfa/lost-device", still_have="later")


@case(EventKind.STEPPED_UP, EventKind.RECOVERY_NOTICE_DISMISSED)
def a_notice_dismissed(scene: Scene) -> None:
    browser = a_device_kept(scene)
    browser.submit("/verify", password=scene.omar.password, code=scene.omar.code())
    browser.press(browser.get("/account"), "It was me")


@case(EventKind.CODE_WRONG, EventKind.PASSWORD_KNOWN)
def a_guesser_noticed(scene: Scene) -> None:
    browser = scene.half()
    for _ in range(3):
        browser.submit("/login/code", code=scene.omar.wrong_code())


@case(EventKind.SIGNED_IN, EventKind.WRONG_CODES_DISMISSED)
def a_notice_of_guesses_dismissed(scene: Scene) -> None:
    a_guesser_noticed(scene)
    browser = scene.full()
    browser.press(browser.get("/account"), "It was me")


@case(EventKind.PASSWORD_RIGHT, EventKind.RECOVERY_CODE_WRONG)
def a_code_wrong(scene: Scene) -> None:
    scene.half().submit("/login/recovery", recovery_code=NEVER)


@case(EventKind.PASSWORD_RIGHT, EventKind.RECOVERY_CODE_OLD)
def a_code_used_again(scene: Scene) -> None:
    old = scene.omar.recovery_code
    a_code_spent(scene)
    scene.half().submit("/login/recovery", recovery_code=old)


@case(EventKind.PASSWORD_RIGHT, EventKind.RECOVERY_CODE_BUSY)
def a_code_used_by_two(scene: Scene) -> None:
    use_recovery_code(scene.browser(), scene.omar)
    scene.half().submit("/login/recovery", recovery_code=scene.omar.recovery_code)


@case(EventKind.GROUPS_CHANGED)
def groups_changed(scene: Scene) -> None:
    scene.command("users", "groups", scene.omar.email, "ops", "wiki")


@case(EventKind.APP_OPENED)
def a_site_opened(scene: Scene) -> None:
    """On the same database, by an app that has sites behind it."""
    shared = {key: scene.app.config[key] for key in ("DATABASE_URL", "CLOCK", "SECRET_KEY", "PASSWORD_HASH_COST")}
    app = create_app({"TESTING": True, **shared, **APPS})
    window = Window(app, ADDRESS)
    window.client.environ_base["HTTP_USER_AGENT"] = AGENT
    sign_in(window, scene.omar)
    assert window.get(f"{WIKI}/").status == 200
    app.extensions["store"].database.close_all()


@case(EventKind.RECOVERY_CODES_DISABLED, EventKind.RECOVERY_CODE_WHILE_OFF)
def a_code_while_they_are_off(scene: Scene) -> None:
    browser = scene.half()
    form = browser.get("/login/recovery")
    scene.site.switch(False)
    browser.send(form, {"recovery_code": scene.omar.recovery_code})


@case(EventKind.RECOVERY_CODES_DISABLED, EventKind.SIGN_IN_ENDED)
def a_sign_in_ended_by_the_switch(scene: Scene) -> None:
    browser = scene.browser()
    use_recovery_code(browser, scene.omar)
    scene.site.switch(False)
    browser.get("/account")


# Passwords, sessions, admins, commands


@case(EventKind.SIGNED_IN, EventKind.PASSWORD_RIGHT, EventKind.PASSWORD_CHANGED)
def a_password_changed(scene: Scene) -> None:
    scene.full().submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)


@case(EventKind.SIGNED_IN, EventKind.PASSWORD_WRONG)
def a_password_change_refused(scene: Scene) -> None:
    scene.full().submit("/account/password", current_password=GUESS, new_password=NEW_PASSWORD)


@case(EventKind.SIGNED_IN, EventKind.SESSION_REVOKED)
def a_session_revoked(scene: Scene) -> None:
    browser = scene.full()
    scene.press(browser, "/account/sessions/revoke-others")


@case(EventKind.USER_INVITED, EventKind.INVITATION_USED, EventKind.PASSWORD_CHANGED)
def a_link_used(scene: Scene) -> None:
    link = scene.command("users", "invite", scene.omar.email).split()[-1]
    scene.secrets.add(link.rpartition("/")[2])
    scene.browser().submit(link.removeprefix("http://localhost:5000"), new_password=NEW_PASSWORD)


@case(EventKind.LINK_ASKED, EventKind.LINK_MAILED, EventKind.LINK_ASKED, EventKind.LINK_NOT_MAILED)
def a_forgotten_password(scene: Scene) -> None:
    context = Context(scene.omar.clock.now, ADDRESS, AGENT)
    for sent in (True, False):
        link = acts.forget_password(scene.app, scene.omar.email, context)
        scene.secrets.add(link.rpartition("/")[2])
        acts.note_mail(scene.app, scene.omar.email, sent, context)


@case(EventKind.LINK_ASKED)
def a_forgotten_password_of_nobody(scene: Scene) -> None:
    acts.forget_password(scene.app, "typed-as-an@address", Context(scene.omar.clock.now, ADDRESS, AGENT))


@case(EventKind.SIGNED_IN, EventKind.MFA_RESET, EventKind.USER_INVITED)
def a_reset_by_an_admin(scene: Scene) -> None:
    scene.press(scene.admin(), scene.person_page("reset-mfa"))


@case(EventKind.SIGNED_IN, EventKind.UNLOCKED)
def an_unlock_by_an_admin(scene: Scene) -> None:
    scene.press(scene.admin(), scene.person_page("unlock"))


@case(EventKind.USER_DEACTIVATED, EventKind.USER_ACTIVATED)
def a_person_deactivated_and_activated(scene: Scene) -> None:
    admin = scene.admin()
    for act in ("deactivate", "activate"):
        scene.press(admin, scene.person_page(act))


@case(EventKind.ADMIN_MADE, EventKind.ADMIN_REMOVED)
def an_admin_made_and_removed(scene: Scene) -> None:
    admin = scene.admin()
    for act in ("promote", "demote"):
        scene.press(admin, scene.person_page(act))


@case(EventKind.RECOVERY_CODES_DISABLED, EventKind.RECOVERY_CODES_ENABLED)
def the_switch_thrown(scene: Scene) -> None:
    admin = scene.admin()
    for turn in ("off", "on"):
        scene.press(admin, "/admin/settings/recovery-codes", turn=turn)


@case(EventKind.USER_CREATED)
def a_person_added(scene: Scene) -> None:
    result = run(scene.app, "users", "create", "new@example.com", "--password-stdin", typed=NEW_PASSWORD)
    assert result.exit_code == 0


@case(EventKind.EVENTS_PRUNED)
def old_events_removed(scene: Scene) -> None:
    scene.command("events", "prune")


@case(EventKind.KEYS_RESEALED)
def keys_resealed(scene: Scene) -> None:
    scene.app.config["SECRET_KEY_FALLBACKS"] = [KEY]
    scene.command("keys", "reseal")


# The tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(
    make_app: Callable[..., Flask], make_person: Callable[..., Person], caplog: pytest.LogCaptureFixture
) -> Scene:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "peewee")  # its statements hold digests and sealed values, and go to no log of ours
    return Scene(Site(make_app, make_person))


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of the record, each of which must be one, and JSON."""
    texts = [record.getMessage() for record in caplog.records if record.name == "sparekey.events"]
    assert all(re.fullmatch(r"\{[ -~]+\}", text) for text in texts), "one line of printable ASCII"
    return [json.loads(text) for text in texts]


def test_every_kind_of_event_is_brought_about_below() -> None:
    """A new kind must be added to the cases."""
    assert {kind for recorded, _ in CASES.values() for kind in recorded} == set(EventKind)


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_one_row_and_one_line_without_a_secret(
    scene: Scene, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The same facts in both: when in UTC, what, who, by whom, from where."""
    recorded, bring_about = CASES[name]
    caplog.clear()  # adding the people is told as well
    known = len(scene.site.rows(Event))
    scene.secrets |= {scene.omar.recovery_code or "", scene.omar.code(), scene.omar.wrong_code()}
    bring_about(scene)
    events, logged = scene.site.rows(Event)[known:], lines(caplog)
    assert [line["event"] for line in logged][-len(recorded) :] == recorded
    told = [kind for event in events for kind in [event["kind"]] * event["count"]]
    assert Counter(line["event"] for line in logged) == Counter(told)
    emails = {row["id"]: row["email"] for row in scene.site.rows(User)}
    assert [line for line in logged if line["count"] == 1] == [
        {
            "at": datetime.fromtimestamp(event["at"], UTC).isoformat(),
            "event": event["kind"],
            "user": emails.get(event["user"]),
            "by": event["actor"],
            "from": event["remote_addr"],
            "browser": event["user_agent"],
            "detail": event["detail"],
            "count": 1,
        }
        for event in events
    ]
    for event in events:
        if not event["actor"] and event["kind"] != EventKind.USER_CREATED:
            assert (event["remote_addr"], event["user_agent"]) == (ADDRESS, AGENT), "from where"
        assert event["at"] <= scene.omar.clock.now

    tokens = [row["token_digest"] for row in scene.site.rows(Session)]
    digests = [row["digest"] for row in scene.site.rows(RecoveryCode)]
    hashes = [row["password_hash"] for row in scene.site.rows(User) if row["password_hash"]]
    secrets = [*scene.secrets, *tokens, *digests, *hashes, scene.omar.recovery_code, scene.omar.code()]
    typed = [PASSWORD, NEW_PASSWORD, GUESS, NEVER, "typed-as-an", scene.omar.secret.hex() if scene.omar.secret else ""]
    everything = "\n".join([repr(events), *(f"{record.getMessage()} {record.args}" for record in caplog.records)])
    for secret in filter(None, [*secrets, *typed]):
        assert secret not in everything
        assert secret.replace("-", "") not in everything


def test_who_did_it_stands_beside_whom_it_was_done_to(scene: Scene) -> None:
    """An admin by address, the command line by its name, and nobody where people act for themselves."""
    a_reset_by_an_admin(scene)
    scene.command("users", "unlock", scene.omar.email)
    done = [
        (event["kind"], event["actor"])
        for event in scene.site.rows(Event)
        if event["user"] == scene.site.id_of(scene.omar)
    ]
    assert (EventKind.MFA_RESET, scene.site.ines.email) in done
    assert (EventKind.UNLOCKED, "the command line") in done
    assert ("signed_in", "") in [(event["kind"], event["actor"]) for event in scene.site.rows(Event)]


CONTROLS = ["a\r\nb", 'a", "event": "signed_in', "\x1b[2J", "\x01", "\x07\x08", "\x85\xa0\xff", "{}\\", "%s %(x)s {0}"]


@pytest.mark.parametrize("text", CONTROLS)
def test_no_browser_or_proxy_breaks_the_line(
    make_app: Callable[..., Flask],
    make_person: Callable[..., Person],
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    """Line ends, quotes, escapes of a terminal and formats, as the browser's name and as the address a proxy
    passes on; both are kept short."""
    caplog.set_level(logging.INFO)
    site = Site(make_app, make_person, TRUSTED_PROXIES=1)
    browser = Browser(site.app)
    browser.client.environ_base |= {
        "HTTP_USER_AGENT": text + "x" * 1000,
        "HTTP_X_FORWARDED_FOR": f"198.51.100.1, {text.replace(',', ';')}",
    }
    caplog.clear()
    page = browser.open("/login")
    browser.send(page, {"email": site.omar.email, "password": GUESS})
    browser.send(page, {"email": f"{text}@x", "password": GUESS})
    browser.open("/login", "POST")
    found = [line["event"] for line in lines(caplog)]
    assert [kind for kind, _ in groupby(found)] == [EventKind.PASSWORD_WRONG, EventKind.REQUEST_REFUSED]
    assert len(found) in (2, 3)  # the second address may be none
    assert {len(line["browser"]) for line in lines(caplog)} == {200}
    assert max(len(line["from"]) for line in lines(caplog)) <= 45


def test_what_is_rolled_back_is_in_no_record(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A line is written once its event is committed, so that the log never tells what did not happen."""
    visit = arrive(scene.site, "login.code")
    other = visit.browser.copy()
    form = other.get("/login/code")
    with scene.app.app_context():
        Session.delete().execute()
    caplog.clear()
    known = len(scene.site.rows(Event))
    assert visit.browser.follow(visit.send({**form.form_with("code").fields, **visit.right})).h1 == "Sign in"
    assert (len(scene.site.rows(Event)), lines(caplog)) == (known, [])
    assert sign_in(Browser(scene.app), scene.omar).h1 == "Security"
    assert [line["event"] for line in lines(caplog)] == [EventKind.PASSWORD_RIGHT, EventKind.SIGNED_IN]


def test_the_record_survives_the_person_it_is_about(scene: Scene) -> None:
    """It is only ever added to: somebody who is removed leaves what happened, without a name."""
    rosa = scene.site.person("rosa@example.com", enrolled=False)
    enroll(scene.browser(), rosa)
    before = {event["id"]: event["kind"] for event in scene.site.rows(Event)}
    hers = {event["id"] for event in scene.site.rows(Event) if event["user"] == scene.site.id_of(rosa)}
    assert len(hers) >= 4
    acts.remove_person(scene.app, rosa.email)
    after = scene.site.rows(Event)
    assert {event["id"]: event["kind"] for event in after} == before
    assert {event["user"] for event in after if event["id"] in hers} == {None}
