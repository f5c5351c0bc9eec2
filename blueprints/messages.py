"""What pages say of what has happened. The sentences are in messages.toml; how times are written is here."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, current_app, request

from authn import recovery_codes, totp
from authn.events import EventKind
from authn.refusals import Refusal, RetiredCode
from authn.security_keys import MOST_KEYS
from authn.steps import SecondFactor
from blueprints.session import ended, now
from models import Event

SENTENCES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
_LENGTHS = {"code_length": recovery_codes.LENGTH, "most_keys": MOST_KEYS}
_SIGNED_IN_WITH: dict[str, str] = {
    SecondFactor.KEY: " with security key",
    SecondFactor.RECOVERY: " with recovery code",
}
_OF_A_KEY = (EventKind.SECURITY_KEY_ADDED, EventKind.SECURITY_KEY_REMOVED, EventKind.SECURITY_KEY_COPIED)


def explain(refusal: Refusal) -> str:
    """Return what is wrong and what to do about it."""
    facts, sentence = vars(refusal), SENTENCES["refusals"].get(type(refusal).__name__)
    if isinstance(refusal, RetiredCode):
        sentence = SENTENCES["retired"][refusal.how]
    moments = {"day": day(facts.get("at", 0)), "time": time(facts.get("until", 0))}
    site, seconds = current_app.config["SITE_NAME"], totp.seconds_left(now())
    return str(sentence).format(**facts, **moments, site=site, seconds=seconds, **_LENGTHS)


def of_form(name: str) -> str:
    """Return what a form says of its own."""
    return str(SENTENCES["forms"][name]).format(contact=current_app.config["SUPPORT_CONTACT"])


def of_app(name: str, **facts: str) -> str:
    """Return what is said on the host of another site."""
    return str(SENTENCES["apps"][name]).format(**facts)


def of_status(status: int | str) -> tuple[str, str]:
    """Return the title and the advice of the page for what cannot be served."""
    title, advice = SENTENCES["statuses"].get(str(status), SENTENCES["statuses"]["400"])
    return title, advice


def add_to(app: Flask) -> None:
    """Let templates say all this."""
    app.context_processor(_for_templates)
    app.jinja_env.globals.update(sentence=sentence, browser_name=browser_name)
    for filter_ in (day, moment, iso, stamp, duration):
        app.add_template_filter(filter_)


def _for_templates() -> dict[str, Any]:
    """Return what every page may show: the site's own words, and the notice that a redirect brought along."""
    config, name = current_app.config, request.args.get("notice") or ended() or ""
    return {
        "site": config["SITE_NAME"],
        "site_url": config["SITE_URL"],
        "contact": config["SUPPORT_CONTACT"],
        "demo": config["DEMO"],
        "by_mail": bool(config["MAIL_URL"]),
        "notice": SENTENCES["done"].get(name) or SENTENCES["happened"].get(name),
        "done": name in SENTENCES["done"],
    }


def sentence(event: Event, to_admins: bool = True) -> str:
    """Return what happened, in words. An admin's own words, of a reset and of groups, are for admins alone."""
    said = str(SENTENCES["events"].get(event.kind, event.kind))
    if event.kind == EventKind.SIGNED_IN:
        said += _SIGNED_IN_WITH.get(event.detail, "")
    elif event.detail and event.kind in _OF_A_KEY:
        said += f" ({event.detail})"
    elif event.detail and event.kind in (EventKind.MFA_RESET, EventKind.LINK_ASKED) and to_admins:
        said += f" ({event.detail})"
    elif event.kind == EventKind.GROUPS_CHANGED and to_admins:
        said += f" ({event.detail or 'no group'})"
    elif event.kind == EventKind.APP_OPENED:
        said += f": {event.detail}"
    return said if event.count == 1 else f"{said} ({event.count} times)"


def browser_name(user_agent: str) -> str:
    """Return a short name for the browser behind a User-Agent: enough to tell one's own apart."""
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS"}
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "Another browser")
    system = next((name for mark, name in {**systems, "Linux": "Linux"}.items() if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


def line(event: Event) -> str:
    """Return the event as one line of text."""
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
    """Return how long to wait, in the unit a person would use, and never too short."""
    count, unit = (seconds, "second") if seconds < 60 else (-(-seconds // 60), "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def iso(at: int) -> str:
    """Return the time as the datetime attribute of <time> has it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def stamp(at: int) -> str:
    """Return the time short and sortable, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
