"""Sentences and times that more than one page shows."""

from datetime import UTC, datetime
from typing import Any

from flask import current_app, request

NOTICES = {
    "signed-out": "You're signed out.",
    "away": "You were signed out because you'd been away a while.",
    "too-slow": "That took too long, so we've started again. Sign in to continue.",
    "needed": "Sign in to see that page.",
    "codes-off": "Recovery codes were turned off, so this sign-in has ended. Your recovery code wasn't used up.",
    "app-ready": "Your authenticator app is set up. You'll type a six-digit code next time you sign in.",
    "code-saved": "Your new recovery code is saved. Older ones have stopped working.",
    "already-saved": "You've already saved this code. To get a different one, make a new code on this page.",
}


def for_templates() -> dict[str, Any]:
    """What every page may show: the site's own words and the notice that a redirect brought along."""
    config = current_app.config
    return {
        "site": config["SITE_NAME"],
        "contact": config["SUPPORT_CONTACT"],
        "demo": config["DEMO"],
        "notice": NOTICES.get(request.args.get("notice", "")),
    }


def day(at: int) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def moment(at: int) -> str:
    return f"{day(at)}, {time(at)}"


def iso(at: int) -> str:
    """For the datetime attribute of <time>."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def stamp(at: int) -> str:
    """Short and sortable, for the recovery slip in a file."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
