"""The picture of the page about speed: what three requests take, beside the least that they could and beside a peer."""

from typing import Any

import pygal
from pygal.style import Style

from benchmarks.figures import Row, number

COLOURS = {  # as static/app.css has them
    "light": {"ink": "#1b2320", "soft": "#505b56", "line": "#dcd7c9", "bars": ("#b3bab3", "#0e5a4b", "#c2ae6b")},
    "dark": {"ink": "#e8ebe4", "soft": "#a7b2ac", "line": "#303935", "bars": ("#59655f", "#86d3bc", "#8d7a3c")},
}
SERIES = (
    "The least: a bare page, a form with one commit",
    "Sparekey",
    "Flask-Login with Peewee, Flask-Security",
)
GROUPS = (
    ("A closed page", "a closed page of your own", "bare Flask", "Flask-Login, Peewee"),
    ("A six-digit code", "POST /login/code", "a form, one commit", "Flask-Security"),
    ("A recovery code", "POST /login/recovery", "a form, one commit", "Flask-Security"),
)


def picture(rows: list[Row], scheme: str) -> str:
    """SVG in the colours of the scheme, on whatever ground the page has."""
    chart = pygal.HorizontalBar(
        style=_style(**COLOURS[scheme]),
        width=760,
        height=380,
        margin=12,
        js=(),
        print_values=True,
        print_values_position="top",
        formatter=lambda figure: number(figure, "ms"),
        legend_at_bottom=True,
        legend_at_bottom_columns=1,
        legend_box_size=12,
        range=(0, 1.15 * max(filter(None, (figure for group in GROUPS for figure in _figures(rows, group))))),
        spacing=18,
        truncate_legend=-1,
        disable_xml_declaration=True,
    )
    chart.add_xml_filter(_plain)
    chart.x_labels = [group[0] for group in reversed(GROUPS)]  # pygal begins at the foot
    for place, series in reversed(list(enumerate(SERIES))):
        chart.add(series, [_figures(rows, group)[place] for group in reversed(GROUPS)])
    return str(chart.render(is_unicode=True)) + "\n"


def _figures(rows: list[Row], group: tuple[str, ...]) -> tuple[float | None, float | None, float | None]:
    """What the least takes, ours, and the peer; None for what was not measured."""
    _, what, least, peer = group
    beside = {row.beside: row for row in rows if row.what == what}
    known = [row.reference if row else None for row in (beside.get(least), beside.get(peer))]
    return known[0], beside[least].ours, known[1]


def _style(ink: str, soft: str, line: str, bars: tuple[str, ...]) -> Style:
    family = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground=ink,
        foreground_strong=ink,
        foreground_subtle=soft,
        opacity=1,
        opacity_hover=1,
        colors=tuple(reversed(bars)),
        value_colors=(ink,) * 3,
        guide_stroke_color=line,
        guide_stroke_dasharray="0",
        major_guide_stroke_color=line,
        major_guide_stroke_dasharray="0",
        font_family=family,
        label_font_size=14,
        major_label_font_size=14,
        legend_font_size=14,
        value_font_size=13,
    )


def _plain(root: Any) -> Any:
    """Take out what only scripts use, and the scripts, since nothing here moves. Put each figure behind its bar instead
    of across its end."""
    for parent in list(root.iter()):
        for child in list(parent):
            kind = str(child.tag).rpartition("}")[2]
            if kind in ("script", "desc"):
                parent.remove(child)
            elif kind == "text" and child.get("class") == "value":
                child.set("x", f"{float(child.get('x')) + 5:.1f}")
                child.set("style", "text-anchor: start")
    return root
