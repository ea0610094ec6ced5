"""A grid of runs: methods × data × option values × seeds × folds, each one results file.

Three parts that do not know each other: a list of runs (:func:`plan_runs`, which computes nothing
and refuses what cannot work), one function that performs one run (:func:`perform`), and the way
through the list that skips what is there already (:func:`run_grid`). A run is recognised by its
words, not by pixels: use another folder when images have changed.

The test images choose nothing here. The best cell of a table of test figures is an oracle; whoever
wants one setting chooses it by held-out training images.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blemish.benchmark import EnergyMeter, Result, check_result, run_once
from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import normal_folds
from blemish.detector import Detector
from blemish.errors import BlemishError, OptionError
from blemish.evaluation import Evaluation
from blemish.metrics.figure import Figure
from blemish.options import digest_text
from blemish.run import Progress, silent

DIGITS = 7  # of a score in a results file: as many as a float32 has
ID_LENGTH = 12


@dataclass(frozen=True)
class GridData:
    """A data set of a grid, as :func:`blemish.open_dataset` takes it.

    Attributes:
        where: ``NAME``, ``NAME:PATH``, a folder or a manifest.
        category: One of its categories, where there are any.
        options: Options of the reader.
    """

    where: str
    category: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> DataSet:
        """List the records; no pixels are read yet."""
        return open_dataset(self.where, category=self.category, **self.options)


@dataclass(frozen=True)
class GridRun:
    """One run, said in plain values: it can be sent to another process or machine.

    Attributes:
        method: Registered name.
        data: The data set.
        options: Options of the method and the detector; the values of the grid among them.
        preset: Named option values below these.
        seed: Seed of the calibration split and of the method.
        fold: Which of the folds is tested on, from 0.
        folds: Number of folds over the good images; 0 = the data set's own split.
    """

    method: str
    data: GridData
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    seed: int = 0
    fold: int = 0
    folds: int = 0

    @property
    def id(self) -> str:
        """Hexadecimal digest of all of it: the same run has the same file."""
        return hashlib.sha256(digest_text(asdict(self)).encode()).hexdigest()[:ID_LENGTH]

    @property
    def label(self) -> str:
        """What a progress bar calls it."""
        values = " ".join(f"{k}={v}" for k, v in self.options.items())
        fold = f" fold {self.fold + 1} of {self.folds}" if self.folds else ""
        return f"{self.method} {values} seed {self.seed}{fold}".replace("  ", " ")

    @property
    def command(self) -> str:
        """The command line that performs this run, among others of its seed and folds."""
        words = ["blemish", "benchmark", "--methods", self.method, "--data", self.data.where]
        words += ["--category", self.data.category] if self.data.category else []
        words += [w for k, v in self.data.options.items() for w in ("--data-set", f"{k}={v}")]
        words += ["--preset", self.preset] if self.preset else []
        words += [w for k, v in self.options.items() for w in ("--set", f"{k}={v}")]
        words += ["--folds", str(self.folds)] if self.folds else []
        return shlex.join([*words, "--seeds", str(self.seed + 1)])


def parse_grid(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``latent=32,64:image_size=64,128``.

    Raises:
        OptionError: An axis without a name or a value, or one that is named twice.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for part in filter(None, text.split(":")):
        name, sign, values = part.partition("=")
        name = name.strip().replace("-", "_")
        found = tuple(v.strip() for v in values.split(",") if v.strip())
        if not (sign and name and found):
            raise OptionError(
                f"{part!r} is no axis of a grid; write latent=32,64:image_size=64,128."
            )
        if name in axes or len(set(found)) < len(found):
            raise OptionError(f"The grid names {name!r}, or a value of it, twice; once is enough.")
        axes[name] = found
    return axes


def plan_runs(
    methods: Sequence[str],
    data: Sequence[GridData],
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: int = 1,
    folds: int = 0,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[GridRun]:
    """List all runs of a grid; nothing is computed, and what cannot work is refused.

    Args:
        methods: Registered names.
        data: Data sets.
        grid: Option name to values; every combination is a cell.
        seeds: Runs of each cell, with the seeds 0, 1, ….
        folds: Splits over the good images (:func:`blemish.datasets.splits.normal_folds`);
            0 = the data set's own split.
        preset: Named option values, for every method.
        options: Options of every run.

    Raises:
        OptionError: No method, no data, no seed, or a value that an option cannot take.
        UnknownNameError: No such method, preset, option or data set.
        DataError: A data set that cannot be read, or has too few good parts for the folds.
    """
    if not methods or not data:
        raise OptionError("A grid needs a method and a data set, such as --methods vae --data DIR.")
    if seeds < 1 or folds < 0 or folds == 1:
        raise OptionError(
            f"seeds={seeds} and folds={folds} make no run: at least 1 seed, and 0 or from 2 folds."
        )
    axes, common = dict(grid or {}), dict(options or {})
    if twice := sorted({*axes} & {*common, "seed"} or {*common} & {"seed"}):
        raise OptionError(f"The option {twice[0]!r} is set twice; leave it in one place.")
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for method, cell in itertools.product(dict.fromkeys(methods), cells):
        Detector(method, preset, **common, **cell)
    for source in data:
        opened = source.open()
        if folds:
            normal_folds(opened, folds)
    return [
        GridRun(method, source, {**common, **cell}, preset, seed, fold, folds)
        for method, source, cell, seed, fold in itertools.product(
            dict.fromkeys(methods), data, cells, range(seeds), range(max(folds, 1))
        )
    ]


def perform(run: GridRun, energy: bool = False) -> Result:
    """Fit, evaluate, and give the results file of one run.

    Beside the figures of the evaluation it has the curves of the training (``training_…``), the
    share of defective test images, without which no average precision can be read, and the score
    of every test image.

    Args:
        run: What to do.
        energy: Also estimate the energy that it takes, with codecarbon.

    Raises:
        BlemishError: Whatever fitting and evaluating refuse.
    """
    data = run.data.open()
    if run.folds:
        data = normal_folds(data, run.folds)[run.fold]
    options = {**run.options, "seed": run.seed}
    with EnergyMeter() if energy else nullcontext() as meter:
        detector, evaluation, seconds = run_once(run.method, data, options, run.preset)
    figures = dict(evaluation.figures) | _prevalence(evaluation)
    figures |= meter.figures() if meter is not None else {}
    numbers = sum(array.size for array in detector.content().arrays.values())
    figures["numbers"] = Figure(float(numbers), "Numbers in the model file")
    return Result(
        what=f"grid_{run.id}",
        method=run.method,
        options={**({"preset": run.preset} if run.preset else {}), **run.options},
        command=run.command,
        seeds=(run.seed,),
        data={
            "name": data.name,
            "fingerprint": evaluation.data["test_fingerprint"],
            "options": dict(run.data.options),
            "fold": f"{run.fold + 1} of {run.folds}" if run.folds else "own split",
        },
        figures={k: figure.to_json() for k, figure in figures.items()} | _curves(evaluation),
        seconds={**seconds, "per_image": evaluation.seconds["predict_per_image"]},
        notes=evaluation.notes,
        runs=(scores_of(evaluation),),
    )


Perform = Callable[[GridRun], Result]
Outcome = tuple[GridRun, Result | BlemishError]


def one_by_one(runs: Sequence[GridRun], perform: Perform) -> Iterator[Outcome]:
    """The engine that performs runs in this process."""
    for run in runs:
        try:
            yield run, perform(run)
        except BlemishError as error:
            yield run, error


def run_grid(
    runs: Sequence[GridRun],
    folder: Path,
    perform: Perform = perform,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
    engine: Callable[[Sequence[GridRun], Perform], Iterator[Outcome]] = one_by_one,
) -> list[dict[str, Any]]:
    """Perform every run that has no file yet; a killed grid goes on where it was.

    A run that fails is said and has no file, so that the next call tries it again.

    Args:
        runs: As :func:`plan_runs` lists them.
        folder: Where each run leaves ``grid_<id>-<method>-<data>.json``.
        perform: Performs one run.
        progress: Called with the run that ended, runs done and runs in all.
        say: Told about failures.
        engine: Performs runs somewhere, in any order.

    Returns:
        The contents of the results files that are there now, in the order of the runs.
    """
    missing = [run for run in runs if find_result(run, folder) is None]
    before = len(runs) - len(missing)
    progress("grid", before, len(runs))
    for done, (run, outcome) in enumerate(engine(missing, perform), start=before + 1):
        if isinstance(outcome, BlemishError):
            say(f"{run.label}: {outcome}")
        else:
            outcome.write(folder)
        progress(f"grid: {run.label}", done, len(runs))
    paths = (find_result(run, folder) for run in runs)
    return [read_result(path) for path in paths if path is not None]


def find_result(run: GridRun, folder: Path) -> Path | None:
    """The results file of a run, or None where there is none yet."""
    return next(iter(sorted(folder.glob(f"grid_{run.id}-*.json"))), None)


def read_result(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises:
        OptionError: It is none, or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        check_result(content)
    except (ValueError, OptionError) as error:
        raise OptionError(f"{path} is no results file ({error}); delete it, or move it.") from error
    return content


def scores_of(evaluation: Evaluation) -> dict[str, Any]:
    """Part, truth and score of every test image, and the threshold, as plain JSON values."""
    images: Iterable[Any] = evaluation.images
    return {
        "groups": [i.group for i in images],
        "defective": [i.defective for i in images],
        "scores": [float(f"{i.score:.{DIGITS}g}") for i in images],
        "threshold": evaluation.threshold,
    }


def _prevalence(evaluation: Evaluation) -> dict[str, Figure]:
    share = sum(i.defective for i in evaluation.images) / len(evaluation.images)
    return {"prevalence": Figure(share, "Share of defective test images (AP of a guess)")}


def _curves(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """The curve of every loss term, with its last value as the figure's."""
    return {
        f"training_{name}": {
            "value": values[-1],
            "label": f"Training, {name}, last epoch",
            "values": values,
        }
        for name, values in evaluation.history.items()
        if values
    }
