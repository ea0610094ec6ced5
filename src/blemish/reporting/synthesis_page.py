"""What a GAN has drawn, as one self-contained HTML file: pictures, distances, curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blemish.files import write_atomically
from blemish.reporting.html import page_style, policy, templates
from blemish.reporting.pictures import data_uri
from blemish.reporting.training_charts import training_charts
from blemish.reporting.words import number, visible
from blemish.types import Image

if TYPE_CHECKING:  # importing it would need torch
    from blemish.synthesis.producing import Production

SHEET_BYTES = 400_000
PER_ROW = 10
WORDS = {
    "accepted": "Fit for use",
    "unreal": "Less real than most photos, by the GAN's own judge",
    "odd": "Odder than good parts, by the detector",
    "copy": "Copies of photos that the GAN learned from",
}


def write_synthesis(production: Production, folder: Path, *, command: str = "") -> Path:
    """Write ``synthesis.json`` and the page ``synthesis.html``.

    Args:
        production: What :func:`blemish.synthesize` gave.
        folder: Where both go.
        command: The command that made it, to be shown.

    Returns:
        The page.
    """
    text = json.dumps(production.to_json(), indent=1) + "\n"
    write_atomically(folder / "synthesis.json", text)
    return write_atomically(folder / "synthesis.html", render_synthesis(production, command))


def render_synthesis(production: Production, command: str = "") -> str:
    """Make the text of the page; see :func:`write_synthesis`."""
    style = page_style()
    sheets = {
        "Fit for use (synthetic)": production.accepted,
        "Left out (synthetic)": production.rejected,
        "Photos that the GAN learned from": production.learned,
    }
    return (
        templates()
        .get_template("synthesis.html.j2")
        .render(
            style=style,
            policy=policy(style),
            drawn=sum(production.tally.values()),
            acceptance=f"{production.acceptance:.0%}",
            tally=[(WORDS[name], count) for name, count in production.tally.items()],
            distances=[
                (visible(name.replace("_", " ")), number(value), number(deviation))
                for name, (value, deviation) in production.distances.items()
            ],
            features=visible(production.features),
            sheets=[
                (title, data_uri(contact_sheet(images), SHEET_BYTES))
                for title, images in sheets.items()
                if len(images)
            ],
            charts=training_charts(production.history),
            command=visible(command),
        )
    )


def contact_sheet(images: Sequence[Image], per_row: int = PER_ROW) -> Image:
    """Images of one size side by side with a thin white grid, (H, W, 3) uint8."""
    height, width = images[0].shape[:2]
    columns = min(per_row, len(images))
    sheet = np.full((-(-len(images) // columns) * (height + 2), columns * (width + 2), 3), 255)
    for place, image in enumerate(images):
        y, x = (place // columns) * (height + 2), (place % columns) * (width + 2)
        sheet[y : y + height, x : x + width] = image
    return sheet.astype(np.uint8)
