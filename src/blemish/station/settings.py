"""What a station is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import blemish

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class StationSettings:
    """What a station is started with.

    Attributes:
        folder: The data folder: images, models and, without `database`, the database.
        database: URL of a PostgreSQL database; None = SQLite in the data folder.
        host: Address to listen on.
        port: Port to listen on.
        token: What a visitor must know; needed beyond loopback.
        max_upload_mb: Largest body of a request in MB (10^6 bytes).
        max_pixels: Images with more pixels are refused before decoding.
        audit_share: Share in [0, 1] of all inspections that is drawn for review at random.
        keep_days: Images that nobody reviewed are deleted at this age; None = never.
        keep_gb: The oldest ones go where all are larger than this (10^9 bytes); None = any size.
        decode_seconds: Longest time that decoding one image may take.
        decode_mb: Memory of one decoding process in MB, where the system can limit it.
    """

    folder: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8420
    token: str | None = None
    max_upload_mb: float = 64.0
    max_pixels: int = 50_000_000
    audit_share: float = 0.1
    keep_days: float | None = None
    keep_gb: float | None = None
    decode_seconds: float = 20.0
    decode_mb: int = 1500

    @property
    def url(self) -> str:
        """The database as SQLAlchemy names it."""
        if self.database is None:
            return f"sqlite:///{(self.folder / 'station.sqlite').as_posix()}"
        for prefix in ("postgresql://", "postgres://"):
            if self.database.startswith(prefix):
                return "postgresql+psycopg://" + self.database.removeprefix(prefix)
        return self.database

    def check(self) -> None:
        """Refuse a station that anybody in the network could write to.

        Raises:
            OptionError: No token beyond loopback, or one that is too short to be a secret.
        """
        if self.token is None and not is_loopback(self.host):
            raise blemish.OptionError(
                f"Listening on {self.host} lets others in: give a secret with --token, or listen "
                "on 127.0.0.1."
            )
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise blemish.OptionError(
                f"A token of {len(self.token)} characters can be guessed; give at least "
                f"{SHORTEST_TOKEN}."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
