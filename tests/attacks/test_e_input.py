"""What is put into forms, addresses and headers: too much of it, of another kind, in odd letters, in the words of a
database, or for columns that no form has."""

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask

from models import TABLES, Event, Kind, RecoveryCode, Throttle, User
from tests.support import acts
from tests.support.forms import FORMS, URLENCODED, Site, Visit, arrive, bare
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Clock, Person, give_password, sign_in
from tests.support.tables import count, kinds

pytestmark = pytest.mark.pages

BUTTONS = {  # forms without a field
    "login.sign_out",
    "recovery.finish_without_code",
    "account.dismiss_recovery_notice",
    "account.new_recovery_code",
    "account.revoke_session",
    "account.revoke_others",
    "admin.reset_mfa",  # but for a reason, which may be anything
    "admin.invite",
    "admin.change",
}
WITH_FIELDS = [endpoint for endpoint in FORMS if endpoint not in BUTTONS]


@pytest.fixture
def site(make_app: Callable[..., Flask], make_person: Callable[..., Person]) -> Site:
    return Site(make_app, make_person)


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


# Too much -------------------------------------------------------------------------------------------------------------

PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
BOMBS: dict[str, tuple[bytes, str]] = {
    "10 MB": (b"x=" + b"9" * 10_000_000, URLENCODED),
    "100,000 fields": (b"x=1&" * 100_000, URLENCODED),
    "1,200 parts": (PART * 1200 + b"--x--\r\n", "multipart/form-data; boundary=x"),
    "a file of 10 MB": (
        PART.replace(b"name", b'filename="f"; name') + b"9" * 10_000_000,
        "multipart/form-data; boundary=x",
    ),
}


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_body_that_is_too_large_is_dropped_unread(site: Site, endpoint: str) -> None:
    """E47, WEB-13, TH-12. On every form; said to be long, or sent in chunks without a length."""
    visit = arrive(site, endpoint)
    before, right = site.tables(), urlencode(visit.data()).encode()
    started = time.process_time()
    for name, (bomb, kind) in BOMBS.items():
        body = right + b"&" + bomb if kind == URLENCODED else bomb
        assert visit.post(body, content_type=kind).status_code == 413, name
        chunked = BytesIO(body)
        answer = visit.post(None, content_type=kind, input_stream=chunked, headers={"Transfer-Encoding": "chunked"})
        assert answer.status_code == 400, name  # this server has not ended the stream, so there is no body
    assert time.process_time() - started < 1
    assert site.tables(Event) == {name: table for name, table in before.items() if name != "Event"}
    assert still_works(site, visit)


@pytest.mark.parametrize("endpoint", ["login.password", "account.welcome"])
def test_a_body_in_endless_chunks_is_read_to_the_limit_and_no_further(site: Site, endpoint: str) -> None:
    """E47, WEB-13. A server that ends the stream itself passes on bodies of unknown length."""
    visit = arrive(site, endpoint)
    right = urlencode(visit.data()).encode()

    def send(body: BytesIO) -> int:
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        where = {"content_type": URLENCODED, "environ_overrides": environ}
        return int(visit.browser.client.post(visit.path, input_stream=body, **where).status_code)

    endless = BytesIO(b"x=" + b"9" * 10_000_000 + b"&" + right)
    assert send(endless) in (400, 413)
    assert endless.tell() <= 2 * 64 * 1024
    assert send(BytesIO(right)) == 303


FLOODS = {
    "letters": "x" * 60_000,
    "digits": "9" * 60_000,
    "dashes": "-" * 60_000,
    "spaces": " " * 60_000 + "x",
    "signs": "@" * 60_000,
    "marks": "\u0301" * 4_500 + "\u0323" * 4_500,  # the order that normalizing is slow for
    "ligatures": "\ufdfa" * 6_000,  # each becomes 18 letters
}


