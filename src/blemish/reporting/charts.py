"""Charts as inline SVG: no script, no font, no file beside the page.

Colours are class names (``tone-good``, ``tone-1``, …) that the style sheet of the page resolves, so
that one drawing serves light, dark and paper. Every text goes through an XML writer that escapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

import numpy as np
from markupsafe import Markup

from blemish.reporting.words import number, visible

WIDTH, HEIGHT = 440.0, 280.0  # user units; the text is 12 of them high
MARGINS = (58.0, 14.0, 24.0, 44.0)  # left, top, right, bottom
Rectangle = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What is measured, with its unit.
        low: Value at the left or lower end.
        high: Value at the other end, above `low`.
        log: Logarithmic; values that are not above 0 are not drawn.
        percent: Ticks are written as percentages.
        whole: Ticks are whole numbers.
    """

    label: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    percent: bool = False
    whole: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], label: str, *, log: bool = False, percent: bool = False
    ) -> Axis:
        """Make an axis that all values lie on, with a little room at both ends."""
        usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = min(usable, default=0.0 if not log else 1.0), max(usable, default=1.0)
        if log:
            room = max(math.log(high / low) * 0.03, 0.1)
            return cls(label, low * math.exp(-room), high * math.exp(room), True, percent)
        room = (high - low) * 0.03 or max(abs(high) * 0.1, 1e-6)
        return cls(label, low - room, high + room, False, percent)

    def position(self, values: Sequence[float]) -> list[float]:
        """Map values to positions in [0, 1], clipped at the ends; NaN where there is none."""
        array = np.asarray(values, dtype=np.float64)
        array = np.where(np.isfinite(array), array, np.nan)
        low, high = self.low, self.high
        if self.log:
            array = np.log(np.where(array > 0, array, np.nan))
            low, high = math.log(low), math.log(high)
        return [float(p) for p in np.clip((array - low) / (high - low), 0, 1)]

    def values(self, positions: Sequence[float]) -> list[float]:
        """Map positions in [0, 1] back to values."""
        if self.log:
            ratio = math.log(self.high / self.low)
            return [self.low * math.exp(p * ratio) for p in positions]
        return [self.low + p * (self.high - self.low) for p in positions]

    def ticks(self, about: int = 5) -> list[tuple[float, str]]:
        """Round values inside the axis, about this many, and how they are written."""
        least = 1.0 if self.whole else 0.0
        values = (
            _decades(self.low, self.high) if self.log else _steps(self.low, self.high, about, least)
        )
        return [(value, self.written(value)) for value in values]

    def written(self, value: float) -> str:
        """Write a value as this axis writes its ticks."""
        text = f"{100 * value:.4g}\u00a0%" if self.percent else f"{value:.6g}"
        return text.replace("-", "−") if "e" not in text else text


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: What the legend calls it; without a label it is not in the legend.
        x: Values along the x axis.
        y: Values along the y axis, as many as `x`; the line breaks where one is not finite.
        tone: ``"good"``, ``"defective"``, ``"quiet"``, ``"ink"``, or ``"1"`` to ``"6"``.
        dashed: Draw it as a dashed line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    tone: str = "1"
    dashed: bool = False


class Canvas:
    """One SVG drawing with a description for those who cannot see it."""

    def __init__(self, description: str, height: float = HEIGHT):
        self.height = height
        self.root = Xml.Element(
            "svg",
            {"viewBox": f"0 0 {WIDTH:g} {height:g}", "role": "img", "class": "chart"},
        )
        self.root.set("aria-label", visible(description))

    def add(self, tag: str, classes: str, **attributes: float | str) -> Xml.Element:
        """Add one element; an underscore in an attribute name stands for a hyphen."""
        element = Xml.SubElement(self.root, tag, {"class": classes})
        for name, value in attributes.items():
            written = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
            element.set(name.replace("_", "-"), written)
        return element

    def text(self, x: float, y: float, words: str, anchor: str = "start", **more: str) -> None:
        """Write one line of text; `anchor` is ``start``, ``middle`` or ``end``."""
        classes = more.pop("classes", "label")
        self.add("text", classes, x=x, y=y, text_anchor=anchor, **more).text = visible(words)

    def svg(self) -> Markup:
        """The drawing as markup that may stand inside HTML."""
        return Markup(Xml.tostring(self.root, encoding="unicode"))


