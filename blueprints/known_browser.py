"""Browsers that have finished a sign-in before. A signed cookie lets them spend tries from a bucket of their own, so
that strangers cannot lock the owner out. It authenticates nothing."""

import hmac
from secrets import token_urlsafe

from flask import current_app, request
from werkzeug.wrappers import Response

from database import store
from models import User

_SECONDS = 180 * 86400


def known_browser(email: str) -> str:
    """Return the id of this browser if the account of this address knows it, else nothing."""
    browser, _, mark = request.cookies.get(current_app.config["KNOWN_BROWSER_COOKIE"], "").partition(".")
    if not mark:
        return ""
    user = User.find(email)
    expected = _mark(browser, user)  # also for nobody, so that no time tells who is here
    return browser if hmac.compare_digest(mark.encode(), expected.encode()) and user else ""


def remember(response: Response, user: User) -> Response:
    """Give the browser its mark for this account, unless it has one."""
    if known_browser(user.email):
        return response
    browser, config = token_urlsafe(16), current_app.config
    response.set_cookie(
        config["KNOWN_BROWSER_COOKIE"],
        f"{browser}.{_mark(browser, user)}",
        max_age=_SECONDS,
        secure=config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )
    return response


def _mark(browser: str, user: User | None) -> str:
    """Return what signs the browser's id. It is bound to the account and its password: a new one forgets them all."""
    account = f"{user.id}\0{user.password_changed_at}" if user else ""
    return store().keyring.fingerprint("known browser", f"{browser}\0{account}")
