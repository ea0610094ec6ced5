"""The anomaly map as a picture of its own, to lay over the image in a browser."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from blemish.reporting.pictures import MapScale, colour_ramp
from blemish.types import Prediction


def heat_layer(prediction: Prediction) -> bytes:
    """Encode the anomaly map as a PNG file with a palette of colours that are clear where calm.

    The colours mean what they mean in :func:`blemish.overlay`: the pixel threshold is index 128
    of 256, so that pictures of different images compare.

    Args:
        prediction: What the detector said; its map is (H, W).

    Returns:
        The bytes of an H × W PNG file.
    """
    positions = MapScale.of(prediction.pixel_threshold).positions(prediction.anomaly_map)
    picture = Pillow.fromarray((positions * 255).round().astype(np.uint8), "P")
    picture.putpalette(colour_ramp().tobytes())
    # Clear at 0, as opaque at the threshold as the report's overlay, and a little more at the top.
    clear = np.interp(np.arange(256) / 255, (0, 0.25, 0.5, 1), (0, 60, 190, 240))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=bytes(clear.astype(np.uint8)), compress_level=4)
    return buffer.getvalue()
