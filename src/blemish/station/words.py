"""Numbers in words, for operators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blemish.station.tables import Inspection, Job, Part, Promotion, Review, Version


def p_in_words(p_value: float) -> str:
    """Say a p-value as a frequency among good parts.

    Args:
        p_value: In (0, 1].
    """
    if p_value > 2 / 3:
        return "most good parts look at least this odd"
    return f"1 good part in {round(1 / p_value):,} looks this odd".replace(",", "\u202f")


def percent(share: float) -> str:
    """A share as a percentage of two meaningful digits."""
    return f"{share * 100:.2g}\u202f%" if share < 0.995 else f"{share * 100:.0f}\u202f%"


def duration(seconds: float | None) -> str:
    """A duration as people say it."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def moment(value: datetime | None) -> str:
    """A moment in UTC, as ISO 8601 with seconds."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def inspection_json(row: Inspection) -> dict[str, Any]:
    """An inspection as the API gives it."""
    return {
        "id": row.id,
        "image": row.name,
        "image_url": f"/files/{row.sha}",
        "heat_url": f"/files/{row.heat}" if row.heat else None,
        "mask_url": f"/files/{row.mask}" if row.mask else None,
        "page": f"/inspections/{row.id}",
        "version": row.version_id,
        "width": row.width,
        "height": row.height,
        "score": row.score,
        "p_value": row.p_value,
        "in_words": p_in_words(row.p_value),
        "defective": row.defective,
        "false_alarms": row.false_alarms,
        "threshold": row.threshold,
        "regions": row.regions,
        "audited": row.audited,
        "verdict": row.verdict,
        "source": row.source,
        "created": moment(row.created),
        "seconds": row.seconds,
    }


def part_json(row: Part) -> dict[str, Any]:
    """A part as the API gives it."""
    return {
        "key": row.key,
        "name": row.name,
        "method": row.method,
        "preset": row.preset,
        "options": row.options,
        "false_alarms": row.false_alarms,
        "champion": row.champion,
        "roi_url": f"/files/{row.roi}" if row.roi else None,
        "created": moment(row.created),
    }


def job_json(row: Job) -> dict[str, Any]:
    """A job as the API gives it."""
    return {
        "id": row.id,
        "kind": row.kind,
        "recipe": row.recipe,
        "state": row.state,
        "stage": row.stage,
        "done": row.done,
        "total": row.total,
        "seconds_left": row.seconds_left if row.state == "running" else None,
        "message": row.message,
        "created": moment(row.created),
        "finished": moment(row.finished),
    }


def review_json(row: Review) -> dict[str, Any]:
    """A review as the API gives it."""
    return {
        "id": row.id,
        "inspection": row.inspection_id,
        "verdict": row.verdict,
        "defect_type": row.defect_type,
        "mask_url": f"/files/{row.mask}" if row.mask else None,
        "created": moment(row.created),
    }


def version_json(row: Version) -> dict[str, Any]:
    """A version as the API gives it."""
    return {
        "id": row.id,
        "number": row.number,
        "recipe": row.recipe,
        "figures": row.figures,
        "created": moment(row.created),
    }


def promotion_json(row: Promotion) -> dict[str, Any]:
    """A promotion as the API gives it."""
    return {
        "version": row.version_id,
        "previous": row.previous,
        "action": row.action,
        "created": moment(row.created),
    }
