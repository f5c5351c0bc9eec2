"""One spelling, one account: what counts as the same email address."""

import re
import unicodedata

from authn.refusals import NoAddress, NoLines, Refusal, SameAddress, TooManyLines

MOST_LISTED = 50
MAX_LENGTH = 254  # bytes; RFC 5321 4.5.3.1.3
_LONGEST_SHOWN = 100
_LONGEST_TYPED = 1000  # normalizing takes time with the square of the length


def fold(typed: str) -> str | None:
    """Return the one spelling of this address (NFKC, case folded, no space around it); None when it is no address.

    A colon is refused: in the label that an authenticator app reads, it ends the site's name."""
    if len(typed) > _LONGEST_TYPED:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", typed).casefold()).strip()
    looks_right = re.fullmatch(r"[^@\s:]+@[^@\s:]+", folded) and folded.isprintable()
    return folded if looks_right and len(folded.encode()) <= MAX_LENGTH else None


def read_list(typed: str) -> tuple[dict[str, int], dict[int, Refusal]]:
    """Return the folded addresses of a list, one a line, with the numbers of their lines; and by number what is wrong
    with other lines. Nothing is made of what mail programs put between and around addresses."""
    lines = {number: line.strip() for number, line in enumerate(re.split("\r\n?|\n", typed), 1) if line.strip()}
    if not lines or len(lines) > MOST_LISTED:
        return {}, {0: TooManyLines(len(lines), MOST_LISTED) if lines else NoLines()}
    found, wrong = dict[str, int](), dict[int, Refusal]()
    for number, line in lines.items():
        address = fold(line)
        if address is None or re.search('[",;<>]', address):
            wrong[number] = NoAddress(number, line[:_LONGEST_SHOWN])
        elif address in found:
            wrong[number] = SameAddress(number, address)
        else:
            found[address] = number
    return found, wrong
