"""`blemish predict` on folders, `export` and `doctor`, as a user types them."""

import csv
import io
import json

import pytest

from blemish.images import write_png
from drawn import draw_good


@pytest.fixture(scope="session")
def onnx(exported_part):
    return exported_part


def test_export_writes_a_file_that_predicts_and_whose_threshold_changes(
    blemish, photos, model, tmp_path
):
    path = tmp_path / "part.onnx"
    code, printed, _ = blemish("export", model, path, "--data", photos)
    assert code == 0
    assert "one by one and in a batch" in printed
    code, printed, _ = blemish("predict", path, photos / "test/blob/00.png")
    assert printed.startswith("DEFECTIVE")
    code, printed, _ = blemish("threshold", path, "--false-alarms", "40%")
    assert code == 0
    assert "0.4 of good parts" in printed


def test_export_says_what_is_wrong(blemish, model, tmp_path):
    code, _, errors = blemish("export", model, tmp_path / "part.bin")
    assert (code, "not named *.onnx" in errors) == (2, True)
    code, _, errors = blemish("export", model, tmp_path / "part.onnx", "--standalone", "big")
    assert (code, "is not WIDTHxHEIGHT" in errors) == (2, True)


def test_a_thousand_files_with_one_broken_one(blemish, onnx, tmp_path):
    folder = tmp_path / "in"
    for i in range(60):
        write_png(folder / f"{i:03d}.png", draw_good(i % 7))
    (folder / "030.png").write_bytes(b"broken")
    out = tmp_path / "out.jsonl"
    code, printed, errors = blemish("predict", onnx, folder, "--json", "-o", out, "--workers", 3)
    assert code == 2
    assert printed == ""
    assert "030.png" in errors
    assert "images/s" in errors
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 60
    assert sum("error" in r for r in rows) == 1


def test_csv_goes_to_the_screen_or_into_a_file(blemish, onnx, photos, tmp_path):
    code, printed, _ = blemish("predict", onnx, photos / "test", "--csv")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert code == 0
    assert len(rows) == 10
    blemish("predict", onnx, photos / "test", "--csv", "-o", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as opened:
        assert [r["image"] for r in csv.DictReader(opened)] == [r["image"] for r in rows]


def test_pictures_of_folders_keep_their_folders(blemish, onnx, photos, tmp_path):
    blemish("predict", onnx, photos / "test", "--overlay", tmp_path / "pictures")
    found = sorted(p.relative_to(tmp_path / "pictures") for p in tmp_path.rglob("*.png"))
    assert len(found) == 10
    assert str(found[0]).replace("\\", "/") == "blob/00.png"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--json", "--csv"), "one of --json, --csv and --parquet"),
        (("--parquet",), "needs a name"),
        (("-o", "x.json"), "--out needs one of"),
        (("--watch", "."), "or --watch FOLDER"),
        (("--engine", "spark"), "Unknown engine 'spark'"),
        (("--address", "ray://h:1"), "need --engine ray"),
    ],
)
def test_requests_that_make_no_sense(words, said, blemish, onnx, photos):
    code, _, errors = blemish("predict", onnx, photos / "test", *words)
    assert code == 2
    assert said in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "takes one source"),
        (("more", "--out", "o"), "takes one source"),
        (("--csv", "--out", "o"), "takes no --json, --csv"),
        (("--out", "o", "--thumbnails", "-1"), "thumbnails=-1 is below"),
        (("--out", "o", "--address", "ray://127.0.0.1:1"), "Nothing answers at --address"),
        (("--out", "{folder}"), "holds blob and no results of a run"),
    ],
)
def test_bulk_requests_that_cannot_work_are_refused_before_any_work(
    words, said, blemish, onnx, photos
):
    pytest.importorskip("ray")
    given = [word.format(folder=photos / "test") for word in words]
    code, _, errors = blemish("predict", onnx, photos / "test", *given, "--engine", "ray")
    assert code == 2
    assert said in errors


def test_only_a_folder_is_watched(blemish, onnx, tmp_path):
    code, _, errors = blemish("predict", onnx, "--watch", tmp_path / "none")
    assert code == 2
    assert "not a folder" in errors


def test_watching_ends_with_a_key_and_a_tally(blemish, onnx, photos, tmp_path, monkeypatch):
    import blemish as package

    def one_round(folder, is_done):
        ready = [photos / "test/blob/00.png"]
        assert not is_done(package.identity(ready[0]))
        yield ready
        assert is_done(package.identity(ready[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "watch", one_round)
    code, printed, errors = blemish("predict", onnx, "--watch", photos, "--fail")
    assert code == 1
    assert printed.startswith("DEFECTIVE")
    assert "1 images in" in errors


def test_an_output_folder_that_cannot_be_written_is_one_error(blemish, onnx, photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, errors = blemish(
        "predict", onnx, photos / "test", "--json", "-o", tmp_path / "file" / "out.jsonl"
    )
    assert code == 2
    assert errors.startswith("blemish: ")


def test_the_doctor_prints_text_and_json(blemish):
    code, printed, _ = blemish("doctor")
    assert code == 0
    assert "instruction sets" in printed
    assert json.loads(blemish("doctor", "--json")[1])["machine"]["cores"] >= 1
