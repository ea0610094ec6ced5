import io
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage, stats

from blemish import options, registry
from blemish.datasets import battery_plate
from blemish.datasets.base import DataSet, Record
from blemish.datasets.battery_plate import BatteryPlate
from blemish.datasets.drawing.camera import expose, place_plate, sample_shot, table
from blemish.datasets.drawing.plate import OUTLINE, REGIONS, draw_plate
from blemish.errors import DataError, OptionError, UnknownNameError

PLATE_AREA = (OUTLINE[2] - OUTLINE[0]) * (OUTLINE[3] - OUTLINE[1])


def source(**values: object) -> BatteryPlate:
    return BatteryPlate(None, options.build(BatteryPlate.Options, values, "data set battery_plate"))


def data_set(**values: object) -> DataSet:
    records, warnings = source(**values).records(None)
    assert not warnings
    return DataSet("battery_plate", records=tuple(records))


def by_number(data: DataSet, text: str) -> Record:
    return next(r for r in data if text in r.key)


def test_it_is_registered_and_needs_no_folder():
    assert registry.get("datasets", "battery_plate") is BatteryPlate
    assert BatteryPlate(None, BatteryPlate.Options()).categories() == ()


def test_the_default_set_has_the_counts_of_the_set_that_it_stands_in_for():
    data = data_set()
    assert len(data) == 260
    assert len(data.select(defective=True)) == 53
    assert len(data.select("train")) == 147
    assert not any(r.defective for r in data.select("train"))
    assert len(data.select("test", defective=False)) == 60
    assert len({r.group for r in data}) == 260
    kinds = Counter(r.defect_type for r in data if r.defective)
    assert set(kinds) == {"scratch", "dent", "stain", "missing"}
    assert min(kinds.values()) == 13


@pytest.mark.parametrize(("good", "train", "test"), [(2, 1, 1), (3, 2, 1), (100, 71, 29)])
def test_both_splits_have_good_plates_however_few_there_are(good: int, train: int, test: int):
    data = data_set(good=good, defective=0)
    assert (len(data.select("train")), len(data.select("test"))) == (train, test)


def test_an_image_depends_on_its_seed_and_number_alone():
    data = data_set(good=4, defective=3, seed=1)
    first = {r.key: r.image() for r in data}
    battery_plate._whole_view.cache_clear()
    state = np.random.get_state()[1].copy()
    again = {r.key: r.image() for r in reversed(data.records)}
    assert np.array_equal(np.random.get_state()[1], state)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    larger = data_set(good=9, defective=5, seed=1)
    for record in data:
        twin = by_number(larger, record.key.rsplit("/", 1)[1])
        assert np.array_equal(first[record.key], twin.image())
    other = by_number(data_set(good=4, defective=3, seed=2), "good_001")
    assert not np.array_equal(other.image(), first["train/good/good_001.png"])


def test_plates_differ_from_each_other():
    data = data_set(good=3, defective=3)
    data.check_disjoint()
    assert len(set(data.hashes.values())) == 6


