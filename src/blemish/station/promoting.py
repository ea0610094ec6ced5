"""Which version judges: promotion and roll back, each a row that stays."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.context import MissingError
from blemish.station.tables import Part, Promotion, Version


def promote(session: Session, version_id: str) -> Version:
    """Let a version judge from now on.

    Raises:
        MissingError: There is no such version.
        DataError: It judges already.
    """
    version = session.get(Version, version_id)
    if version is None:
        raise MissingError(f"There is no version {version_id[:40]!r}.")
    part = session.get_one(Part, version.part_id)
    if part.champion == version.id:
        raise blemish.DataError(f"Version {version.number} of {part.name} judges already.")
    _change(session, part, version.id, "promote")
    return version


def roll_back(session: Session, part: Part) -> Version:
    """Let the version before the present one judge again.

    Raises:
        DataError: There was none before.
    """
    previous = previous_champion(session, part)
    if previous is None:
        raise blemish.DataError(f"{part.name} has no earlier version to go back to.")
    _change(session, part, previous.id, "rollback")
    return previous


def previous_champion(session: Session, part: Part) -> Version | None:
    """What a roll back goes to: whatever judged before the present champion was promoted."""
    query = select(Promotion).where(
        Promotion.part_id == part.id,
        Promotion.version_id == part.champion,
        Promotion.action != "rollback",
    )
    last = session.scalar(query.order_by(Promotion.id.desc()).limit(1))
    return session.get(Version, last.previous) if last and last.previous else None


def _change(session: Session, part: Part, version_id: str, action: str) -> None:
    session.add(
        Promotion(part_id=part.id, version_id=version_id, previous=part.champion, action=action)
    )
    part.champion = version_id
