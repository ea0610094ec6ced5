"""The review queue: who is looked at next, and what a person said."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

import blemish
from blemish.station.context import Context, MissingError, find_part
from blemish.station.tables import Inspection, Part, Review, now

VERDICTS = ("good", "defect", "skip")
UNCERTAIN = math.log(4)  # p-values within a factor of 4 of the asked rate
LOOKED_AT = 1000  # newest inspections without a verdict
UNDO_HOURS = 24


def queue(session: Session, part: Part, limit: int = 50) -> list[tuple[Inspection, str]]:
    """Which inspections to review next, and why each.

    Most uncertain first, then the newest alarms; every second place belongs to the audit, oldest
    first, so that it is done even where the rest never ends.

    Returns:
        Pairs of an inspection and ``uncertain``, ``alarm`` or ``audit``.
    """
    open_ones = list(
        session.scalars(
            select(Inspection)
            .where(Inspection.part_id == part.id, Inspection.verdict.is_(None))
            .order_by(Inspection.created.desc())
            .limit(LOOKED_AT)
        )
    )
    audited = [(i, "audit") for i in reversed(open_ones) if i.audited]
    rest = [i for i in open_ones if not i.audited]
    doubtful = sorted((i for i in rest if uncertainty(i) <= UNCERTAIN), key=uncertainty)
    picked = [(i, "uncertain") for i in doubtful]
    picked += [(i, "alarm") for i in rest if i.defective and uncertainty(i) > UNCERTAIN]
    return _interleave(audited, picked)[:limit]


def uncertainty(inspection: Inspection) -> float:
    """Distance of the p-value from the asked rate, as a logarithm: 0 is the least certain."""
    return abs(math.log(inspection.p_value / inspection.false_alarms))


def _interleave(
    first: list[tuple[Inspection, str]], second: list[tuple[Inspection, str]]
) -> list[tuple[Inspection, str]]:
    both = min(len(first), len(second))
    mixed = [item for pair in zip(first, second, strict=False) for item in pair]
    return mixed + first[both:] + second[both:]


def review(
    context: Context,
    inspection_id: str,
    verdict: str,
    *,
    defect_type: str | None = None,
    mask: bytes | None = None,
    seconds: float = 0.0,
    keys: int = 0,
) -> Review:
    """Keep what a person said of an inspection; it replaces what was said before.

    Args:
        context: The station.
        inspection_id: Which inspection.
        verdict: ``good``, ``defect`` or ``skip``.
        defect_type: Kind of defect, for a defect.
        mask: Bytes of a painted mask of the size of the image, for a defect.
        seconds: From shown to said.
        keys: Key presses and strokes that it took.

    Raises:
        MissingError: There is no such inspection.
        OptionError: Another verdict.
        DataError: The mask has another size than the image, or belongs to no defect.
        ImageError: The mask cannot be read.
    """
    if verdict not in VERDICTS:
        raise blemish.OptionError(f"{verdict[:40]!r} is not one of good, defect and skip.")
    if mask is not None and verdict != "defect":
        raise blemish.DataError("Only a defect has a mask; say defect, or leave the mask out.")
    with context.database.read() as session:
        inspection = find_inspection(session, inspection_id)
    drawn = None if mask is None else _drawn(context, mask, inspection)
    kind = " ".join((defect_type or "").split())[:80] or None
    row = Review(
        inspection_id=inspection.id,
        verdict=verdict,
        defect_type=kind if verdict == "defect" else None,
        seconds=seconds,
        keys=keys,
    )
    with context.database.write() as session:
        if drawn is not None:
            row.mask = context.blobs.record(session, drawn, "image/png")
        session.add(row)
        session.get_one(Inspection, inspection.id).verdict = verdict
    return row


def _drawn(context: Context, content: bytes, inspection: Inspection) -> bytes | None:
    """A painted mask as our own PNG file, on disk; None where nothing is painted."""
    mask = context.decoders.mask(content)
    if mask.shape != (inspection.height, inspection.width):
        raise blemish.DataError(
            f"The mask is {mask.shape[1]}×{mask.shape[0]} pixels, the image {inspection.width}×"
            f"{inspection.height}; paint at the size of the image."
        )
    if not mask.any():
        return None  # a defect whose place is not known
    drawn = blemish.to_png_bytes(mask)
    context.blobs.keep(drawn)
    return drawn


def find_inspection(session: Session, inspection_id: str) -> Inspection:
    """The inspection with this name.

    Raises:
        MissingError: There is none.
    """
    found = session.get(Inspection, inspection_id)
    if found is None:
        raise MissingError(f"There is no inspection {inspection_id[:40]!r}.")
    return found


def undo(context: Context, key: str) -> Inspection:
    """Take back the last review of a part; what was said before counts again.

    Raises:
        DataError: There is nothing to take back.
    """
    with context.database.write() as session:
        part = find_part(session, key)
        last = session.scalar(
            select(Review)
            .join(Inspection)
            .where(Inspection.part_id == part.id, Review.undone.is_(None))
            .where(Review.created > now() - timedelta(hours=UNDO_HOURS))
            .order_by(Review.id.desc())
            .limit(1)
        )
        if last is None:
            raise blemish.DataError("There is no review of the last 24 hours to take back.")
        last.undone = now()
        session.flush()
        inspection = session.get_one(Inspection, last.inspection_id)
        before = current_review(session, inspection.id)
        inspection.verdict = None if before is None else before.verdict
        return inspection


def current_review(session: Session, inspection_id: str) -> Review | None:
    """The review that counts."""
    query = select(Review).where(Review.inspection_id == inspection_id, Review.undone.is_(None))
    return session.scalar(query.order_by(Review.id.desc()).limit(1))


def defect_types(session: Session, part: Part) -> list[str]:
    """Kinds of defect that were named for a part, in order of name."""
    query = select(Review.defect_type).join(Inspection).where(Inspection.part_id == part.id)
    return sorted({kind for kind in session.scalars(query.distinct()) if kind})


def effort(session: Session, part: Part) -> dict[str, Any]:
    """What reviewing costs: how many, seconds and key presses each, without breaks."""
    query = (
        select(func.count(), func.avg(Review.seconds), func.avg(Review.keys))
        .join(Inspection)
        .where(Inspection.part_id == part.id, Review.undone.is_(None))
        .where(Review.seconds > 0, Review.seconds < 300)
    )
    count, seconds, keys = session.execute(query).one()
    return {"reviews": count, "seconds": float(seconds or 0), "keys": float(keys or 0)}
