"""Evaluate a fitted detector on images that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blemish.metrics.figure import Figure
from blemish.types import Image, Mask, Prediction


@dataclass(frozen=True)
class ImageResult:
    """What happened to one test image.

    Attributes:
        key: Name of the image within its data set.
        defective: The truth.
        defect_type: ``"good"`` or the kind of defect.
        group: The part that was photographed.
        score: Anomaly score; higher = more anomalous.
        p_value: Conformal p-value in (0, 1].
        flagged: The decision at the stored threshold.
    """

    key: str
    defective: bool
    defect_type: str
    group: str
    score: float
    p_value: float
    flagged: bool


@dataclass(frozen=True)
class Example:
    """One test image kept with its pictures, for the report.

    Attributes:
        result: The line of the table that this image has.
        image: (H, W, 3) uint8 RGB as the user gave it.
        prediction: Map, mask, regions and the method's own pictures.
        truth: (H, W) bool ground truth; None where the defect was not marked.
        valid: (H, W) bool, False outside the region of interest.
    """

    result: ImageResult
    image: Image
    prediction: Prediction
    truth: Mask | None
    valid: Mask


@dataclass(frozen=True)
class Evaluation:
    """Everything that the evaluation of one detector on one data set found.

    Attributes:
        detector: The detector's card: method, options, geometry, versions, sizes (plain JSON).
        data: The data set's card: name, fingerprint, counts (plain JSON).
        figures: Name to figure, in the order in which a table shows them: ``image_auroc``,
            ``image_ap``, ``false_alarm_rate``, ``miss_rate``, ``pixel_auroc``, ``aupro_0.30``, …
        curves: ``"roc"``, ``"pr"``, ``"pixel_pr"``, ``"pro"`` to lists of x and y values:
            false-positive rate and true-positive rate; recall and precision; FPR and overlap.
        images: One line per test image.
        misses: Defective images judged good, lowest score first.
        false_alarms: Good images judged defective, highest score first.
        hits: Some defective images judged defective.
        calibration_scores: Scores of the calibration images.
        threshold: The stored score threshold.
        false_alarms_asked: The false-alarm rate that was asked for.
        seconds: Wall time by stage (plain JSON).
        notes: Sentences that a reader must know, such as images left out and why.
    """

    detector: Mapping[str, Any]
    data: Mapping[str, Any]
    figures: Mapping[str, Figure]
    curves: Mapping[str, tuple[list[float], list[float]]]
    images: tuple[ImageResult, ...]
    misses: tuple[Example, ...]
    false_alarms: tuple[Example, ...]
    hits: tuple[Example, ...]
    calibration_scores: tuple[float, ...]
    threshold: float
    false_alarms_asked: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
