"""The sign-in sequence: who asks, which step is due, who may open what. The only user of flask.session."""

import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from secrets import token_urlsafe
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import after_this_request, current_app, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from models import Act, Event, Kind, Session, Setting, Step, User
from store import store

View = TypeVar("View", bound=Callable[..., Any])

PAGES = {
    Step.CHALLENGE: "login.code",
    Step.ENROLL: "enrollment.setup",
    Step.SAVE_CODE: "recovery.prompt",
    Step.LOST_DEVICE: "recovery.lost_device",
}

_LONGEST_PATH = 500  # it comes back in a header
_KNOWN_BROWSER_SECONDS = 180 * 86400


# What a view says at its top ------------------------------------------------------------------------------------------


def public(view: View) -> View:
    """Anyone may open it. Without a word here, only a signed-in person may."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def at(*steps: Step, signed_in: bool = False) -> Callable[[View], View]:
    """An unfinished sign-in may open it at these steps; with `signed_in`, so may a finished one."""

    def mark(view: View) -> View:
        view.open_at = {*steps, *([None] if signed_in else [])}  # type: ignore[attr-defined]
        return view

    return mark


def recovery_codes_required(view: View) -> View:
    """While recovery codes are off nobody may open it, and nothing that was sent is looked at."""
    view.needs_recovery_codes = True  # type: ignore[attr-defined]
    return view


def step_up_required(view: View) -> View:
    """A signed-in person must have given password and six-digit code in the last STEP_UP_SECONDS of this session."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        sign_in = here()
        recently = now() - current_app.config["STEP_UP_SECONDS"]
        if sign_in.is_signed_in and not (sign_in.verified_at and recently < sign_in.verified_at <= now()):
            came_from = request.path if request.method == "GET" else _path_of(request.referrer or "")
            return redirect(url_for("login.verify", next=safe_next(came_from, safe_next(request.path))), 303)
        return view(*args, **kwargs)  # type: ignore[no-any-return]

    return guarded  # type: ignore[return-value]


def gate() -> ResponseReturnValue | None:
    """Before every view: let it be opened and note that the person is active, or answer in its place: with the page
    that is due, or the one that says that recovery codes are off."""
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.endpoint == "static":
        return None
    sign_in = current()
    if "to_end" in g:
        g.to_end.end(Kind.SIGN_IN_ENDED, act(g.to_end.user.email))
    if getattr(view, "is_public", False):
        return None
    if getattr(view, "needs_recovery_codes", False) and not recovery_codes_on():
        return codes_are_off()
    if sign_in is None:
        asked_for = safe_next(request.full_path.rstrip("?"), "") if request.method == "GET" else ""
        notice = g.get("ended", "needed")
        return redirect(url_for("login.password", notice=notice, next=asked_for or None), 303)
    open_at = getattr(view, "open_at", {None})
    if sign_in.step not in open_at:
        return to_due_page(sign_in)
    sign_in.touch(now())
    return None


# Who asks, when -------------------------------------------------------------------------------------------------------


def current() -> Session | None:
    """The live session of this request's cookie. A dead one is left alone: only the sign-in page makes a new cookie, so
    the slower half of a double click cannot overwrite what the faster half was given."""
    if "sign_in" not in g:
        g.sign_in = _find_live()
    return g.sign_in  # type: ignore[no-any-return]


def here() -> Session:
    """The live session, where the gate has let one through."""
    sign_in = current()
    if sign_in is None:
        raise LookupError("This view is public: ask current() instead.")
    return sign_in


def person() -> User | None:
    """Whose password was given in this session, signed in or not."""
    sign_in = current()
    return sign_in.user if sign_in else None


def load_user() -> User | None:
    """Who is signed in: nobody before the sign-in is finished."""
    sign_in = current()
    return sign_in.user if sign_in and sign_in.is_signed_in else None


def now() -> int:
    return int(current_app.config["CLOCK"]())


def recovery_codes_on() -> bool:
    """The flag, read at this moment: what the configuration fixes, else the switch. Nonsense counts as off."""
    fixed = current_app.config["RECOVERY_CODES_ENABLED"]
    return Setting.recovery_codes_on() if fixed is None else fixed is True


def act(email: str | None = None) -> Act:
    """This request, as the models want to know it; `email` is the account that is tried, where none is signed in."""
    user = person()
    account = email or (user.email if user else "")
    agent = request.user_agent.string.encode(errors="replace").decode()[:200]
    return Act(now(), (request.remote_addr or "")[:45], agent, known_browser=_known_browser(account))


def admin_act() -> Act:
    """This request, as something an admin does about somebody else."""
    admin = here().user
    return replace(act(), by=admin.email, admin=admin.id)


def act_of_command_line() -> Act:
    return Act(now(), by="the command line")


