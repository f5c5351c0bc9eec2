"""The composition root: create_app puts settings, database, blueprints, headers and error pages together."""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from secrets import randbelow, token_hex
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, g, redirect, render_template, request, url_for
from flask.globals import request_ctx
from flask.signals import appcontext_pushed
from flask.typing import ResponseReturnValue
from flask_login import LoginManager
from flask_wtf.csrf import CSRFError, CSRFProtect
from gunicorn.http.errors import ParseException
from jinja2 import ChoiceLoader, FileSystemLoader
from peewee import IntegrityError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

import database
import settings
from authn.events import EventKind
from authn.passwords import Policy, TooBusy
from authn.sealing import Keyring, Unreadable
from authn.throttle import Paused
from blueprints import (
    access,
    account,
    admin,
    cli,
    demo,
    enrollment,
    forgot,
    login,
    messages,
    recovery,
    security_keys,
    session,
)
from flows import sessions
from flows.audit import record, recorded
from flows.codes import CodesAreOff
from flows.transactions import Superseded
from mail import Mailer
from models import User

OUR_BODY_LIMIT_BYTES = 64 * 1024
RETRY_SECONDS = 30

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the app. `config` wins over FLASK_ variables. Raise ConfigurationError when a setting is wrong."""
    app = Flask(__name__)
    app.config.update(settings.load(config or {}, Path(app.instance_path)))
    _configure(app)
    own = app.extensions["store"] = _make_store(app.config)
    _open_store(app, own)
    _send_mail(app, own)
    _log_to_stderr()

    _answer_proxies(app)  # first: on the hosts of other sites nothing else answers
    _watch_requests(app)
    for blueprint in (login.bp, security_keys.bp, enrollment.bp, recovery.bp, account.bp, admin.bp):
        app.register_blueprint(blueprint)
    if app.config["DEMO"]:
        app.register_blueprint(demo.bp)
    for group in (cli.db, cli.users, cli.codes, cli.keys, cli.events, demo.commands):
        app.cli.add_command(group)
    app.add_url_rule("/healthz", "healthz", access.public(_healthz))

    messages.add_to(app)
    _register_error_pages(app)
    app.extensions["our_endpoints"] = frozenset(app.view_functions)  # what is registered later is somebody's own
    app.log_exception = partial(_log_exception, app)  # type: ignore[method-assign]
    return app


def _configure(app: Flask) -> None:
    """What follows from the settings for Flask and its extensions."""
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}  # before Flask makes jinja_env
    app.jinja_loader = ChoiceLoader([FileSystemLoader(app.config["TEMPLATES"]), app.jinja_loader])  # type: ignore[list-item]
    app.session_interface = session.Cookies()
    secure = app.config["SITE_URL"].startswith("https:")
    prefix = "__Host-" if secure else ""
    app.config.update(
        SESSION_COOKIE_NAME=f"{prefix}session",
        KNOWN_BROWSER_COOKIE=f"{prefix}known-browser",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # _refuse_foreign_requests looks at more than the Referer
    )
    if app.config["TRUSTED_PROXIES"]:
        hops = app.config["TRUSTED_PROXIES"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def _answer_proxies(app: Flask) -> None:
    if app.config["APPS"]:
        from blueprints import apps

        app.register_blueprint(apps.bp)


def _make_store(config: Mapping[str, Any]) -> database.Store:
    try:
        connected = database.connect_database(config["DATABASE_URL"])
    except (KeyError, TypeError, ValueError):
        raise settings.ConfigurationError("DATABASE_URL has a word after its ? that no database knows.") from None
    return database.Store(
        connected,
        Keyring([config["SECRET_KEY"], *config["SECRET_KEY_FALLBACKS"]]),
        Policy(
            config["PASSWORD_HASH_COST"],
            config["PASSWORD_HASH_SLOTS"],
            config["PASSWORD_MIN_LENGTH"],
            config["SITE_NAME"],
        ),
        config,
    )


def _watch_requests(app: Flask) -> None:
    """What is done before every view, in this order, and after it."""
    app.before_request(access.turn_scripts_away)
    app.before_request(_refuse_foreign_requests)
    app.before_request(_limit_bodies)
    CSRFProtect(app)
    app.before_request(access.gate)
    app.after_request(partial(_add_headers, _page_headers(app.config["APPS"])))
    manager = LoginManager(app)
    manager.session_protection = None  # it would write a hash of address and browser into the cookie
    manager.anonymous_user = session.Stranger
    manager.request_loader(_load_user)


def _open_store(app: Flask, own: database.Store) -> None:
    """Have the tables live in this app's own store while one of its contexts is open."""

    def open_own(_app: Flask) -> None:
        g.store = database.opened(own)
        g.store.__enter__()

    def close_own(_error: BaseException | None) -> None:
        g.pop("store").__exit__(None, None, None)

    appcontext_pushed.connect(open_own, app, weak=False)
    app.teardown_appcontext(close_own)


