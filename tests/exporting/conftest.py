"""One small detector and its exported file, for all tests of this folder."""

from pathlib import Path

import pytest

from blemish.detector import Detector
from drawn import plates


@pytest.fixture(scope="session")
def fitted() -> Detector:
    """The detector that `exported` was made from."""
    detector = Detector("patchcore", preset="tiny", false_alarms=0.4, calibration_share=0.25)
    return detector.fit(plates())


@pytest.fixture(scope="session")
def exported(exported_part: Path) -> Path:
    return exported_part
