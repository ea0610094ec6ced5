import pytest

pytest.importorskip("ray", reason="the extra [scale] is not installed")
pytest.importorskip("moto", reason="moto is not installed")

from blemish.images import write_png
from drawn import draw_defective, draw_good
from scale_helpers import BUCKET, StorageServer, fresh_files


@pytest.fixture(scope="session")
def server():
    """An S3-protocol server on loopback."""
    server = StorageServer()
    yield server
    server.close()


@pytest.fixture
def bucket(server, monkeypatch):
    """The URL of an empty bucket; credentials and address stand in the environment."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    files = fresh_files()
    files.makedirs(BUCKET, exist_ok=True)
    yield f"s3://{BUCKET}"
    server.failing_until, server.refuses, server.delay = 0.0, False, 0.0
    files.rm(BUCKET, recursive=True)
    fresh_files()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Forty photos in three folders, every tenth defective, and one that is damaged."""
    root = tmp_path_factory.mktemp("bulk") / "photos"
    for i in range(40):
        draw = draw_defective if i % 10 == 0 else draw_good
        write_png(root / f"line {i % 3}/{i:03d}.png", draw(i))
    (root / "line 1/broken.png").write_bytes(b"broken")
    (root / "notes.md").write_text("no image")
    return root
