from collections.abc import Iterator

import pytest

from blemish.preparation import outline


@pytest.fixture(scope="module")
def coarser() -> Iterator[None]:
    """Outlines are looked for in photos that are shrunk once more: for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "LONG_SIDE", 360)
        yield
