"""The demo's three people and their phone, so that the whole flow can be tried without one. Only with DEMO."""

import time

import click
from flask import Blueprint, current_app
from flask.cli import AppGroup
from flask.typing import ResponseReturnValue

from authn import email_addresses, totp
from blueprints import signin
from blueprints.forms import SetupKeyForm, page, reject
from models import Act, TotpAuthenticator, User

bp = Blueprint("demo", __name__)
commands = AppGroup("demo", help="The demo's people and their phone.")

PASSWORD = "spare key under the mat"  # noqa: S105 - the demo's, printed at its start
RECOVERY_CODE = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3"  # Omar's
MAYA, OMAR, INES = "maya@example.com", "omar@example.com", "ines@example.com"


@bp.route("/demo/phone", methods=["GET", "POST"])
@signin.public
def phone() -> ResponseReturnValue:
    """What a phone with the demo people's authenticator apps would show now."""
    form, now, code = SetupKeyForm(), signin.now(), None
    if form.validate_on_submit():
        secret = totp.read_setup_key(form.key.data)
        if secret:
            code = totp.code_at(secret, now)
        else:
            reject(form.key, "That isn't a setup key. Copy all of it from the page that shows the QR code.")
    secrets = {email: TotpAuthenticator.newest_secret(email) for email in (MAYA, OMAR, INES)}
    codes = {email: secret and totp.code_at(secret, now) for email, secret in secrets.items()}
    return page("demo/phone.html", form, codes=codes, code=code, seconds_left=totp.seconds_left(now))


def seed(act: Act) -> None:
    """Make the three people anew: Maya not enrolled, Omar enrolled with a code saved, Ines an admin and enrolled."""
    User.remove((MAYA, OMAR, INES))
    User.add(MAYA, PASSWORD, act)
    omar, ines = User.add(OMAR, PASSWORD, act), User.add(INES, PASSWORD, act, is_admin=True)
    if omar and ines:  # they were removed a moment ago, so their addresses are free
        omar.enroll(act, recovery_code=RECOVERY_CODE)
        ines.enroll(act)


def _people() -> str:
    return "\n".join(
        (
            f"Sign in at {current_app.config['SITE_URL']} with the password:  {PASSWORD}",
            f"  {MAYA}   not enrolled: set up an authenticator app and save a recovery code",
            f"  {OMAR}   enrolled; recovery code {RECOVERY_CODE}",
            f"  {INES}   enrolled; an admin",
            f"Six-digit codes: {current_app.config['SITE_URL']}/demo/phone, or: flask demo code EMAIL",
        )
    )


@commands.command("seed", help="Make the three demo people anew.")
def seed_demo() -> None:
    _only_in_demo()
    seed(signin.act_of_command_line())
    click.echo(_people())


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
        time.sleep(totp.seconds_left(signin.now()))


def _code_line(email: str | None, key: str | None) -> str:
    now = signin.now()
    if not (email or key):
        raise click.UsageError("Give an email address, or --key and a setup key.")
    address = email_addresses.fold(email or "") or ""
    secret = totp.read_setup_key(key) if key else TotpAuthenticator.newest_secret(address)
    if secret is None:
        raise click.ClickException("That isn't a setup key." if key else f"{email} has no authenticator app here.")
    code = totp.code_at(secret, now)
    return f"{code[:3]} {code[3:]}  ({totp.seconds_left(now)} s left)"


def _only_in_demo() -> None:
    if not current_app.config["DEMO"]:
        raise click.ClickException("This is not a demo: set FLASK_DEMO=1 to make it one.")
