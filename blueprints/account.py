"""Security: the ways a person signs in, where they are signed in, what happened, and changing it."""

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue

from authn.passwords import Refused
from blueprints import signin
from blueprints.forms import MAX_ID, ButtonForm, NewPasswordForm, PasswordForm, id_in_query, page, reject
from models import Event, Invitation, RecoveryCode, Refusal, Session, Superseded

bp = Blueprint("account", __name__)

_RECENT = 10
_PAGE = 50


@bp.get("/account")
def overview() -> ResponseReturnValue:
    sign_in = signin.here()
    user = sign_in.user
    authenticator = user.authenticator()
    if authenticator is None:  # reset in this very moment
        raise Superseded
    return page(
        "account/overview.html",
        user=user,
        here=sign_in,
        authenticator=authenticator,
        codes_on=signin.recovery_codes_on(),
        saved_code=RecoveryCode.saved(user).first(),
        unsaved_code=RecoveryCode.unsaved(user).first(),
        waiting_for_device=user.is_waiting_for_a_device(),
        recovery=user.unseen_recovery(),
        sessions=Session.signed_in(user, signin.now()),
        events=Event.page(user, size=_RECENT),
    )


@bp.get("/account/activity")
def activity() -> ResponseReturnValue:
    events = Event.page(signin.here().user, before=id_in_query("before"), size=_PAGE + 1)
    return page("account/activity.html", events=events[:_PAGE], more=len(events) > _PAGE)


@bp.post("/account/recovery-notice/dismiss")
def dismiss_recovery_notice() -> ResponseReturnValue:
    signin.here().user.dismiss_recovery_notice(signin.act())
    return redirect(url_for("account.overview"), 303)


@bp.route("/account/password", methods=["GET", "POST"])
@signin.step_up_required
def password() -> ResponseReturnValue:
    sign_in, form = signin.here(), PasswordForm()
    if form.validate_on_submit():
        try:
            changed = sign_in.change_password(form.current_password.data, form.new_password.data, signin.act())
        except Refused as refused:
            reject(form.new_password, str(refused))
        else:
            if not isinstance(changed, Refusal):
                return signin.go_on(changed, "password-changed", to=url_for("account.overview"))
            reject(form.current_password, "That isn't your current password. Check it and try again.")
    return page("account/password.html", form)


@bp.route("/account/recovery-code", methods=["GET", "POST"])
@signin.recovery_codes_required
@signin.step_up_required
def new_recovery_code() -> ResponseReturnValue:
    form, user = ButtonForm(), signin.here().user
    if form.validate_on_submit():
        signin.here().make_new_code(signin.act())
        return redirect(url_for("recovery.prompt"), 303)
    return page("account/recovery_code.html", form, has_saved_code=user.has_saved_code())


@bp.post(f"/account/sessions/<int(max={MAX_ID}):session_id>/revoke")
def revoke_session(session_id: int) -> ResponseReturnValue:
    if not signin.here().revoke(session_id, signin.act()):
        abort(404)
    return redirect(url_for("account.overview"), 303)


@bp.post("/account/sessions/revoke-others")
def revoke_others() -> ResponseReturnValue:
    signed_in = signin.here().revoke_others(signin.act())
    return redirect(url_for("account.overview", notice="others-out" if signed_in else "nowhere-else"), 303)


@bp.route("/welcome/<token>", methods=["GET", "POST"])
@signin.public
def welcome(token: str) -> ResponseReturnValue:
    """Where a one-time link leads: the person chooses a password and then signs in with it."""
    invitation = Invitation.find(token, signin.now())
    if invitation is None:
        return page("account/link_used.html", status=404)
    form = NewPasswordForm()
    if form.validate_on_submit():
        try:
            if invitation.use(form.new_password.data, signin.act()):
                return redirect(url_for("login.password", notice="welcome"), 303)
            return page("account/link_used.html", status=404)
        except Refused as refused:
            reject(form.new_password, str(refused))
    return page("account/welcome.html", form, email=invitation.user.email)
