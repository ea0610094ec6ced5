from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from blemish import Detector
from blemish.datasets.base import DataSet
from blemish.errors import BudgetError, DataError, OptionError
from blemish.maps import Post, smooth
from blemish.methods.base import Run
from blemish.preprocess import Geometry
from blemish.samples import Samples, to_float
from drawn import HEIGHT, WIDTH, draw_defective, draw_good, good_records, plates

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")
pytest.importorskip("lightning", reason="the extra [train] is not installed")

from blemish.methods.l2bt import L2BT, L2BTOptions  # noqa: E402

WHOLE = Geometry((HEIGHT, WIDTH), multiple=8)
CELLS = (HEIGHT // 4) * (WIDTH // 4)
TINY = L2BT.presets["tiny"]
VIT = {"backbone": "test_vit2", "weights": "random", "layers": (3, 5), "strides": ()}


def learn(count=6, geometry=WHOLE, run=None, **options) -> L2BT:
    values = {k: v for k, v in TINY.items() if k != "image_size"}
    method = L2BT(L2BTOptions(**{**values, "epochs": 3, **options}))
    method.learn(Samples(DataSet("d", good_records(count)), geometry), run or Run())
    return method


def predict(method, *pictures, valid=None):
    x = to_float(np.stack(pictures))
    valid = np.ones(x.shape[:3], bool) if valid is None else valid
    return method.predict_batch(x, valid, [""] * len(x)).maps


@pytest.fixture(scope="module")
def fitted() -> L2BT:
    return learn(epochs=15)


def with_options(fitted, **options) -> L2BT:
    method = copy(fitted)
    method.options = replace(fitted.options, **options)
    return method


def weights_of(method):
    return {name: t.clone() for name, t in method.students_.state_dict().items()}


# ---------------------------------------------------------------- the method


def test_students_have_three_layers_and_the_size_that_is_published():
    from blemish.nets.token_students import TokenStudents

    with torch.device("meta"):
        students = TokenStudents(768, 768, 768)
    for student in (students.forward_student, students.backward_student):
        assert sum(p.numel() for p in student.parameters()) == 1_771_776
        assert [type(layer).__name__ for layer in student] == [
            "Linear", "GELU", "Linear", "GELU", "Linear",
        ]  # fmt: skip


def test_hidden_layers_are_as_wide_as_the_mean_of_both_maps(fitted):
    early, late = fitted._backbone.channels
    assert fitted.students_.forward_student[0].out_features == (early + late) // 2
    assert learn(hidden=10).students_.backward_student[2].out_features == 10


def test_the_loss_is_one_minus_the_mean_cosine_in_both_directions():
    from blemish.nets.token_students import both_directions

    generator = np.random.default_rng(0)
    guess, other, early, late = generator.normal(size=(4, 10, 5))

    def cosine(a, b):
        return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    forward, backward = both_directions(
        (torch.tensor(guess), torch.tensor(other)), torch.tensor(early), torch.tensor(late)
    )
    assert forward.item() == pytest.approx(1 - cosine(guess, late).mean())
    assert backward.item() == pytest.approx(1 - cosine(other, early).mean())


def plain_map(method, image):
    """The map of the specification, step by step in float64, from the same vectors."""
    maps = method._backbone(to_float(image[None]))
    early, late = (m[0].astype(np.float64) for m in maps)
    height, width = early.shape[:2]
    if late.shape != early.shape:  # a CNN's coarser map, bilinear, not align_corners
        late = bilinear(late, height, width)
    if method.mean_ is not None:
        channels = early.shape[2]
        early = (early - method.mean_[:channels]) * method.scale_[:channels]
        late = (late - method.mean_[channels:]) * method.scale_[channels:]

    def student(layers, x):
        arrays = {name: t.detach().double().numpy() for name, t in layers.state_dict().items()}
        weights = {i: arrays[f"{i}.weight"].T for i in (0, 2, 4)}
        biases = {i: arrays[f"{i}.bias"] for i in (0, 2, 4)}
        for number in (0, 2, 4):
            x = x @ weights[number] + biases[number]
            if number < 4:
                x = 0.5 * x * (1 + torch.erf(torch.tensor(x) / 2**0.5).numpy())
        return x

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    e_k = np.linalg.norm(
        unit(student(method.students_.forward_student, early)) - unit(late), axis=2
    )
    e_j = np.linalg.norm(
        unit(student(method.students_.backward_student, late)) - unit(early), axis=2
    )
    return e_j, e_k


def bilinear(values, height, width):
    def axis(n_in, n_out):
        at = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n_in - 1)
        return low, high, at - low

    low, high, share = axis(values.shape[0], height)
    rows = values[low] * (1 - share)[:, None, None] + values[high] * share[:, None, None]
    low, high, share = axis(values.shape[1], width)
    return rows[:, low] * (1 - share)[:, None] + rows[:, high] * share[:, None]


