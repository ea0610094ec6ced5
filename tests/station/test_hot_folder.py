import pytest

from blemish.station.hot_folder import HotFolders
from station_helpers import bad_png, good_png


@pytest.fixture
def hot(trained, monkeypatch):
    """A trained station, its incoming folder, and one look into it at a time."""
    trained.app.state.hot_folders.stop()  # here the looks are counted
    watcher = HotFolders(trained.app.state.context, trained.app.state.inspector)
    folder = trained.app.state.settings.folder / "incoming" / "plate"
    folder.mkdir(parents=True)
    trained.folder, trained.look = folder, watcher.look
    return trained


def test_an_image_is_inspected_once_when_it_is_complete(hot):
    path = hot.folder / "bad.png"
    path.write_bytes(bad_png(1)[:100])
    assert hot.look() == 0
    path.write_bytes(bad_png(1))  # it has grown: not complete when last looked at
    assert hot.look() == 0
    assert hot.look() == 1
    assert hot.look() == 0
    (found,) = hot.get("/api/parts/plate/inspections").json()
    assert (found["image"], found["source"], found["defective"]) == ("bad.png", "folder", True)
    assert (hot.folder / "done/bad.png").read_bytes() == bad_png(1)


def test_what_cannot_be_read_is_moved_aside_and_the_others_go_on(hot):
    (hot.folder / "a.png").write_bytes(b"no image")
    (hot.folder / "b.png").write_bytes(good_png(2))
    (hot.folder / "notes.txt").write_text("not an image")
    hot.look()
    assert hot.look() == 2
    assert (hot.folder / "refused/a.png").exists()
    assert (hot.folder / "notes.txt").exists()
    assert len(hot.get("/api/parts/plate/inspections").json()) == 1


def test_links_are_not_followed(hot, tmp_path):
    (tmp_path / "secret.png").write_bytes(good_png(3))
    try:
        (hot.folder / "link.png").symlink_to(tmp_path / "secret.png")
    except OSError:
        pytest.skip("this system makes no links")
    hot.look()
    assert hot.look() == 0


def test_the_page_names_the_folder(hot):
    assert "incoming/plate" in hot.get("/parts/plate/inspect").text.replace("\\", "/")
