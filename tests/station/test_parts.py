import numpy as np
import pytest

from blemish import to_png_bytes, write_png
from drawn import draw_good
from station_helpers import bad_png, fill_part, good_png


def test_a_part_is_created_shown_and_listed(client):
    made = client.post("/api/parts", json={"name": "  Battery   plate ", "preset": "tiny"})
    assert made.status_code == 201
    assert made.json()["name"] == "Battery plate"
    assert made.json()["key"] == "battery-plate"
    shown = client.get("/api/parts/battery-plate").json()
    assert (shown["images"], shown["champion"], shown["versions"]) == (0, None, [])
    assert [p["key"] for p in client.get("/api/parts").json()] == ["battery-plate"]


def test_parts_of_the_same_name_get_keys_of_their_own(client):
    keys = [
        client.post("/api/parts", json={"name": n}).json()["key"] for n in ("Nut", "nut!", "螺")
    ]
    assert keys == ["nut", "nut-2", "part"]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"name": "   "}, "name"),
        ({"name": "x", "method": "patchcoer"}, "Did you mean 'patchcore'"),
        ({"name": "x", "preset": "huge"}, "preset"),
        ({"name": "x", "options": {"coreste": 1}}, "coreset"),
        ({"name": "x", "options": {"roi": "/etc/passwd"}}, "paint the region"),
        ({"name": "x", "options": {"weights": "/etc/passwd"}}, "weights"),
    ],
)
def test_a_part_that_could_not_be_trained_is_refused_at_once(client, given, word):
    answer = client.post("/api/parts", json=given)
    assert answer.status_code == 400
    assert word in answer.json()["error"]
    assert client.get("/api/parts").json() == []


def test_images_are_kept_once_and_unreadable_ones_are_named(client):
    fill_part(client, count=2)
    files = [
        ("images", ("again.png", good_png(0))),
        ("images", ("broken.png", good_png(1)[:100])),
        ("images", ("new.png", good_png(2))),
    ]
    added = client.post("/api/parts/plate/images", files=files).json()
    assert (added["new"], added["known"]) == (1, 1)
    assert "broken.png" in added["refused"][0]
    assert client.get("/api/parts/plate").json()["images"] == 3


def test_a_folder_gives_its_good_training_images_and_says_what_was_understood(client, tmp_path):
    for i in range(6):
        write_png(tmp_path / f"photos/train/good/{i}.png", draw_good(i))
    (tmp_path / "photos/test/blob").mkdir(parents=True)
    (tmp_path / "photos/test/blob/0.png").write_bytes(bad_png(0))
    fill_part(client, count=1)
    folder = {"folder": str(tmp_path / "photos")}
    added = client.post("/api/parts/plate/folder", json=folder).json()
    assert (added["new"], added["known"]) == (5, 1)
    assert "6 good training images" in added["notes"][0]
    assert any("1 defective or test" in note for note in added["notes"])


def test_a_folder_that_is_none_is_refused(client, tmp_path):
    fill_part(client, count=1)
    answer = client.post("/api/parts/plate/folder", json={"folder": str(tmp_path / "none")})
    assert answer.status_code == 400


def test_a_region_of_interest_is_painted_shown_and_taken_away(client):
    fill_part(client, count=1)
    mask = np.zeros((64, 96), bool)
    mask[10:50] = True
    headers = {"content-type": "image/png"}
    url = "/api/parts/plate/roi"
    part = client.put(url, content=to_png_bytes(mask), headers=headers).json()
    assert client.get(part["roi_url"]).content == to_png_bytes(mask)
    assert client.put(url, content=b"", headers=headers).json()["roi_url"] is None
    for wrong in (to_png_bytes(mask[:5]), to_png_bytes(mask & False), b"no image"):
        assert client.put(url, content=wrong, headers=headers).status_code == 400


def test_too_few_images_are_not_trained_on(client):
    fill_part(client, count=3)
    answer = client.post("/api/parts/plate/train")
    assert answer.status_code == 400
    assert "at least 4" in answer.json()["error"]


def test_what_does_not_exist_is_not_found(client):
    for path in ("/api/parts/none", "/api/jobs/7", f"/api/jobs/{10**30}", "/api/inspections/x"):
        assert client.get(path).status_code == 404
    for path in ("/parts/none", "/inspections/none", "/nowhere"):
        page = client.get(path, headers={"accept": "text/html"})
        assert page.status_code == 404
        assert "<h1>Not found</h1>" in page.text
    assert client.post("/api/versions/none/promote").status_code == 404
