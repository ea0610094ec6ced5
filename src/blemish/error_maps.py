"""Errors of what a network draws again: how large they usually are, and how they are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.samples import Samples

HELD_OUT = 0.15  # share of the parts that is not trained on but tells the usual error
CEILING = 99.5  # percentile of good maps that a picture shows as full
SMOOTHING = 2.0  # of the usual error, in pixels
Maps = NDArray[np.float32]


def hold_out(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Part the images by part: to train on, and photos to measure on."""
    # Another salt than the calibration split: its end of the ranking is not here any more.
    return samples.hold_out(HELD_OUT, f"{seed}|usual error")


def usual_error(errors: Maps, valid: NDArray[np.bool_], by_place: bool) -> Maps:
    """How large errors of good parts usually are.

    Args:
        errors: (N, h, w), at least 0.
        valid: (N, h, w) bool.
        by_place: At every pixel; otherwise one value for all.

    Returns:
        (h, w) or (1, 1) float32, above 0.
    """
    values = errors[valid]
    overall = max(float(values.mean()) if values.size else 1.0, 1e-8)
    if not by_place:
        return np.full((1, 1), overall, np.float32)
    count = ndimage.gaussian_filter(valid.sum(axis=0).astype(np.float32), SMOOTHING)
    total = ndimage.gaussian_filter(errors.sum(axis=0), SMOOTHING)
    # A tenth of the overall error as floor: where nothing ever happens, noise is no news.
    local = np.where(count > 1e-3, total / np.maximum(count, 1e-3), overall)
    return (local + 0.1 * overall).astype(np.float32)


def ceiling(errors: Maps, valid: NDArray[np.bool_]) -> float:
    """The error (N, h, w) of good parts that a picture shows as full."""
    values = errors[valid]
    return float(np.percentile(values, CEILING)) if values.size else 1.0


def glow(values: Maps) -> NDArray[np.float32]:
    """(B, H, W) in [0, 1] to (B, H, W, 3): black, red, yellow, white."""
    return np.stack([values * 3, values * 3 - 1, values * 3 - 2], axis=3).clip(0, 1)
