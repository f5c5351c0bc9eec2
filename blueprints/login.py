"""Signing in: password, six-digit code, signing out, and "Confirm it's you"."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from authn.refusals import Refusal
from authn.security_keys import Purpose
from authn.steps import Step
from blueprints import access
from blueprints.forms import CodeForm, KeyVerifyForm, RecoveredVerifyForm, SignInForm, VerifyForm, page
from blueprints.paths import safe_next
from blueprints.session import context, current_session, end_session, go_on, start_afresh, to_due_page, visit
from flows import second_factor, security_keys, sessions
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
    if session := visit().session:  # perhaps since another tab has signed in
        wanted = safe_next(request.values.get("next", ""), "") if session.is_signed_in else ""
        return redirect(wanted, 303) if wanted else to_due_page(session)
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
    if security_keys.are_asked_for_alone(session.user):
        return redirect(url_for("security_keys.challenge"), 303)
    if form.validate_on_submit():
        refusal = second_factor.pass_challenge(session, form.code.data, context())
        if refusal is None:
            return go_on(session)
        form.refuse(refusal)
    user = session.user
    return page(
        "login/code.html", form, email=user.email, codes_on=recovery_codes_are_on(), has_keys=user.key_count > 0
    )


@bp.route("/verify", methods=["GET", "POST"])
def verify() -> ResponseReturnValue:
    session = current_session()
    keys = security_keys.of(session.user) if session.user.key_count else []
    password_alone = second_factor.takes_password_alone(session)
    form = _verify_form(password_alone, bool(keys), session.user.only_key)
    if form.validate_on_submit():
        refusal, to = _step_up(session, form, password_alone)
        if refusal is None:
            return go_on(session, to=url_for(to) if to else safe_next(request.args.get("next", "")))
        form.refuse(refusal)
    options = security_keys.options_to_ask(session, Purpose.STEP_UP, keys) if keys else None
    codes_on = recovery_codes_are_on()
    return page("login/verify.html", form, password_alone=password_alone, options=options, codes_on=codes_on)


@bp.post("/logout")
@access.at(*Step)
def sign_out() -> ResponseReturnValue:
    end_session()
    answer = redirect(url_for("login.password", notice="signed-out"), 303)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


def _verify_form(password_alone: bool, has_keys: bool, only_key: bool) -> VerifyForm:
    if not has_keys:
        return RecoveredVerifyForm() if password_alone else VerifyForm()
    form = KeyVerifyForm()
    form.takes_password_alone = password_alone
    if only_key:
        del form.code
    return form


def _step_up(session: Session, form: VerifyForm, password_alone: bool) -> tuple[Refusal | None, str | None]:
    """Return why it failed, and the page to which alone it leads."""
    password, code = form.password.data, form.code.data if form.code else ""
    if isinstance(form, KeyVerifyForm) and form.answer.data:
        return security_keys.step_up(session, password, form.answer.data, context()), None
    if password_alone and not code:
        return second_factor.step_up_to_setup(session, password, context()), "enrollment.setup"
    return second_factor.step_up(session, password, code, context()), None
