"""Many files: every one exactly once, whatever happens in between."""

import csv
import json

import pytest

from blemish.detector import Detector
from blemish.errors import ImageError, MissingExtraError, OptionError
from blemish.images import write_png
from blemish.inspection import Inspection, Journal, identity
from blemish.result_files import RESULT_COLUMNS, flat, line_of, whole_file
from drawn import draw_defective, draw_good


@pytest.fixture(scope="session")
def detector(exported_part):
    return Detector.load(exported_part)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i in range(4):
        write_png(folder / f"good-{i}.png", draw_good(i))
    write_png(folder / "blob.png", draw_defective(1))
    (folder / "broken.png").write_bytes(b"no picture")
    return sorted(folder.iterdir())


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_corrupt_image_is_reported_and_the_others_are_judged(detector, photos, tmp_path):
    seen = []
    inspection = Inspection(
        detector, out=tmp_path / "out.jsonl", row_done=lambda row, _: seen.append(row)
    )
    tally = inspection.run(photos)
    inspection.finish()
    assert (tally.judged, tally.errors, tally.defective) == (5, 1, 1)
    rows = rows_of(tmp_path / "out.jsonl")
    assert sorted(r["image"] for r in rows) == [str(p) for p in photos]
    assert [r["image"] for r in rows if "error" in r] == [str(photos[1])]
    assert len(seen) == 6
    assert not (tmp_path / "out.jsonl.journal").exists()
    assert "1 could not be read" in tally.text()


def test_after_a_kill_the_same_command_does_the_rest(detector, photos, tmp_path):
    def stop(row, prediction):
        if "good-1" in row["image"]:
            raise KeyboardInterrupt

    first = Inspection(detector, out=tmp_path / "out.jsonl", row_done=stop)
    with pytest.raises(KeyboardInterrupt):
        first.run(photos)
    assert not (tmp_path / "out.jsonl").exists(), "nothing half-written"
    journal = tmp_path / "out.jsonl.journal"
    journal.write_bytes(journal.read_bytes() + b'{"image": "torn')
    judged = []
    second = Inspection(
        detector, out=tmp_path / "out.jsonl", row_done=lambda row, _: judged.append(row["image"])
    )
    tally = second.run(photos)
    second.finish()
    assert tally.before + len(judged) == len(photos)
    assert tally.before >= 1
    assert "were done before" in tally.text()
    assert sorted(r["image"] for r in rows_of(tmp_path / "out.jsonl")) == [str(p) for p in photos]


def test_a_journal_of_another_model_begins_anew(tmp_path):
    first = Journal(tmp_path / "j", {"model": "a"})
    first.add(("x.png", 1, 2), {"image": "x.png"})
    assert Journal(tmp_path / "j", {"model": "a"}).done == {("x.png", 1, 2)}
    assert Journal(tmp_path / "j", {"model": "b"}).done == set()


def test_what_is_written_beside_is_there_before_an_image_counts(detector, photos, tmp_path):
    written, order = set(), []

    def row_done(row, prediction):
        if prediction is not None:
            order.append(row["image"] in written)

    Inspection(
        detector, write=lambda path, _: written.add(str(path)), row_done=row_done, workers=3
    ).run(photos)
    assert order == [True] * 5


def test_a_live_file_grows_line_by_line_and_mends_itself(detector, photos, tmp_path):
    out = tmp_path / "out.csv"
    inspection = Inspection(detector, out=out, form="csv", live=True)
    inspection.run(photos[:2])
    assert len(out.read_text().splitlines()) == 3
    out.write_text("lost")
    again = Inspection(detector, out=out, form="csv", live=True)
    again.run(photos)
    again.finish()
    with out.open() as opened:
        rows = list(csv.DictReader(opened))
    assert sorted(r["image"] for r in rows) == [str(p) for p in photos]
    assert list(rows[0]) == list(RESULT_COLUMNS)
    assert again.tally.before == 2


def test_a_photo_that_is_replaced_is_another_photo(detector, photos, tmp_path):
    inspection = Inspection(detector, out=tmp_path / "out.jsonl")
    inspection.run(photos[2:3])
    assert inspection.is_done(identity(photos[2]))
    write_png(photos[2], draw_defective(9))
    assert not inspection.is_done(identity(photos[2]))


def test_bad_requests_are_refused(detector, tmp_path):
    with pytest.raises(OptionError, match="not 'xml'"):
        Inspection(detector, form="xml")
    with pytest.raises(OptionError, match="workers=0"):
        Inspection(detector, workers=0)
    with pytest.raises(OptionError, match="cannot grow"):
        Inspection(detector, form="parquet", live=True)
    with pytest.raises(OptionError, match="is a folder"):
        Inspection(detector, out=tmp_path)
    assert identity(tmp_path / "missing.png") == (str(tmp_path / "missing.png"), 0, 0)


def test_predict_each_without_a_handler_raises(detector, photos):
    with pytest.raises(ImageError):
        list(detector.predict_each(photos))


ROW = {
    "image": "a.png",
    "defective": True,
    "score": 2.0,
    "regions": [{"box": [1, 2, 3, 4]}],
    "p_value": 0.1,
}


def test_rows_become_one_value_per_column():
    found = flat(ROW)
    assert found["regions"] == 1
    assert found["largest_region"] == "1 2 3 4"
    assert flat({"image": "b.png", "error": "no"})["regions"] is None


def test_parquet_has_typed_columns():
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [tables] is not installed")
    from pyarrow import parquet

    content = whole_file([ROW, {"image": "b.png", "error": "no"}], "parquet")
    table = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    assert [r["score"] for r in table] == [2.0, None]
    assert table[0]["defective"] is True


def test_parquet_without_its_extra_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"blemish\[tables\]"):
        whole_file([ROW], "parquet")


def test_a_file_name_that_begins_like_a_formula_is_not_run_by_a_spreadsheet():
    row = {**ROW, "image": '=cmd|"/C calc"!A0.png', "score": -1.5}
    cells = next(csv.reader([line_of(row, "csv")]))
    assert cells[0] == '\'=cmd|"/C calc"!A0.png'
    assert "-1.5" in cells, "numbers stay numbers"
