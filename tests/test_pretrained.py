"""What a pre-training sees, what its file keeps, and who may read it."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.datasets.base import image_digest  # noqa: E402
from blemish.datasets.splits import calibration_split  # noqa: E402
from blemish.detector import Detector  # noqa: E402
from blemish.errors import (  # noqa: E402
    CapabilityError,
    DataError,
    ModelFileError,
    OptionError,
    UnknownNameError,
)
from blemish.images import write_png  # noqa: E402
from blemish.model_file import (  # noqa: E402
    is_encoder_file,
    read_encoder_file,
    read_model_file,
    write_model_file,
)
from blemish.pretrained import Pretrained, pretrain  # noqa: E402
from drawn import draw_good, plates  # noqa: E402

NAME = "masked_autoencoder"
DATA = plates()
OWN = {"preset": "tiny", "epochs": 1, "masks": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def made():
    return pretrain(NAME, DATA, seed=4, calibration_share=0.4, **OWN)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two products in folders, one of them with folders inside."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(3):
        write_png(root / f"plates/{i}.png", draw_good(i))
        write_png(root / f"tiles/line {i}/a.png", draw_good(10 + i, 32, 32))
    return [root / "plates", root / "tiles"]


def test_of_a_data_set_it_sees_what_fit_will_learn_from_and_nothing_else(made):
    learn, held_out = calibration_split(DATA, 0.4, 4)
    assert set(made.learned) == set(learn.hashes.values())
    assert not set(made.learned) & set(held_out.hashes.values())
    assert not set(made.learned) & set(DATA.select("test").hashes.values())
    assert made.data == {"name": "plates", "learned": len(learn)}


def test_of_folders_it_sees_every_image_of_all_products(folders):
    made = pretrain(NAME, images=folders, **OWN)
    images = [draw_good(i) for i in range(3)] + [draw_good(10 + i, 32, 32) for i in range(3)]
    assert made.data["learned"] == 6
    assert set(made.learned) == {image_digest(image) for image in images}


def test_everything_comes_back_from_the_file(made, tmp_path):
    path = made.save(tmp_path / "encoder.safetensors")
    again = Pretrained.load(path)
    assert again.settings == made.settings
    assert again.settings.seed == 4
    assert (again.learned, again.data, again.method_name) == (made.learned, made.data, NAME)
    assert again.history == made.history
    assert again.pipeline.geometry == made.pipeline.geometry
    one, other = (p.pipeline.method.network_.state_dict() for p in (made, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
    x, valid = (
        np.random.default_rng(0).random((1, 32, 48, 3), np.float32),
        np.ones((1, 32, 48), bool),
    )
    maps = [p.pipeline.method.predict_batch(x, valid, ["a"]).maps for p in (made, again)]
    assert np.array_equal(*maps)


def test_a_detector_and_an_encoder_file_are_told_apart(made, tmp_path):
    encoder = made.save(tmp_path / "encoder.safetensors")
    detector = (
        Detector("patchcore", "tiny", false_alarms=0.4).fit(DATA).save(tmp_path / "a.blemish")
    )
    assert (is_encoder_file(encoder), is_encoder_file(detector)) == (True, False)
    with pytest.raises(ModelFileError, match="is a pre-trained encoder, which judges nothing yet"):
        Detector.load(encoder)
    with pytest.raises(ModelFileError, match="is no pre-trained encoder; `blemish pretrain`"):
        Pretrained.load(detector)


def test_damaged_files_are_refused(made, tmp_path):
    path = made.save(tmp_path / "encoder.safetensors")
    content = read_encoder_file(path)
    for header in ({"options": {"width": 8}}, {"state": {}}, {"method": "patchcore"}):
        write_model_file(path, type(content)({**content.header, **header}, content.arrays))
        with pytest.raises((ModelFileError, UnknownNameError)):
            Pretrained.load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="truncated"):
        Pretrained.load(path)


def test_nothing_of_the_machine_is_in_the_file(made, tmp_path):
    header = read_model_file(made.save(tmp_path / "e.safetensors")).header
    assert str(tmp_path) not in json.dumps(dict(header))


def test_it_asks_for_a_data_set_or_folders_and_not_both(folders):
    for given in ({}, {"data": DATA, "images": folders}):
        with pytest.raises(OptionError, match=r"either a data set \(--data\) or folders"):
            pretrain(NAME, **given, **OWN)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist; check the path"):
        pretrain(NAME, images=[tmp_path / "nowhere"], **OWN)
    with pytest.raises(DataError, match="0 images are too few to learn from; 2 are needed"):
        pretrain(NAME, images=[tmp_path], **OWN)


def test_options_are_checked_as_everywhere():
    with pytest.raises(UnknownNameError, match="Did you mean 'mask_ratio'"):
        pretrain(NAME, DATA, mask_ration=0.5)
    with pytest.raises(UnknownNameError, match="Unknown preset 'tinny'"):
        pretrain(NAME, DATA, preset="tinny")


def test_a_method_without_pretraining_says_so():
    with pytest.raises(CapabilityError, match="PatchCore has no pre-training: fit it"):
        pretrain("patchcore", DATA)
