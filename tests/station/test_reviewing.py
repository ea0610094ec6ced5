import numpy as np
import pytest

from blemish import to_png_bytes
from blemish.station.reviewing import queue
from blemish.station.tables import Inspection, Part, Version, now
from drawn import blob_mask
from station_helpers import bad_png, good_png, inspect


@pytest.fixture
def plate(trained):
    """A trained station, and a way to add inspections with any p-value without judging."""
    database = trained.app.state.context.database

    def add(name, p_value, audited=False, verdict=None):
        with database.write() as session:
            part = session.get_one(Part, 1)
            session.add(
                Inspection(
                    id=name.ljust(32, "0"), part_id=1, version_id=part.champion, sha="0" * 64,
                    name=name, source="upload", width=9, height=9, score=1.0, p_value=p_value,
                    defective=p_value <= 0.05, false_alarms=0.05, threshold=1.0, audited=audited,
                    seconds=0.1, verdict=verdict, created=now(),
                )
            )  # fmt: skip

    trained.add = add
    trained.order = lambda: [
        (i["image"], i["reason"]) for i in trained.get("/api/parts/plate/queue").json()
    ]
    return trained


def say(client, found, verdict, mask=None, **data):
    files = {} if mask is None else {"mask": ("mask.png", mask)}
    url = f"/api/inspections/{found['id']}/reviews"
    return client.post(url, data={"verdict": verdict, **data}, files=files or None)


def test_the_most_uncertain_come_first_then_the_newest_alarms(plate):
    for name, p in [("old", 0.001), ("sure", 0.9), ("near", 0.06), ("off", 0.15), ("new", 0.002)]:
        plate.add(name, p)
    assert plate.order() == [
        ("near", "uncertain"), ("off", "uncertain"), ("new", "alarm"), ("old", "alarm"),
    ]  # fmt: skip


def test_every_second_place_belongs_to_the_audit_oldest_first(plate):
    for name, p in [("a", 0.9), ("b", 0.001), ("c", 0.7)]:
        plate.add(name, p, audited=True)
    for name, p in [("near", 0.05), ("alarm", 0.001)]:
        plate.add(name, p)
    assert [name for name, _ in plate.order()] == ["a", "near", "b", "alarm", "c"]


def test_what_was_reviewed_or_skipped_leaves_the_queue(plate):
    for verdict in ("good", "defect", "skip", None):
        plate.add(f"{verdict}", 0.05, verdict=verdict)
    assert plate.order() == [("None", "uncertain")]


def test_the_queue_is_as_long_as_asked(plate):
    for i in range(5):
        plate.add(f"{i}", 0.05)
    with plate.app.state.context.database.read() as session:
        assert len(queue(session, session.get_one(Part, 1), 3)) == 3
        assert session.get(Version, session.get_one(Part, 1).champion).number == 1


def test_a_review_with_its_mask_and_kind_is_kept(trained):
    found = inspect(trained, "plate", bad_png(300))
    mask = to_png_bytes(blob_mask(300))
    said = say(trained, found, "defect", mask, defect_type="  blue   blob ", seconds=3.5, keys=2)
    assert said.json()["defect_type"] == "blue blob"
    assert trained.get(said.json()["mask_url"]).content == mask
    assert trained.get(f"/api/inspections/{found['id']}").json()["verdict"] == "defect"
    assert "blue blob" in trained.get("/parts/plate/review").text
    assert "3.5 s and 2.0 key presses" in trained.get("/parts/plate/review").text
    assert "blue blob" in trained.get(found["page"]).text


def test_an_empty_mask_is_a_defect_of_unknown_place(trained):
    found = inspect(trained, "plate", bad_png(301))
    said = say(trained, found, "defect", to_png_bytes(np.zeros((64, 96), bool)))
    assert said.json()["mask_url"] is None


def test_masks_of_another_size_or_of_good_parts_are_refused(trained):
    found = inspect(trained, "plate", bad_png(302))
    for verdict, mask in [
        ("defect", to_png_bytes(np.ones((3, 3), bool))),
        ("good", to_png_bytes(blob_mask(302))),
        ("defect", b"no image"),
    ]:
        assert say(trained, found, verdict, mask).status_code == 400
    assert say(trained, found, "perhaps").status_code == 422
    assert say(trained, {"id": "none"}, "good").status_code == 404
    assert trained.get(f"/api/inspections/{found['id']}").json()["verdict"] is None


def test_undo_brings_back_what_was_said_before(trained):
    found = inspect(trained, "plate", good_png(303))
    other = inspect(trained, "plate", good_png(304))
    say(trained, other, "good")
    say(trained, found, "defect")
    say(trained, found, "good")
    verdicts = []
    for _ in range(3):
        trained.post("/api/parts/plate/reviews/undo")
        verdicts.append(trained.get(f"/api/inspections/{found['id']}").json()["verdict"])
    assert verdicts == ["defect", None, None]
    assert trained.get(f"/api/inspections/{other['id']}").json()["verdict"] is None
    answer = trained.post("/api/parts/plate/reviews/undo")
    assert answer.status_code == 400
    assert "no review" in answer.json()["error"]
