"""What another site can do through somebody's browser: forged forms, links and pictures, odd verbs, other accounts."""

from collections.abc import Callable, Iterator
from json import dumps
from typing import Any
from urllib.parse import urlencode

import pytest

from authn.events import EventKind
from models import Event, Session
from tests.support import acts
from tests.support.apps import few_of
from tests.support.forms import (
    FORMS,
    URLENCODED,
    Site,
    Visit,
    _code,
    _lost_device,
    _new_code,
    _prompt,
    _setup,
    arrive,
    bare,
)
from tests.support.pages import Browser
from tests.support.people import Clock, give_password, is_signed_in, sign_in, use_recovery_code
from tests.support.tables import kinds

# Forged forms ---------------------------------------------------------------------------------------------------------


def test_every_form_that_is_posted_is_attacked_below(site: Site) -> None:
    """A new view that takes a POST must be added to the table."""
    assert set(FORMS) == {rule.endpoint for rule in site.app.url_map.iter_rules() if "POST" in (rule.methods or ())}


OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
STALE = "This page was open too long"


def _without(data: dict[str, str], **others: str) -> dict[str, str]:
    return {name: value for name, value in {**data, **others}.items() if name != "csrf_token"}


def _with_header(name: str, value: str) -> Callable[[Visit, dict[str, str]], Any]:
    return lambda visit, data: visit.post(data, headers={name: value})


def _with_token_of_another(visit: Visit, data: dict[str, str]) -> Any:
    theirs = Browser(visit.browser.app).open("/login").forms[0].fields["csrf_token"]
    return visit.post({**data, "csrf_token": theirs})


def _with_token_in_a_cookie(visit: Visit, data: dict[str, str]) -> Any:
    visit.browser.client.set_cookie("csrf_token", data["csrf_token"])
    return visit.post(_without(data))


FORGERIES: dict[str, Callable[[Visit, dict[str, str]], Any]] = {
    "no token": lambda visit, data: visit.post(_without(data)),
    "an empty token": lambda visit, data: visit.post({**data, "csrf_token": ""}),
    "half a token": lambda visit, data: visit.post({**data, "csrf_token": data["csrf_token"][:-2]}),
    "another session's token": _with_token_of_another,
    "an old token": lambda visit, data: visit.post({**data, "csrf_token": visit.old}),
    "an old token in the header": lambda visit, data: visit.post(_without(data), headers={"X-CSRFToken": visit.old}),
    "the token in the address": lambda visit, data: visit.post(_without(data), query_string=data),
    "the token in a cookie": _with_token_in_a_cookie,
    "JSON": lambda visit, data: visit.post(dumps(data), content_type="application/json"),
    "JSON sent as a form can": lambda visit, data: visit.post(dumps(data), content_type="text/plain"),
    "plain text": lambda visit, data: visit.post(urlencode(data), content_type="text/plain"),
    "said to be a GET": lambda visit, data: visit.post(
        _without(data, _method="GET"), headers=dict.fromkeys(OVERRIDES, "GET")
    ),
    **{
        f"Sec-Fetch-Site: {value}": _with_header("Sec-Fetch-Site", value)
        for value in ("cross-site", "same-site", "CROSS-SITE", "same-origin, cross-site", "")
    },
    **{
        f"Origin: {value}": _with_header("Origin", value)
        for value in (
            *(
                "null",
                "https://evil.test",
                "http://localhost.evil.test",
                "http://evil.test#localhost",
                "ftp://localhost",
            ),
            *(
                "http://localhost:81",
                "http://localhost:99999",
                "http://127.0.0.1",
                "http://[",
                "http://localhost@evil.test",
            ),
            *("localhost", ""),
        )
    },
}


# The page of a one-time link is no referrer, and such a page's own form says so.
WITHOUT_REFERRER = ("account.welcome", "Origin: null")


def test_the_form_of_a_one_time_link_has_no_origin_to_name_and_is_defended_by_the_rest(site: Site) -> None:
    visit = arrive(site, "account.welcome")
    before, null = site.tables(Event), {"Origin": "null"}
    assert visit.post(_without(visit.data()), headers=null).status_code == 400
    for value in ("cross-site", "same-site"):
        assert visit.post(visit.data(), headers={**null, "Sec-Fetch-Site": value}).status_code == 400
    assert site.tables(Event) == before
    assert visit.send(headers={**null, "Sec-Fetch-Site": "same-origin"}).status == 303


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_forged_form_changes_nothing_and_is_recorded(site: Site, endpoint: str) -> None:
    """On every form; then the same form, sent by the page itself, does its work."""
    visit = arrive(site, endpoint)
    before = site.tables(Event)
    data, happened = visit.data(), kinds(site.app)
    forgeries = {name: FORGERIES[name] for name in FORGERIES if (endpoint, name) != WITHOUT_REFERRER}
    for name, forge in forgeries.items():
        answer = forge(visit, data)
        assert (answer.status_code, STALE in answer.text) == (400, True), name
        assert "Set-Cookie" not in answer.headers, name
    assert site.tables(Event) == before
    assert kinds(site.app) == [*happened, *[EventKind.REQUEST_REFUSED] * len(forgeries)]

    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost", "Referer": "http://localhost/"}
    refused = site.tables()
    assert visit.send(data, headers=own).status in (200, 303)
    assert (site.tables() != refused) == (endpoint != "demo.phone")


