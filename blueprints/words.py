"""Sentences and times that more than one page shows."""

from datetime import UTC, datetime
from typing import Any

from flask import current_app, g, request

from models import Event, Factor, Kind

# What a redirect brings along: what somebody has done, and what has happened to them.
DONE = {
    "signed-out": "You're signed out.",
    "app-ready": "Your authenticator app is set up. You'll type a six-digit code next time you sign in.",
    "password-changed": "Your password is changed. You're signed out everywhere else.",
    "welcome": "Your password is set. Sign in with it.",
    "others-out": "You're signed out everywhere else.",
    "unlock": "They can try again now.",
    "activate": "They can sign in.",
    "deactivate": "They're signed out everywhere and can't sign in.",
    "promote": "They can open the admin pages now.",
    "demote": "They can't open the admin pages any more.",
    "code-saved": "Your new recovery code is saved. Older ones have stopped working.",
}
HAPPENED = {
    "away": "You were signed out because you'd been away a while.",
    "too-slow": "That took too long, so we've started again. Sign in to continue.",
    "needed": "Sign in to see that page.",
    "unreadable": "Something we keep sealed for you couldn't be opened, so we've started again. Sign in to continue.",
    "codes-off": "Recovery codes were turned off, so this sign-in has ended. Your recovery code wasn't used up.",
    "nowhere-else": "You weren't signed in anywhere else.",
    "last-admin": "That's the last admin. Make another one first.",
    "other-code": "Another code was saved meanwhile in another browser. The one you just had doesn't work.",
    "already-saved": "You've already saved this code. To get a different one, make a new code on this page.",
}
NOTICES = DONE | HAPPENED


# The title and the advice of the pages for what cannot be served.
STATUS_PAGES = {
    400: ("We couldn't read that request", "Nothing was changed. Go back to the start and try again."),
    403: ("You can't open this page", "Go back to the start."),
    404: ("Page not found", "Check the address, or go back to the start."),
    405: ("This page can't be used that way", "Go back to the start and follow the links from there."),
    413: ("That was too much to send", "Nothing was changed. Send less and try again."),
    500: ("Something broke on our side", "Nothing you did was lost or wrong. Try again in a minute."),
    503: ("We can't reach our records", "Nothing you did was lost or wrong. Try again in a minute."),
}

BUSY_PAGE = ("Many people are signing in just now", "Nothing was changed. Go back and try again in a few seconds.")

# Where the name of the kind is not the sentence.
SENTENCES = {
    Kind.USER_CREATED: "Account added",
    Kind.USER_INVITED: "Link to choose a password made",
    Kind.INVITATION_USED: "Link to choose a password used",
    Kind.USER_ACTIVATED: "Activated",
    Kind.USER_DEACTIVATED: "Deactivated",
    Kind.ADMIN_MADE: "Made an admin",
    Kind.ADMIN_REMOVED: "No longer an admin",
    Kind.UNLOCKED: "Allowed to try again",
    Kind.MFA_RESET: "Authenticator reset",
    Kind.PASSWORD_RIGHT: "Right password",
    Kind.PASSWORD_WRONG: "Wrong password",
    Kind.CODE_WRONG: "Wrong code from app",
    Kind.CODE_REPLAYED: "Code from app typed again",
    Kind.PAUSED: "Too many tries",
    Kind.SIGN_IN_ENDED: "Unfinished sign-in ended by the site",
    Kind.SESSION_REVOKED: "Signed out from another browser",
    Kind.STEPPED_UP: "Confirmed it's them",
    Kind.ENROLLMENT_STARTED: "Began to set up an authenticator app",
    Kind.ENROLLMENT_CODE_WRONG: "Wrong code from app while setting it up",
    Kind.AUTHENTICATOR_ADDED: "Authenticator app set up",
    Kind.AUTHENTICATOR_REPLACED: "Authenticator app replaced",
    Kind.DEVICE_KEPT: "Still has the authenticator app",
    Kind.DEVICE_MISSING: "Waits for a new phone",
    Kind.RECOVERY_CODE_CLAIMED: "Recovery code typed",
    Kind.RECOVERY_CODE_SPENT: "Recovery code used",
    Kind.RECOVERY_CODE_WRONG: "Wrong recovery code",
    Kind.RECOVERY_CODE_OLD: "Old recovery code typed",
    Kind.RECOVERY_CODE_BUSY: "Recovery code typed while another browser used it",
    Kind.RECOVERY_CODE_WHILE_OFF: "Recovery code refused: codes are off",
    Kind.RECOVERY_CODES_ENABLED: "Recovery codes turned on",
    Kind.RECOVERY_CODES_DISABLED: "Recovery codes turned off",
    Kind.EVENTS_PRUNED: "Old events removed",
    Kind.KEYS_RESEALED: "Sealed values moved to the newest key",
    Kind.UNREADABLE: "A sealed value could not be opened",
    Kind.REQUEST_REFUSED: "A form from elsewhere refused",
}


def for_templates() -> dict[str, Any]:
    """What every page may show: the site's own words and the notice that a redirect brought along."""
    config, name = current_app.config, request.args.get("notice") or g.get("ended", "")
    return {
        "site": config["SITE_NAME"],
        "contact": config["SUPPORT_CONTACT"],
        "demo": config["DEMO"],
        "notice": NOTICES.get(name),
        "done": name in DONE,
        "sentence": sentence,
        "browser_name": browser_name,
    }


def sentence(event: Event, to_admins: bool = True) -> str:
    """What happened, for people; an admin's reason for a reset is for admins alone."""
    said = SENTENCES.get(Kind(event.kind), event.kind.replace("_", " ").capitalize())
    if event.kind == Kind.SIGNED_IN and event.detail == Factor.RECOVERY:
        said += " with recovery code"
    elif event.detail and event.kind == Kind.MFA_RESET and to_admins:
        said += f" ({event.detail})"
    return said


def browser_name(user_agent: str) -> str:
    """A short name for the browser behind a User-Agent, good enough to tell one's own apart."""
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS"}
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "Another browser")
    system = next((name for mark, name in {**systems, "Linux": "Linux"}.items() if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


def line(event: Event) -> str:
    """The event as one line of text."""
    who = f"{event.user.email}: " if event.user else ""
    by = f", by {event.actor}" if event.actor else ""
    return f"{stamp(event.at)}  {who}{sentence(event)}{by}{f', from {event.remote_addr}' if event.remote_addr else ''}"


def day(at: int) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def moment(at: int) -> str:
    return f"{day(at)}, {time(at)}"


def duration(seconds: int) -> str:
    """How long to wait, in the unit a person would use, never too short."""
    count, unit = (seconds, "second") if seconds < 60 else (-(-seconds // 60), "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def iso(at: int) -> str:
    """For the datetime attribute of <time>."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def stamp(at: int) -> str:
    """Short and sortable, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
