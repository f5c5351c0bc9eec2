"""Setting up an authenticator app: at the first sign-in, after a lost device, and in place of the one in use."""

import segno
from flask import Blueprint, current_app, redirect, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from authn import totp
from authn.steps import Step
from blueprints import access
from blueprints.forms import CodeForm, page
from blueprints.session import context, current_session, go_on, now
from flows import enrollment
from models import Enrollment, Session, recovery_codes_are_on

bp = Blueprint("enrollment", __name__)

_WRONG_CODES_BEFORE_HELP = 3


@bp.route("/mfa/setup", methods=["GET", "POST"])
@access.at(Step.ENROLL, Step.REPLACE_DEVICE, Step.SIGNED_IN)
@access.step_up_or_recovery_required
def setup() -> ResponseReturnValue:
    form, session = CodeForm(), current_session()
    begun = enrollment.begin(session, context())
    if form.validate_on_submit():
        refusal = enrollment.confirm(session, begun, form.code.data, context())
        if refusal is None and session.confirmed_enrollment(now()):  # and its recovery code is to be saved first
            return redirect(url_for("recovery.prompt"), 303)
        if refusal is None:
            return go_on(session, "app-ready")
        form.refuse(refusal)
    return _page(form, begun, session)


def _page(form: CodeForm, begun: Enrollment, session: Session) -> ResponseReturnValue:
    secret, email, codes_on = begun.secret(), session.user.email, recovery_codes_are_on()
    uri = totp.uri(secret, current_app.config["SITE_NAME"], email)
    qr = segno.make(uri, error="m").svg_inline(border=4, light="#fff", omitsize=True)
    return page(
        "enrollment/setup.html",
        form,
        email=email,
        uri=uri,
        qr=Markup(qr),  # noqa: S704 - segno's own markup; the address is drawn, not written
        setup_key=totp.setup_key(secret),
        code_follows=codes_on and not session.user.has_saved_code(),
        codes_on=codes_on,
        abandoned=begun.follows_another,
        needs_help=begun.wrong_codes >= _WRONG_CODES_BEFORE_HELP,
        step=session.step,
    )
