"""Splits by group: all photos of one part fall on the same side.

A group's place depends on its own name and the seed alone, so a part falls on the same side for
every region of it and for every method.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025: few-defect splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from blemish.datasets.base import DataSet, Record
from blemish.errors import DataError, OptionError, UnknownNameError


def rank_groups(groups: Iterable[str], seed: int | str) -> list[str]:
    """Order distinct groups by SHA-256 of ``"<seed>|<group>"``."""
    return sorted(set(groups), key=lambda group: _digest(group, seed))


def calibration_split(data: DataSet, share: float, seed: int) -> tuple[DataSet, DataSet]:
    """Split the training normals into images to learn from and images to calibrate on.

    Synthetic images, picked ones (``calibrates=False``) and parts of which a defective photo is in
    training are only learned from.

    Args:
        data: Any data set; of its images only the good ones of ``"train"`` are used.
        share: Share in (0, 1) of the parts to calibrate on; at least one, and at least one group
            is left to learn from, which may be synthetic.
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
    left = len({r.group for r in normals}) - 1
    wanted = min(max(int(share * len(groups) + 0.5), 1), left)
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


def normal_folds(data: DataSet, folds: int, seed: int = 0) -> list[DataSet]:
    """Split the good images into k test sets, each with all defective images.

    Every good part is tested once and learned from k - 1 times; what the data set itself calls
    training and test does not count. Good photos of a part that also has a defective one are in
    every test set.

    Args:
        data: Any data set.
        folds: Number of splits k, at least 2.
        seed: Other seeds give other splits.

    Returns:
        The same records with other splits, one data set per fold.

    Raises:
        OptionError: `folds` is below 2.
        DataError: Fewer good parts than twice the folds.
    """
    if folds < 2:
        raise OptionError(f"folds={folds} must be at least 2; 5 is usual.")
    defective = {r.group for r in data if r.defective}
    # A salt of its own, or the calibration split would take the same end of the ranking.
    ranked = rank_groups((r.group for r in data if r.group not in defective), f"{seed}|fold")
    if len(ranked) < 2 * folds:
        raise DataError(
            f"{data.name} has {len(ranked)} good parts, too few for {folds} folds of at least 2; "
            "use fewer folds, or the data set's own split."
        )
    found = []
    for fold in range(folds):
        test = defective | set(ranked[fold::folds])
        records = (replace(r, split="test" if r.group in test else "train") for r in data)
        found.append(replace(data, records=tuple(records)))
    return found


