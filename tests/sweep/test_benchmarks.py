"""The benchmarks measure what is promised. On a scale this small only what takes no time is judged."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.page import PROMISES, rows_of
from tests.support.servers import ROOT

OWN = "a closed page of your own"
STEPS = (
    "GET /login",
    "POST /login",
    "GET /login/code",
    "POST /login/code",
    "POST /login/recovery",
    "GET /account",
    OWN,
)
TIMED = {
    OWN,
    "POST /login",
    "POST /login/code",
    "POST /login/recovery",
    *(f"{step} with 1,100 people" for step in STEPS),
    "GET /login by many at once",
    "/.sparekey/check by many at once",
    "memory of an idle worker, all features on",
    "a worker's memory, above idle",
    "what the last flood left",
    "a signed-in page",
}
AT_ANY_SCALE = {
    "SQL statements before a signed-in page's own",
    f"SQL statements, {OWN}",
    "20 browsers send one recovery_code at once: sign-ins",
    "20 browsers send one code at once: sign-ins",
    "answers 5xx to these browsers",
    "10 sign-ins at once: got in",
    "answers 5xx but for 503 with Retry-After",
}
GROWING = {"sessions of one person", "events of one person", "people of the site", "threads of one worker"}


def test_every_promise_is_measured_and_the_exit_tells_whether_all_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert path.exists(), run.stderr
    figures = json.loads(path.read_text())
    rows = figures["rows"]
    assert {row["what"] for row in rows if row["promise"]} == TIMED | AT_ANY_SCALE
    assert [row["what"] for row in rows if row["what"] in AT_ANY_SCALE and not row["holds"]] == []
    assert all(row["what"] in run.stdout and row["ours"] >= 0 for row in rows)
    assert run.returncode == any(row["holds"] is False for row in rows)
    peers = [row["what"] for row in rows if row["beside"] == "Flask-Security"]
    assert peers == ([] if "left out" in run.stderr else ["POST /login/code", "POST /login/recovery"])
    assert {curve["what"] for curve in figures["growth"]} == GROWING
    assert all(len(curve["figures"]) == 2 and curve["act"] in run.stdout for curve in figures["growth"])
    unexplained = [row for row in rows_of(figures) if row.promise and not any(each.worst([row]) for each in PROMISES)]
    assert unexplained == []
