import json

import pytest

from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import calibration_split
from blemish.datasets.synthetic import SyntheticManifest, add_synthetic, is_marked
from blemish.errors import DataError
from blemish.reporting.synthesis_page import write_synthesis
from blemish.run import Run
from blemish.synthesis.curation import Rules
from blemish.synthesis.producing import make_gan, synthesize

ANY = Rules(None, None, None)


def produce(data, folder, count=6, rules=ANY, run=None, **options):
    gan = make_gan("dcgan", "tiny", epochs=1)
    run = run or Run(device="cpu")
    return synthesize(gan, data, folder, count=count, rules=rules, run=run, **options)


def test_what_is_written_is_marked_listed_and_made_from_photos_that_do_not_calibrate(
    photos, tmp_path
):
    made = produce(photos, tmp_path / "drawn", score=lambda image: float(image.mean()))
    manifest = SyntheticManifest.read(made.manifest)
    learn, rest = calibration_split(photos, 0.2, 0)
    assert set(manifest.origins) == set(learn.hashes.values())
    assert not set(manifest.origins) & set(rest.hashes.values())
    assert manifest.maker["gan"] == "dcgan"
    assert manifest.maker["photos"] == 35
    assert len(manifest.images) == 6
    for image in manifest.images:
        assert is_marked(tmp_path / "drawn" / image.file)
        assert {"number", "seed", "judge", "detector", "nearest"} <= set(image.of)
    assert len(open_dataset(tmp_path / "drawn")) == 6
    assert made.acceptance == 1
    assert set(made.distances) == {"drawn", "accepted", "held_out_photos"}
    assert made.distances["drawn"][0] > made.distances["held_out_photos"][0]
    assert made.features == "filter_bank"


def test_more_can_be_asked_for_later_and_the_first_stay_the_same(photos, tmp_path):
    run = {"device": "cpu", "checkpoint": tmp_path / "state"}
    few = SyntheticManifest.read(produce(photos, tmp_path / "a", 3, run=Run(**run)).manifest)
    said = []
    again = produce(photos, tmp_path / "b", 20, run=Run(**run, say=said.append))
    assert any("goes on after epoch 1" in text for text in said)
    assert SyntheticManifest.read(again.manifest).images[:3] == few.images


def test_where_next_to_nothing_is_fit_for_use_it_is_said(photos, tmp_path):
    said = []
    run = Run(device="cpu", say=said.append)
    # After one epoch nothing has as much contrast as a photo.
    flat = {"rules": Rules(real=None, copy=None), "score": lambda image: -float(image.std())}
    made = produce(photos, tmp_path / "drawn", 2, run=run, tries=20, **flat)
    assert made.manifest is None
    assert made.tally["odd"] == sum(made.tally.values()) == 48
    assert "Only 0 of 48 drawn images are fit for use" in said[-1]
    assert made.acceptance == 0
    assert "accepted" not in made.distances


def test_a_gan_learns_from_photos_only(photos, tmp_path):
    made = produce(photos, tmp_path / "drawn", 3)
    with pytest.raises(DataError, match="a GAN learns from photos only"):
        produce(add_synthetic(photos, [str(made.manifest.parent)]), tmp_path / "again")


def test_the_page_shows_verdicts_distances_and_pictures(photos, tmp_path):
    made = produce(photos, tmp_path / "drawn", 3)
    made.history["judge_loss"] = [1.0, 0.5]
    page = write_synthesis(made, tmp_path, command="blemish synthesize <dcgan>").read_text()
    assert "100% <span" in page
    assert "held out photos" in page
    assert page.count("data:image/") == 2, "accepted ones and photos; none was left out"
    assert "Loss of the judge" in page
    assert "&lt;dcgan&gt;" in page
    content = json.loads((tmp_path / "synthesis.json").read_text())
    assert content["tally"]["accepted"] == content["drawn"] == 16
    assert content["kernel_distance"]["drawn"]["value"] == made.distances["drawn"][0]
