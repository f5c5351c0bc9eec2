"""Answers of security keys: the specification's own, and everything that looks like one and is none."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authn.refusals import RefusedKey
from authn.security_keys import (
    LONGEST_ANSWER,
    Key,
    Purpose,
    Site,
    challenge,
    options_to_add,
    options_to_ask,
    user_handle,
    verify_answer,
    verify_new,
)
from tests.support.security_key import (
    ED25519,
    ES256,
    MAY_SYNC,
    PRESENT,
    RS256,
    SYNCED,
    SecurityKey,
    cbor,
    data,
    text,
)

SITE = Site("https://example.org", "Example")
MAYA = 7
DIGEST = "d1" * 32  # of her session's token
ADDING = challenge(Purpose.ADDING, DIGEST)
ASKED = challenge(Purpose.CHALLENGE, DIGEST)


# The specification's own ----------------------------------------------------------------------------------------------


# W3C Web Authentication, level 3, "Test Vectors", of the editor's draft of 2025: all that has no attestation, or one
# that is ignored here. Everything in hexadecimal digits.
VECTORS = json.loads((Path(__file__).parent / "webauthn_vectors.json").read_text())
NOT_FOR_US = {"crossOrigin", "topOrigin", "packed ES384"}  # asked by another site's frame; an algorithm not asked for


def answer_of(vector: dict[str, Any], ceremony: str) -> tuple[str, bytes]:
    """As a browser would send it, and the challenge."""
    parts = {name: bytes.fromhex(value) for name, value in vector[ceremony].items()}
    asked, ident = parts.pop("challenge"), text(bytes.fromhex(vector["id"]))
    response = {name: text(value) for name, value in parts.items()}
    return json.dumps({"id": ident, "rawId": ident, "type": "public-key", "response": response}), asked


@pytest.mark.parametrize("name", sorted(VECTORS.keys() - NOT_FOR_US))
def test_the_specifications_own_keys_are_added_and_sign_in(name: str) -> None:
    key = verify_new(*in_order(*answer_of(VECTORS[name], "create")))
    assert isinstance(key, Key)
    assert data(key.credential).hex() == VECTORS[name]["id"]
    answer, asked = answer_of(VECTORS[name], "get")
    assert verify_answer(answer, SITE, asked, MAYA, [key]) == (key, 0)
    assert not key.is_a_copy(0)


@pytest.mark.parametrize("name", sorted(NOT_FOR_US))
def test_of_the_specifications_keys_those_that_were_not_asked_are_refused(name: str) -> None:
    assert verify_new(*in_order(*answer_of(VECTORS[name], "create"))) == RefusedKey()


@pytest.mark.parametrize("name", ["crossOrigin", "topOrigin"])
def test_a_signature_that_another_sites_frame_asked_for_is_refused(name: str) -> None:
    attestation = data(json.loads(answer_of(VECTORS[name], "create")[0])["response"]["attestationObject"])
    attested = attestation[attestation.index(bytes.fromhex(VECTORS[name]["id"])) - 18 :]
    key = Key(text(bytes.fromhex(VECTORS[name]["id"])), attested, "", 0, False)
    answer, asked = answer_of(VECTORS[name], "get")
    assert verify_answer(answer, SITE, asked, MAYA, [key]) == RefusedKey()


def in_order(answer: str, asked: bytes) -> tuple[str, Site, bytes]:
    return answer, SITE, asked


# What a browser is asked ----------------------------------------------------------------------------------------------


def test_a_browser_is_asked_for_no_attestation_no_pin_and_no_key_that_is_known() -> None:
    known = Key("aWQ", b"", "usb nfc", 0, False)
    options = options_to_add(SITE, ADDING, MAYA, "maya@example.com", [known, Key("b3RoZXI", b"", "", 0, False)])
    assert options.pop("user") == {
        "id": text(user_handle(MAYA)),
        "name": "maya@example.com",
        "displayName": "maya@example.com",
    }
    assert options == {
        "rp": {"id": "example.org", "name": "Example"},
        "challenge": text(ADDING),
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in (-8, -7, -257)],
        "timeout": 300_000,
        "excludeCredentials": [
            {"type": "public-key", "id": "aWQ", "transports": ["usb", "nfc"]},
            {"type": "public-key", "id": "b3RoZXI"},
        ],
        "authenticatorSelection": {"residentKey": "discouraged", "userVerification": "discouraged"},
        "attestation": "none",
    }
    assert options_to_ask(SITE, ASKED, [known]) == {
        "challenge": text(ASKED),
        "rpId": "example.org",
        "allowCredentials": [{"type": "public-key", "id": "aWQ", "transports": ["usb", "nfc"]}],
        "userVerification": "discouraged",
        "timeout": 300_000,
    }


def test_a_challenge_is_of_one_purpose_in_one_session_and_does_not_tell_the_digest() -> None:
    digests = ("a" * 64, "b" * 64)
    made = {challenge(purpose, digest) for purpose in Purpose for digest in digests}
    assert len(made) == 6
    assert {len(each) for each in made} == {32}
    assert not any(bytes.fromhex(digest) in made for digest in digests)


@pytest.mark.parametrize(
    ("url", "rp_id"),
    [("http://localhost:5000", "localhost"), ("https://accounts.example.org:8443", "accounts.example.org")],
)
def test_keys_know_a_site_by_its_host_alone(url: str, rp_id: str) -> None:
    assert Site(url, "x").rp_id == rp_id


# A key that is one ----------------------------------------------------------------------------------------------------


def made(key: SecurityKey, **lies: Any) -> Any:
    return verify_new(key.create(options_to_add(SITE, ADDING, MAYA, "maya@example.com", []), **lies), SITE, ADDING)


def signed(key: SecurityKey, *known: Key, **lies: Any) -> Any:
    return verify_answer(key.get(options_to_ask(SITE, ASKED, known), **lies), SITE, ASKED, MAYA, known)


def key_at_the_site(algorithm: int = ES256, **traits: Any) -> SecurityKey:
    return SecurityKey(algorithm, at=SITE.url, **traits)


@pytest.mark.parametrize("algorithm", [ED25519, ES256, RS256])
def test_a_key_of_each_algorithm_is_added_and_its_answers_are_taken(algorithm: int) -> None:
    key, other = key_at_the_site(algorithm), key_at_the_site()
    known = made(key)
    assert (known.credential, known.transports, known.count, known.is_synced) == (text(key.id), "usb", 1, False)
    assert signed(key, made(other), known) == (known, 2)


@pytest.mark.parametrize(
    ("kept", "given", "is_synced", "is_a_copy"),
    [
        (0, 0, False, False),
        (0, 1, False, False),
        (4, 5, False, False),
        (4, 4, False, True),
        (4, 3, False, True),
        (4, 0, False, True),
        (4, 4, True, False),
        (4, 3, True, False),
    ],
)
def test_a_count_that_has_not_risen_tells_a_copy_of_a_key_that_counts_and_stays_on_one_device(
    kept: int, given: int, is_synced: bool, is_a_copy: bool
) -> None:
    assert Key("", b"", "", kept, is_synced).is_a_copy(given) is is_a_copy


@pytest.mark.parametrize("holder", [None, "", text(user_handle(MAYA))])
def test_a_key_may_name_its_holder(holder: str | None) -> None:
    key = key_at_the_site()
    assert signed(key, known := made(key), response={"userHandle": holder}) == (known, 2)


# Answers that are none ------------------------------------------------------------------------------------------------


FOR_BOTH: dict[str, dict[str, Any]] = {  # lies of a key or a browser; the same without them is taken
    "challenge of another session": {"client_data": {"challenge": text(challenge(Purpose.CHALLENGE, "0" * 64))}},
    "challenge of step-up": {"client_data": {"challenge": text(challenge(Purpose.STEP_UP, DIGEST))}},
    "challenge cut short": {"client_data": {"challenge": text(ASKED[:-1])}},
    "no challenge": {"client_data": {"challenge": ""}},
    "other origin": {"client_data": {"origin": "https://example.com"}},
    "subdomain": {"client_data": {"origin": "https://evil.example.org"}},
    "parent domain": {"client_data": {"origin": "https://org"}},
    "another port": {"client_data": {"origin": "https://example.org:8443"}},
    "another scheme": {"client_data": {"origin": "http://example.org"}},
    "origin with a path": {"client_data": {"origin": "https://example.org/"}},
    "origin that is a number": {"client_data": {"origin": 5}},
    "origin that is nothing": {"client_data": {"origin": None}},
    "a frame of another site": {"client_data": {"crossOrigin": True}},
    "a frame of another site, in other words": {"client_data": {"crossOrigin": "yes"}},
    "a frame in another site": {"client_data": {"topOrigin": "https://example.com"}},
    "no type": {"client_data": {"type": None}},
    "another RP id": {"rp_id": "example.com"},
    "a subdomain as RP id": {"rp_id": "www.example.org"},
    "nobody was there": {"flags": 0},
    "backed up though it may not be": {"flags": PRESENT | SYNCED},
    "id other than rawId": {"answer": {"rawId": text(b"another")}},
    "no id": {"answer": {"id": None}},
    "id in another spelling": {"spelled": True},
    "not a public key": {"answer": {"type": "password"}},
    "no kind": {"answer": {"type": None}},
    "no client data": {"response": {"clientDataJSON": None}},
    "client data that is no JSON": {"response": {"clientDataJSON": text(b"{")}},
    "client data that is a list": {"response": {"clientDataJSON": text(b"[]")}},
    "client data that is no text": {"response": {"clientDataJSON": text(b"\xff\xfe")}},
    "no response": {"answer": {"response": None}},
    "a response that is a list": {"answer": {"response": []}},
}
RIGHT = key_at_the_site().public_key
CREATION: dict[str, dict[str, Any]] = {
    "type of the other ceremony": {"client_data": {"type": "webauthn.get"}},
    "challenge of the other ceremony": {"client_data": {"challenge": text(ASKED)}},
    "id of 0 bytes": {"id": b""},
    "id of 1,024 bytes": {"id": bytes(1024)},
    "another id attested": {"attested_id": b"another"},
    "an algorithm not asked for": {"public_key": {**RIGHT, 3: -9}},
    "an algorithm of nobody": {"public_key": {**RIGHT, 3: -7777}},
    "no algorithm": {"public_key": {1: 2}},
    "an algorithm that is text": {"public_key": {**RIGHT, 3: "ES256"}},
    "another kind of key": {"public_key": {**RIGHT, 1: 3}},
    "another curve": {"public_key": {**RIGHT, -1: 2}},
    "a point off the curve": {"public_key": {**RIGHT, -2: bytes(32)}},
    "a coordinate cut short": {"public_key": {**RIGHT, -2: RIGHT[-2][:31]}},
    "a coordinate with a zero before it": {"public_key": {**RIGHT, -2: b"\0" + RIGHT[-2]}},
    "a coordinate that is a number": {"public_key": {**RIGHT, -2: 5}},
    "no coordinate": {"public_key": {1: 2, 3: -7, -1: 1}},
    "an Ed25519 key cut short": {"public_key": {1: 1, 3: ED25519, -1: 6, -2: bytes(31)}},
    "an RSA modulus of 1024 bits": {"public_key": {1: 3, 3: RS256, -1: b"\xff" * 128, -2: b"\1\0\1"}},
    "an RSA modulus of 8192 bits": {"public_key": {1: 3, 3: RS256, -1: b"\xff" * 1024, -2: b"\1\0\1"}},
    "an RSA exponent of 40 bits": {"public_key": {1: 3, 3: RS256, -1: b"\xff" * 256, -2: b"\1\0\0\0\1"}},
    "an even RSA exponent": {"public_key": {1: 3, 3: RS256, -1: b"\xff" * 256, -2: b"\2"}},
    "transports that are a number": {"response": {"transports": 5}},
    "transports that are a text": {"response": {"transports": "usb"}},
    "transports that are a map": {"response": {"transports": {"usb": 1}}},
    "transports that are no words": {"response": {"transports": ["usb nfc"]}},
    "transports that are markup": {"response": {"transports": ["<b>"]}},
    "trailing bytes": {"attestation": lambda attestation: attestation + b"\0"},
    "nesting of 5,000": {"attestation": lambda _: b"\x81" * 5000},
    "an array of 2^36": {"attestation": lambda _: b"\x9b" + (2**36).to_bytes(8)},
    "a text of 2^63 bytes": {"attestation": lambda _: b"\x5b" + (2**63).to_bytes(8)},
    "an empty attestation": {"attestation": lambda _: b""},
    "an attestation that is a number": {"attestation": lambda _: b"\0"},
    "no credential in it": {"attestation": lambda _: cbor({"fmt": "none", "attStmt": {}, "authData": bytes(37)})},
}
SIGNING: dict[str, dict[str, Any]] = {
    "type of the other ceremony": {"client_data": {"type": "webauthn.create"}},
    "challenge of the other ceremony": {"client_data": {"challenge": text(ADDING)}},
    "said to be on several devices": {"flags": PRESENT | MAY_SYNC},
    "id of 0 bytes": {"id": b""},
    "id of nobody": {"id": b"another"},
    "an empty signature": {"response": {"signature": ""}},
    "another signature": {"response": {"signature": text(b"another")}},
    "what was signed cut short": {"response": {"authenticatorData": text(bytes(36))}},
    "another count than was signed": {"response": {"authenticatorData": text(bytes(37))}},
    "somebody else's handle": {"response": {"userHandle": text(user_handle(MAYA + 1))}},
    "a handle that is a number": {"response": {"userHandle": 7}},
}


def told(lies: dict[str, Any], key: SecurityKey) -> dict[str, Any]:
    """The lies, those that need the key to be told among them."""
    if not lies.get("spelled"):
        return lies
    spelled = text(key.id)[:-1] + chr(ord(text(key.id)[-1]) + 1)  # in its last two bits, which stand for nothing
    assert data(spelled) == key.id
    return {"answer": {"id": spelled, "rawId": spelled}}


def of_an_id_that_can_be_spelled_otherwise(algorithm: int = ES256) -> SecurityKey:
    key = key_at_the_site(algorithm)
    key.id = bytes(32)
    return key


@pytest.mark.parametrize("lie", [*FOR_BOTH, *CREATION])
def test_a_new_key_is_refused_for_each_lie(lie: str) -> None:
    key = of_an_id_that_can_be_spelled_otherwise()
    lies = told((FOR_BOTH | CREATION)[lie], key)
    assert made(key, **lies) == RefusedKey()
    assert isinstance(made(key), Key)


@pytest.mark.parametrize("lie", [*FOR_BOTH, *SIGNING])
def test_a_signature_is_refused_for_each_lie(lie: str) -> None:
    key = of_an_id_that_can_be_spelled_otherwise()
    known = made(key)
    assert signed(key, known, **told((FOR_BOTH | SIGNING)[lie], key)) == RefusedKey()
    assert signed(key, known) == (known, 3)


@pytest.mark.parametrize("algorithm", [ED25519, ES256, RS256])
def test_a_signature_of_another_key_is_refused_under_either_id(algorithm: int) -> None:
    key, thief = key_at_the_site(algorithm), key_at_the_site(algorithm)
    known = made(key)
    assert signed(thief, known) == RefusedKey()
    assert signed(thief, known, id=key.id) == RefusedKey()
    assert signed(key) == RefusedKey(), "it is nobody's here"
    assert signed(key, known) == (known, 3)


def test_a_key_that_synced_before_must_say_so_again() -> None:
    key = key_at_the_site(flags=PRESENT | MAY_SYNC | SYNCED)
    known = made(key)
    assert known.is_synced
    assert signed(key, known, flags=PRESENT) == RefusedKey()
    assert signed(key, known, flags=PRESENT | MAY_SYNC) == (known, 3)


def test_no_part_of_an_attestation_is_one() -> None:
    key = key_at_the_site()
    whole = data(json.loads(key.create(options_to_add(SITE, ADDING, MAYA, "", [])))["response"]["attestationObject"])
    for length in range(len(whole)):
        assert made(key, attestation=lambda _, length=length: whole[:length]) == RefusedKey(), length
    assert isinstance(made(key, attestation=lambda _: whole), Key)


MALFORMED: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "no JSON": lambda right: right[:-1],
    "a list": lambda _: "[]",
    "null": lambda _: "null",
    "a text": lambda _: '"public-key"',
    "a number of 4,301 digits": lambda _: "1" * 4301,
    "such a number in its place": lambda right: right.replace('"clientExtensionResults": {}', '"x": ' + "1" * 4301),
    "nesting of 5,000": lambda _: "[" * 5000,
    "half a surrogate": lambda right: right.replace('"public-key"', '"\\ud800"'),
    "half a surrogate as id": lambda right: json.dumps({**json.loads(right), "id": "\ud800", "rawId": "\ud800"}),
    "a NUL": lambda right: right + "\0",
    "9 kB": lambda right: right + " " * (9 * 1024 - len(right)),
    "one character too many": lambda right: right + " " * (LONGEST_ANSWER + 1 - len(right)),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_what_is_no_answer_at_all_is_refused(how: str) -> None:
    key = key_at_the_site()
    created = key.create(options_to_add(SITE, ADDING, MAYA, "", []))
    known = verify_new(created, SITE, ADDING)
    assert isinstance(known, Key)
    answer = key.get(options_to_ask(SITE, ASKED, [known]))
    assert verify_new(MALFORMED[how](created), SITE, ADDING) == RefusedKey()
    assert verify_answer(MALFORMED[how](answer), SITE, ASKED, MAYA, [known]) == RefusedKey()
    assert verify_answer(answer + " " * (LONGEST_ANSWER - len(answer)), SITE, ASKED, MAYA, [known]) == (known, 2)


@pytest.mark.parametrize("where", ["id", "clientDataJSON", "attestationObject", "authenticatorData", "signature"])
def test_a_number_in_place_of_bytes_takes_no_memory(where: str) -> None:
    many, key = 100_000_000, key_at_the_site()
    lies = {"answer": {"id": many, "rawId": many}} if where == "id" else {"response": {where: many}}
    known = made(key)
    tracemalloc.start()
    try:
        refused = made(key, **lies) if where == "attestationObject" else signed(key, known, **lies)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused == RefusedKey()
    assert peak < 10_000_000