@pytest.mark.parametrize("endpoint", [name for name in WITH_FIELDS if name != "demo.phone"])  # any letters are a key
def test_a_long_value_in_any_field_is_refused_in_no_time(site: Site, endpoint: str) -> None:
    """E47, E48, PW-16, TO-11, RC-16. Just under the limit of a body; a password of any length costs one hash."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right:
        for name, flood in FLOODS.items():
            started = time.process_time()
            assert refuses(site, visit, {field: flood}), name
            assert time.process_time() - started < 0.5, (field, name)
    assert site.tables(Event, Throttle) == before
    assert still_works(site, visit)


@pytest.mark.parametrize("text", ["ab" * 2_000, "\u0301\u0323" * 2_000, "\u1e9ex" * 2_048, "correct horse " * 290])
def test_the_longest_password_is_chosen_and_typed_in_no_time(site: Site, text: str) -> None:
    """E47, E48, PW-3, PW-7. Looking for what it is made of does not take longer the longer it is."""
    visit = arrive(site, "account.password")
    started = time.process_time()
    assert visit.send({**visit.data(), "new_password": text}).status == 303
    browser = Browser(site.app)
    assert browser.submit("/login", email=site.omar.email, password=text[:-1]).status == 422
    assert browser.submit("/login", email=site.omar.email, password=text).h1 == "Enter your code"
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["Cookie", "User-Agent", "Referer", "X-CSRFToken", "Accept-Language", "If-None-Match"])
def test_a_long_header_is_no_hindrance(site: Site, name: str) -> None:
    """E47. Nor does it cost anything, or end up in a table at its full length."""
    browser = Browser(site.app)
    page = browser.open("/login")
    data = {**page.form_with("email").fields, "email": site.omar.email, "password": PASSWORD}
    cookie = f"session={browser.cookie()}"
    value = f"{cookie}; {'x=9; ' * 12_000}" if name == "Cookie" else "9" * 60_000
    started = time.process_time()
    answer = bare(browser, "/login", "POST", data=data, headers={name: value})
    assert answer.status_code == 303
    assert time.process_time() - started < 0.5
    held = [value for table in site.tables().values() for row in table for value in row.values()]
    assert max(len(value) for value in held if isinstance(value, str)) < 300


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 60_000, "application/json"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json"),
        (b"9" * 60_000, "application/json"),
        (b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>&a;", "application/xml"),
        (b"a" + b"[a]" * 20_000 + b"=1", URLENCODED),
    ],
)
def test_a_deep_body_is_not_looked_into(site: Site, body: bytes, kind: str) -> None:
    """E47, E49. With a right token in the header, so that only its kind and depth are wrong."""
    visit = arrive(site, "login.password")
    started = time.process_time()
    answer = visit.post(body, content_type=kind, headers={"X-CSRFToken": visit.token})
    assert answer.status_code == 422
    assert time.process_time() - started < 0.5
    assert still_works(site, visit)


# Odd letters ----------------------------------------------------------------------------------------------------------


def _in(first: int) -> Callable[[str], str]:
    return lambda code: "".join(chr(first + int(digit)) for digit in code)


LOOK_ALIKES: dict[str, Callable[[str], str]] = {
    "full width": _in(0xFF10),
    "Arabic": _in(0x0660),
    "Devanagari": _in(0x0966),
    "mathematical": _in(0x1D7CE),
    "superscript": lambda code: code.translate(dict(zip(b"0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))),
    "with a zero-width space": lambda code: code[:3] + "\u200b" + code[3:],
    "from right to left": lambda code: "\u202e" + code[::-1],
    "with a combining mark": lambda code: code + "\u0301",
    "with a NUL": lambda code: code + "\0",
    "as a number": lambda code: f"{code}.0",
    "with a sign": lambda code: f"+{code}",
    "as hexadecimal": lambda code: hex(int(code)),
    "with an underscore": lambda code: code[:3] + "_" + code[3:],
    "twice": lambda code: code * 2,
    "the half": lambda code: code[:3],
}


@pytest.mark.parametrize("endpoint", ["login.code", "login.verify", "enrollment.setup"])
def test_the_right_code_in_other_digits_is_a_slip_and_not_a_try(site: Site, endpoint: str) -> None:
    """E48, TO-11. Six ASCII digits, spaced as people like; whatever else looks like them is not compared."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for name, write in LOOK_ALIKES.items():
        answer = visit.send({**visit.data(), "code": write(visit.right["code"])})
        assert (answer.status, answer.errors) == (422, ["The code has six digits. Check it and try again."]), name
    assert site.tables(Event, Throttle) == before
    assert count(site.app, Throttle, Throttle.key.startswith("one-time code"), Throttle.failures > 0) == 0
    code = visit.right["code"]
    assert visit.send({**visit.data(), "code": f" {code[:3]}-{code[3:]}\u00a0\r\n"}).status == 303


