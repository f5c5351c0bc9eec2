"""Signing in: password, six-digit code, signing out, and "Confirm it's you"."""

from flask import Blueprint, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from blueprints import signin
from blueprints.forms import CodeForm, SignInForm, VerifyForm, page, reject
from models import Refusal, Step, User

bp = Blueprint("login", __name__)


@bp.get("/")
@signin.public
def start() -> ResponseReturnValue:
    if signin.current():
        return redirect(url_for("account.overview"), 303)
    return redirect(url_for("login.password", notice=g.get("ended")), 303)


@bp.route("/login", methods=["GET", "POST"])
@signin.public
def password() -> ResponseReturnValue:
    sign_in = signin.current()
    if sign_in:
        return signin.to_due_page(sign_in)
    if request.method == "GET":
        signin.start_afresh()
    form = SignInForm(next=signin.safe_next(request.args.get("next", ""), ""))
    if form.validate_on_submit():
        user = User.with_password(form.address, form.password.data, signin.act(form.address))
        if user:
            return signin.begin(user, form.next.data or "")
        reject(form.email, "That email address and password don't match an account here. Check both and try again.")
    return page("login/password.html", form)


@bp.route("/login/code", methods=["GET", "POST"])
@signin.at(Step.CHALLENGE)
def code() -> ResponseReturnValue:
    form = CodeForm()
    if form.validate_on_submit():
        codes_on = signin.recovery_codes_on()
        passed = signin.here().pass_challenge(form.code.data, signin.act(), codes_on=codes_on)
        if not isinstance(passed, Refusal):
            return signin.go_on(passed)
        form.refuse(passed, signin.now())
    return page("login/code.html", form, email=signin.here().user.email, codes_on=signin.recovery_codes_on())


@bp.route("/verify", methods=["GET", "POST"])
def verify() -> ResponseReturnValue:
    form = VerifyForm()
    if form.validate_on_submit():
        passed = signin.here().step_up(form.password.data, form.code.data, signin.act())
        if not isinstance(passed, Refusal):
            return signin.go_on(passed, to=signin.safe_next(request.args.get("next", "")))
        form.refuse(passed, signin.now())
    return page("login/verify.html", form)


@bp.post("/logout")
@signin.at(*Step, signed_in=True)
def sign_out() -> ResponseReturnValue:
    signin.sign_out()
    answer = redirect(url_for("login.password", notice="signed-out"), 303)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer
