import json
from collections import Counter

import pytest

from blemish.datasets.manifest import Manifest
from blemish.errors import DataError
from helpers import make_images, make_masks, numbers


@pytest.fixture
def folder(tmp_path):
    make_images(tmp_path / "photos", numbers(20))
    make_masks(tmp_path / "marks", numbers(20))
    return tmp_path


def read(folder, text, name="list.csv", **options):
    path = folder / name
    path.write_text(text, encoding="utf-8") if isinstance(text, str) else path.write_bytes(text)
    return Manifest(path, Manifest.Options(**options)).records(None)


def test_every_column_arrives_in_the_record(folder):
    text = (
        "image,label,mask,group,split,mm_per_pixel,defect_type\n"
        "photos/000.png,good,,A,train,0.05,\n"
        "photos/001.png,defective,marks/001.png,B,test,0.1,scratch\n"
    )
    (good, bad), warnings = read(folder, text)
    assert (good.key, good.image) == ("photos/000.png", folder / "photos/000.png")
    assert (good.defective, good.defect_type, good.mask) == (False, "good", None)
    assert (good.group, good.split, good.mm_per_pixel) == ("A", "train", 0.05)
    assert (bad.defective, bad.defect_type, bad.mask) == (
        True,
        "scratch",
        folder / "marks/001.png",
    )
    assert (bad.group, bad.split, bad.mm_per_pixel) == ("B", "test", 0.1)
    assert not warnings


def test_csv_and_jsonl_mean_the_same(folder):
    rows = [
        {"image": "photos/000.png", "label": "good"},
        {"image": "photos/001.png", "label": "NG", "mask": "marks/001.png", "defect_type": None},
        {"image": "photos/002.png", "defect_type": "dent", "mm_per_pixel": 0.5},
    ]
    lines = "\n\n".join(json.dumps(row) for row in rows) + "\n"
    table = (
        "image;label;mask;defect_type;mm_per_pixel\nphotos/000.png;good;;;\n"
        "photos\\001.png;ng;./marks/001.png;;\n./photos/002.png;;;dent;0.5\n"
    )
    by_lines = read(folder, lines, "list.jsonl")
    assert by_lines == read(folder, table)
    assert by_lines == read(folder, table.replace(";", "\t"))
    assert [r.defect_type for r in by_lines[0]] == ["good", "defective", "dent"]


def test_a_table_from_excel_with_a_mark_and_windows_line_ends_is_read(folder):
    text = b"\xef\xbb\xbfimage;label\r\nphotos/000.png;OK\r\n"
    assert [r.defective for r in read(folder, text)[0]] == [False]


def test_without_splits_defects_and_a_share_of_the_good_are_for_testing(folder):
    text = "image,label\n" + "".join(f"photos/{n}.png,good\n" for n in numbers(19))
    assert {r.split for r in read(folder, text)[0]} == {"train"}
    records, warnings = read(folder, text + "photos/019.png,bad\n", test_share=0.5)
    found = Counter((r.split, r.defective) for r in records)
    assert found["test", True] == 1
    assert 4 <= found["test", False] <= 15
    assert "1 of 1 defective images have no mask" in warnings[0]


def test_order_is_by_key_whatever_the_order_of_rows(folder):
    rows = ["photos/003.png,good", "photos/001.png,good", "photos/002.png,good"]
    one = read(folder, "\n".join(["image,label", *rows]))
    assert one == read(folder, "\n".join(["image,label", *sorted(rows)]))
    assert [r.key for r in one[0]] == ["photos/001.png", "photos/002.png", "photos/003.png"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("photos/999.png,good,,,", "there is no file 'photos/999.png' beside the manifest"),
        (",good,,,", "no image"),
        ("photos/000.png,scratch,,,", "label 'scratch' is not good or defective"),
        ("photos/000.png,,,,", "neither label nor defect_type"),
        ("photos/000.png,good,,,dent", "label 'good' and defect_type 'dent' contradict"),
        ("photos/000.png,bad,marks/x.png,,", "there is no file 'marks/x.png'"),
        ("photos/000.png,good,,training,", "split 'training' is not train, val or test"),
        ("photos/001.png,good,,train,", "'photos/001.png' is in line 2 already"),
    ],
)
def test_a_bad_row_is_reported_by_its_line(folder, row, reason):
    text = f"image,label,mask,split,defect_type\nphotos/001.png,good,,train,\n{row}\n"
    with pytest.raises(DataError, match="has 1 bad rows: line 3: ") as caught:
        read(folder, text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("size", ["0", "-1", "0,05mm", "nan", "inf"])
def test_a_pixel_size_must_be_a_positive_number(folder, size):
    with pytest.raises(DataError, match=r"line 2: mm_per_pixel .* is not a positive number"):
        read(folder, f"image;label;mm_per_pixel\nphotos/000.png;good;{size}\n")


def test_many_bad_rows_are_counted_and_the_first_five_shown(folder):
    text = "image,label\n" + "".join(f"none{i}.png,good\n" for i in range(9))
    with pytest.raises(DataError, match=r"has 9 bad rows: line 2: .*line 6: .*; and 4 more"):
        read(folder, text)


def test_splits_for_some_rows_only_are_refused(folder):
    with pytest.raises(DataError, match="1 rows have no split but others have one"):
        read(folder, "image,label,split\nphotos/000.png,good,train\nphotos/001.png,good,\n")


def test_an_unknown_column_is_refused_with_the_nearest_or_the_option(folder):
    with pytest.raises(DataError, match=r"unknown column 'lable'; did you mean 'label'\?"):
        read(folder, "image,lable\nphotos/000.png,good\n")
    text = "image,label,operator\nphotos/000.png,good,Kim\n"
    with pytest.raises(DataError, match="line 2: unknown column 'operator'; remove it, or name it"):
        read(folder, text)
    assert len(read(folder, text, ignore_columns=("operator",))[0]) == 1


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("image,label\nphotos/000.png\n", "a.csv", "line 2: not as many cells as the header"),
        ("image,label\nphotos/000.png,good,x\n", "a.csv", "line 2: not as many cells"),
        ("image,image\nphotos/000.png,good\n", "a.csv", "line 1: a column is named twice"),
        ('image,label\n"photos/000.png,good\n', "a.csv", r"line \d: not CSV"),
        ('{"image": "x"', "a.jsonl", "line 1: not JSON"),
        ('\n["photos/000.png"]', "a.jsonl", "line 2: not an object in braces"),
        (b"image,label\n\xff\xfe,good\n", "a.csv", "is not UTF-8"),
    ],
)
def test_what_is_no_table_is_reported_by_its_line(folder, text, name, reason):
    with pytest.raises(DataError, match=reason):
        read(folder, text, name)


def test_an_empty_table_has_no_records(folder):
    assert read(folder, "") == ([], [])
    assert read(folder, "image,label\n") == ([], [])
    assert read(folder, "\n", "a.jsonl") == ([], [])


def test_a_manifest_is_a_file(folder):
    for root in (None, folder, folder / "none.csv"):
        with pytest.raises(DataError, match=r"is no file; give manifest:PATH\.csv"):
            Manifest(root, Manifest.Options())


def test_it_is_one_category(folder):
    (folder / "a.csv").write_text("image,label\n")
    assert Manifest(folder / "a.csv", Manifest.Options()).categories() == ()
