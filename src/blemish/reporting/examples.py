"""Examples: one test image as a row of pictures, with what stands beside and below them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from blemish.evaluation import Example
from blemish.reporting import pictures
from blemish.reporting.charts import Canvas
from blemish.reporting.words import number, share, visible
from blemish.types import Image, Map, Mask, Region

PICTURE_BYTES = 4_500_000  # of all pictures in a page, before base64 makes them a third longer
_LEAST_BYTES, _MOST_BYTES = 4_000, 32_000
_REGIONS = 4


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: What it shows, a word or two.
        alt: The same for those who cannot see it.
        uri: The picture as a data URI, or ``""`` where there is none; then `alt` says why.
        width: Its width in pixels.
        height: Its height in pixels.
        swatch: ``"predicted"`` or ``"truth"`` where an outline is drawn, otherwise ``""``.
    """

    title: str
    alt: str
    uri: str
    width: int
    height: int
    swatch: str = ""


@dataclass(frozen=True)
class RegionRow:
    """One predicted region in words.

    Attributes:
        place: ``width × height at left, top`` in pixels.
        area: Its pixels.
        peak: Largest map value inside.
        share: Its share of the map above the threshold, written.
        fraction: The same share in [0, 1].
    """

    place: str
    area: str
    peak: str
    share: str
    fraction: float


@dataclass(frozen=True)
class Shown:
    """One example as the template lays it out.

    Attributes:
        name: The key of the image.
        defect_type: The truth.
        score: Anomaly score.
        p_value: Conformal p-value.
        form: ``"tall"``, ``"wide"`` or ``"square"``: how the pictures are laid out.
        panels: The whole image, four times, and the method's own pictures.
        details: The same four of the place that matters, enlarged; may be empty.
        regions: The largest predicted regions.
        more_regions: How many more there are.
        size: Size of the image, ``width × height``.
    """

    name: str
    defect_type: str
    score: str
    p_value: str
    form: str
    panels: tuple[Panel, ...]
    details: tuple[Panel, ...]
    regions: tuple[RegionRow, ...]
    more_regions: int
    size: str


