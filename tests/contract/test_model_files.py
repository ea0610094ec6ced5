"""What a model file must keep, whatever the method."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from blemish.detector import Detector
from blemish.errors import ModelFileError


@pytest.fixture
def model(case, tmp_path):
    return case.detector.save(tmp_path / "part.blemish")


def test_a_fresh_process_gives_the_same_scores(case, model, fresh_process, tmp_path):
    stored = {f"{i:02d}": image for i, image in enumerate(case.test_images())}
    np.savez(tmp_path / "images.npz", **stored)
    scores = fresh_process(model, tmp_path / "images.npz")
    np.testing.assert_allclose(scores, case.scores, rtol=1e-5)


def test_everything_comes_back(case, model):
    again = Detector.load(model)
    assert again.card() == case.detector.card()
    assert again.threshold == case.detector.threshold
    assert again.pixel_threshold == case.detector.pixel_threshold
    assert again.seen == case.detector.seen
    assert again.history == case.detector.history


def test_a_truncated_file_is_refused(model):
    content = model.read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        model.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            Detector.load(model)


def test_a_foreign_file_is_refused(case, tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign.blemish")
    with pytest.raises(ModelFileError, match="not one of blemish"):
        Detector.load(tmp_path / "foreign.blemish")
