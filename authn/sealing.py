"""Keys and what is done with them: sealing secrets at rest and fingerprints that only this site can compute."""

import hmac
import secrets
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12  # AES-GCM's own size; a random one serves 2**32 sealings a key (NIST SP 800-38D 8.3)


class Unreadable(Exception):
    """A sealed value that no key of ours opens for this owner and purpose: changed, moved, or its key is gone."""


class Keyring:
    """Keys drawn by HKDF from SECRET_KEY and its fallbacks, one label a purpose. The first seals; all of them open."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._secrets = [key.encode() for key in secret_keys]
        self._ciphers = [AESGCM(_derive(secret, "sealing")) for secret in self._secrets]

    def seal(self, plain: bytes, purpose: str, owner: int) -> bytes:
        """Encrypt and bind to the owner's id and the purpose: AES-256-GCM, a random nonce in front."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, plain, _binding(purpose, owner))

    def unseal(self, sealed: bytes, purpose: str, owner: int) -> bytes:
        """What was sealed, for the same owner and purpose; Unreadable when anything about it is not as it was."""
        for cipher in self._ciphers:
            try:
                return _open(cipher, sealed, purpose, owner)
            except (InvalidTag, ValueError):  # ValueError: too short to be anything
                continue
        raise Unreadable(purpose)

    def is_current(self, sealed: bytes, purpose: str, owner: int) -> bool:
        """Whether the newest key sealed it, so that the earlier ones are not needed for it."""
        try:
            _open(self._ciphers[0], sealed, purpose, owner)
        except (InvalidTag, ValueError):
            return False
        return True

    def fingerprint(self, purpose: str, text: str) -> str:
        """A keyed hash of the text: the same for the same text, and nothing to anyone without the key."""
        key = _derive(self._secrets[0], f"fingerprint {purpose}")
        return hmac.digest(key, text.encode(), sha256).hex()


@cache  # a page asks for the same key several times
def _derive(secret: bytes, label: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"sparekey {label}".encode()).derive(secret)


def _open(cipher: AESGCM, sealed: bytes, purpose: str, owner: int) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _binding(purpose, owner))


def _binding(purpose: str, owner: int) -> bytes:
    return f"{purpose}\0{owner}".encode()
