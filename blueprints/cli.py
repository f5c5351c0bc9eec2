"""The flask commands. One sentence out; a failure is one sentence on stderr and exits non-zero."""

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from json import dumps
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from authn import email_addresses, groups
from authn.refusals import Refusal
from blueprints import messages
from blueprints.forms import MAX_ID
from blueprints.session import command_line, now, welcome_link
from database import MISTAKES, UNAVAILABLE, store, upgrade
from flows import audit, people
from flows import codes as codes_flow
from flows.keys import reseal
from flows.transactions import Context, Superseded
from models import Event, User, recovery_codes_are_fixed, recovery_codes_are_on
from roster import Person

_PAGE = 500


class Commands(AppGroup):
    """Commands that say in one sentence that the database is not there, or not brought up to date."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UNAVAILABLE as error:
            if isinstance(error, MISTAKES):
                raise
            reason = str(error).strip().partition("\n")[0]
            raise click.ClickException(
                f"The database can't be used ({reason}): look at DATABASE_URL, and where tables are missing, run "
                "flask db upgrade."
            ) from None
        except Superseded:
            raise click.ClickException("Somebody else has just removed or changed them. Look again.") from None


def changes_database(command: Callable[..., None]) -> Callable[..., None]:
    """Name the database that the command has changed: one with other settings than the service's changes another. On
    stderr, so that what a script reads stays one line."""

    @wraps(command)
    def named(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)
        _name_database()

    return named


def _name_database() -> None:
    click.echo(f"In {_database_name()}.", err=True)


def _database_name() -> str:
    """Return what tells this database from others, without user and password."""
    database = store().database
    if current_app.config["DATABASE_URL"].startswith("sqlite:"):
        return f"the SQLite file {Path(database.database).absolute()}"
    return f"the PostgreSQL database {database.database} on {database.connect_params.get('host', 'this machine')}"


db = Commands("db", help="The database.")
users = Commands("users", help="People.")
keys = Commands("keys", help="What SECRET_KEY seals.")
codes = Commands("recovery-codes", help="The switch for recovery codes.")


@db.command("upgrade", help="Bring the tables up to date. Safe to run again, and from several machines at once.")
@changes_database
def upgrade_command() -> None:
    applied = upgrade()
    click.echo(f"Applied {', '.join(applied)}." if applied else "The database is up to date.")


@users.command("create", help="Add a person. Asks for the password.")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Let the person use the admin pages.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@changes_database
def create_user(email: str, admin: bool, password_stdin: bool) -> None:
    address = _address(email)
    if password_stdin:
        password = _line_of_stdin()
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    _fail(people.add(address, password, command_line(), is_admin=admin))
    click.echo(f"Added {address}{' as an admin' if admin else ''}.")


@users.command("list", help="Everybody here, with what they sign in with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_users(as_json: bool) -> None:
    for person in _everybody():
        facts = {
            "email": person.email,
            "admin": person.is_admin,
            "active": person.is_active,
            "groups": person.groups.split(",") if person.groups else [],
            "enrolled": bool(person.is_enrolled),
            "security_keys": person.key_count,
            "recovery_code_saved": bool(person.has_saved_code),
        }
        click.echo(dumps(facts) if as_json else _in_words(person))


@users.command("invite", help="Make links with which people choose a password; adds those who are not here yet.")
@click.argument("emails", metavar="EMAIL...", nargs=-1, required=True)
@click.option("--mail", is_flag=True, help="Mail each person their link.")
@changes_database
def invite(emails: tuple[str, ...], mail: bool) -> None:
    mailer: Any = current_app.extensions.get("mailer")
    if mail and mailer is None:
        raise click.ClickException("MAIL_URL is not set, so that nothing can be mailed.")
    addresses, not_mailed = list(dict.fromkeys(map(_address, emails))), 0
    if mail:
        _refuse_to_mail_a_reset(addresses)
    for address in addresses:
        people.add(address, None, command_line())  # or the person is here already
        token = people.invite(_person(address), command_line())
        if mail and mailer.send_invitation(store(), address, token, command_line()):
            click.echo(f"Mailed a link to {address}; it works once, for 72 hours.")
        else:
            not_mailed += mail
            _echo_link(address, token)
    if not_mailed:
        raise click.ClickException(f"{not_mailed} of {len(addresses)} could not be mailed: hand those links over.")


def _refuse_to_mail_a_reset(addresses: list[str]) -> None:
    """A link for somebody who was reset ends in a new app: mail alone must not bring it, whatever it is called."""
    for person in filter(None, map(User.find, addresses)):
        if person.is_reset:
            raise click.ClickException(
                f"{person.email} was reset: make sure who is asking, and hand them a link made without --mail."
            )


@users.command("reset-mfa", help="Take away a person's app, keys, code and password, and make a link to begin again.")
@click.argument("email")
@changes_database
def reset_mfa(email: str) -> None:
    user = _person(email)
    _echo_link(user.email, people.reset(user, command_line()))


@users.command("groups", help="Say which groups a person is in, or put them into these and no others.")
@click.argument("email")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--none", "in_none", is_flag=True, help="Take the person out of every group.")
def set_groups(email: str, names: tuple[str, ...], in_none: bool) -> None:
    typed = groups.split(" ".join(names))
    if names and (in_none or not typed):
        raise click.ClickException("Give names or --none, and not both.")
    if names or in_none:
        _fail(people.set_groups(_person(email), typed, command_line()))
    user = _person(email)
    click.echo(f"{user.email} is in {user.groups.replace(',', ', ') or 'no group'}.")
    if names or in_none:
        _name_database()


def _add_change(name: str, flow: Callable[[User, Context], Refusal | None], what: str, done: str) -> None:
    @users.command(name, help=what)
    @click.argument("email")
    @changes_database
    def change(email: str) -> None:
        _fail(flow(_person(email), command_line()))
        click.echo(f"{_address(email)} {done}.")


_add_change("unlock", people.unlock, "Let a person try again at once after too many failures.", "can try again now")
_add_change("activate", people.activate, "Let a person sign in again.", "can sign in")
_add_change(
    "deactivate", people.deactivate, "End a person's sessions and let them start none.", "can't sign in any more"
)


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
    user = User.find(_address(email))
    if user is None:
        raise click.ClickException(f"{_address(email)} is not here.")
    return user


def _fail(refusal: Refusal | None) -> None:
    if refusal:
        raise click.ClickException(messages.explain(refusal))


def _echo_link(email: str, token: str) -> None:
    click.echo(f"Give this link to {email}; it works once, for 72 hours: {welcome_link(token)}")


def _everybody() -> Iterator[Person]:
    after = ""
    while page := Person.page(now(), after, _PAGE):
        yield from page
        after = page[-1].email


def _in_words(person: Person) -> str:
    role = "admin" if person.is_admin else "person"
    keys = f", {person.key_count} security key{'' if person.key_count == 1 else 's'}" if person.key_count else ""
    app = "authenticator app on" if person.is_enrolled else "no authenticator app"
    code = "recovery code saved" if person.has_saved_code else "no recovery code saved"
    within = f", in {person.groups.replace(',', ' ')}" if person.groups else ""
    return f"{person.email}  {role}, {app}{keys}, {code}{within}{'' if person.is_active else ', deactivated'}"


@click.group("events", cls=Commands, invoke_without_command=True, help="What happened, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MAX_ID), help="How many.")
@with_appcontext
@click.pass_context
def events(context: click.Context, as_json: bool, limit: int) -> None:
    if context.invoked_subcommand is None:
        for event in Event.page(None, None, limit):
            click.echo(dumps(audit.facts(event)) if as_json else messages.line(event))


@events.command("prune", help="Delete what happened longer than EVENT_RETENTION_DAYS ago.")
@changes_database
def prune_events() -> None:
    pruned = audit.prune(current_app.config["EVENT_RETENTION_DAYS"], command_line())
    click.echo(f"Removed {pruned} events.")


@keys.command("reseal", help="Seal with the newest SECRET_KEY what an earlier one sealed.")
@changes_database
def reseal_keys() -> None:
    if not current_app.config["SECRET_KEY_FALLBACKS"]:
        raise click.ClickException(
            "SECRET_KEY_FALLBACKS is empty, so that there is no earlier key: set it, as the service has it, and run "
            "this again."
        )
    counts = reseal(command_line())
    if not counts.sealed:
        raise click.ClickException(f"Nothing is sealed in {_database_name()}: is it the one that the service uses?")
    opened = f"the newest key opens {counts.sealed - counts.unreadable} of {counts.sealed} sealed values"
    if counts.unreadable:
        raise click.ClickException(
            f"In {_database_name()} {counts.unreadable} can't be opened with any key, {opened} ({counts.resealed} "
            "resealed): add the key they need to SECRET_KEY_FALLBACKS, or reset whose they are, and keep the earlier "
            "keys until then."
        )
    last = messages.moment(now() + current_app.config["SESSION_LIFETIME_SECONDS"])
    click.echo(
        f"{opened[0].upper()}{opened[1:]} ({counts.resealed} resealed), 0 can't be opened; the earlier keys may go on "
        f"{last}, with the last session that they signed."
    )


@codes.command("status", help="Whether recovery codes are on, and what decides it.")
def codes_status() -> None:
    fixed = "fixed by RECOVERY_CODES_ENABLED in the configuration"
    decides = fixed if recovery_codes_are_fixed() else "as the switch says"
    click.echo(f"Recovery codes are {'on' if recovery_codes_are_on() else 'off'}, {decides}.")


def _add_switch(name: str, on: bool, what: str) -> None:
    @codes.command(name, help=what)
    @changes_database
    def turn() -> None:
        _fail(codes_flow.switch(on, command_line()))
        click.echo(f"Recovery codes are {'on' if on else 'off'}.")


_add_switch("enable", True, "Show the prompt at enrollment and accept codes.")
_add_switch("disable", False, "Hide the prompt and refuse codes; they are kept.")
