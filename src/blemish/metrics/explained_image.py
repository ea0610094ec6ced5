"""The figures of one map and one mask: pure functions of arrays, exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.metrics.checking import Map, Mask
from blemish.metrics.regions import EIGHT

NAMES = (
    "x_auc",
    "x_f1",
    "x_iou",
    "x_f1_max",
    "x_iou_max",
    "mass_inside",
    "contrast",
    "components",
)

Values = NDArray[np.float32]


@dataclass(frozen=True)
class ExplainedImage:
    """The figures of one image, and its pixels in order.

    Attributes:
        row: (8,) float64 in the order of `NAMES`; NaN where a figure is not defined.
        anomalous: (P,) float32, ascending.
        good: (N,) float32, ascending.
    """

    row: NDArray[np.float64]
    anomalous: Values
    good: Values


def explain(anomaly_map: Map, truth: Mask, valid: Mask) -> ExplainedImage:
    """Compute all per-image figures.

    Args:
        anomaly_map: (H, W) float32, finite.
        truth: (H, W) bool within `valid`, at least one pixel set.
        valid: (H, W) bool.
    """
    anomalous = np.sort(anomaly_map[truth])
    good = np.sort(anomaly_map[valid & ~truth])
    threshold = own_threshold(anomaly_map[valid])
    above = (anomaly_map > threshold) & valid
    hits, falses = int(np.count_nonzero(above & truth)), int(np.count_nonzero(above & ~truth))
    row = [
        image_auc(anomalous, good),
        f1_from_counts(hits, falses, anomalous.size),
        iou_from_counts(hits, falses, anomalous.size),
        *best_overlap(anomalous, good),
        *spread(anomalous, good),
        float(ndimage.label(above, EIGHT)[1]),
    ]
    return ExplainedImage(np.array(row, np.float64), anomalous, good)


def own_threshold(values: Values) -> float:
    """Mean + population standard deviation of the valid pixels (n,) of one image.

    Rounded to float32, so that it means the same to an array and to a search in it.
    """
    mean, variance = moments(values)
    return float(np.float32(mean + math.sqrt(variance)))


def moments(values: Values) -> tuple[float, float]:
    """Mean and population variance of (n,) float32; a constant has exactly itself and 0."""
    apart = values.astype(np.float64) - np.float64(values[0])
    return float(values[0]) + float(apart.mean()), float(apart.var())


def image_auc(anomalous: Values, good: Values) -> float:
    """AUROC over the pixels of one image, ties counting one half; NaN without good pixels.

    Args:
        anomalous: (P,) float32.
        good: (N,) float32, ascending.
    """
    if not good.size:
        return float("nan")
    below = np.searchsorted(good, anomalous, "left") + np.searchsorted(good, anomalous, "right")
    return float(np.mean(below)) / (2 * good.size)


def best_overlap(anomalous: Values, good: Values) -> tuple[float, float]:
    """Largest F1 and IoU over all thresholds of one image: oracles, at one and the same threshold.

    Args:
        anomalous: (P,) float32, ascending.
        good: (N,) float32, ascending.
    """
    first = np.flatnonzero(np.append(True, anomalous[1:] != anomalous[:-1]))
    hits = anomalous.size - first
    falses = good.size - np.searchsorted(good, anomalous[first], "left")
    iou = float(np.max(hits / (falses + anomalous.size)))
    return 2 * iou / (1 + iou), iou


def spread(anomalous: Values, good: Values) -> tuple[float, float]:
    """How much of a map lies on the defect: share of its mass, and contrast.

    Both are of the map minus its smallest value, so that adding a constant changes neither and a
    positive factor changes neither. Mass inside is ``Σ inside / Σ all``; contrast is
    ``(m_in - m_out) / (m_in + m_out)`` of the mean values, 1 where nothing lies outside, 0 where
    the defect does not stand out, below 0 where it is darker than the rest.

    Args:
        anomalous: (P,) float32, ascending.
        good: (N,) float32, ascending.

    Returns:
        Both, or NaN for a constant map; contrast is NaN without good pixels.
    """
    floor = np.float64(min(anomalous[0], good[0])) if good.size else np.float64(anomalous[0])
    inside = float(np.sum(anomalous - floor, dtype=np.float64))
    outside = float(np.sum(good - floor, dtype=np.float64))
    if inside + outside == 0:
        return float("nan"), float("nan")
    share = inside / (inside + outside)
    if not good.size:
        return share, float("nan")
    means = inside / anomalous.size, outside / good.size
    return share, (means[0] - means[1]) / (means[0] + means[1])


def f1_from_counts(hits: float, falses: float, anomalous: int) -> float:
    """F1 from true and false positives and the number of anomalous pixels, at least 1."""
    return 2 * hits / (hits + falses + anomalous)


def iou_from_counts(hits: float, falses: float, anomalous: int) -> float:
    """Intersection over union from the same counts."""
    return hits / (falses + anomalous)
