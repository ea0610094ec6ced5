import numpy as np
import pytest
from onnx import checker

from blemish.backbones.filter_bank import STRIDES, FilterBank, build_graph
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.errors import OptionError
from blemish.samples import to_float
from drawn import draw_good


def pixels(count=2, height=32, width=48):
    return to_float(np.stack([draw_good(i, height, width) for i in range(count)]))


@pytest.mark.parametrize("strides", [(4,), (8,), (16,), (4, 16)])
def test_one_map_per_stride(strides):
    backbone = FilterBank(strides)
    maps = backbone(pixels())
    for stride, channels, found in zip(strides, backbone.channels, maps, strict=True):
        assert found.shape == (2, 32 // stride, 48 // stride, channels)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
    assert backbone.multiple == max(strides)


def test_the_graph_is_valid_onnx():
    checker.check_model(build_graph(STRIDES), full_check=True)


def test_a_batch_is_its_images_one_by_one():
    backbone, x = FilterBank((8,)), pixels(3)
    alone = np.concatenate([backbone(x[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(backbone(x)[0], alone, atol=1e-6)


def test_a_flat_image_has_colour_but_no_structure():
    (found,) = FilterBank((8,))(np.full((1, 32, 32, 3), 0.5, np.float32))
    # Lightness first, then red against green and yellow against blue, which a grey has not.
    np.testing.assert_allclose(found[..., 0], 0.25 * 0.5, atol=1e-6)
    np.testing.assert_allclose(found[..., 1:3], 0, atol=1e-6)
    # Rounding errors of 1e-7 under a root.
    np.testing.assert_allclose(found[..., 3:], 0, atol=2e-3)


def test_a_lamp_that_is_brighter_changes_no_contrast():
    x = pixels(1) * 0.5
    (dark,), (bright,) = FilterBank((8,))(x), FilterBank((8,))(x + np.float32(0.2))
    np.testing.assert_allclose(bright[..., 3:], dark[..., 3:], atol=1e-5)
    assert (bright[..., 0] > dark[..., 0]).all()


def test_a_mark_is_seen_where_it_is():
    x = np.full((1, 64, 64, 3), 0.5, np.float32)
    marked = x.copy()
    marked[0, 36:38, 20:22] = 0.9
    backbone = FilterBank((8,))
    change = np.abs(backbone(marked)[0] - backbone(x)[0]).sum(axis=3)[0]
    assert np.unravel_index(change.argmax(), change.shape) == (4, 2)


def test_turning_the_image_turns_the_map():
    x = pixels(1, 32, 32)
    backbone = FilterBank((8,))
    lightness = backbone(x)[0][0, :, :, 0]
    turned = backbone(np.rot90(x, axes=(1, 2)))[0][0, :, :, 0]
    np.testing.assert_allclose(turned, np.rot90(lightness), atol=1e-5)


def test_state_opens_the_same_backbone():
    backbone = open_backbone("filter_bank", None, (4, 8))
    again = restore_backbone(*backbone.state())
    for one, other in zip(backbone(pixels()), again(pixels()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert backbone.state()[1] == {}


def test_wrong_strides_and_weights_are_refused():
    with pytest.raises(OptionError, match="no stride 32; it has 4, 8, 16"):
        open_backbone("filter_bank", None, (8, 32))
    with pytest.raises(OptionError, match="has no weights, but weights="):
        open_backbone("filter_bank", "a.pth", ())