def picture_budget(examples: Iterable[Example]) -> int:
    """Bytes that each picture may take so that a page with all of these stays moderate."""
    n = sum(8 + len(e.prediction.pictures) for e in examples)
    return min(max(PICTURE_BYTES // max(n, 1), _LEAST_BYTES), _MOST_BYTES)


def sections(groups: Sequence[Sequence[Example]], pictures_per_section: int) -> list[list[Shown]]:
    """Draw the first examples of each group, all within one budget of bytes."""
    kept = [list(group[:pictures_per_section]) for group in groups]
    budget = picture_budget(example for group in kept for example in group)
    return [[shown(example, budget) for example in group] for group in kept]


def shown(example: Example, budget: int) -> Shown:
    """Draw one example.

    Args:
        example: The image and what the detector said of it.
        budget: Bytes that each picture may take.

    Raises:
        ImageError: The map or the mask is not of the size of the image.
    """
    pictures.check_same_frame(example.image, example.prediction)
    prediction, result = example.prediction, example.result
    height, width = example.image.shape[:2]
    whole = (slice(0, height), slice(0, width))
    box = pictures.close_up((height, width), prediction, example.truth)
    own = [_own_panel(n, p, budget) for n, p in prediction.pictures.items()]
    return Shown(
        name=visible(result.key),
        defect_type=visible(result.defect_type),
        score=number(result.score),
        p_value=number(result.p_value),
        form=_form(height, width),
        panels=(*_panels(example, whole, budget), *own),
        details=_panels(example, box, budget, "close-up of ") if box else (),
        regions=tuple(_region_row(r) for r in prediction.regions[:_REGIONS]),
        more_regions=max(0, len(prediction.regions) - _REGIONS),
        size=f"{width} × {height}",
    )


def _panels(example: Example, box: pictures.Box, budget: int, what: str = "") -> tuple[Panel, ...]:
    """Image, heat map, predicted outline and ground truth of one part of an image."""
    image = pictures.thumbnail(example.image[box])
    values: Map = pictures.thumbnail_map(example.prediction.anomaly_map[box])
    valid = ~pictures.thumbnail_mask(~example.valid[box])
    scale = pictures.MapScale.of(example.prediction.pixel_threshold)
    mask = pictures.thumbnail_mask(example.prediction.mask[box])
    name = visible(example.result.key)
    # Outlines are drawn after scaling: drawn before, they would fade with the picture.
    predicted = pictures.outlined(image, mask, pictures.PREDICTED_COLOUR)
    return (
        _panel("Image", f"{what}{name}", image, budget),
        _panel(
            "Anomaly map",
            f"Anomaly map over the {what}image, {_peak(example)}",
            pictures.heat(image, values, scale, valid),
            budget,
        ),
        _panel(
            "Predicted",
            f"{what}the image with {_predicted(example)}",
            predicted,
            budget,
            "predicted" if mask.any() else "",
        ),
        _truth_panel(example, image, box, what, budget),
    )


def _truth_panel(
    example: Example, image: Image, box: pictures.Box, what: str, budget: int
) -> Panel:
    if example.truth is None:
        height, width = image.shape[:2]
        return Panel("Truth", "Defective, but not marked in the data", "", width, height)
    truth: Mask = pictures.thumbnail_mask(example.truth[box])
    alt = f"{what}the image with the true defect outlined" if truth.any() else f"{what}a good image"
    drawn = pictures.outlined(image, truth, pictures.TRUTH_COLOUR)
    return _panel("Truth", alt, drawn, budget, "truth" if truth.any() else "")


def _panel(title: str, alt: str, image: Image, budget: int, swatch: str = "") -> Panel:
    height, width = image.shape[:2]
    alt = alt[:1].upper() + alt[1:]
    return Panel(title, alt, pictures.data_uri(image, budget), width, height, swatch)


def _own_panel(name: str, image: Image, budget: int) -> Panel:
    title = visible(name)
    return _panel(
        title, f"{title}, a picture made by the method", pictures.thumbnail(image), budget
    )


def _peak(example: Example) -> str:
    peak = float(np.max(example.prediction.anomaly_map))
    return f"largest value {number(peak)}, threshold {number(example.prediction.pixel_threshold)}"


def _predicted(example: Example) -> str:
    n = len(example.prediction.regions)
    if not example.prediction.mask.any():
        return "nothing outlined: judged good"
    return "the predicted defect outlined" + (f", {n} regions" if n > 1 else "")


def _region_row(region: Region) -> RegionRow:
    left, top, right, bottom = region.box
    return RegionRow(
        place=f"{right - left} × {bottom - top} at {left}, {top}",
        area=f"{region.area:,}".replace(",", "\u202f"),
        peak=number(region.peak),
        share=share(region.share),
        fraction=min(max(region.share, 0.0), 1.0),
    )


def scale_bar(pixel_threshold: float) -> Markup:
    """Draw the colours of the anomaly maps with the values that they stand for."""
    scale = pictures.MapScale.of(pixel_threshold)
    middle = number((scale.low + scale.high) / 2)
    canvas = Canvas(f"Colours from {number(scale.low)} to {number(scale.high)} and above", 40)
    for i, (red, green, blue) in enumerate(pictures.colour_ramp()[4::8]):
        canvas.add(
            "rect",
            "",
            x=13.75 * i,
            y=2,
            width=14,
            height=14,
            fill=f"#{red:02x}{green:02x}{blue:02x}",
        )
    centred = math.isfinite(pixel_threshold) and pixel_threshold != 0
    canvas.add("line", "axis", x1=220, x2=220, y1=0, y2=20)
    canvas.text(0, 33, number(scale.low), "start")
    canvas.text(220, 33, f"{middle}, the pixel threshold" if centred else middle, "middle")
    canvas.text(440, 33, f"{number(scale.high)} and above", "end")
    return canvas.svg()


def _form(height: int, width: int) -> str:
    if height > 1.8 * width:
        return "tall"
    return "wide" if width > 1.8 * height else "square"
