"""Security keys (W3C Web Authentication, level 3): what a browser is asked for, and whether what comes back answers
it. Whether the same answer has come before it does not know: flows/security_keys.py sees to that.

`fido2` is imported where an answer is looked at, so that a worker that never sees a key does not hold it."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature

from authn.refusals import Refusal, RefusedKey

if TYPE_CHECKING:
    from fido2.cose import CoseKey
    from fido2.server import Fido2Server
    from fido2.webauthn import AuthenticatorData

LONGEST_ANSWER = 8192  # characters
LONGEST_NAME = 40
MOST_KEYS = 10
_TIMEOUT_MS = 300_000
_ED25519, _ES256, _RS256 = -8, -7, -257
# Of the public keys that are asked for: their parameters and how long their numbers are in bytes (RFC 9053, RFC 8230).
# A longer modulus or exponent would only cost time.
_PARAMETERS = {_ED25519: {1: 1, -1: 6}, _ES256: {1: 2, -1: 1}, _RS256: {1: 3}}
_LENGTHS = {
    _ED25519: {-2: range(32, 33)},
    _ES256: {-2: range(32, 33), -3: range(32, 33)},
    _RS256: {-1: range(256, 513), -2: range(1, 5)},
}
_TRANSPORT = re.compile("[a-z0-9-]{1,32}")
Found = TypeVar("Found")


class Purpose(StrEnum):
    """What a key is asked for. An answer to one is none to another."""

    ADDING = "adding a key"
    CHALLENGE = "the challenge of a sign-in"
    STEP_UP = "a step-up"


@dataclass(frozen=True)
class Site:
    """For whom a key answers."""

    url: str  # as SITE_URL is: the one origin, without a path
    name: str

    @property
    def rp_id(self) -> str:
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True)
class Key:
    """What is kept of a key."""

    credential: str  # its id, as browsers write it: base64url
    data: bytes  # the id, the public key and the model
    transports: str  # how it is reached, as it said: words with spaces between
    count: int  # of its signatures, as it said; always 0 from one that does not count
    is_synced: bool  # whether it may be on several devices

    def is_a_copy(self, count: int) -> bool:
        """Return whether the count that came with a new signature says that the key exists twice. A key that may be on
        several devices is never told so: each device counts for itself. Nor is one that always says 0."""
        return count <= self.count and (count, self.count) != (0, 0) and not self.is_synced


def challenge(purpose: Purpose, token_digest: str) -> bytes:
    """Return what a key is to sign for this purpose in the session whose token has this digest. The token changes when
    an answer is accepted, so nothing about a challenge is stored and none works twice."""
    return sha256(f"sparekey security key\0{purpose}\0{token_digest}".encode()).digest()


def user_handle(user_id: int) -> bytes:
    """Return the person as keys know them: not by address."""
    return sha256(f"sparekey security key holder\0{user_id}".encode()).digest()


def options_to_add(site: Site, asked: bytes, user_id: int, email: str, known: Iterable[Key]) -> dict[str, Any]:
    """Return what PublicKeyCredential.parseCreationOptionsFromJSON takes."""
    return {
        "rp": {"id": site.rp_id, "name": site.name},
        "user": {"id": _to_text(user_handle(user_id)), "name": email, "displayName": email},
        "challenge": _to_text(asked),
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in _PARAMETERS],
        "timeout": _TIMEOUT_MS,
        "excludeCredentials": _descriptors(known),
        # The password was right already: to ask for a PIN as well would shut out people who have forgotten it.
        "authenticatorSelection": {"residentKey": "discouraged", "userVerification": "discouraged"},
        "attestation": "none",
    }


def options_to_ask(site: Site, asked: bytes, known: Iterable[Key]) -> dict[str, Any]:
    """Return what PublicKeyCredential.parseRequestOptionsFromJSON takes."""
    return {
        "challenge": _to_text(asked),
        "rpId": site.rp_id,
        "allowCredentials": _descriptors(known),
        "userVerification": "discouraged",
        "timeout": _TIMEOUT_MS,
    }


def verify_new(answer: str, site: Site, asked: bytes) -> Key | Refusal:
    """Return the key that answers a request to add one: RegistrationResponseJSON as text."""
    return _or_refused(_new_key, answer, site, asked)


def verify_answer(
    answer: str, site: Site, asked: bytes, user_id: int, known: Iterable[Key]
) -> tuple[Key, int] | Refusal:
    """Return which of the person's keys has answered, and the count it gave: AuthenticationResponseJSON as text."""
    return _or_refused(_answering_key, answer, site, asked, user_id, {key.credential: key for key in known})


