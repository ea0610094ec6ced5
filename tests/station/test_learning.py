import hashlib
import random

import pytest

from blemish import to_png_bytes
from blemish.station.learning import duel, gather, is_kept
from blemish.station.promoting import previous_champion, promote, roll_back
from blemish.station.recipes import challenger_recipe, own_recipe
from blemish.station.tables import Part, Promotion, Version
from drawn import blob_mask
from station_helpers import bad_png, finish, good_png, inspect


@pytest.fixture
def plate(trained):
    """A trained station, and a way to inspect and review in one go."""

    def review(content, verdict, audited, mask=None):
        share = 1.0 if audited else 0.0
        object.__setattr__(trained.app.state.settings, "audit_share", share)
        found = inspect(trained, "plate", content)
        files = {"mask": ("m.png", to_png_bytes(mask))} if mask is not None else None
        url = f"/api/inspections/{found['id']}/reviews"
        assert trained.post(url, data={"verdict": verdict}, files=files).status_code == 201
        return found

    trained.review = review
    return trained


def material(client, masks=False):
    context = client.app.state.context
    with context.database.read() as session:
        return gather(session, context.blobs, session.get_one(Part, 1), masks)


def seeds(kept, make, count, first=2000):
    """Seeds of drawn images that are kept for the duel, or are not."""
    found = (
        seed
        for seed in range(first, first + 200)
        if is_kept(hashlib.sha256(make(seed)).hexdigest()) == kept
    )
    return [next(found) for _ in range(count)]


def test_half_of_all_images_are_kept_for_the_duel_and_always_the_same():
    rng = random.Random(0)
    shas = [rng.randbytes(32).hex() for _ in range(4000)]
    kept = [is_kept(sha) for sha in shas]
    assert 0.47 < sum(kept) / len(kept) < 0.53
    assert kept == [is_kept(sha) for sha in shas]


def test_queue_picks_are_learned_from_and_never_calibrate_and_audited_ones_may(plate):
    (kept,), (free,) = seeds(True, good_png, 1), seeds(False, good_png, 1)
    picked = good_png(kept + 5000)
    plate.review(picked, "good", audited=False)
    plate.review(good_png(free), "good", audited=True)
    plate.review(good_png(kept), "good", audited=True)
    data, counts = material(plate).data, material(plate).counts
    new = {r.key.split("/")[1]: r for r in data if r.key.startswith("good/")}
    sides = {
        name: new[hashlib.sha256(content).hexdigest()]
        for name, content in [
            ("picked", picked), ("audited", good_png(free)), ("kept", good_png(kept)),
        ]
    }  # fmt: skip
    assert (sides["picked"].split, sides["picked"].calibrates) == ("train", False)
    assert (sides["audited"].split, sides["audited"].calibrates) == ("train", True)
    assert sides["kept"].split == "test"
    assert counts == {"first": 24, "good": 2, "calibrating": 1, "painted": 0, "kept": 1}


def test_painted_defects_are_learned_from_where_the_method_can(plate):
    (free,), (kept,) = seeds(False, bad_png, 1), seeds(True, bad_png, 1)
    plate.review(bad_png(free), "defect", False, blob_mask(free))
    plate.review(bad_png(kept), "defect", True, blob_mask(kept))
    plate.review(bad_png(free + 1000), "defect", False)  # not painted: nothing to learn
    assert material(plate, masks=False).counts["painted"] == 0
    painted = [r for r in material(plate, masks=True).data.select("train") if r.defective]
    assert len(painted) == 1
    assert material(plate, masks=True).data.mask(painted[0], (64, 96)).sum() == 256
    assert [r.defective for r in material(plate).data.select("test")] == [True]


def test_a_verdict_that_was_taken_back_or_skipped_counts_for_nothing(plate):
    plate.review(good_png(3000), "good", False)
    plate.post("/api/parts/plate/reviews/undo")
    plate.review(good_png(3001), "skip", False)
    plate.review(good_png(0), "good", True)  # one of the first images: nothing new
    assert material(plate).counts["good"] == 0
    assert len(material(plate).data) == 24


def test_audited_parts_alone_calibrate_as_soon_as_they_can_keep_the_promise(plate):
    for seed in seeds(False, good_png, 3):
        plate.review(good_png(seed), "good", audited=True)
    rate = plate.put
    rate("/api/parts/plate/threshold", json={"false_alarms": 0.2})
    found = material(plate)  # 1 of 5 needs 4 parts
    assert found.calibration == {}
    assert all(r.calibrates for r in found.data)
    rate("/api/parts/plate/threshold", json={"false_alarms": 0.25})
    found = material(plate)
    assert found.calibration == {"calibration": "split", "calibration_share": 0.2}
    rate("/api/parts/plate/threshold", json={"false_alarms": 0.05})
    assert material(plate).calibration == {}
    assert {r.key.split("/")[0] for r in found.data if r.calibrates} == {"good"}


