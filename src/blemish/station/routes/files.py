"""Images, masks and maps by their SHA-256; health; metrics."""

from __future__ import annotations

from typing import Any

import prometheus_client
from fastapi import APIRouter, Request
from sqlalchemy import func, select
from starlette.responses import FileResponse, JSONResponse, Response

import blemish
from blemish.station.context import MissingError
from blemish.station.routes.common import PROBLEMS, Station
from blemish.station.tables import Blob, Inspection, Job

SHOWN_BY_BROWSERS = {"image/bmp", "image/jpeg", "image/png", "image/webp"}
router = APIRouter(responses=PROBLEMS)


@router.get("/files/{sha}", response_class=Response)
def file(station: Station, sha: str) -> Response:
    """An image, a mask or a map; images that browsers cannot show come as PNG."""
    with station.database.read() as session:
        blob = session.get(Blob, sha)
    if blob is None:
        raise MissingError("There is no such image; it may have been deleted by age.")
    # Named by content: it never changes.
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    if blob.media_type in SHOWN_BY_BROWSERS:
        return FileResponse(station.blobs.path(sha), media_type=blob.media_type, headers=headers)
    decoded = station.decoders.image(station.blobs.read(sha))
    return Response(blemish.to_png_bytes(decoded.pixels), media_type="image/png", headers=headers)


@router.get("/health")
def health(station: Station) -> JSONResponse:
    """Whether the database answers and the data folder is there."""
    with station.database.read() as session:
        waiting = session.scalar(
            select(func.count()).select_from(Job).where(Job.state.in_(("queued", "running")))
        )
    body: dict[str, Any] = {"status": "ok", "version": blemish.__version__, "jobs": waiting}
    return JSONResponse(body)


@router.get("/metrics", response_class=Response)
def metrics(station: Station, request: Request) -> Response:
    """Counts and durations in the Prometheus text format."""
    registry: prometheus_client.CollectorRegistry = request.app.state.metrics.registry
    with station.database.read() as session:
        count = session.scalar(select(func.count()).select_from(Inspection)) or 0
        open_ones = session.scalar(
            select(func.count())
            .select_from(Inspection)
            .where(Inspection.verdict.is_(None), Inspection.audited.is_(True))
        )
    request.app.state.metrics.stored.set(count)
    request.app.state.metrics.audit.set(open_ones or 0)
    content = prometheus_client.generate_latest(registry)
    return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)
