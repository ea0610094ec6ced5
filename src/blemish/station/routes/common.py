"""What all routes share: how they find the station, and the form of errors."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from pydantic import BaseModel

from blemish.station.context import Context
from blemish.station.inspecting import Inspector


class Problem(BaseModel):
    """An error: one sentence that names the value, the rule and the next step."""

    error: str


def get_context(request: Request) -> Context:
    """The station that this application serves."""
    return cast(Context, request.app.state.context)


def get_inspector(request: Request) -> Inspector:
    """The champions in memory."""
    return cast(Inspector, request.app.state.inspector)


Station = Annotated[Context, Depends(get_context)]
Inspecting = Annotated[Inspector, Depends(get_inspector)]
# What every route may answer beside its result, for the description of the API.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 413, 421, 422)
}
