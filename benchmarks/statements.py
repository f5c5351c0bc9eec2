"""How many SQL statements each step says, BEGIN and COMMIT among them, and how many come before a page's own."""

import logging
import re
from collections.abc import Iterator
from functools import wraps
from threading import Thread
from typing import Any

from werkzeug.serving import make_server

from authn import totp
from benchmarks.closed_page import OWN
from benchmarks.figures import Row
from benchmarks.sites import PASSWORD, Person, Site
from benchmarks.visitor import Answer, Visitor, options_in


def count(site: Site) -> list[Row]:
    """As one thread of this process says them, which has one connection to the database."""
    said, before = list[str](), list[int]()
    with site.app.app_context():
        site.app.extensions["store"].database.connection().set_trace_callback(said.append)
    view = site.app.view_functions["account.overview"]

    @wraps(view)
    def watched() -> Any:
        before.append(len(said))
        return view()

    site.app.view_functions["account.overview"] = watched
    site.app.add_url_rule("/ok", "ok", lambda: "ok")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, site.app)
    site.port, counted = server.port, dict[str, int]()
    Thread(target=server.serve_forever, daemon=True).start()
    for step, answer in _flow(site):
        if answer.status >= 400:
            raise RuntimeError(f"{step}: {answer}")
        counted[step] = len(said)
        said.clear()
    server.shutdown()
    before_a_page = Row("SQL statements before a signed-in page's own", before[0], promise="<= 1")
    promises = {OWN: "<= 1"}
    rows = [Row(f"SQL statements, {step}", number, promise=promises.get(step, "")) for step, number in counted.items()]
    return [before_a_page, *rows]


def _flow(site: Site) -> Iterator[tuple[str, Answer]]:
    """Signing in with the app; with a key; then with the recovery code, and a new app."""
    person, visitor = next(site.people), Visitor(site.port)
    yield "GET /login", visitor.get("/login")
    yield "POST /login", visitor.post("/login", email=person.email, password=PASSWORD)
    yield "GET /login/code", visitor.get("/login/code")
    yield "POST /login/code", visitor.post("/login/code", code=person.code())
    yield "GET /account", visitor.get("/account")
    yield OWN, visitor.get("/ok")
    person, visitor = next(site.people), Visitor(site.port)
    key = site.give_key(person)
    visitor.get("/login")
    yield "POST /login", visitor.post("/login", email=person.email, password=PASSWORD)  # counted again below
    page = visitor.get("/login/key")
    yield "GET /login/key", page
    yield "POST /login/key", visitor.post("/login/key", answer=key.get(options_in(page.body)))
    person, visitor = next(site.people), Visitor(site.port)
    visitor.get("/login")
    yield "POST /login", visitor.post("/login", email=person.email, password=PASSWORD)
    yield "GET /login/recovery", visitor.get("/login/recovery")
    yield "POST /login/recovery", visitor.post("/login/recovery", recovery_code=person.recovery_code)
    yield "GET /mfa/recovery-code", visitor.get("/mfa/recovery-code")
    yield "POST /mfa/recovery-code", visitor.post("/mfa/recovery-code", saved="yes")
    yield "GET /mfa/lost-device", visitor.get("/mfa/lost-device")
    yield "POST /mfa/lost-device", visitor.post("/mfa/lost-device", still_have="no")
    page = visitor.get("/mfa/setup")
    yield "GET /mfa/setup", page
    key = re.findall('id="setup-key">(.*?)<', page.body)[0]
    yield "POST /mfa/setup", visitor.post("/mfa/setup", code=Person("", totp.read_setup_key(key) or b"", "").code())
