"""The file name is the registry: ``methods/patchcore.py`` defines ``PatchCore``.

A name is listed when its module defines a class that is spelled like the file without underscores
(``l2bt`` → ``L2BT``, ``mvtec_ad`` → ``MVTecAD``); a helper such as ``base.py`` defines none and is
not a name. Listing reads file texts only; :func:`get` imports the one module that was asked for.
Other packages add theirs through the entry points ``blemish.methods``, ``blemish.datasets`` and
``blemish.backbones``.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from blemish.errors import UnknownNameError

KINDS = {
    "methods": "method",
    "datasets": "data set",
    "backbones": "backbone",
    "synthesis": "GAN",
}


def names(kind: str) -> list[str]:
    """Names of one kind (``"methods"``, ``"datasets"``, ``"backbones"``), sorted."""
    return sorted({*_own(kind), *_foreign(kind)})


def get(kind: str, name: str) -> Any:
    """Import the one class that has this name.

    Raises:
        UnknownNameError: No such name; the nearest one is offered.
    """
    own = _own(kind)
    if name in own:
        return getattr(importlib.import_module(f"blemish.{kind}.{name}"), own[name])
    foreign = _foreign(kind)
    if name in foreign:
        return foreign[name].load()
    raise UnknownNameError(KINDS[kind], name, {*own, *foreign})


@cache
def _own(kind: str) -> dict[str, str]:
    """Map the names in the folder of `kind` to their classes, without importing a module."""
    found = {}
    for path in sorted((Path(__file__).parent / kind).glob("[a-z]*.py")):
        classes = re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in classes:
            if name.lower() == path.stem.replace("_", ""):
                found[path.stem] = name
    return found


@cache
def _foreign(kind: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=f"blemish.{kind}")}
