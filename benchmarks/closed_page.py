"""A closed page of one's own that says "ok", beside a bare one and one that a Flask developer closes by hand, with
Flask-Login and a pooled Peewee look-up. By Flask's test client, so that no server blurs what the page itself takes."""

import time
from functools import partial
from statistics import median
from typing import Any

import peewee
from flask import Flask
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, login_required, login_user

from benchmarks.figures import Row
from benchmarks.sites import Site
from database import connect_database
from flows import demo
from flows.transactions import Context
from models import User

OWN, BARE, BY_HAND = "a closed page of your own", "bare Flask", "Flask-Login, Peewee"


def measure(site: Site, turns: int) -> list[Row]:
    clients = {OWN: _own(site), BARE: _bare().test_client(), BY_HAND: _by_hand(site.settings).test_client()}
    clients[BY_HAND].get("/sign-in")
    took = {name: list[float]() for name in clients}
    for _ in range(turns):
        for name, client in clients.items():
            started = time.perf_counter()
            answer = client.get("/ok")
            took[name].append(time.perf_counter() - started)
            if answer.text != "ok":
                raise RuntimeError(f"{name}: {answer.status}")
    own, bare, by_hand = (median(times) * 1000 for times in took.values())
    row = partial(Row, OWN, own, "ms")
    return [row(bare, BARE, "<= 3"), row(by_hand, BY_HAND, "<= 1.1")]


def _own(site: Site) -> FlaskClient:
    site.app.add_url_rule("/ok", "ok", lambda: "ok")
    with site.app.app_context():
        user = User.find(next(site.people).email)
        token = demo.sign_in(user, Context(int(time.time()), "127.0.0.1"), is_admin=False).token
    client = site.app.test_client()
    client.set_cookie("session", site.cookie(token))
    return client


def _bare() -> Flask:
    app = Flask("bare")
    app.add_url_rule("/ok", "ok", lambda: "ok")
    return app


def _by_hand(settings: dict[str, str]) -> Flask:
    """As the documentation of both libraries has it."""
    app, database = Flask("by_hand"), connect_database(settings["DATABASE_URL"])
    app.config["SECRET_KEY"] = settings["SECRET_KEY"]
    manager = LoginManager(app)

    class User(UserMixin, peewee.Model):  # type: ignore[misc]
        email = peewee.CharField(unique=True)
        password_hash = peewee.CharField(null=True)
        is_active = peewee.BooleanField()
        is_admin = peewee.BooleanField()
        created_at = peewee.BigIntegerField()

    database.bind([User])
    app.before_request(lambda: database.connect() and None)
    app.teardown_request(lambda _error: database.close() and None)
    manager.user_loader(lambda ident: User.get_or_none(User.id == int(ident)))

    @app.get("/sign-in")
    def sign_in() -> str:
        login_user(User.get())
        return "ok"

    @app.get("/ok")
    @login_required  # type: ignore[untyped-decorator]
    def page() -> Any:
        return "ok"

    return app
