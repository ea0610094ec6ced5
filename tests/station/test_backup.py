import zipfile

import pytest

from blemish import DataError, back_up_station, restore_station
from blemish.station.settings import StationSettings
from station_helpers import bad_png, fill_part, inspect, open_client


@pytest.fixture
def backup(trained, tmp_path):
    """A backup that was made while the station ran, and the station."""
    trained.found = inspect(trained, "plate", bad_png(600))
    trained.post(f"/api/inspections/{trained.found['id']}/reviews", data={"verdict": "defect"})
    folder = trained.app.state.settings.folder
    return back_up_station(folder, tmp_path / "out" / "backup.zip")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_restored_station_goes_on_as_if_nothing_had_happened(
    backup, trained, tmp_path, kind, request
):
    url = None if kind == "sqlite" else request.getfixturevalue("postgresql")
    folder = restore_station(backup, tmp_path / "restored", database=url)
    with open_client(StationSettings(folder, url)) as client:
        for path in ("/api/parts/plate", f"/api/inspections/{trained.found['id']}"):
            assert client.get(path).json() == trained.get(path).json()
        for name in ("image_url", "heat_url", "mask_url"):
            assert client.get(trained.found[name]).content
        again = inspect(client, "plate", bad_png(600))
        assert again["score"] == trained.found["score"]
        assert client.post("/api/parts/plate/reviews/undo").status_code == 200
        fill_part(client, count=1, name="Another")  # ids go on where they were


def test_restoring_over_something_is_refused(backup, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(DataError, match="not empty"):
        restore_station(backup, tmp_path / "full")


def test_what_is_no_backup_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="no backup"):
        restore_station(tmp_path / "a.zip", tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match=r"notes.txt"):
        restore_station(tmp_path / "b.zip", tmp_path / "b")
    with pytest.raises(DataError, match="no data folder"):
        back_up_station(tmp_path / "none", tmp_path / "c.zip")


@pytest.mark.parametrize("name", ["../evil", "images/../../evil", "/etc/evil", "models/x.blemish"])
def test_a_backup_with_foreign_paths_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("station.sqlite", b"")
        archive.writestr(name, b"evil")
    with pytest.raises(DataError, match="does not belong"):
        restore_station(tmp_path / "evil.zip", tmp_path / "restored")
    assert not (tmp_path / "evil").exists()


def test_a_damaged_image_in_a_backup_is_noticed(backup, tmp_path):
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(tmp_path / "bad.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"rot" if name.startswith("images/") else old.read(name))
    with pytest.raises(DataError, match="damaged"):
        restore_station(tmp_path / "bad.zip", tmp_path / "restored")
