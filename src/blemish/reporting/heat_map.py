"""A table of numbers as coloured cells, inline SVG: one figure over two options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from blemish.reporting.charts import WIDTH, Canvas, Chart
from blemish.reporting.words import number

LEFT, TOP, ROW = 92.0, 46.0, 34.0  # user units: room for names, height of a cell
FAINT, FULL = 0.06, 0.6  # opacity of the lowest and the highest cell: text stays readable on both


@dataclass(frozen=True)
class HeatMap:
    """What a heat map shows.

    Attributes:
        title: Its heading.
        rows: What the rows are, such as ``"latent"``, and the name of each.
        columns: The same of the columns.
        values: Of each row, the number in each column; None where there is none.
        texts: The same as written, such as ``"0.913 ± 0.020"``.
        note: How to read it.
    """

    title: str
    rows: tuple[str, Sequence[str]]
    columns: tuple[str, Sequence[str]]
    values: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str]]
    note: str = ""


def heat_map(shown: HeatMap) -> Chart:
    """Draw one: the larger a value among the others, the stronger the colour of its cell."""
    known = [v for row in shown.values for v in row if v is not None and math.isfinite(v)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    names, heads = shown.rows[1], shown.columns[1]
    said = f"from {number(low)} to {number(high)}" if known else "empty"
    canvas = Canvas(f"Heat map: {shown.title}, {said}.", TOP + ROW * len(names) + 6)
    width = (WIDTH - LEFT - 8) / max(len(heads), 1)
    canvas.text(LEFT - 8, 16, f"{shown.rows[0]} ↓", "end", classes="tick")
    canvas.text(LEFT + width * len(heads) / 2, 16, shown.columns[0], "middle", classes="tick")
    for column, head in enumerate(heads):
        canvas.text(LEFT + (column + 0.5) * width, TOP - 8, head, "middle", classes="tick")
    for row, name in enumerate(names):
        top = TOP + row * ROW
        canvas.text(LEFT - 8, top + ROW / 2 + 4, name, "end", classes="tick")
        for column, value in enumerate(shown.values[row]):
            left = LEFT + column * width
            if value is not None and math.isfinite(value):
                share = (value - low) / (high - low) if high > low else 0.5
                canvas.add(
                    "rect",
                    "bar tone-1",
                    x=left + 1,
                    y=top + 1,
                    width=width - 2,
                    height=ROW - 2,
                    fill_opacity=FAINT + (FULL - FAINT) * share,
                )
            text = shown.texts[row][column]
            canvas.text(left + width / 2, top + ROW / 2 + 4, text, "middle")
    return Chart(shown.title, canvas.svg(), (), shown.note)
