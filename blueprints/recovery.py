"""The recovery code: typed in place of the six-digit code, shown to be saved; and the question about a lost device."""

import re
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from authn import recovery_codes
from authn.steps import Cause, Step
from blueprints import access, messages
from blueprints.forms import LostDeviceForm, RecoveryCodeForm, SavedForm, page, reject
from blueprints.session import context, current_session, go_on, now
from flows import recovery, security_keys
from models import RecoveryCode, recovery_codes_are_on

bp = Blueprint("recovery", __name__)

_ANSWERS = {"yes": Cause.DEVICE_KEPT, "later": Cause.DEVICE_LATER, "no": Cause.DEVICE_GONE}


@bp.route("/login/recovery", methods=["GET", "POST"])
@access.at(Step.CHALLENGE)
@access.recovery_codes_required
def challenge() -> ResponseReturnValue:
    form, session = RecoveryCodeForm(), current_session()
    if form.validate_on_submit():
        refusal = recovery.claim(session, form.recovery_code.data or "", context())
        if refusal is None:
            return go_on(session)
        reject(form.recovery_code, messages.explain(refusal))
    return page(
        "recovery/challenge.html",
        form,
        file_name=_file_name(),
        code_length=recovery_codes.LENGTH,
        user=session.user,
    )


@bp.route("/mfa/recovery-code", methods=["GET", "POST"])
@access.at(Step.SAVE_CODE, Step.REPLACE_CODE, Step.SIGNED_IN)
@access.recovery_codes_required
@access.step_up_required
def prompt() -> ResponseReturnValue:
    session, form = current_session(), SavedForm()
    code = recovery.code_to_save(session, context())
    if form.validate_on_submit() and code:
        if not form.saved.data:
            reject(form.saved, messages.of_form("tick-the-box"))
        else:
            notice = "app-ready" if session.confirmed_enrollment(now()) else "code-saved"
            refusal = recovery.save_code(session, form.shown.data or "", context())
            if refusal is None:
                return go_on(session, notice)
            reject(form.saved, messages.explain(refusal))
            code = recovery.code_to_save(session, context())
    return _show(code, form) if code else _nothing_to_save(form)


@bp.get("/mfa/recovery-code.txt")
@access.at(Step.SAVE_CODE, Step.REPLACE_CODE, Step.SIGNED_IN)
@access.recovery_codes_required
@access.step_up_required
def download() -> ResponseReturnValue:
    code = RecoveryCode.shown_in(current_session(), now()) or abort(404)
    name = f"{_file_name()}-{_plain(code.user.email.partition('@')[0])}.txt"
    answer = Response(render_template("recovery/slip.txt", **_slip(code)), mimetype="text/plain")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


@bp.post("/mfa/finish")
@access.at(Step.SAVE_CODE, Step.REPLACE_CODE, Step.SIGNED_IN)
@access.step_up_required
def finish_without_code() -> ResponseReturnValue:
    """The one button of the page that says codes were switched off while somebody was at the prompt."""
    session = current_session()
    if recovery_codes_are_on() or not session.can_go_without_code(now()):
        return redirect(url_for("recovery.prompt"), 303)
    notice = "app-ready" if session.confirmed_enrollment(now()) else None
    recovery.finish_without_code(session, context())
    return go_on(session, notice)


@bp.route("/mfa/lost-device", methods=["GET", "POST"])
@access.at(Step.LOST_DEVICE, Step.REPLACE_DEVICE)
def lost_device() -> ResponseReturnValue:
    session, form = current_session(), LostDeviceForm()
    if form.validate_on_submit():
        recovery.answer_lost_device(session, _ANSWERS[form.still_have.data], form.lost_ids, context())
        return go_on(session)
    return page("recovery/lost_device.html", form, keys=security_keys.of(session.user))


def _show(code: RecoveryCode, form: SavedForm) -> ResponseReturnValue:
    session = current_session()
    form.saved.data, form.shown.data = False, code.digest
    return page(
        "recovery/prompt.html",
        form,
        enrolling=session.confirmed_enrollment(now()) is not None,
        recovering=session.step == Step.REPLACE_CODE,
        replaces_one=session.user.has_saved_code(),
        **_slip(code),
    )


def _nothing_to_save(form: SavedForm) -> ResponseReturnValue:
    """Back to the account, saying of the code that was on the page whether it is the one that counts."""
    saved = RecoveryCode.saved(current_session().user).first()
    notice = "setup-too-slow" if current_session().has_left_an_enrollment() else None
    if saved:
        notice = "already-saved" if form.shown.data in (None, "", saved.digest) else "other-code"
    return redirect(url_for("account.overview", notice=notice), 303)


def _slip(code: RecoveryCode) -> dict[str, Any]:
    """What stands on the recovery slip."""
    return {
        "code": recovery_codes.display(code.in_plain()),
        "host": urlsplit(current_app.config["SITE_URL"]).netloc,
        "email": code.user.email,
        "made_at": code.created_at,
    }


def _file_name() -> str:
    return f"{_plain(current_app.config['SITE_NAME'])}-recovery-code"


def _plain(text: str) -> str:
    """Return the text as part of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
