"""A row of the table: what was measured, beside what, and what is promised of it."""

import operator
from dataclasses import asdict, dataclass
from typing import Any

IS_KEPT = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}


@dataclass(frozen=True)
class Row:
    what: str
    ours: float
    unit: str = ""
    reference: float | None = None
    beside: str = ""  # what the reference is
    promise: str = ""  # "<= 3": of the ratio, or of ours where there is no reference; empty: nothing is promised

    @property
    def figure(self) -> float:
        return self.ours / self.reference if self.reference else self.ours

    @property
    def holds(self) -> bool | None:
        sign, _, bound = self.promise.partition(" ")
        return IS_KEPT[sign](self.figure, float(bound)) if sign else None

    def facts(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.figure if self.reference else None, "holds": self.holds}


def table(rows: list[Row]) -> str:
    lines = [["", "ours", "reference", "", "ratio", "promise", ""], *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(row: Row) -> list[str]:
    ratio, verdict = (f"{row.figure:.2f}" if row.reference else ""), {True: "kept", False: "NOT KEPT", None: ""}
    return [row.what, _number(row.ours, row.unit), _number(row.reference, row.unit), row.beside, ratio, row.promise,
            verdict[row.holds]]  # fmt: skip


def _number(number: float | None, unit: str) -> str:
    if number is None:
        return ""
    return f"{number:.3g} {unit}" if number < 1000 and number % 1 else f"{number:,.0f} {unit}"
