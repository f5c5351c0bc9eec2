"""Sealed secrets open for their own row, purpose and key alone; fingerprints say nothing without the key."""

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authn.sealing import Keyring, Unreadable

NEW, OLD = "new-0123456789-0123456789-0123456789", "old-0123456789-0123456789-0123456789"
KEYRING = Keyring([NEW])
SECRET = b"12345678901234567890"


def derived(label: str, secret: str = NEW) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"sparekey {label}".encode()).derive(secret.encode())


@pytest.mark.parametrize("plain", [b"", b"\0", SECRET, b"x" * 10_000])
def test_what_is_sealed_comes_back(plain: bytes) -> None:
    sealed = KEYRING.seal(plain, "authenticator", 7)
    assert KEYRING.unseal(sealed, "authenticator", 7) == plain
    assert len(sealed) == 12 + len(plain) + 16


def test_a_sealed_secret_is_not_to_be_seen_and_never_sealed_alike() -> None:
    sealed = {KEYRING.seal(SECRET, "authenticator", 7) for _ in range(1_000)}
    assert len(sealed) == len({value[:12] for value in sealed}) == 1_000
    assert not any(SECRET in value for value in sealed)


@pytest.mark.parametrize(
    ("keys", "purpose", "owner"),
    [
        ([NEW], "authenticator", 8),
        ([NEW], "authenticator", 77),
        ([NEW], "recovery code", 7),
        ([NEW], "", 7),
        ([OLD], "authenticator", 7),
        ([NEW + "x"], "authenticator", 7),
    ],
)
def test_another_owner_purpose_or_key_does_not_open_it(keys: list[str], purpose: str, owner: int) -> None:
    sealed = KEYRING.seal(SECRET, "authenticator", 7)
    with pytest.raises(Unreadable):
        Keyring(keys).unseal(sealed, purpose, owner)
    assert Keyring([NEW]).unseal(sealed, "authenticator", 7) == SECRET


def test_no_single_bit_may_be_another() -> None:
    sealed = KEYRING.seal(SECRET, "authenticator", 7)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unreadable):
            KEYRING.unseal(bytes(changed), "authenticator", 7)
        changed[bit // 8] ^= 1 << bit % 8
        assert KEYRING.unseal(bytes(changed), "authenticator", 7) == SECRET


def test_nothing_may_be_missing_or_added() -> None:
    sealed = KEYRING.seal(SECRET, "authenticator", 7)
    for wrong in [*(sealed[:length] for length in range(len(sealed))), sealed[1:], sealed + b"\0", b"\0" + sealed]:
        with pytest.raises(Unreadable):
            KEYRING.unseal(wrong, "authenticator", 7)
    assert KEYRING.unseal(sealed, "authenticator", 7) == SECRET


def test_a_fallback_opens_what_the_old_key_sealed_and_the_first_key_seals() -> None:
    old, both = Keyring([OLD]), Keyring([NEW, OLD])
    assert both.unseal(old.seal(SECRET, "authenticator", 7), "authenticator", 7) == SECRET
    sealed = both.seal(SECRET, "authenticator", 7)
    with pytest.raises(Unreadable):
        old.unseal(sealed, "authenticator", 7)
    assert Keyring([NEW]).unseal(sealed, "authenticator", 7) == SECRET
    assert Keyring([OLD, NEW]).unseal(sealed, "authenticator", 7) == SECRET


def test_a_fallback_is_bound_to_owner_and_purpose_too() -> None:
    sealed, both = Keyring([OLD]).seal(SECRET, "authenticator", 7), Keyring([NEW, OLD])
    for purpose, owner in (("authenticator", 8), ("recovery code", 7)):
        with pytest.raises(Unreadable):
            both.unseal(sealed, purpose, owner)
    assert both.unseal(sealed, "authenticator", 7) == SECRET


def test_a_fingerprint_is_the_same_for_the_same_purpose_text_and_key_alone() -> None:
    fingerprint = KEYRING.fingerprint("throttle", "maya@example.com")
    assert Keyring([NEW, OLD]).fingerprint("throttle", "maya@example.com") == fingerprint
    others = {
        KEYRING.fingerprint("throttle", "omar@example.com"),
        KEYRING.fingerprint("throttle", "Maya@example.com"),
        KEYRING.fingerprint("known browser", "maya@example.com"),
        Keyring([OLD]).fingerprint("throttle", "maya@example.com"),
        Keyring([OLD, NEW]).fingerprint("throttle", "maya@example.com"),
    }
    assert fingerprint not in others
    assert len(others) == 4  # only the first key is used: the last two are equal


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "blake2b"])
def test_a_fingerprint_is_no_plain_hash(algorithm: str) -> None:
    fingerprint = KEYRING.fingerprint("throttle", "maya@example.com")
    for text in ("maya@example.com", "throttlemaya@example.com", "throttle\0maya@example.com"):
        assert not hashlib.new(algorithm, text.encode()).hexdigest().startswith(fingerprint[:32])


@pytest.mark.parametrize("purpose", ["throttle", "known browser"])
def test_the_key_of_a_fingerprint_opens_nothing(purpose: str) -> None:
    sealed = KEYRING.seal(SECRET, "authenticator", 7)
    key = derived(f"fingerprint {purpose}")
    assert hmac.digest(key, b"maya@example.com", "sha256").hex() == KEYRING.fingerprint(purpose, "maya@example.com")
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(sealed[:12], sealed[12:], b"authenticator\x007")
    assert AESGCM(derived("sealing")).decrypt(sealed[:12], sealed[12:], b"authenticator\x007") == SECRET


def test_a_fingerprint_is_known_again_by_the_newest_key_and_by_earlier_ones() -> None:
    made = Keyring([OLD]).fingerprint("a purpose", "text")
    assert Keyring([OLD]).is_fingerprint("a purpose", "text", made)
    assert Keyring([NEW, OLD]).is_fingerprint("a purpose", "text", made)
    assert not Keyring([NEW]).is_fingerprint("a purpose", "text", made)
    assert not Keyring([OLD]).is_fingerprint("another purpose", "text", made)
    assert not Keyring([OLD]).is_fingerprint("a purpose", "other text", made)
