"""Small line charts over days, as plain SVG elements without any style of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 480, 160
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 22


@dataclass(frozen=True)
class Chart:
    """One chart in pixels of its own frame of `WIDTH` × `HEIGHT`.

    Attributes:
        title: What is shown.
        line: ``points`` of the line.
        band: ``points`` of the area around it, or an empty text.
        dots: (x, y) of every value.
        ticks: (y, text) of the vertical axis.
        days: (x, text) below the horizontal axis.
        asked: y of a line that was asked for, or None.
        mark: x of the day on which something began, or None.
        summary: The newest value in words, for those who do not see it.
    """

    title: str
    line: str
    band: str
    dots: list[tuple[float, float]]
    ticks: list[tuple[float, str]]
    days: list[tuple[float, str]]
    asked: float | None
    mark: float | None
    summary: str


def draw(
    title: str,
    days: list[str],
    values: list[float],
    *,
    band: list[tuple[float, float]] | None = None,
    asked: float | None = None,
    began: str | None = None,
) -> Chart:
    """Draw values over days, from 0 to a little above the largest."""
    highest = max([*values, *(high for _, high in band or []), asked or 0, 1e-9]) * 1.1

    def x(i: int) -> float:
        share = i / max(len(values) - 1, 1) if len(values) > 1 else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (1 - value / highest) * (HEIGHT - TOP - BOTTOM), 1)

    around = [(x(i), y(high)) for i, (_, high) in enumerate(band or [])]
    around += [(x(i), y(low)) for i, (low, _) in reversed(list(enumerate(band or [])))]
    dots = [(x(i), y(value)) for i, value in enumerate(values)]
    shown = sorted({0, len(days) // 2, len(days) - 1}) if days else []
    return Chart(
        title,
        _points(dots),
        _points(around),
        dots,
        [(y(highest * s), f"{highest * s:.2g}") for s in (0, 0.5, 1)],
        [(x(i), days[i]) for i in shown],
        None if asked is None else y(asked),
        x(days.index(began)) if began in days else None,
        f"{title}: {values[-1]:.3g} on {days[-1]}" if days else title,
    )


def trend_charts(found: dict[str, Any], false_alarms: float) -> list[Chart]:
    """The charts of :func:`blemish.station.trends.trend`."""
    days = found["days"]
    names = [d["day"] for d in days]
    began = found["drift"]["began"][:10] if found["drift"] else None
    rates = [d["flagged"] / d["inspections"] for d in days]
    lowest = min([0.0, *(d["score"][0] for d in days)])  # scores may be negative
    scores = [[s - lowest for s in d["score"]] for d in days]
    return [
        draw("Share of parts flagged", names, rates, asked=false_alarms, began=began),
        draw(
            "Score: median, 10 % to 90 %",
            names,
            [s[1] for s in scores],
            band=[(s[0], s[2]) for s in scores],
            began=began,
        ),
        draw(
            "Distance of p-values from uniform",
            names,
            [d["p_value_distance"] or 0.0 for d in days],
            began=began,
        ),
        draw("Inspections", names, [float(d["inspections"]) for d in days], began=began),
    ]


def _points(places: list[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
