"""Start the station's web server."""

from __future__ import annotations

from pathlib import Path

import uvicorn

from blemish.station.app import create_app
from blemish.station.settings import StationSettings


def run_station(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    token: str | None = None,
    database: str | None = None,
    keep_days: float | None = None,
    keep_gb: float | None = None,
) -> None:
    """Serve the inspection station until it is stopped.

    Args:
        folder: The data folder; made where it does not exist.
        host: Address to listen on; beyond loopback a token is needed.
        port: Port to listen on.
        token: Secret that visitors must know, 16 characters or more.
        database: URL of a PostgreSQL database; None = SQLite in the data folder.
        keep_days: Age at which images that nobody reviewed are deleted; None = never.
        keep_gb: Size of all images (10^9 bytes) above which the oldest of these go; None = any.

    Raises:
        OptionError: Beyond loopback without a token, or one that is too short.
    """
    settings = StationSettings(
        Path(folder), database, host, port, token, keep_days=keep_days, keep_gb=keep_gb
    )
    app = create_app(settings)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
