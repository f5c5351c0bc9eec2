"""Security keys: asked at the challenge, added and removed, and "Ask me only for my key"."""

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue

from authn.security_keys import Purpose
from authn.steps import Step
from blueprints import access
from blueprints.forms import MAX_ID, AnswerForm, NewKeyForm, SwitchForm, page
from blueprints.session import context, current_session, go_on
from flows import security_keys
from models import recovery_codes_are_on

bp = Blueprint("security_keys", __name__)


@bp.route("/login/key", methods=["GET", "POST"])
@access.at(Step.CHALLENGE)
def challenge() -> ResponseReturnValue:
    form, session = AnswerForm(), current_session()
    keys = security_keys.of(session.user)
    if not keys:
        return redirect(url_for("login.code"), 303)
    if form.validate_on_submit():
        refusal = security_keys.pass_challenge(session, form.answer.data or "", context())
        if refusal is None:
            return go_on(session)
        form.refuse(refusal)
    return page(
        "login/key.html",
        form,
        user=session.user,
        options=security_keys.options_to_ask(session, Purpose.CHALLENGE, keys),
        codes_on=recovery_codes_are_on(),
    )


@bp.route("/account/keys/new", methods=["GET", "POST"])
@access.step_up_required
def add() -> ResponseReturnValue:
    form, session = NewKeyForm(), current_session()
    if form.validate_on_submit():
        refusal = security_keys.add(session, form.name.data, form.answer.data or "", context())
        if refusal is None:
            return go_on(session, "key-added", to=url_for("account.overview"))
        form.refuse(refusal)
    return page("account/new_key.html", form, options=security_keys.options_to_add(session))


@bp.post(f"/account/keys/<int(max={MAX_ID}):key_id>/remove")
@access.step_up_required
def remove(key_id: int) -> ResponseReturnValue:
    session = current_session()
    was_only_key = session.user.only_key
    if security_keys.remove(session, key_id, context()):
        abort(404)
    reopened = was_only_key and not session.user.only_key
    return go_on(session, "key-removed-codes-again" if reopened else "key-removed", to=url_for("account.overview"))


@bp.post("/account/only-key")
@access.step_up_required
def only_key() -> ResponseReturnValue:
    form = SwitchForm()
    if not form.validate_on_submit():
        return page("account/only_key.html", form)
    refusal = security_keys.ask_only_for_keys(current_session(), form.turn.data == "on", context())
    notice = "one-key-alone" if refusal else f"only-key-{form.turn.data}"
    return redirect(url_for("account.overview", notice=notice), 303)