@pytest.mark.parametrize("endpoint", few_of(FORMS, "login.sign_out", "recovery.prompt", "admin.change"))
def test_no_link_or_picture_does_what_a_form_does(site: Site, endpoint: str) -> None:
    """Enrolling, replacing, revoking, saving, resetting: a GET with everything a form would send."""
    visit = arrive(site, endpoint)
    data, before = visit.data(), site.tables()
    for kwargs in (
        {},
        {"headers": dict.fromkeys(OVERRIDES, "POST")},
        {"data": urlencode(data), "content_type": URLENCODED, "headers": dict.fromkeys(OVERRIDES, "POST")},
        {"headers": {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}},
    ):
        for method in ("GET", "HEAD"):
            answer = bare(visit.browser, visit.path, method, query_string={**data, "_method": "POST"}, **kwargs)
            assert answer.status_code in (200, 303, 405)
    assert site.tables() == before
    assert visit.send(data).status in (200, 303)
    assert (site.tables() != before) == (endpoint != "demo.phone")


def test_another_site_signs_nobody_out(site: Site) -> None:
    """By a link, a picture, a form without a token, or a form with the attacker's token."""
    browser, attacker = Browser(site.app), Browser(site.app)
    page = sign_in(browser, site.omar)
    theirs = attacker.open("/login").forms[0].fields
    for method, data in (("GET", None), ("HEAD", None), ("POST", None), ("POST", theirs)):
        assert bare(browser, "/logout", method, data=data).status_code in (400, 405)
        assert is_signed_in(browser)
    assert browser.press(page, "Sign out").notice == "You're signed out."
    assert not is_signed_in(browser)


@pytest.mark.parametrize("where", ["a stranger", "half signed in", "signed in"])
def test_another_site_signs_nobody_in_as_the_attacker(site: Site, where: str) -> None:
    """So the victim cannot be made to enrol or store things in the attacker's account; even somebody who
    sends the form by hand stays who they are until they sign out."""
    attacker, browser = site.person("eve@example.com"), Browser(site.app)
    stolen = Browser(site.app).open("/login").forms[0].fields
    if where != "a stranger":
        give_password(browser, site.omar)
    if where == "signed in":
        browser.submit("/login/code", code=site.omar.code())
    before, cookie = site.rows(Session), browser.cookie()
    theirs = {"email": attacker.email, "password": attacker.password}
    for kwargs in ({}, {"headers": {"Sec-Fetch-Site": "cross-site"}}, {"headers": {"Origin": "https://evil.test"}}):
        assert browser.open("/login", "POST", data={**stolen, **theirs}, **kwargs).status == 400
        assert (site.rows(Session), browser.cookie()) == (before, cookie)
    page = browser.get("/")
    by_hand = browser.open("/login", "POST", data={**theirs, "csrf_token": page.forms[0].fields["csrf_token"]})
    assert by_hand.status == 303
    shown = browser.get("/").text
    assert (attacker.email in shown) == (where == "a stranger")
    assert (site.omar.email in shown) == (where != "a stranger")


# Verbs ----------------------------------------------------------------------------------------------------------------


IDS = {"session_id": 1, "person_id": 1, "key_id": 1}
VALUES = {"filename": "app.css", "token": "nobody-has-this", "change": "unlock", **IDS}


def paths(site: Site) -> Iterator[tuple[str, set[str]]]:
    """Every rule's path, and the verbs it is for; people's and links' are real."""
    token = acts.invite(site.app, site.omar.email).removeprefix("/welcome/")
    values = {**VALUES, "token": token, "person_id": site.id_of(site.omar)}
    urls = site.app.url_map.bind("localhost")
    for rule in site.app.url_map.iter_rules():
        yield urls.build(rule.endpoint, {name: values[name] for name in rule.arguments}), set(rule.methods or ())


def _nobody(site: Site, browser: Browser) -> None:
    browser.open("/login")


def _an_admin(site: Site, browser: Browser) -> None:
    sign_in(browser, site.ines)
    browser.open("/mfa/setup")


def _recovering(site: Site, browser: Browser) -> None:
    use_recovery_code(browser, site.omar)


def _asked_for_a_code(site: Site, browser: Browser) -> None:
    _new_code(site, browser).send()
    browser.open("/mfa/setup")  # the first look begins


WHERE: dict[str, Callable[[Site, Browser], Any]] = {
    "a stranger": _nobody,
    "at the challenge": _code,
    "at setup": _setup,
    "at the prompt": _prompt,
    "at the prompt after a recovery code": _recovering,
    "at the question": _lost_device,
    "with a code to save": _asked_for_a_code,
    "an admin": _an_admin,
}


@pytest.mark.parametrize("where", few_of(WHERE, "a stranger", "at the prompt", "an admin"))
def test_no_other_verb_than_a_forms_own_changes_anything(site: Site, clock: Clock, where: str) -> None:
    """GET and HEAD twice, OPTIONS, and the verbs nothing here is for, on every rule."""
    browser = Browser(site.app)
    WHERE[where](site, browser)
    clock.pass_by(61)  # so that a visit is noted
    every = list(paths(site))
    before, cookie = site.tables(), browser.cookie()
    opened = 0
    for path, methods in every:
        statuses = {}
        for method in ("GET", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND"):
            answer = bare(browser, path, method)
            statuses[method] = answer.status_code
            if answer.status_code == 405:
                assert set(answer.headers["Allow"].split(", ")) == methods, path
                assert method == "HEAD" or "be used that way" in answer.text
        assert {statuses[verb] for verb in ("TRACE", "PUT", "DELETE", "PATCH", "PROPFIND")} == {405}, path
        assert statuses["HEAD"] == statuses["GET"], path
        assert (statuses["GET"] == 405) == ("GET" not in methods), path
        assert statuses["OPTIONS"] in (200, 303, 403), path
        opened += statuses["GET"] == 200
    assert opened
    assert site.tables() == before
    assert browser.cookie() == cookie
