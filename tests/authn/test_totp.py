"""One-time codes: the RFC's own numbers, the three steps that count, and what may be typed."""

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from authn import totp

SECRET = b"12345678901234567890"  # RFC 6238, appendix B
KEY = "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
STEP = 37_037_036  # its first second is 1,111,111,080


def test_secrets_have_160_bits_and_differ() -> None:
    secrets = {totp.new_secret() for _ in range(1_000)}
    assert len(secrets) == 1_000
    assert {len(secret) for secret in secrets} == {20}


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(now: int, code: str) -> None:
    assert totp.code_at(SECRET, now) == code
    assert totp.matching_step(SECRET, code, now) == now // 30


@pytest.mark.parametrize("second", [0, 1, 15, 28, 29])
def test_a_code_fits_from_one_step_back_to_one_ahead_and_tells_its_step(
    second: int,
) -> None:
    now = STEP * 30 + second
    steps = {
        offset: totp.matching_step(SECRET, totp.code_at(SECRET, now + 30 * offset), now) for offset in range(-4, 5)
    }
    assert {offset: step for offset, step in steps.items() if step is not None} == {-1: STEP - 1, 0: STEP, 1: STEP + 1}


def test_a_code_fits_nobody_elses_secret() -> None:  # passlib compares
    code = totp.code_at(SECRET, STEP * 30)
    assert totp.matching_step(SECRET[::-1], code, STEP * 30) is None
    assert totp.matching_step(SECRET, code, STEP * 30) == STEP


@pytest.mark.parametrize("typed", ["123456", "123 456", "123-456", " 1 2 3 4 5 6 ", "123456\r\n", "123\u00a0456"])
def test_spaces_dashes_and_newlines_in_six_digits_do_not_matter(typed: str) -> None:
    assert totp.read(typed) == "123456"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "12345",
        "1234567",
        "12345a",
        "12345O",
        "+123456",
        "123.456",
        "123456\0",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "\u00b9\u00b2\u00b3\u2074\u2075\u2076",
        "12345\ud800",
        "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3",
        "1" * 10_000,
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_anything_but_six_digits_is_no_code(typed: str) -> None:
    assert totp.read(typed) is None
    digits = "".join(character for character in typed if character in "0123456789")
    assert totp.read(f"{digits}123456"[:6]) is not None


def test_a_setup_key_is_base32_in_groups_of_four() -> None:
    assert totp.setup_key(SECRET) == KEY


def test_a_setup_key_leads_back_to_its_secret_however_it_is_typed() -> None:
    for secret in (SECRET, *(totp.new_secret() for _ in range(20))):
        key = totp.setup_key(secret)
        for typed in (key, key.lower(), key.replace(" ", ""), key.replace(" ", "-"), f" {key.replace(' ', '  ')}\r\n"):
            assert totp.read_setup_key(typed) == secret


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "A",
        "1",
        "0",
        "8",
        "9" * 32,
        "1" * 32,
        "not a setup key!",
        "123456\0",
        KEY + "!",
        KEY + "A",
        KEY[:-1] + "\u00c9",
        KEY[:-1] + "\u20ac",
        KEY[:-1] + "\0",
        KEY[:-1] + "\ud800",
        KEY[:-1] + "\U0001f600",
        "\u212a" * 32,
        "\u017f" * 32,
        "\u0131" * 32,
        "\u0661" * 32,
        "A" * 100_001,
        "A" * 100_000 + "!",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_nonsense_is_no_setup_key(nonsense: str) -> None:
    assert totp.read_setup_key(nonsense) is None
    assert totp.read_setup_key(KEY) == SECRET


@pytest.mark.parametrize("issuer", ["Sparekey", "Caf\u00e9 & S\u00f8ns / 100%?", "123"])
@pytest.mark.parametrize("account", ["maya@example.com", "maya+a&b=c?#%@example.com", "ma\u00ffa@example.com"])
def test_the_uri_of_the_qr_code_says_issuer_account_and_secret(issuer: str, account: str) -> None:
    uri = totp.uri(SECRET, issuer, account)
    assert uri.isascii() and " " not in uri
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert unquote(parts.path) == f"/{issuer}:{account}"
    said = parse_qs(parts.query, strict_parsing=True)
    assert (said.pop("issuer"), base64.b32decode(said.pop("secret")[0])) == ([issuer], SECRET)
    # What an app takes for granted may be said too, but nothing else.
    assert said.items() <= {"algorithm": ["SHA1"], "digits": ["6"], "period": ["30"]}.items()


@pytest.mark.parametrize("short", ["=", "====", "-", " ", "\n", "AA", "a-b", "A" * 15])
def test_a_setup_key_under_80_bits_is_none(short: str) -> None:
    assert totp.read_setup_key(short) is None
    assert totp.read_setup_key("A" * 16) == bytes(10)


def test_what_is_no_code_matches_no_step() -> None:
    assert totp.matching_step(SECRET, "", 59) is None
    assert totp.matching_step(SECRET, totp.code_at(SECRET, 59), 59) == 1


# Used up --------------------------------------------------------------------------------------------------------------

NOW, STEP = 3_000_000, 100_000


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ([], {STEP - 1, STEP, STEP + 1}),
        ([STEP - 1], {STEP, STEP + 1}),
        ([STEP], {STEP + 1}),
        ([STEP + 1], set()),
        ([STEP + 1, STEP - 1], set()),
        ([STEP + 2], {STEP - 1, STEP, STEP + 1}),
        ([STEP + 900, STEP], {STEP + 1}),
    ],
)
def test_a_step_is_taken_once_and_never_backwards_but_for_what_a_clock_that_ran_ahead_took(accepted, takes) -> None:
    assert {step for step in (STEP - 1, STEP, STEP + 1) if totp.accept(step, accepted, NOW)} == takes


def test_what_was_taken_ahead_is_used_up_when_its_time_comes() -> None:
    ahead = totp.accept(STEP + 900, [], NOW + 27_000) or []
    back = totp.accept(STEP, ahead, NOW) or []
    assert back == [STEP + 900, STEP]
    assert totp.accept(STEP + 900, back, NOW + 27_000) is None
    assert totp.accept(STEP + 901, back, NOW + 27_000) == [STEP + 900, STEP, STEP + 901]


def test_the_newest_twenty_steps_are_kept() -> None:
    assert totp.accept(STEP, list(range(50)), NOW) == [*range(31, 50), STEP]


def test_what_was_taken_ahead_is_used_up_when_its_time_comes_however_many_came_between() -> None:
    accepted = totp.accept(STEP + 900, [], NOW + 27_000) or []
    for number in range(30):
        accepted = totp.accept(STEP + number, accepted, NOW + 30 * number) or []
    assert totp.accept(STEP + 900, accepted, NOW + 27_000) is None
    assert totp.accept(STEP + 901, accepted, NOW + 27_000)
