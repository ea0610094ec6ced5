"""The simulated line: what reviewing 20 of 100 parts a day is worth.

`python benchmarks/station_line.py plates SEED` runs 20 days of drawn battery plates, 100 a day, 10
of them defective, through the functions behind the pages of the station: new kinds of defect appear,
the lamp ages, one morning the camera has been moved. Each evening a reviewer who is always right
handles 20 parts, the audited ones first, then the top of the queue; every fifth evening challengers
are trained, one as the part was created and one that learns from the painted masks, and what the
station calls measurably better is promoted. The same plates are judged by the first version alone.
`tile SEED` does so with the photos of magnetic tile, 60 a day, without any drift of our making.
`table` and `chart` write what docs/station.md shows. A seed is a results file of its own;
LINE_DAYS=6 makes a short trial that writes none.

Everything below from `DAYS` to `RECIPES` was fixed before the first run.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.images import to_png_bytes
from blemish.station import inspecting, parts, promoting, reviewing, work
from blemish.station.context import Context, find_part
from blemish.station.inspecting import Inspector
from blemish.station.settings import StationSettings
from blemish.station.tables import Inspection, Job, Version
from blemish.station.trends import trend
from common import RESULTS

DAYS, REVIEWED, RELEARN_EVERY, FALSE_ALARMS = 20, 20, 5, 0.05
FIRST = 120  # good images that the part is created with
SEEDS = (200, 201, 202)
# First day of each kind of defect.
PLATE_KINDS = {"dent": 1, "stain": 1, "scratch": 6, "missing": 11}
TILE_KINDS = {"blowhole": 1, "crack": 1, "break": 6, "fray": 6, "uneven": 11}
# The lamp loses 1 % of its first brightness a day from the fourth day on; on the morning of the
# twelfth the camera has been moved by 4 and 6 pixels, and its focus suffered.
LAMP_FROM, LAMP_LOSS = 4, 0.01
MOVED_ON, MOVED_BY, DEFOCUS = 12, (4, 6), 0.7
RECIPES = (None, "aexad")  # challengers: the part's own method, and one that learns from masks
START = datetime(2026, 1, 5, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Piece:
    """One part on the line."""

    content: bytes
    defective: bool
    kind: str
    mask: np.ndarray | None


class Plates:
    """Drawn plates, another drift every day."""

    name, a_day, defective = "battery_plate", 100, 10
    options = {"image_size": "120x600"}

    def __init__(self, seed):
        count = DAYS * self.defective * 4
        self.data = open_dataset(
            self.name, good=FIRST + DAYS * self.a_day, defective=count, seed=seed
        )
        self.random = random.Random(seed)
        good = [r for r in self.data if not r.defective]
        self.first, self.good = good[:FIRST], good[FIRST:]
        self.bad = {
            kind: [r for r in self.data if r.defect_type == kind] for kind in PLATE_KINDS
        }

    def good_images(self):
        return [self.data.image(record) for record in self.first]

    def day(self, day):
        """The pieces of one day, in the order in which they come."""
        kinds = [kind for kind, first in PLATE_KINDS.items() if first <= day]
        records = [self.bad[kinds[n % len(kinds)]].pop(0) for n in range(self.defective)]
        records += [self.good.pop(0) for _ in range(self.a_day - self.defective)]
        self.random.shuffle(records)
        return [self.piece(record, day) for record in records]

    def piece(self, record, day):
        image = self.data.image(record)
        mask = self.data.mask(record, image.shape[:2]) if record.defective else None
        return Piece(
            as_file(drifted(image, day)),
            record.defective,
            record.defect_type,
            None if mask is None else moved(mask, day),
        )


class Tiles:
    """Photos of magnetic tiles, each once, as they are."""

    name, a_day, defective = "magnetic_tile", 60, 6
    options = {"image_size": "auto:256"}

    def __init__(self, seed):
        self.data = open_dataset(self.name)
        self.random = random.Random(seed)
        good = [r for r in self.data if not r.defective]
        self.random.shuffle(good)
        self.first, self.good = good[:FIRST], good[FIRST:]
        self.bad = {kind: [r for r in self.data if r.defect_type == kind] for kind in TILE_KINDS}
        for records in self.bad.values():
            self.random.shuffle(records)

    def good_images(self):
        return [self.data.image(record) for record in self.first]

    def day(self, day):
        """The pieces of one day; fewer where the photos come to their end."""
        kinds = [k for k, first in TILE_KINDS.items() if first <= day and self.bad[k]]
        records = [
            self.bad[kind].pop() for n in range(self.defective) if self.bad[kind := kinds[n % len(kinds)]]
        ]
        records += [self.good.pop() for _ in range(self.a_day - self.defective) if self.good]
        self.random.shuffle(records)
        return [self.piece(record) for record in records]

    def piece(self, record):
        image = self.data.image(record)
        mask = self.data.mask(record, image.shape[:2]) if record.defective else None
        return Piece(as_file(image), record.defective, record.defect_type, mask)
