"""The tables of docs/benchmarks.md: each promise with what it means to a user, and how the figures grow."""

import re
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Curve, Row, number

FORM, PEER, BY_HAND = "a form, one commit", "Flask-Security", "Flask-Login, Peewee"
OWN = "a closed page of your own"


@dataclass(frozen=True)
class Promise:
    """A line of the page: the rows that it stands for, of which it shows the worst, and what they mean to a user."""

    what: str
    rows: str  # what they are called, as a regular expression
    means: str
    beside: str = ".*"

    def worst(self, rows: list[Row]) -> Row | None:
        ours = [row for row in rows if re.fullmatch(self.rows, row.what) and re.fullmatch(self.beside, row.beside)]
        return max(ours, key=_strain, default=None)


PROMISES = [
    Promise(
        "`POST /login`, the right password",
        "POST /login",
        "Signing in takes what the hash of a password takes, which is slow on purpose. Nothing else in it counts.",
    ),
    Promise(
        "A closed page of your own, beside an open one",
        OWN,
        "What a page of yours pays for being behind the sign-in, with its look-up, headers and checks.",
        "bare Flask",
    ),
    Promise(
        "The same, beside one closed by hand",
        OWN,
        "What you would have written yourself, with Flask-Login and a look-up of the person.",
        BY_HAND,
    ),
    Promise(
        "SQL statements on that page",
        f"SQL statements, {OWN}|SQL statements before a signed-in page's own",
        "Person, groups and session come in one look-up by an index; what your page asks for comes on top.",
    ),
    Promise(
        "`POST /login/code`",
        "POST /login/code",
        "A six-digit code is counted as a try, compared and spent in two commits: about two forms that save something.",
        FORM,
    ),
    Promise(
        "The same, beside Flask-Security",
        "POST /login/code",
        "What the step takes in a well-known library for Flask, which counts no tries.",
        PEER,
    ),
    Promise(
        "`POST /login/key`",
        "POST /login/key",
        "A security key's answer, with its signature checked.",
        FORM,
    ),
    Promise(
        "`POST /login/recovery`",
        "POST /login/recovery",
        "It takes about what a six-digit code takes, however many codes there are.",
        FORM,
    ),
    Promise(
        "The same, beside Flask-Security",
        "POST /login/recovery",
        "There codes lie in clear and no try is counted; here they are digests, and every try counts.",
        PEER,
    ),
    Promise(
        "`GET /login` by many at once",
        "GET /login by many at once",
        "What opening the sign-in page takes beyond its template and its form.",
        "a page and form alone",
    ),
    Promise(
        "`GET /login` by many at once, beside nothing",
        "GET /login by many at once",
        'A bare page that says "ok" is what Flask and the server can do at most.',
        "bare Flask",
    ),
    Promise(
        "`/.sparekey/check` by many at once",
        "/.sparekey/check by many at once",
        "A proxy asks this before every request of a site behind it.",
    ),
    Promise(
        "Each step with a million people, beside 4,000",
        ".* with [0-9,]+ people",
        "Signing in gets no slower as a site grows. Of all its steps this is the one that fares worst.",
    ),
    Promise(
        "One code from twenty browsers at once: sign-ins",
        "20 browsers send one .* at once: sign-ins",
        "A code that is read over a shoulder and typed in the same moment signs in one of the two.",
    ),
    Promise(
        "Errors that these browsers see",
        "answers 5xx to these browsers",
        "The others are told that the code is used, and none that something broke.",
    ),
    Promise("A flood of sign-ins: who got in", ".* sign-ins at once: got in", "Everybody, after a wait."),
    Promise(
        "Its memory, beside its slots'",
        "a worker's memory, above idle",
        "However many come, a worker hashes PASSWORD_HASH_SLOTS passwords at a time.",
    ),
    Promise("What it leaves in memory", "what the last flood left", "A flood costs nothing once it is over."),
    Promise(
        "A signed-in page during it, beside idle",
        "a signed-in page",
        "Whoever is signed in goes on working while others wait to be.",
    ),
    Promise(
        'Errors but for "come again in a few seconds"',
        "answers 5xx but for 503 with Retry-After",
        "Whoever is turned away learns when to come back.",
    ),
    Promise(
        "Memory of an idle worker",
        "memory of an idle worker, all features on",
        "gunicorn.conf.py starts two, and a small machine has room for them.",
    ),
]


def written(page: str, run: dict[str, Any]) -> str:
    """Return the page with the tables of this run between its marks."""
    rows, curves = rows_of(run), [Curve(**facts) for facts in run["growth"]]
    for name, text in (("run", _run(run)), ("promises", _promises(rows)), ("growth", _growth(curves))):
        page = _put(page, name, text)
    return page


def rows_of(run: dict[str, Any]) -> list[Row]:
    return [Row(**{name: facts[name] for name in Row.__dataclass_fields__}) for facts in run["rows"]]


def _put(page: str, name: str, text: str) -> str:
    """The page with this text between its two marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"The page has no place for {name}.")
    return f"{before}{begin}{text.strip()}\n{end}{after}"


def _strain(row: Row) -> float:
    """How near the row is to what is promised, or beyond it."""
    sign, _, bound = row.promise.partition(" ")
    if sign == "=":
        return abs(row.figure - float(bound))
    return -row.figure if sign == ">=" else row.figure


def _run(run: dict[str, Any]) -> str:
    took = f"in {run['seconds']} seconds, with a load of {run['load']} at the end"
    return f"Measured on {run['day']}, {took}, on {run['machine']}."


def _promises(rows: list[Row]) -> str:
    lines = ["| | promised | measured | | what it means to you |", "|---|---|---|---|---|"]
    for promise in PROMISES:
        if row := promise.worst(rows):
            cells = promise.what, _promised(row), _measured(row), _verdict(row), promise.means
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _promised(row: Row) -> str:
    sign, _, bound = row.promise.partition(" ")
    if not sign:
        return ""
    words = {"<=": "at most ", ">=": "at least ", "=": ""}[sign] + bound
    return f"{words} times {row.beside}" if row.reference else f"{words} {row.unit}".strip()


def _measured(row: Row) -> str:
    ours = number(row.ours, row.unit)
    return f"{row.figure:.2f} ({ours} : {number(row.reference, row.unit)})" if row.reference else ours


def _verdict(row: Row) -> str:
    return {True: "kept", False: "**not kept**", None: ""}[row.holds]


def _growth(curves: list[Curve]) -> str:
    tables = []
    for what in dict.fromkeys(curve.what for curve in curves):
        ours = [curve for curve in curves if curve.what == what]
        lines = [[what, *ours[0].figures], ["---", *["--:"] * len(ours[0].figures)]]
        lines += [[f"`{curve.act}`" if "/" in curve.act else curve.act, *curve.cells()] for curve in ours]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)
