"""How long something that began at a written time stays open, also when the clock that said the time ran ahead, or has
been set back since. A time that lies further ahead than the thing may last cannot be believed: it is over. One that is
ahead by less counts as now, so that a small correction of the clock shuts nobody out."""


def bounds(seconds: int, now: int) -> tuple[int, int]:
    """Return the first and the last second in which something may have begun that lasts so long and is still open."""
    return now - seconds + 1, now + seconds


def end_of(since: int, seconds: int, now: int) -> int:
    """Return when something ends that began at `since` and lasts so long: never further from now than that, and not
    after now when it is over."""
    _, latest = bounds(seconds, now)
    return min(since, now) + seconds if since <= latest else now
