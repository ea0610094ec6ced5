"""What learning is given from outside: seed, device, progress, where curves and states go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""


@dataclass
class Run:
    """Everything that learning is given from outside.

    Attributes:
        seed: Every random number of a method derives from it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        precision: ``"auto"``, ``"32"``, ``"bf16"``.
        devices: How many devices of one machine learn together, one process each.
        nodes: On how many machines.
        progress: Called with a stage, the steps done and the steps in all.
        say: Called with sentences that the user should read, such as predicted memory.
        history: Name to values per epoch, for the report.
        checkpoint: Folder that the state of training is written to after every epoch, and from
            which training goes on; None = no checkpoints.
        track: Where curves are also written: a name of :data:`blemish.tracking.TRACKERS`.
        track_folder: Folder of curves that are kept on this machine.
        label: What the trackers call this run.
        feature_cache: Folder in which features of frozen backbones are kept between fits, in
            half precision; None = none are kept. It can be deleted at any time.
        feature_cache_mb: Largest size of that folder in MB (10^6 bytes).
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    progress: Progress = silent
    say: Callable[[str], None] = lambda text: None
    history: dict[str, list[float]] = field(default_factory=dict)
    checkpoint: Path | None = None
    track: str = "none"
    track_folder: Path = Path("runs")
    label: str = ""
    feature_cache: Path | None = None
    feature_cache_mb: float = 20_000.0
