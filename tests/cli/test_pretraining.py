"""`blemish pretrain` and what follows it, as a user types it."""

import pytest

from blemish import Detector, Pretrained

FEW = ("--preset", "tiny", "--set", "device=cpu", "--set", "epochs=1", "--set", "masks=8")


@pytest.fixture
def encoder(blemish, photos, tmp_path):
    pytest.importorskip("lightning")
    out = tmp_path / "encoder.safetensors"
    code, printed, errors = blemish(
        "pretrain", "masked_autoencoder", "--data", photos, "-o", out, *FEW,
        "--checkpoint", tmp_path / "state",
    )  # fmt: skip
    assert code == 0, errors
    assert "Learned from 20 images." in printed
    assert (tmp_path / "state" / "pretrain" / "checkpoint.safetensors").exists()
    return out


def test_fit_goes_on_from_the_file(blemish, photos, encoder, tmp_path):
    out = tmp_path / "part.blemish"
    code, printed, errors = blemish(
        "fit", "masked_autoencoder", "--init", encoder, "--data", photos, "-o", out, *FEW,
        "--set", "finetune_epochs=1", "--set", "false_alarms=30%",
    )  # fmt: skip
    assert code == 0, errors
    assert "calibrated on 5 good ones" in printed
    assert set(Pretrained.load(encoder).learned) <= set(Detector.load(out).learned)


def test_folders_of_images_will_do_but_then_nothing_is_left_to_calibrate(blemish, photos, tmp_path):
    pytest.importorskip("lightning")
    out = tmp_path / "encoder.safetensors"
    code, printed, _ = blemish(
        "pretrain", "masked_autoencoder", "--images", photos / "train", "--images",
        photos / "test/good", "-o", out, *FEW,
    )  # fmt: skip
    assert code == 0
    assert "Learned from 30 images." in printed
    code, _, errors = blemish(
        "fit", "patchcore", "--data", photos, "-o", tmp_path / "part.blemish",
        "--set", "backbone=pretrained_encoder", "--set", f"weights={out}",
    )  # fmt: skip
    assert code == 2
    assert "pre-train with --data, which leaves calibration images out" in " ".join(errors.split())
