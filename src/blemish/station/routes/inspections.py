"""API: inspections, the threshold, reviews."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.responses import Response

from blemish.station import reviewing
from blemish.station.context import find_part
from blemish.station.inspecting import preview
from blemish.station.routes.common import PROBLEMS, Inspecting, Station
from blemish.station.tables import Inspection
from blemish.station.words import inspection_json, review_json

router = APIRouter(prefix="/api", responses=PROBLEMS)
Rate = Annotated[float, Query(ge=1e-6, lt=1, description="Share of good parts that are flagged.")]


class AskedRate(BaseModel):
    """The share of good parts that may be flagged."""

    false_alarms: float = Field(ge=1e-6, lt=1)


@router.post("/parts/{part}/inspections", status_code=201)
def inspect(
    inspector: Inspecting,
    part: str,
    image: Annotated[UploadFile, File()],
    source: Annotated[Literal["upload", "folder", "camera"], Form()] = "upload",
) -> dict[str, Any]:
    """Judge one image; what was said is on disk before the answer is sent."""
    name = image.filename or "image"
    return inspection_json(inspector.inspect(part, name, image.file.read(), source))


@router.get("/parts/{part}/inspections")
def newest(
    station: Station, part: str, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[dict[str, Any]]:
    """The newest inspections."""
    with station.database.read() as session:
        row = find_part(session, part)
        query = select(Inspection).where(Inspection.part_id == row.id)
        found = session.scalars(query.order_by(Inspection.created.desc()).limit(limit))
        return [inspection_json(inspection) for inspection in found]


@router.get("/inspections/{inspection}")
def show(station: Station, inspection: str) -> dict[str, Any]:
    """One inspection."""
    with station.database.read() as session:
        return inspection_json(reviewing.find_inspection(session, inspection))


@router.get("/inspections/{inspection}/likeness", response_class=Response)
def likeness(station: Station, inspector: Inspecting, inspection: str) -> Response:
    """The main region beside the good place that is most like it, as PNG; 204 if there is none."""
    with station.database.read() as session:
        row = reviewing.find_inspection(session, inspection)
    picture = inspector.likeness(row)
    if picture is None:
        return Response(status_code=204)
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(picture, media_type="image/png", headers=headers)


@router.get("/parts/{part}/threshold")
def try_threshold(
    station: Station, inspector: Inspecting, part: str, false_alarms: Rate
) -> dict[str, Any]:
    """What another false-alarm rate would have said of the newest inspections."""
    with station.database.read() as session:
        row = find_part(session, part)
    return preview(inspector, row, false_alarms)


@router.put("/parts/{part}/threshold")
def set_threshold(
    station: Station, inspector: Inspecting, part: str, asked: AskedRate
) -> dict[str, Any]:
    """Ask for another false-alarm rate; nothing is learned again."""
    with station.database.write() as session:
        row = find_part(session, part)
        row.false_alarms = asked.false_alarms
    return preview(inspector, row, asked.false_alarms)


@router.get("/parts/{part}/queue")
def queue(
    station: Station, part: str, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[dict[str, Any]]:
    """What to review next, and why each."""
    with station.database.read() as session:
        found = reviewing.queue(session, find_part(session, part), limit)
        return [inspection_json(row) | {"reason": reason} for row, reason in found]


@router.post("/inspections/{inspection}/reviews", status_code=201)
def review(
    station: Station,
    inspection: str,
    verdict: Annotated[Literal["good", "defect", "skip"], Form()],
    defect_type: Annotated[str | None, Form(max_length=200)] = None,
    seconds: Annotated[float, Form(ge=0, le=1e6)] = 0.0,
    keys: Annotated[int, Form(ge=0, le=1_000_000)] = 0,
    mask: Annotated[UploadFile | None, File()] = None,
) -> dict[str, Any]:
    """Keep what a person said of an inspection, with a painted mask where there is one."""
    painted = None if mask is None else mask.file.read()
    said = reviewing.review(
        station,
        inspection,
        verdict,
        defect_type=defect_type,
        mask=painted,
        seconds=seconds,
        keys=keys,
    )
    return review_json(said)


@router.post("/parts/{part}/reviews/undo")
def undo(station: Station, part: str) -> dict[str, Any]:
    """Take the last review of a part back."""
    return inspection_json(reviewing.undo(station, part))
