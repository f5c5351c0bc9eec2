"""The composition root: create_app puts settings, store, blueprints, headers and error pages together."""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
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
from peewee import IntegrityError
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

import settings
import store
from authn.passwords import Policy, TooBusy
from authn.sealing import Keyring, Unreadable
from blueprints import account, admin, cli, demo, enrollment, login, recovery, signin, words
from models import CodesAreOff, Event, Kind, Paused, Superseded, User, recorded
from notices import Mailer

BODY_LIMIT_BYTES = 64 * 1024
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
    """The app. `config` wins over FLASK_ variables; ConfigurationError when a setting is wrong."""
    app = Flask(__name__)
    app.config.update(settings.load(config or {}, Path(app.instance_path)))
    _configure(app)
    own = app.extensions["store"] = _make_store(app.config)
    _open_store(app, own)
    _send_notices(app, own)
    _log_to_stderr()

    app.before_request(_refuse_foreign_requests)
    CSRFProtect(app)
    app.before_request(signin.gate)
    app.after_request(_add_headers)
    manager = LoginManager(app)
    manager.session_protection = None  # it would write a hash of address and browser into the cookie
    manager.request_loader(_load_user)

    for blueprint in (login.bp, enrollment.bp, recovery.bp, account.bp, admin.bp):
        app.register_blueprint(blueprint)
    if app.config["DEMO"]:
        app.register_blueprint(demo.bp)
    for group in (cli.db, cli.users, cli.codes, cli.keys, cli.events, demo.commands):
        app.cli.add_command(group)
    app.add_url_rule("/healthz", "healthz", signin.public(_healthz))

    app.context_processor(words.for_templates)
    for filter_ in (words.day, words.moment, words.iso, words.stamp, words.duration):
        app.add_template_filter(filter_)
    _register_error_pages(app)
    app.log_exception = partial(_log_exception, app)  # type: ignore[method-assign]
    return app


