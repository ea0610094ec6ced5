"""Options of L2BT: the teacher, what of it the students learn, and the map."""

from __future__ import annotations

from dataclasses import dataclass

from blemish.options import option

TEACHER = "vit_base_patch14_reg4_dinov2"


@dataclass(frozen=True)
class L2BTOptions:
    """Options of L2BT."""

    backbone: str = option(TEACHER, "Teacher: any timm vision transformer or CNN, or filter_bank.")
    weights: str | None = option(None, "Weights of a timm model: a file, 'random' or 'download'.")
    layers: tuple[int, ...] = option(
        (7, 11), "The early and the late block of a transformer, counted from 0."
    )
    strides: tuple[int, ...] = option(
        (), "The early and the late feature map of a CNN by stride, in place of layers."
    )
    neighbourhood: int = option(1, "Side of the neighbourhood averaged around a patch.", low=1)
    unfold: int = option(
        0, "Values that it is unfolded into, in place of its mean; 0 = not.", low=0
    )
    standardise: bool = option(
        False, "Shift and scale each channel to mean 0 and deviation 1 over good patches."
    )
    hidden: int = option(0, "Units of the students' hidden layers; 0 = mean of both widths.", low=0)
    epochs: int = option(50, "Times that every patch is seen.", low=1)
    train_batch: int = option(4, "Images per step, or as many patches as they have.", low=1)
    train_patches: int = option(0, "Patches per step in place of train_batch; 0 = not.", low=0)
    batching: str = option(
        "tokens", "A step sees shuffled patches, or whole images.", choices=("tokens", "image")
    )
    learning_rate: float = option(1e-4, "Learning rate of Adam.", low=1e-9)
    remember: bool = option(True, "Compute the teacher once; false: at every step, as published.")
    memory_mb: float = option(2000.0, "Largest size of patches held in memory, in MB.", low=1)
    direction: str = option(
        "product",
        "The map: product of both students' errors, or one of them.",
        choices=("product", "forward", "backward"),
    )
    boxes: tuple[int, ...] = option(
        (5, 5, 5, 5, 5, 7, 7, 7), "Box filters of the map, in pixels of the original.", low=1
    )
    top_share: float = option(
        0.001, "Share of the original's pixels whose mean is the score.", low=1e-6, high=1
    )
