"""The command: measures everything, prints the tables, keeps the figures, and fails where a promise is not kept."""

import argparse
import json
import logging
import os
import platform
import re
import sqlite3
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import closed_page, crowds, growth, statements, timings
from benchmarks.figures import Curve, Row, growth_table, table
from benchmarks.sites import ROOT, Site


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "instance" / "bench.json", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="everything on a tiny scale: the figures mean nothing")
    options, started = parser.parse_args(), time.monotonic()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("sparekey").handlers = [logging.NullHandler()]  # in this process; the servers write theirs
    with tempfile.TemporaryDirectory(dir=options.json.parent, prefix="bench-") as folder:  # on a disk, as a site is
        rows, curves = measure(Path(folder).resolve(), quick=options.quick)
    run = {"seconds": round(time.monotonic() - started), **machine()}
    print(f"{table(rows)}\n{growth_table(curves)}\n")
    print(f"{run['seconds']} s on {run['machine']}, with a load of {run['load']} at the end.")
    figures = {**run, "rows": [row.facts() for row in rows], "growth": [asdict(curve) for curve in curves]}
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if any(row.holds is False for row in rows) else 0


def measure(folder: Path, *, quick: bool) -> tuple[list[Row], list[Curve]]:
    seconds, people, crowd, turns = (1.0, 100, 1_000, 20) if quick else (120.0, 4_000, 1_000_000, 4_000)
    rounds, visitors, floods, idle_seconds = (1, 10, 1, 0.5) if quick else (10, 200, 3, 5.0)
    tell("filling two sites")
    small, large = Site.make(folder / "small", people), Site.make(folder / "large", people, crowd)
    tell("timing each step")
    rows = timings.measure(small, large, seconds)
    tell("a closed page of your own")
    rows += closed_page.measure(Site.make(folder / "own", 100), turns)
    tell("counting statements")
    rows += statements.count(Site.make(folder / "counted", 4))
    tell("proxies that ask")
    rows += crowds.ask(Site.make(folder / "asked", 1), seconds / 10)
    tell("a worker with everything on")
    rows += idle_memory(Site.make(folder / "idle", 20))
    tell("one code in many browsers")
    rows += crowds.one_code(Site.make(folder / "race", 50), rounds)
    tell("floods of sign-ins")
    rows += crowds.flood(Site.make(folder / "flood", floods * (visitors + 10) + 30), visitors, floods, idle_seconds)
    tell("how it grows")
    return rows, growth.measure(Site.make(folder / "growing", 80), quick=quick)


def idle_memory(site: Site) -> list[Row]:
    """A worker that has served sign-ins, with every feature on: recovery codes are."""
    name, everything = "accounts.example.org", {"MAIL_URL": "smtp://127.0.0.1:9?from=accounts@example.org"}
    everything |= {"SITE_URL": f"https://{name}", "APPS": "https://wiki.example.org", "TRUSTED_PROXIES": "1"}
    with site.served(by_a_proxy={"X-Forwarded-Host": name, "X-Forwarded-Proto": "https"}, **everything):
        return [Row("memory of an idle worker, all features on", site.memory(), "MiB", promise="<= 64")]


def machine() -> dict[str, Any]:
    """On what, and when. The name of the machine is nobody's affair."""
    models = re.findall("model name.*: (.*)", Path("/proc/cpuinfo").read_text()) or [platform.machine()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python, linux = platform.python_version(), platform.release().partition("-")[0]
    return {
        "day": time.strftime("%-d %B %Y", time.gmtime()),
        "machine": f"{os.cpu_count()} cores of {models[0]}, {memory:.0f} GiB, "
        f"Python {python}, SQLite {sqlite3.sqlite_version}, Linux {linux}",
        "load": round(os.getloadavg()[0]),
    }


def tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
