"""Letters that look alike or cannot be seen make no second account, no second budget and no right code."""

from collections.abc import Callable

import pytest

from models import Event, Throttle, User
from tests.support.forms import Site, arrive
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Clock, Person, give_password
from tests.support.tables import count


def _in(first: int) -> Callable[[str], str]:
    return lambda code: "".join(chr(first + int(digit)) for digit in code)


LOOK_ALIKES: dict[str, Callable[[str], str]] = {
    "full width": _in(0xFF10),
    "Arabic": _in(0x0660),
    "with a zero-width space": lambda code: code[:3] + "\u200b" + code[3:],
    "with a NUL": lambda code: code + "\0",
    "as a number": lambda code: f"{code}.0",
    "twice": lambda code: code * 2,
}


@pytest.mark.parametrize("endpoint", ["login.code", "login.verify", "enrollment.setup"])
def test_the_right_code_in_other_digits_is_a_slip_and_not_a_try(site: Site, endpoint: str) -> None:
    """Six ASCII digits, spaced as people like; whatever else looks like them is not compared."""
    visit = arrive(site, endpoint)
    before = site.tables(Event, Throttle)
    for name, write in LOOK_ALIKES.items():
        answer = visit.send({**visit.data(), "code": write(visit.right["code"])})
        assert (answer.status, answer.errors) == (422, ["The code has six digits. Check it and try again."]), name
    assert site.tables(Event, Throttle) == before
    assert count(site.app, Throttle, Throttle.key.startswith("one-time code"), Throttle.failures > 0) == 0
    code = visit.right["code"]
    assert visit.send({**visit.data(), "code": f" {code[:3]}-{code[3:]}\u00a0\r\n"}).status == 303


@pytest.mark.parametrize("character", ["\0", "\x01", "\x1b", "\x7f", "\x85", "\u200b", "\u202e", "\ufeff", "\u2028"])
def test_a_character_that_cannot_be_seen_makes_no_second_account(site: Site, character: str) -> None:
    """Neither at the command line nor at the sign-in page, wherever in the address it stands."""
    runner = site.app.test_cli_runner()
    before = site.rows(User)
    for place in (0, 2, 4):
        address = site.omar.email[:place] + character + site.omar.email[place:]
        result = runner.invoke(args=["users", "create", "--password-stdin", "--", address], input=PASSWORD)
        assert result.exit_code == 1, place
        page = Browser(site.app).submit("/login", email=address, password=PASSWORD)
        assert (page.status == 422) or page.text.count(site.omar.email), place
    assert site.rows(User) == before
    assert give_password(Browser(site.app), site.omar).h1 == "Enter your code"


# One account ----------------------------------------------------------------------------------------------------------


SAME = {
    "kate@example.com": [
        "\u212aate@example.com",
        "KATE@EXAMPLE.COM",
        "\uff4bate@example.com",
        "  kate@example.com\u3000",
    ],
    "susan@example.com": ["\u017fu\u017fan@example.com", "SUSAN@example.com", "\u24e2usan@example.com"],
    "strasse@example.com": ["stra\u00dfe@example.com", "STRA\u1e9eE@example.com", "\ufb06rasse@example.com"],
    "fiona@example.com": ["\ufb01ona@example.com", "\u2131iona@example.com", "fiona@example\u2024com"],
    "andr\u00e9@example.com": ["andre\u0301@example.com", "ANDR\u00c9@example.com", "ANDRE\u0301@EXAMPLE.COM"],
}


@pytest.mark.parametrize("address", SAME)
def test_no_spelling_of_an_address_makes_another_account_or_another_budget(
    site: Site, clock: Clock, address: str
) -> None:
    """Refused when added, one person when signing in, one count of failures."""
    runner = site.app.test_cli_runner()
    assert runner.invoke(args=["users", "create", address, "--password-stdin"], input=PASSWORD).exit_code == 0
    people = [(row["id"], row["email"], row["password_hash"]) for row in site.rows(User)]
    for spelling in SAME[address]:
        result = runner.invoke(
            args=["users", "create", spelling, "--password-stdin"], input="a hill, a cart and an owl"
        )
        assert (result.exit_code, result.stderr) == (1, f"Error: {address} is here already.\n"), spelling
        assert give_password(Browser(site.app), Person(spelling, clock)).h1 == "Set up your authenticator app"
    assert [(row["id"], row["email"], row["password_hash"]) for row in site.rows(User)] == people
    spellings = (SAME[address] * 2)[:5]
    for spelling in spellings:
        assert Browser(site.app).submit("/login", email=spelling, password="a guess").status == 422
    assert give_password(Browser(site.app), Person(address, clock)).status == 429
    clock.pass_by(30)
    assert give_password(Browser(site.app), Person(address, clock)).h1 == "Set up your authenticator app"


OTHERS = ["k\u0430te@example.com", "kate+1@example.com", "ka.te@example.com", "kat\u0117@example.com"]


@pytest.mark.parametrize("other", OTHERS)
def test_an_address_that_only_looks_alike_is_somebody_else(site: Site, clock: Clock, other: str) -> None:
    """It has nothing of the first: no password, no failures, no events."""
    kate, twin = (
        site.person("kate@example.com", enrolled=False),
        Person(other, clock, password="a hill, a cart and an owl"),
    )
    for _ in range(5):
        assert give_password(Browser(site.app), Person(other, clock)).status == 422
    assert give_password(Browser(site.app), twin).status == 429
    assert give_password(Browser(site.app), kate).h1 == "Set up your authenticator app"
    runner = site.app.test_cli_runner()
    assert runner.invoke(args=["users", "create", other, "--password-stdin"], input=twin.password).exit_code == 0
    clock.pass_by(30)
    page = give_password(Browser(site.app), twin)
    assert other in page.text
    assert kate.email not in page.text
