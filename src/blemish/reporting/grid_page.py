"""The heat maps of a grid of runs as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blemish.files import write_atomically
from blemish.reporting.heat_map import HeatMap, heat_map
from blemish.reporting.html import page_style, policy, templates
from blemish.reporting.words import visible


def write_grid_page(
    sections: Mapping[str, Sequence[HeatMap]],
    path: Path,
    *,
    notes: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        sections: Heading, such as method and data, to its heat maps.
        path: The HTML file.
        notes: Sentences that a reader must know, such as which runs failed.
        command: The command that made it, to be shown.
    """
    style = page_style()
    page = (
        templates()
        .get_template("grid.html.j2")
        .render(
            style=style,
            policy=policy(style),
            sections=[
                {"title": visible(title), "charts": [heat_map(one) for one in maps]}
                for title, maps in sections.items()
            ],
            notes=[visible(note) for note in notes],
            command=visible(command),
        )
    )
    return write_atomically(path, page)
