"""The recovery code: typed in place of the six-digit code, shown to be saved; and the question about a lost device."""

import re
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from authn import recovery_codes
from authn.recovery_codes import Slip
from blueprints import signin, words
from blueprints.forms import LostDeviceForm, RecoveryCodeForm, SavedForm, page, reject
from models import Busy, Enrollment, Old, PendingCode, RecoveryCode, Refusal, Retirement, Step

bp = Blueprint("recovery", __name__)


@bp.route("/login/recovery", methods=["GET", "POST"])
@signin.at(Step.CHALLENGE)
@signin.recovery_codes_required
def challenge() -> ResponseReturnValue:
    form = RecoveryCodeForm()
    if form.validate_on_submit():
        typed = form.recovery_code.data or ""
        refused = RecoveryCode.claim(signin.here(), typed, signin.act(), signin.recovery_codes_on)
        if refused is None:
            return redirect(url_for("recovery.prompt"), 303)
        reject(form.recovery_code, _explain(refused))
    return page("recovery/challenge.html", form, file_name=_file_name(), code_length=recovery_codes.LENGTH)


@bp.route("/mfa/recovery-code", methods=["GET", "POST"])
@signin.at(Step.SAVE_CODE, signed_in=True)
@signin.recovery_codes_required
@signin.step_up_required
def prompt() -> ResponseReturnValue:
    sign_in, form = signin.here(), SavedForm()
    pending = sign_in.pending_code(signin.now())
    if pending is None:
        return _nothing_to_save(form)
    if form.validate_on_submit():
        if not form.saved.data:
            reject(form.saved, _tick_the_box())
        else:
            token = sign_in.save_code(form.shown.data or "", signin.act(), signin.recovery_codes_on)
            if token:
                return signin.go_on(token, notice="app-ready" if pending.enrollment else "code-saved")
            pending = sign_in.pending_code(signin.now())
            if pending is None:
                return _nothing_to_save(form)
            reject(form.saved, "A newer code has been made since. Save the one you see now, then tick the box.")
    form.saved.data, form.shown.data = False, pending.digest
    return page(
        "recovery/prompt.html",
        form,
        pending=pending,
        recovering=sign_in.is_recovering,
        replaces_one=sign_in.user.has_saved_code(),
        **_slip(pending),
    )


@bp.get("/mfa/recovery-code.txt")
@signin.at(Step.SAVE_CODE, signed_in=True)
@signin.recovery_codes_required
@signin.step_up_required
def download() -> ResponseReturnValue:
    pending = signin.here().pending_code(signin.now()) or abort(404)
    person = pending.user.email.partition("@")[0]
    text = render_template("recovery/slip.txt", pending=pending, **_slip(pending))
    answer = Response(text, mimetype="text/plain")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{_file_name()}-{_plain(person)}.txt")
    return answer


@bp.post("/mfa/finish")
@signin.at(Step.SAVE_CODE, signed_in=True)
@signin.step_up_required
def finish_without_code() -> ResponseReturnValue:
    """The one button of the page that says codes were switched off while somebody was at the prompt."""
    sign_in = signin.here()
    if signin.recovery_codes_on() or not sign_in.can_go_without_code(signin.now()):
        return redirect(url_for("recovery.prompt"), 303)
    notice = "app-ready" if sign_in.confirmed_enrollment(signin.now()) else None
    return signin.go_on(sign_in.go_without_code(signin.act()), notice)


@bp.route("/mfa/lost-device", methods=["GET", "POST"])
@signin.at(Step.LOST_DEVICE)
def lost_device() -> ResponseReturnValue:
    sign_in, form = signin.here(), LostDeviceForm()
    if form.validate_on_submit():
        if form.still_have.data == "no":
            Enrollment.open_or_begin(sign_in, signin.act())
            return redirect(url_for("enrollment.setup"), 303)
        return signin.go_on(sign_in.answer_lost_device(signin.act(), kept=form.still_have.data == "yes"))
    return page("recovery/lost_device.html", form)


def _nothing_to_save(form: SavedForm) -> ResponseReturnValue:
    """Back to the account, saying of the code that was on the page whether it is the one that counts."""
    saved = RecoveryCode.saved(signin.here().user).first()
    notice = None
    if saved:
        notice = "already-saved" if form.shown.data in (None, "", saved.digest) else "other-code"
    return redirect(url_for("account.overview", notice=notice), 303)


def _explain(refused: Slip | Refusal | Old | Busy) -> str:
    match refused:
        case recovery_codes.Empty():
            return "Enter your recovery code"
        case recovery_codes.OneTimeCode():
            return "That looks like a code from your app. Use it on the previous page."
        case recovery_codes.WrongLength(typed=typed):
            return f"A recovery code has {recovery_codes.LENGTH} letters and numbers. You've typed {typed}."
        case Slip():
            return "There's a typing slip in that code. Compare it with your saved copy, four characters at a time."
        case Old(at=at, how=Retirement.RESET):
            return f"That code stopped working on {words.day(at)}, when your sign-in was reset."
        case Old(at=at, was_saved=False):
            return f"That code was replaced on {words.day(at)}, before it was saved. Use the newest one you saved."
        case Old(at=at, how=how):
            done = "used" if how is Retirement.SPENT else "replaced"
            return f"That code was {done} on {words.day(at)}. Use the one you saved then."
        case Busy(until=until):
            return (
                f"That code is being used in another browser. It can be used here from {words.time(until)} "
                "if that sign-in isn't finished."
            )
    return "That recovery code isn't right. Check it against your newest saved copy: older codes stop working."


def _slip(pending: PendingCode) -> dict[str, Any]:
    """What stands on the recovery slip."""
    return {
        "code": recovery_codes.display(pending.code),
        "host": urlsplit(current_app.config["SITE_URL"]).netloc,
        "email": pending.user.email,
    }


def _file_name() -> str:
    return f"{_plain(current_app.config['SITE_NAME'])}-recovery-code"


def _plain(text: str) -> str:
    """The text as part of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _tick_the_box() -> str:
    contact = current_app.config["SUPPORT_CONTACT"]
    return (
        "Tick the box once you've saved the code. "
        f"Without it, losing your phone means waiting for {contact} to let you in."
    )
