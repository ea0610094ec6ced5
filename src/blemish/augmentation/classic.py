"""Classic augmentation: turned, moved, zoomed, mirrored, brightened training images.

A preset says how far each change may go; :meth:`Changes.apply` draws one change and applies it to a
view, to what is valid in it and to its mask alike. Nothing is ever stored: every epoch sees other
changes. Only good training images are changed, never what calibrates or tests.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on data augmentation: preset ``thesis``.

Differs from [1]: nothing is written to disk; what comes in at the border is the mirrored image; the
limits are ours where [1] names none. The preset ``aligned`` goes only as far as a part in its
fixture does: a turn that production never shows teaches that it is normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MissingExtraError, UnknownNameError
from blemish.types import Mask, Pixels

BLUR_SIDE, BLUR_SIGMA = 3, 0.8  # pixels


@dataclass(frozen=True)
class Changes:
    """How far each change goes; 0 or False leaves it out.

    Attributes:
        chance: Probability in (0, 1] of each change on its own.
        rotate: Largest angle to either side, in degrees.
        shift: Largest distance along each axis, as share of that side.
        scale: Largest zoom to either side, as share: 0.1 is 0.9 … 1.1.
        flip_across: Mirror left and right.
        flip_along: Mirror top and bottom.
        blur: Blur lightly (Gaussian, 3 × 3 pixels).
        brightness: Largest factor to either side: 0.05 is 0.95 … 1.05.
        contrast: The same around the mean grey.
        gamma: The same for the exponent.
    """

    chance: float = 1.0
    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    flip_across: bool = False
    flip_along: bool = False
    blur: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0

    @property
    def names(self) -> list[str]:
        """The changes that may happen."""
        return [f.name for f in fields(self) if f.name != "chance" and getattr(self, f.name)]

    def alone(self, name: str) -> Changes:
        """Only the change of this name, as far and as likely as here."""
        if name not in self.names:
            raise UnknownNameError("change of this augmentation", name, self.names)
        return replace(Changes(self.chance), **{name: getattr(self, name)})

    def apply(
        self, image: Pixels, valid: Mask, mask: Mask, generator: np.random.Generator
    ) -> tuple[Pixels, Mask, Mask]:
        """Change one view.

        Args:
            image: (H, W, 3) float32 RGB in [0, 1].
            valid: (H, W) bool, False on padding and outside the region of interest.
            mask: (H, W) bool, the marked defect.
            generator: Tells which changes, and how far.

        Returns:
            The same three, changed. Valid is what was valid at both places: where it came from and
            where it went.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        drawn = self._draw(generator)
        planes = np.dstack([image, valid, mask]).astype(np.float32)
        if any(name in drawn for name in ("rotate", "shift_x", "scale")):
            planes = _warp(planes, drawn)
        if "flip_across" in drawn:
            planes = planes[:, ::-1]
        if "flip_along" in drawn:
            planes = planes[::-1]
        changed = _shade(np.ascontiguousarray(planes[..., :3]), drawn)
        # A pixel to which an invalid one has contributed is not valid.
        still = (planes[..., 3] > 0.999) & valid
        return changed, still, (planes[..., 4] > 0.5) & still

    def _draw(self, generator: np.random.Generator) -> dict[str, float]:
        """What happens, by name, and how far."""
        drawn: dict[str, float] = {}
        for name in self.names:
            # Both are drawn either way, so that one change does not move the others' numbers.
            happens, far = generator.random() < self.chance, generator.uniform(-1, 1, 2)
            limit = float(getattr(self, name))
            if not happens:
                continue
            if name == "shift":
                drawn |= {"shift_x": limit * far[0], "shift_y": limit * far[1]}
            else:
                drawn[name] = limit * far[0]
        return drawn


PRESETS = {
    "thesis": Changes(
        chance=0.3,
        rotate=90.0,
        scale=0.1,
        flip_across=True,
        flip_along=True,
        blur=True,
        brightness=0.05,
        contrast=0.05,
    ),
    "aligned": Changes(
        rotate=1.5, shift=0.015, scale=0.02, brightness=0.05, contrast=0.05, gamma=0.03
    ),
    "pixel_only": Changes(brightness=0.05, contrast=0.05, gamma=0.03),
}


def find_changes(name: str) -> Changes | None:
    """Look a preset up: ``"none"``, ``"aligned"``, or one change of it, ``"aligned:rotate"``.

    ``"on"`` is ``"aligned"``.

    Raises:
        UnknownNameError: No such preset, or no such change in it.
    """
    preset, colon, change = name.partition(":")
    if preset == "none" and not colon:
        return None
    preset = "aligned" if preset == "on" else preset
    if preset not in PRESETS:
        raise UnknownNameError("augmentation", name, ["none", "on", *PRESETS])
    return PRESETS[preset].alone(change) if colon else PRESETS[preset]


def _warp(planes: NDArray[np.float32], drawn: dict[str, float]) -> NDArray[np.float32]:
    """(H, W, C): turned, moved and zoomed around the centre, mirrored at the border."""
    torch, functional = _torchvision()
    height, width = planes.shape[:2]
    angle, scale = drawn.get("rotate", 0.0), 1 + drawn.get("scale", 0.0)
    dx, dy = drawn.get("shift_x", 0.0) * width, drawn.get("shift_y", 0.0) * height
    turn = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    # As far as the corners of the result look beyond the image.
    reach_x = (turn[0] * width / 2 + turn[1] * height / 2 + abs(dx) + abs(dy)) / scale
    reach_y = (turn[1] * width / 2 + turn[0] * height / 2 + abs(dx) + abs(dy)) / scale
    x, y = (max(0, math.ceil(r - s / 2)) + 1 for r, s in ((reach_x, width), (reach_y, height)))
    padded = np.pad(planes, ((y, y), (x, x), (0, 0)), mode="symmetric")
    warped = functional.affine(
        torch.from_numpy(padded).permute(2, 0, 1),
        angle=angle,
        translate=[dx, dy],
        scale=scale,
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
    )
    inside = warped[:, y : y + height, x : x + width]
    return np.ascontiguousarray(inside.permute(1, 2, 0).numpy())


def _shade(image: Pixels, drawn: dict[str, float]) -> Pixels:
    """(H, W, 3) in [0, 1]: blurred, brightened, with other contrast and gamma."""
    chosen = [name for name in ("blur", "brightness", "contrast", "gamma") if name in drawn]
    if not chosen:
        return image
    torch, functional = _torchvision()
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    if "blur" in drawn:
        pixels = functional.gaussian_blur(pixels, [BLUR_SIDE] * 2, [BLUR_SIGMA] * 2)
    if "brightness" in drawn:
        pixels = functional.adjust_brightness(pixels, 1 + drawn["brightness"])
    if "contrast" in drawn:
        pixels = functional.adjust_contrast(pixels, 1 + drawn["contrast"])
    if "gamma" in drawn:
        pixels = functional.adjust_gamma(pixels.clamp(0, 1), 1 + drawn["gamma"])
    return np.ascontiguousarray(pixels.clamp(0, 1).permute(1, 2, 0).numpy())


def _torchvision() -> tuple[Any, Any]:
    try:
        # Here and not above: the presets are read where torch is not installed.
        import torch
        from torchvision.transforms.v2 import functional
    except ImportError as error:
        raise MissingExtraError("Augmentation", "train") from error
    return torch, functional
