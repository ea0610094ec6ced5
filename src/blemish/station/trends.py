"""How a line behaves over time, and since when it no longer behaves as it was calibrated.

P-values of good parts are uniform as long as parts, camera and light are as they were. A cumulative
sum [1] of their deviation finds when they stop being so, on either side: smaller ones mean that
good parts look odder than they did, larger ones that the detector sees less.

[1] E. S. Page, "Continuous Inspection Schemes", Biometrika 41, 1954.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.tables import Inspection, Part, Version
from blemish.station.words import moment

# Half a standard deviation is let pass: a tenth of defective parts moves the mean by a sixth, few
# calibration parts by as much. With both, the sum reaches 25 by chance once in millions of parts.
SLACK, ALARM = 0.5, 25.0
SURPRISING = 0.01  # a chance below which the promise is called broken


@dataclass(frozen=True)
class Drift:
    """A change that lasts.

    Attributes:
        began: Index of the first value after the change.
        noticed: Index of the value at which it was certain.
        odder: True where good parts look odder than before, False where less odd.
    """

    began: int
    noticed: int
    odder: bool


def find_drift(p_values: Sequence[float]) -> Drift | None:
    """Find the first lasting change of p-values that should be uniform.

    Args:
        p_values: In (0, 1], oldest first.
    """
    for odder in (True, False):
        total, began = 0.0, 0
        for i, p_value in enumerate(p_values):
            deviation = (0.5 - p_value) * math.sqrt(12)  # of a uniform value: mean 0, variance 1
            total = max(0.0, total + (deviation if odder else -deviation) - SLACK)
            if total == 0:
                began = i + 1
            elif total > ALARM:
                return Drift(began, i, odder)
    return None


def trend(session: Session, part: Part, days: int = 60) -> dict[str, Any]:
    """What happened on each of the newest days, and whether the present champion has drifted.

    Returns:
        Plain JSON values: ``days`` (day, inspections, flagged, score quantiles, distance of the
        p-values from uniform, reviewed defects), ``drift`` or None, and ``promise``: whether the
        p-values of audited good parts are uniform, or None. Days are those of UTC.
    """
    query = select(Inspection).where(Inspection.part_id == part.id).order_by(Inspection.created)
    rows = list(session.scalars(query))
    daily = [_day(day, list(group)) for day, group in groupby(rows, lambda r: r.created.date())]
    # What a person called defective is no news of camera or light.
    judged = [r for r in rows if r.version_id == part.champion and r.verdict != "defect"]
    drift = find_drift([r.p_value for r in judged])
    return {
        "days": daily[-days:],
        "drift": _describe(drift, [r.created for r in judged]),
        "promise": _promise(session, part, judged),
    }


def _promise(session: Session, part: Part, judged: list[Inspection]) -> dict[str, Any] | None:
    """Whether p-values are what they promise: of audited good parts alone, a draw of production.

    None of them was learned from or calibrated on when its p-value was computed.
    """
    audited = [r.p_value for r in judged if r.audited and r.verdict == "good"]
    version = session.get(Version, part.champion) if part.champion else None
    if version is None or not audited:
        return None
    figures = blemish.uniformity_figures(audited, version.figures.get("calibration_parts"))
    chance = figures["p_value_ks_test"].value
    kept = chance is None or chance >= SURPRISING
    return {
        "parts": len(audited),
        "distance": figures["p_value_ks"].value,
        "chance": chance,
        "text": f"The p-values of {len(audited)} audited good parts "
        + ("fit" if kept else "do not fit")
        + f" the promise (Kolmogorov-Smirnov test: p = {chance:.2g}).",
    }


def _day(day: Any, rows: list[Inspection]) -> dict[str, Any]:
    scores = [r.score for r in rows]
    p_values = np.sort([r.p_value for r in rows if r.verdict != "defect"])
    steps = np.arange(len(p_values) + 1) / max(len(p_values), 1)
    gap = np.abs(np.concatenate([steps[1:] - p_values, p_values - steps[:-1]]))
    low, middle, high = np.quantile(scores, (0.1, 0.5, 0.9))
    return {
        "day": day.isoformat(),
        "inspections": len(rows),
        "flagged": sum(r.defective for r in rows),
        "reviewed": sum(r.verdict is not None for r in rows),
        "defects": sum(r.verdict == "defect" for r in rows),
        "score": [float(low), float(middle), float(high)],
        "p_value_distance": float(gap.max()) if len(p_values) else None,
    }


def _describe(drift: Drift | None, moments: list[datetime]) -> dict[str, Any] | None:
    if drift is None:
        return None
    how = "odder" if drift.odder else "less odd"
    return {
        "began": moment(moments[drift.began]),
        "noticed": moment(moments[drift.noticed]),
        "odder": drift.odder,
        "text": f"Good parts look {how} than those of the calibration since "
        f"{moment(moments[drift.began])}. Check camera, light and material; when all is as it "
        "should be, review some parts and relearn.",
    }
