"""Other sites behind this sign-in. Their proxies ask here, on their own hosts, before they let a request through.

A browser without a pass goes from `start` on the site's host to `passage` on ours, where it signs in if it must, and
back to `enter`, which gives it the pass. Of what a client sends only the pass counts, and the path to come back to."""

from urllib.parse import urlencode

from flask import Blueprint, Response, abort, current_app, g, redirect, request
from flask.typing import ResponseReturnValue

from authn import groups, tokens
from authn.apps import is_digest, local_path, names_of, values_of
from blueprints.messages import of_app
from blueprints.session import context, current_session, now
from database import UNAVAILABLE, reconnect
from flows import apps, sessions

bp = Blueprint("apps", __name__)

_OURS = "/.sparekey/"  # what is under it on the host of an app the proxy hands to us
_PASS, _START = "__Host-pass", "__Host-start-"
_START_SECONDS, _MOST_STARTS = 600, 5


@bp.before_app_request
def answer_on_hosts_of_apps() -> ResponseReturnValue | None:
    """Before all else: on the host of an app nothing answers but the four addresses here. Other hosts are left to the
    rest of the app, which refuses those that are not its own."""
    host = request.host.lower()
    if host not in current_app.config["APPS"]:
        _warn_of(host)
        return None
    g.app_host = host
    only_asks, answer = request.method in ("GET", "HEAD"), _ANSWERS.get(request.path)
    if request.path == "/healthz" and only_asks:  # which says the same for any host
        return None
    if answer is None or not only_asks:
        return _say("nothing-here", 405 if answer else 404, host=host)
    try:
        return answer(host)
    except UNAVAILABLE as error:
        current_app.logger.error("the database is not available: %s", error)
        reconnect()
        return _say("away", 503)


def _warn_of(host: str) -> None:
    """Log what to set where a proxy asks for a host that is neither an app's nor our own."""
    if request.path.startswith(_OURS) and host and f"https://{host}" != current_app.config["SITE_URL"]:
        advice = "a proxy asks for %s: name https://%s in APPS, or have it pass Host on"
        current_app.logger.warning(advice, host, host)


def check(host: str) -> Response:
    """Say who it is, if they may pass. This is the one place that lets anybody through."""
    passes = _cookies(_PASS)
    session = apps.session_of_pass(host, passes[0], now()) if len(passes) == 1 else None
    if session is None:
        return _bare(401)
    person = session.user
    if not apps.may_enter(person, host):
        return _say("not-in-group", 403, email=person.email, group=current_app.config["APPS"][host])
    if _is_navigation():  # a page that asks by itself, again and again, must not keep a session alive
        sessions.touch(session, now())
    address = person.email.encode().decode("latin-1")  # WSGI's spelling of UTF-8
    names = {
        "Remote-User": address,
        "Remote-Email": address,
        "Remote-Groups": ",".join(groups.every(person.groups, person.is_admin)),
    }
    return _bare(200, names)


def forward(host: str) -> Response:
    """Say the same to a proxy that hands our answer on. Where `check` says 401, the browser is sent to sign in."""
    answer = check(host)
    return start(host) if answer.status_code == 401 else answer


def start(host: str) -> Response:
    """Send a browser to our host, with a nonce that only it can show when it comes back."""
    if not _is_navigation():  # but a script, or an image: nobody can sign in there
        return _bare(401)
    if len(_cookies(_PASS)) > 1:  # it would come back with a ticket and be refused all the same
        return _say("two-passes", 400, host=host)
    nonce = tokens.generate()
    digest = tokens.digest(nonce)
    is_page = request.headers.get("X-Forwarded-Method") in ("GET", "HEAD")
    path = local_path(request.headers.get("X-Forwarded-Uri", "")) if is_page else "/"
    query = urlencode({"app": host, "nonce": digest, "path": path})
    answer = _bare(303, {"Location": f"{current_app.config['SITE_URL']}/pass?{query}"})
    for name in names_of(request.headers.get("Cookie", ""), _START)[: 1 - _MOST_STARTS]:
        _set_cookie(answer, name, "", 0)
    _set_cookie(answer, _of_start(digest), nonce, _START_SECONDS)
    return answer


@bp.get("/pass")
def passage() -> ResponseReturnValue:
    """On our host, for signed-in people alone: back to the app, with a ticket."""
    host, digest, session = request.args.get("app", ""), request.args.get("nonce", ""), current_session()
    if host not in current_app.config["APPS"] or not is_digest(digest):
        abort(404)
    if not apps.may_enter(session.user, host):
        abort(403)
    ticket, path = apps.make_ticket(session, host, digest, now()), local_path(request.args.get("path", ""))
    return redirect(f"https://{host}{_OURS}enter?{urlencode({'ticket': ticket, 'path': path})}", 303)


def enter(host: str) -> Response:
    """Give the browser its pass and send it on. Where anything is wrong it is sent nowhere: no loop can begin."""
    ticket = request.args.get("ticket", "")
    name = _of_start(ticket.split(".")[-2] if ticket.count(".") > 1 else "")
    nonces, passes = _cookies(name), _cookies(_PASS)
    given = apps.exchange(ticket, host, nonces[0], context()) if len(nonces) == 1 and len(passes) < 2 else None
    if given is None:
        return _say("no-ticket" if len(passes) < 2 else "two-passes", 400, host=host)
    path = local_path(request.args.get("path", ""))
    answer = _bare(303, {"Location": f"https://{host}{path}"})
    _set_cookie(answer, name, "", 0)
    _set_cookie(answer, _PASS, given)
    return answer


_ANSWERS = {_OURS + view.__name__: view for view in (check, forward, start, enter)}


def _is_navigation() -> bool:
    """Return whether a browser opens a page here. One that is too old to say so asks for html when it does."""
    mode = request.headers.get("Sec-Fetch-Mode")
    return mode == "navigate" if mode else "text/html" in request.headers.get("Accept", "")


def _cookies(name: str) -> list[str]:
    return values_of(request.headers.get("Cookie", ""), name)


def _of_start(digest: str) -> str:
    return _START + digest[:16]


def _set_cookie(answer: Response, name: str, value: str, seconds: int | None = None) -> None:
    answer.set_cookie(name, value, seconds, secure=True, httponly=True, samesite="Lax")


def _bare(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status=status, headers=headers, mimetype="text/plain")


def _say(sentence: str, status: int, **facts: str) -> Response:
    return Response(of_app(sentence, **facts) + "\n", status, mimetype="text/plain")
