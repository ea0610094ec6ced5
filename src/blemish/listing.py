"""Everything that can be named on the command line, with options and defaults."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from blemish import options, registry
from blemish.errors import MissingExtraError
from blemish.settings import Settings


def describe_everything() -> dict[str, dict[str, Any]]:
    """List methods, data sets, backbones and the options of every detector.

    Returns:
        Kind → name → ``{"summary", "options", "presets", "needs"}``; plain JSON values.
    """
    listing: dict[str, dict[str, Any]] = {
        kind: {name: _describe(kind, name) for name in registry.names(kind)}
        for kind in registry.KINDS
    }
    listing["detector"] = {"every detector": _entry(Settings)}
    return listing


def method_names() -> list[str]:
    """Names of all methods; none of them is imported, so this costs nothing."""
    return registry.names("methods")


def _describe(kind: str, name: str) -> dict[str, Any]:
    try:
        found = registry.get(kind, name)
    except MissingExtraError as error:
        return {"summary": str(error), "options": [], "presets": []}
    entry = _entry(getattr(found, "Options", None))
    entry["summary"] = _first_line(found)
    entry["presets"] = sorted(getattr(found, "presets", {}))
    return entry


def _entry(cls: type | None) -> dict[str, Any]:
    infos = options.describe(cls) if cls is not None else []
    return {
        "summary": "" if cls is None else _first_line(cls),
        "options": [dataclasses.asdict(info) for info in infos],
        "presets": [],
    }


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n", maxsplit=1)[0]