@pytest.mark.parametrize(
    "options",
    [{}, {"standardise": True}, VIT],
    ids=["filter bank", "standardised", "transformer"],
)
def test_the_map_is_that_of_a_plain_recomputation_up_to_the_score(options):
    """Parity to 1e-5, from the same vectors: errors, product, upsampling, blur, score."""
    data = plates()
    settings = {"image_size": f"{WIDTH}x{HEIGHT}", "false_alarms": 0.4, "device": "cpu"}
    detector = Detector("l2bt", "tiny", **{**settings, "epochs": 2, **options}).fit(data)
    # Twice as large as the working size, so that the way to the original is part of it.
    image = draw_defective(3, HEIGHT, WIDTH)
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    pixels, _, _ = detector.pipeline.geometry.views(large)
    e_j, e_k = plain_map(detector.pipeline.method, pixels[0])
    expected = bilinear((e_j * e_k)[:, :, None], *large.shape[:2])[:, :, 0]
    for width in (5, 5, 5, 5, 5, 7, 7, 7):
        padded = np.pad(expected, width // 2)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width))
        expected = windows.mean(axis=(2, 3))
    found = detector.predict(large)
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-5, rtol=1e-5)
    highest = np.sort(expected.ravel())[-int(0.001 * expected.size) :]
    assert found.score == pytest.approx(highest.mean(), abs=1e-5)


@pytest.mark.parametrize("direction", ["product", "forward", "backward"])
def test_the_map_is_of_both_students_or_of_one(fitted, direction):
    method = with_options(fitted, direction=direction)
    e_j, e_k = plain_map(fitted, draw_defective(1))
    expected = {"product": e_j * e_k, "forward": e_k, "backward": e_j}[direction]
    np.testing.assert_allclose(predict(method, draw_defective(1))[0], expected, atol=1e-5)


def test_an_error_is_the_root_of_two_minus_two_cosines(fitted):
    method = with_options(fitted, direction="forward")
    early, late = fitted._backbone.channels
    vectors = np.random.default_rng(0).normal(size=(50, early + late)).astype(np.float32)
    with torch.inference_mode():
        guess = fitted.students_.forward_student(torch.from_numpy(vectors[:, :early]))
        cosine = torch.cosine_similarity(guess, torch.from_numpy(vectors[:, early:])).numpy()
    np.testing.assert_allclose(method._errors(vectors), np.sqrt(2 - 2 * cosine), atol=1e-5)


def test_students_that_return_the_target_give_a_map_of_zeros(fitted):
    class Both(torch.nn.Module):
        forward_student = backward_student = torch.nn.Identity()

    method = with_options(fitted)
    method.students_ = Both()
    early = fitted._backbone.channels[0]
    half = np.random.default_rng(0).normal(size=(20, early)).astype(np.float32)
    assert not method._errors(np.concatenate([half, half], axis=1)).any()


def test_patches_are_judged_one_by_one(fitted):
    vectors = fitted._embed(fitted._backbone(to_float(draw_defective(1)[None])))[0]
    vectors = vectors.reshape(CELLS, -1)
    order = np.random.default_rng(0).permutation(CELLS)
    np.testing.assert_allclose(
        fitted._errors(vectors[order]), fitted._errors(vectors)[order], rtol=1e-4, atol=1e-6
    )


def test_a_painted_defect_is_where_the_map_is_highest(fitted):
    good, bad = predict(fitted, draw_good(60), draw_defective(1))
    assert bad.max() > 3 * good.max()


# ---------------------------------------------------------------- maps and scores


def test_the_blur_has_weight_one_and_a_variance_of_22():
    post = L2BT(L2BTOptions(**{**VIT})).post
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    kernel = smooth(point, None, post)
    distance = np.arange(101) - 50
    assert kernel.sum() == pytest.approx(1, rel=1e-5)
    assert (kernel.sum(axis=0) * distance**2).sum() == pytest.approx(22, rel=1e-4)
    assert np.abs(distance[kernel.sum(axis=0) > 1e-12]).max() == 19


def test_the_score_counts_at_least_one_pixel():
    assert L2BT(L2BTOptions(**VIT)).post == Post(
        boxes=(5, 5, 5, 5, 5, 7, 7, 7), frame="image", pool="top_share", pool_value=0.001
    )
    detector = Detector("l2bt", "tiny", epochs=1, false_alarms=0.4).fit(plates())
    found = detector.predict(draw_good(5, 9, 12))
    assert found.score == pytest.approx(found.anomaly_map.max())


