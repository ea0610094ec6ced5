"""Which training parts a detector learns from, and which calibrate it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from blemish.datasets.base import DataSet
from blemish.datasets.splits import calibration_split, count_calibratable, cross_folds
from blemish.datasets.synthetic import check_synthetic
from blemish.errors import DataError, OptionError
from blemish.methods.base import Method, Run
from blemish.settings import Settings
from blemish.team import count_processes

# Below this many good parts a fifth of them promises little: 19 parts must calibrate for 5 %.
FEW_PARTS = 100


def choose_folds(
    data: DataSet,
    settings: Settings,
    name: str,
    method: type[Method],
    run: Run,
    before: Collection[str] = (),
) -> list[tuple[DataSet, DataSet]]:
    """What to learn from and what to calibrate on: one pair, or several for cross calibration.

    Args:
        data: Any data set; only its training images are used.
        settings: ``calibration`` and what belongs to it; ``auto`` is ``cross`` below
            `FEW_PARTS` parts where fits are cheap and one device does them.
        name: Name of the method.
        method: Tells whether it learns from defects and whether its fits are cheap.
        run: Seed, devices; told when there will be several fits.
        before: Digests of images that something was learned from before: they calibrate nothing,
            and nothing is calibrated by several fits unless that is asked for, and refused.

    Raises:
        DataError: Too few good images, defective ones for a method that takes none, no masks for a
            method that needs some, or all calibration images were seen before.
        OptionError: Several devices with ``calibration="cross"``.
    """
    train = data.select("train")
    check_synthetic(train)
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
    before = (*before, *train.origins)
    if _is_cross(train, settings, method, run, before):
        folds = cross_folds(train, settings.folds, settings.seed)
        run.say(f"Fits {len(folds) + 1} times, so that every good part calibrates once.")
    else:
        folds = [calibration_split(train, settings.calibration_share, settings.seed)]
    if before:
        folds = _leave_out(folds, before)
    # Defects are only ever learned from; methods for normals have none here.
    return [
        (replace(learn, records=(*learn.records, *defective.records)), held_out)
        for learn, held_out in folds
    ]


def _leave_out(
    folds: list[tuple[DataSet, DataSet]], before: Collection[str]
) -> list[tuple[DataSet, DataSet]]:
    """Keep images from calibrating that were seen before; by digest."""
    if len(folds) > 1:
        raise OptionError(
            "calibration=cross goes neither with another detector to go on from, nor with a "
            "pre-trained encoder or synthetic images, which have seen parts of every fold; use "
            "calibration=split."
        )
    ((learn, held_out),) = folds
    known = set(before)
    rest = tuple(r for r in held_out if held_out.hashes[r.key] not in known)
    if not rest:
        raise DataError(
            f"All {len(held_out)} calibration images were learned from before: by the detector to "
            "go on from, the pre-trained encoder or the generator of synthetic images. Use the "
            "seed and the calibration share of then, add good images that were not seen, fit anew, "
            "or pre-train with --data, which leaves calibration images out."
        )
    return [(learn, replace(held_out, records=rest))]


def _is_cross(
    train: DataSet,
    settings: Settings,
    method: type[Method],
    run: Run,
    before: Collection[str],
) -> bool:
    how, alone = settings.calibration, count_processes(run) == (1, 1)
    if how == "cross" and not alone:
        raise OptionError("calibration=cross fits several times; use one process for it.")
    if how != "auto":
        return how == "cross"
    fits = method.cheap_fits and alone and not before
    return fits and count_calibratable(train) < FEW_PARTS
