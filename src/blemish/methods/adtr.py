"""ADTR: features of a frozen network, drawn again by a transformer that starts from a query.

[1] Z. You, K. Yang, W. Luo, L. Cui, Y. Zheng, X. Le, "ADTR: Anomaly Detection Transformer with
    Feature Reconstruction", ICONIP 2022, arXiv 2209.01816.

There is no published program. Where [1] is silent, what follows is a choice: see
``nets/feature_transformer.py`` for the network; the gradient is clipped; the last epoch is kept;
the score is the largest mean over 16 × 16 pixels of the map. Differs from [1]: cells outside the
region of interest and padding do not count; channels of ``filter_bank`` are centred and divided by
their deviation over good parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from blemish.errors import MissingExtraError
from blemish.methods.base import Run
from blemish.methods.feature_reconstruction import (
    PRESETS,
    ReconstructionOptions,
    ReconstructsFeatures,
)
from blemish.samples import Samples

try:
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("The method adtr", "train") from error


@dataclass(frozen=True)
class ADTROptions(ReconstructionOptions):
    """Options of ADTR."""


class ADTR(ReconstructsFeatures):
    """What a transformer that knows good parts cannot draw again is not normal."""

    Options = ADTROptions
    presets = PRESETS

    def learn(self, samples: Samples, run: Run) -> None:
        """Train the reconstructor on the features of good parts."""
        bank = self._prepare(samples, run)
        self._train("adtr", samples, bank, run)

    def _loss(
        self, difference: Tensor, valid: Tensor, anomalous: Tensor, defective: Tensor
    ) -> Tensor:
        error = difference.square().mean(dim=1)
        return (error * valid).sum() / valid.sum().clamp(min=1)
