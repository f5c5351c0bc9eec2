"""How long something stays open when the clock was wrong, at every second around its limits."""

import pytest

from authn.clocks import bounds, end_of

NOW = 1_796_000_000


@pytest.mark.parametrize("seconds", [1, 2, 900])
def test_both_forms_of_the_rule_agree_and_keep_nothing_open_for_longer_than_it_may_last(seconds: int) -> None:
    earliest, latest = bounds(seconds, NOW)
    for since in range(NOW - 2 * seconds - 2, NOW + 2 * seconds + 3):
        end = end_of(since, seconds, NOW)
        assert (end > NOW) == (earliest <= since <= latest), since - NOW
        assert end <= NOW + seconds
    assert end_of(NOW, seconds, NOW) == NOW + seconds


@pytest.mark.parametrize(
    ("ahead", "left"),
    [(-901, -1), (-900, 0), (-899, 1), (0, 900), (1, 900), (900, 900), (901, 0), (30 * 86400, 0)],
)
def test_a_quarter_of_an_hour_is_over_when_it_began_too_far_from_now(ahead: int, left: int) -> None:
    assert end_of(NOW + ahead, 900, NOW) - NOW == left
