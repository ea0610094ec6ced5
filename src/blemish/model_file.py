"""The one file that a detector travels in: safetensors with a JSON header, or exported ONNX.

An ONNX file has the same header and arrays, with the graph's bytes as the array ``method.graph``.
The layout is documented in docs/model-file.md. Nothing in it is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from blemish.errors import ModelFileError
from blemish.files import write_atomically
from blemish.onnx_file import is_onnx, pack, unpack

SCHEMA = 1
KEY = "blemish"
GRAPH = "method.graph"
ENCODER = "encoder"  # what the header calls a pre-trained network that judges nothing yet


@dataclass(frozen=True)
class ModelFile:
    """The contents of a model file.

    Attributes:
        header: Method, options, geometry, post steps, versions, fingerprints; plain JSON values.
        arrays: Name to array.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.generic]]


def part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with `prefix`, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def write_model_file(path: str | Path, content: ModelFile) -> None:
    """Write a model file, read it again, and only then put it in place.

    A name that ends in ``.onnx`` makes an ONNX file, where there is a graph. A full disk or a kill
    leaves the old file as it was.

    Raises:
        ModelFileError: The folder cannot be written to, or what was written reads differently.
    """
    path = Path(path)
    # A non-contiguous array would be written wrongly without a word.
    arrays = {name: np.ascontiguousarray(array) for name, array in content.arrays.items()}
    header = {**content.header, "schema": SCHEMA}
    if path.suffix.lower() == ".onnx":
        if GRAPH not in arrays:
            raise ModelFileError(
                f"{path} has the name of an ONNX file, and this detector is not exported: "
                "`blemish export` does that. Name it *.blemish."
            )
        rest = {name: array for name, array in arrays.items() if name != GRAPH}
        data = pack(arrays[GRAPH].tobytes(), header, rest)
    else:
        data = save(arrays, metadata={KEY: json.dumps(header, allow_nan=False)})
    try:
        write_atomically(path, data, check=lambda written: _check_same(written, arrays))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be written: {error}. Nothing was changed; choose a folder that exists, "
            "may be written to and has room."
        ) from error


def read_model_file(path: str | Path) -> ModelFile:
    """Read a model file.

    Raises:
        ModelFileError: It does not exist, is truncated, is not a blemish file, or was written by a
            later version.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"There is no model file {path}. `blemish fit` writes one.")
    if is_onnx(path):
        return _read_onnx(path)
    try:
        with safe_open(path, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(KEY)
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(
            f"{path} is not a model file, or is truncated ({error}). Fit or copy it again."
        ) from error
    if text is None:
        raise ModelFileError(
            f"{path} is a safetensors file, but not one of blemish: it has no {KEY!r} header. "
            "Pre-trained weights go into the option `weights`."
        )
    return ModelFile(_parse_header(text, path), arrays)


def is_encoder_file(path: str | Path) -> bool:
    """Whether `blemish pretrain` wrote this file.

    Raises:
        ModelFileError: As for :func:`read_model_file`.
    """
    return read_model_file(path).header.get("kind") == ENCODER


def read_encoder_file(path: str | Path) -> ModelFile:
    """Read a file that `blemish pretrain` wrote.

    Raises:
        ModelFileError: It is no such file, or as for :func:`read_model_file`.
    """
    content = read_model_file(path)
    if content.header.get("kind") != ENCODER:
        raise ModelFileError(f"{path} is no pre-trained encoder; `blemish pretrain` writes one.")
    return content


def read_detector_file(path: str | Path) -> ModelFile:
    """Read a file that a detector was saved to.

    Raises:
        ModelFileError: It is a pre-trained encoder, or as for :func:`read_model_file`.
    """
    content = read_model_file(path)
    if content.header.get("kind") == ENCODER:
        raise ModelFileError(
            f"{path} is a pre-trained encoder, which judges nothing yet: `blemish fit --init "
            f"{path}` makes a detector of it, or name it as weights of backbone=pretrained_encoder."
        )
    return content


def _read_onnx(path: Path) -> ModelFile:
    graph, text, arrays = unpack(path.read_bytes(), path)
    if GRAPH in arrays:
        raise ModelFileError(f"{path} has two graphs. Export it again.")
    arrays[GRAPH] = np.frombuffer(graph, np.uint8)
    return ModelFile(_parse_header(text, path), arrays)


def _parse_header(text: str, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text)
        schema = header["schema"]
        if type(schema) is not int:
            raise TypeError(f"format {schema!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path} has a damaged header ({error}). Fit it again.") from error
    if not 1 <= schema <= SCHEMA:
        raise ModelFileError(
            f"{path} has format {schema}, this version of blemish reads formats up to {SCHEMA}. "
            "Install a newer blemish."
        )
    return dict(header)


def _check_same(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    written = read_model_file(path)
    for name, array in arrays.items():
        again = written.arrays.get(name)
        if again is None or again.dtype != array.dtype or again.tobytes() != array.tobytes():
            raise ModelFileError(f"{path}: the array {name!r} reads differently than written.")
