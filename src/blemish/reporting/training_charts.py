"""The curves of a training run: every loss term, the learning rate and what a method watches."""

from __future__ import annotations

import math
from collections.abc import Mapping

from blemish.reporting.charts import Chart, Series, line_chart

WIDE = 50.0  # largest over smallest value above which an axis is logarithmic
# Title and note of the curves that are known by name.
_KNOWN = {
    "loss": ("Loss", "What training makes smaller."),
    "error": ("Mean squared error", "Between training images and what the network draws of them."),
    "kl": ("KL divergence", "Nats that the code says about an image."),
    "beta": ("Weight of the divergence", ""),
    "active_units": (
        "Active latent units",
        "Units of the code that differ between the images of a batch.",
    ),
    "distance": ("Wasserstein estimate", "How far drawn images are from photos, by the critic."),
    "penalty": ("Gradient penalty", "How far the critic's slope is from one."),
    "judge_loss": ("Loss of the judge", ""),
    "generator_loss": ("Loss of the generator", ""),
    "rate": ("Learning rate", "As a share of the rate that was asked for."),
}


def training_charts(history: Mapping[str, list[float]]) -> list[Chart]:
    """One chart per curve, the known ones first; a single epoch is no curve.

    An axis is logarithmic where all values are positive and span a factor above `WIDE`.
    """
    order = sorted(history, key=lambda n: [*_KNOWN, n].index(n))
    return [_curve(name, history[name]) for name in order if _is_curve(name, history[name])]


def _is_curve(name: str, values: list[float]) -> bool:
    # A rate that never changed says nothing.
    return len(values) > 1 and (name not in {"rate", "beta"} or len(set(values)) > 1)


def _curve(name: str, values: list[float]) -> Chart:
    title, note = _KNOWN.get(name, (name, ""))
    usable = [v for v in values if math.isfinite(v)]
    wide = bool(usable) and min(usable) > 0 and max(usable) > WIDE * min(usable)
    epochs = range(1, len(values) + 1)
    return line_chart(
        title, [Series("", epochs, values, "1")], "Epoch", title, y_log=wide, note=note
    )
