"""Parts: create one, give it good images and a region of interest, train it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

import blemish
from blemish.station.context import Context, find_part
from blemish.station.database import insert_once
from blemish.station.recipes import Recipe, own_recipe
from blemish.station.tables import Job, Part, PartImage, now

FEWEST_IMAGES = 4
WORKING = ("queued", "running", "cancelling")


@dataclass
class Added:
    """What became of images that were given.

    Attributes:
        new: Images that were added.
        known: Images that the part had already, by content.
        refused: One sentence per image that could not be read.
        notes: What was understood of a folder.
    """

    new: int = 0
    known: int = 0
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def create_part(
    session: Session,
    name: str,
    method: str = "patchcore",
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Part:
    """Create a part; its method and options are tried at once.

    Raises:
        OptionError: An empty name, or a method, preset or option that does not exist.
    """
    shown = " ".join(name.split())
    if not shown or len(shown) > 200:
        raise blemish.OptionError("A part needs a name of 1 to 200 characters.")
    options = dict(options or {})
    if forbidden := {"roi", "weights", "seed"} & set(options):
        raise blemish.OptionError(f"{min(forbidden)} cannot be set here; paint the region instead.")
    detector = blemish.Detector(method, preset, **options)
    part = Part(
        key=_free_key(session, shown),
        name=shown,
        method=method,
        preset=preset,
        options=options,
        false_alarms=detector.false_alarms,
    )
    session.add(part)
    session.flush()
    return part


def _free_key(session: Session, name: str) -> str:
    """A short text of a-z, 0-9 and - that no other part has."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "part"
    taken = set(session.scalars(select(Part.key).where(Part.key.startswith(base))))
    key, number = base, 1
    while key in taken:
        number += 1
        key = f"{base}-{number}"
    return key


def add_image(context: Context, key: str, name: str, content: bytes, added: Added) -> None:
    """Add one good image; an unreadable one is noted, not raised."""
    try:
        decoded = context.decoders.image(content)
    except blemish.ImageError as error:
        added.refused.append(f"{name[:100]}: {error}")
        return
    context.blobs.keep(content)
    height, width = decoded.pixels.shape[:2]
    with context.database.write() as session:
        part = find_part(session, key)
        sha = context.blobs.record(session, content, decoded.media_type, decoded.digest)
        values = {"part_id": part.id, "sha": sha, "name": name[:300], "created": now()}
        if insert_once(session, PartImage, **values, width=width, height=height):
            added.new += 1
        else:
            added.known += 1


def add_folder(context: Context, key: str, folder: str) -> Added:
    """Add the good training images of a folder, a manifest or a known data set on this machine.

    Raises:
        BlemishError: The folder does not exist or is not understood.
    """
    data = blemish.open_dataset(folder)
    good = data.select("train", defective=False)
    left = len(data) - len(good)
    added = Added(notes=[f"{len(good)} good training images found in {data.name}.", *data.warnings])
    if left:
        added.notes.append(f"{left} defective or test images were left where they are.")
    for record in good:
        content = (
            blemish.to_png_bytes(record.image())
            if callable(record.image)
            else Path(record.image).read_bytes()
        )
        add_image(context, key, record.key.rsplit("/", 1)[-1], content, added)
    return added


def set_roi(context: Context, key: str, content: bytes | None) -> None:
    """Set the region of interest, painted as a mask, or take it away.

    It counts from the next training on.

    Raises:
        DataError: The mask is empty or has another size than the images.
    """
    drawn = None
    if content is not None:
        mask = context.decoders.mask(content)
        if not mask.any():
            raise blemish.DataError("The region of interest is empty: paint what is inspected.")
        with context.database.read() as session:
            part = find_part(session, key)
            query = select(PartImage).where(PartImage.part_id == part.id).limit(1)
            image = session.scalar(query)
        if image and mask.shape != (image.height, image.width):
            raise blemish.DataError(
                f"The region is {mask.shape[1]}×{mask.shape[0]} pixels, the images of this part "
                f"are {image.width}×{image.height}; paint it on one of them."
            )
        drawn = blemish.to_png_bytes(mask)
        context.blobs.keep(drawn)
    with context.database.write() as session:
        record = context.blobs.record
        sha = None if drawn is None else record(session, drawn, "image/png")
        find_part(session, key).roi = sha


def ask_for_job(session: Session, key: str, kind: str, recipe: Recipe | None = None) -> Job:
    """Put a training into the queue, or give back the one that waits already.

    Args:
        session: Writes.
        key: Of the part.
        kind: ``train`` or ``relearn``.
        recipe: Of the challenger; None = what the part was created with.

    Raises:
        DataError: The part has too few images, or nothing to compare with.
    """
    part = find_part(session, key)
    made_of = (recipe or own_recipe(part)).to_json()
    waiting = session.scalars(
        select(Job).where(Job.part_id == part.id, Job.kind == kind, Job.state.in_(WORKING))
    )
    if same := [job for job in waiting if job.recipe == made_of]:
        return same[0]
    count = count_images(session, part)
    if count < FEWEST_IMAGES:
        raise blemish.DataError(
            f"{part.name} has {count} good images; training needs at least {FEWEST_IMAGES}, and "
            "some dozens to promise a false-alarm rate."
        )
    if kind == "relearn" and part.champion is None:
        raise blemish.DataError(f"{part.name} was not trained yet: train it first.")
    job = Job(part_id=part.id, kind=kind, recipe=made_of)
    session.add(job)
    session.flush()
    return job


def count_images(session: Session, part: Part) -> int:
    """How many good images the part was given."""
    query = select(func.count()).select_from(PartImage).where(PartImage.part_id == part.id)
    return session.scalar(query) or 0
