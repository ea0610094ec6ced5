"""From a data set to synthetic images: learn, draw, curate, measure, write.

The photos that detectors of the same seed calibrate on are held out from the GAN as well, so that a
detector may learn from what it draws.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blemish import options, registry
from blemish.backbones.opening import open_backbone
from blemish.datasets.base import DataSet, image_digest
from blemish.datasets.splits import calibration_split
from blemish.datasets.synthetic import Made, SyntheticManifest, check_synthetic, write_marked
from blemish.errors import DataError, UnknownNameError
from blemish.run import Run
from blemish.samples import Samples
from blemish.synthesis.base import BATCH, GAN
from blemish.synthesis.curation import Curator, Rules, Score, Verdict, tally
from blemish.synthesis.quality import FeatureSpace, kernel_distance
from blemish.team import leave_to_the_first, only_first_speaks
from blemish.types import Image

SHOWN = 40  # images of a contact sheet
FEWEST_COMPARED = 4  # images of which a distance says something


@dataclass
class Production:
    """What came out.

    Attributes:
        manifest: Of the accepted images; None where none was accepted.
        tally: Drawn images by verdict.
        distances: Name to (kernel distance to the learned photos, its deviation).
        features: What the distances are of.
        history: Curves of the training.
        accepted: Some accepted images.
        rejected: Some others.
        learned: Some photos that the GAN learned from.
        seconds: Wall time by stage.
    """

    manifest: Path | None
    tally: Mapping[str, int]
    distances: Mapping[str, tuple[float, float]]
    features: str
    history: Mapping[str, list[float]]
    accepted: Sequence[Image] = field(default=(), repr=False)
    rejected: Sequence[Image] = field(default=(), repr=False)
    learned: Sequence[Image] = field(default=(), repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def acceptance(self) -> float:
        """Share of the drawn images that are fit for use."""
        return self.tally["accepted"] / max(sum(self.tally.values()), 1)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without pictures."""
        return {
            "schema": "blemish.synthesis/1",
            "drawn": sum(self.tally.values()),
            "tally": dict(self.tally),
            "acceptance": self.acceptance,
            "kernel_distance": {
                name: {"value": value, "deviation": deviation}
                for name, (value, deviation) in self.distances.items()
            },
            "features": self.features,
            "seconds": dict(self.seconds),
            "history": {name: list(values) for name, values in self.history.items()},
        }


def make_gan(name: str, preset: str | None = None, **values: Any) -> GAN:
    """Make a GAN by its registered name.

    Raises:
        UnknownNameError: No such GAN, preset or option.
        OptionError: A value that an option cannot take.
    """
    cls: type[GAN] = registry.get("synthesis", name)
    if preset is not None:
        if preset not in cls.presets:
            raise UnknownNameError("preset", preset, cls.presets)
        values = {**cls.presets[preset], **values}
    return cls(options.build(cls.Options, values, f"GAN {name}"))


def synthesize(
    gan: GAN,
    data: DataSet,
    folder: Path,
    *,
    count: int = 100,
    tries: int = 20,
    backbone: str = "filter_bank",
    weights: str | None = None,
    calibration_share: float = 0.2,
    score: Score | None = None,
    rules: Rules | None = None,
    run: Run | None = None,
) -> Production:
    """Learn from the good training photos and write what is fit for use.

    Args:
        gan: From :func:`make_gan`.
        data: Its good training photos are used, but for those that calibrate a detector of the same
            seed and share.
        folder: Where images and manifest go.
        count: Images to write; fewer where too many are left out.
        tries: Images that are drawn per asked one before it is given up.
        backbone: Features that tell copies and distances: a registered name, or a timm model.
        weights: Of a timm model.
        calibration_share: Of the detectors that will learn from the images.
        score: Of a detector that did not learn from the held-out photos; higher = more anomalous.
        rules: Percentiles of the curation.
        run: Seed, device, curves, checkpoints.

    Raises:
        DataError: Too few photos, or synthetic ones among them.
        TrainingError: As for :func:`blemish.training.train`.
    """
    run = only_first_speaks(run or Run())
    learn, rest = calibration_split(_photos(data), calibration_share, run.seed)
    samples, held_out = (Samples(part, gan.geometry()) for part in (learn, rest))
    started = time.perf_counter()
    gan.learn(samples, run)
    leave_to_the_first(run)
    trained = time.perf_counter()
    photos, others = ([views.pixels[0] for views in part] for part in (samples, held_out))
    space = FeatureSpace(open_backbone(backbone, weights, ()), photos)
    curator = Curator(gan.judge, space, photos, others, score, rules)
    drawn, verdicts = _draw(gan, curator, count, tries, run)
    finished = time.perf_counter()
    kept = [n for n, verdict in enumerate(verdicts) if not verdict.reason][:count]
    sets = {"drawn": drawn, "accepted": [drawn[n] for n in kept], "held_out_photos": others}
    return Production(
        manifest=_write(gan, folder, {n: (drawn[n], verdicts[n]) for n in kept}, samples, run),
        tally=tally(verdicts),
        distances=_distances(space, sets),
        features=backbone,
        history=run.history,
        accepted=[drawn[n] for n in kept[:SHOWN]],
        rejected=[drawn[n] for n, verdict in enumerate(verdicts) if verdict.reason][:SHOWN],
        learned=photos[:SHOWN],
        seconds={"training": trained - started, "drawing": finished - trained},
    )


def _distances(
    space: FeatureSpace, sets: Mapping[str, Sequence[Image]]
) -> dict[str, tuple[float, float]]:
    """From the learned photos to each set that is large enough to tell."""
    return {
        name: kernel_distance(space(images), space.real)
        for name, images in sets.items()
        if len(images) >= FEWEST_COMPARED
    }


def _photos(data: DataSet) -> DataSet:
    """The good training photos, and nothing that was drawn."""
    train = data.select("train", defective=False)
    check_synthetic(train)
    if any(record.synthetic for record in train):
        raise DataError(
            f"{data.name} has synthetic images in training, and a GAN learns from photos only: "
            "open it without the option synthetic."
        )
    return train


def _draw(
    gan: GAN, curator: Curator, count: int, tries: int, run: Run
) -> tuple[list[Image], list[Verdict]]:
    """Draw in batches until there are enough, or hope is lost."""
    drawn: list[Image] = []
    verdicts: list[Verdict] = []
    while tally(verdicts)["accepted"] < count and len(drawn) < tries * count:
        images = list(gan.draw(BATCH, run.seed, first=len(drawn)))
        drawn += images
        verdicts += curator(images)
        run.progress("curation", min(tally(verdicts)["accepted"], count), count)
    found = tally(verdicts)
    if found["accepted"] < count:
        run.say(
            f"Only {found['accepted']} of {len(drawn)} drawn images are fit for use ({found}); "
            f"{count} were asked for. Train longer, or from more photos."
        )
    return drawn, verdicts


def _write(
    gan: GAN,
    folder: Path,
    images: Mapping[int, tuple[Image, Verdict]],
    samples: Samples,
    run: Run,
) -> Path | None:
    if not images:
        return None
    made = []
    for number, (image, verdict) in images.items():
        file = f"images/{number:05d}.png"
        write_marked(folder / file, image)
        of = {"number": number, "seed": run.seed, **asdict(verdict)}
        made.append(Made(file, image_digest(image), of))
    maker = {
        "gan": gan.name,
        "options": options.to_json(gan.options),
        "seed": run.seed,
        "data": samples.data.name,
        "photos": len(samples),
    }
    return SyntheticManifest(maker, tuple(samples.digests), tuple(made)).write(folder)
