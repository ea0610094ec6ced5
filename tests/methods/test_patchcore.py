import re

import numpy as np
import pytest

from blemish import Detector
from blemish.backbones.filter_bank import FilterBank
from blemish.datasets.base import DataSet
from blemish.errors import BudgetError, DataError
from blemish.memory import nearest
from blemish.methods.base import Run
from blemish.methods.patchcore import PatchCore, PatchCoreOptions
from blemish.preprocess import Geometry
from blemish.samples import Samples, to_float
from drawn import HEIGHT, WIDTH, draw_defective, draw_good, good_records, images

WHOLE = Geometry((HEIGHT, WIDTH), multiple=8)
CELLS = (HEIGHT // 8) * (WIDTH // 8)
CHANNELS = FilterBank((8,)).channels[0]


def learn(count=6, geometry=WHOLE, say=lambda text: None, **options) -> PatchCore:
    method = PatchCore(
        PatchCoreOptions(**{"coreset": 0.1, "smallest_bank": 1, "score": "patch", **options})
    )
    method.learn(Samples(DataSet("d", good_records(count)), geometry), Run(say=say))
    return method


def predict(method, *pictures, valid=None):
    x = to_float(np.stack(pictures))
    valid = np.ones(x.shape[:3], bool) if valid is None else valid
    return method.predict_batch(x, valid, [""] * len(x))


def embed(method, image):
    features = method._embed(to_float(image[None]))[0]
    return (features if method.scale_ is None else features * method.scale_).reshape(-1, CHANNELS)


def test_the_bank_has_the_share_that_was_asked_for():
    method = learn(coreset=0.1)
    assert method.bank_.shape == (round(0.1 * 6 * CELLS), CHANNELS)
    assert method.bank_.dtype == np.float32
    assert len(np.unique(method.bank_, axis=0)) == len(method.bank_)


def test_the_byte_budget_bounds_the_bank():
    method = learn(coreset=1, bank_mb=0.01)
    assert len(method.bank_) == int(0.01e6 // (4 * CHANNELS))
    assert method.bank_.nbytes <= 0.01e6


def test_a_memory_budget_takes_patches_of_every_image():
    method = learn(count=8, coreset=0.2, memory_mb=0.05)
    assert set(method.origins_) == set(range(8))
    small = learn(count=8, coreset=0.2)
    # The share is one of all patches, also where not all of them were candidates.
    assert len(method.bank_) <= len(small.bank_)


@pytest.mark.parametrize("options", [{"bank_mb": 1e-6}, {"memory_mb": 1e-6}])
def test_a_budget_without_room_for_one_patch_is_refused(options):
    with pytest.raises(BudgetError, match="leave no room for any"):
        learn(**options)


def test_memory_and_time_are_told_before_fitting():
    said = []
    method = learn(coreset=0.1, say=said.append)
    (text,) = said
    assert f"{6 * CELLS:,} patches with {CHANNELS} channels" in text
    assert f"bank {len(method.bank_):,} ({method.bank_.nbytes / 1e6:.1f} MB)" in text
    assert re.search(r"about \d+ s for features and \d+ s for the coreset", text)


def test_a_share_of_few_patches_does_not_make_a_tiny_bank():
    assert len(learn(coreset=0.01, smallest_bank=100).bank_) == 100
    assert len(learn(coreset=0.01, smallest_bank=10_000).bank_) == 6 * CELLS, "all there are"


def test_a_patch_of_the_bank_is_no_distance_away():
    method = learn(coreset=1.0, neighbours=1, standardise=False)
    found = predict(method, draw_good(0))
    # The bank is kept in half precision while it is chosen.
    assert found.scores[0] < 0.01 * np.abs(method.bank_).max()
    assert predict(method, draw_defective(0)).scores[0] > 10 * found.scores[0]


def test_the_map_is_the_distance_of_every_patch_to_the_nearest():
    method = learn()
    patches = embed(method, draw_defective(1))
    distances = np.linalg.norm(patches[:, None] - method.bank_[None], axis=2).min(axis=1)
    maps = predict(method, draw_defective(1)).maps[0]
    np.testing.assert_allclose(maps.ravel(), distances, rtol=1e-4)


def test_near_ones_are_told_apart_where_a_channel_hardly_varies():
    """Standardised, such a channel puts all patches far from the origin."""
    method, generator = learn(), np.random.default_rng(0)
    spread = generator.normal(size=method.bank_.shape).astype(np.float32)
    method.bank_ = spread + np.float32(4000)
    method._prepare()
    asked = method.bank_[:50] + generator.normal(size=spread[:50].shape, scale=0.6)
    asked = asked.astype(np.float32)
    exact = np.linalg.norm(method.bank_[None].astype(float) - asked[:, None], axis=2).min(axis=1)
    found, _ = nearest(asked - method._centre, method._centred, method._squares)
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    plain, _ = nearest(asked, method.bank_)
    assert np.abs(plain - exact).max() > 10 * np.abs(found - exact).max()


def test_the_score_is_weighted_as_in_equation_7():
    method = learn(neighbours=5)
    patches = embed(method, draw_defective(1)).astype(float)
    bank = method.bank_.astype(float)
    distances = np.linalg.norm(patches[:, None] - bank[None], axis=2)
    worst = distances.min(axis=1).argmax()
    nearest = distances[worst].argmin()
    score = distances[worst, nearest]
    # The neighbours of the nearest patch in the bank, itself among them.
    support = np.linalg.norm(bank - bank[nearest], axis=1).argsort(kind="stable")[:5]
    weight = 1 - np.exp(score) / np.exp(distances[worst, support]).sum()
    assert predict(method, draw_defective(1)).scores[0] == pytest.approx(weight * score, rel=1e-4)
    assert 0 < weight < 1


@pytest.mark.parametrize(
    ("options", "by_patch"),
    [
        ({"score": "patch"}, True),
        ({"score": "map"}, False),
    ],
)
def test_the_score_is_of_the_worst_patch_or_left_to_the_map(options, by_patch):
    scores = predict(learn(**options), draw_defective(1)).scores
    assert (scores is not None) == by_patch


def test_the_score_of_the_map_is_its_peak():
    data = DataSet("d", good_records(8))
    detector = Detector("patchcore", score="map", coreset=0.1, false_alarms=0.5).fit(data)
    found = detector.predict(draw_defective(4))
    assert found.score == pytest.approx(found.anomaly_map.max(), rel=1e-6)


def test_one_neighbour_weighs_nothing():
    method = learn(neighbours=1)
    found = predict(method, draw_defective(1))
    assert found.scores[0] == pytest.approx(found.maps.max())


def test_a_score_far_beyond_the_bank_stays_a_number():
    method = learn()
    far = method.bank_[:1] + 1000
    method.bank_ = np.concatenate([method.bank_[:1], far])  # neighbours of very unlike distances
    method._prepare()
    found = predict(method, draw_good(1))
    assert found.scores[0] == pytest.approx(found.maps.max())


def test_patches_outside_the_region_of_interest_are_never_in_the_bank():
    roi = np.zeros((HEIGHT, WIDTH), bool)
    roi[:, :40] = True
    method = learn(geometry=Geometry((HEIGHT, WIDTH), multiple=8, roi=roi), coreset=1)
    assert len(method.bank_) == 6 * (HEIGHT // 8) * (40 // 8)


def test_padding_is_never_in_the_bank():
    geometry = Geometry((2 * HEIGHT, WIDTH), multiple=8)
    method = learn(geometry=geometry, coreset=1)
    assert len(method.bank_) == 6 * CELLS


def test_a_view_without_a_valid_pixel_scores_zero():
    method = learn()
    found = predict(method, draw_defective(1), valid=np.zeros((1, HEIGHT, WIDTH), bool))
    assert found.scores[0] == 0
    assert not found.maps.any()


def test_nothing_to_learn_from_is_refused():
    method = PatchCore(PatchCoreOptions())
    with pytest.raises(DataError, match="No training image has a valid patch"):
        method.learn(Samples(DataSet("d", ()), WHOLE), Run())


def test_an_update_forgets_the_patches_of_removed_images_only():
    method = learn()
    gone = [method.images_[2], method.images_[4], "not known"]
    kept = method.bank_[~np.isin(method.origins_, [2, 4])]
    assert len(kept) < len(method.bank_)
    method.update(Samples(DataSet("d", ()), WHOLE), gone, Run())
    np.testing.assert_array_equal(method.bank_, kept)
    assert not set(method.origins_) & {2, 4}


def test_an_update_covers_what_is_new_and_keeps_what_was_there():
    method = learn(standardise=False)
    before, news = method.bank_.copy(), draw_defective(50)
    score = predict(method, news).scores[0]
    records = tuple(
        r.__class__(**{**r.__dict__, "image": lambda: news}) for r in good_records(1, 50)
    )
    method.update(Samples(DataSet("new", records), WHOLE), [], Run())
    np.testing.assert_array_equal(method.bank_[: len(before)], before)
    assert len(method.bank_) > len(before)
    assert set(method.origins_[len(before) :]) == {6}
    assert predict(method, news).scores[0] < score / 2
    assert len(method.images_) == 7


def test_an_update_stays_within_the_budget():
    method = learn(coreset=1, bank_mb=0.02)
    full = len(method.bank_)
    method.update(Samples(DataSet("new", good_records(2, 80)), WHOLE), [], Run())
    assert len(method.bank_) == full


def test_an_update_that_would_leave_nothing_is_refused():
    method = learn()
    with pytest.raises(DataError, match="No patch would be left"):
        method.update(Samples(DataSet("d", ()), WHOLE), method.images_, Run())


@pytest.mark.parametrize("standardise", [True, False, None])
def test_state_brings_everything_back(standardise):
    method = learn(standardise=standardise)
    header, arrays = method.state()
    assert ("scale" in arrays) == (standardise is not False)
    again = PatchCore(method.options)
    again.restore(header, arrays)
    np.testing.assert_array_equal(
        predict(again, draw_defective(1)).maps, predict(method, draw_defective(1)).maps
    )
    assert again.images_ == method.images_


def test_standardised_channels_vary_alike():
    method = learn(coreset=1, standardise=True)
    deviation = method.bank_.std(axis=0)
    assert np.median(deviation) == pytest.approx(1, abs=0.05)
    assert deviation.max() < 1.2


def test_standardised_scores_survive_an_update():
    method = learn(standardise=True)
    scale = method.scale_.copy()
    method.update(Samples(DataSet("new", good_records(2, 80)), WHOLE), [], Run())
    np.testing.assert_array_equal(method.scale_, scale)
    assert predict(method, draw_good(80)).scores[0] < predict(method, draw_defective(80)).scores[0]


def test_tiles_and_several_strides_work_as_well():
    data = DataSet("d", good_records(8))
    detector = Detector("patchcore", coreset=0.1, strides="8,16", tile=48, false_alarms=0.5).fit(
        data
    )
    good = images(DataSet("good", good_records(3, 900)))
    scores = [p.score for p in detector.predict([*good, draw_defective(4)])]
    assert max(scores[:3]) < scores[3]


def test_a_trained_network_is_a_backbone_like_any_other(tmp_path):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    detector = Detector(
        "patchcore", backbone="resnet10t", weights="random", strides="4,8", false_alarms=0.5
    ).fit(DataSet("d", good_records(6)))
    method = detector.pipeline.method
    assert method.scale_ is None
    again = Detector.load(detector.save(tmp_path / "a.blemish"))
    image = draw_defective(4)
    assert again.predict(image).score == pytest.approx(detector.predict(image).score, rel=1e-4)
