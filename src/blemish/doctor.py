"""What is installed, what this machine can do, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import blemish

CORE = ("numpy", "scipy", "pillow", "safetensors", "onnxruntime", "onnx", "jinja2", "typer")
EXTRAS = {
    "train": ("torch", "torchvision", "timm", "lightning", "onnxscript"),
    "track": ("tensorboard", "mlflow", "wandb"),
    "tables": ("pyarrow",),
}
WEIGHTS = "BLEMISH_WEIGHTS"


def examine() -> dict[str, Any]:
    """Look at this installation; nothing is changed and nothing is fetched.

    Returns:
        ``versions``, ``machine`` (cores, memory in MB, instruction sets, free disk in GB),
        ``runtimes``, ``extras``, ``weights`` (names of the files) and ``advice`` (what is missing
        and the line that installs it); plain JSON values.
    """
    extras = {name: _extra(packages) for name, packages in EXTRAS.items()}
    weights = _weights()
    return {
        "versions": {
            "blemish": blemish.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in CORE},
        },
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "usable_cores": _usable_cores(),
            "memory_mb": _memory_mb(),
            "free_disk_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
            "instruction_sets": _instruction_sets(),
        },
        "runtimes": onnxruntime.get_available_providers(),
        "extras": extras,
        "weights": weights,
        "advice": _advice(extras, weights),
    }


def examination_text(found: dict[str, Any]) -> str:
    """The same for people."""
    machine = found["machine"]
    memory = machine["memory_mb"]
    lines = [
        " ".join(f"{k} {v}" for k, v in found["versions"].items()),
        machine["system"],
        f"{machine['usable_cores']} of {machine['cores']} cores, "
        f"{'unknown' if memory is None else f'{memory:,} MB'} memory, "
        f"{machine['free_disk_gb']} GB free here",
        f"instruction sets: {', '.join(machine['instruction_sets']) or 'unknown'}",
        f"onnxruntime: {', '.join(found['runtimes'])}",
    ]
    for name, packages in found["extras"].items():
        listed = ", ".join(f"{p} {v or 'MISSING'}" for p, v in packages.items())
        lines.append(f"[{name}] {listed}")
    lines.append(f"weights: {', '.join(found['weights']) or 'none'}")
    return "\n".join([*lines, "", *(found["advice"] or ["Nothing is missing."])])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extra(packages: tuple[str, ...]) -> dict[str, str | None]:
    return {p: _version(p) if importlib.util.find_spec(p) else None for p in packages}


def _weights() -> list[str]:
    folder = os.environ.get(WEIGHTS)
    if not folder or not Path(folder).is_dir():
        return []
    return sorted(p.name for p in Path(folder).iterdir() if p.suffix in (".safetensors", ".pth"))


def _advice(extras: dict[str, dict[str, str | None]], weights: list[str]) -> list[str]:
    advice = []
    uses = {
        "train": "networks and methods that train",
        "track": "training curves in other tools",
        "tables": "--parquet",
    }
    for name, packages in extras.items():
        missing = [p for p, version in packages.items() if version is None]
        if missing:
            advice.append(f"For {uses[name]}: pip install 'blemish[{name}]' ({', '.join(missing)})")
    if not weights:
        advice.append(
            f"No weights in ${WEIGHTS}: backbone=filter_bank needs none; others take weights=FILE."
        )
    return advice


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_mb() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"MemTotal:\s+(\d+) kB", text)
    return int(found[1]) * 1024 // 10**6 if found else None


def _instruction_sets() -> list[str]:
    """What numpy found at its start; it looks on every system."""
    shown: Any = np.show_config(mode="dicts")
    simd = shown.get("SIMD Extensions", {}) if isinstance(shown, dict) else {}
    return [*simd.get("baseline", []), *simd.get("found", [])]
