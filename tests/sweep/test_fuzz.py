"""Anything at all is sent to every page in every state: the answer is a documented one, and it lets nobody in."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from models import TABLES, Event, Session, Setting, Throttle, User
from tests.support.apps import on_sqlite
from tests.support.cookies import serializer
from tests.support.pages import Browser, Page, read_page
from tests.support.people import (
    NEW_PASSWORD,
    PASSWORD,
    Clock,
    Person,
    give_password,
    save_new_code,
    scan,
    shown_code,
    sign_in,
    use_recovery_code,
)
from tests.support.tables import known_of

PARTS = 4  # which may run side by side
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000")) // PARTS
PER_VISIT = 8  # on average, rather more

ANSWERS = {200, 303, 308, 400, 403, 404, 405, 413, 422, 429}
OF_FILES = {206, 304, 416}  # what is asked for with Range and If-None-Match

HERE = "http://localhost"

# What is sent ---------------------------------------------------------------------------------------------------------

RIGHT = object()  # in place of a value: the one that would be right there
FORMS = {
    "/login": ["email", "password", "next"],
    "/login/code": ["code"],
    "/login/key": ["answer"],
    "/login/recovery": ["recovery_code"],
    "/mfa/setup": ["code"],
    "/mfa/recovery-code": ["saved", "shown"],
    "/mfa/lost-device": ["still_have", "lost_keys"],
    "/mfa/finish": [],
    "/verify": ["password", "code"],
    "/logout": [],
    "/account/password": ["current_password", "new_password"],
    "/account/recovery-code": [],
    "/account/keys/new": ["name", "answer"],
    "/account/keys/{id}/remove": [],
    "/account/only-key": ["turn"],
    "/account/recovery-notice/dismiss": [],
    "/account/wrong-codes-notice/dismiss": [],
    "/account/sessions/{id}/revoke": [],
    "/account/sessions/revoke-others": [],
    "/welcome/{token}": ["new_password"],
    "/admin/people/{id}/reset-mfa": ["reason"],
    "/admin/people/{id}/groups": ["groups"],
    "/admin/people/new": ["emails"],
    "/admin/people/{id}/{change}": [],
    "/admin/settings/recovery-codes": ["turn"],
    "/demo/phone": ["key"],
}
NO_SECRETS = {"saved", "still_have"}  # whatever is sent in them may do
PAGES = [
    *FORMS,
    "/",
    "/account",
    "/account/activity",
    "/mfa/recovery-code.txt",
    "/admin/people",
    "/admin/settings",
    "/admin/audit",
    "/healthz",
    "/static/app.css",
    "/static/{token}",
]
CHANGES = ["unlock", "activate", "deactivate", "promote", "demote", "invite"]
FIELDS = [*{name: None for names in FORMS.values() for name in names}, "csrf_token"]
OTHER_METHODS = ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]
COLUMNS = ["step", "user_id", "is_admin", "second_factor", "verified_at", "mfa", "notice", "before", "person", "after"]
NASTY = [
    "",
    "\0",
    "\r\nSet-Cookie: session=x",
    "<h1>x</h1>",
    "\"'><script>alert(1)</script>",
    "{{ config }}",
    "' OR 1=1 --",
    "%00%ff",
    "\u202e\u200d\ufeff",
    "١٢٣٤٥٦",
    "ｍａｙａ＠example.com",
    "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3",
    "000000",
    "yes",
    "no",
    "on",
    "/account",
    "//evil.test/",
    "-1",
    str(2**31),
    "9" * 500,
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    "é\u0301" * 600,
    "9" * 70_000,
]
junk = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.binary(max_size=12))
ids = st.one_of(st.integers(0, 20).map(str), st.sampled_from(["-1", str(2**31), "9" * 30, "1.0", "%31", "١"]), junk)
values = st.one_of(*[st.just(RIGHT)] * 3, junk)  # half of them right: junk counts for three
more = st.tuples(st.sampled_from(FIELDS + COLUMNS) | junk, values)  # fields that the form may not have
latin_text = st.characters(max_codepoint=255, exclude_categories=["Cc"])  # gunicorn refuses control characters
query_text = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#")  # and these in an address
seldom = st.integers(0, 7).map(lambda number: number == 7)
header_text = st.one_of(
    st.sampled_from([HERE, "null", "http://evil.test", "http://[", "same-origin", "cross-site", "bytes=5-1,-0", "*/*"]),
    st.text(latin_text, max_size=12),
)
HEADERS = [
    *("HTTP_ORIGIN", "HTTP_REFERER", "HTTP_SEC_FETCH_SITE", "HTTP_USER_AGENT", "HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_HTTP_METHOD_OVERRIDE"),
    *("HTTP_AUTHORIZATION", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE", "HTTP_X_CSRFTOKEN"),
    "CONTENT_TYPE",
]


@dataclass
class Sent:
    """A request; what is RIGHT in it is looked up when it is sent."""

    method: str
    path: str  # as WSGI tells it: a character for each byte
    fields: list[tuple[Any, Any]]
    query: list[tuple[Any, Any]]
    raw_query: str  # after it, as it is
    token: Any  # the CSRF token: RIGHT, None for none, or junk
    body: str | bytes  # how the fields are written, or bytes in place of them
    headers: dict[str, str]
    cookies: str  # beside the browser's own


def rightly(path: str) -> Sent:
    """The form filled in without a fault."""
    path = path.replace("{id}", "1").replace("{change}", "unlock")
    return Sent("POST", path, [(name, RIGHT) for name in FORMS.get(path, [])], [], "", RIGHT, "form", {}, "")


@st.composite
def requests(draw: st.DrawFn, due: list[str]) -> Sent:
    """One request, rather often of the forms that are due."""

    def oddly(strategy: st.SearchStrategy[Any], otherwise: Any) -> Any:
        return draw(strategy) if draw(seldom) else otherwise

    path = draw(st.sampled_from([due, due, [*FORMS], PAGES]).flatmap(st.sampled_from))
    fields = [(name, draw(values)) for name in FORMS.get(path, []) if not draw(seldom)]
    for part, those in (("{id}", ids), ("{change}", st.sampled_from(CHANGES))):
        if part in path:
            path = path.replace(part, in_wsgi(to_bytes(draw(those))))
    return Sent(
        method=draw(st.sampled_from(["POST"] * 18 + ["GET"] * 6 + OTHER_METHODS)),
        path=oddly(st.one_of(junk, st.text("/.%;\\aA\0", max_size=8)).map(to_bytes).map(in_wsgi), path),
        fields=fields + oddly(st.lists(more, max_size=4), []),
        query=oddly(st.lists(more, max_size=3), []),
        raw_query=oddly(st.text(query_text, max_size=12), ""),
        token=oddly(st.none() | junk, RIGHT),
        body=oddly(st.sampled_from(["multipart", "file", "json"]) | st.binary(max_size=40), "form"),
        headers=oddly(st.dictionaries(st.sampled_from(HEADERS), header_text, max_size=3), {}),
        cookies=oddly(st.text(latin_text, max_size=30), ""),
    )


def to_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def in_wsgi(value: bytes) -> str:
    return value.decode("latin1")


def part_of_body(name: bytes, value: bytes, as_file: bool) -> bytes:
    """One field of a multipart body."""
    extra = b'; filename="a.txt"' if as_file else b""
    return b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, extra, value)


# Where somebody is when it is sent ------------------------------------------------------------------------------------

SIGNED_IN = [
    "/account/password",
    "/account/keys/new",
    "/account/recovery-code",
    "/account/sessions/{id}/revoke",
    "/mfa/setup",
]
ADMINS = [path for path in FORMS if path.startswith("/admin")]
DUE = {  # where somebody may be, and the forms they may go on with
    "stranger": ["/login"],
    "newcomer": ["/login"],
    "challenged": ["/login/code", "/login/recovery"],
    "enrolling": ["/mfa/setup"],
    "at the prompt": ["/mfa/recovery-code", "/mfa/finish"],
    "without a code": ["/mfa/recovery-code", "/mfa/finish"],
    "recovering": ["/mfa/recovery-code", "/mfa/finish"],
    "asked": ["/mfa/lost-device", "/mfa/setup"],
    "said no": ["/mfa/setup", "/mfa/lost-device"],
    "signed in": SIGNED_IN,
    "not confirmed": ["/verify", *SIGNED_IN],
    "replacing": ["/mfa/recovery-code", "/mfa/setup", "/mfa/finish"],
    "admin": ADMINS,
    "admin not confirmed": ["/verify", *ADMINS],
    "invited": ["/welcome/{token}"],
}


@dataclass
class State:
    """A browser that has come somewhere, and whose it is."""

    person: Person
    cookies: dict[str, str]
    page: str  # raw, the one it is at
    link: str = "no-token"  # of an invitation
    is_trusted: bool = False  # an admin who has just confirmed
    app_is_confirmed: bool = False  # saving the code is all that is left of setting up the app


@dataclass
class Visitor:
    """A client that sends what no browser would, and keeps its cookies."""

    app: Flask
    state: State
    cookies: dict[str, str] = field(default_factory=dict)
    gave: set[str] = field(default_factory=set)  # the fields that had a right value in the last request

    def __post_init__(self) -> None:
        self.client, self.page, self.cookies = self.app.test_client(False), self.state.page, {**self.state.cookies}

    def right(self, name: Any) -> str:
        person = self.state.person
        shown = re.search(r'name="shown"[^>]* value="([^"]*)"', self.page)
        known = {
            "email": person.email,
            "code": person.code() if person.secret else "",
            "recovery_code": person.recovery_code or "",
            "saved": "yes",
            "shown": shown[1] if shown else "",
            "still_have": "later",
            "new_password": NEW_PASSWORD,
            "turn": "off",
            "csrf_token": self.token,
            "key": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP",
        }
        return known.get(name, PASSWORD if "password" in str(name) else "")

    @property
    def token(self) -> str:
        found = re.search(r'name="csrf_token"[^>]* value="([^"]*)"', self.page)
        return found[1] if found else ""

    def send(self, sent: Sent) -> Any:
        fields = [(to_bytes(name), to_bytes(self.value(name, value))) for name, value in sent.fields]
        query = [(to_bytes(name), to_bytes(self.value(name, value))) for name, value in sent.query]
        self.gave = {name for name, value in sent.fields if value is RIGHT or name in NO_SECRETS}
        environ = {"HTTP_COOKIE": "; ".join([*(f"{k}={v}" for k, v in self.cookies.items()), sent.cookies])}
        if sent.token is not None:
            token = to_bytes(self.token if sent.token is RIGHT else sent.token)
            fields.append((b"csrf_token", token))
            if sent.body == "json":
                environ["HTTP_X_CSRFTOKEN"] = in_wsgi(token)
        body, environ["CONTENT_TYPE"] = self.body(sent, fields)
        environ |= {
            "PATH_INFO": "/" + sent.path.replace("{token}", self.state.link).removeprefix("/"),
            "QUERY_STRING": urlencode(query) + sent.raw_query,
        }
        answer = self.client.open(
            method=sent.method,
            base_url=HERE,
            data=body,
            buffered=True,
            environ_overrides={**environ, **sent.headers},
        )
        for header in answer.headers.getlist("Set-Cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        if "csrf_token" in answer.text:
            self.page = answer.text
        return answer

    def value(self, name: Any, value: Any) -> str | bytes:
        return self.right(name) if value is RIGHT else value

    def body(self, sent: Sent, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, str]:
        if isinstance(sent.body, bytes):
            return sent.body, "application/x-www-form-urlencoded"
        if sent.body == "json":
            return json.dumps({in_wsgi(k): in_wsgi(v) for k, v in fields}).encode(), "application/json"
        if sent.body == "form":
            return urlencode(fields).encode(), "application/x-www-form-urlencoded"
        parts = [part_of_body(name, value, sent.body == "file" and name != b"csrf_token") for name, value in fields]
        return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"


@pytest.fixture
def site(make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> Flask:
    caplog.set_level("ERROR", "sparekey.events")  # thousands of lines that nobody reads
    return make_app("fuzzed", RECOVERY_CODES_ENABLED=True, DEMO=True)


@pytest.fixture
def states(site: Flask, make_person: Callable[..., Person], clock: Clock) -> dict[str, State]:
    found: dict[str, State] = {}

    def someone(name: str, **kwargs: Any) -> tuple[Browser, Person]:
        return Browser(site), make_person(f"{name.replace(' ', '-')}@example.com", on=site, **kwargs)

    def keep(name: str, browser: Browser, person: Person, page: Page, **kwargs: Any) -> None:
        jar = {cookie: browser.cookie(cookie) or "" for cookie in ("session", "known-browser")}
        found[name] = State(person, jar, page.raw, **kwargs)

    def turn(on: bool) -> None:
        site.config["RECOVERY_CODES_ENABLED"] = on

    browser, person = someone("stranger")
    keep("stranger", browser, person, browser.get("/login"))
    browser, person = someone("newcomer", enrolled=False)
    keep("newcomer", browser, person, browser.get("/login"))
    browser, person = someone("challenged")
    keep("challenged", browser, person, give_password(browser, person))

    browser, person = someone("enrolling", enrolled=False)
    page = give_password(browser, person)
    scan(page, person)
    keep("enrolling", browser, person, page)
    browser, person = someone("at the prompt", enrolled=False)
    page = give_password(browser, person)
    page = browser.submit(page, code=scan(page, person).code())
    keep("at the prompt", browser, person, page, app_is_confirmed=True)
    browser, person = someone("without a code", code=False)
    keep("without a code", browser, person, sign_in(browser, person))

    browser, person = someone("recovering")
    page = use_recovery_code(browser, person)
    person.recovery_code = shown_code(page)
    keep("recovering", browser, person, page)
    browser, person = someone("asked")
    keep("asked", browser, person, save_new_code(browser, use_recovery_code(browser, person), person))
    browser, person = someone("said no")
    save_new_code(browser, use_recovery_code(browser, person), person)
    page = browser.submit("/mfa/lost-device", still_have="no")
    scan(page, person)
    keep("said no", browser, person, page)

    browser, person = someone("signed in")
    keep("signed in", browser, person, sign_in(browser, person))
    browser, person = someone("not confirmed")
    save_new_code(browser, use_recovery_code(browser, person), person)
    keep("not confirmed", browser, person, browser.submit("/mfa/lost-device", still_have="yes"))
    browser, person = someone("replacing", code=False)
    turn(False)
    sign_in(browser, person)
    turn(True)
    page = browser.get("/mfa/setup")
    key = Person(person.email, clock)
    page = browser.submit(page, code=scan(page, key).code())
    keep("replacing", browser, person, page, app_is_confirmed=True)

    browser, person = someone("admin", admin=True)
    keep("admin", browser, person, sign_in(browser, person), is_trusted=True)
    browser, person = someone("admin not confirmed", admin=True)
    save_new_code(browser, use_recovery_code(browser, person), person)
    keep("admin not confirmed", browser, person, browser.submit("/mfa/lost-device", still_have="yes"))

    browser, person = someone("invited")
    result = site.test_cli_runner().invoke(args=["users", "invite", person.email])
    link = result.output.split("/welcome/")[1].strip()
    keep("invited", browser, person, browser.get(f"/welcome/{link}"), link=link)
    clock.pass_by(30)  # everybody's app shows a new code
    return found


# What may come of it --------------------------------------------------------------------------------------------------

# From one step to the next, and a field one of whose right values is needed for it. Everybody may lose a session.
NEEDED = {
    ("nobody", "challenge"): {"password"},
    ("nobody", "enroll"): {"password"},
    ("challenge", "replace_code"): {"recovery_code"},
    ("challenge", "signed_in"): {"code"},
    ("enroll", "save_code"): {"code"},
    ("enroll", "signed_in"): {"code"},
    ("save_code", "signed_in"): {"saved", "finish"},
    ("replace_code", "lost_device"): {"saved"},
    ("lost_device", "signed_in"): {"still_have"},
    ("replace_device", "signed_in"): {"still_have", "code"},
}
# What seldom comes of it. The last one: codes were turned off, which ended the first sign-in.
RARE = {
    ("challenge", "save_code"): {"code"},
    ("lost_device", "replace_device"): {"still_have"},
    ("replace_code", "challenge"): {"password"},
}
Rows = dict[Any, list[dict[str, Any]]]


def all_rows(app: Flask) -> Rows:
    with app.app_context():
        return {table: list(table.select().order_by(known_of(table).primary_key).dicts()) for table in TABLES}


def put_back(app: Flask, rows: Rows) -> None:
    with app.app_context(), app.extensions["store"].database.atomic():
        for table in reversed(TABLES):
            table.delete().execute()
        for table in TABLES:
            if rows[table]:
                table.insert_many(rows[table]).execute()


def standing(visitor: Visitor) -> tuple[int | None, str, int | None]:
    """Whose session the cookie is of, what is due in it, and when the person last confirmed who they are."""
    valid, payload = serializer(visitor.app).loads_unsafe(visitor.cookies.get("session") or "")
    with visitor.app.app_context():
        session = Session.find(payload["token"]) if valid and "token" in payload else None
        if session is None:
            return None, "nobody", None
        return session.user_id, session.step, session.verified_at


# What a page tells of a sign-in or a look, whoever's it was.
TOLD = {"last_seen_at", "last_sign_in_at", "setup_begun_at", "waiting_since", "recovery_used_at", "recovery_used_from"}


def belongings(rows: Rows, whose: Callable[[int], bool]) -> dict[str, Any]:
    """What the people have whose id fits, without times that change by looking at a page."""
    enrolling = {row["id"]: row["user"] for row in rows[Session]}
    found = {}
    for table in set(TABLES) - {Event, Throttle, Setting}:
        owner = "id" if table is User else "user"
        kept = [row for row in rows[table] if whose(row.get(owner) or enrolling.get(row.get("session"), 0))]
        found[table.__name__] = [{k: v for k, v in row.items() if k not in TOLD} for row in kept]
    return found


def check_answer(answer: Any, path: str) -> None:
    allowed = ANSWERS | OF_FILES if path.startswith("/static/") else ANSWERS
    assert answer.status_code in allowed, answer.status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if answer.mimetype == "text/html" and answer.text:
        assert len(re.findall(r"<h1[ >]", answer.text)) == 1, answer.text
        assert answer.text.count("<script") <= 1
        if answer.status_code == 422:
            answer.set_data(re.sub(r'<input [^>]*name="next"[^>]*>', "", answer.text))
            assert read_page(answer, path).errors, "HTML that a strict parser takes"


def check_belongings(state: State, person: int, gave: set[str], before: Rows, after: Rows) -> None:
    """Nobody's things have changed but one's own, and those only by giving what it takes; an admin may."""
    if state.is_trusted or (gave >= {"password", "code"} and "admin" in state.person.email):
        return
    assert belongings(before, lambda user: user != person) == belongings(after, lambda user: user != person)
    assert before[Setting] == after[Setting]
    was, now = (belongings(rows, lambda user: user == person) for rows in (before, after))
    assert [row["is_admin"] for row in was["User"]] == [row["is_admin"] for row in now["User"]]
    if not gave & {"current_password", "new_password"}:
        for user in (*was["User"], *now["User"]):  # a new app forgets browsers, and wrong codes are told
            for counted in ("browser_generation", "wrong_codes", "wrong_codes_since", "wrong_codes_from"):
                user.pop(counted)
        assert was["User"] == now["User"]
        assert was["Invitation"] == now["Invitation"]
    if "code" not in gave and not state.app_is_confirmed:
        assert was["TotpAuthenticator"] == now["TotpAuthenticator"]


@on_sqlite  # long, and about the pages
# Werkzeug leaves the uploads of a request it was not asked for to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:ResourceWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_that_can_be_sent_is_an_error_or_lets_anybody_in(
    site: Flask, states: dict[str, State], part: int
) -> None:
    begin = all_rows(site)
    assert set(states) == set(DUE)
    seen: Counter[Any] = Counter()

    def visit(name: str, codes_on: bool, all_sent: list[Sent]) -> None:
        put_back(site, begin)
        site.config["RECOVERY_CODES_ENABLED"] = codes_on
        visitor = Visitor(site, states[name])
        person = next(row["id"] for row in begin[User] if row["email"] == visitor.state.person.email)
        gave: set[str] = set()
        who, step, verified_at = standing(visitor)
        for sent in all_sent:
            answer = visitor.send(sent)
            check_answer(answer, sent.path)
            seen[answer.status_code] += 1
            gave |= visitor.gave
            new_who, new_step, new_verified_at = standing(visitor)
            if new_who is not None:
                assert new_who == (who or person)
                needed = {**NEEDED, **RARE}.get((step, new_step)) if new_step != step else set()
                assert needed is not None, (step, new_step)
                has = visitor.gave if codes_on else visitor.gave - {"recovery_code", "saved"} | {"finish"}
                assert not needed or needed & has, (step, new_step)
                assert new_verified_at == verified_at or has & {"code", "saved", "finish"}
                seen[step, new_step] += 1
            who, step, verified_at = new_who, new_step, new_verified_at
        account = visitor.client.get("/account", headers={"Cookie": f"session={visitor.cookies.get('session', '')}"})
        assert (account.status_code == 200) == (step == "signed_in")
        check_belongings(visitor.state, person, gave, begin, all_rows(site))

    for number, (name, due) in enumerate(DUE.items()):
        within = settings(
            max_examples=REQUESTS // len(DUE) // PER_VISIT,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        odd, right = st.lists(requests(due), min_size=3, max_size=12), st.permutations([*map(rightly, due)])
        sent = st.tuples(odd, right).map(lambda both: both[0] + both[1])
        seed(part * len(DUE) + number)(
            within(given(st.just(name), st.sampled_from([True, True, False]), sent)(visit))
        )()
    requests_sent = sum(number for key, number in seen.items() if isinstance(key, int))
    print(f"{requests_sent} requests:", dict(seen))
    assert requests_sent >= REQUESTS * 0.9
    assert set(NEEDED) <= set(seen), "every step was taken by somebody"
