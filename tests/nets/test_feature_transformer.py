"""The reconstructors of ADTR: sizes, shapes, and what the output may depend on."""

import pytest

torch = pytest.importorskip("torch")

from blemish.errors import OptionError  # noqa: E402
from blemish.nets.feature_transformer import (  # noqa: E402
    RECONSTRUCTORS,
    FeatureTransformer,
    Size,
    make_reconstructor,
)

SMALL = Size(channels=12, grid=(3, 4), width=16, layers=2, heads=4, hidden=32)


def make(kind="transformer", size=SMALL):
    torch.manual_seed(0)
    return make_reconstructor(kind, size).eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_published_size_has_7_8_million_parameters():
    network = make(size=Size(720, (16, 16)))
    assert parameters(network.encoder) == 3_159_040
    assert parameters(network.decoder) == 4_213_760
    assert network.query.numel() == 256 * 256
    assert parameters(network) == 7_812_560
    assert parameters(make("cnn", Size(720, (16, 16)))) == pytest.approx(7.8e6, rel=0.1)


@pytest.mark.parametrize("kind", RECONSTRUCTORS)
def test_features_keep_their_shape_and_images_do_not_mix(kind):
    network, features = make(kind), torch.randn(3, 12, 3, 4)
    together = network(features)
    assert together.shape == features.shape
    for i in range(3):
        torch.testing.assert_close(network(features[i : i + 1])[0], together[i])


def test_the_place_of_a_token_counts():
    network, features = make(), torch.randn(1, 12, 3, 4)
    swapped = features.clone()
    swapped[:, :, 0, 0], swapped[:, :, 2, 3] = features[:, :, 2, 3], features[:, :, 0, 0]
    one, other = network(features), network(swapped)
    untouched = (slice(None), slice(None), 1)
    assert not torch.allclose(one[untouched], other[untouched], atol=1e-4)
    assert not torch.allclose(one[:, :, 0, 0], other[:, :, 2, 3], atol=1e-4)


def test_without_attention_a_cell_depends_on_itself_alone():
    network, features = make("no_attention"), torch.randn(1, 12, 3, 4)
    changed = features.clone()
    changed[:, :, 1, 1] += 1
    same = (network(features) == network(changed)).all(dim=1)[0]
    assert same.sum() == 11
    assert not same[1, 1]


def test_only_the_query_keeps_the_decoder_from_starting_at_the_image():
    assert make("no_query").query is None
    assert make().query.shape == (12, 16)


def test_positions_start_in_the_unit_interval_and_weights_are_not_all_alike():
    network = FeatureTransformer(SMALL)
    for table in (network.rows, network.columns):
        assert table.min() >= 0
        assert table.max() < 1
        assert table.std() > 0.2
    assert network.reduce.weight.std() > 0.01
    assert not network.reduce.bias.any()


@pytest.mark.parametrize("width", [18, 15])
def test_a_width_that_heads_do_not_divide_is_refused(width):
    with pytest.raises(OptionError, match="multiple of heads=4"):
        make(size=Size(12, (3, 4), width=width, heads=4))
