"""Confetti: blurred squares of colour on a good image, for methods that learn from defects.

[1] P. Liznerski, L. Ruff, R. Vandermeulen, B. Franks, M. Kloft, K.-R. Müller, "Explainable Deep
    One-Class Classification", ICLR 2021, arXiv 2007.01760.

As [1] describes it for images of 240 pixels, with every blob in a colour of its own. Sizes and
probabilities are the same at any image size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage

from blemish.types import Image, Mask

COLOURED, BLACK = 1.8e-5, 1.2e-5  # blobs per pixel
SIDES = (8, 54)  # pixels
TURN = 45.0  # degrees
BLUR = 5.0  # pixels
REACH = 12 / BLUR  # standard deviations that the blur looks at: 25 pixels
FAINT = 0.025 * 255  # mean change below which the opposite of the noise may be seen better


def confetti(image: Image, generator: np.random.Generator) -> tuple[Image, Mask]:
    """Strew blobs over an image.

    Args:
        image: (H, W, 3) uint8.
        generator: Tells where, how large and in which colours.

    Returns:
        The changed image, and (H, W) bool where it has changed: at least one blob was strewn, but
        on a black image it may be nowhere.
    """
    noise = np.zeros(image.shape, np.float32)
    for share, colour in ((COLOURED, None), (BLACK, -255.0)):
        noise += _field(image.shape[0], image.shape[1], share, colour, generator)
    noise = ndimage.gaussian_filter(noise, (BLUR, BLUR, 0), truncate=REACH)
    changed = _add(image, noise)
    if _change(image, changed) < FAINT:
        opposite = _add(image, -noise)
        if _change(image, opposite) > _change(image, changed):
            changed = opposite
    return changed, (changed != image).any(axis=2)


def _field(
    height: int, width: int, share: float, colour: float | None, generator: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W, 3) float32: blobs of one colour, or of random dark ones; at least one."""
    field = np.zeros((height, width, 3), np.float32)
    for _ in range(max(1, generator.binomial(height * width, share))):
        x, y = generator.uniform((0, 0), (width, height))
        side, turn = generator.uniform(*SIDES), math.radians(generator.uniform(-TURN, TURN))
        layer = Pillow.new("1", (width, height))
        corners = [turn + math.pi / 4 + i * math.pi / 2 for i in range(4)]
        reach = side / math.sqrt(2)
        ImageDraw.Draw(layer).polygon(
            [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in corners], fill=1
        )
        own = generator.uniform(-255, 0, 3) if colour is None else np.full(3, colour)
        field[np.asarray(layer)] += own.astype(np.float32)
    return field


def _add(image: Image, noise: NDArray[np.float32]) -> Image:
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), np.uint8)


def _change(image: Image, changed: Image) -> float:
    return float(np.abs(image.astype(np.int16) - changed).mean())
