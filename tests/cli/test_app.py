"""The command line as a user meets it: what is printed, written and returned."""

import csv
import json
import shutil

import jsonschema
import pytest

from blemish import Detector, read_image
from blemish.images import read_tiff


def test_fit_writes_a_model_that_predicts(blemish, photos, tmp_path):
    out = tmp_path / "part.blemish"
    code, printed, _ = blemish(
        "fit", "patchcore", "--preset", "tiny", "--data", photos, "-o", out, "--set",
        "false_alarms=20%", "--set", "image_size=48x32",
    )  # fmt: skip
    assert code == 0
    assert "Learned from 25 images, calibrated on 25 good ones" in printed
    assert "bank" in printed, "the predicted memory is said before fitting"
    detector = Detector.load(out)
    assert detector.pipeline.geometry.size == (32, 48)
    assert detector.false_alarms == 0.2


def test_fit_keeps_its_checkpoint_and_curves_where_it_is_told(blemish, photos, tmp_path):
    pytest.importorskip("lightning")
    words = (
        "fit", "vae", "--preset", "tiny", "--data", photos, "-o", tmp_path / "part.blemish",
        "--set", "epochs=2", "--set", "device=cpu", "--set", "false_alarms=20%",
        "--checkpoint", tmp_path / "state",
    )  # fmt: skip
    code, printed, _ = blemish(*words)
    assert code == 0
    assert "latent units are active" in printed
    code, printed, _ = blemish(*words)
    assert code == 0
    assert "Training goes on after epoch 2" in printed
    code, _, errors = blemish(*words, "--set", "beta=2")
    assert code == 2
    assert "options.beta is 1.0 there and 2.0 now" in errors
    code, _, errors = blemish(*words, "--track", "tensorbord")
    assert code == 2
    assert "Did you mean 'tensorboard'" in errors


def test_fit_keeps_features_where_it_is_told(blemish, photos, tmp_path):
    words = (
        "fit", "patchcore", "--preset", "tiny", "--data", photos, "-o", tmp_path / "a.blemish",
        "--set", "false_alarms=20%", "--feature-cache", tmp_path / "cache",
    )  # fmt: skip
    code, printed, _ = blemish(*words)
    assert code == 0
    assert "Feature cache: 25 views" in printed
    assert len(list(tmp_path.glob("cache/*/*.features"))) == 25
    code, _, errors = blemish(*words, "--feature-cache-mb", "0.001")
    assert code == 2
    assert "allow more (feature_cache_mb)" in errors


def test_fit_warns_when_the_rate_cannot_be_promised(blemish, photos, tmp_path):
    code, _, errors = blemish(
        "fit", "patchcore", "--preset", "tiny", "--data", photos, "-o", tmp_path / "a.blemish",
        "--set", "false_alarms=1%",
    )  # fmt: skip
    assert code == 0
    assert "Mind: A false-alarm rate of 0.01 needs 99 calibration parts" in errors


def test_predict_says_where_and_how_sure(blemish, photos, model):
    code, printed, _ = blemish("predict", model, photos / "test/blob/00.png")
    assert code == 0
    assert printed.startswith("DEFECTIVE p = 0.0385")
    assert "px at" in printed


def test_predict_json_satisfies_its_schema(blemish, photos, model, json_lines):
    from importlib import resources

    schema = json.loads(
        resources.files("blemish").joinpath("schemas/prediction-1.json").read_text("utf-8")
    )
    _, printed, _ = blemish("predict", model, photos / "test", "--json")
    answers = json_lines(printed)
    assert len(answers) == 10
    for answer in answers:
        jsonschema.validate(answer, schema)
    assert sum(answer["defective"] for answer in answers if "blob" in answer["image"]) == 5


def test_predict_with_fail_returns_1_on_a_defect_and_0_without(blemish, photos, model):
    assert blemish("predict", model, photos / "test/blob/00.png", "--fail")[0] == 1
    low = blemish("predict", model, photos / "train/good/00.png", "--fail")
    assert low[0] == 0, low


def test_predict_goes_on_after_an_unreadable_image_and_returns_2(
    blemish, photos, model, tmp_path, json_lines
):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    code, printed, errors = blemish("predict", model, bad, photos / "test/good/00.png", "--json")
    assert code == 2
    assert "bad.png" in errors
    first, second = json_lines(printed)
    assert "error" in first
    assert "score" in second