def _or_refused(verify: Callable[..., Found], *sent: Any) -> Found | Refusal:
    try:
        return verify(*sent)
    except ImportError:  # without fido2 no answer is to blame
        raise
    except Exception:
        # What a stranger sent goes through parsers of JSON, base64, CBOR and keys, and fido2 lets through whatever they
        # raise: beside ValueError at least KeyError, IndexError, TypeError, AssertionError, RecursionError,
        # OverflowError and MemoryError. All of them mean one thing.
        return RefusedKey()


def _new_key(answer: str, site: Site, asked: bytes) -> Key:
    sent = _read(answer, "attestationObject")
    found = _server(site).register_complete(_state(asked), sent)
    _check_client_data(sent["response"]["clientDataJSON"])
    _check_flags(found)
    attested = found.credential_data
    if attested is None:
        raise ValueError
    _require(1 <= len(attested.credential_id) <= 1023)
    _require(_to_text(attested.credential_id) == sent["id"])
    _check_public_key(attested.public_key)
    transports = json.loads(answer)["response"].get("transports") or []
    _require(isinstance(transports, list) and all(_TRANSPORT.fullmatch(each) for each in transports))
    return Key(sent["id"], bytes(attested), " ".join(transports), found.counter, found.is_backup_eligible())


def _answering_key(answer: str, site: Site, asked: bytes, user_id: int, known: dict[str, Key]) -> tuple[Key, int]:
    from fido2.webauthn import AttestedCredentialData, AuthenticatorData

    sent = _read(answer, "authenticatorData", "signature")
    key = known[sent["id"]]
    _server(site).authenticate_complete(_state(asked), [AttestedCredentialData(key.data)], sent)
    _check_client_data(sent["response"]["clientDataJSON"])
    found = AuthenticatorData(_to_bytes(sent["response"]["authenticatorData"]))
    _check_flags(found)
    _require(found.is_backup_eligible() == key.is_synced)  # or a copy could say that it need not count
    holder = json.loads(answer)["response"].get("userHandle")
    _require(holder in (None, "", _to_text(user_handle(user_id))))
    return key, found.counter


def _read(answer: str, *names: str) -> dict[str, Any]:
    """Return what fido2 is to see of the answer: texts alone. Of a number it would make that many zero bytes."""
    _require(len(answer) <= LONGEST_ANSWER)
    sent = json.loads(answer)
    texts = {name: sent["response"][name] for name in ("clientDataJSON", *names)}
    _require(all(isinstance(text, str) for text in (sent["id"], *texts.values())))
    _require(sent["id"] == sent["rawId"])
    _require(sent["type"] == "public-key")
    return {"id": sent["id"], "rawId": sent["id"], "type": "public-key", "response": texts}


def _server(site: Site) -> "Fido2Server":
    """Return what compares type, challenge, origin, RP id, user presence and signature. Attestation is not asked for,
    and what comes of it is ignored."""
    from fido2.server import Fido2Server
    from fido2.webauthn import PublicKeyCredentialRpEntity

    # Its own check takes every port and every subdomain. `site.url.__eq__` would take what is no text: it returns
    # NotImplemented then, which counts as true.
    return Fido2Server(
        PublicKeyCredentialRpEntity(id=site.rp_id, name=site.name), verify_origin=lambda origin: origin == site.url
    )


def _state(asked: bytes) -> dict[str, Any]:
    return {"challenge": _to_text(asked), "user_verification": None}


def _check_client_data(text: str) -> None:
    """See that no other site's frame has asked the key."""
    client_data = json.loads(_to_bytes(text).decode())
    _require(client_data.get("crossOrigin", False) is False and "topOrigin" not in client_data)


def _check_flags(found: "AuthenticatorData") -> None:
    """See that no key says that it is backed up and that it must not be."""
    _require(found.is_backup_eligible() or not found.is_backed_up())


def _check_public_key(key: "CoseKey") -> None:
    """See that the key is of an algorithm that was asked for, and one with which a signature can be compared."""
    _require(all(key[name] == value for name, value in _PARAMETERS[key[3]].items()))
    _require(all(len(key[name]) in lengths for name, lengths in _LENGTHS[key[3]].items()))
    with suppress(InvalidSignature):
        key.verify(b"", b"")  # if the numbers are no key, a point off the curve for example, it raises something else


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _descriptors(keys: Iterable[Key]) -> list[dict[str, Any]]:
    return [
        {"type": "public-key", "id": key.credential}
        | ({"transports": key.transports.split()} if key.transports else {})
        for key in keys
    ]


def _to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _to_bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
