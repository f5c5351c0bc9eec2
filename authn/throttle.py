"""How many wrong tries are counted, and how long to wait after them. The counts are kept in flows/throttle.py."""

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

KNOWN = "known"  # what the count is kept under that all browsers share which an account knows
TELLING_WRONG_CODES = 3  # six-digit ones after a right password, in unknown browsers: the password is known

_FIRST_PAUSE_SECONDS = 30
_LONGEST_PAUSE_SECONDS = 3600


class Paused(Exception):
    """Nothing is compared before `until` (seconds UTC). None means: before an admin acts or the secret is another."""

    def __init__(self, until: int | None) -> None:
        super().__init__(until)
        self.until = until


@dataclass(frozen=True)
class Count:
    """Failures, and what they brought. All times are seconds UTC."""

    failures: int = 0
    since: int = 0  # the moment from which they decay
    paused_until: int = 0  # of an address: the end of its window


@dataclass(frozen=True)
class Limit:
    """The `free`-th failure brings the first pause, and each one after it a pause twice as long. At `stop` failures
    nothing is compared any more (NIST SP 800-63B-4 3.2.2 allows at most 100), and the count stays. Below that one
    failure is forgotten every `decay_seconds`, whoever signs in meanwhile. None means: never, wherever it stands."""

    kind: str
    free: int | None
    stop: int | None
    decay_seconds: int | None

    def charge(self, count: Count, now: int) -> Count:
        """Return the count with one failure more. Raise Paused when no try may be made."""
        left = self.decayed(count, now)
        self.check(left, now)
        failures, since = left.failures + 1, left.since if left.failures and self.decay_seconds else now
        pause = self.pause_seconds(failures)
        return Count(failures, since, now + pause if pause else 0)

    def check(self, count: Count, now: int) -> None:
        """Raise Paused when no try may be made."""
        if self.is_stopped(count):
            raise Paused(None)
        own = self.pause_seconds(count.failures + 1)  # or of one failure less, and taken back or forgotten since
        if now < count.paused_until <= now + own:  # else a clock that was wrong has said so
            raise Paused(count.paused_until)

    def decayed(self, count: Count, now: int) -> Count:
        """Return what is left of the count. A clock that ran ahead makes no failure last longer."""
        if self.is_stopped(count) or self.decay_seconds is None:
            return count
        since = min(count.since, now)
        forgotten = min((now - since) // self.decay_seconds, count.failures)
        return replace(count, failures=count.failures - forgotten, since=since + forgotten * self.decay_seconds)

    def is_stopped(self, count: Count) -> bool:
        return self.stop is not None and count.failures >= self.stop

    def pause_seconds(self, failures: int) -> int:
        """Return how long nothing is compared after this many failures."""
        if self.free is None or failures < self.free:
            return 0
        doublings = min(failures - self.free, 30)
        return min(_FIRST_PAUSE_SECONDS << doublings, _LONGEST_PAUSE_SECONDS)

    def of_one_browser(self) -> "Limit":
        """Return the limit for a browser that the account knows: it pauses. All of them together are stopped."""
        return replace(self, stop=None)

    def of_known_browsers(self) -> "Limit":
        """Return the limit for all browsers that the account knows, together: it stops and brings no pause."""
        return replace(self, free=None)


PASSWORD = Limit("password", free=5, stop=100, decay_seconds=12 * 3600)
ONE_TIME_CODE = Limit("one-time code", free=5, stop=100, decay_seconds=12 * 3600)
# 115 bits cannot be guessed: the pause only keeps the log short
RECOVERY_CODE = Limit("recovery code", free=10, stop=None, decay_seconds=3600)
# Nothing is guessed here: each one may be a mail to somebody who did not ask for it
FORGOTTEN = Limit("forgotten password", free=3, stop=None, decay_seconds=None)
EVERY_LIMIT = (PASSWORD, ONE_TIME_CODE, RECOVERY_CODE, FORGOTTEN)


@dataclass(frozen=True)
class Window:
    """At most so many failures of one address in a quarter of an hour. None means: any number, and all are counted."""

    limit: int | None
    seconds: int = 900

    def charge(self, count: Count, now: int) -> Count:
        """Return the count with one failure more. Raise Paused when no try may be made."""
        if not now < count.paused_until <= now + self.seconds:  # it is over, or a clock that ran ahead opened it
            count = Count(paused_until=now + self.seconds)
        if self.limit is not None and count.failures >= self.limit:
            raise Paused(count.paused_until)
        return replace(count, failures=count.failures + 1, since=now)


def network(remote_addr: str) -> str:
    """Return what counts as one address: the whole of IPv4's, and the leading 64 bits of IPv6's, which are one
    household's. A port that a proxy added is dropped. Text that is no address counts as itself."""
    address = _address(remote_addr) or _address(re.sub(r"\]?:[0-9]+$", "", remote_addr).removeprefix("["))
    if address is None:
        return remote_addr
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