@pytest.mark.parametrize("character", ["\0", "\x01", "\x1b", "\x7f", "\x85", "\u200b", "\u202e", "\ufeff", "\u2028"])
def test_a_character_that_cannot_be_seen_makes_no_second_account(site: Site, character: str) -> None:
    """E48, WEB-24. Neither at the command line nor at the sign-in page, wherever in the address it stands."""
    runner = site.app.test_cli_runner()
    before = site.rows(User)
    for place in (0, 2, 4):
        address = site.omar.email[:place] + character + site.omar.email[place:]
        result = runner.invoke(args=["users", "create", "--password-stdin", "--", address], input=PASSWORD)
        assert result.exit_code == 1, place
        page = Browser(site.app).submit("/login", email=address, password=PASSWORD)
        assert (page.status == 422) or page.text.count(site.omar.email), place
    assert site.rows(User) == before
    assert give_password(Browser(site.app), site.omar).h1 == "Enter your code"


@pytest.mark.parametrize("field", ["email", "password", "csrf_token"])
def test_bytes_that_are_no_text_are_refused_and_the_rest_is_not_looked_at(site: Site, field: str) -> None:
    """E48, WEB-21. Overlong, beyond Unicode, surrogates: not repaired into something that is compared."""
    visit = arrive(site, "login.password")
    before, right = site.tables(Event, Throttle), visit.data()
    others = urlencode({name: value for name, value in right.items() if name != field}).encode()
    for raw in (b"%C0%AF", b"%F5%80%80%80", b"%ED%A0%80", b"%FF", b"%"):
        body = others + b"&" + field.encode() + b"=" + raw + quote(right[field]).encode()
        assert visit.post(body, content_type=URLENCODED).status_code in (400, 422), raw
        unlock_all(site)
    assert site.tables(Event, Throttle) == before
    assert still_works(site, visit)


