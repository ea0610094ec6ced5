"""Look through a data set before learning from it: what is there, and what is wrong with it."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blemish.datasets.base import SPLITS, DataSet, Record, Split, image_digest
from blemish.datasets.summary import DataReport
from blemish.errors import BlemishError
from blemish.images import read_info

Progress = Callable[[int, int, str], None]

SMALL = 32  # pixels: below, a defect and a backbone's first stride are of one size
DARK = 64  # of 255: 16-bit images that stay below use fewer bits than was said


@dataclass(frozen=True)
class _Facts:
    """What was found in one image and its mask."""

    record: Record
    size: tuple[int, int] = (0, 0)  # width, height
    grey: bool = True
    peak: int = 255
    bits: int = 8
    format: str = "drawn"
    digest: str = ""
    area: int | None = None  # pixels of the mask
    error: str = ""


def check_dataset(
    data: DataSet, progress: Progress | None = None, *, calibration_share: float = 0.2
) -> DataReport:
    """Read all images and masks of a data set and report what is there.

    Args:
        data: From :func:`blemish.datasets.opening.open_dataset`.
        progress: Called as ``progress(done, total, "checking images")``, in the calling thread.
        calibration_share: Share of the good training parts that a detector will calibrate on; it
            decides which false-alarm rates can be promised.

    Returns:
        The report; damaged files are in it and raise nothing.
    """
    facts: list[_Facts] = []
    # Few threads: each holds a decoded image, which may have 200 million pixels.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for fact in pool.map(partial(_look, data), data.records):
            facts.append(fact)
            if progress:
                progress(len(facts), len(data), "checking images")
    read = [f for f in facts if f.digest]
    # These digests spare `DataSet.hashes` from reading everything again.
    if len(read) == len(facts):
        data.__dict__["hashes"] = {f.record.key: f.digest for f in facts}
    unreadable = tuple((f.record.key, f.error) for f in facts if f.error)
    problems = [
        *_unreadable_ones(unreadable),
        *_labels_that_contradict(read),
        *_leaks(data, read),
        *_too_few(data),
    ]
    warnings = [
        *data.warnings,
        *_mixtures(read),
        *_weak_masks(read),
        *_repeats(read),
        *_thin_test(data),
        *_calibration(data, calibration_share),
    ]
    return DataReport(
        name=data.name,
        reader=data.reader,
        counts={s: _counted(r.defect_type for r in data.select(s)) for s in _splits(data)},
        groups={s: len({r.group for r in data.select(s)}) for s in _splits(data)},
        sizes=_sizes(read),
        colours=_counted("grey" if f.grey else "colour" for f in read),
        bits=_counted(f.bits for f in read),
        formats=_counted(f.format for f in read),
        masks=_mask_counts(facts),
        defect_area=_areas(read),
        unreadable=unreadable,
        duplicates=tuple((a.record.key, b.record.key) for a, b in _twins(read)),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _look(data: DataSet, record: Record) -> _Facts:
    """Read one image and its mask; what fails becomes part of the facts."""
    try:
        image = data.image(record)
    except BlemishError as error:
        return _Facts(record, error=str(error))
    bits, kind = 8, "drawn"
    if isinstance(record.image, Path):
        info = read_info(record.image, max_pixels=data.max_pixels)
        bits, kind = info.bits, info.format
    area, reason = None, ""
    try:
        mask = data.mask(record, image.shape[:2])
        # DataSet.mask says None for an empty mask of a defective image; here the two differ.
        area = 0 if mask is None and record.mask else None if mask is None else int(mask.sum())
    except BlemishError as error:
        reason = str(error)
    red = image[..., :1]
    return _Facts(
        record,
        size=(image.shape[1], image.shape[0]),
        grey=bool((image == red).all()),
        peak=int(image.max()),
        bits=bits,
        format=kind,
        digest=image_digest(image),
        area=area,
        error=reason,
    )


# -- problems: figures would be wrong, or learning impossible ----------------------------------


def _unreadable_ones(unreadable: Sequence[tuple[str, str]]) -> Iterator[str]:
    if unreadable:
        yield (
            f"{len(unreadable)} images or masks cannot be used (first: {unreadable[0][0]}); save "
            "them again or take them out."
        )


def _labels_that_contradict(facts: Sequence[_Facts]) -> Iterator[str]:
    for one, other in _twins(facts):
        if one.record.defective != other.record.defective:
            yield (
                f"{one.record.key} and {other.record.key} are the same image, once good and once "
                "defective; delete the wrong one."
            )
    for fact in facts:
        if fact.area and not fact.record.defective:
            yield (
                f"{fact.record.key} is good but its mask marks {fact.area} pixels; empty the mask "
                "or move the image."
            )


def _leaks(data: DataSet, facts: Sequence[_Facts]) -> Iterator[str]:
    """The same image or part on both sides: figures would be too good."""
    same = [pair for pair in _twins(facts) if _apart(*pair)]
    if same:
        one, other = (fact.record for fact in same[0])
        yield (
            f"{len(same)} images are in both {one.split} and {other.split} (first: {one.key} = "
            f"{other.key}); delete one of each."
        )
    test = {r.group for r in data.select("test")}
    shared = {r.group for r in data if r.split != "test"} & test
    if shared:
        yield (
            f"{len(shared)} parts have photos in both training and test (first: {min(shared)}); "
            "move all photos of a part to one side."
        )


def _too_few(data: DataSet) -> Iterator[str]:
    parts = {r.group for r in data.select("train", defective=False)}
    if len(parts) < 2:
        yield (
            f"There are good training images of {len(parts)} parts, and at least 2 are needed: one "
            "to learn from, one to calibrate on. Add photos of good parts."
        )


# -- warnings ----------------------------------------------------------------------------------


def _mixtures(facts: Sequence[_Facts]) -> Iterator[str]:
    sizes = Counter(f.size for f in facts)
    if len(sizes) > 1:
        (width, height), often = sizes.most_common(1)[0]
        yield (
            f"The images have {len(sizes)} sizes, {often} of {len(facts)} are {width}×{height}; "
            "they will be brought to one size, so check that the parts then look alike."
        )
    small = [f for f in facts if min(f.size) < SMALL]
    if small:
        yield (
            f"{len(small)} images are smaller than {SMALL} pixels on a side (first: "
            f"{small[0].record.key}); small defects cannot be seen there. Use larger photos."
        )
    grey = [f for f in facts if f.grey]
    if 0 < len(grey) < len(facts):
        rarer = grey if len(grey) * 2 <= len(facts) else [f for f in facts if not f.grey]
        yield (
            f"{len(grey)} of {len(facts)} images are grey, the others coloured (such as "
            f"{rarer[0].record.key}); use one camera setting for all."
        )
    deep = [f for f in facts if f.bits == 16]
    if 0 < len(deep) < len(facts):
        yield f"{len(deep)} of {len(facts)} images have 16 bits; save all with the same depth."
    if deep and max(f.peak for f in deep) < DARK:
        peak = max(f.peak for f in deep)
        yield (
            f"The 16-bit images use at most {(peak + 1) / 256:.1%} of the range and will look "
            "black; set bit_depth to what the camera gives, such as 12."
        )


def _weak_masks(facts: Sequence[_Facts]) -> Iterator[str]:
    empty = [f.record.key for f in facts if f.record.defective and f.area == 0]
    if empty:
        yield (
            f"{len(empty)} defective images have an empty mask (first: {empty[0]}); they count as "
            "defective without a place. Mark the defect where there is one."
        )
    full = [f.record.key for f in facts if f.area and f.area > 0.5 * f.size[0] * f.size[1]]
    if full:
        yield (
            f"{len(full)} masks cover more than half of the image (first: {full[0]}); if black "
            "stands for the defect there, invert them."
        )


def _repeats(facts: Sequence[_Facts]) -> Iterator[str]:
    same = [
        (one, other)
        for one, other in _twins(facts)
        if not _apart(one, other) and one.record.defective == other.record.defective
    ]
    if same:
        one, other = (fact.record for fact in same[0])
        yield (
            f"{len(same)} images repeat another one of the same split (first: {other.key} = "
            f"{one.key}); delete them, or they count twice."
        )


def _thin_test(data: DataSet) -> Iterator[str]:
    test = data.select("test")
    good = len(test.select(defective=False))
    if not test:
        yield "There are no test images, so nothing can be evaluated; keep some apart."
    elif not good:
        yield "There are no good test images, so false alarms cannot be measured; add some."
    elif good == len(test):
        yield "There are no defective test images, so misses cannot be measured; add some."


def _calibration(data: DataSet, share: float) -> Iterator[str]:
    """Which false-alarm rates a calibration set of this size can promise."""
    parts = len({r.group for r in data.select("train", defective=False)})
    # As splits.calibration_split counts.
    held_out = min(max(int(share * parts + 0.5), 1), parts - 1)
    if parts < 2:
        return
    # The hardest rate that is missed says it all: who misses 5 % misses 1 % too.
    for rate in (0.05, 0.01):
        needed = math.ceil(1 / rate) - 1
        if held_out < needed:
            yield (
                f"{held_out} of {parts} good training parts will calibrate, and a false-alarm rate "
                f"of {rate:.0%} needs {needed}: the lowest rate that can be promised is "
                f"{1 / (held_out + 1):.1%}. Add good parts, about {math.ceil(needed / share)} in "
                "all, or ask for that rate."
            )
            return


# -- small helpers -----------------------------------------------------------------------------


def _twins(facts: Sequence[_Facts]) -> list[tuple[_Facts, _Facts]]:
    """Each image that repeats an earlier one, after that earlier one."""
    first: dict[str, _Facts] = {}
    return [(first[f.digest], f) for f in facts if first.setdefault(f.digest, f) is not f]


def _apart(one: _Facts, other: _Facts) -> bool:
    """Whether one image is for testing and the other is not."""
    return (one.record.split == "test") != (other.record.split == "test")


def _splits(data: DataSet) -> list[Split]:
    return [split for split in SPLITS if data.select(split)]


def _counted(values: Iterable[Any]) -> dict[Any, int]:
    return dict(Counter(values).most_common())


def _sizes(facts: Sequence[_Facts]) -> dict[str, Any]:
    widths, heights = [f.size[0] for f in facts], [f.size[1] for f in facts]
    names = _counted(f"{width}×{height}" for width, height in zip(widths, heights, strict=True))
    return {
        "width": [min(widths, default=0), max(widths, default=0)],
        "height": [min(heights, default=0), max(heights, default=0)],
        "distinct": len(names),
        "most_common": dict(list(names.items())[:5]),
    }


def _mask_counts(facts: Sequence[_Facts]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int, marked=0, empty=0, missing=0)
    for fact in facts:
        if fact.record.defective:
            state = "missing" if fact.area is None else "marked" if fact.area else "empty"
            counts[state] += 1
    return dict(counts)


def _areas(facts: Sequence[_Facts]) -> dict[str, float] | None:
    marked = [f for f in facts if f.area and f.record.defective]
    if not marked:
        return None
    areas = np.array([f.area for f in marked], float)
    shares = areas / [f.size[0] * f.size[1] for f in marked]
    return {
        "smallest_px": float(areas.min()),
        "median_px": float(np.median(areas)),
        "largest_px": float(areas.max()),
        "median_share": float(np.median(shares)),
    }
