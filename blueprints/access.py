"""Decorators that say who may open a view, and the check before every request. Without one it takes a signed-in
person."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Response, abort, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from authn import groups
from authn.events import EventKind
from authn.steps import Step
from blueprints.paths import is_file, local_part, requested_path, safe_next
from blueprints.session import context, current_session, now, signed_in_person, to_due_page, visit
from flows import sessions
from flows.audit import record
from models import Session, recovery_codes_are_on

View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Anyone may open it."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def at(*steps: Step) -> Callable[[View], View]:
    """A session may open it at these steps."""

    def mark(view: View) -> View:
        view.open_at = steps  # type: ignore[attr-defined]
        return view

    return mark


def recovery_codes_required(view: View) -> View:
    """While recovery codes are off nobody may open it, and nothing that was sent is looked at."""
    view.needs_recovery_codes = True  # type: ignore[attr-defined]
    return view


def step_up_required(view: View) -> View:
    """A signed-in person must have given password and six-digit code in the last STEP_UP_SECONDS of this session. A
    view that is public as well never opens: which of the two was meant nobody can tell."""
    return _after_step_up(view, lambda session: session.verified_at or 0)


def step_up_or_recovery_required(view: View) -> View:
    """The same, but in a session that signed in with a recovery code the password alone will do: the phone is lost."""
    return _after_step_up(view, lambda session: max(session.verified_at or 0, session.password_at or 0))


def group_required(name: str) -> Callable[[View], View]:
    """A signed-in person must be in this group. A view that is public as well never opens. ValueError when no group can
    have this name."""
    if not groups.is_name(name):
        raise ValueError(f"{name!r} can't be a group: use up to 32 small letters, numbers and dashes.")

    def mark(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
            person = signed_in_person()
            if _is_public() or person is None or not person.is_in(name):
                abort(403)
            return view(*args, **kwargs)  # type: ignore[no-any-return]

        return guarded  # type: ignore[return-value]

    return mark


def _after_step_up(view: View, given_at: Callable[[Session], int]) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        if _is_public():
            abort(403)
        session, since = current_session(), now() - current_app.config["STEP_UP_SECONDS"]
        if session.is_signed_in and not since < given_at(session) <= now():
            note_our_answer()
            came_from = requested_path() if request.method == "GET" else local_part(request.referrer)
            return redirect(url_for("login.verify", next=safe_next(came_from, safe_next(requested_path()))), 303)
        return view(*args, **kwargs)  # type: ignore[no-any-return]

    return guarded  # type: ignore[return-value]


def is_ours(endpoint: str | None) -> bool:
    """Return whether it is a page that create_app registered, and nobody's own."""
    return endpoint in current_app.extensions["our_endpoints"]


def note_our_answer() -> None:
    """Note that this answer is one of ours, in place of the view's."""
    g.view_answers = False


def view_answers() -> bool:
    """Return whether the answer is that of a view of one's own, or a file: these say themselves who may keep it."""
    return bool(g.get("view_answers", False))


def turn_scripts_away() -> ResponseReturnValue | None:
    """Before any other check: answer the script of somebody who is not signed in with an empty 401, since it cannot
    follow a sign-in."""
    view = _closed_view()
    if view is None or request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate":
        return None
    session = visit().session
    if session and (session.is_signed_in or session.step in _open_at(view)):
        return None
    return Response(status=401)


def gate() -> ResponseReturnValue | None:
    """Before every view: let it be opened and note that the person is active, or answer in its place: with the page
    that is due, or the one that says that recovery codes are off."""
    if request.endpoint is None:
        return None
    if is_file(request.endpoint):
        g.view_answers = True
        return None
    if unfinished := visit().codes_went_off:
        sessions.end(unfinished, EventKind.SIGN_IN_ENDED, context())
    view = _closed_view()
    if view and (answer := _answer_in_place_of(view)):
        return answer
    g.view_answers = not is_ours(request.endpoint)
    return None


def _answer_in_place_of(view: Callable[..., Any]) -> ResponseReturnValue | None:
    if getattr(view, "needs_recovery_codes", False) and not recovery_codes_are_on():
        return codes_are_off()
    session = visit().session
    if session is None:
        return _to_sign_in()
    if session.step not in _open_at(view):
        return to_due_page(session)
    sessions.touch(session, now())
    return None


def _asked_for() -> Callable[..., Any] | None:
    return current_app.view_functions.get(request.endpoint or "")


def _is_public() -> bool:
    return getattr(_asked_for(), "is_public", False)


def _closed_view() -> Callable[..., Any] | None:
    """Return the view of this request, unless anyone may open it or there is none."""
    view = _asked_for()
    return None if view is None or _is_public() or is_file(request.endpoint or "") else view


def _open_at(view: Callable[..., Any]) -> tuple[Step, ...]:
    return getattr(view, "open_at", (Step.SIGNED_IN,))


def codes_are_off() -> ResponseReturnValue:
    """Answer with the page in place of every page about codes. What was typed is not looked at."""
    session = visit().session
    if request.method == "POST":
        record(EventKind.RECOVERY_CODE_WHILE_OFF, context(), signed_in_person())
    page = render_template(
        "recovery/off.html",
        waiting=session is not None and session.can_go_without_code(now()),
        ended=visit().codes_went_off is not None,
        step=session.step if session else None,
    )
    return page, 403


def _to_sign_in() -> ResponseReturnValue:
    wanted = safe_next(requested_path(), "") if request.method == "GET" else ""
    return redirect(url_for("login.password", notice=visit().ended or "needed", next=wanted or None), 303)
