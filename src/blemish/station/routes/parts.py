"""API: parts, their images, trainings, versions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, File, UploadFile
from pydantic import BaseModel, Field
from sqlalchemy import select

from blemish.station import parts, promoting
from blemish.station.context import MissingError, find_part
from blemish.station.jobs import cancel
from blemish.station.recipes import challenger_recipe, learn_from_masks
from blemish.station.routes.common import PROBLEMS, Station
from blemish.station.tables import Job, Part, Promotion, Version
from blemish.station.words import job_json, part_json, promotion_json, version_json

LARGEST_ID = 2**31 - 1
router = APIRouter(prefix="/api", responses=PROBLEMS)


class NewPart(BaseModel):
    """A part to create."""

    name: str = Field(min_length=1, max_length=200)
    method: str = "patchcore"
    preset: str | None = None
    options: dict[str, str | int | float | bool | None] = {}


class Challenger(BaseModel):
    """What the next version may be; without a method it is made as the part was created."""

    method: str | None = None


class FolderName(BaseModel):
    """A folder, a manifest or a known data set on the machine that the station runs on."""

    folder: str = Field(min_length=1, max_length=1000)


@router.get("/challengers")
def list_challengers() -> list[str]:
    """List the methods that learn from painted defects."""
    return list(learn_from_masks())


@router.get("/parts")
def list_parts(station: Station) -> list[dict[str, Any]]:
    """List all parts."""
    with station.database.read() as session:
        return [part_json(part) for part in session.scalars(select(Part).order_by(Part.name))]


@router.post("/parts", status_code=201)
def create(station: Station, new: NewPart) -> dict[str, Any]:
    """Create a part."""
    with station.database.write() as session:
        made = parts.create_part(session, new.name, new.method, new.preset, new.options)
        session.flush()
        return part_json(made)


@router.get("/parts/{part}")
def show(station: Station, part: str) -> dict[str, Any]:
    """One part, its number of good images, its versions and its newest jobs."""
    with station.database.read() as session:
        row = find_part(session, part)
        versions = select(Version).where(Version.part_id == row.id).order_by(Version.number)
        jobs = select(Job).where(Job.part_id == row.id).order_by(Job.id.desc()).limit(5)
        changes = select(Promotion).where(Promotion.part_id == row.id).order_by(Promotion.id)
        return part_json(row) | {
            "images": parts.count_images(session, row),
            "versions": [version_json(v) for v in session.scalars(versions)],
            "jobs": [job_json(job) for job in session.scalars(jobs)],
            "promotions": [promotion_json(p) for p in session.scalars(changes)],
        }


@router.post("/parts/{part}/images")
def add_images(
    station: Station, part: str, images: Annotated[list[UploadFile], File()]
) -> dict[str, Any]:
    """Add good images; those that cannot be read are named, the others are kept."""
    with station.database.read() as session:
        find_part(session, part)
    added = parts.Added()
    for image in images:
        parts.add_image(station, part, image.filename or "image", image.file.read(), added)
    return vars(added)


@router.post("/parts/{part}/folder")
def add_folder(station: Station, part: str, given: FolderName) -> dict[str, Any]:
    """Add the good training images of a folder on the machine that the station runs on."""
    with station.database.read() as session:
        find_part(session, part)
    return vars(parts.add_folder(station, part, given.folder))


@router.put("/parts/{part}/roi")
def set_roi(
    station: Station, part: str, mask: Annotated[bytes, Body(media_type="image/png")] = b""
) -> dict[str, Any]:
    """Set the region of interest by a mask; an empty body takes it away."""
    parts.set_roi(station, part, mask or None)
    with station.database.read() as session:
        return part_json(find_part(session, part))


@router.post("/parts/{part}/train", status_code=202)
def train(station: Station, part: str) -> dict[str, Any]:
    """Train a version from the good images and everything that was reviewed."""
    with station.database.write() as session:
        return job_json(parts.ask_for_job(session, part, "train"))


@router.post("/parts/{part}/relearn", status_code=202)
def relearn(station: Station, part: str, challenger: Challenger | None = None) -> dict[str, Any]:
    """Train a challenger and compare it with the champion on parts that neither has seen."""
    method = None if challenger is None else challenger.method
    with station.database.read() as session:
        row = find_part(session, part)
    recipe = challenger_recipe(row, method)  # may load a library: not while others wait to write
    with station.database.write() as session:
        return job_json(parts.ask_for_job(session, part, "relearn", recipe))


@router.get("/jobs/{job}")
def show_job(station: Station, job: int) -> dict[str, Any]:
    """How far a job is."""
    with station.database.read() as session:
        row = session.get(Job, job) if 0 <= job <= LARGEST_ID else None
        if row is None:
            raise MissingError(f"There is no job {job}.")
        return job_json(row)


@router.post("/jobs/{job}/cancel")
def cancel_job(station: Station, job: int) -> dict[str, Any]:
    """Stop a job."""
    if not 0 <= job <= LARGEST_ID:
        raise MissingError(f"There is no job {job}.")
    return job_json(cancel(station, job))


@router.post("/versions/{version}/promote")
def promote(station: Station, version: str) -> dict[str, Any]:
    """Let a version judge from now on."""
    with station.database.write() as session:
        return version_json(promoting.promote(session, version))


@router.post("/parts/{part}/rollback")
def roll_back(station: Station, part: str) -> dict[str, Any]:
    """Let the version that judged before judge again."""
    with station.database.write() as session:
        return version_json(promoting.roll_back(session, find_part(session, part)))
