from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from blemish.station.charts import draw
from blemish.station.tables import Inspection, Part
from blemish.station.trends import find_drift

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def uniform(count, seed=0):
    return list(np.random.default_rng(seed).uniform(1e-3, 1, count))


@pytest.mark.parametrize("seed", range(10))
def test_a_line_as_calibrated_raises_no_alarm_in_months(seed):
    assert find_drift(uniform(10_000, seed)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_tenth_of_defective_parts_is_no_drift(seed):
    rng = np.random.default_rng(seed)
    values = np.where(rng.uniform(size=5000) < 0.1, 0.01, rng.uniform(0.01, 1, 5000))
    assert find_drift(list(values)) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("odder", [True, False])
def test_a_change_is_found_soon_on_either_side_and_its_beginning_is_named(seed, odder):
    after = np.random.default_rng(seed).uniform(1e-3, 0.25, 300)
    values = uniform(500, seed) + list(after if odder else 1.001 - after)
    drift = find_drift(values)
    assert drift.odder == odder
    assert abs(drift.began - 500) <= 6
    assert drift.noticed - 500 < 60


def test_no_values_do_not_drift():
    assert find_drift([]) is None


@pytest.fixture
def history(trained):
    """Twenty days of 40 inspections each; from the eleventh on the lamp is weaker."""
    rng = np.random.default_rng(1)
    with trained.app.state.context.database.write() as session:
        part = session.get_one(Part, 1)
        for i in range(800):
            day, high = divmod(i, 40)
            p_value = float(rng.uniform(0.01, 1 if day < 10 else 0.2))
            session.add(
                Inspection(
                    id=f"{i:032x}", part_id=1, version_id=part.champion, sha="0" * 64,
                    name=f"{i}", source="upload", width=9, height=9, score=1 / p_value,
                    p_value=p_value, defective=p_value < 0.05, false_alarms=0.05,
                    threshold=20.0, audited=False, seconds=0.1,
                    created=START + timedelta(days=day, minutes=high),
                )
            )  # fmt: skip
    return trained


def test_trends_count_by_day_and_name_the_beginning_of_a_drift(history):
    found = history.get("/api/parts/plate/trends").json()
    assert len(found["days"]) == 20
    assert {d["inspections"] for d in found["days"]} == {40}
    # The eleventh day begins with part 400: a few parts before or after cannot be told apart.
    assert "2026-03-10T08:30" < found["drift"]["began"] < "2026-03-11T08:10"
    assert found["drift"]["odder"]
    assert found["days"][12]["p_value_distance"] > found["days"][3]["p_value_distance"] + 0.4
    low, middle, high = found["days"][0]["score"]
    assert low < middle < high
    newest = history.get("/api/parts/plate/trends", params={"days": 3}).json()["days"]
    assert newest == found["days"][-3:]


@pytest.mark.parametrize(("days", "kept"), [(range(10), True), (range(10, 20), False)])
def test_audited_good_parts_alone_tell_whether_p_values_keep_their_promise(history, days, kept):
    assert history.get("/api/parts/plate/trends").json()["promise"] is None
    with history.app.state.context.database.write() as session:
        for row in session.query(Inspection):
            if int(row.name) // 40 in days and int(row.name) % 10 == 0:
                row.audited, row.verdict = True, "good"
    promise = history.get("/api/parts/plate/trends").json()["promise"]
    assert promise["parts"] == 40
    assert (promise["chance"] >= 0.01) == kept
    said = "fit the promise" if kept else "do not fit the promise"
    assert f"40 audited good parts {said}" in history.get("/parts/plate/trends").text


def test_the_page_draws_them_and_raises_the_alarm(history, client):
    page = history.get("/parts/plate/trends").text
    assert page.count("<svg") == 4
    assert "since 2026-03-1" in page
    client.post("/api/parts", json={"name": "new"})
    assert "Nothing was inspected yet" in client.get("/parts/new/trends").text


def test_a_chart_stays_inside_its_frame():
    chart = draw("Rate", ["a", "b", "c"], [0.0, 5.0, 2.0], band=[(0, 1), (4, 6), (1, 3)], asked=7)
    assert all(0 <= x <= 480 and 0 <= y <= 160 for x, y in chart.dots)
    assert chart.ticks[0][0] > chart.ticks[-1][0]
    assert draw("One", ["a"], [1.0], began="a").mark == chart.dots[1][0]
    assert draw("None", [], []).dots == []
