import os

import pytest

from blemish.errors import OptionError
from blemish.reporting.files import write_text


def test_a_file_appears_with_its_folders_and_nothing_is_left_beside_it(tmp_path):
    path = write_text(tmp_path / "a" / "b" / "report.html", "één\nzwei")
    assert path.read_bytes() == "één\nzwei".encode()
    assert os.listdir(path.parent) == ["report.html"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    path = write_text(tmp_path / "report.html", "old")

    def refuse(*_):
        raise PermissionError("open elsewhere")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_lone_surrogate_from_a_file_name_does_not_stop_the_write(tmp_path):
    assert write_text(tmp_path / "x.csv", "a\udcffb").read_text() == "a\\udcffb"


def test_a_folder_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(OptionError, match="is a folder; give the name of a file"):
        write_text(tmp_path, "text")