def _send_mail(app: Flask, own: database.Store) -> None:
    config = app.config
    if config["MAIL_URL"]:
        app.register_blueprint(forgot.bp)
        app.extensions["mailer"] = Mailer(  # which keeps it alive: the signal holds it weakly
            config["MAIL_URL"], config["SITE_NAME"], config["SITE_URL"], config["SUPPORT_CONTACT"]
        )
        recorded.connect(app.extensions["mailer"], own)


def _log_to_stderr() -> None:
    log = logging.getLogger("sparekey")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stderr))


def _refuse_foreign_requests() -> None:
    """Before anything else: only this site's host names, and no form that another site has sent."""
    if request.endpoint != "healthz" and not _is_ours(f"{request.scheme}://{request.host}".lower()):
        raise BadRequest
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CSRFError("Another site sent this.")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_own_origin(origin):
        raise CSRFError("Another origin sent this.")


def _is_own_origin(origin: str) -> bool:
    if origin == "null":  # as a browser says in the form of a page that is never a referrer
        return _is_link()
    return _is_ours(origin) and urlsplit(origin).netloc == request.host.lower() and _is_safe(origin)


def _is_ours(origin: str) -> bool:
    return _is_of_site(origin, current_app.config["SITE_URL"], current_app.config["DEMO"])


@lru_cache(maxsize=100)  # most requests name the same one
def _is_of_site(origin: str, site_url: str, is_demo: bool) -> bool:
    """Return whether the host is SITE_URL's, or on this machine any loopback name. The demo, whose passwords everybody
    knows, has one name, and where that is localhost the number it stands for. The scheme is the proxy's affair."""
    try:
        site, host = urlsplit(site_url), urlsplit(origin)
    except ValueError:
        return False
    if site.scheme == "https" or is_demo:
        return host.netloc in (site.netloc, re.sub("^localhost(?=:|$)", "127.0.0.1", site.netloc))
    return settings.is_loopback(host.hostname or "")


def _is_safe(origin: str) -> bool:
    """Return whether the page was loaded as SITE_URL says: over https where that is."""
    is_http = origin.startswith("http:") and current_app.config["SITE_URL"].startswith("http:")
    return origin.startswith("https:") or is_http


def _is_link() -> bool:
    """Return whether the path holds the token of a one-time link."""
    return request.path.startswith("/welcome/")


def _limit_bodies() -> None:
    """MAX_CONTENT_LENGTH is for pages of one's own: no form of ours needs more. A form that comes in chunks, without a
    length, is refused as well: werkzeug would cut it at the limit and say nothing."""
    if access.is_ours(request.endpoint):
        request.max_content_length = OUR_BODY_LIMIT_BYTES
    if "Transfer-Encoding" in request.headers and request.form and getattr(request.stream, "is_exhausted", False):
        raise RequestEntityTooLarge


