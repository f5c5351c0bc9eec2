"""Security: the ways a person signs in, where they are signed in, what happened, and changing it."""

from typing import Any

from flask import Blueprint, abort, current_app, redirect, url_for
from flask.typing import ResponseReturnValue

from authn.links import LinkPurpose
from authn.refusals import LinkUsed
from authn.security_keys import MOST_KEYS
from blueprints import access
from blueprints.forms import (
    MAX_ID,
    PAGE,
    ButtonForm,
    NewPasswordForm,
    PasswordForm,
    first_page,
    id_in_query,
    page,
    reject,
)
from blueprints.known_browser import remember
from blueprints.messages import explain
from blueprints.session import context, current_session, go_on, now
from flows import people, recovery, second_factor, security_keys, sessions
from flows.transactions import Superseded
from models import Event, Invitation, RecoveryCode, Session, User, recovery_codes_are_on

bp = Blueprint("account", __name__)

_RECENT = 10


@bp.get("/account")
def overview() -> ResponseReturnValue:
    session = current_session()
    user = session.user
    authenticator = user.authenticator()
    if authenticator is None:  # reset in this very moment
        raise Superseded
    return page(
        "account/overview.html",
        user=user,
        current=session,
        authenticator=authenticator,
        codes_on=recovery_codes_are_on(),
        keys=security_keys.of(user) if user.key_count else [],
        most_keys=MOST_KEYS,
        saved_code=RecoveryCode.saved(user).first(),
        sites=[host for host, group in current_app.config["APPS"].items() if user.is_in(group)],
        unsaved_code=RecoveryCode.shown_in(session, now()),
        **_signed_in(user),
        events=Event.page(user, None, _RECENT),
    )


def _signed_in(user: User) -> dict[str, Any]:
    """Return the latest places where the person is signed in, and how many these are when there are more."""
    found = first_page(Session.signed_in(user, now(), PAGE + 1))
    return {"sessions": found["rows"], "latest": PAGE if found["more"] else None}


@bp.get("/account/activity")
def activity() -> ResponseReturnValue:
    found = Event.page(current_session().user, id_in_query("before"), PAGE + 1)
    return page("account/activity.html", **first_page(found))


@bp.post("/account/recovery-notice/dismiss")
@access.step_up_required
def dismiss_recovery_notice() -> ResponseReturnValue:
    recovery.dismiss_notice(current_session(), context())
    return redirect(url_for("account.overview"), 303)


@bp.post("/account/wrong-codes-notice/dismiss")
@access.step_up_required
def dismiss_wrong_codes_notice() -> ResponseReturnValue:
    second_factor.dismiss_guesses(current_session(), context())
    return redirect(url_for("account.overview"), 303)


@bp.route("/account/password", methods=["GET", "POST"])
@access.step_up_required
def password() -> ResponseReturnValue:
    form, session = PasswordForm(), current_session()
    if form.validate_on_submit():
        refusal = people.change_password(session, form.current_password.data, form.new_password.data, context())
        if refusal is None:
            return go_on(session, "password-changed")
        form.refuse(refusal)
    return page("account/password.html", form)


@bp.route("/account/recovery-code", methods=["GET", "POST"])
@access.recovery_codes_required
@access.step_up_required
def new_recovery_code() -> ResponseReturnValue:
    form, session = ButtonForm(), current_session()
    if form.validate_on_submit():
        recovery.make_new_code(session, context())
        return redirect(url_for("recovery.prompt"), 303)
    return page("account/recovery_code.html", form, has_saved_code=session.user.has_saved_code())


@bp.post(f"/account/sessions/<int(max={MAX_ID}):session_id>/revoke")
def revoke_session(session_id: int) -> ResponseReturnValue:
    if sessions.revoke(current_session(), session_id, context()):
        abort(404)
    return redirect(url_for("account.overview"), 303)


@bp.post("/account/sessions/revoke-others")
def revoke_others() -> ResponseReturnValue:
    session = current_session()
    refusal = sessions.revoke_others(session, context())
    return go_on(session, "nowhere-else" if refusal else "others-out")


@bp.route("/welcome/<token>", methods=["GET", "POST"])
@access.public
def welcome(token: str) -> ResponseReturnValue:
    """Where a one-time link leads: the person chooses a password and then signs in with it."""
    invitation = Invitation.find(token, now())
    if invitation is None:
        return page("account/link_used.html", status=404)
    form, forgotten = NewPasswordForm(), invitation.purpose == LinkPurpose.FORGOT
    if form.validate_on_submit():
        refusal = people.accept_invitation(invitation, form.new_password.data, context())
        if refusal is None and forgotten:  # mail alone makes no browser a known one, or each mail would bring new tries
            return redirect(url_for("login.password", notice="new-password"), 303)
        if refusal is None:
            return remember(redirect(url_for("login.password", notice="welcome"), 303), invitation.user)
        if isinstance(refusal, LinkUsed):
            return page("account/link_used.html", status=404)
        reject(form.new_password, explain(refusal))
    email, codes_on = invitation.user.email, recovery_codes_are_on()
    return page("account/welcome.html", form, email=email, forgotten=forgotten, codes_on=codes_on)
