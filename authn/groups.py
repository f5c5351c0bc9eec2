"""Groups of people: what a name may be, and in which groups somebody is."""

import re
import unicodedata
from collections.abc import Iterable

from authn.refusals import GivenGroup, MalformedGroup, Refusal, TooManyGroups

PEOPLE, ADMINS = "people", "admins"  # given: everybody is in the first one, and admins are in the second
MOST = 50  # of one person: a proxy takes all names in one header
_LONGEST = 32


def split(typed: str) -> list[str]:
    """Return the names in a text that has spaces or commas between them, as they were typed."""
    return [name for name in re.split(r"[\s,]+", typed) if name]


def read(names: Iterable[str]) -> str | Refusal:
    """Return these groups as they are stored: folded, each once, sorted, joined by commas. Else say which of them is no
    group that somebody can be put into."""
    found = set()
    for name in names:
        folded = _fold(name)
        if folded is None:
            return MalformedGroup(name[: 2 * _LONGEST])
        if folded in (PEOPLE, ADMINS):
            return GivenGroup(folded)
        found.add(folded)
    return ",".join(sorted(found)) if len(found) <= MOST else TooManyGroups(MOST)


def every(stored: str, is_admin: bool) -> list[str]:
    """Return every group of somebody, the given ones first."""
    return [PEOPLE, *([ADMINS] if is_admin else []), *split(stored)]


def is_name(name: str) -> bool:
    """Return whether it is a group's name, given or not, in its one spelling."""
    return _fold(name) == name


def _fold(name: str) -> str | None:
    """Return the one spelling of a name (NFKC, case folded); None when it is none."""
    if len(name) > _LONGEST:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded if re.fullmatch(rf"[a-z0-9-]{{1,{_LONGEST}}}", folded) else None