def _find_live() -> Session | None:
    token = session.get("token")
    found = Session.find(token) if isinstance(token, str) else None
    if found is None:
        return None
    if found.expires_at <= now():
        g.ended = "away" if found.is_signed_in else "too-slow"
        return None
    if found.is_recovering and not recovery_codes_on():
        g.ended, g.to_end = "codes-off", found
        return None
    return found


# Going on -------------------------------------------------------------------------------------------------------------


def begin(user: User, next_path: str) -> Response:
    """The password was right: start a session and go to its first step."""
    token = Session.start(user, safe_next(next_path), act(user.email))
    g.sign_in = Session.find(token)
    if g.sign_in is None:  # ended by another request in this very moment
        return redirect(url_for("login.password"), 303)
    return go_on(token)


def go_on(token: str, notice: str | None = None, to: str | None = None) -> Response:
    """Give the browser its new token, and with it a new CSRF token, and go to what is due now; when signed in, to the
    page `to`, or the one first asked for."""
    session.clear()
    session["token"] = token
    g.pop("csrf_token", None)
    generate_csrf()
    sign_in = here()
    if not sign_in.is_signed_in:
        return to_due_page(sign_in)
    _remember_browser(sign_in.user)
    path = to or safe_next(sign_in.next_path)
    return redirect(_with_notice(path, notice) if notice else path, 303)


def to_due_page(sign_in: Session) -> Response:
    return redirect(url_for(PAGES[Step(sign_in.step)] if sign_in.step else "account.overview"), 303)


def start_afresh() -> None:
    """On the sign-in page: let go of a cookie whose session is dead."""
    if "token" in session:
        session.clear()


def sign_out() -> None:
    here().end(Kind.SIGNED_OUT, act())
    session.clear()


def welcome_link(token: str) -> str:
    """A one-time link as it is handed over; its host is the configured one, whatever the request said."""
    return f"{current_app.config['SITE_URL']}/welcome/{token}"


def safe_next(path: str, default: str = "/account") -> str:
    """The path if it is one page of this site that can be opened by GET, else the default.

    Browsers read backslashes, tabs and dots in ways of their own, so only plain paths pass."""
    path = re.sub(r"(?<=[?&])notice=[^&#]*&?", "", path)  # it told of what happened before this sign-in
    plain = re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path) and not re.search(r"//|/\.{1,2}(/|$)", path)
    if not plain or len(path) > _LONGEST_PATH:
        return default
    try:
        endpoint, _ = current_app.url_map.bind("").match(re.split("[?#]", path)[0], method="GET")
    except (HTTPException, RequestRedirect):
        return default
    return default if endpoint in ("static", "login.password") else path


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _with_notice(path: str, notice: str) -> str:
    base, mark, fragment = path.partition("#")
    return f"{base}{'&' if '?' in base else '?'}notice={notice}{mark}{fragment}"


def codes_are_off() -> ResponseReturnValue:
    """The page in place of every page about codes. What was typed is not looked at."""
    sign_in = current()
    if request.method == "POST":
        Event.record(Kind.RECOVERY_CODE_WHILE_OFF, act(), person())
    return (
        render_template(
            "recovery/off.html",
            waiting=sign_in is not None and sign_in.can_go_without_code(now()),
            ended=g.get("ended") == "codes-off",
            step=sign_in.step if sign_in else None,
        ),
        403,
    )


# A browser that has finished a sign-in before -------------------------------------------------------------------------


def _known_browser(email: str) -> str:
    """The id of this browser if the account knows it: it spends tries from its own bucket, so that strangers cannot
    lock the owner out. It authenticates nothing."""
    browser, _, mark = request.cookies.get(current_app.config["KNOWN_BROWSER_COOKIE"], "").partition(".")
    if not mark or not email:
        return ""
    user = User.get_or_none(User.email == email)
    expected = _browser_mark(browser, user)  # also for nobody, so that no time tells who is here
    return browser if hmac.compare_digest(mark.encode(), expected.encode()) and user else ""


def _remember_browser(user: User) -> None:
    if _known_browser(user.email):
        return
    browser = token_urlsafe(16)
    value = f"{browser}.{_browser_mark(browser, user)}"

    @after_this_request
    def set_cookie(response: Response) -> Response:
        config = current_app.config
        response.set_cookie(
            config["KNOWN_BROWSER_COOKIE"],
            value,
            max_age=_KNOWN_BROWSER_SECONDS,
            secure=config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
        return response


def _browser_mark(browser: str, user: User | None) -> str:
    """Bound to the account and to its password: a new password forgets every browser."""
    account = f"{user.id}\0{user.password_changed_at}" if user else ""
    return store().keyring.fingerprint("known browser", f"{browser}\0{account}")
