"""Signing in: password, six-digit code, signing out, and "Confirm it's you"."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from authn.steps import Step
from blueprints import access
from blueprints.forms import CodeForm, RecoveredVerifyForm, SignInForm, VerifyForm, page
from blueprints.paths import safe_next
from blueprints.session import context, current_session, end_session, go_on, start_afresh, to_due_page, visit
from flows import second_factor, sessions
from models import Session, recovery_codes_are_on

bp = Blueprint("login", __name__)


@bp.get("/")
@access.public
def start() -> ResponseReturnValue:
    if session := visit().session:
        return to_due_page(session)
    return redirect(url_for("login.password", notice=visit().ended), 303)


@bp.route("/login", methods=["GET", "POST"])
@access.public
def password() -> ResponseReturnValue:
    if session := visit().session:
        return to_due_page(session)
    if request.method == "GET":
        start_afresh()
    form = SignInForm(next=safe_next(request.args.get("next", ""), ""))
    if form.validate_on_submit():
        session = Session(next_path=safe_next(form.next.data or "", ""))
        refusal = sessions.start(session, form.address, form.password.data, context())
        if refusal is None:
            return go_on(session)
        form.refuse(refusal)
    return page("login/password.html", form)


@bp.route("/login/code", methods=["GET", "POST"])
@access.at(Step.CHALLENGE)
def code() -> ResponseReturnValue:
    form, session = CodeForm(), current_session()
    if form.validate_on_submit():
        refusal = second_factor.pass_challenge(session, form.code.data, context())
        if refusal is None:
            return go_on(session)
        form.refuse(refusal)
    return page("login/code.html", form, email=session.user.email, codes_on=recovery_codes_are_on())


@bp.route("/verify", methods=["GET", "POST"])
def verify() -> ResponseReturnValue:
    session = current_session()
    password_alone = second_factor.takes_password_alone(session)
    form = RecoveredVerifyForm() if password_alone else VerifyForm()
    if form.validate_on_submit():
        if password_alone and not form.code.data:
            refusal, to = second_factor.step_up_to_setup(session, form.password.data, context()), "enrollment.setup"
        else:
            refusal, to = second_factor.step_up(session, form.password.data, form.code.data, context()), None
        if refusal is None:
            return go_on(session, to=url_for(to) if to else safe_next(request.args.get("next", "")))
        form.refuse(refusal)
    return page("login/verify.html", form, password_alone=password_alone)


@bp.post("/logout")
@access.at(*Step)
def sign_out() -> ResponseReturnValue:
    end_session()
    answer = redirect(url_for("login.password", notice="signed-out"), 303)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer
