"""Processes that learn together: how many there are, which one this is, and what each has found.

Who starts them: ``--devices N`` alone starts N on this machine; torchrun and Slurm start them and
say so in the environment; on several machines without either, the same command is given on each,
with ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from blemish.errors import ClusterError, MissingExtraError, OptionError
from blemish.run import Run, silent

T = TypeVar("T")
# Variables of torchrun, Slurm and Lightning that are 0 or missing in the first process.
RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


@dataclass(frozen=True)
class Team:
    """This process among those that learn together; alone unless it is told otherwise.

    Attributes:
        rank: Number of this process, from 0. Process 0 alone writes, calibrates and saves.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def gather(self, found: T) -> list[T]:
        """What every process has found, in order of rank; all of them must ask.

        Raises:
            ClusterError: A process was lost.
        """
        if self.size == 1:
            return [found]
        from torch import distributed  # an optional extra; `join_team` has it

        everything: list[Any] = [None] * self.size
        try:
            distributed.all_gather_object(everything, found)
        except RuntimeError as error:
            raise lost_process(error) from error
        return everything


def join_team(run: Run) -> Team:
    """Start the processes of a run on the CPUs, or join those that a launcher has started.

    Raises:
        OptionError: A launcher has started another number of processes than was asked for, or
            those of this process have ended already.
        MissingExtraError: There are several, and the extra is not installed.
    """
    devices, nodes = count_processes(run)
    if devices * nodes == 1:
        return Team()
    try:
        from lightning.fabric import Fabric
    except ImportError as error:
        raise MissingExtraError("Learning in several processes", "train") from error
    refuse_second_team()
    fabric = Fabric(accelerator="cpu", devices=devices, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return Team(fabric.global_rank, fabric.world_size)


def leave_to_the_first(run: Run) -> None:
    """End all processes of a run but the first, once all is learned: one file is written once.

    Raises:
        ClusterError: A process was lost.
    """
    devices, nodes = count_processes(run)
    if devices * nodes == 1:
        return
    from torch import distributed  # there, or nothing would have been learned

    if not distributed.is_initialized():
        return
    team = Team(distributed.get_rank(), distributed.get_world_size())
    team.gather(None)
    # Left to the interpreter's end, threads of gloo now and then abort the process.
    distributed.destroy_process_group()
    if team.rank:
        sys.exit(0)


def refuse_second_team() -> None:
    """Refuse to start processes where those that were started have ended.

    Raises:
        OptionError: They have.
    """
    from torch import distributed

    # Lightning writes the variable when it starts the other processes; a launcher before that.
    started = os.environ.get("LOCAL_RANK") == "0" and not _launcher(os.environ)
    if started and not distributed.is_initialized():
        raise OptionError(
            "This program has learned in several processes already, and they have ended: let "
            "every program fit one detector with several devices."
        )


def count_processes(run: Run, environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Processes per machine, and machines; what torchrun or Slurm has started counts.

    Args:
        run: What was asked for; 1 and 1 mean whatever a launcher says.
        environment: Variables of the process; None = its own.

    Raises:
        OptionError: A launcher has started other numbers than was asked for.
    """
    given, asked = os.environ if environment is None else environment, (run.devices, run.nodes)
    launcher = _launcher(given)
    if launcher == "torchrun":
        devices = int(given["LOCAL_WORLD_SIZE"])
        found = devices, int(given["WORLD_SIZE"]) // devices
    elif launcher == "Slurm":
        nodes = int(given.get("SLURM_NNODES", 1))
        found = int(given["SLURM_NTASKS"]) // nodes, nodes
    else:
        return asked
    if asked not in ((1, 1), found):
        raise OptionError(
            f"--devices {asked[0]} --nodes {asked[1]} do not fit what {launcher} has started: "
            f"{found[0]} processes on each of {found[1]} machines. Give these, or neither option."
        )
    return found


def only_first_speaks(run: Run, environment: Mapping[str, str] | None = None) -> Run:
    """The run; in every process but the first, one that says and shows nothing.

    Args:
        run: Of all processes.
        environment: Variables of this process; None = its own.
    """
    given = os.environ if environment is None else environment
    devices, nodes = count_processes(run, given)
    ranks = [int(given.get(name, 0)) for name in RANKS]
    if devices * nodes == 1 or not any(ranks):
        return run
    return replace(run, say=lambda text: None, progress=silent)


def _launcher(environment: Mapping[str, str]) -> str:
    """What has started this process together with others; empty if nothing has."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return "torchrun"
    if "SLURM_PROCID" in environment and int(environment.get("SLURM_NTASKS", 1)) > 1:
        return "Slurm"
    return ""


@contextmanager
def losses_said(team: Team) -> Iterator[None]:
    """Say it in one sentence when another process was lost; alone there is nothing to lose.

    Raises:
        ClusterError: Something inside failed for want of another process.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        if team.size > 1 and any(word in words for word in ("gloo", "nccl", "connection")):
            raise lost_process(error) from error
        raise


def lost_process(error: BaseException) -> ClusterError:
    """The sentence for a process that others wait for in vain."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ClusterError(
        f"A process that learns along was lost ({lines[0][:200]}). Give the same command again; "
        "with --checkpoint it goes on after the last whole epoch."
    )


def share(count: int, team: Team) -> tuple[float, slice]:
    """Which of `count` items of a batch are this process's, and how much its mean counts.

    Gradients are averaged over processes. So that they are those of the whole batch, the mean over
    n of N items on one of k processes has the weight n · k / N; a process without an item takes
    one, because the others wait for it, with the weight 0.

    Returns:
        The weight, and the rows.
    """
    own = len(range(team.rank, count, team.size))
    if not own:
        return 0.0, slice(0, 1)
    return own * team.size / count, slice(team.rank, None, team.size)
