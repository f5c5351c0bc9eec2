"""Whose request this is, and where the sign-in goes on. The only user of flask.session, which is the cookie."""

from dataclasses import dataclass, replace
from functools import cache

from flask import Flask, Request, current_app, g, redirect, request, url_for
from flask import session as cookie
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_login import AnonymousUserMixin
from flask_wtf.csrf import generate_csrf
from itsdangerous import BadSignature
from werkzeug.wrappers import Response

from authn.events import EventKind
from authn.steps import Step
from blueprints.known_browser import known_browser, remember
from blueprints.paths import ACCOUNT, home, safe_next, with_notice
from flows import sessions
from flows.transactions import Context
from models import Session, User, recovery_codes_are_on

PAGES = {
    Step.CHALLENGE: "login.code",
    Step.ENROLL: "enrollment.setup",
    Step.SAVE_CODE: "recovery.prompt",
    Step.REPLACE_CODE: "recovery.prompt",
    Step.LOST_DEVICE: "recovery.lost_device",
    Step.REPLACE_DEVICE: "enrollment.setup",
}  # and then HOME
_LONGEST_ADDRESS, _LONGEST_AGENT = 45, 200


@dataclass(frozen=True)
class Visit:
    """What the cookie of a request leads to: a live session, or the notice that says why it ended."""

    session: Session | None = None
    ended: str | None = None
    codes_went_off: Session | None = None  # an unfinished recovery sign-in that is to be ended
    was_signed_in: bool = False  # when this request began


class Cookies(SecureCookieSessionInterface):
    """Flask's signed cookies, whatever their age: when a session is over its row says. Flask's own would void those
    that are signed later than now, which after a correction of the clock are good ones."""

    def __init__(self) -> None:
        # Made once: its keys are those that the app was made with.
        self.get_signing_serializer = cache(super().get_signing_serializer)  # type: ignore[method-assign]

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        name = self.get_cookie_name(app)
        if name not in request.headers.get("Cookie", ""):  # as on the hosts of other sites, whose cookies may be odd
            return self.session_class()
        sent = request.cookies.get(name, "")
        try:
            return self.session_class(self.get_signing_serializer(app).loads(sent))  # type: ignore[union-attr]
        except BadSignature:
            return self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what has changed, and one that a page of one's own has made permanent every time. An answer that brings
        the cookie is nobody's to keep, whatever its view says: from a cache others would get it too."""
        super().save_session(app, session, response)  # type: ignore[arg-type]
        if self.should_set_cookie(app, session):
            response.headers["Cache-Control"] = "no-store"


class Stranger(AnonymousUserMixin):  # type: ignore[misc]
    """Flask-Login's current_user where nobody is signed in: a public page may ask it what it asks a person."""

    email = ""
    is_admin = False

    def is_in(self, _group: str) -> bool:
        return False


def visit() -> Visit:
    """Return what this request's cookie leads to. A dead cookie is left alone, and only the sign-in page makes a new
    one: the slower half of a double click must not overwrite what the faster half was given."""
    if "visit" not in g:
        g.visit = _look_up()
    return g.visit  # type: ignore[no-any-return]


def ended() -> str | None:
    """Return the reason the session ended, without looking it up: error pages must work while the database is away."""
    return g.visit.ended if "visit" in g else None


def forget_visit() -> None:
    """Treat this request as signed out: what was read may not have been committed."""
    g.visit = Visit()


def current_session() -> Session:
    """Return the live session of this request. LookupError on a public page that has none."""
    session = visit().session
    if session is None:
        raise LookupError("Nobody has begun to sign in here: ask visit() on a public page.")
    return session


def signed_in_person() -> User | None:
    """Return who is signed in: nobody before the sign-in is finished. Requests that are refused are recorded for them
    alone: somebody with the password could otherwise fill the owner's record."""
    session = visit().session
    return session.user if session and session.is_signed_in else None


def now() -> int:
    return int(current_app.config["CLOCK"]())


def context() -> Context:
    """Return this request as flows want to know it."""
    agent = request.user_agent.string.encode(errors="replace").decode()[:_LONGEST_AGENT]
    # Cached: of one request a browser is known from its beginning to its end, or not.
    return Context(now(), (request.remote_addr or "")[:_LONGEST_ADDRESS], agent, known_browser=cache(known_browser))


def admin_context() -> Context:
    """Return this request as something that an admin does."""
    session = current_session()
    admin, form = session.user, request.form.get("csrf_token", "")
    return replace(context(), actor=admin.email, admin_id=admin.id, admin_session=session.id, form=form)


def without_request(context: Context) -> Context:
    """Return the context for what is done when the request is over."""
    return replace(context, known_browser=lambda _email: "")


def command_line() -> Context:
    return Context(now(), actor="the command line")


def go_on(session: Session, notice: str | None = None, to: str | None = None) -> Response:
    """Lead to what is due now: at the end of a sign-in to the page first asked for, or HOME; and whoever was signed in
    before to `to`, or back to the account. A new token goes into the cookie, and with it a new CSRF token."""
    was_signed_in = visit().was_signed_in
    g.visit = Visit(session)
    if cookie.get("token") != session.token:
        cookie.clear()
        cookie["token"] = session.token
        g.pop("csrf_token", None)
        generate_csrf()
    if not session.is_signed_in:
        return to_due_page(session)
    back = ACCOUNT if was_signed_in else safe_next(session.next_path, home())
    answer = redirect(with_notice(to or back, notice), 303)
    return remember(answer, session.user) if session.is_due_a_mark else answer


def to_due_page(session: Session) -> Response:
    """Lead to the page of the step, and from the last one home. At the challenge a security key comes first, where the
    person has one."""
    if session.is_signed_in:
        return redirect(home(), 303)
    asks_for_key = session.step == Step.CHALLENGE and session.user.key_count > 0
    return redirect(url_for("security_keys.challenge" if asks_for_key else PAGES[Step(session.step)]), 303)


def start_afresh() -> None:
    """On the sign-in page: let go of a cookie whose session is dead."""
    if "token" in cookie:
        cookie.clear()


def end_session() -> None:
    """Sign out: the row is deleted and the cookie let go."""
    sessions.end(current_session(), EventKind.SIGNED_OUT, context())
    cookie.clear()


def welcome_link(token: str) -> str:
    """Return a one-time link as it is handed over. Its host is the configured one, whatever the request said."""
    return f"{current_app.config['SITE_URL']}/welcome/{token}"


def _look_up() -> Visit:
    token = cookie.get("token")
    session = Session.find(token) if isinstance(token, str) else None
    if session is None:
        return Visit()
    if session.expires_at(now()) <= now():
        return Visit(ended="away" if session.is_signed_in else "too-slow")
    if session.step == Step.REPLACE_CODE and not recovery_codes_are_on():
        return Visit(ended="codes-off", codes_went_off=session)
    return Visit(session, was_signed_in=session.is_signed_in)
