import io

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from blemish import Detector, image_digest, read_image
from blemish.scale.judging import Judge, Task, thumbnail
from blemish.scale.results import ResultFolder
from blemish.scale.sources import cut, list_source
from blemish.scale.storage import find_place


@pytest.fixture
def judged(photos, exported_part, tmp_path):
    """Rows of all photos, with thumbnails."""
    folder = ResultFolder(find_place(str(tmp_path / "out")))
    judge = Judge(Task(exported_part.read_bytes(), "part.onnx", 0.3, 16), folder)
    files = list_source(find_place(str(photos)), folder.listing, 25)
    counts = [judge.judge(chunk) for chunk in cut(files, 25)]
    assert [count["images"] for count in counts] == [25, 16]
    assert sum(count["errors"] for count in counts) == 1
    assert all(count["seconds"] > 0 for count in counts)
    return parquet.read_table(tmp_path / "out").to_pylist()


def test_rows_say_what_the_detector_says(judged, exported_part):
    detector = Detector.load(exported_part)
    detector.set_false_alarms(0.3)
    for row in judged[::6]:
        expected = detector.predict(row["image"])
        found = {k: v for k, v in expected.to_json().items() if k != "schema"}
        assert {k: row[k] for k in found} == found
        assert row["hash"] == image_digest(read_image(row["image"]))
    assert sum(bool(row["defective"]) for row in judged) >= 4


def test_a_damaged_image_is_a_row_with_an_error_in_its_place(judged):
    (broken,) = [row for row in judged if row["error"]]
    assert broken["image"].endswith("line 1/broken.png")
    assert "not an image of a known format" in broken["error"]
    assert broken["score"] is None
    assert broken["hash"] is None
    names = [row["image"] for row in judged]
    assert names == sorted(names)


def test_an_image_that_is_gone_is_a_row_with_an_error(exported_part, tmp_path):
    (tmp_path / "list.txt").write_text("gone.png\n")
    folder = ResultFolder(find_place(str(tmp_path / "out")))
    files = list_source(find_place(str(tmp_path / "list.txt")), folder.listing, 5)
    judge = Judge(Task(exported_part.read_bytes(), "part.onnx"), folder)
    assert judge.judge(cut(files, 5)[0])["errors"] == 1
    assert "gone.png does not exist" in parquet.read_table(tmp_path / "out").to_pylist()[0]["error"]


def test_thumbnails_keep_the_largest_value_of_every_place(judged, exported_part):
    row = judged[0]
    picture = Image.open(io.BytesIO(row["map"]))
    assert max(picture.size) <= 16
    prediction = Detector.load(exported_part).predict(row["image"])
    small = np.array(Image.open(io.BytesIO(thumbnail(prediction, 16))))
    whole = np.array(Image.open(io.BytesIO(thumbnail(prediction, 96))))
    assert whole.shape == (64, 96)
    assert small.max() == whole.max()
