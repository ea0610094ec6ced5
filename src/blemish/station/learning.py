"""What a version learns from, and how a challenger is measured against the champion.

Of the reviewed parts only audited ones, a uniform random draw, stand for production: queue picks
were picked for their looks. So only audited good ones calibrate, and half of all audited ones, good
and defective, by the hash of their image, are kept for the duel: never learned from, never
calibrated on. As soon as the other half can keep the promised rate it alone calibrates: the first
images show the line as it was then.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.blobs import Blobs
from blemish.station.tables import Inspection, Part, PartImage, Review

SHOWN = ("image_auroc", "false_alarm_rate", "miss_rate", "pixel_f1")
USUAL_SHARE = 0.2  # of the good parts calibrates
JUDGED_BY = ("Image AUROC", "Balanced accuracy")
FEWEST_OF_A_KIND = 5  # that all of five turn out better by luck happens once in 32 times


@dataclass(frozen=True)
class Material:
    """What a part has to learn from.

    Attributes:
        data: Training images and, as ``test``, those kept for the duel.
        counts: Kind of image to how many there are, for people.
        calibration: Options of the detector where audited good parts alone calibrate; else none.
    """

    data: blemish.DataSet
    counts: dict[str, int]
    calibration: dict[str, Any]


@dataclass(frozen=True)
class Reviewed:
    """One image with the verdict that counts."""

    sha: str
    verdict: str
    audited: bool
    mask: str | None
    defect_type: str | None


def is_kept(sha: str) -> bool:
    """Whether an audited image is kept for the duel: half of all, for ever the same half."""
    return hashlib.sha256(f"duel|{sha}".encode()).digest()[0] < 128


def gather(session: Session, blobs: Blobs, part: Part, masks: bool) -> Material:
    """Everything that a version of a part may learn from, and what it is measured with.

    Args:
        session: Reads.
        blobs: Where the images are.
        part: The part.
        masks: Whether the method learns from painted defects.
    """
    first = list(session.scalars(select(PartImage.sha).where(PartImage.part_id == part.id)))
    counts = {"first": len(first), "good": 0, "calibrating": 0, "painted": 0, "kept": 0}
    records, known = [], set(first)
    for review in reviewed(session, part):
        record = None if review.sha in known else _reviewed_record(blobs, review, masks)
        if record is not None:
            records.append(record)
            for name in _kinds(record):
                counts[name] += 1
    needed = math.ceil(1 / part.false_alarms) - 1
    alone = counts["calibrating"] >= needed
    old = [replace(_record(blobs, f"first/{sha}", sha), calibrates=not alone) for sha in first]
    data = blemish.DataSet(part.name, (*old, *records))
    if not alone:
        return Material(data, counts, {})
    share = needed / len(data.select("train", defective=False))
    # One fit: several would learn from all audited parts as well.
    how = {"calibration": "split", "calibration_share": min(max(USUAL_SHARE, share), 0.9)}
    return Material(data, counts, how)


def reviewed(session: Session, part: Part) -> list[Reviewed]:
    """Each reviewed image once; the newest verdict counts, and being audited once is enough."""
    query = (
        select(Inspection, Review)
        .join(Review, Review.inspection_id == Inspection.id)
        .where(Inspection.part_id == part.id, Review.undone.is_(None))
        .where(Inspection.verdict.in_(("good", "defect")))
        .order_by(Review.id)
    )
    found: dict[str, Reviewed] = {}
    for inspection, review in session.execute(query):
        before = found.get(inspection.sha)
        audited = inspection.audited or (before is not None and before.audited)
        found[inspection.sha] = Reviewed(
            inspection.sha, review.verdict, audited, review.mask, review.defect_type
        )
    return [r for r in found.values() if r.verdict in ("good", "defect")]


def _record(blobs: Blobs, key: str, sha: str) -> blemish.Record:
    return blemish.Record(key, blobs.path(sha), False, "good", sha, "train")


def _reviewed_record(blobs: Blobs, review: Reviewed, masks: bool) -> blemish.Record | None:
    record = _record(blobs, f"{review.verdict}/{review.sha}", review.sha)
    if review.verdict == "defect":
        mask = blobs.path(review.mask) if review.mask else None
        kind = review.defect_type or "defect"
        record = replace(record, defective=True, defect_type=kind, mask=mask)
    if review.audited and is_kept(review.sha):
        return replace(record, split="test")
    if review.verdict == "good":
        return replace(record, calibrates=review.audited)
    return record if masks and review.mask else None


def _kinds(record: blemish.Record) -> list[str]:
    if record.split == "test":
        return ["kept"]
    if record.defective:
        return ["painted"]
    return ["good", "calibrating"] if record.calibrates else ["good"]


def duel(
    champion: blemish.Detector,
    challenger: blemish.Detector,
    data: blemish.DataSet,
    progress: blemish.Progress,
) -> dict[str, Any]:
    """Measure both on images that neither has seen, pair by pair.

    Better is what is measurably so on enough parts: an interval above zero, of the ranking or of
    the decisions, and none below.

    Returns:
        Plain JSON values: ``images``, ``defective``, ``figures`` (name to both values),
        ``differences`` (label to challenger minus champion with its 95 % interval), ``better``, and
        ``reason`` where it cannot be told.
    """
    seen = champion.seen | challenger.seen
    test = data.select("test")
    fair = tuple(r for r in test if test.hashes[r.key] not in seen)
    defective = sum(r.defective for r in fair)
    good = len(fair) - defective
    found: dict[str, Any] = {"images": len(fair), "defective": defective, "better": False}
    if min(good, defective) < FEWEST_OF_A_KIND:
        found["reason"] = (
            f"Audited parts kept for this comparison: {good} good, {defective} defective. Below "
            f"{FEWEST_OF_A_KIND} of a kind luck cannot be told from progress: review more of the "
            "audit."
        )
    if not good or not defective:
        return found
    comparison = blemish.compare(
        challenger, champion, replace(test, records=fair), progress=progress, examples=0
    )
    new, old = (evaluation.figures for evaluation in comparison.evaluations)
    found["figures"] = {
        name: {"label": new[name].label, "challenger": new[name].value, "champion": old[name].value}
        for name in SHOWN
        if name in new and name in old
    }
    differences = [comparison.differences[label] for label in JUDGED_BY]
    found["differences"] = {
        label: {key: float(value) for key, value in each._asdict().items()}
        for label, each in zip(JUDGED_BY, differences, strict=True)
    }
    measurable = any(each.low > 0 for each in differences)
    worse = any(each.high < 0 for each in differences)
    found["better"] = measurable and not worse and "reason" not in found
    return found
