"""Keys and what is done with them: sealing secrets at rest and fingerprints that only this site can compute."""

import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12  # AES-GCM's own size; a random one serves 2**32 sealings a key (NIST SP 800-38D 8.3)


class Purpose(StrEnum):
    """What a sealed value is for. It opens for no other purpose."""

    AUTHENTICATOR = "authenticator secret"
    RECOVERY_CODE = "recovery code"


class Unreadable(Exception):
    """No key of ours opens the sealed value for this owner and purpose: it was changed or moved, or its key is gone."""


class Keyring:
    """The keys drawn by HKDF from SECRET_KEY and its fallbacks, with one label a purpose. The first seals, all open."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._secrets = [key.encode() for key in secret_keys]
        self._ciphers = [AESGCM(_derive(secret, "sealing")) for secret in self._secrets]

    def seal(self, plain: bytes, purpose: Purpose, owner: int) -> bytes:
        """Encrypt and bind to the owner's id and the purpose: AES-256-GCM, a random nonce in front."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, plain, _binding(purpose, owner))

    def unseal(self, sealed: bytes, purpose: Purpose, owner: int) -> bytes:
        """Return what was sealed for this owner and purpose. Raise Unreadable when anything is not as it was."""
        for cipher in self._ciphers:
            try:
                return _open(cipher, sealed, purpose, owner)
            except (InvalidTag, ValueError):  # ValueError: too short to be anything
                continue
        raise Unreadable(purpose)

    def renewed(self, sealed: bytes, purpose: Purpose, owner: int) -> bytes | None:
        """Return the value sealed with the newest key; None if it is already. Raise Unreadable when no key opens it."""
        try:
            _open(self._ciphers[0], sealed, purpose, owner)
        except (InvalidTag, ValueError):
            return self.seal(self.unseal(sealed, purpose, owner), purpose, owner)
        return None

    def fingerprint(self, purpose: str, text: str) -> str:
        """Return a keyed hash of the text. Without the key it tells nothing about the text."""
        return _fingerprint(self._secrets[0], purpose, text)

    def is_fingerprint(self, purpose: str, text: str, given: str) -> bool:
        """Return whether it is the keyed hash of the text, by the newest key or an earlier one."""
        return any(hmac.compare_digest(_fingerprint(secret, purpose, text), given) for secret in self._secrets)


def _fingerprint(secret: bytes, purpose: str, text: str) -> str:
    return hmac.digest(_derive(secret, f"fingerprint {purpose}"), text.encode(), sha256).hex()


@cache  # a page asks for the same key several times
def _derive(secret: bytes, label: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"sparekey {label}".encode()).derive(secret)


def _open(cipher: AESGCM, sealed: bytes, purpose: Purpose, owner: int) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _binding(purpose, owner))


def _binding(purpose: Purpose, owner: int) -> bytes:
    return f"{purpose}\0{owner}".encode()
