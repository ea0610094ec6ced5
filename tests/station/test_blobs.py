import hashlib

import pytest

from blemish import DataError
from blemish.station.blobs import Blobs
from blemish.station.context import Context


@pytest.fixture
def context(settings):
    opened = Context.open(settings)
    yield opened
    opened.close()


def test_a_file_is_named_by_its_content_and_kept_once(tmp_path):
    blobs = Blobs(tmp_path / "images")
    sha = blobs.keep(b"abc")
    assert sha == hashlib.sha256(b"abc").hexdigest() == blobs.keep(b"abc")
    assert blobs.read(sha) == b"abc"
    assert len(list((tmp_path / "images").rglob("*.*"))) == 0
    assert len([p for p in (tmp_path / "images").rglob("*") if p.is_file()]) == 1


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 62 + "/."]
)
def test_only_a_digest_becomes_a_path(tmp_path, name):
    with pytest.raises(DataError, match="not the SHA-256"):
        Blobs(tmp_path).path(name)


def test_files_without_a_row_are_swept_and_others_stay(context):
    kept, orphan = context.blobs.keep(b"kept"), context.blobs.keep(b"orphan")
    context.models.mkdir()
    (context.models / "0.blemish").write_bytes(b"never recorded")
    with context.database.write() as session:
        context.blobs.record(session, b"kept", "image/png")
    assert context.sweep() == 2
    assert context.blobs.path(kept).exists()
    assert not context.blobs.path(orphan).exists()
    assert context.sweep() == 0


def test_sweeping_an_empty_station_finds_nothing(context):
    assert context.sweep() == 0
