"""All that ends sessions, frees codes or spends them, about to happen to one person at one moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count as numbers

from flask import Flask

from database import store
from models import RecoveryCode, Session
from tests.support import acts
from tests.support.pages import Browser, Page, csrf
from tests.support.people import (
    NEW_PASSWORD,
    Person,
    half,
    save_new_code,
    sign_in,
    use_recovery_code,
)
from tests.support.races import at_once
from tests.support.tables import count, forget_failures, ids, update

Send = Callable[[], Page]
NETWORKS = numbers(1)

LINGER = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.005); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER linger BEFORE UPDATE OR DELETE ON session FOR EACH ROW EXECUTE FUNCTION linger();
CREATE TRIGGER linger BEFORE UPDATE OR DELETE ON enrollment FOR EACH ROW EXECUTE FUNCTION linger();
CREATE TRIGGER linger BEFORE UPDATE OR DELETE ON recovery_code FOR EACH ROW EXECUTE FUNCTION linger();
"""


@contextmanager
def lingering(app: Flask) -> Iterator[None]:
    """On PostgreSQL let who changes a session, a setup or a code hold it for a moment before the next one, so that
    those who take them in different orders do meet."""
    _on_postgresql(app, LINGER)
    try:
        yield
    finally:
        _on_postgresql(app, "DROP FUNCTION linger CASCADE")


def somewhere(app: Flask) -> Browser:
    """A browser in a network of its own: one network has few places in the line for hashing."""
    return Browser(app, f"2001:db8:0:{next(NETWORKS):x}::1")


def button(browser: Browser, path: str, ending: str) -> Send:
    """Press the button of the page whose form goes to a path with this ending."""
    form = next(form for form in browser.get(path).forms if form.action.endswith(ending))
    return partial(browser.open, form.action, method="POST", data=form.fields)


def form(browser: Browser, path: str, **typed: str) -> Send:
    return partial(browser.send, browser.get(path), typed)


class Owner:
    """Somebody whose browsers have come in with one recovery code after another, which their sessions still hold: three
    of them are over, two have typed the last code or are about to, and five are signed in."""

    def __init__(self, app: Flask, person: Person) -> None:
        self.app, self.person = app, person
        for _ in range(3):
            self.recover()
        self.over = sessions_of(app, person)
        self.signed_in = [self.recover() for _ in range(4)]
        self.claiming, self.changing = somewhere(app), somewhere(app)
        self.claimed, self.late = use_recovery_code(self.claiming, person), half(app, person)
        sign_in(self.changing, person)

    def recover(self) -> Browser:
        browser = somewhere(self.app)
        page = save_new_code(browser, use_recovery_code(browser, self.person), self.person)
        assert browser.submit(page, still_have="yes").h1 == "Security"
        return browser

    def ends(self) -> list[Send]:
        link = acts.invite(self.app, self.person.email)
        old = self.person.password
        return [
            button(self.signed_in[0], "/account", "/revoke-others"),
            button(self.signed_in[1], "/account", "/revoke"),
            button(self.signed_in[2], "/account", "/logout"),
            form(self.changing, "/account/password", current_password=old, new_password=NEW_PASSWORD),
            partial(self.signed_in[3].open, "/account"),
            partial(self.claiming.send, self.claimed, {"saved": "yes"}),
            form(self.late, "/login/recovery", recovery_code=self.person.recovery_code or ""),
            form(somewhere(self.app), link, new_password=NEW_PASSWORD),
        ]


def by_an_admin(admin: Browser, user_id: int) -> list[Send]:
    return [
        partial(
            admin.copy().open, f"/admin/people/{user_id}/deactivate", method="POST", data=csrf(admin.get("/verify"))
        ),
        form(admin.copy(), f"/admin/people/{user_id}/reset-mfa", reason="lost"),
    ]


def end_all_at_once(app: Flask, people: list[Person], admin: Person, others: list[Person]) -> list[Page]:
    """Do all of it to all of these people at one moment, while the others sign in, which sweeps what is over. Nobody's
    session is left then, and no code is claimed."""
    owners, by = [Owner(app, person) for person in people], somewhere(app)
    sign_in(by, admin)
    admin.clock.pass_by(60)  # so that each of the requests notes that the person is active
    sends = [send for owner in owners for send in owner.ends()]
    sends += [send for person in people for send in by_an_admin(by, ids(app)[person.email])]
    sends += [form(somewhere(app), "/login", email=other.email, password=other.password) for other in others]
    update(app, Session.last_seen_at, 0, Session.id.in_([session for owner in owners for session in owner.over]))
    with lingering(app):
        pages = at_once(sends)
    assert [sessions_of(app, person) for person in people] == [[] for _ in people]
    assert count(app, RecoveryCode, RecoveryCode.claimed_by.is_null(False)) == 0
    forget_failures(app)
    return pages


def sessions_of(app: Flask, person: Person) -> list[int]:
    with app.app_context():
        return [row.id for row in Session.select().where(Session.user == acts.user_of(person.email))]


def _on_postgresql(app: Flask, statement: str) -> None:
    with app.app_context():
        if store().database.for_update:
            store().database.execute_sql(statement)
