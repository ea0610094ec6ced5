"""Compare the cut-outs of all photos: what is unlike the others is rejected.

Only where a part lies and how its outline looks is compared, never its surface: a defect must not
be a reason to leave a photo out. The one exception is which way up a part stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blemish.preparation.crop_files import Crop
from blemish.preparation.locating import CropOptions, Found

SIDES = ("upper", "right", "lower", "left")
TURNED = 0.1  # correlation by which a part that stands on its head resembles the others more
Grey = NDArray[np.float64]


def reject_outliers(
    crops: Sequence[Crop], small: Sequence[Grey], options: CropOptions
) -> list[Crop]:
    """Reject cut-outs whose area, outline or orientation is not that of the others.

    Args:
        crops: All photos; those that are rejected already stay so and are not compared with.
        small: Grey levels (h, w) of each accepted cut-out at the same small size, in order.
        options: The tolerances.
    """
    accepted = [crop for crop in crops if crop.accepted]
    if not accepted:
        return list(crops)
    reasons = dict.fromkeys((crop.key for crop in accepted), "")
    usual = _medians(accepted)
    turned = _on_their_heads(np.stack([grey.ravel() for grey in small]))
    for crop, upside_down in zip(accepted, turned, strict=True):
        reasons[crop.key] = _unlike(crop.found, usual, options)
        if upside_down and not reasons[crop.key]:
            reasons[crop.key] = (
                "it stands on its head: turned by 180° it looks more like the others; turn the "
                "photo."
            )
    return [crop.rejected(reasons.get(crop.key) or crop.found.reason) for crop in crops]


def _medians(crops: Sequence[Crop]) -> Found:
    found = [crop.found for crop in crops]
    return Found(
        area=float(np.median([f.area for f in found])),
        filled=float(np.median([f.filled for f in found])),
        seen=tuple(np.median([f.seen for f in found], axis=0).tolist()),
    )


def _unlike(found: Found, usual: Found, options: CropOptions) -> str:
    """In what a part is unlike the others."""
    area = found.area / usual.area
    if abs(area - 1) > options.area:
        return (
            f"its area is {area:.0%} of the median of all photos (tolerance area={options.area:g})"
            ": covered, another part, or taken from another distance."
        )
    if abs(found.filled - usual.filled) > options.filled:
        return (
            f"it fills {found.filled:.1%} of its rectangle, the others {usual.filled:.1%} "
            f"(tolerance filled={options.filled:g}): something lies across it, or a piece is off."
        )
    for side, own, others in zip(SIDES, found.seen, usual.seen, strict=True):
        if own < others - options.seen:
            return (
                f"of its {side} side {own:.0%} show an edge, of the others' {others:.0%} "
                f"(tolerance seen={options.seen:g}): something lies across it, or a piece is off."
            )
    return ""


def _on_their_heads(grey: Grey) -> list[bool]:
    """Which rows (n, pixels) resemble the median more when they are turned by 180 degrees."""
    usual = _standard(np.median(_standard(grey), axis=0))
    upright = (_standard(grey) * usual).mean(axis=1)
    turned = (_standard(grey[:, ::-1]) * usual).mean(axis=1)
    found: list[bool] = (turned > upright + TURNED).tolist()
    return found


def _standard(values: Grey) -> Grey:
    """Without mean and contrast of each row: lamps differ."""
    away = values - values.mean(axis=-1, keepdims=True)
    standard: Grey = away / np.maximum(away.std(axis=-1, keepdims=True), 1e-6)
    return standard
