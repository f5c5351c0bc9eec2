"""Local paths: which ones a redirect may lead to, and how a notice travels along with one."""

import re
from urllib.parse import quote, unquote, urlsplit

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

ACCOUNT = "/account"
# Blueprints, and single pages of others.
_SIGN_IN = {"login", "enrollment", "recovery", "forgot", "account.welcome", "security_keys.challenge"}
_UNQUOTED = "!$&'()*+,/:;=@"  # in a path, as url_for writes it
_LONGEST = 5000  # it comes back in a header; the longest path of another site, each character as %XX
_PLAIN = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def safe_next(path: str, default: str = ACCOUNT) -> str:
    """Return the path if it is one page of this site that can be opened by GET, else the default.

    Browsers read backslashes, tabs and dots in ways of their own, so only plain paths pass."""
    path = re.sub(r"(?<=[?&])notice=[^&#]*&?", "", path).rstrip("?&")  # one that was shown
    endpoint = _page_at(path)
    return default if endpoint is None or endpoint == "login.password" or is_file(endpoint) else path


def home() -> str:
    """Return where HOME leads. Where no page of one's own is there, and at a page of the sign-in, that is the account
    page. It is looked up at each request: pages are registered after create_app has returned."""
    path = str(current_app.config["HOME"])
    endpoint = _page_at(path) or _page_at(f"{path}/")  # Flask itself leads on to the slash
    if endpoint is None or is_file(endpoint) or _SIGN_IN & {endpoint, endpoint.partition(".")[0]}:
        return ACCOUNT
    return path


def requested_path() -> str:
    """Return the path and the query of this request, percent-encoded."""
    query = request.query_string.decode("latin-1")
    return quote(request.path, safe=_UNQUOTED) + (f"?{query}" if query else "")


def local_part(url: str | None) -> str:
    """Return the path and the query of a URL that a browser sent; empty where there is none."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _page_at(path: str) -> str | None:
    """Return the endpoint that a GET of this path opens; None where it leads nowhere, or is not a plain path as
    url_for writes one."""
    if len(path) > _LONGEST or not _PLAIN.fullmatch(path) or re.search(r"//|/\.{1,2}(/|$)", path):
        return None
    quoted = re.split("[?#]", path)[0]
    plain = unquote(quoted)
    if quote(plain, safe=_UNQUOTED) != quoted or not plain.isprintable() or "\\" in plain:
        return None
    try:
        endpoint, _ = current_app.url_map.bind("").match(plain, method="GET")
    except (HTTPException, RequestRedirect):
        return None
    return str(endpoint)


def is_file(endpoint: str) -> bool:
    """Return whether it serves static files, which Flask opens to all: the app's, or those of a blueprint."""
    name, _, view = f".{endpoint}".rpartition(".")
    owner = current_app.blueprints.get(name[1:]) if name else current_app
    return view == "static" and owner is not None and owner.has_static_folder


def with_notice(path: str, notice: str | None) -> str:
    """Return the path with the notice that its page is to show."""
    if notice is None:
        return path
    base, mark, fragment = path.partition("#")
    return f"{base}{'&' if '?' in base else '?'}notice={notice}{mark}{fragment}"
