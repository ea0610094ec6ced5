"""Everything blemish raises on purpose.

```
BlemishError
├── ImageError          an image cannot be read, or is larger than the limit
├── DataError           a data set, manifest, mask or region of interest is not usable
│   └── OverlapError    images that must be unseen were seen (train and test, calibration, …)
├── OptionError         an option has a value that it cannot take
│   └── UnknownNameError   no such method, data set, backbone, preset or option
├── NotFittedError      predict, save or evaluate before fit
├── ModelFileError      not a blemish file, truncated, altered, or of another version
├── ExportError         an exported file would give other answers than the detector
├── CapabilityError     a method was asked for something that it declares it cannot do
├── BudgetError         a memory or disk budget is too small for what was asked
├── TrainingError       training went wrong: a loss that is no number, a checkpoint of another run
├── StorageError        files that lie elsewhere cannot be reached, or access is refused
├── ClusterError        machines that work together cannot be reached, differ, or were lost
├── MetricError         figures cannot be computed from these maps and masks
└── MissingExtraError   an optional dependency is not installed
```
A :class:`CalibrationWarning` says that a promise is weaker than what was asked for.

Each message names the value, the rule that it broke and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BlemishError(Exception):
    """Base of every error that blemish raises on purpose."""


class ImageError(BlemishError):
    """An image cannot be read, or is larger than the limit."""


class DataError(BlemishError):
    """A data set, manifest, mask or region of interest is not usable."""


class OverlapError(DataError):
    """Images that must be unseen were seen before."""


class OptionError(BlemishError):
    """An option has a value that it cannot take."""


class UnknownNameError(OptionError):
    """No such method, data set, backbone, preset or option.

    Args:
        kind: What was looked for, such as ``"method"``.
        name: The name that was given.
        known: The names that exist; the nearest one is offered.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        names = sorted(known)
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


class NotFittedError(BlemishError):
    """Predict, save or evaluate was called before fit."""


class ModelFileError(BlemishError):
    """Not a blemish file, or truncated, altered, or of another version."""


class ExportError(BlemishError):
    """An exported file would give other answers than the detector it came from."""


class CapabilityError(BlemishError):
    """A method was asked for something that it declares it cannot do."""


class BudgetError(BlemishError):
    """A memory or disk budget is too small for what was asked."""


class TrainingError(BlemishError):
    """Training went wrong: a loss that is not a number, or a checkpoint of another run."""


class StorageError(BlemishError):
    """Files that lie elsewhere cannot be reached, or access to them is refused."""


class ClusterError(BlemishError):
    """Machines that work together cannot be reached, differ from each other, or were lost."""


class MetricError(BlemishError):
    """Figures cannot be computed from these maps and masks."""


class MissingExtraError(BlemishError):
    """An optional dependency is not installed.

    Args:
        what: What needs it, such as ``"backbone timm_features"``.
        extra: The name of the extra, such as ``"train"``.
    """

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs the extra [{extra}]: pip install 'blemish[{extra}]'.")


class CalibrationWarning(UserWarning):
    """There are too few calibration parts for the false-alarm rate that was asked for."""