# Of another kind ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", WITH_FIELDS)
def test_a_value_of_another_kind_is_a_field_left_empty(site: Site, endpoint: str) -> None:
    """E49, TO-11, WEB-18, WEB-21. A list, a file, a JSON document, a number, an index, another encoding."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right:
        data, value = visit.data(), visit.right[field]
        others = {name: other for name, other in data.items() if name != field}
        token = {"X-CSRFToken": data["csrf_token"]}
        for name, kwargs in {
            "missing": {"data": others},
            "a list": {"data": {**others, f"{field}[]": value}},
            "indexed": {"data": {**others, f"{field}[0]": value}},
            "nested": {"data": {**others, f"form[{field}]": value}},
            "upper case": {"data": {**others, field.upper(): value}},
            "with a space": {"data": {**others, f" {field}": value}},
            "after a NUL": {"data": {**others, f"\0{field}": value}},
            "file": {"data": {**others, field: (BytesIO(value.encode()), "right.txt")}},
            "empty first": {"data": {**others, field: ["", value]}},
            "in the address": {"data": others, "query_string": {field: value}},
            "in a cookie": {"data": others, "headers": {"X-" + field.replace("_", "-"): value}},
            "JSON": {"json": visit.right, "headers": token},
            "JSON list": {"json": [visit.right], "headers": token},
            "JSON null": {"json": dict.fromkeys(visit.right), "headers": token},
            "in UTF-16": {"data": urlencode(data).encode("utf-16"), "content_type": URLENCODED, "headers": token},
            "no type": {"data": urlencode(data), "content_type": "", "headers": token},
        }.items():
            answer = bare(visit.browser, visit.path, "POST", **kwargs)
            assert answer.status_code in (400, 422), (field, name)
        assert site.tables(Event, Throttle) == before, field
    assert still_works(site, visit)


# One account ----------------------------------------------------------------------------------------------------------

SAME = {
    "kate@example.com": [
        "\u212aate@example.com",
        "KATE@EXAMPLE.COM",
        "\uff4bate@example.com",
        "  kate@example.com\u3000",
    ],
    "susan@example.com": ["\u017fu\u017fan@example.com", "SUSAN@example.com", "\u24e2usan@example.com"],
    "strasse@example.com": ["stra\u00dfe@example.com", "STRA\u1e9eE@example.com", "\ufb06rasse@example.com"],
    "fiona@example.com": ["\ufb01ona@example.com", "\u2131iona@example.com", "fiona@example\u2024com"],
    "andr\u00e9@example.com": ["andre\u0301@example.com", "ANDR\u00c9@example.com", "ANDRE\u0301@EXAMPLE.COM"],
}
OTHERS = ["k\u0430te@example.com", "kate+1@example.com", "ka.te@example.com", "kat\u0117@example.com"]
NO_ADDRESS = ["ka\u200bte@example.com", "kate\u202e@example.com", "kate@example.com@example.com", "kate @example.com"]


@pytest.mark.parametrize("address", SAME)
def test_no_spelling_of_an_address_makes_another_account_or_another_budget(
    site: Site, clock: Clock, address: str
) -> None:
    """E50, WEB-24, TH-2, TH-6. Refused when added, one person when signing in, one count of failures."""
    runner = site.app.test_cli_runner()
    assert runner.invoke(args=["users", "create", address, "--password-stdin"], input=PASSWORD).exit_code == 0
    people = site.rows(User)
    for spelling in SAME[address]:
        result = runner.invoke(
            args=["users", "create", spelling, "--password-stdin"], input="a hill, a cart and an owl"
        )
        assert (result.exit_code, result.stderr) == (1, f"Error: {address} is here already.\n"), spelling
        assert give_password(Browser(site.app), Person(spelling, clock)).h1 == "Set up your authenticator app"
    assert site.rows(User) == people
    spellings = (SAME[address] * 2)[:5]
    for spelling in spellings:
        assert Browser(site.app).submit("/login", email=spelling, password="a guess").status == 422
    assert give_password(Browser(site.app), Person(address, clock)).status == 429
    clock.pass_by(30)
    assert give_password(Browser(site.app), Person(address, clock)).h1 == "Set up your authenticator app"


@pytest.mark.parametrize("other", OTHERS)
def test_an_address_that_only_looks_alike_is_somebody_else(site: Site, clock: Clock, other: str) -> None:
    """E50, WEB-24. It has nothing of the first: no password, no failures, no events."""
    kate, twin = (
        site.person("kate@example.com", enrolled=False),
        Person(other, clock, password="a hill, a cart and an owl"),
    )
    for _ in range(5):
        assert give_password(Browser(site.app), Person(other, clock)).status == 422
    assert give_password(Browser(site.app), twin).status == 429
    assert give_password(Browser(site.app), kate).h1 == "Set up your authenticator app"
    runner = site.app.test_cli_runner()
    assert runner.invoke(args=["users", "create", other, "--password-stdin"], input=twin.password).exit_code == 0
    clock.pass_by(30)
    page = give_password(Browser(site.app), twin)
    assert other in page.text
    assert kate.email not in page.text


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_address_makes_no_account(site: Site, address: str) -> None:
    """E50, WEB-24. A hidden letter, two signs, a space inside."""
    result = site.app.test_cli_runner().invoke(args=["users", "create", address, "--password-stdin"], input=PASSWORD)
    assert (result.exit_code, "in the form name@example.com" in result.stderr) == (1, True)
    assert count(site.app, User) == 2


# In the words of a database -------------------------------------------------------------------------------------------

SQL = [
    "' OR 1=1--",
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE user; --",
    "\\' UNION SELECT password_hash FROM user --",
    "'||(SELECT email FROM user LIMIT 1)||'",
    "%",
    "_" * 24,
    "*@*.*",
    "'or/**/1=1--@example.com",
    "%@example.com",
    "omar@example.co_",
    "$$; SELECT pg_sleep(9); --",
    "%s %(x)s ? :1 $1",
]


@pytest.mark.parametrize("endpoint", WITH_FIELDS)
def test_the_words_of_a_database_are_text_in_every_field(site: Site, endpoint: str) -> None:
    """E51, WEB-22, RC-16. Wrong like any other wrong value, and nothing is read, matched or dropped by them."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right:
        for text in SQL if field != "new_password" else ["'; --", "%", "_"]:
            assert refuses(site, visit, {field: text}), (field, text)
    assert site.tables(Event, Throttle) == before
    assert still_works(site, visit)


def test_the_words_of_a_database_are_text_in_every_address_and_reason(site: Site) -> None:
    """E51, WEB-22. Pages of lists, ids in paths and queries, and the reason that admins give."""
    admin = Browser(site.app)
    sign_in(admin, site.ines)
    before = site.tables(Event)
    for text in SQL:
        typed = quote(text, safe="")
        assert "omar@example.com" in admin.get(f"/admin/audit?person={typed}&before={typed}").text
        for path in (f"/admin/people?after={typed}", f"/account/activity?before={typed}", f"/login?next={typed}"):
            assert admin.get(path).status == 200
        for path in (f"/welcome/{typed}", f"/admin/people/{typed}/reset-mfa", f"/account/sessions/{typed}/revoke"):
            assert admin.open(path).status in (404, 405)
    assert site.tables(Event) == before
    people = "/admin/people?after=%25"
    assert [email in admin.get(people).text for email in ("ines@example.com", "omar@example.com")] == [True, True]
    assert "omar@example.com" not in admin.get("/admin/people?after=omar@example.com").text
    page = admin.submit(f"/admin/people/{site.id_of(site.omar)}/reset-mfa", reason=SQL[3])
    assert page.h1 == "Hand over this link"
    assert [row["detail"] for row in site.rows(Event) if row["kind"] == Kind.MFA_RESET] == [SQL[3]]


