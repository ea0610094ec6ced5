import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.reporting.heat_layer import heat_layer
from blemish.types import Prediction


@pytest.fixture
def prediction():
    found = np.linspace(0, 4, 12, dtype=np.float32).reshape(3, 4)
    return Prediction("", 4, 0.01, True, 0.05, 1, 2.0, found, found > 2)


def rgba(content):
    return np.asarray(Pillow.open(io.BytesIO(content)).convert("RGBA"))


def test_it_is_clear_where_calm_and_gets_denser_with_the_map(prediction):
    alpha = rgba(heat_layer(prediction))[..., 3].ravel().astype(int)
    assert alpha[0] == 0
    assert (np.diff(alpha) >= 0).all()
    assert alpha[-1] == 240


def test_the_pixel_threshold_is_the_middle_of_the_palette_whatever_the_scale(prediction):
    at = replace(prediction, anomaly_map=np.full((3, 4), 2, np.float32))
    assert set(np.asarray(Pillow.open(io.BytesIO(heat_layer(at)))).ravel()) == {128}
    double = replace(at, anomaly_map=at.anomaly_map * 2, pixel_threshold=4.0)
    assert heat_layer(double) == heat_layer(at)
