from datetime import timedelta

import pytest
from sqlalchemy import select

from blemish.station.retention import clean
from blemish.station.tables import Blob, Inspection, now
from station_helpers import bad_png, good_png, inspect


@pytest.fixture
def aged(trained):
    """Inspections that are 0, 10, 20 and 30 days old, the third one reviewed."""
    found = [inspect(trained, "plate", bad_png(500 + i)) for i in range(4)]
    trained.post(f"/api/inspections/{found[2]['id']}/reviews", data={"verdict": "defect"})
    context = trained.app.state.context
    with context.database.write() as session:
        for i, each in enumerate(found):
            session.get_one(Inspection, each["id"]).created = now() - timedelta(days=10 * i)
    trained.found, trained.context = found, context
    return trained


def alive(client):
    return [client.get(each["image_url"]).status_code == 200 for each in client.found]


def test_old_images_go_and_reviewed_ones_stay(aged):
    freed = clean(aged.context, days=15, gigabytes=None)
    assert alive(aged) == [True, True, True, False]
    assert freed.files >= 2
    assert freed.bytes > 0
    assert aged.get(f"/api/inspections/{aged.found[3]['id']}").json()["score"] > 0
    assert aged.get(aged.found[3]["page"]).status_code == 200
    assert clean(aged.context, days=15, gigabytes=None).files == 0


def test_above_a_size_the_oldest_go_first(aged):
    with aged.context.database.read() as session:
        total = sum(blob.size for blob in session.scalars(select(Blob)))
    clean(aged.context, days=None, gigabytes=(total - 100) / 1e9)
    assert alive(aged) == [True, True, True, False]
    clean(aged.context, days=None, gigabytes=0)
    assert alive(aged) == [False, False, True, False]


def test_images_that_a_part_was_trained_with_stay(aged):
    first = inspect(aged, "plate", good_png(0))  # one of the good images of the part
    clean(aged.context, days=0, gigabytes=0)
    assert aged.get(first["image_url"]).status_code == 200


def test_an_image_that_was_seen_again_is_as_old_as_its_newest_inspection(aged):
    again = inspect(aged, "plate", bad_png(503))
    clean(aged.context, days=15, gigabytes=None)
    assert aged.get(again["image_url"]).status_code == 200
    assert aged.get(again["heat_url"]).status_code == 200


def test_files_and_rows_agree_afterwards(aged):
    clean(aged.context, days=5, gigabytes=None)
    assert aged.context.sweep() == 0
    with aged.context.database.read() as session:
        for sha in session.scalars(select(Blob.sha)):
            assert aged.context.blobs.path(sha).exists()
