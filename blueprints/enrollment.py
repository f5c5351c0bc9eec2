"""Setting up an authenticator app: at the first sign-in, after a lost device, and in place of the one in use."""

import segno
from flask import Blueprint, current_app, redirect, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from authn import totp
from blueprints import signin
from blueprints.forms import CodeForm, page
from models import Enrollment, Refusal, Session, Step

bp = Blueprint("enrollment", __name__)

_WRONG_CODES_BEFORE_HELP = 3


@bp.route("/mfa/setup", methods=["GET", "POST"])
@signin.at(Step.ENROLL, Step.LOST_DEVICE, signed_in=True)
@signin.step_up_required
def setup() -> ResponseReturnValue:
    sign_in, form = signin.here(), CodeForm()
    if sign_in.step == Step.LOST_DEVICE and Enrollment.open_in(sign_in, signin.now()) is None:
        return signin.to_due_page(sign_in)
    enrollment = Enrollment.open_or_begin(sign_in, signin.act())
    if form.validate_on_submit():
        codes_on = signin.recovery_codes_on()
        confirmed = enrollment.confirm(sign_in, form.code.data, signin.act(), codes_on=codes_on)
        if confirmed is None:
            return redirect(url_for("recovery.prompt"), 303)
        if not isinstance(confirmed, Refusal):
            return signin.go_on(confirmed, notice="app-ready")
        form.refuse(confirmed, signin.now())
    return _page(form, enrollment, sign_in)


def _page(form: CodeForm, enrollment: Enrollment, sign_in: Session) -> ResponseReturnValue:
    secret, email = enrollment.secret(), sign_in.user.email
    uri = totp.uri(secret, current_app.config["SITE_NAME"], email)
    qr = segno.make(uri, error="m").svg_inline(border=4, light="#fff", omitsize=True)
    return page(
        "enrollment/setup.html",
        form,
        email=email,
        uri=uri,
        qr=Markup(qr),  # noqa: S704 - segno's own markup; the address is drawn, not written
        setup_key=totp.setup_key(secret),
        code_follows=signin.recovery_codes_on() and not sign_in.user.has_saved_code(),
        codes_on=signin.recovery_codes_on(),
        abandoned=enrollment.follows_an_abandoned_one(),
        needs_help=enrollment.wrong_codes() >= _WRONG_CODES_BEFORE_HELP,
        step=sign_in.step,
    )
