"""How well a map explains a defect, image by image.

X-AUC and the figures at mean + deviation follow [1]; how diffuse a map is, is ours. Every figure is
a mean over the images whose defect is marked; an image whose mask vanished, such as by resizing,
has no figure and is counted instead of being a 0.

    [1] Angiulli, Fassetti, Ferragina, Nisticò: Explaining Anomalies through Semi-supervised
        Autoencoders, Array, 2025.

Differs from [1]: the per-image maximum over thresholds is labelled oracle and never called F1, and
the threshold from all images of a class is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError
from blemish.metrics.checking import checked_map, checked_mask
from blemish.metrics.class_threshold import ClassThreshold
from blemish.metrics.explained_image import NAMES, explain
from blemish.metrics.figure import Figure
from blemish.metrics.intervals import REPLICATES, bootstrap_interval

LABELS = {
    "x_auc": "X-AUC",
    "x_f1": "F1 at mean + deviation",
    "x_iou": "IoU at mean + deviation",
    "x_f1_max": "F1-max per image",
    "x_iou_max": "IoU-max per image",
    "mass_inside": "Share of map mass inside the mask",
    "contrast": "Contrast inside to outside",
    "components": "Components above mean + deviation",
}
ORACLES = {"x_f1_max", "x_iou_max"}


class ExplainabilityMetrics:
    """Accumulates per-image figures over a test set, one image at a time.

    Args:
        class_threshold: The threshold for all images of the class, where it is known from a first
            pass; None to take the mean + deviation over all valid pixels that were added, for
            which F1 and IoU then carry a bound.
        replicates: Bootstrap samples by group behind each interval; 0 for none.
        seed: Seed of the bootstrap.
    """

    def __init__(
        self, class_threshold: float | None = None, replicates: int = REPLICATES, seed: int = 0
    ):
        self.replicates = replicates
        self.seed = seed
        self._class = ClassThreshold(class_threshold)
        self._keys: list[str] = []
        self._groups: list[str] = []
        self._rows: list[NDArray[np.float64]] = []
        self._vanished: list[str] = []
        self._known: set[str] = set()

    def add(
        self,
        anomaly_map: ArrayLike,
        truth: ArrayLike | None,
        valid: ArrayLike | None = None,
        key: str = "",
        group: str = "",
        defective: bool | None = None,
    ) -> None:
        """Add one image, good or defective; nothing of the arrays is kept by reference.

        Args:
            anomaly_map: (H, W) float32, higher = more anomalous.
            truth: (H, W) bool; None where a defect was not marked.
            valid: (H, W) bool, or None where every pixel counts.
            key: Name of the image.
            group: The part that was photographed, or ``""``.
            defective: What the image is; by default defective where its truth has a pixel. A
                defective image without an anomalous pixel counts as vanished.

        Raises:
            MetricError: Values that are not finite, shapes that differ, or a key that came before.
        """
        self._check_new(key)
        values = checked_map(anomaly_map, key)
        inside = (
            np.ones(values.shape, bool)
            if valid is None
            else checked_mask(valid, values.shape, "valid", key)
        )
        marked = (
            np.zeros(values.shape, bool)
            if truth is None
            else checked_mask(truth, values.shape, "truth", key)
        )
        self._known.add(key)
        shown = marked & inside
        known = truth is not None and bool(marked.any()) if defective is None else defective
        self._class.see(values[inside])
        if not known:
            return
        if not shown.any():
            self._vanished.append(key)
            return
        explained = explain(values, shown, inside)
        self._class.add(explained.anomalous, explained.good)
        self._keys.append(key)
        self._groups.append(group)
        self._rows.append(explained.row)

    def merge(self, other: ExplainabilityMetrics) -> None:
        """Add all images of another accumulator, as if added here.

        Raises:
            MetricError: Another class threshold, an image that both have, or the same object.
        """
        if other is self:
            raise MetricError("An accumulator cannot be merged into itself; merge another one.")
        for key in other._known:
            self._check_new(key)
        self._known |= other._known
        self._class.merge(other._class)
        self._keys += other._keys
        self._groups += other._groups
        self._rows += other._rows
        self._vanished += other._vanished

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Per-image figures, (n,) float64 each in the order of :attr:`keys`; NaN where undefined.

        ``x_auc``, ``x_f1``, ``x_iou``, ``x_f1_max``, ``x_iou_max``, ``mass_inside``, ``contrast``,
        ``components``, ``x_f1_class`` and ``x_iou_class``.
        """
        columns = np.array(self._rows, np.float64).reshape(-1, len(NAMES)).T
        table = dict(zip(NAMES, columns, strict=True))
        f1, iou = self._class.figures()
        return table | {"x_f1_class": f1.values, "x_iou_class": iou.values}

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the images in :meth:`table`."""
        return tuple(self._keys)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each image in :meth:`table`; an image without one is on its own."""
        return tuple(group or f"\0{number}" for number, group in enumerate(self._groups))

    @property
    def vanished(self) -> tuple[str, ...]:
        """Names of the defective images without an anomalous pixel, which have no figure."""
        return tuple(self._vanished)

    @property
    def class_threshold(self) -> float | None:
        """Mean + deviation over all valid pixels so far, or the one that was given."""
        return self._class.threshold

    def figures(self) -> dict[str, Figure]:
        """Means over the images, with intervals by group.

        Returns:
            ``x_auc``, ``x_f1``, ``x_iou``, ``x_f1_class``, ``x_iou_class`` (one threshold for all
            images, taken from the test set: an oracle unless it was given), ``x_f1_max`` and
            ``x_iou_max`` (oracles), ``mass_inside``, ``contrast``, ``components``.
        """
        table = self.table()
        figures = {
            name: self._mean(table[name], label, name in ORACLES) for name, label in LABELS.items()
        }
        oracle = not self._class.given
        for name, column in zip(("x_f1", "x_iou"), self._class.figures(), strict=True):
            label = LABELS[name].replace("mean + deviation", "the threshold of the class")
            figures[f"{name}_class"] = self._mean(column.values, label, oracle, column.bounds)
        return figures

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the figures must know."""
        count = len(self._vanished)
        return (f"{count} defective images without a marked pixel were skipped.",) if count else ()

    def _check_new(self, key: str) -> None:
        if key and key in self._known:
            raise MetricError(f"{key!r} was added before; an image counts once. Add it once only.")

    def _mean(
        self,
        values: NDArray[np.float64],
        label: str,
        oracle: bool,
        bounds: NDArray[np.float64] | None = None,
    ) -> Figure:
        known = np.flatnonzero(np.isfinite(values))
        if not known.size:
            reason = "no image has a marked defect for which it is defined"
            return Figure(None, label, oracle=oracle, reason=reason)
        own = values[known]
        names = [self.groups[number] for number in known]
        low, high = bootstrap_interval(
            partial(_weighted_mean, own), names, np.zeros(own.size), self.seed, self.replicates
        )
        bound = 0.0 if bounds is None else float(np.mean(bounds[known]))
        return Figure(float(np.mean(own)), label, low, high, oracle=oracle, bound=bound)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state as plain arrays, fit for ``numpy.savez`` without pickle."""
        own: dict[str, NDArray[Any]] = {
            "known": np.array(sorted(self._known), dtype=str),
            "keys": np.array(self._keys, dtype=str),
            "groups": np.array(self._groups, dtype=str),
            "vanished": np.array(self._vanished, dtype=str),
            "rows": np.array(self._rows, np.float64).reshape(-1, len(NAMES)),
            "bootstrap": np.array([self.replicates, self.seed], np.int64),
        }
        return own | {f"class.{key}": array for key, array in self._class.to_arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ExplainabilityMetrics:
        """Rebuild an accumulator from what :meth:`to_arrays` gave."""
        replicates, seed = (int(n) for n in arrays["bootstrap"])
        metrics = cls(None, replicates, seed)
        metrics._known = {str(key) for key in arrays["known"]}
        metrics._keys = [str(key) for key in arrays["keys"]]
        metrics._groups = [str(group) for group in arrays["groups"]]
        metrics._vanished = [str(key) for key in arrays["vanished"]]
        metrics._rows = list(arrays["rows"])
        own = {k.removeprefix("class."): a for k, a in arrays.items() if k.startswith("class.")}
        metrics._class = ClassThreshold.from_arrays(own)
        return metrics


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.int32]) -> float:
    return float(values @ weights / weights.sum())