def _page_headers(apps: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every page. Chrome holds the redirects after a form to form-action, so that it names the
    sites where a sign-in may end."""
    hosts = "".join(f" https://{host}" for host in apps)
    policy = HEADERS["Content-Security-Policy"].replace("form-action 'self'", f"form-action 'self'{hosts}")
    return {**HEADERS, "Content-Security-Policy": policy}


def _add_headers(page_headers: Mapping[str, str], response: Response) -> Response:
    """What a view says of its own answer counts. None of ours is kept, nor one in place of a view's."""
    if "app_host" in g:  # nothing that would hold for the whole of somebody else's host
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
    said = {name.lower() for name in response.headers.keys()}
    response.headers.extend({name: value for name, value in page_headers.items() if name.lower() not in said})
    if _is_link():
        response.headers["Referrer-Policy"] = "no-referrer"  # or the next request would take it into the proxy's log
    if "Cache-Control" not in response.headers or not access.view_answers():
        response.headers["Cache-Control"] = "no-store"
    if current_app.config["SITE_URL"] == f"https://{request.host.lower()}":  # it would hold for other hosts as well
        response.headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
    return response


def _log_exception(app: Flask, error: Any) -> None:
    """Name the endpoint, not the path: that may hold the token of a link that still works."""
    app.logger.error("exception in %s [%s]", request.endpoint, request.method, exc_info=error)


def _healthz() -> ResponseReturnValue:
    """Say whether the database answers and its tables are up to date, and no more than that to strangers."""
    database.check_migrations()
    return Response("ok", mimetype="text/plain")


def _register_error_pages(app: Flask) -> None:
    pages: dict[type[Exception], Callable[[Any], ResponseReturnValue]] = {
        CSRFError: _stale_form,
        HTTPException: _http_error,
        ParseException: lambda _: _http_error(BadRequest()),  # a body sent in broken chunks
        Paused: _paused,
        TooBusy: _too_busy,
        CodesAreOff: lambda _: access.codes_are_off(),
        Superseded: _superseded,
        Unreadable: _unreadable,
    }
    for error, page in pages.items():
        app.register_error_handler(error, _while_there_is_a_database(page))
    for unavailable in database.UNAVAILABLE:
        app.register_error_handler(unavailable, _database_unavailable)


def _while_there_is_a_database(page: Callable[[Any], ResponseReturnValue]) -> Callable[[Any], ResponseReturnValue]:
    """Handle what an error page raises itself: Flask does not."""

    def handle(error: Exception) -> ResponseReturnValue:
        access.note_our_answer()
        try:
            return page(error)
        except (Superseded, IntegrityError) as gone:  # the person was deleted meanwhile
            return _superseded(gone)
        except database.UNAVAILABLE as away:
            return _database_unavailable(away)

    return handle


def _load_user(_request: Request) -> User | None:
    """Return Flask-Login's current_user. The page that says the database is away asks for it too."""
    try:
        return session.signed_in_person()
    except database.UNAVAILABLE:
        return None


def _stale_form(error: CSRFError) -> ResponseReturnValue:
    """Answer a form that was open too long and one that another site sent with one page: nothing was changed."""
    record(EventKind.REQUEST_REFUSED, session.context(), session.signed_in_person(), str(error.description))
    return render_template("errors/stale_form.html"), 400


def _http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer every status with one page, and keep what the protocol asks for, as Allow with 405."""
    if error.response is not None:
        return error.response
    answer, status = error.get_response(), error.code or 500
    if status == 500:
        session.forget_visit()  # the page asks who is signed in, which may be what went wrong
    if request_ctx.url_adapter is None:  # the Host cannot be read, so that no page with links can be made
        return answer
    reference = token_hex(4) if status == 500 else None
    if reference:
        current_app.logger.error("reference %s", reference)
    answer.set_data(_status_page(status, reference))
    return answer


def _status_page(status: int, reference: str | None = None) -> str:
    title, advice = messages.of_status(status)
    if status == 403 and (user := session.signed_in_person()):
        title, advice = messages.of_status("not-yours")
        advice = advice.format(email=user.email)
    return render_template("errors/status.html", title=title, advice=advice, reference=reference)


def _paused(paused: Paused) -> ResponseReturnValue:
    wait = paused.until - session.now() if paused.until else 3600
    record(EventKind.PAUSED, session.context(), session.signed_in_person())
    page = render_template("errors/paused.html", until=paused.until, wait=max(wait, 1))
    return page, 429, {"Retry-After": str(max(wait, 1))}


def _superseded(_: Exception) -> ResponseReturnValue:
    """Leave the cookie alone: a faster request of the same browser has brought a new one, or will."""
    return redirect(url_for("login.password"), 303)


def _unreadable(unreadable: Unreadable) -> ResponseReturnValue:
    """End this sign-in, so that the next one makes anew what was sealed under a lost key or tampered with."""
    there = session.visit().session
    record(EventKind.UNREADABLE, session.context(), there.user if there else None, str(unreadable))
    if there:
        sessions.end(there, EventKind.SIGN_IN_ENDED, session.context())
    return redirect(url_for("login.password", notice="unreadable"), 303)


def _too_busy(_: TooBusy) -> ResponseReturnValue:
    """Tell those who are turned away together to come back at different times."""
    title, advice = messages.of_status("busy")
    page = render_template("errors/status.html", title=title, advice=advice)
    return page, 503, {"Retry-After": str(2 + randbelow(7))}


def _database_unavailable(error: Exception) -> ResponseReturnValue:
    access.note_our_answer()
    if isinstance(error, database.MISTAKES):
        raise error
    current_app.logger.error("the database is not available: %s", error)
    session.forget_visit()
    database.reconnect()
    return _status_page(503), 503, {"Retry-After": str(RETRY_SECONDS)}
