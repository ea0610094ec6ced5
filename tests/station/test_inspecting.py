import io
import threading

import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.station.inspecting import is_audited
from blemish.station.words import duration, p_in_words, percent
from drawn import blob_mask, draw_good
from station_helpers import bad_png, fill_part, good_png, inspect


def test_a_defect_is_found_and_the_map_shows_where(trained):
    found = inspect(trained, "plate", bad_png(300), "bad.png")
    assert found["defective"]
    assert "looks this odd" in found["in_words"]
    assert sum(r["share"] for r in found["regions"]) == pytest.approx(1)
    heat = Pillow.open(io.BytesIO(trained.get(found["heat_url"]).content)).convert("RGBA")
    alpha = np.asarray(heat)[..., 3].astype(float)
    truth = blob_mask(300)
    assert alpha[truth].mean() > alpha[~truth].mean() + 50
    mask = np.asarray(Pillow.open(io.BytesIO(trained.get(found["mask_url"]).content))) > 0
    assert (mask & truth).sum() > 0.5 * truth.sum()


def test_a_good_part_is_let_through_and_its_image_comes_back_as_it_was(trained):
    found = inspect(trained, "plate", good_png(700), "good.png")
    assert not found["defective"]
    assert found["mask_url"] is None
    assert trained.get(found["image_url"]).content == good_png(700)
    assert trained.get(f"/api/inspections/{found['id']}").json() == found
    assert trained.get("/api/parts/plate/inspections").json()[0] == found


def test_images_that_browsers_cannot_show_come_as_png(trained):
    buffer = io.BytesIO()
    Pillow.fromarray(draw_good(1)).save(buffer, "TIFF")
    found = inspect(trained, "plate", buffer.getvalue(), "a.tif")
    shown = trained.get(found["image_url"])
    assert shown.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(shown.content))), draw_good(1))


def test_what_cannot_be_judged_is_refused(trained, client):
    answer = trained.post("/api/parts/plate/inspections", files={"image": ("a.png", b"no image")})
    assert answer.status_code == 400
    answer = trained.post("/api/parts/none/inspections", files={"image": ("a.png", good_png(0))})
    assert answer.status_code == 404
    assert trained.get("/api/parts/plate/inspections").json() == []
    fill_part(client, count=1)
    answer = client.post("/api/parts/plate/inspections", files={"image": ("a.png", good_png(0))})
    assert "train it first" in answer.json()["error"]
    page = client.get("/parts/plate/inspect").text
    assert "not trained yet" in page


def test_a_threshold_is_tried_on_recent_inspections_and_then_set(trained):
    for seed in range(4):
        inspect(trained, "plate", good_png(800 + seed))
    bad = inspect(trained, "plate", bad_png(800))
    url = "/api/parts/plate/threshold"
    loose = trained.get(url, params={"false_alarms": 0.999}).json()
    assert (loose["inspections"], loose["flagged"]) == (5, 5)
    strict = trained.get(url, params={"false_alarms": 0.04}).json()
    assert strict["each"][bad["id"]]
    assert strict["flagged"] <= loose["flagged"]
    assert strict["threshold"] > loose["threshold"]
    low, high = strict["true_rate"]
    assert 0 < low < high < 1
    assert trained.get("/api/parts/plate").json()["false_alarms"] == 0.05  # only tried
    assert trained.put(url, json={"false_alarms": 0.3}).json()["false_alarms"] == 0.3
    assert inspect(trained, "plate", good_png(900))["false_alarms"] == 0.3
    assert bad["false_alarms"] == 0.05  # what was said stays


@pytest.mark.parametrize("rate", ["0", "1", "-1", "nan", "x", "inf"])
def test_a_rate_that_is_none_is_refused(trained, rate):
    answer = trained.get("/api/parts/plate/threshold", params={"false_alarms": rate})
    assert answer.status_code == 422


def test_inspections_from_many_threads_are_all_kept(trained):
    done = []

    def work(first):
        for seed in range(first, first + 4):
            done.append(inspect(trained, "plate", good_png(seed))["id"])

    threads = [threading.Thread(target=work, args=(1000 + 10 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {i["id"] for i in trained.get("/api/parts/plate/inspections").json()}
    assert len(done) == 16
    assert kept == set(done)


def test_the_audit_draws_its_share_uniformly_and_blindly():
    rng = np.random.default_rng(0)
    ids = [rng.bytes(16).hex() for _ in range(20_000)]
    share = np.mean([is_audited(i, 0.1) for i in ids])
    assert abs(share - 0.1) < 0.01
    assert not any(is_audited(i, 0) for i in ids)
    assert all(is_audited(i, 1) for i in ids)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.005, "1 good part in 200 looks this odd"),
        (0.5, "1 good part in 2 looks this odd"),
        (0.0001, "1 good part in 10\u202f000 looks this odd"),
        (1.0, "most good parts look at least this odd"),
    ],
)
def test_p_values_are_said_in_words(p, words):
    assert p_in_words(p) == words


def test_shares_and_durations_are_said_shortly():
    assert [percent(s) for s in (0.0123, 0.5, 1.0)] == ["1.2\u202f%", "50\u202f%", "100\u202f%"]
    said = [duration(s) for s in (None, 12, 300, 9000)]
    assert said == ["", "12 s", "5 min", "2.5 h"]


def test_health_metrics_and_docs_answer(trained):
    inspect(trained, "plate", good_png(5))
    assert trained.get("/health").json()["status"] == "ok"
    text = trained.get("/metrics").text
    assert "blemish_inspections 1.0" in text
    assert 'route="/api/parts/{part}/inspections",status="201"' in text
    docs = trained.get("/docs").text
    assert "POST /api/parts/{part}/inspections" in docs
    assert "https://" not in docs


def test_beside_a_defect_stands_the_good_place_that_is_most_like_it(trained):
    found = inspect(trained, "plate", bad_png(300))
    answer = trained.get(f"/api/inspections/{found['id']}/likeness")
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Pillow.open(io.BytesIO(answer.content)))
    side = (picture.shape[1] - 6) // 2  # two pictures and a gap
    own, good = picture[:, :side], picture[:, -side:]
    assert (picture[:, side : side + 6] == 255).all()
    images, columns = [draw_good(seed) for seed in range(24)], range(97 - side)
    assert any((image[:, c : c + side] == good).all() for image in images for c in columns)
    assert not (own == good).all()
    fine = inspect(trained, "plate", good_png(700))
    assert trained.get(f"/api/inspections/{fine['id']}/likeness").status_code == 204
