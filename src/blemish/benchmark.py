"""Benchmarks: one run becomes one results file that satisfies a JSON Schema.

Every number that blemish publishes comes from such a file: command, seeds, data fingerprint,
versions, hardware, figures with intervals.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema

import blemish
from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import OptionError
from blemish.evaluation import Evaluation, evaluate
from blemish.files import write_atomically
from blemish.metrics.figure import Figure

RESULT_SCHEMA = "blemish.result/1"
PACKAGES = ("numpy", "scipy", "pillow", "onnxruntime", "torch", "timm")


@dataclass
class Result:
    """One results file in the making.

    Attributes:
        what: What was measured; the first part of the file's name.
        command: The command that measures it again.
        data: Name and fingerprint of the data.
        figures: Name to plain JSON figure: ``value``, ``label``, ``low``, ``high``, …
        method: Name of the method, where there is one.
        options: Its options that differ from the defaults.
        seeds: Seeds of the runs.
        seconds: Wall time by stage.
        notes: Sentences that a reader of the figures must know.
        runs: Of each run the part (``groups``), truth (``defective``) and score (``scores``) of
            every test image, and the ``threshold``: what paired comparisons and histograms need.
    """

    what: str
    command: str
    data: Mapping[str, Any]
    figures: dict[str, dict[str, Any]]
    method: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    runs: Sequence[Mapping[str, Any]] = ()
    peak_memory_mb: float | None = field(default_factory=lambda: peak_memory_mb())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, checked against ``schemas/result-1.json``.

        Raises:
            OptionError: Something does not fit the schema; the message says what.
        """
        content = {
            "schema": RESULT_SCHEMA,
            "what": self.what,
            "method": self.method,
            "options": dict(self.options),
            "command": self.command,
            "seeds": list(self.seeds),
            "data": dict(self.data),
            "versions": versions(),
            "hardware": hardware(),
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
            "peak_memory_mb": self.peak_memory_mb,
            "notes": list(self.notes),
            "figures": self.figures,
            **({"runs": list(self.runs)} if self.runs else {}),
        }
        check_result(content)
        return content

    def write(self, folder: Path) -> Path:
        """Write ``<what>-<method>-<data>.json``."""
        parts = [self.what, self.method, str(self.data["name"]).replace("/", "_")]
        name = "-".join(part for part in parts if part)
        return write_atomically(
            folder / f"{name}.json", json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        )


def check_result(content: Mapping[str, Any]) -> None:
    """Check the contents of a results file against the schema.

    Raises:
        OptionError: It does not fit; the message says where.
    """
    text = resources.files("blemish").joinpath("schemas/result-1.json").read_text("utf-8")
    try:
        jsonschema.validate(content, json.loads(text))
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise OptionError(f"The result does not fit the schema at {where}: {error.message}") from (
            error
        )


def run_once(
    method: str, data: DataSet, options: Mapping[str, Any], preset: str | None = None
) -> tuple[Detector, Evaluation, dict[str, float]]:
    """Fit and evaluate once; also the seconds of each."""
    started = time.perf_counter()
    detector = Detector(method, preset, **options).fit(data)
    fitted = time.perf_counter()
    evaluation = evaluate(detector, data)
    seconds = {"fit": fitted - started, "evaluate": time.perf_counter() - fitted}
    return detector, evaluation, seconds


class EnergyMeter:
    """Estimates the energy of what is done inside the block, from the load of this machine.

    Raises:
        OptionError: codecarbon is not installed.
    """

    def __enter__(self) -> EnergyMeter:
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError as error:
            raise OptionError("Estimating energy needs codecarbon: pip install codecarbon.") from (
                error
            )
        options: dict[str, Any] = {
            "save_to_file": False,
            "log_level": "critical",
            "allow_multiple_runs": True,
        }
        # Sends nothing; the country matters for emissions only, which are not asked for.
        self._tracker = OfflineEmissionsTracker(country_iso_code="FRA", **options)
        self._tracker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.stop()

    def figures(self) -> dict[str, Figure]:
        """``energy_wh`` of processors, memory and GPUs."""
        used = 1000 * float(self._tracker.final_emissions_data.energy_consumed)
        label = "Energy of fit and test, Wh, estimated from the load"
        return {"energy_wh": Figure(used, label, estimator="load")}


def pool_seeds(runs: Sequence[Mapping[str, Figure]]) -> dict[str, dict[str, Any]]:
    """Join the figures of several seeds; see :func:`pool_figures`."""
    return pool_figures([{name: figure.to_json() for name, figure in r.items()} for r in runs])


def pool_figures(runs: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Join the plain JSON figures of several runs: mean, standard deviation and each value.

    A figure without a value in one run has none here. One run keeps its bootstrap intervals.
    """
    if len(runs) == 1:
        return {name: dict(figure) for name, figure in runs[0].items()}
    pooled = {}
    for name, first in runs[0].items():
        values = [run[name]["value"] for run in runs]
        known = [v for v in values if v is not None]
        entry: dict[str, Any] = {"value": None, "label": first["label"], "values": values}
        if len(known) == len(values):
            entry |= {"value": statistics.fmean(known), "deviation": statistics.stdev(known)}
        entry |= {key: first[key] for key in ("oracle", "estimator") if first.get(key)}
        pooled[name] = entry
    return pooled


def versions() -> dict[str, str]:
    """Versions of blemish, Python and the packages that figures depend on."""
    found = {"blemish": blemish.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
    }


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far in MB (10^6 bytes); None on Windows."""
    if sys.platform == "win32":
        return None
    # What the kernel counts for `getrusage` starts at what the parent had when it forked.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(line for line in lines if line.startswith("VmHWM:"))
        return round(int(own.split()[1]) * 1024 / 1e6, 1)
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), "")
