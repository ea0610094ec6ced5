"""Images that were never taken, from the command line to a detector."""

import numpy as np
import pytest

from blemish.datasets.synthetic import SyntheticManifest
from blemish.images import write_png
from drawn import draw_good

pytest.importorskip("lightning")


@pytest.fixture
def parts(tmp_path):
    """Two sub-parts of forty-four plates, one folder each."""
    for name, start in {"anode": 0, "glass": 200}.items():
        for i in range(44):
            write_png(tmp_path / f"{name}/good/{i:02d}.png", np.array(draw_good(start + i, 50, 30)))
    return tmp_path


WORDS = ("--preset", "tiny", "--count", "3", "--device", "cpu", "--set", "epochs=1")


def test_sub_parts_are_drawn_put_together_and_learned_from(blemish, parts, tmp_path):
    out = tmp_path / "drawn"
    code, printed, errors = blemish(
        "synthesize", "wgan_gp", "--data", parts / "{part}", "--part", "anode", "--part", "glass",
        "-o", out, *WORDS,
    )  # fmt: skip
    assert code == 0, errors
    assert printed.count("drawn images are fit for use") >= 2
    assert (out / "anode/synthesis.html").is_file()
    code, printed, errors = blemish(
        "synthesize", "wgan_gp", "--data", parts / "anode", "-o", out / "anode", *WORDS
    )
    assert "goes on after epoch 1" in printed
    code, printed, errors = blemish("compose", out / "anode", out / "glass", "-o", out / "whole")
    assert code == 0, errors
    assert len(SyntheticManifest.read(out / "whole").images) >= 1
    code, printed, errors = blemish(
        "fit", "patchcore", "--preset", "tiny", "--data", parts / "anode", "-o", out / "a.blemish",
        "--data-set", f"synthetic={out / 'anode'}", "--set", "false_alarms=20%",
        "--set", "augmentation=pixel_only", "--set", "augmentation_copies=1",
    )  # fmt: skip
    assert code == 0, errors
    assert "calibrated on 9 good ones" in printed


def test_bad_input_is_one_sentence(blemish, parts, tmp_path):
    for path in sorted((parts / "glass/good").iterdir())[30:]:
        path.unlink()
    code, _, errors = blemish(
        "synthesize", "dcgan", "--data", parts / "glass", "-o", tmp_path / "x", *WORDS
    )
    assert code == 2
    assert "24 good images of glass are too few for a GAN: below 32" in errors
    code, _, errors = blemish("synthesize", "dcgn", "--data", parts / "glass", "-o", tmp_path / "x")
    assert code == 2
    assert "Did you mean 'dcgan'" in errors
    code, _, errors = blemish("compose", parts / "glass", parts / "anode", "-o", tmp_path / "y")
    assert code == 2
    assert errors.count("\n") == 1
    assert "give a folder that `blemish synthesize` wrote" in errors
