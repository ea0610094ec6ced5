"""Everything out: inspections as a table, reviewed images as a data set folder."""

from __future__ import annotations

import csv
import importlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.errors import MissingExtraError
from blemish.station.blobs import Blobs
from blemish.station.learning import gather
from blemish.station.reviewing import current_review
from blemish.station.tables import Blob, Inspection, Part, Version
from blemish.station.words import moment

COLUMNS = (
    "id", "created", "image", "sha256", "source", "version", "score", "p_value", "defective",
    "false_alarms", "threshold", "audited", "verdict", "defect_type", "reviewed", "painted",
)  # fmt: skip
SUFFIXES = {
    "image/bmp": ".bmp",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
}


def rows(session: Session, part: Part) -> Iterator[dict[str, Any]]:
    """All inspections of a part, oldest first, with what was said of them."""
    numbers = {v.id: v.number for v in session.scalars(select(Version))}
    query = select(Inspection).where(Inspection.part_id == part.id).order_by(Inspection.created)
    for row in session.scalars(query):
        said = current_review(session, row.id) if row.verdict else None
        yield {
            "id": row.id,
            "created": moment(row.created),
            "image": row.name,
            "sha256": row.sha,
            "source": row.source,
            "version": numbers.get(row.version_id),
            "score": row.score,
            "p_value": row.p_value,
            "defective": row.defective,
            "false_alarms": row.false_alarms,
            "threshold": row.threshold,
            "audited": row.audited,
            "verdict": row.verdict,
            "defect_type": said.defect_type if said else None,
            "reviewed": moment(said.created) if said else None,
            "painted": bool(said and said.mask),
        }


def to_csv(session: Session, part: Part) -> str:
    """All inspections as CSV; texts that a spreadsheet would run as a formula are quoted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows(session, part):
        writer.writerow(
            {k: blemish.safe_text(v) if isinstance(v, str) else v for k, v in row.items()}
        )
    return text.getvalue()


def to_parquet(session: Session, part: Part) -> bytes:
    """All inspections as Parquet.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        arrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        raise MissingExtraError("Parquet", "tables") from error
    found = list(rows(session, part))
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({c: [r[c] for r in found] for c in COLUMNS}), buffer)
    return buffer.getvalue()


def write_dataset(session: Session, blobs: Blobs, part: Part, path: Path) -> None:
    """Write a ZIP file of a folder that ``blemish fit`` reads.

    Good images lie in ``train/good``, those kept for comparison in ``test/good``, defects in
    ``test/<type>`` with their masks in ``ground_truth/<type>``.
    """
    material = gather(session, blobs, part, masks=True)
    types = {blob.sha: blob.media_type for blob in session.scalars(select(Blob))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for record in material.data:
            if not isinstance(record.image, Path):
                continue
            sha = record.image.name
            if not record.image.exists():
                raise blemish.DataError(f"The image {sha} is missing from the data folder.")
            kind = folder_name(record.defect_type) if record.defective else "good"
            split = "test" if record.defective else record.split
            suffix = SUFFIXES.get(types.get(sha, ""), ".png")
            archive.write(record.image, f"{split}/{kind}/{sha}{suffix}")
            if isinstance(record.mask, Path):
                archive.write(record.mask, f"ground_truth/{kind}/{sha}.png")


def folder_name(kind: str) -> str:
    """A kind of defect as a folder name that is safe on every system, and never ``good``."""
    safe = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")[:40]
    return f"defect_{safe}" if safe in ("", "good", "ok", "normal", "con", "nul", "aux") else safe
