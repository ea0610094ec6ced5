"""Tables of methods side by side, and charts, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.files import write_atomically
from blemish.reporting.heat_map import HeatMap, heat_map
from blemish.reporting.html import page_style, policy, templates
from blemish.reporting.words import visible


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Its heading.
        columns: Headings of the columns.
        rows: As many texts in each row; the first one names it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_leaderboard_page(
    tables: Sequence[Table],
    charts: Sequence[HeatMap],
    path: Path,
    *,
    notes: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        tables: Best first.
        charts: Heat maps of methods by data.
        path: The HTML file.
        notes: Sentences that a reader must know.
        command: The command that made it, to be shown.
    """
    style = page_style()
    shown = [
        Table(visible(t.title), t.columns, [[visible(cell) for cell in row] for row in t.rows])
        for t in tables
    ]
    page = (
        templates()
        .get_template("leaderboard.html.j2")
        .render(
            style=style,
            policy=policy(style),
            tables=shown,
            charts=[heat_map(one) for one in charts],
            notes=[visible(note) for note in notes],
            command=visible(command),
        )
    )
    return write_atomically(path, page)
