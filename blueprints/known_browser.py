"""Browsers that have finished a sign-in before, or used a one-time link. A signed cookie lets them spend tries from a
bucket of their own, so that strangers cannot lock the owner out. It authenticates nothing.

It holds the browser's id and a mark for each of its last accounts: a MAC over browser and address, which tells without
a look-up that the cookie was not made up, and one over the person and their generation of marks."""

import hmac
import re
from secrets import token_urlsafe

from flask import current_app, request
from werkzeug.wrappers import Response

from database import store
from models import User

_SECONDS = 180 * 86400
_MOST_ACCOUNTS = 5
_MAC = 32  # hexadecimal digits: 128 bits
_COOKIE = re.compile(rf"([A-Za-z0-9_-]{{22}})((?:\.[0-9a-f]{{{2 * _MAC}}}){{1,{_MOST_ACCOUNTS}}})")


def known_browser(email: str) -> str:
    """Return the id of this browser if the account of this folded address knows it, else nothing."""
    browser, marks = _marks()
    first = _first(browser, email)
    mark = next((mark for mark in marks if hmac.compare_digest(mark[:_MAC], first)), None)
    user = User.find(email) if mark else None
    return browser if user and mark and hmac.compare_digest(mark[_MAC:], _second(browser, user)) else ""


def remember(response: Response, user: User) -> Response:
    """Give the browser its mark for this account, before those it has for others."""
    browser, marks = _marks()
    browser, config = browser or token_urlsafe(16), current_app.config
    first = _first(browser, user.email)
    others = [mark for mark in marks if mark[:_MAC] != first]
    response.set_cookie(
        config["KNOWN_BROWSER_COOKIE"],
        ".".join([browser, first + _second(browser, user), *others[: _MOST_ACCOUNTS - 1]]),
        max_age=_SECONDS,
        secure=config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )
    return response


def _marks() -> tuple[str, list[str]]:
    """Return the id and the marks that this browser's cookie holds, genuine or not."""
    cookie = _COOKIE.fullmatch(request.cookies.get(current_app.config["KNOWN_BROWSER_COOKIE"], ""))
    return (cookie[1], cookie[2].split(".")[1:]) if cookie else ("", [])


def _first(browser: str, email: str) -> str:
    return store().keyring.fingerprint("known browser", f"{browser}\0{email}")[:_MAC]


def _second(browser: str, user: User) -> str:
    account = f"{browser}\0{user.id}\0{user.browser_generation}"
    return store().keyring.fingerprint("known browser's account", account)[:_MAC]
