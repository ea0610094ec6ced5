import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from safetensors.numpy import load_file, save_file

from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.errors import OptionError, UnknownNameError
from blemish.graphs import Graph
from blemish.samples import to_float
from drawn import draw_good

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
timm = pytest.importorskip("timm", reason="the extra [train] is not installed")

NAME = "test_vit2"  # 8 blocks, patches of 16 pixels, 64 channels


@pytest.fixture(scope="module")
def backbone():
    return open_backbone(NAME, "random", (), (3, 5))


@pytest.fixture(scope="module")
def x():
    return to_float(np.stack([draw_good(i, 64, 96) for i in range(3)]))


@pytest.fixture
def weights_file(tmp_path):
    with torch.random.fork_rng():
        network = timm.create_model(NAME, num_classes=0, global_pool="")
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_file(arrays, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_one_map_per_block_on_the_grid_of_the_image(backbone, x):
    assert (backbone.strides, backbone.channels, backbone.multiple) == ((16, 16), (64, 64), 16)
    for found in backbone(x):
        assert found.shape == (3, 4, 6, 64)
        assert found.dtype == np.float32


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 112), (160, 32)])
def test_tokens_are_those_of_a_plain_forward_with_prefix_tokens_dropped(height, width):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True)
    x = to_float(draw_good(3, height, width)[None])
    found = open_backbone("vit_tiny_patch16_224", "random", (), (2, 4))(x)
    seen = []
    for number in (2, 4):
        plain.blocks[number].register_forward_hook(lambda m, i, out: seen.append(out))
    config = plain.default_cfg
    pixels = (x - np.float32(config["mean"])) / np.float32(config["std"])
    with torch.no_grad():
        plain.eval().forward_features(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        normed = [plain.norm(tokens)[0, 1:].numpy() for tokens in seen]
    for own, expected in zip(found, normed, strict=True):
        assert own.shape == (1, height // 16, width // 16, 192)
        np.testing.assert_allclose(own.reshape(-1, 192), expected, rtol=1e-3, atol=1e-4)


def test_the_published_teacher_has_5476_tokens_at_1036_pixels_and_no_register_among_them():
    with torch.device("meta"):
        network = timm.create_model("vit_base_patch14_reg4_dinov2", dynamic_img_size=True)
    assert network.num_prefix_tokens == 5
    assert network.patch_embed.dynamic_feat_size((1036, 1036)) == (74, 74)
    assert network.patch_embed.dynamic_feat_size((1036, 518)) == (74, 37)
    assert len(network.blocks) == 12


def test_register_tokens_are_dropped_too():
    found = open_backbone("vit_wee_patch16_reg1_gap_256", "random", (), (1,))(
        to_float(draw_good(1, 32, 48)[None])
    )
    assert found[0].shape[:3] == (1, 2, 3)


def test_where_a_patch_stands_matters(backbone):
    x = np.full((1, 64, 64, 3), 0.5, np.float32)
    tokens = backbone(x)[0].reshape(16, -1)
    assert np.abs(tokens - tokens[0]).max() > 1e-3


def test_a_batch_is_its_images_one_by_one(backbone, x, monkeypatch):
    alone = [backbone(x[i : i + 1]) for i in range(3)]
    for at_once in (1, 10_000):
        monkeypatch.setattr("blemish.backbones.timm_tokens.TOKENS_AT_ONCE", at_once)
        for level, together in enumerate(backbone(x)):
            each = np.concatenate([maps[level] for maps in alone])
            np.testing.assert_allclose(together, each, rtol=1e-4, atol=1e-5)


def test_a_graph_gives_the_same_tokens(backbone, x):
    graph = Graph()
    pixels = graph.input("x", TensorProto.FLOAT, ["B", *x.shape[1:]])
    for i, tokens in enumerate(backbone.export(graph, pixels, x.shape[1:3])):
        graph.output(tokens, f"y{i}", TensorProto.FLOAT, ["B", "C", "h", "w"])
    session = onnxruntime.InferenceSession(graph.model("tokens").SerializeToString())
    for found, expected in zip(session.run(None, {"x": x}), backbone(x), strict=True):
        np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, atol=1e-4)


def test_random_weights_are_the_same_each_time_and_touch_no_global_seed(backbone, x):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = open_backbone(NAME, "random", (), (3, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(again(x)[0], backbone(x)[0])


def test_state_opens_the_same_backbone(backbone, x):
    header, arrays = backbone.state()
    assert not any(name.startswith("blocks.6") for name in arrays), "what is not used is cut off"
    again = restore_backbone(header, arrays)
    np.testing.assert_array_equal(again(x)[1], backbone(x)[1])


def test_bfloat16_is_part_of_the_state_because_tokens_differ(backbone, x):
    other = restore_backbone(*backbone.state())
    other.use("cpu", bf16=True)
    assert other.state()[0]["bf16"] is True
    difference = np.abs(other(x)[1] - backbone(x)[1]).max()
    assert 0 < difference < 0.3


def test_weights_come_from_a_file(weights_file, x):
    found = open_backbone(NAME, str(weights_file), (), (3, 5))
    name = "blocks.3.mlp.fc1.weight"
    np.testing.assert_array_equal(found.state()[1][name], load_file(weights_file)[name])


def test_the_keys_of_dinov2_itself_are_understood(tmp_path):
    name = "vit_small_patch14_reg4_dinov2"
    with torch.random.fork_rng():
        network = timm.create_model(name, num_classes=0, img_size=28, depth=2)
    tensors = dict(network.state_dict())
    tensors["register_tokens"] = tensors.pop("reg_token")
    tensors["mask_token"] = torch.zeros(1, 384)
    # The release has a position for the class token too; timm adds it to the token itself.
    tensors["pos_embed"] = torch.cat([torch.ones(1, 1, 384), tensors["pos_embed"]], dim=1)
    torch.save(tensors, tmp_path / "dinov2.pth")
    with pytest.raises(OptionError, match=r"the first is blocks\.2\.attn"):
        open_backbone(name, str(tmp_path / "dinov2.pth"), (), (1, 2))
    found = open_backbone(name, str(tmp_path / "dinov2.pth"), (), (0, 1))
    np.testing.assert_array_equal(found.state()[1]["reg_token"], tensors["register_tokens"])
    np.testing.assert_allclose(found.state()[1]["cls_token"], tensors["cls_token"] + 1)
    # The table of positions was of a 2 × 2 grid; the network's own is 37 × 37.
    assert found.state()[1]["pos_embed"].shape == (1, 1369, 384)


def test_a_teacher_with_fewer_blocks_than_asked_is_refused():
    with pytest.raises(OptionError, match="layers=7,11 does not fit test_vit: its 6 blocks are 0"):
        open_backbone("test_vit", "random", (), (7, 11))
    with pytest.raises(OptionError, match="in rising order"):
        open_backbone("test_vit", "random", (), (3, 1))


def test_weights_of_another_architecture_are_refused(weights_file):
    with pytest.raises(OptionError, match=r"lacks 1 of the 54 weights .* cls_token"):
        open_backbone("vit_tiny_patch16_224", str(weights_file), (), (1, 3))
    with pytest.raises(OptionError, match=r"lacks \d+ of the \d+ weights"):
        open_backbone("vit_small_patch14_reg4_dinov2", str(weights_file), (), (1, 3))


def test_a_cnn_has_no_blocks():
    with pytest.raises(OptionError, match="name the feature maps of a CNN by their strides"):
        open_backbone("resnet10t", "random", (), (7, 11))


def test_unknown_names_and_missing_weights_are_refused():
    with pytest.raises(UnknownNameError):
        open_backbone("vit_bse_patch14", "random", (), (1,))
    with pytest.raises(OptionError, match="needs weights=FILE"):
        open_backbone(NAME, None, (), (1,))


def test_a_registered_backbone_may_have_blocks(monkeypatch):
    from blemish.backbones.filter_bank import FilterBank

    opened = []
    monkeypatch.setattr(
        FilterBank, "open_layers", lambda *given: opened.append(given), raising=False
    )
    open_backbone("filter_bank", None, (), (1, 2))
    assert opened == [("filter_bank", None, (1, 2))]
    open_backbone("filter_bank", None, (8,))
    assert len(opened) == 1
