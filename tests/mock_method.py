"""A method in plain numpy, as another package would add it: no torch, no weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.maps import Post
from blemish.methods.base import Method, Output, Run, State
from blemish.options import option
from blemish.samples import Samples
from blemish.types import Pixels

ENTRY_POINT = "[blemish.methods]\nmock_method = mock_method:MockMethod\n"


@dataclass(frozen=True)
class MockOptions:
    floor: float = option(0.02, "Smallest deviation that counts.", low=1e-6)


class MockMethod(Method):
    """How many deviations each pixel is away from the mean image."""

    Options = MockOptions
    presets = {"tiny": {}, "small": {"floor": 0.01}}  # noqa: RUF012
    options: MockOptions

    @property
    def post(self) -> Post:
        return Post(blur=1.0, pool="top_share", pool_value=0.02)

    def learn(self, samples: Samples, run: Run) -> None:
        views = np.concatenate([batch.x for batch in samples.normals.batches(8)])
        self.mean_ = views.mean(axis=0)
        self.deviation_ = np.maximum(views.std(axis=0), np.float32(self.options.floor))
        run.history["loss"] = [1.0, 0.5]

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        maps = np.abs((x - self.mean_) / self.deviation_).max(axis=3)
        expected = np.broadcast_to(self.mean_, x.shape)
        return Output(np.where(valid, maps, 0).astype(np.float32), None, {"expected": expected})

    def state(self) -> State:
        return {}, {"mean": self.mean_, "deviation": self.deviation_}

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self.mean_ = np.asarray(arrays["mean"], np.float32)
        self.deviation_ = np.asarray(arrays["deviation"], np.float32)
