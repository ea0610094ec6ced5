from dataclasses import dataclass, field

import numpy as np
import pytest

from blemish.errors import BlemishError, ImageError
from blemish.maps import Post, pool_score, smooth
from blemish.methods.base import Method, Output
from blemish.pipeline import Pipeline
from blemish.preprocess import Cutter, Geometry
from drawn import draw_good


@dataclass
class Brightness(Method):
    """The map is the red channel; scores and pictures when asked for."""

    scored: bool = False
    pictured: bool = False
    broken: bool = False
    sizes: list[int] = field(default_factory=list)

    def predict_batch(self, x, valid, keys):
        assert len(x) == len(valid) == len(keys)
        self.sizes.append(len(x))
        maps = x[..., 0].copy()
        scores = x.mean(axis=(1, 2, 3)).astype(float) if self.scored else None
        if self.broken:
            maps[0, 0, 0] = np.nan
        return Output(maps, scores, {"seen": x} if self.pictured else {})


def analyse(images, geometry, method=None, post=None, batch_size=8):
    pipeline = Pipeline(geometry, method or Brightness(), post or Post(), batch_size)
    return list(pipeline.analyse(enumerate(images), lambda item: (str(item[0]), item[1])))


IMAGES = [draw_good(i, 20 + 3 * i, 30) for i in range(7)]


def test_a_score_is_pooled_from_the_map_where_the_method_gives_none():
    (found,) = analyse(IMAGES[:1], Geometry((20, 30)))
    assert found.key == "0"
    assert found.score == pytest.approx(IMAGES[0][..., 0].max() / 255)
    np.testing.assert_allclose(found.anomaly_map, IMAGES[0][..., 0] / 255, atol=1e-6)


def test_a_score_of_the_method_is_taken_as_it_is():
    (found,) = analyse(IMAGES[:1], Geometry((20, 30)), Brightness(scored=True))
    assert found.score == pytest.approx(IMAGES[0].mean() / 255, rel=1e-4)


def test_tiles_give_the_largest_of_their_scores():
    geometry = Geometry((40, 40), tile=20, overlap=0.0)
    image = np.zeros((40, 40, 3), np.uint8)
    image[20:, 20:] = 200
    (found,) = analyse([image], geometry, Brightness(scored=True))
    assert found.score == pytest.approx(200 / 255)


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_batch_size_changes_nothing(batch_size, tile):
    geometry = Geometry((32, 40), tile=tile)
    method = Brightness(scored=True)
    expected = [analyse([image], geometry, Brightness(scored=True))[0] for image in IMAGES]
    found = analyse(IMAGES, geometry, method, batch_size=batch_size)
    assert [f.key for f in found] == [str(i) for i in range(7)]
    assert max(method.sizes) <= batch_size
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score)
        np.testing.assert_allclose(one.anomaly_map, other.anomaly_map, atol=1e-6)


def test_smoothing_at_the_size_of_the_image_is_another_than_on_the_canvas():
    image = draw_good(1, 40, 60)
    canvas = analyse([image], Geometry((20, 30)), post=Post(blur=2.0))[0]
    frame = analyse([image], Geometry((20, 30)), post=Post(blur=2.0, frame="image"))[0]
    assert canvas.anomaly_map.shape == frame.anomaly_map.shape == (40, 60)
    # Two pixels of the canvas are four of the image: more is smoothed away.
    assert canvas.anomaly_map.std() < frame.anomaly_map.std()


@pytest.mark.parametrize("frame", ["canvas", "image"])
def test_outside_the_region_of_interest_nothing_is_scored(frame):
    roi = np.zeros((40, 60), bool)
    roi[:, :30] = True
    image = np.full((40, 60, 3), 10, np.uint8)
    image[:, 30:] = 255
    (found,) = analyse([image], Geometry((40, 60), roi=roi), post=Post(blur=2.0, frame=frame))
    assert found.score == pytest.approx(10 / 255, rel=1e-3)
    assert not found.anomaly_map[~roi].any()
    np.testing.assert_array_equal(found.valid, roi)


def test_pictures_come_without_padding_and_belong_to_their_image():
    geometry = Geometry((32, 32))
    found = analyse(IMAGES, geometry, Brightness(pictured=True), batch_size=3)
    for image, analysis in zip(IMAGES, found, strict=True):
        layout = geometry.layout(image.shape[:2])
        assert analysis.pictures["seen"].shape == (*layout.canvas_shape, 3)
        assert analysis.pictures["seen"].dtype == np.uint8
    np.testing.assert_array_equal(
        found[4].pictures["seen"],
        analyse(IMAGES[4:5], geometry, Brightness(pictured=True))[0].pictures["seen"],
    )