def test_images_may_be_written_to_and_drawn_from_several_threads():
    data = data_set(good=6, defective=4, seed=3)
    alone = [r.image() for r in data]
    for image in alone:
        assert image.shape == (1200, 240, 3)
        assert image.dtype == np.uint8
    expected = [image.copy() for image in alone]
    alone[0][:] = 0
    battery_plate._whole_view.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda r: r.image(), [r for r in data for _ in range(2)]))
    for place, image in enumerate(drawn):
        assert np.array_equal(image, expected[place // 2])


def test_records_may_be_sent_to_another_process():
    record = data_set(good=2, defective=1).records[2]
    sent = pickle.loads(pickle.dumps(record))
    assert sent.key == record.key
    assert np.array_equal(sent.image(), record.image())
    assert np.array_equal(sent.mask(), record.mask())


def test_light_blur_and_noise_differ_between_plates():
    images = [r.image().astype(float) for r in data_set(good=20, defective=0, seed=3)]
    panels = [image[500:700, 60:180] for image in images]
    levels = [panel.mean() for panel in panels]
    assert max(levels) > 1.2 * min(levels)
    noise = [np.diff(panel[..., 1], axis=1).std() for panel in panels]
    assert max(noise) > 1.5 * min(noise)
    slopes = [image[100, 20:26].mean() / image[100, 214:220].mean() for image in images]
    assert np.std(slopes) > 0.03


def test_every_mask_is_one_small_region_in_the_part_that_the_key_names():
    data = data_set(good=2, defective=120, seed=4)
    areas = []
    for record in data.select(defective=True):
        mask = record.mask()
        assert mask.shape == (1200, 240)
        assert mask.dtype == bool
        rows = np.flatnonzero(mask.any(1))
        top, bottom = REGIONS[record.key.rsplit("_", 1)[1].removesuffix(".png")]
        assert top <= rows[0] <= rows[-1] < bottom
        areas.append(mask.sum())
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    assert np.median(areas) <= 0.001 * PLATE_AREA
    assert min(areas) >= 20
    assert max(areas) <= 0.003 * PLATE_AREA


def healed(record: Record) -> np.ndarray:
    """The same shot of the same plate before it was damaged."""
    plate = record.image.args[0]
    rng = plate.stream(battery_plate._SHOT)
    shot = sample_shot(rng)
    canvas = draw_plate(plate.stream(battery_plate._PLATE))
    colours, alpha = place_plate(canvas, plate.pose(None), (0, 0, 240, 1200))
    scene = table(rng, (1200, 240))
    scene.paste(colours, (0, 0), alpha)
    return expose(shot, np.asarray(scene))


def test_a_mask_covers_all_that_the_defect_changed_and_no_more():
    contrasts = []
    for record in data_set(good=2, defective=24, seed=5).select(defective=True):
        change = np.abs(record.image().astype(int) - healed(record)).max(-1)
        mask = record.mask()
        # Moving and blurring a plate spreads a change by three pixels at most.
        assert change[~ndimage.binary_dilation(mask, np.ones((3, 3)), 3)].max() == 0
        assert (change[mask] > 4).mean() > 0.4
        contrasts.append(np.percentile(change[mask], 75))
    assert np.median(contrasts) > 25


def test_regions_are_cut_out_of_the_same_plates_and_labelled_by_their_masks():
    whole = data_set(good=3, defective=20, seed=6)
    found = 0
    for region, (top, bottom) in REGIONS.items():
        parts = data_set(good=3, defective=20, seed=6, region=region)
        assert [r.split for r in parts] == [r.split for r in whole]
        assert [r.group for r in parts] == [r.group for r in whole]
        for part, record in zip(parts, whole, strict=True):
            mask = whole.mask(record, (1200, 240))[top:bottom]
            assert part.defective == mask.any()
            assert (part.defect_type == "good") == (not mask.any())
            assert np.array_equal(parts.mask(part, (400, 240)), mask)
            found += part.defective
        assert np.array_equal(parts.records[4].image(), whole.records[4].image()[top:bottom])
    assert found == 20


def test_the_truth_of_a_plate_is_near_the_nominal_pose():
    plates = source(good=30, defective=2, seed=7)
    assert plates.truth("train/good/good_000.png").region is None
    for record in plates.records(None)[0]:
        truth = plates.truth(record.key)
        assert truth.kind == record.defect_type
        assert np.hypot(truth.pose.x - 120, truth.pose.y - 600) <= 2
        assert abs(truth.pose.angle) <= 1
        assert (truth.pose.corners > 0).all()
        assert (truth.pose.corners < (240, 1200)).all()
        assert truth.covered is None
        assert record.mm_per_pixel == pytest.approx(0.15)


def test_the_truth_of_an_unknown_key_is_refused():
    with pytest.raises(DataError, match="no image 'train/good/good_999"):
        source(good=2).truth("train/good/good_999.png")


def auroc(scores: list[float], defective: list[bool]) -> float:
    ranks, positive = stats.rankdata(scores), np.array(defective)
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def file_size(image: np.ndarray) -> int:
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "png", compress_level=1)
    return file.tell()


def test_no_trivial_score_tells_good_from_defective():
    found = []
    for seed in (0, 1, 2):
        data = data_set(good=50, defective=30, seed=seed)
        mean = np.mean([r.image() for r in data.select("train").records[:20]], 0, np.float32)
        records = data.select("train").records[20:] + data.select("test").records
        images = [r.image() for r in records]
        differences = [np.abs(image - mean) for image in images]
        labels = [r.defective for r in records]
        scores = {
            "brightness": [image.mean() for image in images],
            "file size": [file_size(image) for image in images],
            "largest difference": [d.max() for d in differences],
            "mean difference": [d.mean() for d in differences],
        }
        found.append({name: auroc(values, labels) for name, values in scores.items()})
    for name in found[0]:
        mean_auroc = np.mean([figures[name] for figures in found])
        assert 0.35 <= mean_auroc <= 0.65, f"{name}: image AUROC {mean_auroc:.3f}"


def test_a_photo_shows_the_whole_plate_turned_on_a_bench():
    photos = source(view="photo", size="400x600", good=6, defective=4, seed=8)
    scales = []
    for record in photos.records(None)[0]:
        image, truth = record.image(), photos.truth(record.key)
        assert image.shape == (600, 400, 3)
        assert image.dtype == np.uint8
        assert (truth.pose.corners > 0).all()
        assert (truth.pose.corners < (400, 600)).all()
        assert abs(truth.pose.angle) <= 10
        assert record.mm_per_pixel == pytest.approx(0.15 / truth.pose.scale)
        scales.append(truth.pose.scale)
    assert max(scales) < 0.5


def test_the_mask_of_a_photo_goes_back_onto_the_plate():
    photos = source(view="photo", size="1024x1500", good=2, defective=8, seed=9)
    views = source(good=2, defective=8, seed=9)
    pairs = zip(photos.records(None)[0], views.records(None)[0], strict=True)
    for photo, view in [pair for pair in pairs if pair[0].defective]:
        matrices = [s.truth(r.key).pose.matrix for s, r in ((photos, photo), (views, view))]
        centres = []
        for record, matrix in zip((photo, view), matrices, strict=True):
            y, x = np.argwhere(record.mask()).mean(0) + 0.5
            centres.append(np.linalg.solve(matrix, (x, y, 1))[:2])
        assert np.abs(centres[0] - centres[1]).max() < 0.7


def test_a_photo_that_is_put_upright_shows_the_plate_of_the_plate_view():
    photos = source(view="photo", size="800x1200", good=2, defective=2, seed=2)
    views = source(good=2, defective=2, seed=2)
    for photo, view in zip(photos.records(None)[0], views.records(None)[0], strict=True):
        # From pixels of the view to units, from units to pixels of the photo.
        to_photo = photos.truth(photo.key).pose.matrix
        to_photo = to_photo @ np.linalg.inv(views.truth(view.key).pose.matrix)
        upright = Pillow.fromarray(photo.image()).transform(
            (240, 1200), Pillow.Transform.AFFINE, to_photo[:2].ravel().tolist()
        )
        one = np.asarray(upright, float)[60:1140, 20:220].mean(-1)
        two = view.image()[60:1140, 20:220].astype(float).mean(-1)
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95


def test_photos_have_different_benches():
    photos = data_set(view="photo", size="320x480", good=8, defective=0, seed=4)
    colours = [r.image()[:, :8].mean((0, 1)) for r in photos]
    assert np.std(colours, axis=0).max() > 10


def test_a_photo_is_drawn_the_same_each_time():
    photo = data_set(view="photo", size="400x600", good=2, defective=1).records[2]
    assert np.array_equal(photo.image(), photo.image())


def test_what_covers_a_plate_never_covers_its_defect():
    photos = source(view="photo", size="400x600", good=4, defective=6, seed=1, covered=1.0)
    clear = source(view="photo", size="400x600", good=4, defective=6, seed=1)
    ends = set()
    pairs = zip(photos.records(None)[0], clear.records(None)[0], strict=True)
    for photo, same in pairs:
        truth = photos.truth(photo.key)
        assert truth.covered in ("anode", "cathode")
        ends.add(truth.covered)
        changed = (photo.image() != same.image()).any(-1)
        assert changed.mean() > 0.005
        if photo.defective:
            assert truth.covered != truth.region
            assert not changed[photo.mask()].any()
    assert ends == {"anode", "cathode"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"view": "photo", "size": "large"}, "not of the form 1024x1500"),
        ({"view": "photo", "size": "4097x6000"}, "from 320x480 to 4096x6000"),
        ({"view": "photo", "size": "100x150"}, "out of limits"),
        ({"view": "photo", "region": "anode"}, "use view=plate"),
        ({"region": "separator"}, "not one of whole, anode, glass, cathode"),
        ({"good": 1}, "below the smallest value 2"),
        ({"covered": 1.5}, "above the largest value 1"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused(values: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        source(**values)


def test_an_unknown_option_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'region'"):
        source(regions="anode")


def test_the_size_of_a_photo_is_no_matter_without_a_photo():
    assert source(size="large").options.view == "plate"


def test_a_category_is_refused_with_the_option_to_use():
    with pytest.raises(DataError, match="use its option region"):
        source().records("anode")


def test_the_mask_functions_of_a_good_plate_are_empty():
    plate = data_set(good=2, defective=0).records[0].image.args[0]
    assert not battery_plate._mask_of_view(plate, "glass").any()
    assert battery_plate._mask_of_photo(plate, (400, 600)).shape == (600, 400)


@pytest.mark.slow
def test_the_largest_photo_takes_less_than_a_gigabyte():
    resource = pytest.importorskip("resource")
    record = data_set(view="photo", size="4096x6000", good=2, defective=1).records[2]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert record.image().shape == (6000, 4096, 3)
    assert record.mask().any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 800_000  # kB
