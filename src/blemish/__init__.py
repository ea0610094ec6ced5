"""blemish: industrial visual anomaly detection.

The public names load on first use (PEP 562), so that importing blemish costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Detector": "blemish.detector",
    "Prediction": "blemish.types",
    "Region": "blemish.types",
    "open_dataset": "blemish.datasets.opening",
    "check_dataset": "blemish.datasets.checking",
    "DataSet": "blemish.datasets.base",
    "Record": "blemish.datasets.base",
    "read_image": "blemish.images",
    "evaluate": "blemish.evaluation",
    "Evaluation": "blemish.evaluation",
    "write_report": "blemish.reporting.html",
    "BlemishError": "blemish.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'blemish' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
