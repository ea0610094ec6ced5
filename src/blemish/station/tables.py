"""The tables. Rows are never changed in meaning: what was judged, reviewed, promoted stays.

Times are UTC. Images, masks and maps are named by the SHA-256 of their content (`blobs.py`); names
that users give are shown, never used as paths.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKey, Index, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SHA = String(64)
ID = String(32)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment: stored as UTC without a zone, given back with one."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database; a moment without a zone could be any, so it is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"The moment {value} has no time zone.")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {  # noqa: RUF012
        datetime: UtcTime,
        float: Double,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Blob(Base):
    """A file of the content-addressed folder that something here refers to."""

    __tablename__ = "blobs"
    sha: Mapped[str] = mapped_column(SHA, primary_key=True)
    media_type: Mapped[str] = mapped_column(String(40))
    size: Mapped[int]  # bytes
    digest: Mapped[str | None] = mapped_column(String(32), index=True)  # of an image's pixels
    created: Mapped[datetime] = mapped_column(default=now)


class Part(Base):
    """A kind of part that is inspected."""

    __tablename__ = "parts"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(60), unique=True)  # in addresses: a-z, 0-9, -
    name: Mapped[str] = mapped_column(String(200))
    method: Mapped[str] = mapped_column(String(60))
    preset: Mapped[str | None] = mapped_column(String(60))
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    roi: Mapped[str | None] = mapped_column(SHA)
    false_alarms: Mapped[float] = mapped_column(default=0.05)
    created: Mapped[datetime] = mapped_column(default=now)
    # Set by promotion alone. No foreign key: parts and versions would need each other.
    champion: Mapped[str | None] = mapped_column(ID)


class PartImage(Base):
    """A good image that a part was created with."""

    __tablename__ = "part_images"
    id: Mapped[int] = mapped_column(primary_key=True)
    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"), index=True)
    sha: Mapped[str] = mapped_column(SHA)
    name: Mapped[str] = mapped_column(String(300))
    width: Mapped[int]
    height: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=now)
    __table_args__ = (Index("part_images_once", "part_id", "sha", unique=True),)


class Version(Base):
    """A trained detector of a part: one model file ``models/<id>.blemish``."""

    __tablename__ = "versions"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"), index=True)
    number: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=now)
    job_id: Mapped[int | None]
    recipe: Mapped[dict[str, Any] | None]  # None = what the part was created with
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what it learned from, duel


class Promotion(Base):
    """The moment from which on a version judged; `previous` is what a roll back goes to."""

    __tablename__ = "promotions"
    id: Mapped[int] = mapped_column(primary_key=True)
    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"), index=True)
    version_id: Mapped[str] = mapped_column(ID)
    previous: Mapped[str | None] = mapped_column(ID)
    action: Mapped[str] = mapped_column(String(20))  # first | promote | rollback
    created: Mapped[datetime] = mapped_column(default=now)


class Inspection(Base):
    """What a version said of an image, as it was said."""

    __tablename__ = "inspections"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"))
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id"))
    sha: Mapped[str] = mapped_column(SHA)
    name: Mapped[str] = mapped_column(String(300))
    source: Mapped[str] = mapped_column(String(20))  # upload | folder | camera
    width: Mapped[int]
    height: Mapped[int]
    score: Mapped[float]
    p_value: Mapped[float]
    defective: Mapped[bool]
    false_alarms: Mapped[float]
    threshold: Mapped[float]
    regions: Mapped[list[Any]] = mapped_column(default=list)
    heat: Mapped[str | None] = mapped_column(SHA)
    mask: Mapped[str | None] = mapped_column(SHA)
    audited: Mapped[bool]
    seconds: Mapped[float]
    created: Mapped[datetime] = mapped_column(default=now)
    # The review that counts, repeated here for the queue; None = not reviewed.
    verdict: Mapped[str | None] = mapped_column(String(10))  # good | defect | skip
    __table_args__ = (
        Index("inspections_recent", "part_id", "created"),
        Index("inspections_queue", "part_id", "verdict", "audited"),
    )


class Review(Base):
    """What a person said of an inspection. The newest that was not undone counts."""

    __tablename__ = "reviews"
    id: Mapped[int] = mapped_column(primary_key=True)
    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspections.id"), index=True)
    verdict: Mapped[str] = mapped_column(String(10))
    defect_type: Mapped[str | None] = mapped_column(String(80))
    mask: Mapped[str | None] = mapped_column(SHA)
    seconds: Mapped[float] = mapped_column(default=0.0)  # from shown to said
    keys: Mapped[int] = mapped_column(default=0)  # key presses and strokes
    created: Mapped[datetime] = mapped_column(default=now)
    undone: Mapped[datetime | None]


class Job(Base):
    """Work in a process of its own, one at a time, oldest first."""

    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))  # train | relearn
    recipe: Mapped[dict[str, Any] | None]  # None = what the part was created with
    state: Mapped[str] = mapped_column(String(20), default="queued", index=True)
    stage: Mapped[str] = mapped_column(String(60), default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None]  # of this stage
    message: Mapped[str] = mapped_column(String(2000), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
