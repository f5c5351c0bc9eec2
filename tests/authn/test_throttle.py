"""How long to wait after how many failures in a row, and what counts as one address."""

import pytest

from authn.throttle import ONE_TIME_CODE, PASSWORD, RECOVERY_CODE, Count, Limit, network

DOUBLING = [30, 60, 120, 240, 480, 960, 1920]


@pytest.mark.parametrize(
    ("limit", "pauses"),
    [
        (PASSWORD, [0] * 5 + DOUBLING + [3600] * 9),
        (ONE_TIME_CODE, [0] * 5 + DOUBLING + [3600] * 9),
        (RECOVERY_CODE, [0] * 10 + DOUBLING + [3600] * 4),
    ],
)
def test_pauses_double_from_half_a_minute_to_an_hour(limit: Limit, pauses: list[int]) -> None:
    assert [limit.pause_seconds(failures) for failures in range(21)] == pauses


@pytest.mark.parametrize("limit", [PASSWORD, ONE_TIME_CODE])
def test_passwords_and_one_time_codes_stop_at_a_hundred_failures(limit: Limit) -> None:
    assert [failures for failures in range(102) if limit.is_stopped(Count(failures))] == [100, 101]


def test_the_recovery_code_never_stops() -> None:
    assert not any(RECOVERY_CODE.is_stopped(Count(failures)) for failures in (0, 99, 100, 101, 10**9))


@pytest.mark.parametrize("limit", [PASSWORD, ONE_TIME_CODE, RECOVERY_CODE])
@pytest.mark.parametrize("failures", [99, 100, 10_000, 2**63, 10**100])
def test_no_count_is_too_large(limit: Limit, failures: int) -> None:
    assert limit.pause_seconds(failures) == 3600


def test_each_kind_has_a_name_of_its_own() -> None:
    """A count is kept under it, and one kind's failures must not be another's."""
    assert len({PASSWORD.kind, ONE_TIME_CODE.kind, RECOVERY_CODE.kind}) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:DB8:0001:0002::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.7:5001", "203.0.113.7:5002", True),
        ("203.0.113.7:5001", "203.0.113.8:5001", False),
        ("[2001:db8:1:2::1]:5001", "2001:db8:1:2::2", True),
        ("nowhere", "elsewhere", False),
        ("nowhere:1", "nowhere:2", False),
        ("", "0.0.0.0", False),  # noqa: S104 - compared, not bound
    ],
)
def test_one_address_is_all_of_ipv4_and_half_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same
