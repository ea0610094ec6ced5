"""Pages for people: rendered here, everything that is shown is escaped."""

from __future__ import annotations

import inspect as inspection_of_code
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, RedirectResponse, Response

import blemish
from blemish.station import parts, promoting, reviewing, words
from blemish.station.charts import trend_charts
from blemish.station.context import find_part
from blemish.station.hot_folder import INCOMING
from blemish.station.learning import reviewed
from blemish.station.routes.common import Station
from blemish.station.security import COOKIE, cookie_value, same_secret
from blemish.station.settings import StationSettings
from blemish.station.tables import Inspection, Job, Part, PartImage, Promotion, Version
from blemish.station.trends import trend

SHOWN = 24  # newest inspections on a page
SECONDS_SIGNED_IN = 60 * 60 * 24 * 30
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@cache
def templates() -> Environment:
    """The templates of all pages, escaping everything."""
    environment = Environment(
        loader=PackageLoader("blemish.station", "templates"),
        autoescape=True,  # always: the usual choice by file ending would miss ".j2"
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "duration": words.duration,
        "moment": words.moment,
        "odd": words.p_in_words,
    }
    return environment


def render(name: str, code: int = 200, **values: Any) -> HTMLResponse:
    """Fill in a template."""
    text = templates().get_template(f"{name}.html.j2").render(version=blemish.__version__, **values)
    return HTMLResponse(text, code)


def problem(request: Request, status: int, text: str) -> Response:
    """An error as a page."""
    return render("problem", status, status=status, text=text, tab=None, part=None)


@router.get("/")
def home(station: Station) -> Response:
    """All parts, and a form for a new one."""
    with station.database.read() as session:
        rows = list(session.scalars(select(Part).order_by(Part.name)))
        facts = {part.id: _facts(session, part) for part in rows}
    methods = blemish.method_names()
    return render("parts", parts=rows, facts=facts, methods=methods, tab=None, part=None)


def _facts(session: Session, part: Part) -> dict[str, Any]:
    count = select(func.count()).select_from(Inspection).where(Inspection.part_id == part.id)
    version = session.get(Version, part.champion) if part.champion else None
    return {
        "images": parts.count_images(session, part),
        "inspections": session.scalar(count) or 0,
        "flagged": session.scalar(count.where(Inspection.defective.is_(True))) or 0,
        "waiting": len(reviewing.queue(session, part, 1000)),
        "version": version.number if version else None,
    }


@router.get("/parts/{part}")
def part_page(station: Station, part: str) -> Response:
    """A part: its good images, region of interest, training."""
    with station.database.read() as session:
        row = find_part(session, part)
        images = select(PartImage).where(PartImage.part_id == row.id)
        shown = list(session.scalars(images.order_by(PartImage.id.desc()).limit(12)))
        return render(
            "part",
            part=row,
            tab="part",
            facts=_facts(session, row),
            images=shown,
            job=_job(session, row),
        )


def _job(session: Session, part: Part) -> Job | None:
    return session.scalar(
        select(Job).where(Job.part_id == part.id).order_by(Job.id.desc()).limit(1)
    )


@router.get("/parts/{part}/inspect")
def inspect_page(station: Station, part: str) -> Response:
    """Drop images; the newest inspections; the threshold."""
    with station.database.read() as session:
        row = find_part(session, part)
        query = select(Inspection).where(Inspection.part_id == row.id)
        newest = list(session.scalars(query.order_by(Inspection.created.desc()).limit(SHOWN)))
        folder = f"{INCOMING}/{row.key}"
        return render("inspect", part=row, tab="inspect", newest=newest, folder=folder)


@router.get("/inspections/{inspection}")
def inspection_page(station: Station, inspection: str) -> Response:
    """One inspection: the map over the image, its regions, in words."""
    with station.database.read() as session:
        row = reviewing.find_inspection(session, inspection)
        part = session.get_one(Part, row.part_id)
        version = session.get_one(Version, row.version_id)
        said = reviewing.current_review(session, row.id)
    return render("inspection", part=part, tab="inspect", row=row, judge=version, said=said)


@router.get("/parts/{part}/review")
def review_page(station: Station, part: str) -> Response:
    """The review queue."""
    with station.database.read() as session:
        row = find_part(session, part)
        return render(
            "review",
            part=row,
            tab="review",
            kinds=reviewing.defect_types(session, row),
            effort=reviewing.effort(session, row),
        )


@router.get("/parts/{part}/relearn")
def relearn_page(station: Station, part: str) -> Response:
    """Versions, the challenger's figures, promotion."""
    with station.database.read() as session:
        row = find_part(session, part)
        query = select(Version).where(Version.part_id == row.id)
        versions = list(session.scalars(query.order_by(Version.number.desc())))
        changes = select(Promotion).where(Promotion.part_id == row.id)
        seen = reviewed(session, row)
        counts = {
            "good": sum(r.verdict == "good" for r in seen),
            "audited": sum(r.audited for r in seen),
            "defect": sum(r.verdict == "defect" for r in seen),
            "painted": sum(r.mask is not None for r in seen),
        }
        return render(
            "relearn",
            part=row,
            tab="relearn",
            versions=versions,
            counts=counts,
            numbers={v.id: v.number for v in versions},
            previous=promoting.previous_champion(session, row),
            changes=list(session.scalars(changes.order_by(Promotion.id.desc()).limit(20))),
            job=_job(session, row),
        )


@router.get("/parts/{part}/trends")
def trends_page(station: Station, part: str) -> Response:
    """How the line behaves over time."""
    with station.database.read() as session:
        row = find_part(session, part)
        found = trend(session, row)
    charts = trend_charts(found, row.false_alarms)
    told = {"drift": found["drift"], "promise": found["promise"]}
    return render("trends", part=row, tab="trends", charts=charts, **told)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API, from its own description."""
    description = request.app.openapi()
    listed = [
        {
            "path": path,
            "verb": verb.upper(),
            "text": inspection_of_code.cleandoc(entry.get("description", "")),
            "parameters": entry.get("parameters", []),
            "takes": sorted(entry.get("requestBody", {}).get("content", {})),
        }
        for path, verbs in description["paths"].items()
        for verb, entry in verbs.items()
    ]
    return render("docs", tab=None, part=None, listed=listed)


@router.get("/signin")
def sign_in_page() -> Response:
    """Where a visitor proves to know the token."""
    return render("signin", tab=None, part=None, wrong=False)


@router.post("/signin")
def sign_in(request: Request, token: Annotated[str, Form(max_length=500)]) -> Response:
    """Keep a cookie that proves that the token was known."""
    settings: StationSettings = request.app.state.settings
    if settings.token is None:
        return RedirectResponse("/", 303)
    if not same_secret(token.strip(), settings.token):
        return render("signin", 403, tab=None, part=None, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        cookie_value(settings.token),
        max_age=SECONDS_SIGNED_IN,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
