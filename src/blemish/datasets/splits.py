"""Splits by group: all photos of one part fall on the same side.

A group's place depends on its own name and the seed alone, so a part falls on the same side for
every region of it and for every method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from blemish.datasets.base import DataSet, Record
from blemish.errors import DataError, OptionError


def rank_groups(groups: Iterable[str], seed: int | str) -> list[str]:
    """Order distinct groups by SHA-256 of ``"<seed>|<group>"``."""
    return sorted(set(groups), key=lambda group: _digest(group, seed))


def calibration_split(data: DataSet, share: float, seed: int) -> tuple[DataSet, DataSet]:
    """Split the training normals into images to learn from and images to calibrate on.

    Synthetic images, picked ones (``calibrates=False``) and parts of which a defective photo is in
    training are only learned from.

    Args:
        data: Any data set; of its images only the good ones of ``"train"`` are used.
        share: Share in (0, 1) of the groups to calibrate on; at least one group, and at least one
            is left to learn from.
        seed: Other seeds give other splits.

    Returns:
        (learn, calibrate): the training normals, each group on one side.

    Raises:
        DataError: Fewer than two groups, or none that may calibrate.
        OptionError: `share` is not in (0, 1).
    """
    if not 0 < share < 1:
        raise OptionError(f"A calibration share of {share} is not between 0 and 1; 0.2 is usual.")
    normals, groups, ranked = _calibratable(data, seed)
    # The share is one of all parts, so barred parts do not shrink the calibration set.
    wanted = min(max(int(share * len(groups) + 0.5), 1), len(groups) - 1)
    held_out = set(ranked[:wanted])
    learn = tuple(r for r in normals if r.group not in held_out)
    calibrate = tuple(r for r in normals if r.group in held_out)
    return replace(normals, records=learn), replace(normals, records=calibrate)


def cross_folds(data: DataSet, folds: int, seed: int) -> list[tuple[DataSet, DataSet]]:
    """Split the training normals several times, so that every part is held out once.

    Args:
        data: As for :func:`calibration_split`.
        folds: Number of splits, at least 2; with fewer parts, one per part.
        seed: Other seeds give other splits.

    Returns:
        (learn, calibrate) of each fold.

    Raises:
        DataError: Fewer than two groups, or none that may calibrate.
    """
    normals, _, ranked = _calibratable(data, seed)
    found = []
    for fold in range(min(folds, len(ranked))):
        held_out = set(ranked[fold::folds])
        learn = tuple(r for r in normals if r.group not in held_out)
        calibrate = tuple(r for r in normals if r.group in held_out)
        found.append((replace(normals, records=learn), replace(normals, records=calibrate)))
    return found


def split_off_test(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """Assign train and test where the data set itself says nothing.

    Defective images go to test, and with them the good photos of the same parts. Of the other good
    parts those with a hash below `share` follow: adding images moves no earlier image from one
    side to the other, unless there was only one part on a side. Without defective images all is
    for training.

    Args:
        records: Records whose splits are to be replaced.
        share: Share in [0, 1) of the good groups that go to test, on average.
        seed: Other seeds give other splits.
    """
    defective = {r.group for r in records if r.defective}
    # Another salt than the calibration split has, or both would take the same end of the ranking.
    salt = f"{seed}|test"
    ranked = rank_groups((r.group for r in records if r.group not in defective), salt)
    chosen = {group for group in ranked if int(_digest(group, salt), 16) < share * 2**256}
    # With few parts the hashes may all lie on one side; each side needs a part.
    if share > 0:
        chosen |= set(ranked[:1])
    if len(ranked) > 1 and len(chosen) == len(ranked):
        chosen.discard(ranked[-1])
    test = defective | chosen if defective else set()
    return [replace(r, split="test" if r.group in test else "train") for r in records]


def count_calibratable(data: DataSet) -> int:
    """Number of training groups that may calibrate: good photos only, none of them synthetic.

    Raises:
        DataError: As for :func:`calibration_split`.
    """
    return len(_calibratable(data, 0)[2])


def _calibratable(data: DataSet, seed: int) -> tuple[DataSet, set[str], list[str]]:
    """The training normals, their groups, and those that may calibrate, ranked."""
    normals = data.select("train", defective=False)
    groups = {r.group for r in normals}
    if len(groups) < 2:
        raise DataError(
            f"{data.name} has {len(normals)} good training images of {len(groups)} parts; learning "
            "and calibrating need at least 2 parts. Add good images."
        )
    train = data.select("train")
    barred = {r.group for r in train if r.defective or r.synthetic or not r.calibrates}
    ranked = rank_groups(groups - barred, seed)
    if not ranked:
        raise DataError(
            f"{data.name}: each of its {len(groups)} good training parts also has a defective, "
            "synthetic or picked image, so none can calibrate. Add photos of parts that are only "
            "good."
        )
    return normals, groups, ranked


def _digest(group: str, seed: int | str) -> str:
    return hashlib.sha256(f"{seed}|{group}".encode()).hexdigest()
