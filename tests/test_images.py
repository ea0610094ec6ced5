import io
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from blemish.errors import ImageError, OptionError
from blemish.images import (
    is_image_name,
    read_image,
    read_info,
    read_mask,
    read_tiff,
    to_png_bytes,
    write_png,
    write_tiff,
)
from helpers import paint


def encode(image: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(*rows: list[int], dtype: type = np.int64) -> np.ndarray:
    return np.array(rows, dtype)


# -- files of every kind ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WebP"])
def test_a_lossless_file_gives_back_its_pixels(kind, tmp_path):
    image = paint(1)
    options = {"lossless": True} if kind == "WebP" else {}
    data = encode(Pillow.fromarray(image), kind, **options)
    path = tmp_path / "any.name"
    path.write_bytes(data)
    for source in (path, str(path), data):
        read = read_image(source)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, image)


def test_a_jpeg_is_told_by_its_content_not_its_name(tmp_path):
    path = tmp_path / "wrong.png"
    path.write_bytes(encode(Pillow.new("RGB", (8, 6), (200, 10, 20)), "JPEG", quality=95))
    assert np.abs(read_image(path).astype(int) - (200, 10, 20)).max() < 6
    assert read_info(path).format == "JPEG"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_exif_orientation_stands_the_image_upright(orientation, kind):
    # Four flat quadrants survive JPEG; whatever the orientation, a viewer shows the same.
    upright = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 16), np.uint8))
    undo = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright.T, 2),
        8: np.rot90(upright, -1),
    }
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encode(Pillow.fromarray(np.ascontiguousarray(undo[orientation])), kind, exif=exif)
    read = read_image(data)[..., 0]
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).max() < 3


def test_damaged_exif_beside_sound_pixels_is_no_reason_to_refuse():
    data = encode(Pillow.fromarray(paint(1)), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_image(data), paint(1))


def test_grey_one_bit_and_palette_become_rgb():
    values = grey([0, 255], [255, 0], dtype=np.uint8)
    for image in (
        Pillow.fromarray(values),
        Pillow.fromarray(values).convert("1"),
        Pillow.fromarray(values).convert("P"),
    ):
        read = read_image(encode(image))
        assert read.shape == (2, 2, 3)
        np.testing.assert_array_equal(read, np.repeat(values[..., None], 3, axis=2))


def test_alpha_is_dropped_and_the_colour_below_kept():
    colour = paint(2)
    alpha = np.zeros((6, 8, 1), np.uint8)
    data = encode(Pillow.fromarray(np.concatenate([colour, alpha], axis=2)))
    np.testing.assert_array_equal(read_image(data), colour)
    grey_alpha = Pillow.merge("LA", [Pillow.fromarray(colour[..., 0]), Pillow.new("L", (8, 6))])
    np.testing.assert_array_equal(read_image(encode(grey_alpha))[..., 1], colour[..., 0])


def test_a_palette_with_transparency_keeps_its_colours():
    image = Pillow.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    data = encode(image, transparency=b"\x00\x80")
    np.testing.assert_array_equal(read_image(data), [[[10, 20, 30], [40, 50, 60]]])


def test_cmyk_becomes_rgb():
    ink = Pillow.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow make red
    red = read_image(encode(ink, "JPEG", quality=95))[4, 4]
    assert red[0] > 240
    assert red[1] < 20
    assert red[2] < 20


def test_a_kind_of_pixel_that_cannot_be_read_faithfully_is_refused():
    with pytest.raises(ImageError, match=r"kind 'LAB'; save it as RGB"):
        read_image(encode(Pillow.new("LAB", (2, 2)), "TIFF"))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG", "WebP"])
def test_tiny_images_are_images(size, kind):
    assert read_image(encode(Pillow.new("L", size, 7), kind)).shape == (size[1], size[0], 3)


# -- 16 bits and floating point --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_the_bit_depth_never_by_the_image(kind):
    values = grey([0, 2048, 4095], dtype=np.uint16)
    data = encode(Pillow.fromarray(values), kind)
    assert read_image(data, bit_depth=12)[0, :, 0].tolist() == [0, 128, 255]
    assert read_image(data)[0, :, 0].tolist() == [0, 8, 16]  # dark, not stretched
    assert read_image(values, bit_depth=12)[0, :, 2].tolist() == [0, 128, 255]


