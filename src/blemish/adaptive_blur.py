"""A blur as wide as what it finds: the radius of each map comes from the map itself.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025: k̂, the mean length of runs above mean + deviation.

Differs from [1]: runs of up to three pixels do not count where there are longer ones (1 % of specks
takes the radius of a 20×40 block from 20 to 1 without that rule); the border is continued by
mirroring instead of dimmed by zeros. Earlier programs measured otherwise; those rules are here to
compare with.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.maps import filter_inside
from blemish.types import Map, Mask

Rule = Literal["runs", "least_run", "boxes", "none"]
RULES = ("runs", "least_run", "boxes", "none")
LARGEST = 30  # pixels, the largest radius in [1]
SHORT = 3  # runs up to this long are specks where there are longer ones
FIXED = 0.3  # threshold of "least_run"


def mean_plus_deviation(anomaly_map: Map, valid: Mask | None = None) -> float:
    """Mean + population standard deviation of the valid pixels; 0 without any."""
    values = anomaly_map if valid is None else anomaly_map[valid]
    if not values.size:
        return 0.0
    # Deviations from the mean are small, so single precision holds their squares well.
    mean = values.mean(dtype=np.float64)
    apart = (values - np.float32(mean)).ravel()
    return float(mean + np.sqrt(np.dot(apart, apart) / apart.size))


def run_lengths(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths of all maximal runs of set pixels: along the rows, and along the columns.

    Args:
        mask: (H, W) bool.
    """
    return _runs_of_rows(mask), _runs_of_rows(mask.T)


def adaptive_radius(anomaly_map: Map, valid: Mask | None = None, rule: Rule = "runs") -> int:
    """Radius of the blur for a map, in pixels, from 1 to `LARGEST`.

    Args:
        anomaly_map: (H, W) float32, normalised errors.
        valid: (H, W) bool; None = everything.
        rule: ``"runs"``, as [1]: half the mean length of the runs above mean + deviation, along
            rows or columns, whichever is longer. ``"least_run"``: a quarter of the shorter of the
            two above `FIXED`, as the program behind [1]. ``"boxes"``: half the mean side of the
            boxes around connected parts, as a later one. ``"none"``: 0, no blur.
    """
    if rule == "none":
        return 0
    limit = FIXED if rule == "least_run" else mean_plus_deviation(anomaly_map, valid)
    above = anomaly_map > limit
    if valid is not None:
        above &= valid
    if rule == "boxes":
        return radius_of_boxes(above)
    return radius_of_runs(above, least=rule == "least_run")


def radius_of_runs(above: Mask, least: bool = False) -> int:
    """The radius that the runs of set pixels of (H, W) ask for; 1 without any."""
    means = []
    for lengths in run_lengths(above):
        longer = lengths[lengths > SHORT]
        kept = longer if longer.size else lengths
        means.append(float(kept.mean()) if kept.size else 0.0)
    half = min(means) / 4 if least else max(means) / 2
    return _within(round(half))


def radius_of_boxes(above: Mask) -> int:
    """The radius that boxes around 4-connected parts ask for; a speck counts like a defect."""
    boxes = ndimage.find_objects(ndimage.label(above)[0])
    if not boxes:
        return 1
    sides = np.array([[s.stop - s.start for s in box] for box in boxes])
    return _within(int(sides.mean(axis=0).max() / 2))


def heat_and_score(
    raw: Map, normalised: Map, valid: Mask, rule: Rule = "runs", norm: str = "mean"
) -> tuple[Map, float]:
    """The heat map of an image, and a score that grows where errors lie close together [1].

    Args:
        raw: (H, W) float32, squared errors, 0 where not valid.
        normalised: (H, W) float32 in [0, 1], 0 where not valid; tells the radius.
        valid: (H, W) bool.
        rule: As for :func:`adaptive_radius`.
        norm: ``"mean"`` of raw · blurred raw over the valid pixels, or ``"l2"``, its norm.

    Returns:
        (H, W) float32, the blurred normalised errors, and the score.
    """
    inside = None if valid.all() else valid
    radius = adaptive_radius(normalised, inside, rule)
    product = raw * blur(raw, radius, inside)
    if norm == "l2":
        score = float(np.sqrt(np.square(product, dtype=np.float64).sum()))
    else:
        score = float(product.sum(dtype=np.float64)) / max(int(np.count_nonzero(valid)), 1)
    return blur(normalised, radius, inside), score


def blur(anomaly_map: Map, radius: int, valid: Mask | None = None) -> Map:
    """Gaussian of standard deviation `radius` / 3 in a window of 2 · `radius` + 1 pixels.

    Args:
        anomaly_map: (H, W) float32, 0 where not valid.
        radius: In pixels; 0 = no blur.
        valid: (H, W) bool; None = everything. What is not valid counts for nothing.

    Returns:
        (H, W) float32, 0 where not valid.
    """
    if radius < 1:
        return anomaly_map
    return filter_inside(anomaly_map, valid, lambda values: _gaussian(values, radius))


def _gaussian(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    # scipy's "reflect" repeats the border pixel, so a constant stays constant up to the border.
    found = ndimage.gaussian_filter(values, radius / 3, mode="reflect", radius=radius)
    return np.asarray(found, np.float32)


def _runs_of_rows(mask: Mask) -> NDArray[np.int64]:
    # A column of zeros between the rows ends every run within its row.
    framed = np.zeros((mask.shape[0], mask.shape[1] + 1), bool)
    framed[:, 1:] = mask
    flat = np.append(framed.ravel(), False)
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.asarray(edges[1::2] - edges[::2], np.int64)


def _within(radius: float) -> int:
    return int(min(max(radius, 1), LARGEST))
