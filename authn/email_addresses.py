"""One spelling, one account: what counts as the same email address."""

import re
import unicodedata

MAX_LENGTH = 254  # bytes; RFC 5321 4.5.3.1.3
_LONGEST_TYPED = 1000  # normalizing takes time with the square of the length


def fold(typed: str) -> str | None:
    """Return the one spelling of this address (NFKC, case folded, no space around it); None when it is no address.

    A colon is refused: in the label that an authenticator app reads, it ends the site's name."""
    if len(typed) > _LONGEST_TYPED:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", typed).casefold()).strip()
    looks_right = re.fullmatch(r"[^@\s:]+@[^@\s:]+", folded) and folded.isprintable()
    return folded if looks_right and len(folded.encode()) <= MAX_LENGTH else None
