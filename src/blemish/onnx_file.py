"""An exported detector as one ONNX file: a graph, and what blemish knows as metadata behind it.

The bytes of the graph come first and stay as they are; the metadata entries follow, which the
protobuf format allows. So thresholds change without touching the graph, and the digest over both
is checked by walking the outermost fields, before any library parses the file.

| entry | content |
|---|---|
| ``blemish`` | the header of the model file, JSON |
| ``blemish.arrays`` | calibration scores and the like, safetensors, base64 |
| ``blemish.digest`` | SHA-256 of graph and entries |
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, StringStringEntryProto, TensorProto
from safetensors import SafetensorError
from safetensors.numpy import load, save

from blemish.errors import ModelFileError

HEADER, ARRAYS, DIGEST = "blemish", "blemish.arrays", "blemish.digest"
METADATA_FIELD = 14  # of ModelProto, in onnx.proto
LARGEST = 2**31 - 1  # bytes of a protobuf message
DOMAINS = {"", "ai.onnx", "com.microsoft"}
OPSETS = range(13, 24)
AGAIN = "Export it again."


def is_onnx(path: Path) -> bool:
    """Whether a file begins like an ONNX model and not like safetensors."""
    with path.open("rb") as opened:
        start = opened.read(16)
    # ModelProto begins with field 1, the IR version; safetensors with a length and "{".
    return start[:1] == b"\x08" and start[8:9] != b"{"


def pack(graph: bytes, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Put metadata behind a graph.

    Raises:
        ModelFileError: Together they are larger than an ONNX file can be.
    """
    entries = {
        HEADER: json.dumps(header, allow_nan=False),
        ARRAYS: base64.b64encode(save(dict(arrays))).decode(),
    }
    entries[DIGEST] = digest(graph, entries)
    tail_model = ModelProto(
        metadata_props=[StringStringEntryProto(key=k, value=v) for k, v in entries.items()]
    )
    tail: bytes = tail_model.SerializeToString()
    if len(graph) + len(tail) > LARGEST:
        raise ModelFileError(
            f"The exported file would have {(len(graph) + len(tail)) / 1e9:.1f} GB, an ONNX file "
            "at most 2.1. Fit with a smaller bank_mb, or a smaller network."
        )
    return graph + tail


def unpack(content: bytes, path: Path) -> tuple[bytes, str, dict[str, NDArray[np.generic]]]:
    """Graph, header text and arrays of a file whose digest is right; nothing is run.

    Raises:
        ModelFileError: Truncated, foreign, changed after export, or with data outside the file.
    """
    graph, entries = _split(content, path)
    if HEADER not in entries:
        raise ModelFileError(
            f"{path} is an ONNX file, but not one of blemish: it has no {HEADER!r} metadata. "
            "`blemish export` writes one."
        )
    if entries.keys() != {HEADER, ARRAYS, DIGEST}:
        raise ModelFileError(f"{path} lacks metadata, or has more than was exported. {AGAIN}")
    found = entries.pop(DIGEST)
    if found != digest(graph, entries):
        raise ModelFileError(
            f"{path} was changed after it was exported: its digest is not that of its content. "
            f"{AGAIN} Thresholds are changed with `blemish threshold`."
        )
    _check_graph(graph, path)
    try:
        arrays = load(base64.b64decode(entries[ARRAYS], validate=True))
    except (SafetensorError, binascii.Error, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} has damaged arrays ({error}). {AGAIN}") from error
    return graph, entries[HEADER], arrays


def digest(graph: bytes, entries: Mapping[str, str]) -> str:
    """SHA-256 over the graph and the entries, each with its length."""
    found = hashlib.sha256(hashlib.sha256(graph).digest())
    for key in sorted(entries):
        for text in (key, entries[key]):
            data = text.encode()
            found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def _split(content: bytes, path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes before the first metadata entry, and the entries."""
    entries: dict[str, str] = {}
    end = None
    try:
        for number, start, body in _fields(content):
            if number != METADATA_FIELD:
                if HEADER in entries:
                    raise ModelFileError(f"{path} has something behind its metadata. {AGAIN}")
                continue
            entry = StringStringEntryProto.FromString(bytes(body))
            if not (isinstance(entry.key, str) and isinstance(entry.value, str)):
                raise ValueError("metadata that is no text")  # bytes, where it is not UTF-8
            if entry.key in entries:
                raise ModelFileError(f"{path} has the metadata {entry.key!r} twice. {AGAIN}")
            entries[entry.key] = entry.value
            end = start if end is None else end
    except (DecodeError, IndexError, ValueError) as error:
        raise ModelFileError(f"{path} is not an ONNX file, or is truncated. {AGAIN}") from error
    return content[: len(content) if end is None else end], entries


def _fields(content: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Number, place and body of the outermost protobuf fields."""
    view, place = memoryview(content), 0
    while place < len(view):
        start = place
        tag, place = _varint(view, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, stop = _varint(view, place)
        elif kind == 2:
            length, place = _varint(view, place)
            stop = place + length
        else:
            stop = place + {1: 8, 5: 4}.get(kind, len(view) + 1)
        if stop > len(view) or not number:
            raise ValueError("a field ends behind the file")
        yield number, start, view[place:stop]
        place = stop


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = view[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a number without an end")


def _check_graph(graph: bytes, path: Path) -> None:
    """Refuse what could reach beyond the file, or would not run, before a runtime sees it."""
    try:
        model = ModelProto.FromString(graph)
    except DecodeError as error:
        raise ModelFileError(f"{path} holds no ONNX graph. {AGAIN}") from error
    for opset in model.opset_import:
        if opset.domain not in DOMAINS or (
            opset.domain in ("", "ai.onnx") and opset.version not in OPSETS
        ):
            raise ModelFileError(
                f"{path} needs opset {opset.version} of {opset.domain or 'ai.onnx'!r}; this "
                f"version of blemish runs ai.onnx {OPSETS[0]} to {OPSETS[-1]}. {AGAIN}"
            )
    if model.functions or model.training_info:
        raise ModelFileError(f"{path} holds functions of its own, which are never run. {AGAIN}")
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
            raise ModelFileError(
                f"{path} keeps the data of {tensor.name!r} in another file, which is never read. "
                f"{AGAIN}"
            )


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All constants, also those in nodes and in the graphs inside them."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _in_attributes(node.attribute)


def _in_attributes(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        inner = [attribute.g] if attribute.HasField("g") else []
        for graph in (*inner, *attribute.graphs):
            yield from _tensors(graph)
