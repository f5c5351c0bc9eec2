"""Other sites behind the same sign-in: what a pass and a ticket are, and where on a site a redirect may lead.

Both are signed texts that hold for one site and one session. A session is named by its id and its beginning: after a
backup was restored the same id is given again. A ticket also holds for one start, by the digest of the start's nonce,
and for a minute."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from authn import clocks
from authn.sealing import Keyring

TICKET_SECONDS = 60
_LONGEST_PATH = 1500
_LOCAL = re.compile(r"/(?!/)[!-\[\]-~]*")  # browsers take a backslash for a slash
_RESERVED = re.compile(r"[/\\]\.sparekey")
_SIGNED = re.compile(r"([0-9a-f.]{1,200})\.([0-9a-f]{64})")

NamedSession = tuple[int, int]  # its id and when it was created


def make_pass(keyring: Keyring, host: str, session: NamedSession) -> str:
    return _sign(keyring, "pass", host, *session)


def read_pass(keyring: Keyring, host: str, given: str) -> NamedSession | None:
    """Return the session that this pass for the host stands for; None when it is no such pass."""
    facts = _read(keyring, "pass", host, given)
    return (int(facts[0]), int(facts[1])) if facts else None


def make_ticket(keyring: Keyring, host: str, session: NamedSession, nonce_digest: str, now: int) -> str:
    return _sign(keyring, "ticket", host, *session, now, nonce_digest)


def read_ticket(keyring: Keyring, host: str, given: str, now: int) -> tuple[NamedSession, str] | None:
    """Return the session and the digest of the nonce; None when it is no ticket for the host, or a minute old."""
    facts = _read(keyring, "ticket", host, given)
    if not facts or clocks.end_of(int(facts[2]), TICKET_SECONDS, now) <= now:
        return None
    return (int(facts[0]), int(facts[1])), facts[3]


def is_digest(nonce_digest: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", nonce_digest) is not None


def local_path(asked_for: str) -> str:
    """Return the path and query if a redirect may lead there. Return "/" when it is too long, leads off the host or
    back to what we serve on it, or holds what browsers understand in different ways."""
    path = re.split("[?#]", asked_for)[0]
    if len(asked_for) > _LONGEST_PATH or not _LOCAL.fullmatch(asked_for) or _RESERVED.search(_decoded(path)):
        return "/"
    return asked_for


def values_of(cookies: str, name: str) -> list[str]:
    """Return every value that a Cookie header has for this very name. Werkzeug also takes names with odd spaces around
    them and without anything before the sign, which another site of the domain can set in spite of the prefix."""
    pairs = (pair.strip(" ").partition("=") for pair in cookies.split(";"))
    return [value for key, _, value in pairs if key == name]


def names_of(cookies: str, prefix: str) -> list[str]:
    """Return the names that begin so and end in a number, the oldest first, as browsers send them."""
    return re.findall(rf"(?:^|; *)({prefix}[0-9a-f]{{16}})=", cookies)


def _sign(keyring: Keyring, what: str, host: str, *facts: int | str) -> str:
    text = ".".join(map(str, facts))
    return f"{text}.{keyring.fingerprint(*_bound(what, host, text))}"


def _read(keyring: Keyring, what: str, host: str, given: str) -> Sequence[str]:
    """Return what we have signed for this host, fact by fact; nothing when we have not."""
    form = _SIGNED.fullmatch(given)
    is_ours = form and keyring.is_fingerprint(*_bound(what, host, form[1]), form[2])
    return form[1].split(".") if form and is_ours else ()


def _bound(what: str, host: str, text: str) -> tuple[str, str]:
    """Return the purpose of the signature, and what is signed."""
    return f"app {what}", f"{host} {text}"


def _decoded(path: str) -> str:
    """Return the path without any percent sign that encodes something, however often that was encoded."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path.lower()
