"""What happens on the lines of `station_line.py`: parts, defects, drift. Fixed beforehand."""

import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import get_context

import numpy as np
from PIL import Image, ImageFilter

from blemish.datasets.opening import open_dataset

DAYS = 20
FIRST = 120  # good images that the part is created with
# First day of each kind of defect.
PLATE_KINDS = {"dent": 1, "stain": 1, "scratch": 6, "missing": 11}
TILE_KINDS = {"blowhole": 1, "crack": 1, "break": 6, "fray": 6, "uneven": 11}
# The lamp loses 1 % of its first brightness a day from the fourth day on; on the morning of the
# twelfth the camera has been moved by 4 and 6 pixels, and its focus has suffered.
LAMP_FROM, LAMP_LOSS = 4, 0.01
MOVED_ON, MOVED_BY, DEFOCUS = 12, (4, 6), 0.7
MASKS_ON = 10
WORKERS = int(os.environ.get("LINE_WORKERS", "1"))  # processes that draw, threads that inspect


@dataclass(frozen=True)
class Piece:
    """One part on the line: the file from the camera, and the truth."""

    content: bytes
    defective: bool
    kind: str
    mask: np.ndarray | None


class Plates:
    """Drawn plates at full size; the next day is drawn while this one is inspected."""

    name = "battery_plate"
    options = {}  # noqa: RUF012
    good, defective = 90, 10

    @staticmethod
    def takes_masks(day):
        """Whether a challenger learns from masks on this day."""
        return day == MASKS_ON

    def __init__(self, seed):
        count = DAYS * self.defective * 4  # every kind may be asked for each time
        data = open_dataset(self.name, good=FIRST + DAYS * self.good, defective=count, seed=seed)
        records = [r for r in data if not r.defective]
        self.beginning, self.rest = records[:FIRST], records[FIRST:]
        self.bad = {k: [r for r in data if r.defect_type == k] for k in PLATE_KINDS}
        self.days = [self.plan(day, random.Random(f"{seed}|{day}")) for day in range(1, DAYS + 1)]

    def plan(self, day, order):
        kinds = [kind for kind, since in PLATE_KINDS.items() if since <= day]
        records = [self.bad[kinds[n % len(kinds)]].pop(0) for n in range(self.defective)]
        records += [self.rest.pop(0) for _ in range(self.good)]
        order.shuffle(records)
        return records

    def __enter__(self):
        self.pool = ProcessPoolExecutor(WORKERS, get_context("spawn"))
        self.ahead = {}
        return self

    def __exit__(self, *error):
        self.pool.shutdown(cancel_futures=True)

    def first(self):
        """Files of good plates from before the first day."""
        return [piece.content for piece in self.pool.map(draw, self.beginning, [0] * FIRST)]

    def day(self, day):
        """The pieces of a day, in the order in which they come."""
        for each in (day, day + 1):
            if each <= DAYS and each not in self.ahead:
                self.ahead[each] = [self.pool.submit(draw, r, each) for r in self.days[each - 1]]
        return [future.result() for future in self.ahead.pop(day)]


def draw(record, day):
    """A plate as the camera of that day sees it."""
    image, mask = record.image(), record.mask() if record.mask else None
    lamp = 1 - LAMP_LOSS * max(0, day - LAMP_FROM + 1)
    picture = Image.fromarray(image)
    if day >= MOVED_ON:
        image = np.asarray(picture.filter(ImageFilter.GaussianBlur(DEFOCUS)))
        image, mask = move(image), None if mask is None else move(mask)
    dimmed = (image * np.float32(lamp) + 0.5).astype(np.uint8)
    return Piece(as_file(dimmed), record.defective, record.defect_type, mask)


def move(image):
    """Move to the right and down; the border is repeated."""
    right, down = MOVED_BY
    widths = [(down, 0), (right, 0)] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, widths, mode="edge")[: image.shape[0], : image.shape[1]]


class Tiles:
    """Photos of magnetic tiles, each once and as it is; those of one tile come together."""

    name = "magnetic_tile"
    options = {"image_size": "auto:256"}  # noqa: RUF012
    good, defective = 36, 4

    @staticmethod
    def takes_masks(day):
        """Every time."""
        return True

    def __init__(self, seed):
        self.data = open_dataset(self.name)
        order = random.Random(seed)
        good = self.by_tile(order, "good")
        self.beginning, self.rest = good[:FIRST], good[FIRST:]
        self.bad = {kind: self.by_tile(order, kind) for kind in TILE_KINDS}
        self.order = order

    def by_tile(self, order, kind):
        records = [r for r in self.data if r.defect_type == kind]
        tiles = sorted({r.group for r in records})
        order.shuffle(tiles)
        return sorted(records, key=lambda r: tiles.index(r.group))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def first(self):
        """Files of good tiles from before the first day."""
        return [as_file(self.data.image(record)) for record in self.beginning]

    def day(self, day):
        """The pieces of a day, in the order in which they come."""
        kinds = [k for k, since in TILE_KINDS.items() if since <= day and len(self.bad[k]) > 1]
        records = [self.bad[kinds[n % len(kinds)]].pop(0) for n in range(self.defective)]
        records += [self.rest.pop(0) for _ in range(self.good)]
        self.order.shuffle(records)
        return [self.piece(record) for record in records]

    def piece(self, record):
        image = self.data.image(record)
        mask = self.data.mask(record, image.shape[:2]) if record.defective else None
        return Piece(as_file(image), record.defective, record.defect_type, mask)


def as_file(image):
    """BMP: writing PNG files would take longer than inspecting them."""
    file = BytesIO()
    Image.fromarray(image).save(file, "BMP")
    return file.getvalue()


LINES = {"plates": Plates, "tile": Tiles}
