"""Too much of anything, in a body, a field or a header, is refused in no time."""

import time
from io import BytesIO
from urllib.parse import urlencode

import pytest

from models import Event, Throttle
from tests.support.apps import few_of
from tests.support.forms import FORMS, URLENCODED, WITH_FIELDS, Site, arrive, bare, refuses, still_works
from tests.support.pages import Browser
from tests.support.people import PASSWORD

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


@pytest.mark.parametrize("endpoint", few_of(FORMS, "login.password", "account.welcome"))
def test_a_body_that_is_too_large_is_dropped_unread(site: Site, endpoint: str) -> None:
    """On every form; said to be long, or sent in chunks without a length."""
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
    """A server that ends the stream itself passes on bodies of unknown length."""
    visit = arrive(site, endpoint)
    right = urlencode(visit.data()).encode()

    def send(body: BytesIO) -> int:
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        where = {"content_type": URLENCODED, "environ_overrides": environ}
        return int(visit.browser.client.post(visit.path, input_stream=body, **where).status_code)

    more = b"x=" + b"9" * 10_000_000
    for body in (more + b"&" + right, right + b"&" + more):
        endless = BytesIO(body)
        assert send(endless) == 413, "and not cut where the limit is"
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


@pytest.mark.parametrize(
    "endpoint", few_of([name for name in WITH_FIELDS if name != "demo.phone"], "login.password", "recovery.challenge")
)  # any letters are a key
def test_a_long_value_in_any_field_is_refused_in_no_time(site: Site, endpoint: str) -> None:
    """Just under the limit of a body; a password of any length costs one hash."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for field in visit.right:
        for name, flood in FLOODS.items():
            if name == "spaces" and field in ("name", "groups"):  # it is what is left of it
                continue
            started = time.process_time()
            assert refuses(site, visit, {field: flood}), name
            assert time.process_time() - started < 0.5, (field, name)
    assert site.tables(Event, Throttle) == before
    assert still_works(site, visit)


@pytest.mark.parametrize("text", ["ab" * 2_000, "\u0301\u0323" * 2_000, "\u1e9ex" * 2_048, "correct horse " * 290])
def test_the_longest_password_is_chosen_and_typed_in_no_time(site: Site, text: str) -> None:
    """Looking for what it is made of does not take longer the longer it is."""
    visit = arrive(site, "account.password")
    started = time.process_time()
    assert visit.send({**visit.data(), "new_password": text}).status == 303
    browser = Browser(site.app)
    assert browser.submit("/login", email=site.omar.email, password=text[:-1]).status == 422
    assert browser.submit("/login", email=site.omar.email, password=text).h1 == "Enter your code"
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["Cookie", "User-Agent", "Referer", "X-CSRFToken", "Accept-Language", "If-None-Match"])
def test_a_long_header_is_no_hindrance(site: Site, name: str) -> None:
    """Nor does it cost anything, or end up in a table at its full length."""
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
    """With a right token in the header, so that only its kind and depth are wrong."""
    visit = arrive(site, "login.password")
    started = time.process_time()
    answer = visit.post(body, content_type=kind, headers={"X-CSRFToken": visit.token})
    assert answer.status_code == 422
    assert time.process_time() - started < 0.5
    assert still_works(site, visit)
