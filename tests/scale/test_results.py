import pytest
from pyarrow import parquet

from blemish.errors import OptionError
from blemish.scale.results import ResultFolder
from blemish.scale.storage import find_place

ROW = {
    "image": "a.png",
    "hash": "0" * 32,
    "defective": True,
    "score": 2.0,
    "regions": [{"box": [0, 1, 2, 3], "area_px": 4, "peak": 2.0, "share": 1.0}],
}


@pytest.mark.parametrize("where", ["local", "s3"])
def test_which_files_there_are_is_the_state_of_a_run(where, tmp_path, bucket):
    folder = ResultFolder(find_place(str(tmp_path / "out") if where == "local" else f"{bucket}/o"))
    assert folder.owner() is None
    assert folder.done() == set()
    folder.claim({"model": "m", "chunk": 4})
    folder.write(7, [ROW, {"image": "b.png", "error": "damaged"}])
    folder.write(7, [ROW, {"image": "b.png", "error": "damaged"}])  # repeated, as after a kill
    folder.write(12, [ROW])
    assert folder.owner() == {"model": "m", "chunk": 4}
    assert folder.done() == {7, 12}


def test_readers_of_parquet_folders_see_results_only(tmp_path):
    folder = ResultFolder(find_place(str(tmp_path)))
    folder.claim({})
    folder.listing.write(b"not looked at")
    folder.write(0, [ROW])
    table = parquet.read_table(tmp_path)
    (row,) = table.to_pylist()
    assert {name: row[name] for name in ROW} == ROW
    assert row["error"] is None
    assert row["map"] is None


def test_a_folder_of_another_run_or_of_something_else_is_refused(tmp_path):
    folder = ResultFolder(find_place(str(tmp_path / "out")))
    folder.claim({"model": "m", "source": "photos"})
    folder.check(folder.owner(), {"model": "m"})
    with pytest.raises(OptionError, match="another run: model is m there and n now; source is"):
        folder.check(folder.owner(), {"model": "n", "source": "new"})
    (tmp_path / "letters/letter.txt").parent.mkdir()
    (tmp_path / "letters/letter.txt").write_text("dear")
    with pytest.raises(OptionError, match=r"holds letter\.txt and no results of a run"):
        ResultFolder(find_place(str(tmp_path / "letters"))).owner()
