"""Training curves for other tools: a CSV file, TensorBoard, MLflow, Weights & Biases.

All of them work without a network: TensorBoard and the CSV file are files, MLflow writes to a local
file unless ``MLFLOW_TRACKING_URI`` says otherwise, Weights & Biases runs offline unless
``WANDB_MODE`` does. A tracker that fails never stops training: it is reported once and left alone.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import urlopen

from blemish.errors import MissingExtraError, UnknownNameError
from blemish.files import write_atomically

PROJECT = "blemish"
PATIENCE = 10  # seconds that a server has for its first answer


class Tracker(Protocol):
    """What receives the values of each epoch."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Take the values of one epoch, counted from 1."""

    def close(self) -> None:
        """Write what is left."""


class _Nothing:
    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class _Csv:
    """One row per epoch; the file is replaced whole, so that it can be read at any time."""

    path: Path
    rows: list[dict[str, float]] = field(default_factory=list)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self.rows.append({"epoch": epoch, **values})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, text.getvalue())

    def close(self) -> None:
        pass


class _TensorBoard:
    def __init__(self, folder: Path, label: str, card: Mapping[str, Any]):
        from tensorboard.summary import Writer

        self._writer = Writer(str(folder / label))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    def __init__(self, folder: Path, label: str, card: Mapping[str, Any]):
        # A server that goes away is asked again for a moment, not for minutes at every epoch.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        import mlflow

        self._mlflow = mlflow
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
        reach(address)
        if not address:
            # A data base: later versions no longer write to plain folders.
            folder.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}")
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=label)
        mlflow.log_params(dict(card))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=epoch)

    def close(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    def __init__(self, folder: Path, label: str, card: Mapping[str, Any]):
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        if mode == "online":
            reach(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
        self._run = wandb.init(
            project=PROJECT, name=label, dir=str(folder), config=dict(card), mode=mode
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def close(self) -> None:
        self._run.finish()


def reach(address: str) -> None:
    """Return when a server answers, whatever it says.

    The trackers' own clients try for minutes while the training waits.

    Args:
        address: Of the server; anything but http and https is taken as reached.

    Raises:
        OSError: There is no answer.
    """
    if not address.startswith(("http://", "https://")):
        return
    try:
        with urlopen(address, timeout=PATIENCE):
            pass
    except HTTPError as answer:  # an answer all the same
        answer.close()


_FOREIGN: dict[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _Wandb,
}
TRACKERS = ("none", "csv", *_FOREIGN)


class Tracking:
    """One tracker, kept from stopping the training.

    Args:
        name: One of :data:`TRACKERS`.
        folder: Where files go.
        label: What the run is called; also the name of the CSV file.
        card: What was trained: method, options. Plain JSON values.
        say: Called once when the tracker fails.

    Raises:
        UnknownNameError: No such tracker.
        MissingExtraError: The tracker's package is not installed.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        label: str,
        card: Mapping[str, Any],
        say: Callable[[str], None],
    ):
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        self._name, self._say = name, say
        self._tracker: Tracker = _Nothing()
        if name == "csv":
            self._tracker = _Csv(folder / f"{label}.csv")
        elif name in _FOREIGN:
            self._attempt(lambda: self._open(folder, label, card))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Hand on the values of one epoch, counted from 1."""
        self._attempt(lambda: self._tracker.log(epoch, values))

    def close(self) -> None:
        """Write what is left."""
        self._attempt(self._tracker.close)

    def _open(self, folder: Path, label: str, card: Mapping[str, Any]) -> None:
        try:
            self._tracker = _FOREIGN[self._name](folder, label, card)
        except ImportError as error:
            raise MissingExtraError(f"Tracking with {self._name}", "track") from error

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except MissingExtraError:
            raise
        # Whatever a foreign tracker or a full disk raises: the training is worth more.
        except Exception as error:
            self._say(
                f"Tracking with {self._name} failed ({error}); training goes on without it. The "
                "curves are still in the model file and in the report."
            )
            self._tracker = _Nothing()
