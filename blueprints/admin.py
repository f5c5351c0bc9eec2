"""For admins: everybody's state, resets and links, the switch for recovery codes, the audit log."""

from typing import Any

from flask import Blueprint, abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from authn import email_addresses
from authn.links import LinkPurpose
from blueprints import access
from blueprints.forms import (
    MAX_ID,
    PAGE,
    GroupsForm,
    NewPeopleForm,
    ReasonForm,
    SwitchForm,
    first_page,
    id_in_query,
    page,
)
from blueprints.session import admin_context, current_session, now, welcome_link, without_request
from database import store
from flows import codes
from flows import people as flow
from models import Event, RecoveryCode, User, recovery_codes_are_fixed, recovery_codes_are_on
from roster import Person

bp = Blueprint("admin", __name__, url_prefix="/admin")

_PERSON = f"/people/<int(max={MAX_ID}):person_id>"
_CHANGES = {each.__name__: each for each in (flow.unlock, flow.activate, flow.deactivate, flow.promote, flow.demote)}


@bp.before_request
def admins_only() -> None:
    if not current_session().user.is_admin:
        abort(403)


@bp.get("/people")
def people() -> ResponseReturnValue:
    after = email_addresses.fold(request.args.get("after", "")) or ""
    found = first_page(Person.page(now(), after, PAGE + 1))
    return page("admin/people.html", **found, codes_on=recovery_codes_are_on(), myself=current_session().user)


@bp.route("/people/new", methods=["GET", "POST"])
@access.step_up_required
def new_people() -> ResponseReturnValue:
    """Adds everybody in the list or, where one line will not do, nobody, and says which line that is."""
    form, taken = NewPeopleForm(), list[str]()
    if form.validate_on_submit():
        made = flow.add_all(form.addresses, admin_context())
        if isinstance(made, dict):
            links = {email: welcome_link(token) for email, token in made.items()}
            return page("admin/links.html", links=links, mailed=form.mail.data and _mail(made))
        taken = made.emails
    elif form.is_submitted():
        taken = User.among(form.addresses)
    if taken:
        form.refuse(taken)
    return page("admin/new_people.html", form, most=email_addresses.MOST_LISTED, taken=taken)


@bp.route(f"{_PERSON}/groups", methods=["GET", "POST"])
@access.step_up_required
def groups(person_id: int) -> ResponseReturnValue:
    person = _person(person_id)
    form = GroupsForm(groups=person.groups.replace(",", " "))
    if form.validate_on_submit():
        refusal = flow.set_groups(person, form.names, admin_context())
        if refusal is None:
            return redirect(url_for("admin.people", notice="groups"), 303)
        form.refuse(refusal)
    return page("admin/groups.html", form, person=person)


@bp.route(f"{_PERSON}/reset-mfa", methods=["GET", "POST"])
@access.step_up_required
def reset_mfa(person_id: int) -> ResponseReturnValue:
    person, form = _person(person_id), ReasonForm()
    if person == current_session().user:
        return page("admin/not_yourself.html", status=403)
    if form.validate_on_submit():
        return _show_link(person, flow.reset(person, admin_context(), form.reason.data or ""))
    return page("admin/reset_mfa.html", form, person=person)


@bp.post(f"{_PERSON}/invite")
@access.step_up_required
def invite(person_id: int) -> ResponseReturnValue:
    person = _person(person_id)
    return _show_link(person, flow.invite(person, admin_context()))


@bp.post(f"{_PERSON}/<any({', '.join(_CHANGES)}):change>")
@access.step_up_required
def change(person_id: int, change: str) -> ResponseReturnValue:
    refusal = _CHANGES[change](_person(person_id), admin_context())
    return redirect(url_for("admin.people", notice="last-admin" if refusal else change), 303)


@bp.get("/settings")
def settings() -> ResponseReturnValue:
    return _settings_page()


@bp.route("/settings/recovery-codes", methods=["GET", "POST"])
@access.step_up_required
def switch_recovery_codes() -> ResponseReturnValue:
    """Asks before turning the switch, and says what it will mean in numbers."""
    form = SwitchForm()
    if recovery_codes_are_fixed():
        return _settings_page(403)
    if form.validate_on_submit() and codes.switch(form.turn.data == "on", admin_context()) is None:
        return redirect(url_for("admin.settings"), 303)
    saved, without = RecoveryCode.count_saved(), RecoveryCode.count_missing()
    return page("admin/switch.html", form, on=recovery_codes_are_on(), saved=saved, without=without)


@bp.get("/audit")
def audit() -> ResponseReturnValue:
    about = id_in_query("person")
    person = _person(about) if about is not None else None
    found = Event.page(person, id_in_query("before"), PAGE + 1)
    return page("admin/audit.html", **first_page(found), person=person)


def _settings_page(status: int = 200) -> ResponseReturnValue:
    return page("admin/settings.html", status=status, on=recovery_codes_are_on(), fixed=recovery_codes_are_fixed())


def _show_link(person: User, token: str) -> ResponseReturnValue:
    return page(
        "admin/link.html", person=person, link=welcome_link(token), until=now() + LinkPurpose.INVITATION.seconds
    )


def _mail(tokens: dict[str, str]) -> bool:
    """Have each person's link mailed. Return whether this site mails any."""
    mailer: Any = current_app.extensions.get("mailer")
    asked = without_request(admin_context())
    for email, token in tokens.items() if mailer else ():
        mailer.mail_invitation(store(), email, token, asked)
    return mailer is not None


def _person(person_id: int) -> User:
    return User.get_or_none(User.id == person_id) or abort(404)
