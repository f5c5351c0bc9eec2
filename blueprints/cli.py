"""The flask commands. One sentence out; a failure is one sentence on stderr and exits non-zero."""

import sys
from collections.abc import Iterator
from json import dumps
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from authn import email_addresses, passwords
from blueprints import signin, words
from models import Event, Invitation, Person, Setting, User, reseal
from store import UNAVAILABLE, upgrade


class Commands(AppGroup):
    """Commands that say in one sentence that the database is not there, or not brought up to date."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UNAVAILABLE as error:
            reason = str(error).strip().partition("\n")[0]
            raise click.ClickException(f"The database can't be used ({reason}); run flask db upgrade.") from None


db = Commands("db", help="The database.")
users = Commands("users", help="People.")
keys = Commands("keys", help="What SECRET_KEY seals.")
codes = Commands("recovery-codes", help="The switch for recovery codes.")


@db.command("upgrade", help="Bring the tables up to date. Safe to run again, and from several machines at once.")
def upgrade_command() -> None:
    applied = upgrade()
    click.echo(f"Applied {', '.join(applied)}." if applied else "The database is up to date.")


@users.command("create", help="Add a person. Asks for the password.")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Let the person use the admin pages.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create_user(email: str, admin: bool, password_stdin: bool) -> None:
    address = _address(email)
    if password_stdin:
        password = _line_of_stdin()
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        added = User.add(address, password, signin.act_of_command_line(), is_admin=admin)
    except passwords.Refused as refused:
        raise click.ClickException(str(refused)) from None
    if added is None:
        raise click.ClickException(f"{address} is here already.")
    click.echo(f"Added {address}{' as an admin' if admin else ''}.")


@users.command("list", help="Everybody here, with what they sign in with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_users(as_json: bool) -> None:
    for person in _everybody():
        facts = {
            "email": person.email,
            "admin": person.is_admin,
            "active": person.is_active,
            "enrolled": bool(person.is_enrolled),
            "recovery_code_saved": bool(person.has_saved_code),
        }
        click.echo(dumps(facts) if as_json else _in_words(person))


@users.command("invite", help="Make a link with which a person chooses a password; adds who is not here yet.")
@click.argument("email")
def invite(email: str) -> None:
    act, address = signin.act_of_command_line(), _address(email)
    user = User.add(address, None, act) or _person(email)
    _echo_link(user, Invitation.issue(user, act))


@users.command("reset-mfa", help="Take away a person's app, code and password, and make a link to begin again.")
@click.argument("email")
def reset_mfa(email: str) -> None:
    user = _person(email)
    _echo_link(user, user.reset_mfa(signin.act_of_command_line()))


@users.command("unlock", help="Let a person try again at once after too many failures.")
@click.argument("email")
def unlock(email: str) -> None:
    _person(email).unlock(signin.act_of_command_line())
    click.echo(f"{_address(email)} can try again now.")


@users.command("activate", help="Let a person sign in again.")
@click.argument("email")
def activate(email: str) -> None:
    _person(email).activate(signin.act_of_command_line())
    click.echo(f"{_address(email)} can sign in.")


@users.command("deactivate", help="End a person's sessions and let them start none.")
@click.argument("email")
def deactivate(email: str) -> None:
    if not _person(email).deactivate(signin.act_of_command_line()):
        raise click.ClickException(f"{_address(email)} is the last admin; make another one first.")
    click.echo(f"{_address(email)} can't sign in any more.")


def _line_of_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.ClickException("Give the password as UTF-8 text.") from None


def _address(email: str) -> str:
    address = email_addresses.fold(email)
    if address is None:
        raise click.ClickException("Give an email address in the form name@example.com.")
    return address


def _person(email: str) -> User:
    user = User.get_or_none(User.email == _address(email))
    if user is None:
        raise click.ClickException(f"{_address(email)} is not here.")
    return user


def _echo_link(user: User, token: str) -> None:
    click.echo(f"Give this link to {user.email}; it works once, for 72 hours: {signin.welcome_link(token)}")


def _everybody() -> Iterator[Person]:
    after = ""
    while page := Person.page(signin.now(), after):
        yield from page
        after = page[-1].email


def _in_words(person: Person) -> str:
    role = "admin" if person.is_admin else "person"
    app = "authenticator app on" if person.is_enrolled else "no authenticator app"
    code = "recovery code saved" if person.has_saved_code else "no recovery code saved"
    return f"{person.email}  {role}, {app}, {code}{'' if person.is_active else ', deactivated'}"


@click.group("events", cls=Commands, invoke_without_command=True, help="What happened, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@with_appcontext
@click.pass_context
def events(context: click.Context, as_json: bool, limit: int) -> None:
    if context.invoked_subcommand is None:
        for event in Event.page(size=limit):
            click.echo(dumps(event.facts()) if as_json else words.line(event))


@events.command("prune", help="Delete what happened longer than EVENT_RETENTION_DAYS ago and no page tells of.")
def prune_events() -> None:
    pruned = Event.prune(current_app.config["EVENT_RETENTION_DAYS"], signin.act_of_command_line())
    click.echo(f"Removed {pruned} events.")


@keys.command("reseal", help="Seal with the newest SECRET_KEY what an earlier one sealed.")
def reseal_keys() -> None:
    resealed, unreadable = reseal(signin.act_of_command_line())
    if unreadable:
        raise click.ClickException(f"{unreadable} values can't be opened with any key; put the key back they need.")
    last = signin.now() + current_app.config["SESSION_LIFETIME_SECONDS"]
    click.echo(f"Resealed {resealed} values; the earlier keys may go on {words.moment(last)}, with the last session.")


@codes.command("status", help="Whether recovery codes are on, and what decides it.")
def codes_status() -> None:
    click.echo(f"Recovery codes are {'on' if signin.recovery_codes_on() else 'off'}, {_decided_by()}.")


@codes.command("enable", help="Show the prompt at enrollment and accept codes.")
def enable_codes() -> None:
    _switch(True)


@codes.command("disable", help="Hide the prompt and refuse codes; they are kept.")
def disable_codes() -> None:
    _switch(False)


def _switch(on: bool) -> None:
    if current_app.config["RECOVERY_CODES_ENABLED"] is not None:
        raise click.ClickException("RECOVERY_CODES_ENABLED in the configuration decides; change it there.")
    Setting.switch_recovery_codes(on, signin.act_of_command_line())
    click.echo(f"Recovery codes are {'on' if on else 'off'}.")


def _decided_by() -> str:
    fixed = current_app.config["RECOVERY_CODES_ENABLED"] is not None
    return "fixed by RECOVERY_CODES_ENABLED in the configuration" if fixed else "as the switch says"
