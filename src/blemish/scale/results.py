"""Where results in bulk go: a folder of Parquet files, one per chunk, each written once.

The name of a file is the number of its chunk, and a file is there whole or not at all. So whatever
is killed, and however often a chunk is judged again, every image has exactly one row. Which files
there are is the state of the run; ``_run.json`` says which run that is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.errors import MissingExtraError, OptionError
from blemish.scale.storage import Place

try:
    import pyarrow
    from pyarrow import parquet
except ImportError as error:
    raise MissingExtraError("Inspecting in bulk", "scale") from error

REGION = pyarrow.struct(
    [
        ("box", pyarrow.list_(pyarrow.int32(), 4)),  # left, top, right, bottom in pixels
        ("area_px", pyarrow.int64()),
        ("peak", pyarrow.float64()),
        ("share", pyarrow.float64()),
    ]
)
SCHEMA = pyarrow.schema(
    [
        ("image", pyarrow.string()),
        ("hash", pyarrow.string()),  # of the decoded pixels
        ("defective", pyarrow.bool_()),
        ("p_value", pyarrow.float64()),
        ("score", pyarrow.float64()),
        ("threshold", pyarrow.float64()),
        ("pixel_threshold", pyarrow.float64()),
        ("false_alarms", pyarrow.float64()),
        ("width", pyarrow.int32()),
        ("height", pyarrow.int32()),
        ("regions", pyarrow.list_(REGION)),
        ("map", pyarrow.binary()),  # PNG, where thumbnails were asked for
        ("error", pyarrow.string()),
    ]
)
RUN, LISTING = "_run.json", "_listing.parquet"  # readers of Parquet folders pass over "_"


@dataclass(frozen=True)
class ResultFolder:
    """The results of one run.

    Attributes:
        place: The folder, here or elsewhere.
    """

    place: Place

    @property
    def listing(self) -> Place:
        """Where the images of a folder or list are listed."""
        return self.place / LISTING

    def owner(self) -> dict[str, Any] | None:
        """What run this folder belongs to; None = to none yet.

        Raises:
            OptionError: It holds something else.
        """
        names = self.place.names()
        if RUN in names:
            content: dict[str, Any] = json.loads((self.place / RUN).read())
            return content
        if others := [n for n in names if n != LISTING and not n.startswith(".")]:
            raise OptionError(
                f"{self.place} holds {others[0]} and no results of a run; choose an empty folder."
            )
        return None

    def claim(self, run: Mapping[str, Any]) -> None:
        """Make this the folder of a run."""
        (self.place / RUN).write(json.dumps(dict(run), indent=1).encode() + b"\n")

    def check(self, owner: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Refuse to mix two runs.

        Raises:
            OptionError: The folder belongs to another run; the message says what differs.
        """
        changes = [
            f"{name} is {owner.get(name)} there and {value} now"
            for name, value in run.items()
            if owner.get(name) != value
        ]
        if changes:
            raise OptionError(
                f"{self.place} holds the results of another run: {'; '.join(changes)}. Give the "
                "same command, or choose another folder."
            )

    def done(self) -> set[int]:
        """Numbers of the chunks whose results are there."""
        names = (n for n in self.place.names() if n.startswith("part-"))
        return {int(n.removeprefix("part-").removesuffix(".parquet")) for n in names}

    def write(self, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the results of a chunk, whole or not at all."""
        buffer = io.BytesIO()
        table = pyarrow.Table.from_pylist([dict(row) for row in rows], SCHEMA)
        parquet.write_table(table, buffer, compression="zstd")
        (self.place / f"part-{number:08d}.parquet").write(buffer.getvalue())
