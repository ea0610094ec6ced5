"""API: trends, and everything out."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from blemish.station import exporting
from blemish.station.context import find_part
from blemish.station.routes.common import PROBLEMS, Station
from blemish.station.trends import trend

router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.get("/parts/{part}/trends")
def trends(
    station: Station, part: str, days: Annotated[int, Query(ge=1, le=3650)] = 60
) -> dict[str, Any]:
    """Alarm rate, scores and p-values by day, and since when the line has drifted."""
    with station.database.read() as session:
        return trend(session, find_part(session, part), days)


@router.get("/parts/{part}/export.csv", response_class=Response)
def export_csv(station: Station, part: str) -> Response:
    """All inspections with their reviews as CSV."""
    with station.database.read() as session:
        row = find_part(session, part)
        return _download(exporting.to_csv(session, row).encode(), "text/csv", f"{row.key}.csv")


@router.get("/parts/{part}/export.parquet", response_class=Response)
def export_parquet(station: Station, part: str) -> Response:
    """All inspections with their reviews as Parquet; needs the extra [tables]."""
    with station.database.read() as session:
        row = find_part(session, part)
        content = exporting.to_parquet(session, row)
    return _download(content, "application/vnd.apache.parquet", f"{row.key}.parquet")


@router.get("/parts/{part}/dataset.zip", response_class=Response)
def export_dataset(station: Station, part: str) -> Response:
    """Good and reviewed images as a data set folder that `blemish fit` reads, in a ZIP file."""
    handle, name = tempfile.mkstemp(suffix=".zip")
    os.close(handle)
    path = Path(name)
    try:
        with station.database.read() as session:
            row = find_part(session, part)
            exporting.write_dataset(session, station.blobs, row, path)
    except BaseException:
        path.unlink()
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{row.key}.zip",
        background=BackgroundTask(path.unlink),
    )


def _download(content: bytes, media_type: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
