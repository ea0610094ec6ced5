import csv
import io
import zipfile

import pytest

from blemish import open_dataset, to_png_bytes
from blemish.station.exporting import folder_name
from drawn import blob_mask
from station_helpers import bad_png, good_png, inspect


@pytest.fixture
def reviewed(trained):
    """Three inspections: a good one, a painted defect, one that nobody looked at."""
    good = inspect(trained, "plate", good_png(400), "=cmd|' /C calc'!A0.png")
    bad = inspect(trained, "plate", bad_png(401), "bad.png")
    inspect(trained, "plate", good_png(402), "open.png")
    trained.post(f"/api/inspections/{good['id']}/reviews", data={"verdict": "good"})
    trained.post(
        f"/api/inspections/{bad['id']}/reviews",
        data={"verdict": "defect", "defect_type": "../Blue Blob"},
        files={"mask": ("m.png", to_png_bytes(blob_mask(401)))},
    )
    return trained


def test_csv_has_every_inspection_and_no_formula(reviewed):
    text = reviewed.get("/api/parts/plate/export.csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [r["verdict"] for r in rows] == ["good", "defect", ""]
    assert rows[0]["image"].startswith("'=")
    assert rows[1]["defect_type"] == "../Blue Blob"
    assert rows[1]["painted"] == "True"
    assert float(rows[1]["p_value"]) <= 0.05


def test_parquet_has_the_same(reviewed):
    parquet = pytest.importorskip("pyarrow.parquet")
    content = reviewed.get("/api/parts/plate/export.parquet").content
    rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    assert [r["verdict"] for r in rows] == ["good", "defect", None]


def test_without_pyarrow_it_says_what_to_install(reviewed, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    answer = reviewed.get("/api/parts/plate/export.parquet")
    assert answer.status_code == 400
    assert "blemish[tables]" in answer.json()["error"]


def test_the_data_set_folder_is_one_that_blemish_reads(reviewed, tmp_path):
    content = reviewed.get("/api/parts/plate/dataset.zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "data")
    data = open_dataset(tmp_path / "data")
    assert len(data.select("train", defective=False)) >= 24
    (defect,) = data.select("test", defective=True)
    assert defect.defect_type == "blue_blob"
    assert (data.mask(defect, (64, 96)) == blob_mask(401)).all()
    assert data.warnings == ()


def test_kinds_of_defect_become_safe_folder_names():
    given = ["Scratch", "../../etc", "good", "螺", "a/b\\c", "NUL", "x" * 99]
    names = [folder_name(kind) for kind in given]
    assert names == ["scratch", "etc", "defect_good", "defect_", "a_b_c", "defect_nul", "x" * 40]
