"""A network that has learned what photos look like and judges nothing yet: between two phases.

It is made from any images, of several products at once, and :meth:`blemish.Detector.fit` goes on
from it; its encoder is also a backbone for other methods. The one file that it travels in is like a
model file without calibration. It carries the digests of the images that it has seen, so that none
of them calibrates or tests what is made of it, and the seed of the split that left some of them
out.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blemish
from blemish import options, registry, training_samples
from blemish.datasets.base import DataSet
from blemish.datasets.splits import calibration_split
from blemish.datasets.unlabelled import unlabelled_images
from blemish.errors import ModelFileError, OptionError
from blemish.method_options import geometry_for, read_options
from blemish.methods.base import Method, Run
from blemish.model_file import ENCODER, ModelFile, part, read_encoder_file, write_model_file
from blemish.pipeline import Pipeline
from blemish.preprocess import Geometry
from blemish.settings import Settings
from blemish.team import leave_to_the_first, only_first_speaks


@dataclass(frozen=True)
class Pretrained:
    """What :func:`pretrain` gives.

    Attributes:
        method_name: The method that can go on from it.
        settings: Geometry and seed that it was made with; plain options of every detector.
        pipeline: Geometry and method.
        learned: Digests of the images that it has seen.
        data: Name of the data and number of images; plain JSON values.
        history: Curves of the training, name to one value per epoch.
    """

    method_name: str
    settings: Settings
    pipeline: Pipeline
    learned: tuple[str, ...]
    data: Mapping[str, Any]
    history: Mapping[str, list[float]]

    def save(self, path: str | Path) -> Path:
        """Write everything into one file, by custom ``*.safetensors``.

        Raises:
            ModelFileError: The file cannot be written; an old one is left as it was.
        """
        method = self.pipeline.method
        state, arrays = method.state()
        header = {
            "kind": ENCODER,
            "method": self.method_name,
            "options": options.to_json(method.options),
            "settings": options.to_json(self.settings),
            "geometry": self.pipeline.geometry.to_json(),
            "state": state,
            "learned": list(self.learned),
            "data": dict(self.data),
            "history": {name: list(values) for name, values in self.history.items()},
            "versions": {"blemish": blemish.__version__, "python": platform.python_version()},
        }
        stored = {f"method.{name}": array for name, array in arrays.items()}
        write_model_file(path, ModelFile(header, stored))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Pretrained:
        """Read it back.

        Raises:
            ModelFileError: Not such a file, truncated, damaged, or of a later version.
        """
        content = read_encoder_file(path)
        try:
            return cls._from_file(content)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, OptionError) as error:
            raise ModelFileError(
                f"{path} has a header or arrays that do not fit together ({error!r}). Pre-train "
                "again."
            ) from error

    @classmethod
    def _from_file(cls, content: ModelFile) -> Pretrained:
        header = content.header
        method_class: type[Method] = registry.get("methods", header["method"])
        own: Any = options.build(method_class.Options, header["options"], "the file")
        settings = options.build(Settings, header["settings"], "the file")
        method = method_class(own)
        method.restore(header["state"], part(content.arrays, "method."))
        geometry = Geometry.from_json(header["geometry"], None)
        return cls(
            header["method"],
            settings,
            Pipeline(geometry, method, method.post, settings.batch_size),
            tuple(header["learned"]),
            header["data"],
            header["history"],
        )


def pretrain(
    method: str,
    data: DataSet | None = None,
    *,
    images: Sequence[str | Path] = (),
    preset: str | None = None,
    run: Run | None = None,
    **values: Any,
) -> Pretrained:
    """Learn what photos look like.

    Args:
        method: Name of a method that can be pre-trained, such as ``"masked_autoencoder"``.
        data: A data set. Only its good training images are used, without those that
            :meth:`blemish.Detector.fit` will calibrate on with the same seed and share.
        images: Folders of any unlabelled images, in place of `data`; all of them are used.
        preset: Name of a set of option values of the method.
        run: Progress, messages, checkpoints.
        **values: Options of the method and of every detector, as for :class:`blemish.Detector`.

    Returns:
        To be saved, or given to ``Detector.fit`` as `init`.

    Raises:
        OptionError: Both or none of `data` and `images`, or an option that cannot be.
        DataError: Too few images.
        CapabilityError: The method has no pre-training.
    """
    if (data is None) == (not images):
        raise OptionError("Give either a data set (--data) or folders of images (--images).")
    method_class: type[Method] = registry.get("methods", method)
    settings, own = read_options(method, method_class, preset, values)
    learner = method_class(own)
    if data is None:
        limits = {"max_pixels": settings.max_pixels, "bit_depth": settings.bit_depth}
        seen = unlabelled_images(images, **limits)
    else:
        seen, _ = calibration_split(data, settings.calibration_share, settings.seed)
    geometry = geometry_for(settings, seen, learner)
    samples, run = training_samples.make(seen, geometry, settings), run or Run()
    run.seed, run.device, run.precision = settings.seed, settings.device, settings.precision
    run = only_first_speaks(run)
    learner.pretrain(samples, run)
    leave_to_the_first(run)
    pipeline = Pipeline(geometry, learner, learner.post, settings.batch_size)
    digests, card = training_samples.digests(samples), {"name": seen.name, "learned": len(seen)}
    return Pretrained(method, settings, pipeline, digests, card, dict(run.history))
