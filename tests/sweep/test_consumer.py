"""An app that nobody here wrote, which signs people in by the header: Flask-AppBuilder, in an environment of its own,
behind nginx as docs/operations.md has it."""

import os
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apps import ROOT
from tests.support.gates import ACCOUNTS, WIKI
from tests.support.proxies import Gate, guarded, required, running

APP = """
import sys
from flask import Flask
from flask_appbuilder import AppBuilder
from flask_appbuilder.security.manager import AUTH_REMOTE_USER
from flask_appbuilder.utils.legacy import get_sqla_class

app = Flask(__name__)
app.config.update(
    SECRET_KEY="only-for-tests", SQLALCHEMY_DATABASE_URI="sqlite://", AUTH_TYPE=AUTH_REMOTE_USER,
    AUTH_REMOTE_USER_ENV_VAR="HTTP_REMOTE_USER", AUTH_USER_REGISTRATION=True, AUTH_USER_REGISTRATION_ROLE="Public",
)
database = get_sqla_class()()
with app.app_context():
    database.init_app(app)
    appbuilder = AppBuilder(app, database.session)

@app.get("/who")
def who():
    from flask import g
    return (g.user.username if g.user.is_authenticated else "nobody"), {"Content-Type": "text/plain"}

app.run(port=int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that app is installed."""
    required("nginx")
    folder = tmp_path_factory.mktemp("appbuilder")
    venv.create(folder, with_pip=True)
    command = [folder / "bin" / "pip", "install", "--quiet", "-r", ROOT / "tests" / "support" / "appbuilder.txt"]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"could not be installed: {installed.stderr[-300:]}")
    return folder / "bin" / "python"


@pytest.fixture
def gate(python: Path, migrated: Path, tmp_path: Path, port: int) -> Iterator[Gate]:
    (tmp_path / "consumer.py").write_text(APP)
    with running([str(python), str(tmp_path / "consumer.py"), str(port)], tmp_path, port):
        with guarded("nginx", migrated, tmp_path, wiki_port=port) as gate:
            yield gate


def test_it_signs_in_whom_the_proxy_names_and_nobody_else(gate: Gate) -> None:
    omar, ines = gate.person("omar@example.com"), gate.person("ines@example.com")
    window = gate.inside(omar, f"{WIKI}/who")
    assert window.ask(f"{WIKI}/who").body == b"nobody", "before it is asked to sign in"
    spoofed = {"Remote-User": ines.email, "Remote_User": ines.email}
    for _ in range(2):
        answer = window.ask(f"{WIKI}/login/", **spoofed)
        window.keep("wiki.example.org", answer.headers)
        assert answer.status_code == 302
        assert window.ask(f"{WIKI}/who").body == omar.email.encode()
    window.press(window.get(f"{ACCOUNTS}/account"), "Sign out")
    assert window.ask(f"{WIKI}/who", **{"Sec-Fetch-Mode": "cors"}).status_code == 401, "its own session is of no use"
