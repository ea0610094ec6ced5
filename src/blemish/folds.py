"""Which training parts a detector learns from, and which calibrate it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from blemish.datasets.base import DataSet
from blemish.datasets.splits import calibration_split, count_calibratable, cross_folds
from blemish.errors import DataError, OptionError
from blemish.methods.base import Method, Run
from blemish.settings import Settings
from blemish.team import count_processes

# Below this many good parts a fifth of them promises little: 19 parts must calibrate for 5 %.
FEW_PARTS = 100


def choose_folds(
    data: DataSet, settings: Settings, name: str, method: type[Method], run: Run
) -> list[tuple[DataSet, DataSet]]:
    """What to learn from and what to calibrate on: one pair, or several for cross calibration.

    Args:
        data: Any data set; only its training images are used.
        settings: ``calibration`` and what belongs to it; ``auto`` is ``cross`` below
            `FEW_PARTS` parts where fits are cheap and one device does them.
        name: Name of the method.
        method: Tells whether it learns from defects and whether its fits are cheap.
        run: Seed, devices; told when there will be several fits.

    Raises:
        DataError: Too few good images, defective ones for a method that takes none, or no masks
            for a method that needs some.
        OptionError: Several devices with ``calibration="cross"``.
    """
    train = data.select("train")
    defective = train.select(defective=True)
    if method.supervision == "normal" and len(defective):
        raise DataError(
            f"{name} learns from good images only, but {len(defective)} training images are "
            f"defective ({defective.records[0].key}, …). Move them to the test split, or use a "
            "method that learns from defects."
        )
    needs = method.supervision == "masks" and not method.makes_defects
    if needs and not any(r.mask is not None for r in defective):
        raise DataError(
            f"{name} learns from marked defects, of which {data.name} has none for training: move "
            "some there with few_defects=3, or use patchcore, which needs good images only."
        )
    if _is_cross(train, settings, method, run):
        folds = cross_folds(train, settings.folds, settings.seed)
        run.say(f"Fits {len(folds) + 1} times, so that every good part calibrates once.")
    else:
        folds = [calibration_split(train, settings.calibration_share, settings.seed)]
    # Defects are only ever learned from; methods for normals have none here.
    return [
        (replace(learn, records=(*learn.records, *defective.records)), held_out)
        for learn, held_out in folds
    ]


def leave_out(
    folds: list[tuple[DataSet, DataSet]], learned: Collection[str]
) -> list[tuple[DataSet, DataSet]]:
    """Keep images from calibrating that an earlier detector learned from; by digest.

    Raises:
        OptionError: Several folds: every part was learned from by one of them.
        DataError: Nothing is left to calibrate on.
    """
    if len(folds) > 1:
        raise OptionError(
            "calibration=cross cannot go on from another detector, which has seen parts of every "
            "fold; use calibration=split."
        )
    ((learn, held_out),) = folds
    known = set(learned)
    rest = tuple(r for r in held_out if held_out.hashes[r.key] not in known)
    if not rest:
        raise DataError(
            f"All {len(held_out)} calibration images were learned from by the detector to go on "
            "from. Add good images that it has not seen, or fit anew."
        )
    return [(learn, replace(held_out, records=rest))]


def _is_cross(train: DataSet, settings: Settings, method: type[Method], run: Run) -> bool:
    how, alone = settings.calibration, count_processes(run) == (1, 1)
    if how == "cross" and not alone:
        raise OptionError("calibration=cross fits several times; use one process for it.")
    if how != "auto":
        return how == "cross"
    return method.cheap_fits and alone and count_calibratable(train) < FEW_PARTS