class Plot:
    """A rectangle on a canvas with an x and a y axis.

    Args:
        canvas: Where to draw.
        x: The horizontal axis.
        y: The vertical axis, its low end below.
        box: The rectangle; the whole canvas within the usual margins when left out.
    """

    def __init__(self, canvas: Canvas, x: Axis, y: Axis, box: Rectangle | None = None):
        left, top, right, bottom = MARGINS
        self.canvas, self.x, self.y = canvas, x, y
        self.box = box or (left, top, WIDTH - left - right, canvas.height - top - bottom)

    def across(self, values: Sequence[float]) -> list[float]:
        """Horizontal places of x values on the canvas."""
        return [self.box[0] + p * self.box[2] for p in self.x.position(values)]

    def up(self, values: Sequence[float]) -> list[float]:
        """Vertical places of y values on the canvas."""
        return [self.box[1] + (1 - p) * self.box[3] for p in self.y.position(values)]

    def frame(self, *, x_ticks: bool = True) -> None:
        """Draw grid, ticks and labels; do it first, so that the data lie on top."""
        left, top, width, height = self.box
        for value, text in self.y.ticks(min(5, max(2, round(height / 30)))):
            (y,) = self.up([value])
            self.canvas.add("line", "grid", x1=left, x2=left + width, y1=y, y2=y)
            self.canvas.text(left - 6, y + 4, text, "end", classes="tick")
        middle = top + height / 2
        turned = f"rotate(-90 11 {middle:.1f})"
        self.canvas.text(11, middle, self.y.label, "middle", transform=turned)
        self.canvas.add("line", "axis", x1=left, x2=left + width, y1=top + height, y2=top + height)
        if not x_ticks:
            return
        for value, text in self.x.ticks():
            (x,) = self.across([value])
            self.canvas.add("line", "axis", x1=x, x2=x, y1=top + height, y2=top + height + 4)
            self.canvas.text(x, top + height + 17, text, "middle", classes="tick")
        self.canvas.text(left + width / 2, top + height + 36, self.x.label, "middle")

    def line(self, series: Series) -> None:
        """Draw a line through the points of a series; one lonely point becomes a dot."""
        classes = f"line tone-{series.tone}" + (" dashed" if series.dashed else "")
        for points in _pieces(self.across(series.x), self.up(series.y)):
            if len(points) == 1:
                self.canvas.add(
                    "circle", f"dot tone-{series.tone}", cx=points[0][0], cy=points[0][1], r=2
                )
            else:
                written = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                self.canvas.add("polyline", classes, points=written)

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
        """Fill the area between two lines over the same x values."""
        across = self.across(x)
        corners = [*zip(across, self.up(low), strict=True)]
        corners += reversed([*zip(across, self.up(high), strict=True)])
        self.canvas.add("polygon", "band", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners))

    def bars(self, edges: Sequence[float], heights: Sequence[float], tone: str) -> None:
        """Draw one bar between each two neighbouring edges."""
        lefts, tops, floor = self.across(edges), self.up(heights), self.box[1] + self.box[3]
        for left, right, top in zip(lefts, lefts[1:], tops, strict=False):
            if top < floor:
                self.canvas.add(
                    "rect",
                    f"bar tone-{tone}",
                    x=left + 0.4,
                    y=top,
                    width=max(right - left - 0.8, 0.5),
                    height=floor - top,
                )

    def rug(self, values: Sequence[float], y: float, length: float) -> None:
        """Draw one short stroke per value, `y` units below the top of the canvas."""
        # Strokes at the same tenth of a unit are one stroke: ten thousand scores stay a short path.
        places = sorted({round(x, 1) for x in self.across(values) if math.isfinite(x)})
        path = "".join(f"M{x:.1f} {y:g}v{length:g}" for x in places)
        self.canvas.add("path", "rug", d=path)

    def rule(self, value: float, words: str, top: float | None = None) -> None:
        """Draw an upright line at an x value, with its name at the upper end."""
        (x,) = self.across([value])
        if not math.isfinite(x):
            return
        start = self.box[1] if top is None else top
        self.canvas.add("line", "rule", x1=x, x2=x, y1=start, y2=self.box[1] + self.box[3])
        # The name stands on the side that has more room, so that it never leaves the drawing.
        left_half = x < self.box[0] + 0.55 * self.box[2]
        place, anchor = (x + 5, "start") if left_half else (x - 5, "end")
        self.canvas.text(place, start + 10, words, anchor, classes="label strong")

    def dot(self, x: float, y: float, tone: str = "ink") -> None:
        """Mark one point."""
        (across,), (up,) = self.across([x]), self.up([y])
        if math.isfinite(across) and math.isfinite(up):
            self.canvas.add("circle", f"dot tone-{tone}", cx=across, cy=up, r=4.5)


