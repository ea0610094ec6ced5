import os
import stat

import pytest

from blemish.errors import OptionError
from blemish.files import write_atomically


def test_text_and_bytes_arrive_as_given(tmp_path):
    assert write_atomically(tmp_path / "a.txt", "ä\nb").read_bytes() == "ä\nb".encode()
    assert write_atomically(str(tmp_path / "b"), b"\r\n").read_bytes() == b"\r\n"


def test_missing_folders_are_made_and_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "new" / "deep" / "a.json"
    write_atomically(path, "1")
    write_atomically(path, "2")
    assert path.read_text() == "2"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.json", "old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_file_has_the_permissions_of_any_other_file(tmp_path):
    (tmp_path / "usual").write_text("")
    written = write_atomically(tmp_path / "a", "")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_a_lone_surrogate_from_a_file_name_does_not_stop_the_write(tmp_path):
    assert write_atomically(tmp_path / "x.csv", "a\udcffb").read_text() == "a\\udcffb"


def test_a_folder_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(OptionError, match="is a folder; give the name of a file"):
        write_atomically(tmp_path, "text")