def test_a_challenger_may_learn_from_masks_and_keeps_what_the_part_was_told(trained):
    with trained.app.state.context.database.write() as session:
        part = session.get_one(Part, 1)
        part.options = {"coreset": 0.1, "interpolation": "area"}
        own, other = challenger_recipe(part, None), challenger_recipe(part, "aexad")
        assert own.to_json() == own_recipe(part).to_json()
        assert (other.method, other.preset) == ("aexad", "tiny")
        assert other.options == {"image_size": "auto:256", "interpolation": "area"}
    assert {"aexad", "adtr_plus"} <= set(trained.get("/api/challengers").json())
    refused = trained.post("/api/parts/plate/relearn", json={"method": "patchcor"})
    assert (refused.status_code, "patchcore" in refused.json()["error"]) == (400, True)


class Judge:
    """Stands in for a detector in a comparison: has seen nothing."""

    seen = frozenset()


def test_a_comparison_on_few_parts_never_says_better(plate):
    for seed in seeds(True, good_png, 2) + seeds(True, good_png, 2, 6000):
        plate.review(good_png(seed), "good", audited=True)
    found = duel(Judge(), Judge(), material(plate).data, lambda *_: None)
    assert (found["images"], found["defective"], found["better"]) == (4, 0, False)
    assert "4 good, 0 defective. Below 5 of a kind" in found["reason"]


def version(session, number):
    made = Version(id=f"{number}" * 32, part_id=1, number=number, figures={})
    session.add(made)
    session.flush()
    return made


def test_promotion_and_roll_back_go_to_and_fro_and_leave_a_trace(trained):
    with trained.app.state.context.database.write() as session:
        part = session.get_one(Part, 1)
        first = part.champion
        assert previous_champion(session, part) is None
        two, three = version(session, 2), version(session, 3)
        promote(session, two.id)
        promote(session, three.id)
        assert roll_back(session, part).id == two.id
        assert roll_back(session, part).id == first
        assert part.champion == first
        assert previous_champion(session, part) is None
        promote(session, three.id)
        assert roll_back(session, part).id == first
        assert session.query(Promotion).count() == 7


def test_what_cannot_be_promoted_or_rolled_back_is_refused(trained):
    champion = trained.get("/api/parts/plate").json()["champion"]
    assert "judges already" in trained.post(f"/api/versions/{champion}/promote").json()["error"]
    assert "no earlier version" in trained.post("/api/parts/plate/rollback").json()["error"]


@pytest.mark.slow
def test_the_loop_closes(plate):
    """Review, relearn, compare on unseen audited parts, promote, inspect, roll back."""
    for make, verdict in [(good_png, "good"), (bad_png, "defect")]:
        for kept in (True, False):
            for seed in seeds(kept, make, 5):
                plate.review(make(seed), verdict, audited=True)
    before = inspect(plate, "plate", bad_png(4000))
    job = finish(plate, plate.post("/api/parts/plate/relearn").json(), 120)
    assert job["state"] == "done", job
    first, second = plate.get("/api/parts/plate").json()["versions"]
    duel = second["figures"]["duel"]
    assert (duel["images"], duel["defective"]) == (10, 5)
    assert set(duel["differences"]) == {"Image AUROC", "Balanced accuracy"}
    assert "reason" not in duel
    assert set(duel["figures"]) >= {"image_auroc", "false_alarm_rate", "miss_rate"}
    assert second["figures"]["counts"]["calibrating"] == 5
    page = plate.get("/parts/plate/relearn").text
    assert "easurably better" in page
    assert plate.get("/api/parts/plate").json()["champion"] == first["id"]
    assert plate.post(f"/api/versions/{second['id']}/promote").json()["number"] == 2
    after = inspect(plate, "plate", bad_png(4000))
    assert (before["version"], after["version"]) == (first["id"], second["id"])
    assert plate.post("/api/parts/plate/rollback").json()["number"] == 1
    assert plate.get(f"/api/inspections/{after['id']}").json()["version"] == second["id"]
    assert "rolled back to" in plate.get("/parts/plate/relearn").text


@pytest.mark.slow
def test_painted_masks_train_a_challenger_of_another_method(plate):
    """What was painted is what an AE-XAD learns from; it can be promoted and judges."""
    for seed in range(7000, 7006):
        plate.review(bad_png(seed), "defect", False, blob_mask(seed))
    job = plate.post("/api/parts/plate/relearn", json={"method": "aexad"}).json()
    assert job["recipe"]["method"] == "aexad"
    assert finish(plate, job, 300)["state"] == "done"
    version = plate.get("/api/parts/plate").json()["versions"][-1]
    assert (version["recipe"]["method"], version["figures"]["counts"]["painted"]) == ("aexad", 6)
    assert "aexad" in plate.get("/parts/plate/relearn").text
    plate.post(f"/api/versions/{version['id']}/promote")
    found = inspect(plate, "plate", bad_png(7100))
    assert found["version"] == version["id"]
    assert plate.get(f"/api/inspections/{found['id']}/likeness").status_code == 204
