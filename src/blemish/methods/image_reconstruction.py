"""What methods share that draw an image again: the difference, its usual size, the map, the file.

The map is the squared difference between an image and what the network draws of it, in units of the
usual error at each pixel, which parts tell that are not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.error_maps import ceiling, glow, usual_error
from blemish.errors import MissingExtraError
from blemish.graphs import Graph
from blemish.light import add_without_light, without_light
from blemish.maps import Post
from blemish.methods.base import GraphOutput, Method, Output, Run, Size, State
from blemish.model_file import part
from blemish.network_graph import add_network
from blemish.options import option
from blemish.samples import Samples
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("Reconstructing images", "train") from error

BATCH = 8


@dataclass(frozen=True)
class ReconstructionOptions:
    """Options of methods that draw an image again."""

    local: float = option(
        8.0,
        "Differences smoother than this many pixels are light, no defect; 0 = all count.",
        low=0,
    )
    standardise: bool = option(True, "Measure errors in units of the usual error at each pixel.")
    blur: float = option(1.0, "Standard deviation of the map's blur in pixels.", low=0)
    pooling: str = option(
        "top",
        "Score: mean of the map, of its largest values, or maximum.",
        choices=("mean", "top", "max"),
    )
    top_share: float = option(0.001, "Share of pixels that pooling=top counts.", low=1e-6, high=1)
    difference_scale: str = option(
        "fixed",
        "The difference picture's scale: one for all images, or one per image.",
        choices=("fixed", "per_image"),
    )


class ReconstructsImages(Method):
    """A method whose map is the squared difference to what a network draws of the image."""

    exportable = True
    augments = True
    default_size = (256, 256)

    options: ReconstructionOptions

    @property
    def post(self) -> Post:
        """Blur and pooling as the options say."""
        if self.options.pooling == "max":
            return Post(blur=self.options.blur)
        share = 1.0 if self.options.pooling == "mean" else self.options.top_share
        return Post(blur=self.options.blur, pool="top_share", pool_value=share)

    def _make(self) -> nn.Module:
        """The network for images of ``size_``."""
        raise NotImplementedError

    def _drawer(self) -> nn.Module:
        """The network as it predicts.

        It takes images (B, 3, H, W) and gives what it draws of them (B, 3, H, W) and, where the map
        does not say it, the score (B,) of each.
        """
        raise NotImplementedError

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Squared difference between each view and what the network draws of it."""
        drawn, scores = self._draw(x, valid)
        errors = squared_error(x, drawn, valid, self.options.local)
        name = "squared difference"
        if self.options.difference_scale == "per_image":
            name += ", scaled per image"
            ceilings = errors.max(axis=(1, 2), keepdims=True)
        else:
            ceilings = np.full((len(x), 1, 1), self.ceiling_, np.float32)
        pictures = {"reconstruction": drawn, name: glow(errors / np.maximum(ceilings, 1e-12))}
        return Output(errors / self.usual_, scores, pictures)

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """Map and score of :meth:`predict_batch`; pictures are not exported."""
        inside = graph.add("Unsqueeze", valid, graph.integers(3))
        filled = graph.add("Where", inside, x, graph.floats(0.5))
        planes = graph.add("Transpose", filled, perm=[0, 3, 1, 2])
        drawn, *score = add_network(graph, self._drawer().eval(), planes, (3, *size))
        difference = graph.add("Sub", x, graph.add("Transpose", drawn, perm=[0, 2, 3, 1]))
        difference = graph.add("Where", inside, difference, graph.floats(0))
        if self.options.local:
            difference = add_without_light(graph, difference, valid, self.options.local, size)
        squared = graph.add("Mul", difference, difference)
        errors = graph.add("ReduceMean", squared, graph.integers(3), keepdims=0)
        errors = graph.add("Where", valid, errors, graph.floats(0))
        maps = graph.add("Div", errors, graph.floats(self.usual_))
        return GraphOutput(maps, size, score[0] if score else None)

    def state(self) -> State:
        """The network's weights, the usual error and the scale of the difference picture."""
        header = {"size": list(self.size_), "ceiling": self.ceiling_}
        arrays: dict[str, NDArray[np.generic]] = {"usual": self.usual_}
        for name, tensor in self.network_.state_dict().items():
            arrays[f"network.{name}"] = tensor.numpy()
        return header, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        self.size_ = (int(header["size"][0]), int(header["size"][1]))
        self.ceiling_ = float(header["ceiling"])
        self.usual_ = np.asarray(arrays["usual"], np.float32)
        # On the meta device no weights are drawn only to be thrown away.
        with torch.device("meta"):
            network = self._make()
        own = part(arrays, "network.")
        weights = {name: torch.from_numpy(np.array(array)) for name, array in own.items()}
        network.load_state_dict(weights, strict=True, assign=True)
        self.network_: Any = network.to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def _draw(
        self, x: Pixels, valid: NDArray[np.bool_]
    ) -> tuple[Pixels, NDArray[np.float64] | None]:
        """Reconstructions (B, H, W, 3) and scores. One by one: batches round in another order."""
        drawer = self._drawer()
        found = [drawer(to_tensor(view, ok)) for view, ok in zip(x, valid, strict=True)]
        drawn = [drawing[0].permute(1, 2, 0).float().numpy() for drawing, *_ in found]
        scores = [float(score[0]) for _, *rest in found for score in rest]
        return np.stack(drawn), np.asarray(scores) if scores else None

    def _measure(self, samples: Samples) -> None:
        """Learn how large the error of good parts usually is, and where."""
        found = []
        for batch in samples.batches(BATCH):
            drawn, _ = self._draw(batch.x, batch.valid)
            errors = squared_error(batch.x, drawn, batch.valid, self.options.local)
            found.append((errors, batch.valid))
        errors = np.concatenate([e for e, _ in found])  # (N, h, w)
        valid = np.concatenate([v for _, v in found])
        self.ceiling_ = ceiling(errors, valid)
        self.usual_ = np.ones((1, 1), np.float32)
        if self.options.standardise:
            # A place in a tile is no place of the part.
            self.usual_ = usual_error(errors, valid, by_place=samples.geometry.tile == 0)


def say_size(name: str, networks: Mapping[str, nn.Module], run: Run) -> None:
    """Say how many parameters are trained, and the memory that this needs."""
    count = sum(p.numel() for network in networks.values() for p in network.parameters())
    # Weights, gradients and two moments of Adam, 4 bytes each.
    run.say(f"{name}: {count:,} parameters, about {16 * count / 1e9:.2g} GB to train them.")


def to_tensor(view: Pixels, valid: NDArray[np.bool_]) -> Tensor:
    """(H, W, 3) to (1, 3, H, W); mid grey where not valid, as in training."""
    filled = np.where(valid[:, :, None], view, np.float32(0.5))
    return torch.from_numpy(filled).permute(2, 0, 1)[None]


def squared_error(
    x: Pixels, drawn: Pixels, valid: NDArray[np.bool_], local: float
) -> NDArray[np.float32]:
    """(B, H, W) float32: mean over the channels, 0 where not valid.

    With `local`, only what differs from the difference around it counts.
    """
    found = (x - drawn) * valid[..., None]
    if local:
        found = without_light(found, valid, local)
    return np.where(valid, np.square(found).mean(axis=3), 0).astype(np.float32)
