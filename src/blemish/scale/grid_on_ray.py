"""The runs of a grid on all machines of a Ray cluster, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.benchmark import Result
from blemish.errors import BlemishError, MissingExtraError
from blemish.grid import GridRun, Outcome, Perform
from blemish.scale.cluster import cluster, plain_error

try:
    import ray
except ImportError as error:
    raise MissingExtraError("A grid on several machines", "scale") from error


@dataclass(frozen=True)
class RayEngine:
    """Performs the runs of :func:`blemish.run_grid` on a cluster.

    A run has a process of its own, which ends with it: what one leaves behind in memory is not
    counted to the next. Data sets must lie at the same path on every machine.

    Attributes:
        address: As for :class:`blemish.Bulk`; None = this machine alone.
        workers: Processes at a time; None = one per core.
        gpus: Share of a GPU that a run takes; 0 = it takes none.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0

    def __call__(self, runs: Sequence[GridRun], perform: Perform) -> Iterator[Outcome]:
        """Every run and what came of it, in the order in which they end."""
        if not runs:
            return
        with cluster(self.address, self.workers) as workers:
            task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_calls=1)(_performed)
            waiting = list(runs)
            going: dict[Any, GridRun] = {}
            while waiting or going:
                while waiting and len(going) < workers:
                    run = waiting.pop(0)
                    going[task.remote(perform, run)] = run
                (ended,), _ = ray.wait(list(going), num_returns=1)
                yield going.pop(ended), _outcome(ended)


def _performed(perform: Perform, run: GridRun) -> Result:
    return perform(run)


def _outcome(ended: Any) -> Result | BlemishError:
    try:
        found: Result = ray.get(ended)
    except ray.exceptions.RayError as error:
        # An error of the run comes inside one of Ray's.
        own = getattr(error, "cause", None)
        return own if isinstance(own, BlemishError) else plain_error("The run", error)
    return found
