import pyarrow
import pytest
from pyarrow import parquet

from blemish.errors import DataError
from blemish.scale.sources import Item, cut, list_source, read_items
from blemish.scale.storage import find_place


def items(source, tmp_path, rows=7):
    files = list_source(find_place(str(source)), find_place(str(tmp_path / "list.parquet")), rows)
    chunks = cut(files, rows)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert all(0 < chunk.rows <= rows for chunk in chunks)
    return [item for chunk in chunks for item in read_items(chunk)]


def test_a_folder_is_listed_with_all_below_it_in_order(photos, tmp_path):
    found = [item.name for item in items(photos, tmp_path)]
    assert found == sorted(str(p) for p in photos.rglob("*.png"))
    assert len(found) == 41


def test_a_list_of_files_takes_paths_urls_and_what_lies_beside_it(photos, tmp_path):
    listed = photos / "list.txt"
    listed.write_text("line 0/000.png\n\n/elsewhere/a.png\ns3://parts/b.png\n")
    try:
        found = [item.name for item in items(listed, tmp_path)]
    finally:
        listed.unlink()
    assert found == [str(photos / "line 0/000.png"), "/elsewhere/a.png", "s3://parts/b.png"]


def test_one_image_is_a_source(photos, tmp_path):
    path = photos / "line 0/000.png"
    assert items(path, tmp_path) == [Item(str(path))]


@pytest.mark.parametrize("name", ["image", "path", "url"])
def test_parquet_of_paths_is_cut_within_its_row_groups(name, tmp_path):
    path = tmp_path / "paths.parquet"
    names = [f"{i}.png" for i in range(25)]
    parquet.write_table(pyarrow.table({name: names}), path, row_group_size=10)
    found = items(path, tmp_path, rows=4)
    assert [item.name for item in found] == [str(tmp_path / n) for n in names]


def test_parquet_of_bytes_keeps_names_and_makes_missing_ones(tmp_path):
    for part in range(2):
        table = {"bytes": [b"a", None, b"c"], "image": ["x", "y", None], "line": [1, 2, 3]}
        parquet.write_table(pyarrow.table(table), tmp_path / f"{part}.parquet")
    found = items(tmp_path, tmp_path / "out")
    assert [item.content for item in found] == [b"a", b"", b"c"] * 2
    assert [item.name for item in found[:2]] == ["x", "y"]
    assert found[2].name == f"{tmp_path}/0.parquet#0.2"


def test_chunks_of_large_images_have_fewer_rows(tmp_path):
    path = tmp_path / "large.parquet"
    table = pyarrow.table({"bytes": [bytes([i]) * 10_000_000 for i in range(14)]})
    parquet.write_table(table, path, use_dictionary=False)
    chunks = cut([str(path)], 256)
    assert [chunk.rows for chunk in chunks] == [6, 6, 2]
    assert [item.content[0] for item in read_items(chunks[1])] == list(range(6, 12))


def test_every_file_of_a_bucket_is_found(bucket, tmp_path):
    root = find_place(f"{bucket}/in")
    for name in ("b/1.png", "a.jpg", "b/notes.md", "c/d/2.tif"):
        (root / name).write(b"x")
    found = sorted(item.name for item in items(f"{bucket}/in", tmp_path))
    assert found == [f"{bucket}/in/{name}" for name in ("a.jpg", "b/1.png", "c/d/2.tif")]


def test_empty_and_foreign_sources_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.txt").write_text("\n")
    (tmp_path / "text.parquet").write_text("PAR? no")
    (tmp_path / "model.bin").write_bytes(b"x")
    parquet.write_table(pyarrow.table({"label": [1]}), tmp_path / "labels.parquet")
    parquet.write_table(
        pyarrow.table({"image": pyarrow.array([], "string")}), tmp_path / "0.parquet"
    )
    for name, said in {
        "empty": "There is no image in .*empty; check the path",
        "nothing.txt": "There is no image in",
        "missing": "missing does not exist",
        "text.parquet": "is not a Parquet file",
        "model.bin": "neither a folder, a list of files",
        "labels.parquet": "has the columns label; it needs 'bytes'",
        "0.parquet": "they have no row",
    }.items():
        with pytest.raises(DataError, match=said):
            items(tmp_path / name, tmp_path / "out")