def test_predict_writes_overlays_of_the_size_of_the_image(blemish, photos, model, tmp_path):
    blemish("predict", model, photos / "test/blob/00.png", "--overlay", tmp_path / "out")
    assert read_image(tmp_path / "out/00.png").shape == (64, 96, 3)


def test_evaluate_writes_figures_report_maps_and_overlays(blemish, photos, model, tmp_path):
    out = tmp_path / "results"
    code, printed, _ = blemish(
        "evaluate", model, "--data", photos, "--out", out, "--maps", "--overlays", "--per-image"
    )
    assert code == 0
    assert "Image AUROC" in printed
    figures = json.loads((out / "metrics.json").read_text("utf-8"))["figures"]
    assert figures["image_auroc"]["value"] == 1.0
    assert figures["x_auc"]["value"] > 0.9
    assert 0 <= figures["p_value_ks"]["value"] <= 1
    assert "oracle" in printed
    assert (out / "metrics.csv").exists()
    assert "blemish evaluate" in (out / "report.html").read_text("utf-8")
    assert read_tiff(out / "maps/test/blob/00.tiff").shape == (64, 96)
    assert (out / "overlays/test/good/04.png").exists()


def test_threshold_changes_the_rate_and_nothing_else(blemish, model, tmp_path):
    out = tmp_path / "other.blemish"
    blemish("threshold", model, "--false-alarms", "40%", "-o", out)
    old, new = Detector.load(model), Detector.load(out)
    assert new.false_alarms == 0.4
    assert new.threshold < old.threshold
    assert (new.calibration.scores == old.calibration.scores).all()


def test_update_follows_a_folder_that_changed(blemish, photos, model, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "train/good/00.png").unlink()
    out = tmp_path / "next.blemish"
    code, printed, _ = blemish("update", model, "--data", folder, "-o", out)
    assert code == 0
    assert "of good parts asked for" in printed
    assert len(Detector.load(out).seen) == 24


def test_check_data_says_what_it_understood(blemish, photos):
    code, printed, _ = blemish("check-data", photos)
    assert code == 0
    assert "25" in printed
    assert "blob" in printed
    as_json = json.loads(blemish("check-data", photos, "--json")[1])
    assert as_json


def test_list_shows_methods_data_sets_backbones_and_options(blemish):
    printed = blemish("list")[1]
    for name in ("patchcore", "battery_plate", "filter_bank", "bank_mb=", "image_size="):
        assert name in printed
    assert "patchcore" in json.loads(blemish("list", "--json")[1])["methods"]


