"""The application: routes, pages, errors, and what starts and ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

import blemish
from blemish.station.context import Context, MissingError
from blemish.station.hot_folder import HotFolders
from blemish.station.inspecting import Inspector
from blemish.station.jobs import JobRunner
from blemish.station.measuring import Measured, Metrics
from blemish.station.retention import Janitor
from blemish.station.routes import exports, files, inspections, pages, parts
from blemish.station.security import Guard, refused
from blemish.station.settings import StationSettings

STATIC = Path(__file__).parent / "static"


def create_app(settings: StationSettings) -> FastAPI:
    """Make the application of one station. Nothing is opened before it starts.

    Args:
        settings: What the station is started with.

    Raises:
        OptionError: The station would be open to others without a token.
    """
    settings.check()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = Context.open(settings)
        context.sweep()
        runner = JobRunner(context)
        app.state.context, app.state.inspector = context, Inspector(context)
        janitor = Janitor(context)
        folders = app.state.hot_folders = HotFolders(context, app.state.inspector)
        for thread in (runner, janitor, folders):
            thread.start()
        yield
        folders.stop()
        janitor.stop()
        runner.stop()
        context.close()

    app = FastAPI(
        title="blemish station",
        version=blemish.__version__,
        lifespan=lifespan,
        docs_url=None,  # the usual page loads scripts from elsewhere; ours is in pages.py
        redoc_url=None,
    )
    app.state.metrics, app.state.settings = Metrics(), settings
    for router in (parts.router, inspections.router, exports.router, files.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _answer_errors(app)
    app.add_middleware(Measured, metrics=app.state.metrics)
    app.add_middleware(Guard, settings=settings)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Every error is one sentence: JSON for programs, a page for people."""

    def answer(request: Request, status: int, text: str) -> Response:
        if "text/html" in request.headers.get("accept", "") and request.method == "GET":
            return pages.problem(request, status, text)
        return refused(status, text)

    @app.exception_handler(MissingError)
    def missing(request: Request, error: MissingError) -> Response:
        return answer(request, 404, str(error))

    @app.exception_handler(blemish.BlemishError)
    def wrong(request: Request, error: blemish.BlemishError) -> Response:
        return answer(request, 400, str(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"])
        return answer(request, 422, f"{where}: {first['msg']}.")
