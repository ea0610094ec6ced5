"""ADTR+: what ADTR cannot draw again, told apart by defects as well.

[1] Z. You, K. Yang, W. Luo, L. Cui, Y. Zheng, X. Le, "ADTR: Anomaly Detection Transformer with
    Feature Reconstruction", ICONIP 2022, arXiv 2209.01816.

It goes on from a detector of ADTR (``fit(…, init=detector)``, ``--init``), as in [1], or starts
anew. Real marked defects are learned from where there are some; confetti stands in where there are
none. Its figures never stand in one column with those of methods that saw no defect.

Choices where [1] is silent: half of a batch is anomalous; a cell is anomalous when any pixel of it
is; an image without an anomalous cell has no push; the map is that of ADTR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blemish import losses
from blemish.augmentation.confetti import confetti
from blemish.defect_pool import Item, marked_views
from blemish.errors import DataError, MissingExtraError, OptionError
from blemish.features.view_feed import defective_views
from blemish.methods.base import Method, Run
from blemish.methods.feature_reconstruction import (
    PRESETS,
    ReconstructionOptions,
    ReconstructsFeatures,
)
from blemish.options import option
from blemish.samples import Samples

try:
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("The method adtr_plus", "train") from error

STREAM = 23  # of the pool's random numbers


@dataclass(frozen=True)
class ADTRPlusOptions(ReconstructionOptions):
    """Options of ADTR+."""

    epochs: int = option(300, "Times that every good view is seen.", low=1)
    labels: str = option(
        "pixels", "Learn where defects are, or only in which images.", choices=("pixels", "images")
    )
    alpha: float = option(0.003, "About the score that defects are pushed to.", low=1e-9)
    top: int = option(20, "Cells that decide with labels=images.", low=1)
    confetti: str = option(
        "auto", "Strewn defects: where there are no real ones, always, or never.",
        choices=("auto", "true", "false"),
    )  # fmt: skip
    per_image: int = option(4, "Images with confetti that are made of each good one.", low=1)
    defect_share: float = option(0.5, "Share of defective views in a batch.", low=0.01, high=0.9)


class ADTRPlus(ReconstructsFeatures):
    """ADTR that is pushed away from defects."""

    Options = ADTRPlusOptions
    supervision = "masks"
    makes_defects = True
    # Half of a batch is defective: an epoch, a pass over the good views, has twice the steps.
    presets = {  # noqa: RUF012
        **PRESETS,
        "small": {**PRESETS["small"], "epochs": PRESETS["small"]["epochs"] // 2},
        "tiny": {**PRESETS["tiny"], "per_image": 1},
    }

    options: ADTRPlusOptions

    def start_from(self, other: Method) -> None:
        """Go on from a fitted ADTR of the same backbone, grid and size."""
        if not isinstance(other, ReconstructsFeatures):
            raise OptionError(
                "adtr_plus goes on from a detector of adtr or adtr_plus; this is one of "
                f"{type(other).__name__}. Leave init out to start anew."
            )
        own, theirs = self.options, other.options
        for name in ("backbone", "strides", "cell", "reconstructor", "width", "layers", "heads",
                     "hidden"):  # fmt: skip
            if getattr(own, name) != getattr(theirs, name):
                raise OptionError(
                    f"{name} is {getattr(theirs, name)} in the detector to go on from and "
                    f"{getattr(own, name)} here; give the same, or leave init out."
                )
        self._start = other

    def learn(self, samples: Samples, run: Run) -> None:
        """Train on good parts and on defects, real or strewn."""
        items = self._gather(samples, run)
        bank = self._prepare(samples, run)
        start = getattr(self, "_start", None)
        if start is not None:
            if start.grid_ != self.grid_:
                raise OptionError(
                    f"The detector to go on from has {start.grid_[0]}×{start.grid_[1]} cells, here "
                    f"are {self.grid_[0]}×{self.grid_[1]}; give the same image_size and tile."
                )
            self.mean_, self.scale_ = start.mean_, start.scale_
            self.network_.load_state_dict(start.network_.state_dict())
            del self._start
        defects = defective_views(items, self.grid_)
        share = self.options.defect_share
        self._train("adtr_plus", samples.normals, bank, run, defects, share)

    def _gather(self, samples: Samples, run: Run) -> list[Item]:
        """The defective views to learn from, real or strewn."""
        o = self.options
        items = _labelled_views(samples) if o.labels == "images" else marked_views(samples)
        real = len(items)
        if o.confetti == "true" or (o.confetti == "auto" and not items):
            items += _strewn(samples.normals, o.per_image, run.seed)
        if not items:
            raise DataError(
                "adtr_plus learns from defects and there are none: give marked defects "
                "(few_defects=3), let confetti=auto stand in, or use adtr."
            )
        run.say(f"adtr_plus: {real} defective views, {len(items) - real} with confetti.")
        return items

    def _loss(
        self, difference: Tensor, valid: Tensor, anomalous: Tensor, defective: Tensor
    ) -> Tensor:
        o, score = self.options, losses.pseudo_huber(difference)
        if o.labels == "images":
            return losses.pull_push_images(score, defective, valid, o.alpha, o.top)
        return losses.pull_push_cells(score, anomalous, valid, o.alpha)


def _labelled_views(samples: Samples) -> list[Item]:
    """The views of defective images; where their defects are is not looked at."""
    return [
        Item(
            v.record.key, number, v.pixels[number], np.zeros_like(v.valid[number]), v.valid[number]
        )
        for v in samples.defects
        for number in range(len(v.pixels))
    ]


def _strewn(samples: Samples, per_view: int, seed: int) -> list[Item]:
    """Good views with confetti, where some of it lies on valid pixels."""
    generator = np.random.default_rng([seed, STREAM])
    items = []
    for views in samples:
        for number, valid in enumerate(views.valid):
            for copy in range(per_view):
                pixels, mask = confetti(views.pixels[number], generator)
                if (mask & valid).any():
                    key = f"confetti/{views.record.key}/{copy}"
                    items.append(Item(key, number, pixels, mask & valid, valid))
    return items