def test_big_endian_and_32_bit_tiff_follow_the_same_rule():
    values = grey([0, 40000, 65535])
    big = encode(Pillow.fromarray(values.astype(">u2")), "TIFF")
    wide = encode(Pillow.fromarray(values.astype(np.int32)), "TIFF")
    expected = [0, 156, 255]
    assert read_image(big)[0, :, 0].tolist() == expected
    assert read_image(wide)[0, :, 0].tolist() == expected
    with pytest.raises(ImageError, match="values from -3 to 9, outside 0 to 65535"):
        read_image(encode(Pillow.fromarray(grey([-3, 9], dtype=np.int32)), "TIFF"))


def test_a_value_above_the_bit_depth_is_refused_not_clipped():
    with pytest.raises(ImageError, match=r"from 0 to 4096, outside 0 to 4095 of bit_depth=12"):
        read_image(grey([0, 4096], dtype=np.uint16), bit_depth=12)


def png_of_16_bit_colour(value: int) -> bytes:
    """A 1×1 PNG file of 16 bits per channel, which Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" + struct.pack(">HHH", value, value, value))
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def test_16_bit_colour_is_read_by_its_upper_bits_and_only_at_full_depth():
    data = png_of_16_bit_colour(0x80FF)
    assert read_info(data).bits == 16
    assert read_image(data).tolist() == [[[0x80] * 3]]
    with pytest.raises(ImageError, match="16 bits per colour channel"):
        read_image(data, bit_depth=12)
    with pytest.raises(ImageError, match="cannot be a mask"):
        read_mask(data)


def test_floating_point_is_read_in_0_to_1_only():
    half = np.full((2, 2), 0.5, np.float32)
    assert read_image(half)[0, 0, 0] == 128
    assert read_image(encode(Pillow.fromarray(half), "TIFF"))[0, 0, 0] == 128
    assert read_image(np.ones((2, 2, 3), np.float16)).min() == 255
    for wrong in (np.nan, np.inf, 1.01, -0.01, 255.0):
        with pytest.raises(ImageError, match=r"finite and in \[0, 1\]"):
            read_image(np.full((2, 2), wrong))


# -- arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3), (6, 8, 4)])
def test_arrays_of_each_shape_become_rgb(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    array.flags.writeable = False
    read = read_image(array)
    assert read.shape == (6, 8, 3)
    assert not np.shares_memory(read, array)
    expected = array[..., None] if array.ndim == 2 else array[..., :3]
    np.testing.assert_array_equal(read, np.broadcast_to(expected, (6, 8, 3)))


@pytest.mark.parametrize("shape", [(5,), (6, 8, 2), (3, 6, 8), (1, 6, 8, 3), (0, 8), (6, 0, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ImageError, match="the shape must be"):
        read_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [bool, np.int32, np.int64, np.uint32, np.complex64])
def test_arrays_of_another_type_are_refused_rather_than_guessed(dtype):
    with pytest.raises(ImageError, match="not uint8, uint16 or floating point"):
        read_image(np.zeros((2, 2), dtype))


@given(st.integers(8, 16), st.data())
def test_scaling_is_within_half_a_step_of_the_exact_value(bit_depth, data):
    value = data.draw(st.integers(0, 2**bit_depth - 1))
    read = read_image(np.full((1, 1), value, np.uint16), bit_depth=bit_depth)[0, 0, 0]
    assert abs(int(read) - 255 * value / (2**bit_depth - 1)) <= 0.5


# -- bad input -------------------------------------------------------------------------------


def test_a_missing_file_a_folder_and_an_empty_file_say_so(tmp_path):
    (tmp_path / "empty.png").touch()
    for name, sentence in {
        "none.png": "does not exist; check the path",
        ".": "is a folder, not an image",
        "empty.png": "is empty",
        "nul\0l.png": "cannot be opened",
    }.items():
        with pytest.raises(ImageError, match=sentence):
            read_image(f"{tmp_path}/{name}")


def test_a_text_file_called_png_is_told_by_its_first_bytes(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("hello world, these are notes")
    with pytest.raises(ImageError, match=r"notes\.png is not an image .*b'hello wo'"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG", "WebP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_refused_not_half_grey(kind, share, tmp_path):
    data = encode(Pillow.fromarray(paint(3, 64, 64)), kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="cut is damaged or truncated"):
        read_image(path)


def test_several_pages_are_refused():
    page = Pillow.new("L", (3, 3))
    for kind in ("TIFF", "PNG", "WebP"):
        others = [Pillow.new("L", (3, 3), 9), Pillow.new("L", (3, 3), 99)]
        data = encode(page, kind, save_all=True, append_images=others)
        with pytest.raises(ImageError, match="3 pages, and a file must be one photo"):
            read_image(data)


@given(st.binary(max_size=64), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM"]))
def test_noise_is_an_image_error_and_nothing_else(noise, magic):
    with pytest.raises(ImageError):
        read_image(magic + noise)


# -- limits ----------------------------------------------------------------------------------


def test_more_pixels_than_the_limit_are_refused_and_the_limit_can_be_raised():
    data = encode(Pillow.fromarray(paint(1)))
    for source in (data, paint(1)):
        with pytest.raises(ImageError, match="8×6 = 48 pixels, more than the limit max_pixels=47"):
            read_image(source, max_pixels=47)
        assert read_image(source, max_pixels=48).shape == (6, 8, 3)
    with pytest.raises(ImageError, match="raise max_pixels"):
        read_mask(data, max_pixels=10)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_our_limit_rules_above_the_one_of_pillow_which_is_left_as_it_was(kind, monkeypatch):
    data = encode(Pillow.fromarray(paint(1)), kind)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)  # 48 pixels would be an error
    threads = [threading.Thread(target=read_image, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_image(data).shape == (6, 8, 3)
    assert Pillow.MAX_IMAGE_PIXELS == 10


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(OptionError, match="max_pixels=0"):
        read_image(paint(1), max_pixels=0)
    with pytest.raises(OptionError, match="bit_depth=17"):
        read_image(paint(1), bit_depth=17)


# -- masks -----------------------------------------------------------------------------------


def test_every_pixel_that_is_not_black_is_defect_in_any_mode():
    values = grey([0, 1, 255], dtype=np.uint8)
    expected = [[False, True, True]]
    for image in (
        Pillow.fromarray(values),
        Pillow.fromarray(np.repeat(values[..., None], 3, axis=2)),
        Pillow.fromarray(values.astype(np.uint16)),
        Pillow.fromarray((values > 0).astype(np.uint8) * 255).convert("1"),
        Pillow.merge("LA", [Pillow.fromarray(values), Pillow.new("L", (3, 1))]),
    ):
        mask = read_mask(encode(image))
        assert mask.dtype == bool
        assert mask.tolist() == expected, image.mode
    assert read_mask(encode(Pillow.fromarray(values.astype(np.float32)), "TIFF")).tolist() == (
        expected
    )
    assert read_mask(values.astype(np.int64)).tolist() == expected


def test_a_palette_mask_counts_by_colour_not_by_index():
    image = Pillow.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.putdata([0, 1])
    assert read_mask(encode(image)).tolist() == [[True, False]]


def test_a_jpeg_mask_counts_from_half_brightness():
    drawn = np.zeros((32, 32), np.uint8)
    drawn[5:13, 9:17] = 255
    data = encode(Pillow.fromarray(drawn), "JPEG", quality=60)
    assert (np.asarray(Pillow.open(io.BytesIO(data)))[drawn == 0] > 0).any()
    np.testing.assert_array_equal(read_mask(data), drawn > 0)


# -- writing ---------------------------------------------------------------------------------


def test_png_round_trip_of_colour_grey_and_mask(tmp_path):
    write_png(tmp_path / "c.png", paint(4))
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), paint(4))
    np.testing.assert_array_equal(
        read_image(to_png_bytes(paint(4)[..., 0]))[..., 2], paint(4)[..., 0]
    )
    mask = paint(4)[..., 0] > 100
    assert read_image(to_png_bytes(mask)).max() == 255
    np.testing.assert_array_equal(read_mask(to_png_bytes(mask)), mask)
    assert to_png_bytes(np.asfortranarray(paint(4))) == to_png_bytes(paint(4))


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), paint(1)[:0]])
def test_what_is_no_picture_is_not_written(bad, tmp_path):
    with pytest.raises(ImageError, match="cannot become a PNG file"):
        write_png(tmp_path / "x.png", bad)
    assert not list(tmp_path.iterdir())


def test_raw_maps_survive_bit_for_bit(tmp_path):
    drawn = np.random.default_rng(0).normal(0, 1e3, (5, 7)).astype(np.float32)
    write_tiff(tmp_path / "map.tiff", drawn[:, ::-1])
    np.testing.assert_array_equal(read_tiff(tmp_path / "map.tiff"), drawn[:, ::-1])
    with pytest.raises(ImageError, match=r"A map is \(H, W\)"):
        write_tiff(tmp_path / "no.tiff", paint(1))
    write_png(tmp_path / "p.png", paint(1))
    with pytest.raises(ImageError, match="no floating-point map"):
        read_tiff(tmp_path / "p.png")


def test_suffixes_count_in_any_case(tmp_path):
    assert is_image_name(tmp_path / "A.JPG")
    assert not is_image_name(tmp_path / "A.txt")
