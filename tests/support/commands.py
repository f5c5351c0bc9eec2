"""The flask commands, and the one line that each of them says."""

import json
import re

from click.testing import Result
from flask import Flask

from models import Event


def run(app: Flask, *args: str, typed: str | None = None) -> Result:
    return app.test_cli_runner().invoke(args=args, input=typed)


def said(result: Result) -> str:
    """The one line that a command says when it has done its work."""
    assert result.exit_code == 0, result.output
    return one_line(result.stdout)


def refusal(result: Result) -> str:
    """The one line on stderr, and nothing else, of a command that has not."""
    assert (result.exit_code, result.stdout) == (1, ""), repr(result.exception)
    return one_line(result.stderr).removeprefix("Error: ")


def one_line(text: str) -> str:
    assert re.fullmatch(r".+\.\n", text), text
    return text.rstrip("\n")


def command(app: Flask, *args: str) -> str:
    result = app.test_cli_runner().invoke(args=list(args))
    assert result.exit_code == 0, result.output
    return str(result.stdout).strip()


def link(app: Flask, *command: str) -> str:
    result = app.test_cli_runner().invoke(args=["users", *command])
    assert result.exit_code == 0, result.output
    url = result.stdout.split()[-1]
    assert url.startswith(f"{app.config['SITE_URL']}/welcome/")
    return url.removeprefix(app.config["SITE_URL"])


def people(app: Flask) -> list[dict[str, object]]:
    result = run(app, "users", "list", "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def actors(app: Flask) -> set[str]:
    with app.app_context():
        return {event.actor for event in Event.select()}
