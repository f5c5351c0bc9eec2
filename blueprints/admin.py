"""For admins: everybody's state, resets and links, the switch for recovery codes, the audit log."""

from flask import Blueprint, abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from authn import email_addresses
from blueprints import signin
from blueprints.forms import MAX_ID, ReasonForm, SwitchForm, id_in_query, page
from models import INVITATION_SECONDS, Event, Invitation, Person, RecoveryCode, Setting, User

bp = Blueprint("admin", __name__, url_prefix="/admin")

_PAGE = 50
_PERSON = f"/people/<int(max={MAX_ID}):person_id>"


@bp.before_request
def admins_only() -> None:
    if not signin.here().user.is_admin:
        abort(403)


@bp.get("/people")
def people() -> ResponseReturnValue:
    after = email_addresses.fold(request.args.get("after", "")) or ""
    found = Person.page(signin.now(), after, _PAGE + 1)
    return page(
        "admin/people.html",
        people=found[:_PAGE],
        more=len(found) > _PAGE,
        codes_on=signin.recovery_codes_on(),
        myself=signin.here().user,
    )


@bp.route(f"{_PERSON}/reset-mfa", methods=["GET", "POST"])
@signin.step_up_required
def reset_mfa(person_id: int) -> ResponseReturnValue:
    person, form = _person(person_id), ReasonForm()
    if person == signin.here().user:
        return page("admin/not_yourself.html", status=403)
    if form.validate_on_submit():
        return _show_link(person, person.reset_mfa(signin.admin_act(), form.reason.data or ""))
    return page("admin/reset_mfa.html", form, person=person)


@bp.post(f"{_PERSON}/invite")
@signin.step_up_required
def invite(person_id: int) -> ResponseReturnValue:
    person = _person(person_id)
    return _show_link(person, Invitation.issue(person, signin.admin_act()))


@bp.post(f"{_PERSON}/<any(unlock, activate, deactivate, promote, demote):change>")
@signin.step_up_required
def change(person_id: int, change: str) -> ResponseReturnValue:
    person, act = _person(person_id), signin.admin_act()
    done = {
        "unlock": person.unlock,
        "activate": person.activate,
        "deactivate": person.deactivate,
        "promote": person.make_admin,
        "demote": person.remove_admin,
    }[change](act)
    return redirect(url_for("admin.people", notice=change if done else "last-admin"), 303)


@bp.get("/settings")
def settings() -> ResponseReturnValue:
    return _settings_page()


@bp.route("/settings/recovery-codes", methods=["GET", "POST"])
@signin.step_up_required
def switch_recovery_codes() -> ResponseReturnValue:
    """Asks before turning the switch, and says what it will mean in numbers."""
    form, on = SwitchForm(), signin.recovery_codes_on()
    if current_app.config["RECOVERY_CODES_ENABLED"] is not None:
        return _settings_page(403)
    if form.validate_on_submit():
        Setting.switch_recovery_codes(form.turn.data == "on", signin.admin_act())
        return redirect(url_for("admin.settings"), 303)
    return page(
        "admin/switch.html", form, on=on, saved=RecoveryCode.count_saved(), without=RecoveryCode.count_missing()
    )


@bp.get("/audit")
def audit() -> ResponseReturnValue:
    about = id_in_query("person")
    person = _person(about) if about is not None else None
    events = Event.page(person, before=id_in_query("before"), size=_PAGE + 1)
    return page("admin/audit.html", events=events[:_PAGE], person=person, more=len(events) > _PAGE)


def _settings_page(status: int = 200) -> ResponseReturnValue:
    fixed = current_app.config["RECOVERY_CODES_ENABLED"] is not None
    return page("admin/settings.html", status=status, on=signin.recovery_codes_on(), fixed=fixed)


def _show_link(person: User, token: str) -> ResponseReturnValue:
    until = signin.now() + INVITATION_SECONDS
    return page("admin/link.html", person=person, link=signin.welcome_link(token), until=until)


def _person(person_id: int) -> User:
    return User.get_or_none(User.id == person_id) or abort(404)