def test_padded_bands_reach_neither_map_nor_score(monkeypatch):
    # 64 × 96 in a square of 96: bands above and below.
    detector = Detector("l2bt", "tiny", image_size="96", epochs=2, false_alarms=0.4).fit(plates())
    method, image = detector.pipeline.method, draw_defective(3)
    expected = detector.predict(image)
    assert expected.anomaly_map.shape == (HEIGHT, WIDTH)
    plain = method.predict_batch

    def loud_bands(x, valid, keys):
        output = plain(x, valid, keys)
        for found, ok in zip(output.maps, valid, strict=True):
            assert not ok[:16].any()
            assert ok[16:-16].all()
            found[:4], found[-4:] = 1e6, 1e6
        return output

    monkeypatch.setattr(method, "predict_batch", loud_bands)
    found = detector.predict(image)
    np.testing.assert_array_equal(found.anomaly_map, expected.anomaly_map)
    assert found.score == expected.score


def test_a_side_that_is_no_multiple_of_the_patch_is_padded_never_stretched():
    detector = Detector("l2bt", "tiny", **VIT, image_size="90x60", epochs=1, false_alarms=0.4).fit(
        plates()
    )
    geometry = detector.pipeline.geometry
    assert geometry.view_shape == (64, 96)
    (rows, columns) = geometry.layout((HEIGHT, WIDTH)).views[0]
    assert (rows.stop - rows.start, columns.stop - columns.start) == (60, 90)
    assert detector.predict(draw_good(5)).anomaly_map.shape == (HEIGHT, WIDTH)


# ---------------------------------------------------------------- learning


def test_the_teacher_is_the_same_after_training():
    method = L2BT(L2BTOptions(**{**VIT, "epochs": 1}))
    before = {k: v.copy() for k, v in method._backbone.state()[1].items()}
    method.learn(Samples(DataSet("d", good_records(4)), Geometry((64, 96), multiple=16)), Run())
    after = method._backbone.state()[1]
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in method._backbone._network.parameters())


def test_students_are_the_same_from_remembered_and_from_recomputed_vectors():
    """To the rounding of half precision, over the same image batches."""
    options = {"batching": "image", "learning_rate": 1e-3, "train_batch": 2, "epochs": 4}
    remembered, recomputed = learn(**options), learn(remember=False, **options)
    for name, tensor in weights_of(remembered).items():
        torch.testing.assert_close(
            tensor, recomputed.students_.state_dict()[name], rtol=0.05, atol=2e-3
        )
    image = draw_defective(2)
    np.testing.assert_allclose(
        predict(remembered, image), predict(recomputed, image), rtol=0.05, atol=0.01
    )


def test_standardised_channels_have_mean_0_and_deviation_1_over_good_patches():
    method = learn(standardise=True, epochs=1)
    vectors = method._embed(method._backbone(to_float(np.stack([draw_good(i) for i in range(6)]))))
    vectors = vectors.reshape(-1, vectors.shape[3])
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-3)
    deviation = vectors.std(axis=0)
    assert deviation.max() < 1.001
    assert np.median(deviation) == pytest.approx(1, abs=0.01)


def test_curves_tell_both_directions():
    run = Run()
    learn(run=run)
    assert len(run.history["loss"]) == 3
    total = np.add(run.history["forward"], run.history["backward"])
    np.testing.assert_allclose(run.history["loss"], total, rtol=1e-5)
    assert run.history["loss"][-1] < run.history["loss"][0]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"train_batch": 4}, 2),
        ({"train_batch": 4, "batching": "image"}, 2),
        ({"train_patches": CELLS // 2}, 12),
    ],
)
def test_patches_are_shuffled_at_the_pace_of_image_batches(options, steps):
    shown = set()
    learn(epochs=1, run=Run(progress=lambda s, done, all_: shown.add(all_)), **options)
    assert steps in shown


def test_padding_is_never_learned_from():
    said = []
    learn(geometry=Geometry((2 * HEIGHT, WIDTH), multiple=8), run=Run(say=said.append), epochs=1)
    assert f"{6 * CELLS:,} patches of 6 views" in said[0]


def test_views_without_a_valid_patch_are_passed_over():
    roi = np.zeros((HEIGHT, WIDTH), bool)
    roi[:30, :40] = True
    geometry = Geometry((HEIGHT, WIDTH), multiple=8, roi=roi, tile=32)
    method = learn(geometry=geometry, epochs=1)
    assert hasattr(method, "students_")
    empty = np.zeros((1, HEIGHT, WIDTH), bool)
    assert not predict(method, draw_defective(1), valid=empty).any()


