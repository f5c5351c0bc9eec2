"""What tests of one's own pages are given: a client that is signed in, as a person signs in."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask_login import current_user
from peewee import OperationalError

import testing
from app import create_app
from blueprints import access
from models import Session, TotpAuthenticator, User
from tests.support import acts
from tests.support.apps import KEY, ROOT
from tests.support.people import Clock
from tests.support.tables import kinds, rows

MAYA = "maya@example.com"
Make = Callable[..., Flask]


@pytest.fixture
def app(app: Flask) -> Flask:
    """With a page of one's own, one for a group, and one that asks who one is."""
    app.add_url_rule("/hello", "hello", lambda: f"Hello {current_user.email}", methods=["GET", "POST"])
    app.add_url_rule("/ops", "ops", access.group_required("ops")(lambda: "for ops"))
    app.add_url_rule("/safe", "safe", access.step_up_required(lambda: "safe"))
    return app


def test_somebody_new_is_added_and_signed_in(app: Flask) -> None:
    client = testing.signed_in(app, " Maya@Example.com")
    assert client.get("/hello").text == "Hello maya@example.com"
    assert client.get("/safe").text == "safe", "past the second factor"
    assert client.get("/account").status_code == 200
    assert client.get("/admin/people").status_code == 403
    assert kinds(app)[-1] == "signed_in"


def test_its_session_is_one_like_those_of_pages(app: Flask, clock: Clock) -> None:
    """A row of the person, with a second factor that is there; it ends as others do."""
    client = testing.signed_in(app, MAYA)
    (session,), (user,), (authenticator,) = rows(app, Session), rows(app, User), rows(app, TotpAuthenticator)
    assert (session["step"], session["second_factor"], session["verified_at"]) == ("signed_in", "totp", clock.now)
    assert session["user"] == user["id"] == authenticator["user"]
    assert user["last_sign_in_at"] == clock.now
    clock.pass_by(3601)
    assert client.get("/hello").status_code == 303
    client = testing.signed_in(app, MAYA)
    assert client.get("/hello").status_code == 200
    acts.deactivate(app, MAYA)
    assert client.get("/hello").status_code == 303
    with pytest.raises(ValueError, match="is deactivated, so that"):
        testing.signed_in(app, MAYA)


def test_a_form_needs_its_token(app: Flask) -> None:
    client = testing.signed_in(app, MAYA)
    assert client.post("/hello").status_code == 400
    assert client.post("/hello", data={"csrf_token": testing.signed_in(app, MAYA).csrf}).status_code == 400
    assert client.post("/hello", data={"csrf_token": client.csrf}).status_code == 200
    assert client.post("/hello", headers={"X-CSRFToken": client.csrf}).status_code == 200
    assert client.post("/logout", data={"csrf_token": client.csrf}, follow_redirects=True).status_code == 200
    assert client.get("/hello").status_code == 303


def test_somebody_who_is_here_has_the_role_and_the_groups_that_are_asked_for(app: Flask) -> None:
    """Also the last admin, and whoever is signed in already."""
    first = testing.signed_in(app, MAYA, admin=True, groups=["ops"])
    assert [first.get(path).status_code for path in ("/admin/people", "/ops")] == [200, 200]
    second = testing.signed_in(app, MAYA)
    for client in (first, second):
        assert [client.get(path).status_code for path in ("/admin/people", "/ops", "/hello")] == [403, 403, 200]
    assert testing.signed_in(app, "omar@example.com", groups=("ops", "night-shift")).get("/ops").text == "for ops"
    assert len(rows(app, TotpAuthenticator)) == len(rows(app, User)) == 2


def test_groups_may_be_one_text_as_on_the_page(app: Flask) -> None:
    assert testing.signed_in(app, MAYA, groups="ops").get("/ops").text == "for ops"
    testing.signed_in(app, MAYA, groups="wiki, ops")
    assert rows(app, User)[0]["groups"] == "ops,wiki"


@pytest.mark.parametrize("site_url", ["https://notices.example.org", "http://localhost:5000", "http://127.0.0.1"])
def test_it_asks_where_the_site_is(make_app: Make, site_url: str) -> None:
    app = make_app("there", SITE_URL=site_url)
    app.add_url_rule("/hello", "hello", lambda: "hello", methods=["GET", "POST"])
    client = testing.signed_in(app, MAYA)
    assert client.get("/").location == "/account"
    assert client.get("/", follow_redirects=True).status_code == 200
    assert client.post("/hello", data={"csrf_token": client.csrf}).text == "hello"


@pytest.mark.parametrize(
    ("email", "groups", "said"),
    [
        ("maya", (), "'maya' is not an email address"),
        (MAYA, ["Ops!"], "can't be called"),
        (MAYA, ["admins"], "Leave out"),
    ],
)
def test_what_nobody_could_be_is_said(app: Flask, email: str, groups: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        testing.signed_in(app, email, groups=groups)


def test_it_says_so_when_the_tables_are_missing(make_app: Make, database_url: Callable[..., str]) -> None:
    app = make_app(DATABASE_URL=database_url("bare", tables=False))
    with pytest.raises(OperationalError, match="run flask db upgrade"):
        testing.signed_in(app, MAYA)
    app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert testing.signed_in(app, MAYA).get("/account").status_code == 200


def test_nobody_is_signed_in_so_outside_of_tests(migrated: Path) -> None:
    app = create_app({"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{migrated}"})
    with pytest.raises(RuntimeError, match=r'make the app with \{"TESTING": True\}'):
        testing.signed_in(app, MAYA)
    assert rows(app, Session) == []


def test_nothing_but_tests_imports_it() -> None:
    def imports_it(path: Path) -> bool:
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        named = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", "") for node in nodes}
        return "testing" in named or "import_module" in path.read_text()

    folders = ("authn", "benchmarks", "blueprints", "docs", "examples", "flows", "migrations", "tests")
    paths = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    importing = {str(path.relative_to(ROOT)) for path in paths if imports_it(path)}
    assert "tests/test_testing.py" in importing
    assert {name for name in importing if not Path(name).name.startswith("test_")} == set()
