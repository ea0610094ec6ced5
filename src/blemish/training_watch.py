"""What is watched while a network is trained: loss terms, their being finite, the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from blemish.errors import MissingExtraError, TrainingError
from blemish.run import Run

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("Training a network", "train") from error

PAUSES = {"cpu": 0.0}  # seconds; 0.25 for any other device


class Means:
    """Means of the loss terms over the steps of an epoch.

    A GPU is not waited for at every step, it is asked four times a second.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0
        self._waiting: list[tuple[int, tuple[str, ...], Tensor]] = []
        self._device = torch.device("cpu")
        self._asked = -math.inf

    def add(self, terms: Mapping[str, Tensor], step: int) -> None:
        """Take the terms of one step.

        Raises:
            TrainingError: One of these, or of those that wait, is not a finite number.
        """
        elsewhere = (t.device for t in terms.values() if t.device.type != "cpu")
        self._device = next(elsewhere, self._device)
        row = torch.stack([t.detach().float().to(self._device) for t in terms.values()])
        self._waiting.append((step, tuple(terms), row))
        if time.perf_counter() - self._asked >= PAUSES.get(self._device.type, 0.25):
            self._ask()

    def _ask(self) -> None:
        """Bring what waits over from the device, all in one transfer."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        numbers = iter(torch.cat([row for _, _, row in waiting]).tolist())
        for step, names, _ in waiting:
            for name, value in zip(names, numbers):  # noqa: B905
                if not math.isfinite(value):
                    raise not_finite(f"the term {name}", step)
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._count += 1
        self._asked = time.perf_counter()

    def known(self) -> dict[str, float]:
        """Name to mean over the steps that the device was asked about."""
        return {name: total / self._count for name, total in self._sums.items()}

    def values(self) -> dict[str, float]:
        """Name to mean so far."""
        self._ask()
        return self.known()

    def append_to(self, history: dict[str, list[float]]) -> None:
        """Add a value to each curve."""
        for name, value in self.values().items():
            history.setdefault(name, []).append(value)


class Clock:
    """Tells the loss and the time that is left.

    Args:
        steps: Steps in all.
        run: Who is told.
    """

    def __init__(self, steps: int, run: Run):
        self._steps, self._run = steps, run
        self._started, self._first = time.perf_counter(), -1

    def show(self, step: int, terms: Mapping[str, float]) -> None:
        """Show the first of the means of an epoch so far."""
        if self._first < 0:
            # Steps of the checkpoint took no time here; the first one here is warming up.
            self._started, self._first = time.perf_counter(), step
        name, value = next(iter(terms.items()))
        text = f"training: {name} {value:.4g}"
        if step > self._first:
            each = (time.perf_counter() - self._started) / (step - self._first)
            text += f", {_duration(each * (self._steps - step - 1))} left"
        self._run.progress(text, step + 1, self._steps)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def not_finite(what: str, step: int) -> TrainingError:
    """The error of a loss, gradient or term that is no number."""
    return TrainingError(
        f"Training stopped at step {step}: {what} is not a finite number. It has changed no "
        "weight, and a checkpoint keeps the last whole epoch; use a lower learning rate, or clip "
        "the gradient."
    )
