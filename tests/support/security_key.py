"""A security key in software, with the browser that asks it. It signs what a real one would, and lies where told."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.pages import Browser, Page

ED25519, ES256, RS256 = -8, -7, -257
SITE = "http://localhost:5000"  # SITE_URL, unless a test says otherwise
PRESENT, VERIFIED, MAY_SYNC, SYNCED, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def data(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cbor(value: Any) -> bytes:
    """What keys say is said in (RFC 8949): numbers, bytes, texts and maps."""
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes | str):
        inside = value.encode() if isinstance(value, str) else value
        return _head(3 if isinstance(value, str) else 2, len(inside)) + inside
    return _head(5, len(value)) + b"".join(cbor(key) + cbor(each) for key, each in value.items())


def _head(kind: int, number: int) -> bytes:
    more = next(more for more in range(4) if number < (24 if more == 0 else 1 << 8 * 2 ** (more - 1)))
    return bytes([kind << 5 | (23 + more if more else number)]) + (number.to_bytes(2 ** (more - 1)) if more else b"")


def options_of(page: Page) -> dict[str, Any]:
    """What the page would have the browser ask of a key."""
    (button,) = [button for button in page.all("button") if button.get("data-key")]
    options: dict[str, Any] = json.loads(button.get("data-options") or "")
    return options


class SecurityKey:
    def __init__(self, algorithm: int = ES256, *, flags: int = PRESENT, counts: bool = True, at: str = SITE) -> None:
        self.algorithm, self.flags, self.counts, self.count, self.origin = algorithm, flags, counts, 0, at
        self.id, self.holder = token_bytes(32), ""
        self._private: Any = {
            ED25519: ed25519.Ed25519PrivateKey.generate,
            ES256: lambda: ec.generate_private_key(ec.SECP256R1()),
            RS256: lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()

    @property
    def public_key(self) -> dict[int, Any]:
        """As COSE has it (RFC 9053, RFC 8230)."""
        public = self._private.public_key()
        if self.algorithm == ED25519:
            return {1: 1, 3: ED25519, -1: 6, -2: public.public_bytes_raw()}
        numbers = public.public_numbers()
        if self.algorithm == ES256:
            return {1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        return {1: 3, 3: RS256, -1: numbers.n.to_bytes(256), -2: numbers.e.to_bytes(3)}

    def create(self, options: dict[str, Any], **lies: Any) -> str:
        """RegistrationResponseJSON. `id`, `public_key`, `attestation` and what `_signed` takes may be lies."""
        self.holder = options["user"]["id"]
        ident = lies.get("attested_id", lies.get("id", self.id))
        attested = bytes(16) + len(ident).to_bytes(2) + ident + cbor(lies.get("public_key", self.public_key))
        client_data, said = self._said("webauthn.create", options["challenge"], options["rp"]["id"], lies, ATTESTED)
        attestation = cbor({"fmt": "none", "attStmt": {}, "authData": said + attested})
        response = {"attestationObject": text(lies.get("attestation", lambda a: a)(attestation)), "transports": ["usb"]}
        return self._json(client_data, response, lies)

    def get(self, options: dict[str, Any], **lies: Any) -> str:
        """AuthenticationResponseJSON."""
        client_data, said = self._said("webauthn.get", options["challenge"], options["rpId"], lies)
        signed = self._sign(said + sha256(client_data).digest())
        response = {"authenticatorData": text(said), "signature": text(signed), "userHandle": None}
        return self._json(client_data, response, lies)

    def _said(self, kind: str, challenge: str, rp_id: str, lies: dict[str, Any], more: int = 0) -> tuple[bytes, bytes]:
        """What the browser says, and what the key says."""
        self.count += self.counts
        client_data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        client_data |= lies.get("client_data", {})
        flags, count = lies.get("flags", self.flags) | more, lies.get("count", self.count)
        said = sha256(lies.get("rp_id", rp_id).encode()).digest() + bytes([flags]) + count.to_bytes(4)
        return json.dumps(client_data).encode(), said

    def _sign(self, message: bytes) -> bytes:
        how = {ED25519: (), ES256: (ec.ECDSA(SHA256()),), RS256: (padding.PKCS1v15(), SHA256())}[self.algorithm]
        return bytes(self._private.sign(message, *how))

    def _json(self, client_data: bytes, response: dict[str, Any], lies: dict[str, Any]) -> str:
        ident = text(lies.get("id", self.id))
        response = {"clientDataJSON": text(client_data), **response, **lies.get("response", {})}
        answer = {"id": ident, "rawId": ident, "type": "public-key", "response": response, "clientExtensionResults": {}}
        return json.dumps(answer | lies.get("answer", {}))


def add_key(browser: Browser, name: str = "blue key", **traits: Any) -> SecurityKey:
    """A new key on the account that this browser is signed in to."""
    key = SecurityKey(at=browser.app.config["SITE_URL"], **traits)
    page = browser.get("/account/keys/new")
    page = browser.submit(page, name=name, answer=key.create(options_of(page)))
    assert page.notice == "Your security key is added. You'll be asked for it next time you sign in."
    return key


def use_key(browser: Browser, key: SecurityKey, **lies: Any) -> Page:
    """At the challenge."""
    page = browser.get("/login/key")
    return browser.submit(page, answer=key.get(options_of(page), **lies))
