"""Inspect an image with the champion of its part, and keep what was said."""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

import blemish
from blemish.station.context import Context, find_part
from blemish.station.decoding import Decoded
from blemish.station.tables import Blob, Inspection, Part

GAP = 6  # pixels between two pictures
PREVIEWED = 200  # newest inspections that a threshold is tried on


@dataclass
class _Loaded:
    version_id: str
    false_alarms: float
    detector: blemish.Detector


class Inspector:
    """Keeps the champions of all parts in memory and judges images with them.

    Args:
        context: The station.
    """

    def __init__(self, context: Context):
        self.context = context
        self._loaded: dict[int, _Loaded] = {}
        self._lock = threading.Lock()
        # More at once than there are processors would only make each of them slower.
        self._turn = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))

    def detector(self, part: Part) -> blemish.Detector:
        """The champion of a part at the false-alarm rate that is asked for.

        Raises:
            NotFittedError: The part was not trained yet.
        """
        if part.champion is None:
            raise blemish.DataError(f"{part.name} was not trained yet: train it first.")
        wanted = (part.champion, part.false_alarms)
        with self._lock:
            known = self._loaded.get(part.id)
            if known is None or (known.version_id, known.false_alarms) != wanted:
                detector = blemish.Detector.load(self.context.model_path(part.champion))
                with warnings.catch_warnings():
                    # A promise that few parts cannot keep is said on the page of the threshold.
                    warnings.simplefilter("ignore", blemish.CalibrationWarning)
                    detector.set_false_alarms(part.false_alarms)
                known = self._loaded[part.id] = _Loaded(*wanted, detector)
        return known.detector

    def inspect(self, key: str, name: str, content: bytes, source: str = "upload") -> Inspection:
        """Judge one image and keep image, map, mask and words; they are there when this returns.

        Args:
            key: Of the part.
            name: What the user calls the image; shown, never used as a path.
            content: The bytes of the image file.
            source: ``upload``, ``folder`` or ``camera``.

        Raises:
            ImageError: The image cannot be read.
            MissingError: There is no such part.
            DataError: The part was not trained yet.
        """
        with self.context.database.read() as session:
            part = find_part(session, key)
        detector = self.detector(part)
        decoded = self.context.decoders.image(content)
        started = time.perf_counter()
        with self._turn:
            found = detector.predict(decoded.pixels)
        row = _row(found, part, name, source, decoded.pixels.shape)
        row.seconds = time.perf_counter() - started
        row.audited = is_audited(row.id, self.context.settings.audit_share)
        self._keep(row, content, decoded, found)
        return row

    def _keep(
        self, row: Inspection, content: bytes, decoded: Decoded, found: blemish.Prediction
    ) -> None:
        blobs = self.context.blobs
        heat = blemish.heat_layer(found)
        mask = blemish.to_png_bytes(found.mask) if found.mask.any() else None
        for each in filter(None, (content, heat, mask)):
            blobs.keep(each)  # flushed to disk here, so that the lock below is held shortly
        digest = decoded.digest
        with self.context.database.write() as session:
            row.sha = blobs.record(session, content, decoded.media_type, digest)
            row.heat = blobs.record(session, heat, "image/png")
            row.mask = None if mask is None else blobs.record(session, mask, "image/png")
            session.add(row)

    def likeness(self, row: Inspection) -> bytes | None:
        """The main region of an inspection beside the good place that is most like it.

        Returns:
            PNG of both side by side; None where nothing was flagged, the method keeps no good
            patches, or one of the images is gone.
        """
        if not row.regions or not self.context.blobs.path(row.sha).exists():
            return None
        with self.context.database.read() as session:
            part = session.get_one(Part, row.part_id)
        if row.version_id == part.champion:
            detector = self.detector(part)
        else:
            detector = blemish.Detector.load(self.context.model_path(row.version_id))
        image, box = self._read(row.sha), row.regions[0]["box"]
        found = blemish.find_likeness(detector, image, box, self._by_digest)
        if found is None:
            return None
        gap = np.full((len(found.own), GAP, 3), 255, np.uint8)
        height = min(len(found.own), len(found.good))
        both = [each[:height] for each in (found.own, gap, found.good)]
        return blemish.to_png_bytes(np.concatenate(both, axis=1))

    def _by_digest(self, digest: str) -> NDArray[np.uint8] | None:
        with self.context.database.read() as session:
            sha = session.scalar(select(Blob.sha).where(Blob.digest == digest).limit(1))
        return None if sha is None else self._read(sha)

    def _read(self, sha: str) -> NDArray[np.uint8]:
        return self.context.decoders.image(self.context.blobs.read(sha)).pixels


def is_audited(inspection_id: str, share: float) -> bool:
    """Whether an inspection is drawn for review at random: a uniform draw, blind to the image.

    Args:
        inspection_id: 32 random hex digits.
        share: Share in [0, 1] of all inspections that is drawn.
    """
    return int(inspection_id[-8:], 16) < share * 2**32


def preview(inspector: Inspector, part: Part, rate: float) -> dict[str, Any]:
    """What another false-alarm rate would have said of the newest inspections.

    Returns:
        Plain JSON values: the threshold, the interval of the true rate, and of each inspection of
        the present champion whether it would be flagged.

    Raises:
        OptionError: The rate is not in (0, 1).
        DataError: The part was not trained yet.
    """
    calibration = inspector.detector(part).calibration
    threshold = calibration.threshold(rate)
    low, high = calibration.rate_interval(rate)
    query = (
        select(Inspection)
        .where(Inspection.part_id == part.id, Inspection.version_id == part.champion)
        .order_by(Inspection.created.desc())
        .limit(PREVIEWED)
    )
    with inspector.context.database.read() as session:
        rows = list(session.scalars(query))
    flagged = {row.id: row.score > threshold for row in rows}
    return {
        "false_alarms": rate,
        "threshold": threshold,
        "true_rate": [low, high],
        "smallest_rate": calibration.smallest_rate(),
        "calibration_parts": calibration.group_count,
        "inspections": len(rows),
        "flagged": sum(flagged.values()),
        "flagged_now": sum(row.defective for row in rows),
        "each": flagged,
    }


def _row(
    found: blemish.Prediction, part: Part, name: str, source: str, shape: tuple[int, ...]
) -> Inspection:
    return Inspection(
        id=uuid.uuid4().hex,
        part_id=part.id,
        version_id=part.champion,
        name=name[:300],
        source=source,
        width=shape[1],
        height=shape[0],
        score=float(found.score),
        p_value=float(found.p_value),
        defective=bool(found.defective),
        false_alarms=found.false_alarms,
        threshold=float(found.threshold),
        regions=[region.to_json() for region in found.regions],
    )
