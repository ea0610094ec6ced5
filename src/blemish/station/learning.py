"""What a version learns from, and how a challenger is measured against the champion.

Of the reviewed parts only audited ones, a uniform random draw, stand for production: queue picks
were picked for their looks. So only audited good ones calibrate, and half of all audited ones, good
and defective, by the hash of their image, are kept for the duel: never learned from, never
calibrated on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.blobs import Blobs
from blemish.station.tables import Inspection, Part, PartImage, Review

SHOWN = ("image_auroc", "false_alarm_rate", "miss_rate", "pixel_f1")


@dataclass(frozen=True)
class Material:
    """What a part has to learn from.

    Attributes:
        data: Training images and, as ``test``, those kept for the duel.
        counts: Kind of image to how many there are, for people.
    """

    data: blemish.DataSet
    counts: dict[str, int]


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
    first = list(session.scalars(select(PartImage).where(PartImage.part_id == part.id)))
    records = [_record(blobs, f"first/{image.sha}", image.sha) for image in first]
    counts = {"first": len(records), "good": 0, "calibrating": 0, "painted": 0, "kept": 0}
    known = {image.sha for image in first}
    for review in reviewed(session, part):
        record = None if review.sha in known else _reviewed_record(blobs, review, masks)
        if record is not None:
            records.append(record)
            for name in _kinds(record):
                counts[name] += 1
    return Material(blemish.DataSet(part.name, tuple(records)), counts)


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


def make_detector(part: Part, blobs: Blobs) -> blemish.Detector:
    """A detector of the part's method and options that has not learned yet."""
    roi = {} if part.roi is None else {"roi": str(blobs.path(part.roi))}
    detector = blemish.Detector(part.method, part.preset, **{**part.options, **roi})
    detector.set_false_alarms(part.false_alarms)
    return detector


def duel(
    champion: blemish.Detector,
    challenger: blemish.Detector,
    data: blemish.DataSet,
    progress: blemish.Progress,
) -> dict[str, Any]:
    """Measure both on images that neither has seen, pair by pair.

    Returns:
        Plain JSON values: ``images``, ``defective``, ``figures`` (name to both values),
        ``difference`` of the image AUROC with its 95 % interval, ``better``, ``reason``.
    """
    seen = champion.seen | challenger.seen
    test = data.select("test")
    fair = tuple(r for r in test if test.hashes[r.key] not in seen)
    defective = sum(r.defective for r in fair)
    found: dict[str, Any] = {"images": len(fair), "defective": defective, "better": False}
    if not defective or defective == len(fair):
        kind = "defective" if not defective else "good"
        return found | {
            "reason": f"Among the {len(fair)} audited parts kept for this comparison none is "
            f"{kind}: review more of the audit before promoting."
        }
    comparison = blemish.compare(
        challenger, champion, replace(test, records=fair), progress=progress, examples=0
    )
    new, old = (evaluation.figures for evaluation in comparison.evaluations)
    found["figures"] = {
        name: {"label": new[name].label, "challenger": new[name].value, "champion": old[name].value}
        for name in SHOWN
        if name in new and name in old
    }
    difference = comparison.differences["Image AUROC"]
    found["difference"] = {key: float(value) for key, value in difference._asdict().items()}
    found["better"] = difference.low > 0
    return found
