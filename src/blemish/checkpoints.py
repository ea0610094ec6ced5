"""A folder that holds the state of one training run, so that it can go on after a kill.

One file in safetensors format with a JSON header, replaced whole after every epoch: a kill at any
moment leaves the state of the last finished epoch. A lock that the system releases when its
process ends keeps a second run out of the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MissingExtraError, TrainingError
from blemish.model_file import ModelFile, part, read_model_file, write_model_file

try:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
except ImportError as error:
    raise MissingExtraError("Training a network", "train") from error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE = "checkpoint.safetensors"
LOCK = "checkpoint.lock"


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        epoch: Epochs done.
        history: Name to one value per epoch.
        arrays: Weights and optimiser states.
        scalars: Numbers of the optimisers that are no arrays.
    """

    epoch: int
    history: Mapping[str, list[float]]
    arrays: Mapping[str, NDArray[np.generic]]
    scalars: Mapping[str, Any]


@dataclass(frozen=True)
class CheckpointFolder:
    """Where checkpoints of one run lie; made by :func:`open_folder`.

    Attributes:
        path: The folder; None keeps nothing.
        identity: What the run is: method, options, data, seed. Plain JSON values.
        writes: False in a process that only reads.
    """

    path: Path | None
    identity: Mapping[str, Any]
    writes: bool = True

    def write(self, state: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            ModelFileError: The folder cannot be written to; the former checkpoint is left.
        """
        if self.path is None or not self.writes:
            return
        header = {
            "training": dict(self.identity),
            "epoch": state.epoch,
            "history": {name: list(values) for name, values in state.history.items()},
            "scalars": dict(state.scalars),
        }
        write_model_file(self.path / FILE, ModelFile(header, state.arrays))

    def read(self) -> Checkpoint | None:
        """The last checkpoint, or None where there is none yet.

        Raises:
            TrainingError: It belongs to another run; the message says what differs.
            ModelFileError: It is damaged.
        """
        if self.path is None or not (self.path / FILE).exists():
            return None
        content = read_model_file(self.path / FILE)
        header = content.header
        if "training" not in header:
            raise TrainingError(
                f"{self.path / FILE} is no checkpoint of a training run; choose another folder."
            )
        changes = differences(header["training"], self.identity)
        if changes:
            raise TrainingError(
                f"{self.path} holds a checkpoint of another run: {'; '.join(changes)}. Go on with "
                "the same options and data, or choose another folder."
            )
        return Checkpoint(header["epoch"], header["history"], content.arrays, header["scalars"])


@contextmanager
def open_folder(
    path: Path | None, identity: Mapping[str, Any], first: bool = True
) -> Iterator[CheckpointFolder]:
    """Open the folder of a run and keep other runs out of it until the end of the block.

    Args:
        path: The folder, made where it is missing; None keeps nothing.
        identity: What the run is; a checkpoint of a run with another one is refused.
        first: False in the helping processes of a run on several devices, which only read.

    Raises:
        TrainingError: Another run is using the folder.
    """
    if path is None or not first:
        yield CheckpointFolder(path, identity, first)
        return
    path.mkdir(parents=True, exist_ok=True)
    with (path / LOCK).open("a+b") as lock:
        try:
            _lock(lock)
        except OSError:
            raise TrainingError(
                f"{path} is in use by another training run; choose another folder, or wait."
            ) from None
        yield CheckpointFolder(path, identity)


def pack(
    epoch: int,
    history: Mapping[str, list[float]],
    networks: Mapping[str, nn.Module],
    optimisers: Mapping[str, Optimizer],
) -> Checkpoint:
    """Weights and optimiser states as arrays."""
    arrays: dict[str, NDArray[np.generic]] = {}
    scalars: dict[str, Any] = {}
    for name, network in networks.items():
        for key, tensor in network.state_dict().items():
            arrays[f"network/{name}/{key}"] = tensor.detach().cpu().numpy()
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                place = f"optimiser/{name}/{index}/{key}"
                if isinstance(value, Tensor):
                    arrays[place] = value.detach().cpu().numpy()
                else:
                    scalars[place] = value
    return Checkpoint(epoch, history, arrays, scalars)


def unpack(
    state: Checkpoint, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]
) -> None:
    """Put the weights and optimiser states of a checkpoint back."""
    for name, network in networks.items():
        own = part(state.arrays, f"network/{name}/")
        network.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in own.items()})
    for name, optimiser in optimisers.items():
        _restore_optimiser(optimiser, f"optimiser/{name}/", {**state.arrays, **state.scalars})


def _restore_optimiser(optimiser: Optimizer, prefix: str, values: Mapping[str, Any]) -> None:
    whole = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for place, value in values.items():
        if not place.startswith(prefix):
            continue
        index, key = place.removeprefix(prefix).split("/")
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
            like = parameters[int(index)]
            if value.shape == like.shape:
                # The layout in memory of the weight too, or sums could round differently.
                value = torch.empty_like(like, requires_grad=False).copy_(value)
        whole["state"].setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(whole)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say where two nested mappings differ: ``"options.latent is 64 there and 128 now"``."""
    found: list[str] = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, f"{prefix}{name}.")
        elif _plain(was) != _plain(now):
            found.append(f"{prefix}{name} is {_plain(was)} there and {_plain(now)} now")
    return found


def _plain(value: Any) -> Any:
    # JSON has no tuples: (1, 2) comes back as [1, 2].
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _lock(file: IO[bytes]) -> None:
    """Take the lock or raise OSError at once."""
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
