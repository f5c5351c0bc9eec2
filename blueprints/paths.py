"""Local paths: which ones a redirect may lead to, and how a notice travels along with one."""

import re
from urllib.parse import urlsplit

from flask import current_app
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

_LONGEST = 500  # it comes back in a header
_PLAIN = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def safe_next(path: str, default: str = "/account") -> str:
    """Return the path if it is one page of this site that can be opened by GET, else the default.

    Browsers read backslashes, tabs and dots in ways of their own, so only plain paths pass."""
    path = re.sub(r"(?<=[?&])notice=[^&#]*&?", "", path)  # an old one
    if len(path) > _LONGEST or not _PLAIN.fullmatch(path) or re.search(r"//|/\.{1,2}(/|$)", path):
        return default
    try:
        endpoint, _ = current_app.url_map.bind("").match(re.split("[?#]", path)[0], method="GET")
    except (HTTPException, RequestRedirect):
        return default
    return default if endpoint in ("static", "login.password") else path


def path_of(url: str | None) -> str:
    """Return the path of a URL that a browser sent; empty where there is none."""
    try:
        return urlsplit(url or "").path
    except ValueError:
        return ""


def with_notice(path: str, notice: str | None) -> str:
    """Return the path with the notice that its page is to show."""
    if notice is None:
        return path
    base, mark, fragment = path.partition("#")
    return f"{base}{'&' if '?' in base else '?'}notice={notice}{mark}{fragment}"