def test_an_address_full_of_wildcards_is_one_person(site: Site, clock: Clock) -> None:
    """E51, RC-16. What is forgotten for it is forgotten for nobody else."""
    wild = site.person("%_a_@example.com")
    for person in (site.omar, wild):
        for _ in range(5):
            Browser(site.app).submit("/login", email=person.email, password="a guess")
        assert give_password(Browser(site.app), person).status == 429
    acts.unlock(site.app, wild.email)
    assert give_password(Browser(site.app), wild).h1 == "Enter your code"
    assert give_password(Browser(site.app), site.omar).status == 429


ODD_IDS = ["0", "-1", "1e3", "0x1", "1.0", "%2B1", "NaN", "null", "%00", "1%00"]
HUGE_IDS = [str(2**bits + more) for bits in (31, 63, 64) for more in (-1, 0)]


def test_an_id_that_no_row_has_is_no_page(site: Site) -> None:
    """E51, WEB-21. Larger than a database holds, negative, no number: 404 in a path, and no filter in a query."""
    admin = Browser(site.app)
    data = {"csrf_token": sign_in(admin, site.ines).forms[0].fields["csrf_token"]}
    before, real = site.tables(), site.id_of(site.ines)
    for ident in [*ODD_IDS, *HUGE_IDS, str(10**30), "9" * 5000]:
        for path, method in (
            (f"/account/sessions/{ident}/revoke", "POST"),
            (f"/admin/people/{ident}/invite", "POST"),
            (f"/admin/people/{ident}/deactivate", "POST"),
            (f"/admin/people/{ident}/reset-mfa", "GET"),
        ):
            assert bare(admin, path, method, data=data if method == "POST" else None).status_code == 404, path
        for path in (f"/admin/audit?before={ident}", f"/account/activity?before={ident}"):
            assert bare(admin, path, "GET").status_code == 200
    assert site.tables() == before
    assert admin.open(f"/admin/people/{real}/invite", "POST", data=data).status == 200


# Columns that no form has ---------------------------------------------------------------------------------------------

MARK = "987654321"
CHANGED_USER = {
    "account.password": {"password_hash", "password_changed_at"},
    "account.welcome": {"password_hash", "password_changed_at"},
    "admin.reset_mfa": {"password_hash"},
    "admin.change": {"is_active"},
}


@pytest.mark.parametrize("endpoint", FORMS)
def test_no_form_fills_a_column_it_does_not_have(site: Site, endpoint: str) -> None:
    """E52, WEB-17, RC-12. Every column of every table, sent along with what is right, in the body and the address."""
    visit = arrive(site, endpoint)
    fields = [field for table in TABLES for field in table._meta.sorted_fields]
    names = {
        name for field in fields for name in (field.name, field.column_name, f"{field.model.__name__}.{field.name}")
    }
    names |= {
        "role",
        "admin",
        "mfa",
        "mfa_verified",
        "second_factor",
        "step",
        "email_verified",
        "RECOVERY_CODES_ENABLED",
    }
    names -= {*visit.right, "csrf_token"}
    assert {"is_admin", "user_id", "retired_at", "last_step", "verified_at", "paused_until"} <= names
    extras = dict.fromkeys(names, MARK) | {"is_active": "", "password_hash": ""}
    before = {row["id"]: row for row in site.rows(User)}
    answer = visit.post({**extras, **visit.data()}, query_string=extras)
    assert answer.status_code in (200, 303)
    assert MARK not in repr(site.tables())
    changed = {name for row in site.rows(User) for name in row if row[name] != before[row["id"]][name]}
    assert changed == CHANGED_USER.get(endpoint, set())
    if endpoint == "recovery.challenge":
        assert count(site.app, RecoveryCode, RecoveryCode.retired_at.is_null(False)) == 0
    assert Kind.ADMIN_MADE not in kinds(site.app)
