"""One (map, truth, valid) triple, checked before it counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


def checked_map(anomaly_map: ArrayLike, key: str) -> Map:
    """Return the map as (H, W) float32 after checking its shape and its values.

    Args:
        anomaly_map: (H, W), any real type; more precise types are rounded to float32.
        key: Name of the image, for messages.

    Raises:
        MetricError: The map is not two-dimensional, is empty, or holds NaN or infinite values.
    """
    given = np.asarray(anomaly_map)
    if given.ndim != 2 or not given.size:
        raise MetricError(
            f"The map of {key!r} has shape {given.shape}; a map is (H, W) and not empty. "
            "Add one image at a time."
        )
    with np.errstate(over="ignore"):
        values = given.astype(np.float32, copy=False)
    # one pass each, and NaN goes through both
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise MetricError(
            f"The map of {key!r} has NaN or infinite values (as float32); a score must be finite. "
            "Repair the method that made it."
        )
    return values


def checked_mask(mask: ArrayLike, shape: tuple[int, ...], what: str, key: str) -> Mask:
    """Return a mask as (H, W) bool after checking it against the shape of the map.

    Args:
        mask: (H, W) bool, or numbers that are all 0 or 1.
        shape: The shape of the map.
        what: What the mask is, for messages: ``"truth"`` or ``"valid"``.
        key: Name of the image, for messages.

    Raises:
        MetricError: Another shape, or values other than 0 and 1.
    """
    given = np.asarray(mask)
    if given.shape != shape:
        raise MetricError(
            f"The {what} mask of {key!r} has shape {given.shape}, its map {shape}; both are in "
            "the frame of the image. Map one of them back first."
        )
    if given.dtype != np.bool_:
        if np.any((given != 0) & (given != 1)):
            raise MetricError(
                f"The {what} mask of {key!r} holds values other than 0 and 1 (largest "
                f"{given.max()}); make it bool first, such as with mask > 127."
            )
        given = given.astype(np.bool_)
    return given