def test_category_all_gives_a_model_and_a_result_for_each_and_their_mean(blemish, photos, tmp_path):
    for name in ("screw", "nut"):
        shutil.copytree(photos, tmp_path / "sets" / name)
    code, _, errors = blemish(
        "fit", "patchcore", "--preset", "tiny", "--data", f"mvtec_ad:{tmp_path / 'sets'}",
        "--category", "all", "-o", tmp_path / "m.blemish", "--set", "false_alarms=0.3",
    )  # fmt: skip
    assert code == 0, errors
    assert {p.name for p in tmp_path.glob("*.blemish")} == {"m-screw.blemish", "m-nut.blemish"}
    code, printed, errors = blemish(
        "evaluate", tmp_path / "m.blemish", "--data", f"mvtec_ad:{tmp_path / 'sets'}",
        "--category", "all", "-o", tmp_path / "results",
    )  # fmt: skip
    assert code == 0, errors
    assert "categories.csv" in printed
    rows = list(csv.DictReader((tmp_path / "results/categories.csv").read_text().splitlines()))
    assert [row["category"] for row in rows] == ["nut", "screw", "mean"]
    for row in rows[:2]:
        own = json.loads((tmp_path / "results" / row["category"] / "metrics.json").read_text())
        assert float(row["image_auroc"]) == own["figures"]["image_auroc"]["value"]
    assert float(rows[2]["aupro_0.30"]) == pytest.approx(
        (float(rows[0]["aupro_0.30"]) + float(rows[1]["aupro_0.30"])) / 2
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "patchcor", "--data", "{photos}", "-o", "{out}"), "Did you mean 'patchcore'?"),
        (("fit", "patchcore", "--data", "{photos}", "-o", "{out}", "--set", "coresett=1"),
         "Did you mean 'coreset'?"),
        (("fit", "patchcore", "--data", "{photos}", "-o", "{out}", "--set", "coreset"),
         "not of the form key=value"),
        (("fit", "patchcore", "--data", "{photos}", "-o", "{out}", "--set", "coreset=2"),
         "above the largest value"),
        (("fit", "vae", "--data", "{photos}", "-o", "{out}", "--set", "latent=0"),
         "latent of method vae: 0 is below the smallest value 1"),
        (("fit", "vae", "--data", "{photos}", "-o", "{out}", "--set", "train_batch=0"),
         "train_batch of method vae: 0 is below the smallest value 1"),
        (("fit", "patchcore", "--data", "{empty}", "-o", "{out}"), "no images"),
        (("fit", "patchcore", "--data", "C:\\nowhere", "-o", "{out}"), "nowhere"),
        (("predict", "{photos}/test/good/00.png", "{photos}"), "not a model file"),
        (("predict", "{model}", "{photos}", "--false-alarms", "often"), "is not a rate"),
        (("predict", "{model}", "{empty}"), "There is no image in"),
        (("evaluate", "{model}", "--data", "{photos}", "--out", "{photos}/test/good/00.png"),
         "00.png"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence_and_exit_code_2(words, said, blemish, photos, model, tmp_path):
    out, empty = tmp_path / "out.blemish", tmp_path / "empty"
    empty.mkdir()
    places = {"photos": photos, "out": out, "empty": empty, "model": model}
    code, _, errors = blemish(*(word.format(**places) for word in words))
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors
    assert not out.exists(), "nothing half-written"


def test_the_demo_learns_evaluates_and_writes_a_report(blemish, tmp_path, monkeypatch):
    import blemish as package

    real = package.open_dataset
    monkeypatch.setattr(
        package, "open_dataset", lambda name, seed: real(name, seed=seed, good=24, defective=4)
    )
    code, printed, errors = blemish("demo", "--out", tmp_path / "demo")
    assert code == 0, errors
    assert "Report:" in printed
    assert (tmp_path / "demo/report.html").stat().st_size > 10_000
    assert Detector.load(tmp_path / "demo/plate.blemish").threshold > 0


def test_compare_prints_paired_differences_and_writes_a_page(blemish, photos, model, tmp_path):
    code, printed, errors = blemish("compare", model, model, "--data", photos, "-o", tmp_path / "c")
    assert code == 0, errors
    assert "Image AUROC" in printed
    assert "better on 50%" in printed
    assert json.loads((tmp_path / "c/comparison.json").read_text("utf-8"))["shares_won"]
    assert (tmp_path / "c/comparison.html").exists()


def test_explain_says_which_region_counts_how_much(blemish, photos, model, json_lines):
    for rule in ("calibrated", "local", "image", "class"):
        code, printed, _ = blemish("explain", model, photos / "test/blob/00.png", "--rule", rule)
        assert code == 0
        assert "of the map." in printed
    code, printed, _ = blemish("explain", model, photos / "test/blob/00.png", "--json")
    (found,) = json_lines(printed)
    assert sum(r["share"] for r in found["explanation"]["regions"]) == pytest.approx(1)
    code, _, errors = blemish("explain", model, photos / "test/blob/00.png", "--rule", "globe")
    assert code == 2
    assert "threshold rule" in errors


def test_few_defects_are_learned_from_and_the_same_draw_is_asked_for(blemish, photos, tmp_path):
    pytest.importorskip("lightning")
    out, words = tmp_path / "part.blemish", ("--data", photos, "--data-set", "few_defects=2")
    code, _, errors = blemish("fit", "aexad", "--preset", "tiny", "--data", photos, "-o", out)
    assert code == 2
    assert "few_defects=3, or use patchcore" in errors
    code, printed, _ = blemish(
        "fit", "aexad", "--preset", "tiny", *words, "-o", out, "--set", "epochs=1",
        "--set", "false_alarms=30%", "--set", "calibration=split",
    )  # fmt: skip
    assert code == 0
    assert "2 marked views" in printed
    code, _, _ = blemish("evaluate", out, *words, "-o", tmp_path / "same")
    assert code == 0
    assert "reconstruction" in (tmp_path / "same/report.html").read_text("utf-8")
    assert "few_defects=2, draw 0" in (tmp_path / "same/report.html").read_text("utf-8")
    code, _, errors = blemish("evaluate", out, "--data", photos, "-o", tmp_path / "other")
    assert code == 2
    assert "the same few_defects and draw" in errors
