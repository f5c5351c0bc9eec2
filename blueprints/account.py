"""Security: the ways a person signs in, and changing them."""

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from blueprints import signin
from blueprints.forms import ButtonForm, page
from models import RecoveryCode, TotpAuthenticator

bp = Blueprint("account", __name__)


@bp.get("/account")
def overview() -> ResponseReturnValue:
    user = signin.here().user
    return page(
        "account/overview.html",
        user=user,
        authenticator=TotpAuthenticator.get(TotpAuthenticator.user == user),
        codes_on=signin.recovery_codes_on(),
        codes=list(RecoveryCode.live(user).order_by(RecoveryCode.created_at)),
        waiting_for_device=user.is_waiting_for_a_device(),
    )


@bp.route("/account/recovery-code", methods=["GET", "POST"])
@signin.recovery_codes_required
@signin.step_up_required
def new_recovery_code() -> ResponseReturnValue:
    form, user = ButtonForm(), signin.here().user
    if form.validate_on_submit():
        RecoveryCode.issue(user, signin.act())
        return redirect(url_for("recovery.prompt"), 303)
    return page("account/recovery_code.html", form, has_saved_code=user.has_saved_code())
