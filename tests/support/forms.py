"""Every form that changes something, and somebody who has come before it and knows what is right in it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from flask import Flask

from models import TABLES, Session, User
from tests.support import acts
from tests.support.pages import Browser, Page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Person,
    give_password,
    half,
    save_new_code,
    scan,
    sign_in,
    step_up,
    use_recovery_code,
)
from tests.support.security_key import SecurityKey, add_key, options_of
from tests.support.tables import rows

URLENCODED = "application/x-www-form-urlencoded"


def bare(browser: Browser, path: str, method: str, **kwargs: Any) -> Any:
    """The answer itself, for verbs that have no page and for many requests: nothing is parsed."""
    origin = {"base_url": browser.base_url, "environ_overrides": {"REMOTE_ADDR": browser.address}}
    return browser.client.open(path, method=method, buffered=True, **origin, **kwargs)


class Site:
    """A demo site whose switch for recovery codes is on, with Omar (enrolled, code saved) and Ines (also an admin)."""

    def __init__(self, make_app: Callable[..., Flask], make_person: Callable[..., Person], **config: Any) -> None:
        self.app = make_app("site", **{"DEMO": True, **config})
        self.person = partial(make_person, on=self.app)
        self.switch(True)
        self.omar = self.person("omar@example.com")
        self.ines = self.person("ines@example.com", admin=True)

    def switch(self, on: bool) -> None:
        acts.switch_codes(self.app, on)

    def rows(self, table: type) -> list[dict[str, Any]]:
        """In the order in which they were added."""
        return sorted(rows(self.app, table), key=lambda row: next(iter(row.values())))

    def tables(self, *without: type) -> dict[str, Any]:
        """What all tables hold, but for when a session was last seen and how many answers of a key it had refused."""
        found = {table.__name__: self.rows(table) for table in TABLES if table not in without}
        for session in found["Session"]:
            session.pop("last_seen_at")
            session.pop("refused_answers")
        return found

    def id_of(self, person: Person) -> int:
        return next(row["id"] for row in self.rows(User) if row["email"] == person.email)


@dataclass
class Visit:
    """Somebody before a form: where it goes, what is right in its fields, and a CSRF token this browser once had."""

    browser: Browser
    path: str
    right: dict[str, str]
    old: str = ""

    @cached_property
    def token(self) -> str:
        return self.browser.get("/").forms[0].fields["csrf_token"]

    def data(self) -> dict[str, str]:
        return {**self.right, "csrf_token": self.token}

    def send(self, data: Any = None, **kwargs: Any) -> Page:
        return self.browser.open(self.path, method="POST", data=self.data() if data is None else data, **kwargs)

    def post(self, data: Any, **kwargs: Any) -> Any:
        return bare(self.browser, self.path, "POST", data=data, **kwargs)


def _signed_in(site: Site, browser: Browser, person: Person, path: str, **right: str) -> Visit:
    sign_in(browser, person)
    return Visit(browser, path, right)


def _stranger(site: Site, browser: Browser, path: str, **right: str) -> Visit:
    browser.press(sign_in(browser, site.person("rosa@example.com")), "Sign out")
    return Visit(browser, path, right)


def _sign_in(site: Site, browser: Browser) -> Visit:
    return _stranger(site, browser, "/login", email=site.omar.email, password=PASSWORD)


def _code(site: Site, browser: Browser) -> Visit:
    give_password(browser, site.omar)
    return Visit(browser, "/login/code", {"code": site.omar.code()})


def _recovery(site: Site, browser: Browser) -> Visit:
    give_password(browser, site.omar)
    return Visit(browser, "/login/recovery", {"recovery_code": site.omar.recovery_code or ""})


def _sign_out(site: Site, browser: Browser) -> Visit:
    return _signed_in(site, browser, site.omar, "/logout")


def _verify(site: Site, browser: Browser) -> Visit:
    sign_in(browser, site.omar)
    site.omar.clock.pass_by(30)
    return Visit(browser, "/verify", {"password": PASSWORD, "code": site.omar.code()})


def _setup(site: Site, browser: Browser) -> Visit:
    maya = site.person("maya@example.com", enrolled=False)
    scan(give_password(browser, maya), maya)
    return Visit(browser, "/mfa/setup", {"code": maya.code()})


def _prompt(site: Site, browser: Browser) -> Visit:
    maya = site.person("maya@example.com", enrolled=False)
    page = give_password(browser, maya)
    page = browser.submit(page, code=scan(page, maya).code())
    return Visit(browser, "/mfa/recovery-code", {"saved": "yes", "shown": page.form_with("shown").fields["shown"]})


def _finish(site: Site, browser: Browser) -> Visit:
    _prompt(site, browser)
    site.switch(False)
    return Visit(browser, "/mfa/finish", {})


def _lost_device(site: Site, browser: Browser) -> Visit:
    save_new_code(browser, use_recovery_code(browser, site.omar), site.omar)
    return Visit(browser, "/mfa/lost-device", {"still_have": "later"})


def _dismiss(site: Site, browser: Browser) -> Visit:
    browser.submit(_lost_device(site, browser).path, still_have="yes")
    step_up(browser, site.omar.code())
    return Visit(browser, "/account/recovery-notice/dismiss", {})


def _dismiss_wrong_codes(site: Site, browser: Browser) -> Visit:
    stranger = half(site.app, site.omar)
    for _ in range(3):
        stranger.submit("/login/code", code=site.omar.wrong_code())
    return _signed_in(site, browser, site.omar, "/account/wrong-codes-notice/dismiss")


def _password(site: Site, browser: Browser) -> Visit:
    return _signed_in(
        site, browser, site.omar, "/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD
    )


def _new_code(site: Site, browser: Browser) -> Visit:
    return _signed_in(site, browser, site.omar, "/account/recovery-code")


def _revoke(site: Site, browser: Browser) -> Visit:
    sign_in(Browser(site.app), site.omar)
    (other,) = [row["id"] for row in site.rows(Session)]
    site.omar.clock.pass_by(30)
    return _signed_in(site, browser, site.omar, f"/account/sessions/{other}/revoke")


def _revoke_others(site: Site, browser: Browser) -> Visit:
    _revoke(site, browser)
    return Visit(browser, "/account/sessions/revoke-others", {})


def _welcome(site: Site, browser: Browser) -> Visit:
    return _stranger(site, browser, acts.invite(site.app, site.omar.email), new_password=NEW_PASSWORD)


def _admin(act: str, site: Site, browser: Browser, **right: str) -> Visit:
    return _signed_in(site, browser, site.ines, f"/admin/people/{site.id_of(site.omar)}/{act}", **right)


def _new_people(site: Site, browser: Browser) -> Visit:
    return _signed_in(site, browser, site.ines, "/admin/people/new", emails="nora@example.com\r\nrui@example.com")


def _switch(site: Site, browser: Browser) -> Visit:
    return _signed_in(site, browser, site.ines, "/admin/settings/recovery-codes", turn="off")


def _phone(site: Site, browser: Browser) -> Visit:
    return _stranger(site, browser, "/demo/phone", key="JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP")


def _key(site: Site, browser: Browser) -> Visit:
    sign_in(browser, site.omar)
    key = add_key(browser)
    browser.press(browser.get("/account"), "Sign out")
    return Visit(browser, "/login/key", {"answer": key.get(options_of(give_password(browser, site.omar)))})


def _new_key(site: Site, browser: Browser) -> Visit:
    sign_in(browser, site.omar)
    answer = SecurityKey(at=site.app.config["SITE_URL"]).create(options_of(browser.get("/account/keys/new")))
    return Visit(browser, "/account/keys/new", {"name": "blue key", "answer": answer})


def _remove_key(site: Site, browser: Browser) -> Visit:
    sign_in(browser, site.omar)
    add_key(browser)
    return Visit(browser, "/account/keys/1/remove", {})


def _only_key(site: Site, browser: Browser) -> Visit:
    _remove_key(site, browser)
    return Visit(browser, "/account/only-key", {"turn": "on"})


FORMS: dict[str, Callable[[Site, Browser], Visit]] = {
    "login.password": _sign_in,
    "login.code": _code,
    "login.verify": _verify,
    "login.sign_out": _sign_out,
    "enrollment.setup": _setup,
    "recovery.challenge": _recovery,
    "recovery.prompt": _prompt,
    "recovery.finish_without_code": _finish,
    "recovery.lost_device": _lost_device,
    "security_keys.challenge": _key,
    "security_keys.add": _new_key,
    "security_keys.remove": _remove_key,
    "security_keys.only_key": _only_key,
    "account.dismiss_recovery_notice": _dismiss,
    "account.dismiss_wrong_codes_notice": _dismiss_wrong_codes,
    "account.password": _password,
    "account.new_recovery_code": _new_code,
    "account.revoke_session": _revoke,
    "account.revoke_others": _revoke_others,
    "account.welcome": _welcome,
    "admin.reset_mfa": partial(_admin, "reset-mfa"),
    "admin.invite": partial(_admin, "invite"),
    "admin.groups": partial(_admin, "groups", groups="ops wiki"),
    "admin.new_people": _new_people,
    "admin.change": partial(_admin, "deactivate"),
    "admin.switch_recovery_codes": _switch,
    "demo.phone": _phone,
}


def arrive(site: Site, endpoint: str) -> Visit:
    """A browser before this form, which had another CSRF token earlier."""
    browser = Browser(site.app)
    old = browser.open("/login").forms[0].fields["csrf_token"]
    visit = FORMS[endpoint](site, browser)
    visit.old = old
    return visit


BUTTONS = {  # forms without a field
    "login.sign_out",
    "recovery.finish_without_code",
    "account.dismiss_recovery_notice",
    "account.dismiss_wrong_codes_notice",
    "account.new_recovery_code",
    "account.revoke_session",
    "account.revoke_others",
    "security_keys.remove",
    "admin.reset_mfa",  # but for a reason, which may be anything
    "admin.invite",
    "admin.change",
}


WITH_FIELDS = [endpoint for endpoint in FORMS if endpoint not in BUTTONS]


def unlock_all(site: Site) -> None:
    """As an admin does, so that a pause is not what refuses the next try."""
    for row in site.rows(User):
        acts.unlock(site.app, row["email"])


def refuses(site: Site, visit: Visit, wrong: dict[str, str], **kwargs: Any) -> bool:
    """Whether the form with this in place of what is right comes back with 422."""
    answer = visit.post({**visit.data(), **wrong}, **kwargs)
    unlock_all(site)
    return bool(answer.status_code == 422)


def still_works(site: Site, visit: Visit) -> bool:
    return visit.send().status in (200, 303)
