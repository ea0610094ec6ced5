"""First weights of adversarial networks.

[1] A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.
"""

from __future__ import annotations

from blemish.errors import MissingExtraError

try:
    from torch import nn
except ImportError as error:
    raise MissingExtraError("An adversarial network", "train") from error

SPREAD = 0.02


def dcgan_weights(layer: nn.Module) -> None:
    """As [1]: weights from N(0, 0.02²), gains from N(1, 0.02²), no offsets.

    Args:
        layer: One layer; give the function to ``network.apply``.
    """
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, SPREAD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(layer.weight, 1.0, SPREAD)
        nn.init.zeros_(layer.bias)
