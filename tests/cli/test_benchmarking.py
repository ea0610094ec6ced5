import json

PLATES = ("--data", "battery_plate", "--data-set", "good=12", "--data-set", "defective=4")
SMALL = ("--preset", "tiny", "--set", "calibration=split")


def test_a_grid_runs_and_goes_on_and_is_shown(blemish, tmp_path):
    words = ("benchmark", "--methods", "patchcore", *PLATES, *SMALL, "--grid", "image_size=32,48")
    code, printed, errors = blemish(*words, "-o", tmp_path)
    assert code == 0, errors
    assert printed.count("image_auroc") == 2
    assert "prevalence" in printed
    files = sorted(tmp_path.glob("grid_*.json"))
    assert {json.loads(f.read_text())["options"]["image_size"] for f in files} == {"32", "48"}
    assert "Heat map: Image AUROC" in (tmp_path / "grid.html").read_text("utf-8")
    before = [f.stat().st_mtime_ns for f in files]
    assert blemish(*words, "-o", tmp_path)[0] == 0
    assert [f.stat().st_mtime_ns for f in files] == before


def test_what_cannot_work_is_said_before_anything_is_computed(blemish, tmp_path):
    for words, said in (
        ((), "Say what to measure: --methods and --data, or --speed"),
        (("--methods", "patchcore"), "--methods and --data"),
        (("--methods", "patchcore", *PLATES, "--grid", "x"), "no axis of a grid"),
        (("--methods", "patchcore", *PLATES, "--grid", "latent=3"), "latent"),
        (("--methods", "patchcore", *PLATES, "--folds", "9"), "too few for 9 folds"),
    ):
        code, _, errors = blemish("benchmark", *words, "-o", tmp_path / "out")
        assert code == 2
        assert said in errors
        assert not (tmp_path / "out").exists()
