import numpy as np
import pytest

from blemish.errors import DataError
from blemish.images import read_tiff, write_tiff
from blemish.preparation.locating import CropOptions
from blemish.preparation.maps_back import maps_to_photos
from blemish.preparation.part_crop import crop_parts
from blemish.preparation.placement import Rectangle
from scenes import cards, spot_mask

pytestmark = pytest.mark.usefixtures("coarser")


@pytest.fixture(scope="module")
def crops(tmp_path_factory, coarser):
    folder = tmp_path_factory.mktemp("crops")
    crop_parts(cards(3, 1), folder, CropOptions(size="60x240"))
    return folder


def test_a_defect_is_put_back_where_the_photo_shows_it(crops, tmp_path):
    values = np.zeros((240, 60), np.float32)
    values[59:61, 29:31] = 1  # the spot's centre in the cut-out
    write_tiff(tmp_path / "maps/images/test/spot/003.tiff", values)
    assert maps_to_photos(crops, tmp_path / "maps", tmp_path / "out") == 1
    back = read_tiff(tmp_path / "out/test/spot/003.tiff")
    spot = spot_mask(Rectangle(243.0, 357.0, 120.0, 480.0, -3.0))
    assert back.shape == spot.shape
    found, true = (np.argwhere(m).mean(axis=0) for m in (back > 0.5, spot))
    assert np.linalg.norm(found - true) < 2  # a pixel of the cut-out has two of the photo


def test_maps_that_fit_no_cut_out_are_refused(crops, tmp_path):
    with pytest.raises(DataError, match=r"holds no \.tiff map"):
        maps_to_photos(crops, tmp_path, tmp_path / "out")
    path = write_tiff(tmp_path / "maps/other.tiff", np.zeros((240, 60), np.float32))
    with pytest.raises(DataError, match="belongs to no cut-out"):
        maps_to_photos(crops, tmp_path / "maps", tmp_path / "out")
    path.unlink()
    write_tiff(tmp_path / "maps/images/train/good/000.tiff", np.zeros((24, 6), np.float32))
    with pytest.raises(DataError, match="6×24 pixels, the cut-outs 60×240"):
        maps_to_photos(crops, tmp_path / "maps", tmp_path / "out")
