"""Masked autoencoder: what cannot be told from its surroundings is not normal.

[1] Massari, Pelliccione, "DiYT", course project, Sapienza University of Rome, 2025: vision
    transformer with DyT, block masking, feature aggregation, decoder with cross-attention.
[2] K. He, X. Chen, S. Xie, Y. Li, P. Dollár, R. Girshick, "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022, arXiv 2111.06377.

An encoder sees a quarter of the patches of a good image, a decoder draws the others. A new image is
drawn four times, each time from another quarter, so that no patch ever helps to draw itself.

Differs from [1]: tokens of the decoder carry positions (hidden patches came out all the same);
positions tell columns apart, not rows only; every mask hides the same number of patches (padding
took part in attention); one order of the pixels of a patch everywhere (the two losses had two);
the loss is that of hidden patches (a permuted mask had it on visible ones too); images are judged
with masks, as in training; no centre crop, no mirrored screws; warm-up, weight decay and clipping;
the score is the mean of the largest hundredth of a blurred map, not its peak; no defective image
chooses anything. ``preset=original`` has the sizes, the schedule and the switches of [1].
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import losses
from blemish.augmentation.moving import move
from blemish.devices import find_device, seeded
from blemish.error_maps import ceiling, glow, hold_out, usual_error
from blemish.errors import MissingExtraError, OptionError
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.mask_bank import complementary, count_visible, draw_masks
from blemish.methods.base import GraphOutput, Method, Output, Run, Size, State
from blemish.methods.masking_options import PRESETS, MaskedAutoencoderOptions
from blemish.model_file import part
from blemish.nets.masked_drawer import MID_GREY, ComplementaryErrors, DrawerSize, MaskedDrawer
from blemish.nets.vit import EncoderSize, resize_table
from blemish.network_graph import add_network
from blemish.options import to_json
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor
    from torch.nn.functional import interpolate
except ImportError as error:
    raise MissingExtraError("The method masked_autoencoder", "train") from error

STREAM = 41  # of the random numbers of the masks
MEASURED = 16  # views that tell the scale of the pictures
TABLE = "encoder.learned"  # the one array whose shape depends on the size of the images
# What must be the same in a network to go on from.
SIZES = (
    "patch", "width", "depth", "heads", "hidden", "norm", "positions", "decoder_width",
    "decoder_depth", "decoder_heads", "decoder_hidden", "levels", "level_norms",
)  # fmt: skip


class MaskedAutoencoder(Method):
    """Draws every patch of a part from other patches."""

    Options = MaskedAutoencoderOptions
    exportable = True
    augments = True
    default_size = (256, 256)
    presets = PRESETS

    options: MaskedAutoencoderOptions

    def __init__(self, options: MaskedAutoencoderOptions):
        super().__init__(options)
        self._device = torch.device("cpu")
        self._start: MaskedAutoencoder | None = None

    @property
    def multiple(self) -> int:
        """Whole patches, and an even number of them: the parts of an image are of one size."""
        return 2 * self.options.patch

    @property
    def post(self) -> Post:
        """Blur, and the mean of the largest values."""
        o = self.options
        if not o.top_share:
            return Post(blur=o.blur)
        return Post(blur=o.blur, pool="top_share", pool_value=o.top_share)

    def start_from(self, other: Method) -> None:
        """Go on from another one of the same sizes, fitted or only pre-trained."""
        if not isinstance(other, MaskedAutoencoder):
            raise OptionError(
                "masked_autoencoder goes on from a file of `blemish pretrain masked_autoencoder` "
                f"or a detector of its own; this is one of {type(other).__name__}. Leave init out."
            )
        for name in SIZES:
            own, theirs = getattr(self.options, name), getattr(other.options, name)
            if own != theirs:
                raise OptionError(
                    f"{name} is {theirs} in the network to go on from and {own} here; give the "
                    "same options or preset, or leave init out."
                )
        self._start = other

    # ------------------------------------------------------------------ learning

    def pretrain(self, samples: Samples, run: Run) -> None:
        """The first phase: squared error of hidden patches, and SSIM."""
        self._make(samples, run)
        self._train("pretrain", samples, run)
        self._finish(samples, samples, run)

    def learn(self, samples: Samples, run: Run) -> None:
        """Both phases; only the second where there is something to go on from."""
        trained_on, held_out = samples, samples
        if self.options.standardise:
            trained_on, held_out = hold_out(samples, run.seed)
        self._make(samples, run)
        if self._start is None:
            self._train("pretrain", trained_on, run)
        else:
            self._take_over(self._start, run)
            self._start = None
        self._train("finetune", trained_on, run)
        self._finish(samples, held_out, run)

    def _make(self, samples: Samples, run: Run) -> None:
        o = self.options
        height, width = samples.geometry.view_shape
        grid = (height // o.patch, width // o.patch)
        visible = count_visible(grid, o.mask_ratio)
        generator = np.random.default_rng([run.seed, STREAM])
        self._bank = torch.from_numpy(draw_masks(o.masking, grid, visible, o.masks, generator))
        with seeded(run.seed):
            self.network_ = MaskedDrawer(self._size, grid)
        count = sum(p.numel() for p in self.network_.parameters())
        run.say(
            f"masked_autoencoder: {count:,} parameters, {grid[1]}×{grid[0]} patches of which "
            f"{visible} are visible."
        )

    def _take_over(self, start: MaskedAutoencoder, run: Run) -> None:
        weights = {name: tensor.cpu() for name, tensor in start.network_.state_dict().items()}
        old, new = start.network_.grid, self.network_.grid
        if old != new:
            run.say(
                f"The network to go on from knows {old[1]}×{old[0]} patches, here are "
                f"{new[1]}×{new[0]}: its table of positions was resized."
            )
            if TABLE in weights:
                weights[TABLE] = resize_table(weights[TABLE], old, new)
        self.network_.load_state_dict(weights, strict=True)

    def _train(self, phase: str, samples: Samples, run: Run) -> None:
        o, first = self.options, phase == "pretrain"
        with seeded(run.seed):
            optimiser = torch.optim.AdamW(
                self.network_.parameters(),
                lr=o.learning_rate,
                weight_decay=o.weight_decay,
                fused=True,
            )
        name = "masked_autoencoder"
        identity = {
            "method": name,
            "phase": phase,
            "options": to_json(o),
            "start": _digest(self.network_.state_dict()),
        }
        step = self._pretrain_step if first else self._finetune_step
        learner = Learner({name: self.network_}, {name: optimiser}, step, identity)
        epochs = o.epochs if first else o.finetune_epochs
        schedule = "cosine" if first else o.finetune_schedule
        plan = Plan(epochs, o.train_batch, o.clip, schedule, o.warm_up)
        # Each phase has curves and a checkpoint of its own.
        aside = replace(run, history={}, label=f"{run.label or name} {phase}")
        aside.checkpoint = run.checkpoint / phase if run.checkpoint else None
        train(learner, samples, plan, aside)
        prefix = "pretrain_" if first else ""
        run.history.update({prefix + name: values for name, values in aside.history.items()})

    def _pretrain_step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        x, drawn, hidden, valid = self._drawn(networks, batch)
        error = losses.mean_squared_error(x, drawn, hidden * valid)
        # Visible patches as they are: they differ in nothing, and have no gradient.
        composite = torch.where(hidden * valid > 0, drawn, x)
        dissimilarity = 1 - losses.structural_similarity(x, composite)
        loss = (1 - self.options.ssim) * error + self.options.ssim * dissimilarity
        now.update("masked_autoencoder", loss)
        return {"loss": loss, "error": error, "dissimilarity": dissimilarity}

    def _finetune_step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        x, drawn, hidden, valid = self._drawn(networks, batch)
        counts = valid if self.options.finetune_loss == "full" else hidden * valid
        loss = losses.mean_squared_error(x, drawn, counts)
        now.update("masked_autoencoder", loss)
        return {"loss": loss}

    def _drawn(
        self, networks: Mapping[str, Any], batch: Tensors
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, drawings (B, 3, H, W); hidden and valid pixels (B, 1, H, W), 0 or 1."""
        x, valid = move(batch.x, batch.valid, self.options.augment)
        x = torch.where(valid > 0, x, MID_GREY)
        picked = torch.randint(len(self._bank), (len(x),))
        masks = self._bank[picked].to(x.device, non_blocking=True)  # (B, N), True = hidden
        # All masks hide the same number: sorted, the visible patches come first.
        count = int((~self._bank[0]).sum())
        visible = masks.int().argsort(dim=1, stable=True)[:, :count]
        drawn = networks["masked_autoencoder"](x, visible).float()
        cells = masks.float().reshape(-1, 1, *self.network_.grid)
        return x, drawn, interpolate(cells, scale_factor=self.options.patch), valid

    def _finish(self, samples: Samples, held_out: Samples, run: Run) -> None:
        """Measure errors of good parts: how large they usually are, and how pictures show them."""
        del self._bank
        self._place(find_device(run.device))
        self.usual_ = np.ones((1, 1), np.float32)
        places = held_out.places
        if not self.options.standardise:
            places = places[:: max(1, len(places) // MEASURED)]
        found = []
        for place in places:
            batch = held_out.take([place])
            found.append((self._errors(batch.x, batch.valid)[0], batch.valid))
        errors, valid = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        self.ceiling_ = ceiling(errors, valid)
        if self.options.standardise:
            # A place in a tile is no place of the part.
            self.usual_ = usual_error(errors, valid, by_place=not samples.geometry.tile)

    # ------------------------------------------------------------------ judging

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Squared error of every patch, drawn from others."""
        errors, drawn = self._errors(x, valid)
        pictures = {
            "hidden in the first of the drawings": self._shown(x),
            "drawn from other patches": drawn.clip(0, 1),
            "squared error": glow(errors / max(self.ceiling_, 1e-12)),
        }
        return Output(errors / self.usual_, None, pictures)

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """The map of :meth:`predict_batch`; pictures are not exported."""
        inside = graph.add("Unsqueeze", valid, graph.integers(3))
        filled = graph.add("Where", inside, x, graph.floats(MID_GREY))
        planes = graph.add("Transpose", filled, perm=[0, 3, 1, 2])
        judge = self._judge.cpu().eval()
        errors, _ = add_network(graph, judge, planes, (3, *size))
        judge.to(self._device)
        errors = graph.add("Squeeze", errors, graph.integers(1))
        errors = graph.add("Where", valid, errors, graph.floats(0))
        return GraphOutput(graph.add("Div", errors, graph.floats(self.usual_)), size)

    @torch.inference_mode()
    def _errors(
        self, x: Pixels, valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Squared errors (B, H, W), 0 where not valid, and drawings (B, H, W, 3)."""
        filled = np.where(valid[..., None], x, np.float32(MID_GREY))
        errors, drawn = self._judge(torch.from_numpy(filled).permute(0, 3, 1, 2).to(self._device))
        found = np.where(valid, errors[:, 0].cpu().numpy(), np.float32(0))
        return found, np.ascontiguousarray(drawn.permute(0, 2, 3, 1).cpu().numpy())

    def _shown(self, x: Pixels) -> Pixels:
        """What the first drawing was made from, grey where something was hidden."""
        rows, columns = self.network_.grid
        cells = np.zeros(rows * columns, bool)
        cells[self._judge.visible[0].cpu().numpy()] = True
        pixels = np.kron(cells.reshape(rows, columns), np.ones((self.options.patch,) * 2, bool))
        return np.where(pixels[..., None], x, np.float32(MID_GREY))

    def _place(self, device: str) -> None:
        """Judge where training was: a GPU does in milliseconds what takes a CPU a second."""
        self._device = torch.device(device)
        self.network_.to(self._device)
        o = self.options
        visible = torch.from_numpy(complementary(self.network_.grid, o.passes, o.partitions))
        judge = ComplementaryErrors(self.network_, visible, o.combine == "min")
        self._judge = judge.eval().to(self._device)

    # ------------------------------------------------------------------ keeping

    @property
    def _size(self) -> DrawerSize:
        values = asdict(self.options)
        own = ("decoder_width", "decoder_depth", "decoder_heads", "decoder_hidden")
        return DrawerSize(
            EncoderSize.of(values),
            **{name: values[name] for name in (*own, "levels", "level_norms")},
        )

    def state(self) -> State:
        """The network's weights, the usual error and the scale of the error's picture."""
        header = {
            "grid": list(self.network_.grid),
            "ceiling": self.ceiling_,
            "device": self._device.type,
        }
        arrays: dict[str, NDArray[np.generic]] = {"usual": self.usual_}
        for name, tensor in self.network_.state_dict().items():
            arrays[f"network.{name}"] = tensor.cpu().numpy()
        return header, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        self.ceiling_ = float(header["ceiling"])
        self.usual_ = np.asarray(arrays["usual"], np.float32)
        # On the meta device no weights are drawn only to be thrown away.
        with torch.device("meta"):
            network = MaskedDrawer(self._size, (int(header["grid"][0]), int(header["grid"][1])))
        own = part(arrays, "network.")
        weights = {name: torch.from_numpy(np.array(array)) for name, array in own.items()}
        network.load_state_dict(weights, strict=True, assign=True)
        network.make_waves()
        self.network_ = network.eval()
        # Made on a GPU, it also runs where there is none; what was asked to stay on the CPU does.
        self._place("cpu" if header["device"] == "cpu" else find_device("auto"))


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Tells one start from another, so that a checkpoint does not go on from a third."""
    digest = hashlib.sha256()
    for tensor in weights.values():
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return digest.hexdigest()[:32]
