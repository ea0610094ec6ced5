"""Whole parts put together from synthetic sub-parts, one below the other.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: anode, glass and cathode of one plate.

Differs from [1]: each sub-part takes on the light of the one above it, and the seam is feathered;
[1] only sets them side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.datasets.base import DataSet, image_digest
from blemish.datasets.synthetic import Made, Synthetic, SyntheticManifest, write_marked
from blemish.errors import DataError
from blemish.types import Image

STRIP = 16  # rows on either side of a seam whose colours are compared
FEATHER = 8  # rows on either side that are mixed
LARGEST_GAIN = 1.25  # beyond, a difference is no matter of light


@dataclass(frozen=True)
class _Seam:
    """Usual mean and deviation per channel, (3,) each, above and below a seam."""

    above: tuple[NDArray[np.float64], NDArray[np.float64]]
    below: tuple[NDArray[np.float64], NDArray[np.float64]]


def compose(
    folders: Sequence[Path], out: Path, count: int = 0, seed: int = 0, feather: int = FEATHER
) -> Path:
    """Put one image of each folder together, top to bottom, and write whole parts.

    Args:
        folders: Folders of synthetic images of one width, the topmost sub-part first.
        out: Where the whole parts and their manifest go.
        count: How many; 0 = as many as the smallest folder has. No image is used twice.
        seed: Which go together.
        feather: Rows on either side of a seam that are mixed; 0 = none.

    Returns:
        The manifest, which names the parts of each whole.

    Raises:
        DataError: Fewer than two folders, one that is not of synthetic images or was changed, not
            enough images, or different widths.
    """
    if len(folders) < 2:
        raise DataError(f"{len(folders)} folders make no whole part; give two or more.")
    manifests = [SyntheticManifest.read(folder) for folder in folders]
    smallest = min(len(manifest.images) for manifest in manifests)
    if count > smallest or not smallest:
        raise DataError(
            f"{count} whole parts were asked for, but one folder has {smallest} images, and none "
            "is used twice; ask for fewer, or synthesize more."
        )
    wanted = count or smallest
    random = np.random.default_rng(seed)
    chosen = [random.permutation(len(m.images))[:wanted] for m in manifests]
    columns = [_read(folder, rows) for folder, rows in zip(folders, chosen, strict=True)]
    _check_widths(folders, columns)
    seams = [_measure(above, below) for above, below in pairwise(columns)]
    made = []
    for number, parts in enumerate(zip(*columns, strict=True)):
        image = join(parts, seams, feather)
        file = f"images/{number:05d}.png"
        write_marked(out / file, image)
        of = {
            "parts": [
                {"folder": folder.name, "file": made.file, "of": dict(made.of)}
                for folder, manifest, rows in zip(folders, manifests, chosen, strict=True)
                for made in [manifest.images[rows[number]]]
            ]
        }
        made.append(Made(file, image_digest(image), of))
    maker = {"compose": [dict(m.maker) for m in manifests], "seed": seed, "feather": feather}
    origins = tuple(dict.fromkeys(origin for m in manifests for origin in m.origins))
    return SyntheticManifest(maker, origins, tuple(made)).write(out)


def join(parts: Sequence[Image], seams: Sequence[_Seam], feather: int) -> Image:
    """One whole part: (sum of H, W, 3) uint8.

    Args:
        parts: (H, W, 3) uint8 each, top to bottom.
        seams: What is usual at each seam.
        feather: Rows on either side of a seam that are mixed.
    """
    matched = [parts[0].astype(np.float64)]
    for part, seam in zip(parts[1:], seams, strict=True):
        matched.append(_match(matched[-1], part.astype(np.float64), seam))
    whole = np.concatenate(matched)
    row = 0
    for joined in matched[:-1]:
        row += len(joined)
        _feather(whole, row, feather)
    return np.clip(np.rint(whole), 0, 255).astype(np.uint8)


def _match(
    above: NDArray[np.float64], part: NDArray[np.float64], seam: _Seam
) -> NDArray[np.float64]:
    """Give a part the light of the one above: as much brighter than usual, channel by channel."""
    mean, deviation = _colours(part[:STRIP])
    light = _colours(above[-STRIP:])[0] / np.maximum(seam.above[0], 1)
    gain = np.clip(seam.below[0] * light / np.maximum(mean, 1), 1 / LARGEST_GAIN, LARGEST_GAIN)
    spread = np.clip(seam.below[1] / np.maximum(deviation, 1), 1 / LARGEST_GAIN, LARGEST_GAIN)
    # The mean takes the light over; the contrast at the seam becomes the usual one.
    return np.asarray((part - mean) * spread * light + mean * gain)


def _feather(whole: NDArray[np.float64], row: int, feather: int) -> None:
    """Mix each side with the mirror image of the other, half and half at the seam."""
    if not feather:
        return
    above, below = whole[row - feather : row].copy(), whole[row : row + feather].copy()
    share = (np.arange(feather) + 0.5)[:, None, None] / (2 * feather)  # rises towards the seam
    whole[row - feather : row] = (1 - share) * above + share * below[::-1]
    whole[row : row + feather] = (1 - share[::-1]) * below + share[::-1] * above[::-1]


def _measure(above: Sequence[Image], below: Sequence[Image]) -> _Seam:
    return _Seam(
        _mean_colours([image[-STRIP:] for image in above]),
        _mean_colours([image[:STRIP] for image in below]),
    )


def _mean_colours(
    strips: Sequence[Image],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [_colours(strip) for strip in strips]
    return np.mean([m for m, _ in found], axis=0), np.mean([d for _, d in found], axis=0)


def _colours(
    strip: NDArray[np.generic],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = strip.reshape(-1, 3).astype(np.float64)
    return pixels.mean(axis=0), pixels.std(axis=0)


def _read(folder: Path, rows: NDArray[np.int64]) -> list[Image]:
    """The chosen images; their pixels are checked against the manifest."""
    records = Synthetic(folder, Synthetic.Options()).records(None)[0]
    data = DataSet(folder.name, tuple(records))
    return [data.image(records[row]) for row in rows]


def _check_widths(folders: Sequence[Path], columns: Sequence[Sequence[Image]]) -> None:
    widths = {f.name: column[0].shape[1] for f, column in zip(folders, columns, strict=True)}
    if len(set(widths.values())) > 1:
        sizes = ", ".join(f"{name} {width} px" for name, width in widths.items())
        raise DataError(
            f"The sub-parts have different widths ({sizes}); synthesize them with one image_size "
            "width."
        )
