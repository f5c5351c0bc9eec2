"""For tests of your own pages: a client that is signed in. Only tests may import it."""

from collections.abc import Iterable
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from flask_wtf.csrf import generate_csrf
from werkzeug.test import TestResponse

from authn import email_addresses
from authn.groups import split
from blueprints.messages import explain
from database import check_migrations
from flows import demo, people
from flows.transactions import Context
from models import Session, User


class SignedInClient(FlaskClient):
    """Flask's test client, with somebody's session, at the address that SITE_URL names."""

    @property
    def csrf(self) -> str:
        """What a form of theirs sends as csrf_token."""
        config = self.application.config
        name, host = config["SESSION_COOKIE_NAME"], urlsplit(config["SITE_URL"]).hostname or ""
        cookie = self.get_cookie(name, host)
        headers = {"Cookie": f"{name}={cookie.value}"} if cookie else {}
        with self.application.test_request_context(base_url=config["SITE_URL"], headers=headers):
            return str(generate_csrf())

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if args and isinstance(args[0], str):
            kwargs.setdefault("base_url", self.application.config["SITE_URL"])
        return super().open(*args, **kwargs)


def signed_in(app: Flask, email: str, admin: bool = False, groups: Iterable[str] = ()) -> SignedInClient:
    """Return a client signed in as this person, past the second factor, whose role and groups are these from now on.
    Somebody who is not here yet is added. RuntimeError for an app that was made without TESTING; ValueError for an
    address or a group that can be none, and for somebody deactivated."""
    if not app.testing:
        raise RuntimeError('testing.signed_in is for tests alone: make the app with {"TESTING": True}.')
    address = email_addresses.fold(email)
    if address is None:
        raise ValueError(f"{email!r} is not an email address.")
    with app.app_context():
        session = _session(address, admin, groups, Context(int(app.config["CLOCK"]()), "127.0.0.1", "a test"))
    client = SignedInClient(app, app.response_class)
    with client.session_transaction(base_url=app.config["SITE_URL"]) as cookie:
        cookie["token"], cookie["csrf_token"] = session.token, token_hex()
    return client


def _session(address: str, admin: bool, groups: Iterable[str], context: Context) -> Session:
    check_migrations()
    people.add(address, None, context)  # or the person is here already
    user = User.get(User.email == address)
    if not user.is_active:
        raise ValueError(f"{address} is deactivated, so that nobody signs in as them.")
    names = split(groups) if isinstance(groups, str) else groups
    if refusal := people.set_groups(user, names, context):
        raise ValueError(explain(refusal))
    return demo.sign_in(user, context, is_admin=admin)
