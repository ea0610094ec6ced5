"""The table of pooled pixel figures, the same for the streamed and the exact form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MetricError
from blemish.metrics.decisions import pixel_decision_figures
from blemish.metrics.defect_size import CUMULATIVE, DISJOINT, rho, rho_bound, size_bins
from blemish.metrics.figure import Figure
from blemish.metrics.image_log import ImageLog
from blemish.metrics.intervals import Interval, mean_interval
from blemish.metrics.pixel_intervals import auroc_interval
from blemish.metrics.pooled import Numbers, PooledPixels


@dataclass(frozen=True)
class PixelSettings:
    """What is to be computed.

    Attributes:
        limits: Largest false-positive rates of AUPRO, each in (0, 1].
        min_areas: AUPRO is given again without regions below each of these areas, in pixels.
        pixel_threshold: Map value above which a pixel belongs to a defect, or None.
        replicates: Bootstrap samples behind each interval; 0 for none.
        seed: Seed of the bootstrap.
    """

    limits: tuple[float, ...]
    min_areas: tuple[int, ...]
    pixel_threshold: float | None
    replicates: int
    seed: int

    def __post_init__(self) -> None:
        for limit in self.limits:
            if not 0 < limit <= 1:
                raise MetricError(f"The FPR limit {limit!r} is not in (0, 1]; 0.05 is 5 %.")

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The settings as plain arrays; :meth:`from_arrays` reads them back."""
        threshold = [] if self.pixel_threshold is None else [self.pixel_threshold]
        return {
            "limits": np.array(self.limits, np.float64),
            "min_areas": np.array(self.min_areas, np.int64),
            "pixel_threshold": np.array(threshold, np.float64),
            "bootstrap": np.array([self.replicates, self.seed], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PixelSettings:
        """Rebuild from what :meth:`to_arrays` gave."""
        threshold = [float(t) for t in arrays["pixel_threshold"]]
        replicates, seed = (int(n) for n in arrays["bootstrap"])
        return cls(
            tuple(float(limit) for limit in arrays["limits"]),
            tuple(int(area) for area in arrays["min_areas"]),
            threshold[0] if threshold else None,
            replicates,
            seed,
        )


def pixel_figures(
    pooled: PooledPixels | str, log: ImageLog, settings: PixelSettings, estimator: str
) -> dict[str, Figure]:
    """All pooled pixel figures, in the order in which a table shows them.

    Args:
        pooled: The pixels, or why there are none.
        log: What is remembered of each image.
        settings: What is to be computed.
        estimator: ``"stream"`` or ``"exact"``.
    """
    reason = pooled if isinstance(pooled, str) else "no pixel threshold was given"
    given = settings.pixel_threshold is not None and not isinstance(pooled, str)
    counted, delivered = log.decisions() if given else (None, None)
    decided = pixel_decision_figures(counted, delivered, reason)
    if isinstance(pooled, str):
        ranked, overlaps = missing_figures(settings, estimator, pooled)
    else:
        interval = auroc_interval(pooled, log, settings.seed, settings.replicates)
        ranked = ranking_figures(pooled, estimator, interval)
        overlaps = overlap_figures(pooled, settings, estimator)
    return ranked | decided | overlaps


def ranking_figures(pooled: PooledPixels, estimator: str, interval: Interval) -> dict[str, Figure]:
    """Pixel AUROC, AP and the two oracles, pooled over the test set."""
    auroc = pooled.auroc()
    low, high = interval
    ap, f1, iou = pooled.average_precision(), pooled.f1_max(), pooled.iou_max()
    return {
        "pixel_auroc": Figure(
            auroc.value, "Pixel AUROC", low, high, bound=auroc.bound, estimator=estimator
        ),
        "pixel_ap": Figure(ap.value, "Pixel AP", bound=ap.bound, estimator=estimator),
        "pixel_f1_max": Figure(
            f1.value, "Pixel F1-max", oracle=True, bound=f1.bound, estimator=estimator
        ),
        "pixel_iou_max": Figure(
            iou.value, "Pixel IoU-max", oracle=True, bound=iou.bound, estimator=estimator
        ),
    }


def overlap_figures(
    pooled: PooledPixels, settings: PixelSettings, estimator: str
) -> dict[str, Figure]:
    """AUPRO at each limit: all regions, without small ones, by size, and by both estimators."""
    figures: dict[str, Figure] = {}
    for limit in settings.limits:
        name, label = f"aupro_{limit:.2f}", f"AUPRO@{limit:.2f}"
        own = pooled.region_scores(limit)
        paper = pooled.paper_region_scores(limit)
        figures |= _of_limit(name, label, own, pooled.areas, settings, estimator)
        figures |= _of_limit(
            f"{name}_paper", f"{label}, 99 thresholds", paper, pooled.areas, settings, "paper"
        )
    # the plain figures first: tables show them in this order
    heads = [f"aupro_{limit:.2f}" for limit in settings.limits]
    return {name: figures[name] for name in heads} | figures


def missing_figures(
    settings: PixelSettings, estimator: str, reason: str
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """The same names without values, where nothing can be computed."""
    one = np.ones(1, np.int64)
    stand_in = PooledPixels(
        one.astype(np.float32), one.astype(np.int32) - 1, one, one, one - 1, 1, one, one - 1
    )
    quiet = dataclasses.replace(settings, replicates=0)
    ranked = ranking_figures(stand_in, estimator, (None, None))
    overlaps = overlap_figures(stand_in, quiet, estimator)
    return _without_values(ranked, reason), _without_values(overlaps, reason)


def _without_values(figures: dict[str, Figure], reason: str) -> dict[str, Figure]:
    return {
        name: dataclasses.replace(figure, value=None, bound=0.0, reason=reason)
        for name, figure in figures.items()
    }


def _of_limit(
    name: str,
    label: str,
    scores: tuple[Numbers, Numbers],
    areas: NDArray[np.int64],
    settings: PixelSettings,
    estimator: str,
) -> dict[str, Figure]:
    """One limit and one estimator: all regions, large enough ones, and the size bins."""
    figures = {}
    bins = size_bins(areas)
    for suffix, said, chosen, reason in _subsets(areas, bins, settings.min_areas):
        key, shown = f"{name}{suffix}", f"{label}{said}"
        if not np.any(chosen):
            figures[key] = Figure(None, shown, estimator=estimator, reason=reason)
            continue
        value, bound = (float(np.mean(part[chosen])) for part in scores)
        # the 99 thresholds serve comparison with published numbers, which have no intervals
        replicates = 0 if estimator == "paper" else settings.replicates
        low, high = mean_interval(scores[0][chosen], settings.seed, replicates)
        figures[key] = Figure(value, shown, low, high, bound=bound, estimator=estimator)
    quarters = [figures[f"{name}_{q}"] for q in CUMULATIVE]
    values = [float(q.value or 0.0) for q in quarters]
    figures[f"rho{name.removeprefix('aupro')}"] = Figure(
        rho(values),
        f"ρ of {label} (our reading)",
        bound=rho_bound(values, [q.bound for q in quarters]),
        estimator=estimator,
    )
    return figures


def _subsets(
    areas: NDArray[np.int64], bins: dict[str, NDArray[np.bool_]], min_areas: Sequence[int]
) -> Iterator[tuple[str, str, NDArray[np.bool_], str]]:
    """Suffix of the name, words for the label, the regions, and why there may be none."""
    yield "", "", np.ones(areas.size, bool), ""
    for area in min_areas:
        if area > 1:
            yield (
                f"_min{area}",
                f", regions ≥ {area} px",
                areas >= area,
                f"no region has {area} pixels or more",
            )
    for name, said in (CUMULATIVE | DISJOINT).items():
        yield f"_{name}", f", {said}", bins[name], f"no region has {said}: areas are equal"
