"""Options of the masked autoencoder, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blemish.augmentation.moving import MOVES
from blemish.mask_bank import MASKINGS
from blemish.nets.vit import NORMS, POSITIONS
from blemish.options import option

SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class MaskedAutoencoderOptions:
    """Options of the masked autoencoder."""

    patch: int = option(16, "Side of a patch in pixels.", low=1)
    width: int = option(512, "Channels of a token of the encoder.", low=4)
    depth: int = option(16, "Layers of the encoder.", low=1)
    heads: int = option(8, "Attention heads of the encoder.", low=1)
    hidden: int = option(512, "Units inside the encoder's feed-forward parts.", low=1)
    decoder_width: int = option(256, "Channels of a token of the decoder.", low=4)
    decoder_depth: int = option(2, "Layers of the decoder.", low=1)
    decoder_heads: int = option(8, "Attention heads of the decoder.", low=1)
    decoder_hidden: int = option(512, "Units inside the decoder's feed-forward parts.", low=1)
    norm: str = option("dyt", "Dynamic tanh, or layer norm.", choices=NORMS)
    positions: str = option(
        "both", "Positions of patches: a learned table, fixed waves, or both.", choices=POSITIONS
    )
    levels: int = option(3, "Levels of the encoder that the decoder looks at; 1 = the last.", low=1)
    level_norms: bool = option(True, "Each level has a norm of its own.")
    dropout: float = option(0.0, "Dropout while training.", low=0, high=0.9)
    mask_ratio: float = option(0.75, "Share of the patches that is hidden.", low=0, high=1)
    masking: str = option(
        "block", "Visible blocks by centre or by corner, or single patches.", choices=MASKINGS
    )
    masks: int = option(8192, "Masks that training picks from.", low=1)
    ssim: float = option(0.2, "Weight of 1 - SSIM in pre-training.", low=0, high=1)
    epochs: int = option(200, "Times that every image is seen in pre-training.", low=1)
    finetune_epochs: int = option(40, "Times that it is seen after that.", low=1)
    finetune_loss: str = option(
        "hidden", "Squared error of hidden patches, or of the full image.",
        choices=("hidden", "full"),
    )  # fmt: skip
    augment: str = option(
        "object", "Turn and shift a little, mirror and turn by right angles, or none.",
        choices=MOVES,
    )  # fmt: skip
    train_batch: int = option(32, "Views per training step.", low=1)
    learning_rate: float = option(1.5e-4, "Learning rate of AdamW.", low=1e-9)
    weight_decay: float = option(0.05, "Weight decay of AdamW.", low=0)
    warm_up: float = option(0.05, "Share of the steps in which the rate rises.", low=0, high=1)
    finetune_schedule: str = option(
        "cosine", "How the rate falls after pre-training.", choices=SCHEDULES
    )
    clip: float = option(1.0, "Largest norm of the gradient; 0 = no limit.", low=0)
    passes: int = option(
        4, "Drawings that judge an image, each of what another part hides; 1 = nothing is hidden.",
        choices=(1, 2, 4),
    )  # fmt: skip
    partitions: int = option(1, "How often the image is parted for that.", low=1)
    combine: str = option(
        "mean", "Of the errors of a patch: mean, or min for fewer false alarms.",
        choices=("mean", "min"),
    )  # fmt: skip
    standardise: bool = option(
        False, "Measure errors in units of the usual error at each pixel, for parts that lie alike."
    )
    blur: float = option(4.0, "Standard deviation of the map's blur in pixels.", low=0)
    top_share: float = option(0.01, "Share of pixels that count; 0 = the peak.", low=0, high=1)


PRESETS: dict[str, dict[str, Any]] = {
    "original": {
        "level_norms": False,
        "dropout": 0.1,
        "masking": "corner",
        "epochs": 80,
        "learning_rate": 5e-5,
        "weight_decay": 0.01,
        "warm_up": 0.0,
        "finetune_schedule": "constant",
        "clip": 0.0,
        "blur": 0.0,
        "top_share": 0.0,
        "image_size": "256",
        "fit": "stretch",
    },
    "small": {
        "patch": 8,
        "width": 128,
        "depth": 6,
        "heads": 4,
        "hidden": 256,
        "decoder_width": 64,
        "decoder_heads": 4,
        "decoder_hidden": 128,
        "masks": 2048,
        "epochs": 30,
        "finetune_epochs": 8,
        "learning_rate": 1e-3,
        "train_batch": 16,
        "blur": 2.0,
        "image_size": "128",
    },
    "tiny": {
        "patch": 4,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "hidden": 64,
        "decoder_width": 32,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "decoder_hidden": 64,
        "levels": 2,
        "masks": 64,
        "epochs": 16,
        "finetune_epochs": 6,
        "learning_rate": 6e-3,
        "train_batch": 6,
        "augment": "none",
        "blur": 1.0,
        "image_size": "48x32",
    },
}
