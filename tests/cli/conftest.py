import json
import sys
import warnings

import pytest

from blemish.cli.main import main
from blemish.images import write_png
from drawn import blob_mask, draw_defective, draw_good


@pytest.fixture
def blemish(monkeypatch, capsys):
    """Run a command line as a user types it; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["blemish", *map(str, words)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def json_lines():
    return lambda text: [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder as users have it: good/ and blob/ below train/ and test/, masks beside."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(25):
        write_png(root / f"train/good/{i:02d}.png", draw_good(i))
    for i in range(5):
        write_png(root / f"test/good/{i:02d}.png", draw_good(100 + i))
        write_png(root / f"test/blob/{i:02d}.png", draw_defective(200 + i))
        write_png(root / f"ground_truth/blob/{i:02d}_mask.png", blob_mask(200 + i))
    return root


@pytest.fixture(scope="session")
def model(photos, tmp_path_factory):
    """A model file that was fitted on these photos."""
    from blemish import Detector, open_dataset

    path = tmp_path_factory.mktemp("model") / "part.blemish"
    return Detector("patchcore", "tiny", false_alarms=0.2).fit(open_dataset(photos)).save(path)
