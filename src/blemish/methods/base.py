"""What a method is: one file, one paper. The detector does everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.opening import images_seen
from blemish.errors import CapabilityError
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.run import Progress as Progress
from blemish.run import Run as Run
from blemish.run import silent as silent
from blemish.samples import Samples
from blemish.types import Pixels

Supervision = Literal["normal", "masks", "labels"]
Size = tuple[int, int]  # height and width of a view in pixels
State = tuple[dict[str, Any], dict[str, NDArray[np.generic]]]


@dataclass(frozen=True)
class Output:
    """What a method says of a batch of views.

    Attributes:
        maps: (B, h, w) float32 on any grid that covers the view; higher = more anomalous.
        scores: (B,) float64, or None: then the detector pools the map.
        pictures: Name to (B, H, W, 3) float32 in [0, 1]: reconstructions and the like.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float64] | None = None
    pictures: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphOutput:
    """What a method gives out of an ONNX graph: names of tensors.

    Attributes:
        maps: (B, h, w) float32.
        grid: h and w.
        scores: (B,) float32, or None: then the map is pooled.
    """

    maps: str
    grid: Size
    scores: str | None = None


@dataclass(frozen=True)
class Alike:
    """The patch of a good image that is most like a patch of another one.

    Attributes:
        at: Row and column in the view, in its pixels, of the patch that was looked at.
        digest: Of the good image.
        number: Of the view within the good image.
        there: Row and column in that view of the patch that is most alike.
        distance: Between both, as the method measures it.
    """

    at: tuple[float, float]
    digest: str
    number: int
    there: tuple[float, float]
    distance: float


class Method:
    """Base of all methods: declarations with their defaults, and five things to fill in.

    Attributes:
        Options: Flat frozen dataclass of options, the paper's values as defaults.
        supervision: ``"normal"``, or what else it learns from: ``"masks"``, ``"labels"``.
        localises: Whether the map says where the defect is.
        exportable: Whether it can be written as an ONNX file.
        makes_defects: Whether it makes defects of its own where there are no marked ones.
        augments: Whether it learns from changed views (``augmentation=``): it trains on views,
            or asks for :meth:`Samples.changed_batches`.
        cheap_fits: Whether few images are learned so fast that calibration may fit several times.
        presets: Name to option values; ``"tiny"`` and ``"small"`` need no weights.
        default_size: (height, width) of the working resolution, None = from the images.
    """

    Options: ClassVar[type]
    supervision: ClassVar[Supervision] = "normal"
    localises: ClassVar[bool] = True
    exportable: ClassVar[bool] = False
    makes_defects: ClassVar[bool] = False
    augments: ClassVar[bool] = False
    cheap_fits: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    default_size: ClassVar[tuple[int, int] | None] = None

    def __init__(self, options: Any):
        self.options = options

    @property
    def multiple(self) -> int:
        """Both sides of a view are filled up to a multiple of this."""
        return 1

    @property
    def post(self) -> Post:
        """Smoothing and pooling of the map."""
        return Post()

    @property
    def seen_before(self) -> tuple[str, ...]:
        """Digests of images that a pre-trained part of it has learned from: calibrate elsewhere."""
        name = getattr(self.options, "backbone", None)
        return images_seen(name, getattr(self.options, "weights", None)) if name else ()

    def start_from(self, other: Method) -> None:
        """Begin with what another fitted method has learned; called before :meth:`learn`.

        Raises:
            CapabilityError: This method always starts anew.
            OptionError: `other` does not fit; the message says what differs.
        """
        raise CapabilityError(
            f"{type(self).__name__} starts anew: it cannot go on from another detector. Leave init "
            "out."
        )

    def pretrain(self, samples: Samples, run: Run) -> None:
        """Learn what a detector can start from, of images whose labels nobody knows.

        Raises:
            CapabilityError: There is nothing that could be learned before.
        """
        raise CapabilityError(
            f"{type(self).__name__} has no pre-training: fit it. masked_autoencoder has."
        )

    def learn(self, samples: Samples, run: Run) -> None:
        """Learn from the training samples; learned attributes end in an underscore."""
        raise NotImplementedError

    def update(self, samples: Samples, removed: Sequence[str], run: Run) -> None:
        """Learn from additional samples and forget the images with the digests `removed`.

        Learned attributes are replaced, never changed in place: a shallow copy keeps the old ones.
        """
        raise NotImplementedError

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Score views; the result for one never depends on the others.

        Args:
            x: (B, H, W, 3) float32 RGB in [0, 1].
            valid: (B, H, W) bool, False on padding and outside the region of interest.
            keys: Names of the images.
        """
        raise NotImplementedError

    def find_alike(
        self, x: Pixels, valid: NDArray[np.bool_], inside: NDArray[np.bool_]
    ) -> Alike | None:
        """Of the oddest patch in an area, the good patch that is most like it; None = keeps none.

        Args:
            x: (h, w, 3) float32 RGB in [0, 1], one view.
            valid: (h, w) bool, False on padding and outside the region of interest.
            inside: (h, w) bool, the area that is looked at.
        """
        return None

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """Say :meth:`predict_batch` as an ONNX graph; needed where `exportable` is True.

        Args:
            graph: Where nodes are added.
            x: Name of the views, (B, H, W, 3) float32 RGB in [0, 1].
            valid: Name of (B, H, W) bool, False on padding and outside the region of interest.
            size: H and W.

        Raises:
            CapabilityError: The method cannot be exported.
        """
        raise CapabilityError(
            f"{type(self).__name__} cannot be exported as ONNX: it declares exportable=False. "
            "`blemish list` shows the methods; patchcore can."
        )

    def state(self) -> State:
        """A JSON header and arrays: all that was learned, backbone included."""
        raise NotImplementedError

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        raise NotImplementedError