@dataclass(frozen=True)
class Chart:
    """A finished drawing with the words around it.

    Attributes:
        title: Its heading.
        svg: The drawing.
        legend: (label, tone, style) with style ``"line"``, ``"dashed"``, ``"dot"``, ``"bar"``,
            ``"band"`` or ``"rug"``.
        note: How to read it.
    """

    title: str
    svg: Markup
    legend: tuple[tuple[str, str, str], ...] = ()
    note: str = ""


def line_chart(
    title: str,
    series: Sequence[Series],
    x: Axis | str,
    y: Axis | str,
    *,
    x_log: bool = False,
    y_log: bool = False,
    dots: Sequence[tuple[str, float, float]] = (),
    note: str = "",
) -> Chart:
    """Draw lines over two axes: ROC curves, training curves.

    Args:
        title: The heading.
        series: The lines, later ones on top.
        x: The horizontal axis, or only its label: then it spans the values.
        y: The vertical axis, likewise.
        x_log: Make an x axis that is only a label logarithmic.
        y_log: The same for the y axis.
        dots: Points to mark: label, x value, y value.
        note: A sentence on how to read it.
    """
    if isinstance(x, str):
        x = Axis.around((v for one in series for v in one.x), x, log=x_log)
    if isinstance(y, str):
        y = Axis.around((v for one in series for v in one.y), y, log=y_log)
    canvas = Canvas(f"Line chart: {title}. {_spoken(series)}")
    plot = Plot(canvas, x, y)
    plot.frame()
    for one in series:
        plot.line(one)
    for _, across, up in dots:
        plot.dot(across, up)
    legend = [(s.label, s.tone, "dashed" if s.dashed else "line") for s in series if s.label]
    legend += [(label, "ink", "dot") for label, _, _ in dots]
    return Chart(title, canvas.svg(), tuple(legend), note)


def _spoken(series: Sequence[Series]) -> str:
    """Say where each line starts and ends."""
    ends = (
        f"{one.label or 'A line'} from {number(float(one.y[0]))} to {number(float(one.y[-1]))}"
        for one in series
        if len(one.y)
    )
    return "; ".join(ends) + "."


def _steps(low: float, high: float, about: int = 5, least: float = 0.0) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, `about` many, at least `least` apart."""
    raw = max((high - low) / about, least)
    # The step whose ratio to the ideal one is nearest to 1, not the one whose difference is.
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min((1, 2, 5, 10), key=lambda s: abs(math.log(s * power / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten; 2 and 5 times these where fewer than three fit; thinned above seven."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**e for e in range(first, last + 1)]
    inside = [p for p in powers if low <= p <= high]
    if len(inside) < 3:
        fine = [m * p for p in powers for m in (1, 2, 5) if low <= m * p <= high]
        return fine if len(fine) >= 2 else _steps(low, high)
    return inside[:: math.ceil(len(inside) / 7)]


def _pieces(xs: list[float], ys: list[float]) -> Iterator[list[tuple[float, float]]]:
    """Split a line where a point is missing, and thin each piece."""
    piece: list[tuple[float, float]] = []
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            piece.append((x, y))
        elif piece:
            yield _thinned(piece)
            piece = []
    if piece:
        yield _thinned(piece)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of neighbours that fall into one column keep the first, lowest, highest and last.

    A curve of a million points becomes a few thousand and looks the same.
    """
    kept: list[tuple[float, float]] = []
    start = 0
    for end in range(1, len(points) + 1):
        if end < len(points) and int(points[end][0]) == int(points[start][0]):
            continue
        column = range(start, end)
        lowest = min(column, key=lambda i: points[i][1])
        highest = max(column, key=lambda i: points[i][1])
        kept += [points[i] for i in sorted({start, lowest, highest, end - 1})]
        start = end
    return kept
