"""One-time links: what each was made for, and for how long it works."""

from collections.abc import Iterator
from enum import StrEnum, auto

from authn import clocks


class LinkPurpose(StrEnum):
    """What a link was made for. All lead to a page where a password is chosen."""

    INVITATION = auto()
    RESET = auto()
    FORGOT = auto()  # asked for by the person, and mailed

    @property
    def seconds(self) -> int:
        return 3600 if self is LinkPurpose.FORGOT else 72 * 3600


def open_ends(now: int) -> Iterator[tuple[LinkPurpose, int, int]]:
    """Yield of each purpose the first and the last second at which a link may end that is open now."""
    for purpose in LinkPurpose:
        first, last = clocks.bounds(purpose.seconds, now)
        yield purpose, first + purpose.seconds, last + purpose.seconds
