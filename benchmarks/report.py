"""Writes the figures of the last run into docs/benchmarks.md, and draws its picture. `make figures` runs it, in the
environment of the peers, where the library is that draws."""

import json
import sys
from pathlib import Path

from benchmarks.page import rows_of, written
from benchmarks.picture import COLOURS, picture

ROOT = Path(__file__).parent.parent


def main(figures: Path) -> None:
    if not figures.exists():
        sys.exit(f"There is no {figures.name} yet: run make bench first.")
    run, page = json.loads(figures.read_text()), ROOT / "docs" / "benchmarks.md"
    page.write_text(written(page.read_text(), run))
    for scheme in COLOURS:
        (ROOT / "docs" / "pictures" / f"benchmarks-{scheme}.svg").write_text(picture(rows_of(run), scheme))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "instance" / "bench.json")
