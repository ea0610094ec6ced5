"""Old images go, reviewed ones stay; what was said of them stays in any case."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.orm import Session, aliased

from blemish.station.background import Background
from blemish.station.context import Context
from blemish.station.tables import Blob, Inspection, Part, PartImage, Review, now

HOUR = 3600.0
AT_ONCE = 200  # inspections looked at before the disk is measured again


@dataclass(frozen=True)
class Freed:
    """What was deleted.

    Attributes:
        files: Number of files.
        bytes: Their size.
    """

    files: int
    bytes: int


def clean(context: Context, days: float | None, gigabytes: float | None) -> Freed:
    """Delete images of inspections that nobody reviewed: those too old, then the oldest of all.

    Args:
        context: The station.
        days: Age from which they are deleted; None = no age.
        gigabytes: Size (10^9 bytes) that the image folder may have; None = any.
    """
    freed = Freed(0, 0)
    while True:
        with context.database.write() as session:
            if session.get_bind().dialect.name == "postgresql":
                # Nobody names a file while it is decided which are not needed.
                session.execute(text("LOCK TABLE blobs IN ACCESS EXCLUSIVE MODE"))
            going = _next(session, days, gigabytes)
            one = _delete(session, context, going)
        freed = Freed(freed.files + one.files, freed.bytes + one.bytes)
        if not one.files:
            return freed


def _next(session: Session, days: float | None, gigabytes: float | None) -> list[Inspection]:
    """The oldest inspections whose images may go now; none when all limits are kept."""
    newer = aliased(Inspection)
    again = exists().where(newer.sha == Inspection.sha, newer.created > Inspection.created)
    # The same image may be in inspections that were reviewed.
    reviewed = select(Inspection.sha).where(Inspection.verdict.is_not(None))
    query = (
        select(Inspection)
        .join(Blob, Blob.sha == Inspection.sha)
        .where(Inspection.verdict.is_(None))
        .where(Inspection.sha.not_in(select(PartImage.sha)))
        .where(Inspection.sha.not_in(reviewed), ~again)
        .order_by(Inspection.created)
        .limit(AT_ONCE)
    )
    if days is not None:
        cutoff = now() - timedelta(days=days)
        if old := list(session.scalars(query.where(Inspection.created < cutoff))):
            return old
    if gigabytes is not None:
        too_much = (session.scalar(select(func.sum(Blob.size))) or 0) - gigabytes * 1e9
        chosen: list[Inspection] = []
        for row in session.scalars(query):
            if too_much <= 0:
                break
            chosen.append(row)
            shas = [row.sha, row.heat, row.mask]
            too_much -= session.scalar(select(func.sum(Blob.size)).where(Blob.sha.in_(shas))) or 0
        return chosen
    return []


def _delete(session: Session, context: Context, going: list[Inspection]) -> Freed:
    images = {row.sha for row in going}
    same = list(session.scalars(select(Inspection).where(Inspection.sha.in_(images))))
    ids = {row.id for row in same}
    wanted = {sha for row in same for sha in (row.sha, row.heat, row.mask) if sha}
    wanted -= _still_needed(session, wanted, ids)
    blobs = list(session.scalars(select(Blob).where(Blob.sha.in_(wanted))))
    session.execute(delete(Blob).where(Blob.sha.in_(wanted)))
    for blob in blobs:
        context.blobs.path(blob.sha).unlink(missing_ok=True)
    return Freed(len(blobs), sum(blob.size for blob in blobs))


def _still_needed(session: Session, shas: set[str], going: set[str]) -> set[str]:
    """Files that something else refers to as well: a map of a reviewed part, a painted mask."""
    needed = set(session.scalars(select(Review.mask).where(Review.mask.in_(shas))))
    needed |= set(session.scalars(select(Part.roi).where(Part.roi.in_(shas))))
    for column in (Inspection.heat, Inspection.mask):
        query = select(Inspection.id, column).where(
            column.in_(shas), Inspection.verdict.is_not(None)
        )
        needed |= {sha for row, sha in session.execute(query) if row not in going}
    return {sha for sha in needed if sha}


class Janitor(Background):
    """A thread that cleans once an hour.

    Args:
        context: The station, whose settings say what may stay.
    """

    def __init__(self, context: Context):
        super().__init__(context, "janitor")

    def start(self) -> None:
        """Begin, where there is a limit."""
        settings = self.context.settings
        if settings.keep_days is not None or settings.keep_gb is not None:
            super().start()

    def _loop(self) -> None:
        settings = self.context.settings
        while not self._stop.is_set():
            clean(self.context, settings.keep_days, settings.keep_gb)
            self._stop.wait(HOUR)
