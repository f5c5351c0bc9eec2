"""How long to wait after how many wrong tries. The counts are kept in flows/throttle.py."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ADDRESS_WINDOW_SECONDS = 900

_FIRST_PAUSE_SECONDS = 30
LONGEST_PAUSE_SECONDS = 3600


class Paused(Exception):
    """Nothing is compared before `until` (seconds UTC). None means: before an admin acts or the secret is another."""

    def __init__(self, until: int | None) -> None:
        super().__init__(until)
        self.until = until


@dataclass(frozen=True)
class Limit:
    """The `free`-th failure in a row brings the first pause, and each one after it a pause twice as long. At `stop`
    failures nothing is compared any more (NIST SP 800-63B-4 3.2.2 allows at most 100)."""

    kind: str
    free: int
    stop: int | None = None

    def pause_seconds(self, failures: int) -> int:
        """Return how long nothing is compared after this many failures in a row."""
        if failures < self.free:
            return 0
        doublings = min(failures - self.free, 30)
        return min(_FIRST_PAUSE_SECONDS << doublings, LONGEST_PAUSE_SECONDS)

    def is_stopped(self, failures: int) -> bool:
        return self.stop is not None and failures >= self.stop


PASSWORD = Limit("password", free=5, stop=100)
ONE_TIME_CODE = Limit("one-time code", free=5, stop=100)
RECOVERY_CODE = Limit("recovery code", free=10)  # 115 bits cannot be guessed: the pause only keeps the log short
EVERY_LIMIT = (PASSWORD, ONE_TIME_CODE, RECOVERY_CODE)


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
