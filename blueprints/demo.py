"""The demo's three people and their phone, so that the whole flow can be tried without one. Only with DEMO."""

import time
from contextlib import suppress

import click
from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from authn import email_addresses, totp
from authn.sealing import Unreadable
from blueprints import access
from blueprints.cli import Commands, changes_database
from blueprints.forms import SetupKeyForm, page, reject
from blueprints.messages import SENTENCES
from blueprints.session import command_line, now
from flows import demo, people
from flows.transactions import Context
from models import User

bp = Blueprint("demo", __name__)
commands = Commands("demo", help="The demo's people and their phone.")

PASSWORD = "spare key under the mat"  # noqa: S105 - the demo's, printed at its start
RECOVERY_CODE = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"  # Omar's
MAYA, OMAR, INES = "maya@example.com", "omar@example.com", "ines@example.com"


@bp.route("/demo/phone", methods=["GET", "POST"])
@access.public
def phone() -> ResponseReturnValue:
    """What a phone with the demo people's authenticator apps would show now."""
    form, code = SetupKeyForm(), None
    if form.validate_on_submit():
        secret = totp.read_setup_key(form.key.data)
        if secret:
            code = totp.code_at(secret, now())
        else:
            reject(form.key, "That isn't a setup key. Copy all of it from the page that shows the QR code.")
    secrets = {email: _newest_secret(email) for email in (MAYA, OMAR, INES)}
    codes = {email: secret and totp.code_at(secret, now()) for email, secret in secrets.items()}
    return page("demo/phone.html", form, codes=codes, code=code, seconds_left=totp.seconds_left(now()))


def seed(context: Context) -> None:
    """Make the three people anew: Maya not enrolled, Omar enrolled with a code saved, Ines an admin and enrolled."""
    for email in (MAYA, OMAR, INES):
        is_here, is_admin = User.find(email), email == INES
        if is_here:
            demo.renew(is_here, PASSWORD, context, is_admin=is_admin)
        else:
            people.add(email, PASSWORD, context, is_admin=is_admin)
    for email, recovery_code in ((OMAR, RECOVERY_CODE), (INES, None)):
        if user := User.find(email):
            demo.enroll(user, context, recovery_code)


def _newest_secret(email: str) -> bytes | None:
    """Return the secret that this person's app holds, or that the first one is to hold."""
    user = User.find(email)
    newest = user and (user.authenticator() or demo.newest_enrollment(user))
    with suppress(Unreadable):
        return newest.secret() if newest else None
    return None


@commands.command("seed", help="Make the three demo people anew.")
@changes_database
def seed_demo() -> None:
    _only_in_demo()
    seed(command_line())
    known = {"maya": MAYA, "omar": OMAR, "ines": INES, "password": PASSWORD, "recovery_code": RECOVERY_CODE}
    click.echo(SENTENCES["demo"]["seeded"].format(site=current_app.config["SITE_URL"], **known))


@commands.command("code", help="The six-digit code a person's app shows now.")
@click.argument("email", required=False)
@click.option("--key", help="A setup key, in place of a person.")
@click.option("--watch", is_flag=True, help="Go on showing it until stopped.")
def demo_code(email: str | None, key: str | None, watch: bool) -> None:
    _only_in_demo()
    while True:
        click.echo(_code_line(email, key))
        if not watch:
            return
        time.sleep(totp.seconds_left(now()))


def _code_line(email: str | None, key: str | None) -> str:
    if not (email or key):
        raise click.UsageError("Give an email address, or --key and a setup key.")
    address = email_addresses.fold(email or "") or ""
    secret = totp.read_setup_key(key) if key else _newest_secret(address)
    if secret is None:
        raise click.ClickException("That isn't a setup key." if key else f"{email} has no authenticator app here.")
    code = totp.code_at(secret, now())
    return f"{code[:3]} {code[3:]}  ({totp.seconds_left(now())} s left)"


def _only_in_demo() -> None:
    if not current_app.config["DEMO"]:
        raise click.ClickException("This is not a demo: set FLASK_DEMO=1 to make it one.")
