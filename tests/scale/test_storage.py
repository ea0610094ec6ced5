import time

import pytest

from blemish.errors import OptionError, StorageError
from blemish.scale import storage
from blemish.scale.storage import find_place, patiently
from scale_helpers import fresh_files


@pytest.mark.parametrize("where", ["local", "s3"])
def test_files_are_written_whole_read_back_and_listed_in_order(where, tmp_path, bucket):
    root = find_place(str(tmp_path / "a") if where == "local" else f"{bucket}/a")
    assert root.names() == []
    for name in ("b/2", "b/1", "c", "a/1"):
        (root / name).write(name.encode())
    assert root.names() == ["a", "b", "c"]
    found = [str(p).removeprefix(str(root)) for p in root.walk()]
    assert sorted(found) == ["/a/1", "/b/1", "/b/2", "/c"]
    assert found == [str(p).removeprefix(str(root)) for p in root.walk()]
    assert (root / "b/2").read() == b"b/2"
    assert (root / "c").exists()
    assert (root / "b").is_folder()
    assert not (root / "d").exists()
    with pytest.raises(FileNotFoundError):
        (root / "d").read()
    assert str(root / "c").endswith("/a/c")
    assert (root / "c").parent == root
    assert root.is_local is (where == "local")


def test_storage_that_fails_for_a_while_is_waited_for(server, bucket):
    place = find_place(f"{bucket}/part")
    place.write(b"here")
    server.fail_for(2)
    assert place.read() == b"here"
    assert server.refused > 1


def test_storage_that_goes_on_failing_ends_in_one_sentence(server, bucket, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_S", 0.5)
    place = find_place(f"{bucket}/part")
    server.fail_for(60)
    with pytest.raises(StorageError, match=r"could not be reached for 0 s .* same command again"):
        place.read()


def test_refused_access_and_missing_credentials_are_said_at_once(server, bucket, monkeypatch):
    started = time.monotonic()
    server.refuses = True
    with pytest.raises(StorageError, match=r"parts/part refuses access .* check its permissions"):
        find_place(f"{bucket}/part").read()
    server.refuses = False
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fresh_files()
    with pytest.raises(StorageError, match="There are no credentials for s3://parts/part"):
        find_place(f"{bucket}/part").read()
    assert time.monotonic() - started < 20


def test_unknown_kinds_of_storage_are_named():
    with pytest.raises(OptionError, match="ftpx://here is no path and no URL"):
        find_place("ftpx://here")
    with pytest.raises(StorageError, match=r"gs://bucket cannot be opened here: .*gcsfs"):
        find_place("gs://bucket")


def test_what_waiting_cannot_mend_is_not_repeated():
    calls = []

    def fail():
        calls.append(1)
        raise FileNotFoundError("no")

    with pytest.raises(FileNotFoundError):
        patiently(fail, "here")
    assert calls == [1]
