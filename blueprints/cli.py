"""The flask commands. One sentence out; a failure is one sentence on stderr and exits non-zero."""

import sys
from json import dumps
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup

from authn import email_addresses, passwords
from blueprints import signin
from models import Setting, User
from store import upgrade

db = AppGroup("db", help="The database.")
users = AppGroup("users", help="People.")
codes = AppGroup("recovery-codes", help="The switch for recovery codes.")


@db.command("upgrade", help="Bring the tables up to date. Safe to run again, and from several machines at once.")
def upgrade_command() -> None:
    applied = upgrade(str(Path(current_app.root_path) / "migrations"))
    click.echo(f"Applied {', '.join(applied)}." if applied else "The database is up to date.")


@users.command("create", help="Add a person. Asks for the password.")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Let the person use the admin pages.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create_user(email: str, admin: bool, password_stdin: bool) -> None:
    address = email_addresses.fold(email)
    if address is None:
        raise click.ClickException("Give an email address in the form name@example.com.")
    if password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    site, (name, _, host) = current_app.config["SITE_NAME"], address.partition("@")
    try:
        passwords.check_choice(
            password, current_app.config["PASSWORD_MIN_LENGTH"], (site, address, name, host, host.partition(".")[0])
        )
    except passwords.Refused as refused:
        raise click.ClickException(str(refused)) from None
    if User.add(address, password, signin.act_of_command_line(), is_admin=admin) is None:
        raise click.ClickException(f"{address} is here already.")
    click.echo(f"Added {address}{' as an admin' if admin else ''}. They set up an authenticator app when they sign in.")


@users.command("list", help="Everybody here, with what they sign in with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_users(as_json: bool) -> None:
    for person in User.overview():
        if as_json:
            click.echo(dumps(person))
            continue
        app = "authenticator app on" if person["enrolled"] else "not enrolled"
        code = "recovery code saved" if person["recovery_code_saved"] else "no recovery code saved"
        role = "admin" if person["admin"] else "person"
        state = "" if person["active"] else ", deactivated"
        click.echo(f"{person['email']}  {role}, {app}, {code}{state}")


@codes.command("enable", help="Show the prompt at enrollment and accept codes.")
def enable_codes() -> None:
    _switch(True)


@codes.command("disable", help="Hide the prompt and refuse codes. Codes are kept.")
def disable_codes() -> None:
    _switch(False)


@codes.command("status", help="Whether recovery codes are on, and what decides it.")
def codes_status() -> None:
    click.echo(f"Recovery codes are {'on' if signin.recovery_codes_on() else 'off'}, {_decided_by()}.")


def _switch(on: bool) -> None:
    if current_app.config["RECOVERY_CODES_ENABLED"] is not None:
        raise click.ClickException("RECOVERY_CODES_ENABLED in the configuration decides. Change it there.")
    Setting.switch_recovery_codes(on, signin.act_of_command_line())
    click.echo(f"Recovery codes are {'on' if on else 'off'}.")


def _decided_by() -> str:
    fixed = current_app.config["RECOVERY_CODES_ENABLED"] is not None
    return "fixed by RECOVERY_CODES_ENABLED in the configuration" if fixed else "as the switch says"
