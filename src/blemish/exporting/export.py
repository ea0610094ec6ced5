"""Write a detector as an ONNX file that has been compared with it.

The file holds the method from the views (after the one geometry, before any smoothing) to raw map
and score. Geometry, way back, smoothing, pooling and decisions are the code that training ran, so
that there is one inference path; ``image_size`` folds them into the graph for other runtimes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import CapabilityError, ExportError, OptionError
from blemish.exporting.gate_images import GateImages, gate_images
from blemish.exporting.parity import TOLERANCES, Parity, Tolerance, compare
from blemish.exporting.precision import store_halves, to_int8
from blemish.exporting.standalone import add_standalone
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.methods.base import Run
from blemish.model_file import ModelFile, write_model_file
from blemish.pipeline import Pipeline
from blemish.preprocess import Geometry

PRECISIONS = tuple(TOLERANCES)


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: The file.
        parity: How far the file's answers are from the detector's.
        images: What they were compared on, in words.
    """

    path: Path
    parity: Parity
    images: str


def export_onnx(
    detector: Detector,
    path: str | Path,
    *,
    data: DataSet | None = None,
    precision: str = "fp32",
    image_size: tuple[int, int] | None = None,
    tolerance: float | None = None,
    run: Run | None = None,
) -> Export:
    """Write a fitted detector as one ONNX file, unless the file gives other answers.

    The file is opened again in onnxruntime and judges images, one by one and in a batch; map,
    score, p-value, decision and mask are compared with the detector's, and the figures are written
    into the file. ``Detector.load`` reads it like any other; the core install is enough.

    Args:
        detector: A fitted detector of an exportable method.
        path: The file to write, named ``*.onnx``.
        data: Images to compare on; None = the recorded calibration images where they are still
            the same, else drawn ones.
        precision: ``"fp32"``; ``"fp16"``: weights are stored in half the space and computed with
            in float32; ``"int8"``: a network's convolutions in 8 bits, calibrated on good images.
        image_size: (height, width): fold geometry, smoothing and pooling in, for images of this
            size and runtimes that have nothing else.
        tolerance: Of fp16 and int8: accepted difference of maps and scores, as a share of their
            range; None = what is usual for the precision.
        run: Progress and messages.

    Raises:
        CapabilityError: The method cannot be exported.
        ExportError: The answers are apart; the message has the table. Nothing is written.
        ModelFileError: The file cannot be written.
        OptionError: No such precision, or the path is not named ``*.onnx``.
    """
    path, run = Path(path), run or Run()
    _check(detector, path, precision)
    allowed = _tolerance(precision, tolerance)
    chosen = gate_images(detector, data, image_size)
    run.progress("export", 0, 1)
    model = build_model(detector, image_size)
    if precision == "fp16":
        model = store_halves(model)
    elif precision == "int8":
        model = to_int8(model, _views(detector, chosen))
    run.progress("export", 1, 1)
    content = _content(detector, model, precision, image_size)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        write_model_file(trial, content)
        parity = compare(detector, Detector.load(trial), chosen.images, allowed, run)
    if not parity.passed:
        raise _refusal(parity, f"{path} (compared on {chosen.what})", precision)
    content.header["state"]["parity"] = {**parity.to_json(), "images": chosen.what}
    write_model_file(path, content)
    return Export(path, parity, chosen.what)


def build_model(detector: Detector, image_size: tuple[int, int] | None = None) -> ModelProto:
    """The graph of a detector, without metadata."""
    pipeline, graph = detector.pipeline, Graph()
    if image_size is not None:
        return add_standalone(graph, pipeline, image_size).model("blemish")
    height, width = pipeline.geometry.view_shape
    pixels = graph.input("pixels", TensorProto.UINT8, ["B", height, width, 3])
    valid = graph.input("valid", TensorProto.BOOL, ["B", height, width])
    x = graph.add("Cast", pixels, to=TensorProto.FLOAT)
    x = graph.add("Mul", x, graph.floats(1 / 255))
    found = pipeline.method.export_graph(graph, x, valid, (height, width))
    graph.output(found.maps, "map", TensorProto.FLOAT, ["B", *found.grid])
    if found.scores is not None:
        graph.output(found.scores, "score", TensorProto.FLOAT, ["B"])
    return graph.model("blemish")


def _check(detector: Detector, path: Path, precision: str) -> None:
    if path.suffix.lower() != ".onnx":
        raise OptionError(f"{path} is not named *.onnx; an exported file is, so that it is told.")
    if precision not in PRECISIONS:
        raise OptionError(f"precision={precision!r} is not one of {', '.join(PRECISIONS)}.")
    method = detector.pipeline.method
    if detector.method_name == "onnx_model":
        raise CapabilityError("This detector is an exported file already; copy it.")
    if not method.exportable:
        raise CapabilityError(
            f"{detector.method_name} cannot be exported as ONNX: it declares exportable=False. "
            "`blemish list` shows the methods; patchcore can."
        )


def _refusal(parity: Parity, where: str, precision: str) -> ExportError:
    next_step = (
        "Please report this, with the method, its backbone and what `blemish doctor` prints."
        if precision == "fp32"
        else f"{precision} is too coarse for it: export it as fp32, or accept more with tolerance=…"
    )
    return ExportError(
        "The exported file gives other answers than the detector, so nothing was written to "
        f"{where}.\n{parity.table()}\n{next_step}"
    )


def _tolerance(precision: str, asked: float | None) -> Tolerance:
    usual = TOLERANCES[precision]
    if asked is None:
        return usual
    if precision == "fp32":
        raise OptionError("The tolerance of fp32 is fixed: its answers are those of the detector.")
    if not 0 < asked <= 1:
        raise OptionError(f"tolerance={asked} is not a share in (0, 1] of the range.")
    return replace(usual, map=asked, score=asked)


def _views(detector: Detector, chosen: GateImages) -> list[dict[str, Any]]:
    """What the graph sees of the good images: the input that int8 ranges are measured on."""
    feeds = []
    for image in chosen.good:
        pixels, valid, _ = detector.pipeline.geometry.views(image)
        feeds += [{"pixels": p[None], "valid": v[None]} for p, v in zip(pixels, valid, strict=True)]
    return feeds


def _content(
    detector: Detector, model: ModelProto, precision: str, image_size: Sequence[int] | None
) -> ModelFile:
    """The detector's own header and calibration around the graph."""
    content, pipeline = detector.content(), detector.pipeline
    if image_size is not None:
        # Everything else is inside: what is left of the geometry is the size.
        whole = Geometry((image_size[0], image_size[1]), fit="stretch")
        pipeline = Pipeline(whole, pipeline.method, Post())
    arrays = {k: v for k, v in content.arrays.items() if k.startswith("calibration.")}
    if pipeline.geometry.roi is not None:
        arrays["roi"] = pipeline.geometry.roi
    arrays["method.graph"] = np.frombuffer(model.SerializeToString(), np.uint8)
    header = {
        **content.header,
        "method": "onnx_model",
        "options": {},
        "geometry": pipeline.geometry.to_json(),
        "post": pipeline.post.to_json(),
        # Where images lay on the machine that learned is nobody's business elsewhere.
        "paths": [],
        "state": {
            "view": list(pipeline.geometry.view_shape),
            "source": {k: content.header[k] for k in ("method", "options")},
            "precision": precision,
            "standalone": None if image_size is None else list(image_size),
        },
    }
    return ModelFile(header, arrays)
