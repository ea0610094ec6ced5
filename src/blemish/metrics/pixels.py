"""Pixel figures in one pass: each image is released after it was added.

What stays in memory is the anomalous pixels (8 bytes each), a summary of the good ones of fixed
size (:mod:`blemish.metrics.rank_summary`) and at most 3 kB per image. AUROC, AP, F1-max, IoU-max
and AUPRO follow from it with a proven bound, which every figure carries; counts at a given
threshold are exact. See ``docs/metrics.md`` for the formulas and the proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError
from blemish.metrics.anomalous_pixels import AnomalousPixels
from blemish.metrics.checking import checked_map, checked_mask
from blemish.metrics.curves import Curve, thin_out
from blemish.metrics.figure import Figure
from blemish.metrics.image_log import ImageLog
from blemish.metrics.pixel_figures import PixelSettings, pixel_figures
from blemish.metrics.pooled import PooledPixels
from blemish.metrics.rank_summary import BUFFER, EXACT_TOP, STEP, RankSummary
from blemish.metrics.regions import find_regions, good_pixels

CURVE_POINTS = 200


class RegionTable(NamedTuple):
    """Regions of a test set.

    Attributes:
        names: Key of the image and area in pixels of each region.
        scores: (R,) float64, AUPRO of each region by itself.
    """

    names: tuple[tuple[str, int], ...]
    scores: NDArray[np.float64]


class PixelMetrics:
    """Accumulates pixel figures over a test set, one image at a time.

    Args:
        limits: Largest false-positive rates of AUPRO, each in (0, 1].
        pixel_threshold: Map value above which a pixel belongs to a defect; None for no figures at
            a threshold.
        min_areas: AUPRO is given again without regions below each of these areas, in pixels.
        replicates: Bootstrap samples behind each interval; 0 for none.
        seed: Seed of the bootstrap.
        buffer: Values per level of the summary of good pixels; see :class:`RankSummary`.
        exact_top: How many of the largest good pixels are counted exactly.

    Raises:
        MetricError: A limit or an area out of its range.
    """

    def __init__(
        self,
        limits: Sequence[float] = (0.30, 0.10, 0.05, 0.01),
        pixel_threshold: float | None = None,
        min_areas: Sequence[int] = (5,),
        *,
        replicates: int = 1000,
        seed: int = 0,
        buffer: int = BUFFER,
        exact_top: int = EXACT_TOP,
    ):
        self.settings = PixelSettings(
            tuple(limits), tuple(min_areas), pixel_threshold, replicates, seed
        )
        self._good = RankSummary(buffer, exact_top)
        self._anomalous = AnomalousPixels()
        self.log = ImageLog()
        """What is remembered of each image."""

    def add(
        self,
        anomaly_map: ArrayLike,
        truth: ArrayLike | None,
        valid: ArrayLike | None = None,
        key: str = "",
        group: str = "",
        flagged: bool = True,
    ) -> None:
        """Add one image; nothing of the arrays is kept by reference.

        Args:
            anomaly_map: (H, W) float32, higher = more anomalous.
            truth: (H, W) bool, all False for a good image; None where a defect was not marked: the
        image is then left out, and :attr:`notes` says so.
            valid: (H, W) bool, False on padding, ignored areas and outside the region of interest;
                None where every pixel counts.
            key: Name of the image; a name that is not empty may come once only.
            group: The part that was photographed; ``""`` for an image on its own.
            flagged: The decision on the image, for SegF1: the mask of a part judged good is empty.

        Raises:
            MetricError: Values that are not finite, shapes that differ, or a key that came before.
        """
        values = checked_map(anomaly_map, key)
        if truth is None:
            self.log.skip(key)
            return
        marked = checked_mask(truth, values.shape, "truth", key)
        inside = None if valid is None else checked_mask(valid, values.shape, "valid", key)
        self.log.check_new(key)
        regions = find_regions(values, marked, inside)
        good = good_pixels(values, marked, inside)
        self.log.add(key, group, good, regions, self.settings.pixel_threshold, flagged)
        self._anomalous.add(regions, self.log.count - 1)
        self._good.add(good)

    def merge(self, other: PixelMetrics) -> None:
        """Add all images of another accumulator with the same settings, as if added here.

        Raises:
            MetricError: Other settings, or an image that both have.
        """
        if self.settings != other.settings:
            raise MetricError(
                f"Settings {self.settings} and {other.settings} cannot be merged; use the same."
            )
        self._good.check_mergeable(other._good)
        images = self.log.count
        self.log.merge(other.log)
        self._anomalous.merge(other._anomalous, images)
        self._good.merge(other._good)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """The whole state as plain arrays, fit for ``numpy.savez`` without pickle."""
        return {
            f"{name}.{key}": array
            for name, part in self._parts().items()
            for key, array in part.to_arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PixelMetrics:
        """Rebuild an accumulator from what :meth:`to_arrays` gave."""
        own: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            part, _, key = name.partition(".")
            own.setdefault(part, {})[key] = array
        metrics = cls(buffer=STEP, exact_top=0)
        metrics.settings = PixelSettings.from_arrays(own["settings"])
        metrics._good = RankSummary.from_arrays(own["good"])
        metrics._anomalous = AnomalousPixels.from_arrays(own["anomalous"])
        metrics.log = ImageLog.from_arrays(own["log"])
        return metrics

    def figures(self) -> dict[str, Figure]:
        """All figures, in the order in which a table shows them.

        Returns:
            ``pixel_auroc``, ``pixel_ap``, ``pixel_f1_max``, ``pixel_iou_max``, ``pixel_f1``,
            ``pixel_iou``, ``segf1``, ``aupro_0.30`` … and for each limit ``_min5`` (without small
            regions), ``_q1`` … ``_q4`` (cumulative), ``_d1`` … ``_d4`` (disjoint) and ``rho_0.30``;
            ``aupro_0.30_paper`` … and ``rho_0.30_paper`` are the same with 99 thresholds.
        """
        return pixel_figures(self.pooled(), self.log, self.settings, "stream")

    def curves(self) -> dict[str, Curve]:
        """Curves for the report, at most 200 points each; empty where there are no figures.

        Returns:
            ``"pro"``: false-positive rate and mean per-region overlap; ``"pixel_pr"``: recall and
            precision.
        """
        pooled = self.pooled()
        if isinstance(pooled, str):
            return {}
        return {
            "pro": thin_out(*pooled.pro_curve(), CURVE_POINTS),
            "pixel_pr": thin_out(*pooled.precision_recall_curve(), CURVE_POINTS),
        }

    def pooled(self) -> PooledPixels | str:
        """The anomalous pixels and their place among the good ones, or why there are none."""
        reason = self.log.reason()
        if reason:
            return reason
        values, regions = self._anomalous.sorted()
        above, not_below, error = self._good.counts(values)
        return PooledPixels(
            values,
            regions,
            above,
            not_below,
            error,
            self._good.count,
            self._anomalous.areas,
            self._anomalous.images,
        )

    def regions(self, limit: float) -> RegionTable:
        """AUPRO of each region by itself, in the order of the names of their images.

        Args:
            limit: Largest false-positive rate, in (0, 1].

        Raises:
            MetricError: There are no pixel figures; the reason is given.
        """
        pooled = self.pooled()
        if isinstance(pooled, str):
            raise MetricError(f"There is no AUPRO: {pooled}.")
        images = [self.log.keys[number] for number in pooled.images]
        scores = pooled.region_scores(limit)[0]
        order = sorted(range(len(images)), key=images.__getitem__)  # stable: regions keep theirs
        return RegionTable(tuple((images[n], int(pooled.areas[n])) for n in order), scores[order])

    @property
    def images(self) -> int:
        """How many images were counted."""
        return self.log.count

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the figures must know, such as images left out."""
        return self.log.notes()

    def _parts(self) -> dict[str, PixelSettings | RankSummary | AnomalousPixels | ImageLog]:
        return {
            "settings": self.settings,
            "good": self._good,
            "anomalous": self._anomalous,
            "log": self.log,
        }
