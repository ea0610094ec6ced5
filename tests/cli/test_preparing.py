"""From drawing photos to a report, as a user types it."""

from blemish.images import read_tiff


def test_from_photos_to_a_report_and_back(blemish, tmp_path):
    photos, crops, parts = (tmp_path / name for name in ("photos", "crops", "parts"))
    view = ("--data-set", "view=photo", "--data-set", "size=640x940")
    code, printed, _ = blemish("draw", "battery_plate", *view, "--count", 12, "-o", photos)
    assert code == 0
    assert "Wrote 12 images, 2 defective" in printed
    loose = ("--set", "seen=0.3", "--set", "filled=0.05")
    words = ("prepare", "crop", photos, "-o", crops, "--size", "60x300", "--margin", "3x5", *loose)
    code, printed, _ = blemish(*words)
    assert code == 0
    assert "Cut 12 of 12 photos, 12 of them read now" in printed
    assert "12 photos, 0 of them read now" in blemish(*words)[1]
    code, printed, _ = blemish("prepare", "split", crops / "manifest.csv", "-o", parts)
    assert code == 0
    assert "anode: 12 images" in printed
    model, report = tmp_path / "plate.blemish", tmp_path / "report"
    code, _, _ = blemish(
        "fit", "by_region", "--data", crops / "manifest.csv", "-o", model, "--set",
        "inner_preset=tiny", "--set", "calibration=split", "--set", "false_alarms=50%",
    )  # fmt: skip
    assert code == 0
    words = ("evaluate", model, "--data", crops / "manifest.csv", "-o", report, "--maps")
    assert blemish(*words)[0] == 0
    assert (report / "report.html").exists()
    code, printed, _ = blemish("prepare", "back", crops, report / "maps", "-o", tmp_path / "back")
    assert code == 0
    back = sorted((tmp_path / "back").rglob("*.tiff"))
    assert f"Wrote {len(back)} maps" in printed
    assert read_tiff(back[0]).shape == (940, 640)


def test_rejections_are_said(blemish, tmp_path):
    view = ("--data-set", "view=photo", "--data-set", "size=320x480", "--data-set", "covered=1")
    assert blemish("draw", "battery_plate", *view, "--count", 3, "-o", tmp_path / "photos")[0] == 0
    code, _, errors = blemish("prepare", "crop", tmp_path / "photos", "-o", tmp_path / "crops",
                              "--set", "aspect=0.01")  # fmt: skip
    assert code == 2
    assert "All 3 photos were rejected" in errors


def test_counts_are_given_once(blemish, tmp_path):
    code, _, errors = blemish("draw", "battery_plate", "--data-set", "good=3", "--count", 5,
                              "-o", tmp_path / "x")  # fmt: skip
    assert code == 2
    assert "--count and good= are both given" in errors


def test_a_split_that_does_not_tile_the_part_is_refused(blemish, tmp_path):
    words = ("prepare", "split", "battery_plate", "-o", tmp_path, "--regions", "a=0:1/2")
    code, _, errors = blemish(*words)
    assert code == 2
    assert "cover 50.0% of the part" in errors
