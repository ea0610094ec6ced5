import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.errors import OptionError, UnknownNameError
from blemish.samples import to_float
from drawn import draw_good

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
timm = pytest.importorskip("timm", reason="the extra [train] is not installed")

WEIGHTS = "mobilenetv1_100.imagenet.safetensors"


@pytest.fixture(scope="module")
def backbone():
    return open_backbone("resnet10t", "random", (4, 8))


@pytest.fixture(scope="module")
def x():
    return to_float(np.stack([draw_good(i, 32, 64) for i in range(3)]))


@pytest.fixture
def weights_file(backbone, tmp_path):
    arrays = {name: np.ascontiguousarray(a) for name, a in backbone.state()[1].items()}
    save_file(arrays, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_one_map_per_stride_with_the_channels_it_declares(backbone, x):
    maps = backbone(x)
    for stride, channels, found in zip(backbone.strides, backbone.channels, maps, strict=True):
        assert found.shape == (3, 32 // stride, 64 // stride, channels)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous


def test_it_is_frozen_buffers_of_normalisation_included(backbone, x):
    before = {name: array.copy() for name, array in backbone.state()[1].items()}
    assert any("running_mean" in name for name in before)
    backbone(x)
    after = backbone.state()[1]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_batch_is_its_images_one_by_one(backbone, x):
    alone = [backbone(x[i : i + 1]) for i in range(3)]
    for level, together in enumerate(backbone(x)):
        each = np.concatenate([maps[level] for maps in alone])
        np.testing.assert_allclose(together, each, rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_each_time_and_touch_no_global_seed(backbone, x):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = open_backbone("resnet10t", "random", (4, 8))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(again(x)[0], backbone(x)[0])


def test_state_opens_the_same_backbone(backbone, x):
    header, arrays = backbone.state()
    again = restore_backbone(header, arrays)
    np.testing.assert_allclose(again(x)[1], backbone(x)[1], rtol=1e-5, atol=1e-6)


def test_weights_come_from_a_safetensors_file(backbone, x, weights_file):
    again = open_backbone("resnet10t", str(weights_file), (4, 8))
    np.testing.assert_allclose(again(x)[1], backbone(x)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_weights_come_from_a_pth_file(backbone, x, weights_file, tmp_path, wrapped):
    tensors = {name: torch.from_numpy(a) for name, a in load_file(weights_file).items()}
    torch.save(tensors if wrapped is None else {wrapped: tensors}, tmp_path / "weights.pth")
    again = open_backbone("resnet10t", str(tmp_path / "weights.pth"), (4, 8))
    np.testing.assert_allclose(again(x)[1], backbone(x)[1], rtol=1e-5, atol=1e-6)


def test_a_pth_file_that_runs_code_is_refused(tmp_path):
    torch.save({"a": print}, tmp_path / "weights.pth")
    with pytest.raises(OptionError, match=r"weights\.pth holds no weights.* would run code"):
        open_backbone("resnet10t", str(tmp_path / "weights.pth"), (4, 8))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(50), b"\x80\x02}q."])
def test_a_pth_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(OptionError, match="holds no weights"):
        open_backbone("resnet10t", str(tmp_path / "weights.pth"), (4, 8))


def test_a_pth_file_of_a_list_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "weights.pth")
    with pytest.raises(OptionError, match="holds no weights"):
        open_backbone("resnet10t", str(tmp_path / "weights.pth"), (4, 8))


def test_weights_of_another_architecture_are_refused(weights_file):
    with pytest.raises(OptionError, match=r"lacks \d+ of the \d+ weights that resnet18 needs"):
        open_backbone("resnet18", str(weights_file), (4, 8))


def test_weights_of_another_width_are_refused_with_both_shapes(weights_file):
    arrays = load_file(weights_file)
    name = next(n for n, a in arrays.items() if a.ndim == 4)
    arrays[name] = arrays[name][:-1].copy()
    save_file(arrays, weights_file)
    with pytest.raises(OptionError, match=f"does not fit resnet10t: {name} has the shape"):
        open_backbone("resnet10t", str(weights_file), (4, 8))


def test_a_truncated_or_missing_weights_file_is_refused(weights_file, tmp_path):
    weights_file.write_bytes(weights_file.read_bytes()[:500])
    with pytest.raises(OptionError, match="not a safetensors file, or is truncated"):
        open_backbone("resnet10t", str(weights_file), (4, 8))
    for name in ("missing.safetensors", "missing.pth"):
        with pytest.raises(OptionError, match="There is no weights file"):
            open_backbone("resnet10t", str(tmp_path / name), (4, 8))


def test_weights_must_be_named_and_nothing_is_downloaded_unasked():
    with pytest.raises(OptionError, match="needs weights=FILE"):
        open_backbone("resnet10t", None, (8,))


def test_an_unknown_model_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet10t'"):
        open_backbone("resnet10tt", "random", (8,))


def test_a_stride_that_the_model_lacks_is_refused():
    with pytest.raises(OptionError, match="no stride 3; it has 2, 4, 8, 16, 32"):
        open_backbone("resnet10t", "random", (8, 3))


def test_the_shared_weights_give_strides_8_and_16(real_weights, x):
    backbone = open_backbone("mobilenetv1_100", str(real_weights(WEIGHTS)), ())
    assert backbone.strides == (8, 16)
    assert backbone.channels == (256, 512)
    assert [m.shape for m in backbone(x)] == [(3, 4, 8, 256), (3, 2, 4, 512)]
    again = restore_backbone(*backbone.state())
    np.testing.assert_allclose(again(x)[1], backbone(x)[1], rtol=1e-4, atol=1e-5)


def test_the_shared_weights_lack_one_kernel_of_stride_32_and_say_which(real_weights):
    path = str(real_weights(WEIGHTS))
    with pytest.raises(OptionError, match=r"the first is blocks\.4\.1\.conv_pw\.weight"):
        open_backbone("mobilenetv1_100", path, (8, 32))


def test_the_shared_weights_fit_no_other_model(real_weights):
    with pytest.raises(OptionError, match="are they of another model"):
        open_backbone("resnet10t", str(real_weights(WEIGHTS)), (8,))


def test_folding_the_batch_norms_changes_nothing_but_the_time():
    from blemish.backbones.timm_features import _fold_batch_norms

    generator = torch.Generator().manual_seed(0)
    network = timm.create_model("resnet10t", features_only=True, out_indices=(1, 2)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.data.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    x = torch.rand(1, 3, 64, 64, generator=generator)
    with torch.inference_mode():
        before = [m.clone() for m in network(x)]
        _fold_batch_norms(network, 8)
        after = network(x)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-4)
