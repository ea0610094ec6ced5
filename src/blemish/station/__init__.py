"""The inspection station: a local web application that closes the loop of inspect and relearn.

A face: it uses public names of blemish only. Data flow: ``tables`` → ``database`` → ``blobs`` →
(``parts``, ``inspecting``, ``reviewing``, ``learning``, ``jobs``) → ``routes`` → ``app``.
"""

from importlib.util import find_spec

from blemish.errors import MissingExtraError

_NEEDED = ("alembic", "fastapi", "multipart", "prometheus_client", "sqlalchemy", "uvicorn")

if any(find_spec(name) is None for name in _NEEDED):
    raise MissingExtraError("blemish station", "station")
