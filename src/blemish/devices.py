"""Where and how networks are computed: device, precision, random numbers of one's own."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from blemish.errors import MissingExtraError, OptionError
from blemish.run import Run
from blemish.team import count_processes, refuse_second_team

try:
    import torch
except ImportError as error:
    raise MissingExtraError("Training a network", "train") from error


# Names of <malloc.h>, and what glibc comes to by itself at most, in bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
MOST_TRIM, MOST_MMAP, MANY = 64 << 20, 32 << 20, 65536


def open_fabric(run: Run) -> Any:
    """Make the Fabric of a run: device, number of devices, precision.

    bfloat16 is the automatic choice only where the hardware computes in it: emulated, it is many
    times slower than float32.

    Raises:
        OptionError: The device is not there, or the other processes have ended already.
        MissingExtraError: Lightning is not installed.
    """
    make, several = _fabric_classes()
    device = torch.device(find_device(run.device))
    fast = has_bf16(device)
    devices, nodes = count_processes(run)
    if devices * nodes > 1:
        refuse_second_team()
    if run.precision == "bf16" and not fast:
        run.say(f"This {device.type} only emulates bfloat16, which is slow; precision=32 is not.")
    bf16 = run.precision == "bf16" or (run.precision == "auto" and fast)
    fabric = make(
        accelerator=device.type,
        devices=devices if device.index is None else [device.index],
        num_nodes=nodes,
        # Buffers that are sent round at every call would spoil two calls before one gradient; batch
        # norm of the first device is what is kept, with or without.
        strategy=several(broadcast_buffers=False) if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
    )
    fabric.launch()
    return fabric


def _fabric_classes() -> tuple[Any, Any]:
    try:
        with _same_process():
            # Here and not above: it takes seconds, and only training needs it.
            from lightning.fabric import Fabric
            from lightning.fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise MissingExtraError("Training a network", "train") from error
    return Fabric, DDPStrategy


def find_device(name: str) -> str:
    """Resolve ``"auto"`` to the best device there is.

    Raises:
        OptionError: No such device here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((kind for kind, found in there.items() if found), "cpu")
    kind = name.partition(":")[0]
    if kind != "cpu" and not there.get(kind, False):
        known = ", ".join(["cpu", *(kind for kind, found in there.items() if found)])
        raise OptionError(f"device={name} is not available here; there is {known}.")
    return name


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Private names, so that a torch without them only means float32.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Draw from a seed of one's own inside the block; leave the process's state as it was.

    Networks and optimisers are made inside such a block.
    """
    devices = [device] if device is not None and device.type == "cuda" else []
    with _same_process(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(mix_seeds(seed))
        yield


@contextmanager
def _same_process() -> Iterator[None]:
    """Undo what torch and Lightning do to a process when they first load some of their parts."""
    environment, state = dict(os.environ), random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def mix_seeds(*numbers: int) -> int:
    """One seed from several numbers, such that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep what is freed in the process until the end, for steps that need it again at once.

    glibc gives large blocks back to the system when they are freed, which clears every page before
    it gives one again. Nothing changes with another C library.
    """
    libc: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "gnu_get_libc_version"):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MANY)
        libc.mallopt(M_MMAP_THRESHOLD, MOST_MMAP)
        libc.mallopt(M_TRIM_THRESHOLD, MOST_TRIM)
        libc.malloc_trim(0)
