"""One figure: a number with everything that is needed to read it honestly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number of an evaluation.

    Attributes:
        value: The number, or None where it cannot be computed; then `reason` says why.
        label: What a table calls it, such as ``"Image AUROC"``.
        low: Lower end of the 95 % interval, where one was computed.
        high: Upper end of the 95 % interval.
        oracle: True where the test set chose something (F1-max, IoU-max): never achievable on a
            line, shown only beside the figure at the stored threshold.
        bound: Largest possible error of the estimator, proven; 0 for an exact one.
        estimator: Which estimator, where there are several: ``"exact"``, ``"paper"``, ``"stream"``.
        reason: Why there is no value.
    """

    value: float | None
    label: str
    low: float | None = None
    high: float | None = None
    oracle: bool = False
    bound: float = 0.0
    estimator: str | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; fields that say nothing are left out."""
        short = {"value": self.value, "label": self.label}
        for name in ("low", "high", "estimator", "reason"):
            if getattr(self, name) is not None:
                short[name] = getattr(self, name)
        if self.oracle:
            short["oracle"] = True
        if self.bound:
            short["bound"] = self.bound
        return short
