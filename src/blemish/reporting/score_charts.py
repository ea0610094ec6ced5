"""The charts of an evaluation: scores and threshold, promise and measurement, curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from blemish.evaluation import Evaluation
from blemish.reporting.charts import Axis, Canvas, Chart, Plot, Series, line_chart
from blemish.reporting.words import counted, number, share

BINS = 40
# Title, x label, y label, note of the curves that are known by name.
_CURVES = {
    "roc": (
        "ROC: images",
        "Good images flagged",
        "Defective images found",
        "Every point is one possible threshold; the dot is the stored one.",
    ),
    "pr": (
        "Precision and recall: images",
        "Recall: defective images found",
        "Precision",
        "Precision is the share of flagged images that are defective; flagging at random gives the "
        "dashed line.",
    ),
    "pro": (
        "PRO: regions",
        "Good pixels flagged",
        "Share of a defect covered, mean",
        "Every defect counts the same, however small.",
    ),
    "pixel_pr": (
        "Precision and recall: pixels",
        "Recall: defective pixels found",
        "Precision",
        "Precision is the share of flagged pixels that belong to a defect.",
    ),
}


def score_histogram(evaluation: Evaluation) -> Chart | None:
    """Scores of good and of defective test images over each other, with the threshold.

    A logarithmic axis is used where all scores are positive and span a factor above 50.

    Returns:
        The chart, or None without test images.
    """
    if not evaluation.images:
        return None
    good = _finite([r.score for r in evaluation.images if not r.defective])
    bad = _finite([r.score for r in evaluation.images if r.defective])
    calibration = _finite(evaluation.calibration_scores)
    everything = _finite([*good, *bad, *calibration, evaluation.threshold])
    wide = bool(everything) and min(everything) > 0 and max(everything) > 50 * min(everything)
    axis = Axis.around(everything, "Anomaly score" + (" (log)" if wide else ""), log=wide)
    edges = axis.values([i / BINS for i in range(BINS + 1)])

    # Two panels over one axis instead of bars over bars: nothing hides behind anything.
    canvas = Canvas(
        f"Histogram of anomaly scores: {counted(len(good), 'good image')} from {_span(good)}, "
        f"{counted(len(bad), 'defective image')} from {_span(bad)}, "
        f"threshold {number(evaluation.threshold)}."
    )
    upper, lower = (58.0, 24.0, 358.0, 86.0), (58.0, 150.0, 358.0, 86.0)
    for scores, tone, box in ((good, "good", upper), (bad, "defective", lower)):
        heights = _counts(axis, scores)
        plot = Plot(canvas, axis, Axis("Images", 0, max(1.0, 1.1 * max(heights)), whole=True), box)
        plot.frame(x_ticks=box is lower)
        plot.bars(edges, heights, tone)
    plot.rug(calibration, upper[1] + upper[3] + 5, 9)
    plot.rule(evaluation.threshold, f"threshold {number(evaluation.threshold)}", top=6)
    legend = [
        (f"good ({len(good)})", "good", "bar"),
        (f"defective ({len(bad)})", "defective", "bar"),
    ]
    if calibration:
        legend.append((f"calibration, good and unseen ({len(calibration)})", "quiet", "rug"))
    note = "Right of the threshold an image is flagged. It was set on the calibration scores alone."
    return Chart("Scores and threshold", canvas.svg(), tuple(legend), note)


def calibration_picture(evaluation: Evaluation) -> Chart | None:
    """Is the promised false-alarm rate kept? p-values of good test images against the diagonal.

    Returns:
        The chart, or None without good test images.
    """
    good = [r for r in evaluation.images if not r.defective]
    if not good:
        return None
    p_values = sorted(r.p_value for r in good)
    xs, ys = _staircase(p_values)
    asked, measured = evaluation.false_alarms_asked, sum(r.flagged for r in good) / len(good)
    canvas = Canvas(
        f"Calibration: at the requested false-alarm rate of {share(asked)}, {share(measured)} of "
        f"{counted(len(good), 'good test image')} were flagged."
    )
    plot = Plot(
        canvas,
        Axis("False-alarm rate asked for", percent=True),
        Axis("Good images flagged", percent=True),
    )
    plot.frame()
    n = len(evaluation.calibration_scores)
    legend = []
    if n:
        plot.band(*promise_band(n, len(good)))
        legend.append(("95 % of the time within, if the promise is kept", "quiet", "band"))
    plot.line(Series("", (0, 1), (0, 1), "quiet", dashed=True))
    plot.line(Series("", xs, ys, "good"))
    plot.rule(asked, f"asked {share(asked)}")
    plot.dot(asked, measured)
    legend += [
        ("promised", "quiet", "dashed"),
        ("measured on good test images", "good", "line"),
        (f"at the stored threshold: {share(measured)}", "ink", "dot"),
    ]
    note = (
        "Below the dashed line: fewer false alarms than asked for. The band takes every image for "
        f"one part and knows of {counted(n, 'calibration image')}."
        if n
        else "Below the dashed line: fewer false alarms than asked for."
    )
    return Chart("Is the promise kept?", canvas.svg(), tuple(legend), note)


def promise_band(calibrated: int, tested: int) -> tuple[list[float], list[float], list[float]]:
    """Where the measured false-alarm rate falls in 95 % of cases when the promise is kept.

    With n calibration and m test images that are exchangeable, the number of test images with a
    conformal p-value ≤ k / (n + 1) is beta-binomial with m trials and parameters k and n + 1 − k.

    Args:
        calibrated: n ≥ 1.
        tested: m ≥ 1.

    Returns:
        Requested rates, lower and upper ends of the measured rate, all in [0, 1].
    """
    n, m = calibrated, tested
    # (K, 1) ranks against (1, m + 1) counts; 60 ranks draw a smooth band.
    ks = np.unique(np.linspace(1, n, min(n, 60)).round())[:, None]
    counts = np.arange(m + 1.0)[None]
    choose = gammaln(m + 1) - gammaln(counts + 1) - gammaln(m - counts + 1)
    log_mass = choose + betaln(counts + ks, m - counts + n + 1 - ks) - betaln(ks, n + 1 - ks)
    below: NDArray[np.float64] = np.exp(log_mass).cumsum(axis=1)
    low, high = (below < 0.025).sum(axis=1) / m, (below < 0.975).sum(axis=1) / m
    rates = (ks[:, 0] / (n + 1)).tolist()
    return [0.0, *rates, 1.0], [0.0, *low.tolist(), 1.0], [0.0, *high.clip(0, 1).tolist(), 1.0]


def curve_charts(evaluation: Evaluation) -> list[Chart]:
    """One chart per curve, the known ones first; a curve without two points is left out."""
    order = sorted(evaluation.curves, key=lambda n: [*_CURVES, n].index(n))
    return [_curve(evaluation, n) for n in order if len(evaluation.curves[n][0]) > 1]


def _curve(evaluation: Evaluation, name: str) -> Chart:
    x, y = evaluation.curves[name]
    title, x_label, y_label, note = _CURVES.get(name, (name, "x", "y", ""))
    series = [Series("", x, y, "1")]
    dots = []
    bad = sum(r.defective for r in evaluation.images)
    found = sum(r.defective and r.flagged for r in evaluation.images)
    alarms = sum(r.flagged and not r.defective for r in evaluation.images)
    good = len(evaluation.images) - bad
    if name == "roc":
        series.insert(0, Series("", (0, 1), (0, 1), "quiet", dashed=True))
        if good and bad:
            dots.append(("stored threshold", alarms / good, found / bad))
    if name == "pr" and evaluation.images:
        rate = bad / len(evaluation.images)
        series.insert(0, Series("", (0, 1), (rate, rate), "quiet", dashed=True))
        if bad and found + alarms:
            dots.append(("stored threshold", found / bad, found / (found + alarms)))
    # A PRO curve ends at the largest false-positive rate that counts, 0.3 as a rule.
    right = max(x) if name == "pro" and 0 < max(x) < 1 else 1.0
    axes = (Axis(x_label, 0, right, percent=True), Axis(y_label, percent=True))
    if name not in _CURVES:
        axes = (Axis.around(x, x_label), Axis.around(y, y_label))
    return line_chart(title, series, *axes, dots=dots, note=note)


def _finite(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values if np.isfinite(v)]


def _span(scores: list[float]) -> str:
    return f"{number(min(scores))} to {number(max(scores))}" if scores else "nowhere"


def _counts(axis: Axis, scores: list[float]) -> list[float]:
    """Scores per bin; binned by position on the axis, so that no edge is lost to rounding."""
    bins = [min(int(p * BINS), BINS - 1) for p in axis.position(scores)]
    return [float(n) for n in np.bincount(np.asarray(bins, dtype=np.int64), minlength=BINS)]


def _staircase(values: list[float]) -> tuple[list[float], list[float]]:
    """Empirical distribution function of sorted values, drawn from (0, 0) to (1, 1)."""
    xs, ys = [0.0], [0.0]
    for i, value in enumerate(values):
        xs += [value, value]
        ys += [i / len(values), (i + 1) / len(values)]
    return [*xs, 1.0], [*ys, 1.0]
