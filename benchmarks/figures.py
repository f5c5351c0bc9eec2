"""A row of the table: what was measured, beside what, and what is promised of it. And how a figure grows."""

import operator
from dataclasses import asdict, dataclass, field
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


@dataclass(frozen=True)
class Curve:
    what: str  # that grows
    act: str
    unit: str
    figures: dict[str, float] = field(default_factory=dict)  # by size

    def cells(self) -> list[str]:
        return [number(figure, self.unit) for figure in self.figures.values()]


def table(rows: list[Row]) -> str:
    return _columns([["", "ours", "reference", "", "ratio", "promise", ""], *map(_cells, rows)])


def growth_table(curves: list[Curve]) -> str:
    """For each thing that grows its sizes, and below them what each act took."""
    lines = list[list[str]]()
    for what in dict.fromkeys(curve.what for curve in curves):
        ours = [curve for curve in curves if curve.what == what]
        lines += [[], [what, *ours[0].figures], *([curve.act, *curve.cells()] for curve in ours)]
    longest = max(map(len, lines))
    return _columns([[*line, *[""] * (longest - len(line))] for line in lines])


def number(figure: float | None, unit: str) -> str:
    if figure is None:
        return ""
    return f"{figure:.3g} {unit}".strip() if figure < 1000 and figure % 1 else f"{figure:,.0f} {unit}".strip()


def _columns(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(row: Row) -> list[str]:
    ratio, verdict = (f"{row.figure:.2f}" if row.reference else ""), {True: "kept", False: "NOT KEPT", None: ""}
    return [row.what, number(row.ours, row.unit), number(row.reference, row.unit), row.beside, ratio, row.promise,
            verdict[row.holds]]  # fmt: skip