def test_what_does_not_fit_in_memory_is_read_from_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = []
    method = learn(memory_mb=1.0, run=Run(say=said.append), epochs=10, count=20)
    assert "kept in a temporary folder" in " ".join(said)
    assert list(tmp_path.iterdir()) == [], "it is gone afterwards"
    assert predict(method, draw_defective(1)).max() > 2 * predict(method, draw_good(61)).max()


def test_a_cache_brings_the_same_students_again(tmp_path):
    first = learn(run=Run(feature_cache=tmp_path), epochs=1)
    again = learn(run=Run(feature_cache=tmp_path), epochs=1)
    for name, tensor in weights_of(first).items():
        assert torch.equal(tensor, weights_of(again)[name])
    with pytest.raises(BudgetError, match="allow more"):
        learn(run=Run(feature_cache=tmp_path, feature_cache_mb=0.01))


def test_training_goes_on_from_a_checkpoint_with_the_same_result(tmp_path):
    class Stop(Exception):
        pass

    def stop(stage, done, total):
        if stage.startswith("training") and done == 5:
            raise Stop

    with pytest.raises(Stop):
        learn(run=Run(checkpoint=tmp_path, progress=stop))
    gone_on = learn(run=Run(checkpoint=tmp_path))
    for name, tensor in weights_of(learn()).items():
        assert torch.equal(tensor, weights_of(gone_on)[name])


# ---------------------------------------------------------------- state and bad input


@pytest.mark.parametrize(
    "options",
    [{}, {"standardise": True}, VIT],
    ids=["filter bank", "standardised", "transformer"],
)
def test_state_brings_everything_back(options):
    geometry = Geometry((HEIGHT, WIDTH), multiple=16)
    method = learn(geometry=geometry, epochs=1, **options)
    again = L2BT(method.options)
    again.restore(*method.state())
    image = draw_defective(1)
    np.testing.assert_array_equal(predict(again, image), predict(method, image))


def test_what_was_made_on_a_gpu_in_half_precision_runs_on_a_cpu_in_single():
    method = learn(geometry=Geometry((HEIGHT, WIDTH), multiple=16), epochs=1, **VIT)
    header, arrays = method.state()
    assert header["device"] == method.device_.type
    again = L2BT(method.options)
    again.restore({"backbone": {**header["backbone"], "bf16": True}, "device": "another"}, arrays)
    image = draw_defective(1)
    # Half precision only where there are units for it.
    np.testing.assert_allclose(predict(again, image), predict(method, image), atol=0.05)


def test_two_layers_are_needed():
    with pytest.raises(OptionError, match=r"name two, such as layers=7,11 .*, not '8'"):
        L2BT(L2BTOptions(strides=(8,)))
    with pytest.raises(OptionError, match="not '3,7,11'"):
        L2BT(L2BTOptions(layers=(3, 7, 11)))


def test_recomputing_the_teacher_needs_whole_images():
    with pytest.raises(OptionError, match="it needs batching=image"):
        L2BT(L2BTOptions(remember=False))


def test_an_unfolded_neighbourhood_is_as_long_as_asked_and_the_students_as_wide(fitted):
    method = learn(epochs=1, neighbourhood=3, unfold=32)
    assert method.students_.forward_student[0].in_features == 32
    assert predict(method, draw_good(1)).shape == predict(fitted, draw_good(1)).shape


@pytest.mark.parametrize(
    ("values", "said"), [({}, "set neighbourhood=3"), ({"neighbourhood": 3}, "9999 is more than")]
)
def test_an_unfolding_that_cannot_be_is_refused(values, said):
    with pytest.raises(OptionError, match=said):
        learn(unfold=9999, **values)


def test_nothing_to_learn_from_is_refused():
    method = L2BT(L2BTOptions(backbone="filter_bank", strides=(4, 8)))
    with pytest.raises(DataError, match="No training image has a valid patch"):
        method.learn(Samples(DataSet("d", ()), WHOLE), Run())


def test_the_published_setting_is_a_preset_and_its_teacher_the_default():
    detector = Detector("l2bt", "paper")
    assert detector.settings.interpolation == "bicubic"
    assert detector.settings.image_size == "1036"
    options = detector.options
    assert options.backbone == "vit_base_patch14_reg4_dinov2"
    assert (options.layers, options.epochs, options.learning_rate) == ((7, 11), 50, 1e-4)
    assert (options.train_batch, options.batching) == (4, "image")
    with pytest.raises(OptionError, match="needs weights=FILE"):
        detector.fit(plates())