def _configure(app: Flask) -> None:
    """What follows from the settings for Flask and its extensions."""
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}  # before Flask makes jinja_env
    secure = app.config["SITE_URL"].startswith("https:")
    prefix = "__Host-" if secure else ""
    app.config.update(
        SESSION_COOKIE_NAME=f"{prefix}session",
        KNOWN_BROWSER_COOKIE=f"{prefix}known-browser",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        MAX_CONTENT_LENGTH=BODY_LIMIT_BYTES,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # _refuse_foreign_requests looks at more than the Referer
    )
    if app.config["TRUSTED_PROXIES"]:
        hops = app.config["TRUSTED_PROXIES"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def _make_store(config: Mapping[str, Any]) -> store.Store:
    return store.Store(
        store.connect_database(config["DATABASE_URL"]),
        Keyring([config["SECRET_KEY"], *config["SECRET_KEY_FALLBACKS"]]),
        Policy(
            config["PASSWORD_HASH_COST"],
            config["PASSWORD_HASH_SLOTS"],
            config["PASSWORD_MIN_LENGTH"],
            config["SITE_NAME"],
        ),
        store.Lifetimes(
            sign_in=config["SIGN_IN_SECONDS"],
            enrollment=config["ENROLLMENT_SECONDS"],
            idle=config["SESSION_IDLE_SECONDS"],
            overall=config["SESSION_LIFETIME_SECONDS"],
        ),
        config["ADDRESS_LIMIT"],
    )


def _open_store(app: Flask, own: store.Store) -> None:
    """Let the tables live in this app's own store while one of its contexts is open."""

    def open_own(_app: Flask) -> None:
        g.store = store.opened(own)
        g.store.__enter__()

    def close_own(_error: BaseException | None) -> None:
        g.pop("store").__exit__(None, None, None)

    appcontext_pushed.connect(open_own, app, weak=False)
    app.teardown_appcontext(close_own)


def _send_notices(app: Flask, own: store.Store) -> None:
    config = app.config
    if config["MAIL_URL"]:
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
    if request.endpoint != "healthz" and not _is_ours(f"{request.scheme}://{request.host}"):
        raise BadRequest
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CSRFError("Another site sent this.")
    origin = request.headers.get("Origin")
    if origin is not None and not (_is_ours(origin) and urlsplit(origin).netloc == request.host and _is_safe(origin)):
        raise CSRFError("Another origin sent this.")


def _is_ours(origin: str) -> bool:
    """Whether the host is SITE_URL's, or on this machine any loopback name. The scheme is the proxy's affair."""
    try:
        site, host = urlsplit(current_app.config["SITE_URL"]), urlsplit(origin)
    except ValueError:
        return False
    if site.scheme == "https":
        return bool(host.netloc == site.netloc)
    return settings.is_loopback(host.hostname or "")


def _is_safe(origin: str) -> bool:
    """Whether the page was loaded as SITE_URL says: over https where that is."""
    return origin.startswith("https:") or current_app.config["SITE_URL"].startswith("http:")


def _add_headers(response: Response) -> Response:
    response.headers.extend(HEADERS)
    if request.endpoint != "static" or response.status_code >= 400:
        response.headers["Cache-Control"] = "no-store"
    if current_app.config["SITE_URL"].startswith("https:"):
        response.headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
    return response


def _log_exception(app: Flask, error: Any) -> None:
    """By the endpoint: a path may hold the token of a link that still works."""
    app.logger.error("exception in %s [%s]", request.endpoint, request.method, exc_info=error)


def _healthz() -> ResponseReturnValue:
    """Whether the database answers and its tables are up to date. Says no more than that to strangers."""
    store.check_migrations()
    return Response("ok", mimetype="text/plain")


def _register_error_pages(app: Flask) -> None:
    pages: dict[type[Exception], Callable[[Any], ResponseReturnValue]] = {
        CSRFError: _stale_form,
        HTTPException: _http_error,
        ParseException: lambda _: _http_error(BadRequest()),  # a body sent in broken chunks
        Paused: _paused,
        TooBusy: _too_busy,
        CodesAreOff: lambda _: signin.codes_are_off(),
        Superseded: _superseded,
        Unreadable: _unreadable,
    }
    for error, page in pages.items():
        app.register_error_handler(error, _while_there_is_a_database(page))
    for unavailable in store.UNAVAILABLE:
        app.register_error_handler(unavailable, _database_unavailable)


def _while_there_is_a_database(page: Callable[[Any], ResponseReturnValue]) -> Callable[[Any], ResponseReturnValue]:
    """Flask does not look for a handler of what a handler raises."""

    def handle(error: Exception) -> ResponseReturnValue:
        try:
            return page(error)
        except store.UNAVAILABLE as away:
            return _database_unavailable(away)
        except (Superseded, IntegrityError) as gone:  # whom it is about has been removed meanwhile
            return _superseded(gone)

    return handle


def _load_user(_request: Request) -> User | None:
    """For Flask-Login's current_user, which every page asks for, also the one that says the database is away."""
    try:
        return signin.load_user()
    except store.UNAVAILABLE:
        return None


def _stale_form(error: CSRFError) -> ResponseReturnValue:
    """The same page for a form that was open too long and for one that another site sent: neither changes anything."""
    Event.record(Kind.REQUEST_REFUSED, signin.act(), signin.person(), str(error.description))
    return render_template("errors/stale_form.html"), 400


def _http_error(error: HTTPException) -> ResponseReturnValue:
    """One page for every status; the answer keeps what the protocol asks for, as Allow with 405."""
    if error.response is not None:
        return error.response
    answer, status = error.get_response(), error.code or 500
    if request_ctx.url_adapter is None:  # the Host cannot be read, so that no page with links can be made
        return answer
    reference = token_hex(4) if status == 500 else None
    if reference:
        current_app.logger.error("reference %s", reference)
    answer.set_data(_status_page(status, reference))
    return answer


def _status_page(status: int, reference: str | None = None) -> str:
    title, advice = words.STATUS_PAGES.get(status, words.STATUS_PAGES[400])
    user = signin.load_user() if status == 403 else None
    if user:
        advice = f"You're signed in as {user.email}, which isn't an administrator."
    return render_template("errors/status.html", title=title, advice=advice, reference=reference)


def _paused(paused: Paused) -> ResponseReturnValue:
    wait = paused.until - signin.now() if paused.until else 3600
    Event.record(Kind.PAUSED, signin.act(), signin.person())
    page = render_template("errors/paused.html", until=paused.until, wait=max(wait, 1))
    return page, 429, {"Retry-After": str(max(wait, 1))}


def _superseded(_: Exception) -> ResponseReturnValue:
    """The cookie is left alone: a faster request of the same browser has brought, or will bring, a new one."""
    return redirect(url_for("login.password"), 303)


def _unreadable(unreadable: Unreadable) -> ResponseReturnValue:
    """Sealed under a key that is gone, or tampered with: end this sign-in, so that the next one makes it anew."""
    sign_in = signin.current()
    Event.record(Kind.UNREADABLE, signin.act(), signin.person(), str(unreadable))
    if sign_in:
        sign_in.end(Kind.SIGN_IN_ENDED, signin.act())
    return redirect(url_for("login.password", notice="unreadable"), 303)


def _too_busy(_: TooBusy) -> ResponseReturnValue:
    """Those who are turned away together are told to come back at different times."""
    title, advice = words.BUSY_PAGE
    page = render_template("errors/status.html", title=title, advice=advice)
    return page, 503, {"Retry-After": str(2 + randbelow(7))}


def _database_unavailable(error: Exception) -> ResponseReturnValue:
    current_app.logger.error("the database is not available: %s", error)
    g.sign_in = None  # it may tell of what was not committed
    store.reconnect()
    return _status_page(503), 503, {"Retry-After": str(RETRY_SECONDS)}
