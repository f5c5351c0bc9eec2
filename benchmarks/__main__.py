"""The command: measures everything, prints the table, keeps the figures, and fails where a promise is not kept."""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import closed_page, crowds, statements, timings
from benchmarks.figures import Row, table
from benchmarks.sites import ROOT, Site


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "instance" / "bench.json", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="everything on a tiny scale: the figures mean nothing")
    options, started = parser.parse_args(), time.monotonic()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.json.parent, prefix="bench-") as folder:  # on a disk, as a site is
        rows = measure(Path(folder).resolve(), quick=options.quick)
    print(table(rows))
    took, load = time.monotonic() - started, os.getloadavg()[0]
    print(f"\n{took:.0f} s on {os.cpu_count()} cores, with a load of {load:.0f} at the end.")
    options.json.write_text(json.dumps([row.facts() for row in rows], indent=1) + "\n")
    return 1 if any(row.holds is False for row in rows) else 0


def measure(folder: Path, *, quick: bool) -> list[Row]:
    seconds, people, crowd, turns = (1.0, 100, 1_000, 20) if quick else (120.0, 4_000, 1_000_000, 4_000)
    rounds, visitors, floods, idle_seconds = (1, 10, 1, 0.5) if quick else (10, 200, 3, 5.0)
    logging.getLogger("sparekey").handlers = [logging.NullHandler()]  # in this process; the servers write theirs
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
    flooded = Site.make(folder / "flood", floods * (visitors + 10) + 30)
    return rows + crowds.flood(flooded, visitors, floods, idle_seconds)


def idle_memory(site: Site) -> list[Row]:
    """A worker that has served sign-ins, with every feature on: recovery codes are."""
    with site.served(MAIL_URL="smtp://127.0.0.1:9?from=accounts@example.org", TRUSTED_PROXIES="1"):
        return [Row("memory of an idle worker, all features on", site.memory(), "MiB", promise="<= 64")]


def tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