def split_off_test(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """Assign train and test where the data set itself says nothing.

    Defective images go to test, and with them the good photos of the same parts. Of the other good
    parts those with a hash below `share` follow: adding images moves no earlier image from one
    side to the other, unless there was only one part on a side. Without defective images all is
    for training, and synthetic images always are.

    Args:
        records: Records whose splits are to be replaced.
        share: Share in [0, 1) of the good groups that go to test, on average.
        seed: Other seeds give other splits.
    """
    defective = {r.group for r in records if r.defective}
    # Another salt than the calibration split has, or both would take the same end of the ranking.
    salt = f"{seed}|test"
    kept = defective | {r.group for r in records if r.synthetic}
    ranked = rank_groups((r.group for r in records if r.group not in kept), salt)
    chosen = {group for group in ranked if int(_digest(group, salt), 16) < share * 2**256}
    # With few parts the hashes may all lie on one side; each side needs a part.
    if share > 0:
        chosen |= set(ranked[:1])
    if len(ranked) > 1 and len(chosen) == len(ranked):
        chosen.discard(ranked[-1])
    test = defective | chosen if defective else set()
    return [
        replace(r, split="test" if r.group in test and not r.synthetic else "train")
        for r in records
    ]


def few_defects(data: DataSet, per_type: int, draw: int = 0, unseen: Sequence[str] = ()) -> DataSet:
    """Move a few marked defects of each type from test to training, as [1] does.

    Of every type, `per_type` images with a mask that is not empty become training images, one per
    part. All other test images of these parts leave the data set, whatever their type: photos of
    one part are no news to a method that learned from one of them. Which parts are drawn depends
    on `draw`, the type and the names of the parts, so several draws give several data sets; a
    detector must be evaluated on the draw that it was fitted on, and refuses any other.

    Args:
        data: A data set with marked defects among its test images.
        per_type: Images of each type, at least 1.
        draw: Number of the draw.
        unseen: Types of which nothing is moved: does a method find what it never saw?

    Returns:
        The data set with changed splits and one more line of warnings that says what was done.

    Raises:
        DataError: No marked defect, or too few parts of a type.
        OptionError: `per_type` below 1.
        UnknownNameError: `unseen` names a type that is not there.
    """
    if per_type < 1:
        raise OptionError(f"few_defects={per_type} must be at least 1; 3 is usual.")
    test = data.select("test", defective=True)
    types = sorted({r.defect_type for r in test})
    for name in unseen:
        if name not in types:
            raise UnknownNameError(f"defect type of {data.name}", name, types)
    drawn: dict[str, Record] = {}  # by part
    for kind in types:
        if kind not in unseen:
            of_kind = [r for r in test if r.defect_type == kind]
            drawn |= _draw_marked(data, of_kind, per_type, f"{draw}|few|{kind}", set(drawn))
    if not drawn:
        raise DataError(
            f"{data.name} has no defective test images to draw few_defects={per_type} from; put "
            "some below test/, with their masks."
        )
    moved = {r.key for r in drawn.values()}
    left = {r.key for r in data if r.split == "test" and r.group in drawn} - moved
    records = tuple(
        replace(r, split="train") if r.key in moved else r for r in data if r.key not in left
    )
    note = (
        f"few_defects={per_type}, draw {draw}: {len(moved)} marked defects are training images; "
        f"{len(left)} other images of the same parts are left out of the test."
    )
    return replace(data, records=records, warnings=(*data.warnings, note))


def _draw_marked(
    data: DataSet, records: Sequence[Record], count: int, salt: str, taken: set[str]
) -> dict[str, Record]:
    """Part to one of its records with a mask that marks something, for the first `count` parts."""
    found: dict[str, Record] = {}
    for group in rank_groups((r.group for r in records if r.group not in taken), salt):
        of_part = sorted((r for r in records if r.group == group), key=lambda r: r.key)
        for record in sorted(of_part, key=lambda r: _digest(r.key, salt)):
            # Masks are read in the order of the draw, so only as many as are needed.
            if record.mask is not None and _is_marked(data, record):
                found[group] = record
                break
        if len(found) == count:
            return found
    raise DataError(
        f"{data.name}: few_defects={count} needs marked defects of {count} parts of each type, but "
        f"{records[0].defect_type!r} has {len(found)} (a part counts once, and not where another "
        f"type took it). Ask for fewer, or leave the type out with unseen={records[0].defect_type}."
    )


def _is_marked(data: DataSet, record: Record) -> bool:
    image = data.image(record)
    return data.mask(record, (image.shape[0], image.shape[1])) is not None


def count_calibratable(data: DataSet) -> int:
    """Number of training groups that may calibrate: good photos only, none of them synthetic.

    Raises:
        DataError: As for :func:`calibration_split`.
    """
    return len(_calibratable(data, 0)[2])


def _calibratable(data: DataSet, seed: int) -> tuple[DataSet, set[str], list[str]]:
    """The training normals, their groups, and those that may calibrate, ranked."""
    normals = data.select("train", defective=False)
    # What was never photographed is no part.
    groups = {r.group for r in normals if not r.synthetic}
    if len(groups) < 2:
        raise DataError(
            f"{data.name} has {len(normals)} good training images of {len(groups)} parts that were "
            "photographed; learning "
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
