"""The detector: the one class that users meet. It is final; a method is what can be added."""

from __future__ import annotations

import copy
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final, overload

import numpy as np
from numpy.typing import NDArray

import blemish
from blemish import options, registry, training_samples
from blemish.calibration import Calibration, CalibrationBuilder, PixelRule, check_rate
from blemish.datasets.base import DataSet
from blemish.errors import (
    CalibrationWarning,
    CapabilityError,
    ImageError,
    ModelFileError,
    NotFittedError,
    OptionError,
)
from blemish.fitted import Fitted, Paths, collect, recorded_paths
from blemish.folds import choose_folds
from blemish.images import read_image
from blemish.maps import find_regions
from blemish.method_options import geometry_for, read_options
from blemish.methods.base import Method, Run, Supervision
from blemish.model_file import ModelFile, read_detector_file, write_model_file
from blemish.pipeline import Analysis, Pipeline
from blemish.preprocess import Geometry
from blemish.pretrained import Pretrained
from blemish.team import leave_to_the_first, only_first_speaks
from blemish.types import Image, Prediction

ImageSource = str | Path | bytes | NDArray[np.generic]


@final
class Detector:
    """Learns what good parts look like and says of a new photo whether it is defective, and where.

    Args:
        method: Name of a registered method, such as ``"patchcore"``.
        preset: Name of a set of option values of the method, such as ``"small"``.
        **values: Options of the method and of the detector (:class:`blemish.settings.Settings`),
            as values or as text.

    Raises:
        UnknownNameError: No such method, preset or option.
        OptionError: An option has a value that it cannot take.
        CapabilityError: Augmentation for a method that does not learn from changed images.

    Example:
        >>> detector = Detector("patchcore").fit(open_dataset("photos"))
        >>> detector.predict("new.png").defective
    """

    def __init__(self, method: str, preset: str | None = None, **values: Any):
        self.method_name = method
        self._method_class: type[Method] = registry.get("methods", method)
        self.settings, self.options = read_options(method, self._method_class, preset, values)
        self.false_alarms = self.settings.false_alarms
        self.pixel_false_alarms = self.settings.pixel_false_alarms
        check_rate(self.false_alarms)
        self._fitted: Fitted | None = None

    # ------------------------------------------------------------------ learning

    def fit(
        self, data: DataSet, run: Run | None = None, init: Detector | Pretrained | None = None
    ) -> Detector:
        """Learn from the training images of a data set and calibrate on held-out good ones.

        The test images of the data set are not looked at.

        Args:
            data: A data set with good training images.
            run: Progress and messages; seed, device and precision come from the settings.
            init: A fitted detector or a pre-trained encoder to go on from, where the method can.
                Its seed is kept, so that the same parts calibrate, and what it learned from
                calibrates nothing.

        Returns:
            The detector itself.

        Raises:
            DataError: Too few good images, or defective ones for a method that takes none.
            OptionError: Several devices with ``calibration="cross"``, or `init` does not fit.
            CapabilityError: The method cannot go on from another detector.
        """
        if init is not None:
            # Asked before any image is read, and again for the method that will learn.
            self._method_class(self.options).start_from(init.pipeline.method)
            self.settings = replace(self.settings, seed=init.settings.seed)
        run = self._make_run(run)
        builder, calibrated = CalibrationBuilder(), list[str]()
        before = self._method_class(self.options).seen_before
        known = (*before, *(init.learned if init else ()))
        folds = choose_folds(data, self.settings, self.method_name, self._method_class, run, known)
        everything = data.select("train") if len(folds) > 1 else folds[0][0]
        geometry = geometry_for(self.settings, everything, self._method_class(self.options))
        if len(folds) > 1:
            for learn, held_out in folds:
                # Curves, checkpoints and messages are those of the detector that stays.
                aside = replace(run, history={}, checkpoint=None, say=lambda text: None)
                pipeline, _ = self._learn(learn, geometry, aside)
                calibrated += collect(builder, pipeline, held_out, run)
        pipeline, learned = self._learn(everything, geometry, run, init)
        if len(folds) == 1:
            calibrated += collect(builder, pipeline, folds[0][1], run)
        paths = recorded_paths([held for _, held in folds], calibrated)
        self._keep(pipeline, data.name, learned, builder, calibrated, run, paths, before)
        return self

    def _learn(
        self,
        data: DataSet,
        geometry: Geometry,
        run: Run,
        init: Detector | Pretrained | None = None,
    ) -> tuple[Pipeline, tuple[str, ...]]:
        """A method that has learned, and the digests of what it learned from."""
        method = self._method_class(self.options)
        samples = training_samples.make(data, geometry, self.settings)
        if init is not None:
            method.start_from(init.pipeline.method)
        method.learn(samples, run)
        leave_to_the_first(run)
        pipeline = Pipeline(geometry, method, method.post, self.settings.batch_size)
        earlier = init.learned if init is not None else ()
        return pipeline, tuple(dict.fromkeys((*training_samples.digests(samples), *earlier)))

    def update(self, data: DataSet, run: Run | None = None) -> Detector:
        """Follow a data set that has changed: add its new good images, forget the missing ones.

        The method must support it (PatchCore does). Calibration is done anew; where that is cross
        calibration, so is the fit.

        Raises:
            CapabilityError: The method can only be fitted again.
        """
        fitted = self._need_fit()
        if self._method_class.update is Method.update:
            raise CapabilityError(f"{self.method_name} cannot be updated; fit it again.")
        run, cls = self._make_run(run), self._method_class
        folds = choose_folds(data, self.settings, self.method_name, cls, run, fitted.before)
        if len(folds) > 1:
            return self.fit(data, run)
        ((learn, calibrate),) = folds
        known = set(fitted.learned)
        present = {*learn.hashes.values(), *learn.origins}
        new = tuple(r for r in learn if learn.hashes[r.key] not in known)
        removed = [digest for digest in fitted.learned if digest not in present]
        geometry = fitted.pipeline.geometry
        samples = training_samples.make(replace(learn, records=new), geometry, self.settings)
        # On a copy: when anything fails on the way, the detector is what it was.
        method = copy.copy(fitted.pipeline.method)
        method.update(samples, removed, run)
        leave_to_the_first(run)
        pipeline = replace(fitted.pipeline, method=method)
        kept = [digest for digest in fitted.learned if digest in present]
        learned = (*kept, *training_samples.digests(samples))
        builder = CalibrationBuilder()
        calibrated = collect(builder, pipeline, calibrate, run)
        paths = recorded_paths([calibrate], calibrated)
        self._keep(pipeline, data.name, learned, builder, calibrated, run, paths, fitted.before)
        return self

    def _make_run(self, run: Run | None) -> Run:
        run = run or Run()
        run.seed = self.settings.seed
        run.device, run.precision = self.settings.device, self.settings.precision
        return only_first_speaks(run)

    def _keep(
        self,
        pipeline: Pipeline,
        name: str,
        learned: tuple[str, ...],
        builder: CalibrationBuilder,
        calibrated: list[str],
        run: Run,
        paths: Paths,
        before: tuple[str, ...],
    ) -> None:
        card = {"name": name, "learned": len(learned), "calibration": len(calibrated)}
        held, curves = tuple(calibrated), dict(run.history)
        self._fitted = Fitted(pipeline, builder.build(), learned, held, card, curves, paths, before)
        self._warn_of_promise()

    # ------------------------------------------------------------------ deciding

    @overload
    def predict(self, images: ImageSource) -> Prediction: ...
    @overload
    def predict(self, images: list[ImageSource] | tuple[ImageSource, ...]) -> list[Prediction]: ...
    def predict(
        self, images: ImageSource | list[ImageSource] | tuple[ImageSource, ...]
    ) -> Prediction | list[Prediction]:
        """Judge one image, or several. Nothing is written.

        Args:
            images: A path, the bytes of an image file, or an array (H, W, 3) uint8 RGB (grey,
                16-bit and float arrays too); or a list of these.

        Returns:
            One :class:`blemish.Prediction`, or a list.
        """
        if isinstance(images, list | tuple):
            return list(self.predict_each(images))
        return next(self.predict_each([images]))

    def predict_each(
        self,
        images: Iterable[ImageSource],
        *,
        workers: int = 2,
        on_error: Callable[[Any, ImageError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Judge any number of images in order, in bounded memory; `workers` threads read ahead.

        `on_error` is called with an image that cannot be read, which is left out; None = raise.
        """
        pipeline = self._need_fit().pipeline

        def read(source: ImageSource) -> tuple[str, Image]:
            key, own = str(source) if isinstance(source, str | Path) else "", self.settings
            return key, read_image(source, max_pixels=own.max_pixels, bit_depth=own.bit_depth)

        found = pipeline.analyse(images, read, workers=workers, on_error=on_error)
        return map(self.decide, found)

    def decide(self, found: Analysis) -> Prediction:
        """Turn the score and the map of an image into a decision at the asked false-alarm rate."""
        threshold, pixel_threshold = self.threshold, self.pixel_threshold
        defective = found.score > threshold
        mask = np.zeros(found.valid.shape, bool)
        if defective:
            np.greater(found.anomaly_map, pixel_threshold, out=mask)
            mask &= found.valid
        return Prediction(
            key=found.key,
            score=found.score,
            p_value=self.calibration.p_value(found.score),
            defective=defective,
            false_alarms=self.false_alarms,
            threshold=threshold,
            pixel_threshold=pixel_threshold,
            anomaly_map=found.anomaly_map,
            mask=mask,
            regions=find_regions(found.anomaly_map, mask, pixel_threshold),
            pictures=found.pictures,
        )

    @property
    def supervision(self) -> Supervision:
        """What the method learns from: ``"normal"`` images only, ``"masks"`` or ``"labels"``."""
        return self._method_class.supervision

    @property
    def threshold(self) -> float:
        """The score above which a part is called defective."""
        return self.calibration.threshold(self.false_alarms)

    @property
    def pixel_threshold(self) -> float:
        """The map value above which a pixel of a defective part belongs to the defect."""
        rate = self.pixel_false_alarms or self.false_alarms
        rule: PixelRule = "pixels" if self.settings.pixel_rule == "pixels" else "images"
        return self.calibration.pixel_threshold(rate, rule)

    def set_false_alarms(self, rate: float, pixel_rate: float | None = None) -> None:
        """Ask for another false-alarm rate; nothing is learned again.

        Args:
            rate: Accepted share in (0, 1) of good parts that are flagged.
            pixel_rate: The same for the pixel threshold; None = `rate`.
        """
        check_rate(rate)
        check_rate(pixel_rate if pixel_rate is not None else rate)
        self.false_alarms, self.pixel_false_alarms = rate, pixel_rate
        if self._fitted is not None:
            self._warn_of_promise()

    # ------------------------------------------------------------------ what is inside

    @property
    def calibration(self) -> Calibration:
        """Scores of the held-out good images."""
        return self._need_fit().calibration

    @property
    def pipeline(self) -> Pipeline:
        """The one inference path: geometry, method and post steps."""
        return self._need_fit().pipeline

    @property
    def seen(self) -> frozenset[str]:
        """Digests of all images that anything in it learned from or was calibrated on."""
        fitted = self._need_fit()
        return frozenset((*fitted.learned, *fitted.calibrated, *fitted.before))

    @property
    def learned(self) -> tuple[str, ...]:
        """Digests of the images that the method learned from."""
        return self._need_fit().learned

    @property
    def history(self) -> Mapping[str, list[float]]:
        """Curves of the training, name to values; empty for methods that do not train."""
        return self._need_fit().history

    def card(self) -> dict[str, Any]:
        """What this detector is: method, options, geometry, data, versions; plain JSON values."""
        fitted = self._need_fit()
        return {
            "method": self.method_name,
            "options": options.to_json(self.options),
            "settings": options.to_json(self.settings),
            "geometry": fitted.pipeline.geometry.to_json(),
            "post": fitted.pipeline.post.to_json(),
            "data": dict(fitted.data),
            "decision": {
                "false_alarms": self.false_alarms,
                "pixel_false_alarms": self.pixel_false_alarms,
                "threshold": self.threshold,
                "pixel_threshold": self.pixel_threshold,
            },
            "versions": {"blemish": blemish.__version__, "python": platform.python_version()},
        }

    def _need_fit(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(
                f"This {self.method_name} detector has not learned anything: call fit(data), or "
                "Detector.load(path)."
            )
        return self._fitted

    def _warn_of_promise(self) -> None:
        if complaint := self.calibration.cannot_promise(self.false_alarms):
            warnings.warn(complaint, CalibrationWarning, stacklevel=3)

    def save(self, path: str | Path) -> Path:
        """Write everything into one file, by custom ``*.blemish``; an exported one as ``*.onnx``.

        Raises:
            NotFittedError: There is nothing to save yet.
            ModelFileError: The file cannot be written; an old one is left as it was.
        """
        write_model_file(path, self.content())
        return Path(path)

    def content(self) -> ModelFile:
        """Header and arrays, as :meth:`save` writes them."""
        return self._need_fit().to_file(self.card())

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Read a detector back.

        Raises:
            ModelFileError: Not a model file, truncated, damaged, or of a later version.
        """
        content = read_detector_file(path)
        try:
            return cls._from_file(content)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, OptionError) as error:
            raise ModelFileError(
                f"{path} has a header or arrays that do not fit together ({error!r}). Fit again."
            ) from error

    @classmethod
    def _from_file(cls, content: ModelFile) -> Detector:
        header = content.header
        detector = cls(header["method"], **header["settings"], **header["options"])
        detector.false_alarms = float(header["decision"]["false_alarms"])
        detector.pixel_false_alarms = header["decision"]["pixel_false_alarms"]
        method = detector._method_class(detector.options)
        detector._fitted = Fitted.from_file(content, method, detector.settings.batch_size)
        return detector
