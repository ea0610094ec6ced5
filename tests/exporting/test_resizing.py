"""The matrices give what Pillow gives, bit for bit."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from PIL import Image as Pillow

from blemish.exporting.resizing import add_resize
from blemish.graphs import Graph
from blemish.preprocess import RESAMPLING

CASES = [
    ((40, 60), (0, 0, 60, 40), (17, 23)),
    ((40, 60), (0, 0, 60, 40), (90, 101)),
    ((40, 60), (0, 0, 60, 40), (40, 30)),
    ((40, 60), (0, 0, 60, 40), (40, 60)),
    ((97, 31), (3.25, 10.1, 29.9, 80.7), (33, 16)),
    ((300, 500), (0, 0, 500, 300), (12, 20)),
]


def run(image, box, after, how):
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", 3, *image.shape[:2]])
    result = add_resize(graph, x, image.shape[:2], box, after, how)
    graph.output(result, "y", TensorProto.FLOAT, ["B", 3, *after])
    session = onnxruntime.InferenceSession(graph.model("resize").SerializeToString())
    planes = image.transpose(2, 0, 1)[None].astype(np.float32)
    return session.run(None, {"x": planes})[0][0].transpose(1, 2, 0).astype(np.uint8)


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize(("size", "box", "after"), CASES, ids=str)
def test_the_result_is_pillows(how, size, box, after):
    generator = np.random.default_rng(0)
    for image in (
        generator.integers(0, 256, (*size, 3), np.uint8),
        generator.choice(np.array([0, 255], np.uint8), (*size, 3)),
    ):
        resized = Pillow.fromarray(image).resize((after[1], after[0]), RESAMPLING[how], box=box)
        np.testing.assert_array_equal(run(image, box, after, how), np.asarray(resized))