def test_tiles_have_no_pictures():
    (found,) = analyse(IMAGES[:1], Geometry((32, 32), tile=16), Brightness(pictured=True))
    assert found.pictures == {}


def test_a_map_that_is_not_a_number_is_an_error_with_the_name_of_the_image():
    with pytest.raises(BlemishError, match=r"^0 got a score or map that is not a number"):
        analyse(IMAGES[:1], Geometry((20, 30)), Brightness(broken=True))


def test_an_image_that_cannot_be_read_stops_at_its_place():
    def read(number):
        if number == 2:
            raise ImageError("no image")
        return str(number), IMAGES[number]

    found = Pipeline(Geometry((20, 30)), Brightness(), Post(), 1).analyse(range(4), read)
    assert [next(found).key for _ in range(2)] == ["0", "1"]
    with pytest.raises(ImageError, match="no image"):
        next(found)


def test_no_images_no_analyses():
    assert analyse([], Geometry((20, 30))) == []


@pytest.mark.parametrize("shape", [(20, 30), (60, 90), (33, 30), (16, 48)])
def test_a_map_for_the_image_is_interpolated_once_and_blurred_on_the_way(shape):
    """The same as upsampling to the image and blurring there, also beside padding."""
    post = Post(boxes=(5, 7), frame="image", pool="top_share", pool_value=0.01)
    image = draw_good(3, *shape)
    geometry = Geometry((20, 30), multiple=8)
    (found,) = analyse([image], geometry, post=post)
    pixels, _, layout = geometry.views(image)
    canvas = geometry.to_canvas(pixels[..., 0].astype(np.float32) / 255, layout)
    expected = smooth(geometry.to_image(canvas, layout), None, post)
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-5)
    assert found.score == pytest.approx(pool_score(expected, None, post), abs=1e-5)


@pytest.mark.parametrize(
    "limits", [{"crop": (0.0, 0.0, 0.5, 1.0)}, {"roi": True}, {"tile": 16}], ids=str
)
def test_with_crop_region_or_tiles_a_map_for_the_image_goes_over_the_canvas(limits):
    image = draw_good(3, 20, 30)
    if "roi" in limits:
        limits = {"roi": np.arange(600).reshape(20, 30) % 30 < 15}
    post = Post(boxes=(5,), frame="image")
    (found,) = analyse([image], Geometry((20, 30), **limits), post=post)
    assert found.anomaly_map.shape == (20, 30)
    if "tile" not in limits:
        assert not found.anomaly_map[:, 15:].any()
        assert found.anomaly_map[:, :15].all()


def test_tiles_are_cut_while_the_method_works_not_all_at_once(monkeypatch):
    geometry, cut, waiting = Geometry((256, 256), tile=16, overlap=0), Cutter.cut, []

    def count(cutter, number):
        waiting.append(number)
        return cut(cutter, number)

    class Slow(Brightness):
        most = 0

        def predict_batch(self, x, valid, keys):
            self.most = max(self.most, len(waiting))
            del waiting[: len(x)]
            return super().predict_batch(x, valid, keys)

    monkeypatch.setattr(Cutter, "cut", count)
    method = Slow()
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    (found,) = Pipeline(geometry, method, Post(), 2).analyse([image], lambda i: ("", i))
    assert found.anomaly_map.shape == (256, 256)
    assert method.most <= 8, "of 256 tiles"


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("post", [Post(blur=2.0), Post(blur=1.0, boxes=(3, 5)), Post()], ids=str)
def test_a_blur_on_the_way_to_the_canvas_is_the_blur_of_the_canvas(fit, post):
    geometry = Geometry((24, 40), fit=fit, crop=(0.1, 0, 1, 0.9), multiple=8)
    (found,) = analyse(IMAGES[3:4], geometry, post=post)
    cutter = geometry.cutter(IMAGES[3])
    pixels, _ = cutter.cut(0)
    canvas = geometry.to_canvas(pixels[None, ..., 0] / np.float32(255), cutter.layout)
    expected = geometry.to_image(smooth(canvas, None, post), cutter.layout)
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-6)
    assert found.score == pytest.approx(smooth(canvas, None, post).max(), rel=1e-5)
