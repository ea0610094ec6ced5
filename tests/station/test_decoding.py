import struct
import sys
import zlib

import numpy as np
import pytest

from blemish import ImageError, to_png_bytes
from blemish.station.decoding import Decoders
from drawn import draw_good


@pytest.fixture(scope="module")
def decoders():
    made = Decoders(1, max_pixels=100_000, seconds=20, megabytes=1500)
    yield made
    made.close()


def bomb(side):
    """A PNG file of a few kB that claims side × side pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * min(side * (3 * side + 1), 20_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_an_image_comes_back_pixel_by_pixel(decoders):
    decoded = decoders.image(to_png_bytes(draw_good(0)))
    assert np.array_equal(decoded.pixels, draw_good(0))
    assert decoded.media_type == "image/png"


def test_a_mask_is_where_it_is_not_black(decoders):
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    assert np.array_equal(decoders.mask(to_png_bytes(mask)), mask)


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\n garbage"])
def test_what_is_no_image_is_refused_and_the_next_one_is_read(decoders, content):
    with pytest.raises(ImageError):
        decoders.image(content)
    with pytest.raises(ImageError):
        decoders.mask(content)
    assert decoders.image(to_png_bytes(draw_good(1))).pixels.shape == (64, 96, 3)


def test_a_decompression_bomb_is_refused_by_its_header(decoders):
    with pytest.raises(ImageError, match="pixels"):
        decoders.image(bomb(60_000))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit memory this way")
def test_an_image_that_needs_too_much_memory_is_refused():
    greedy = Decoders(1, max_pixels=10**9, seconds=20, megabytes=700)
    with pytest.raises(ImageError):
        greedy.image(bomb(20_000))
    greedy.close()


def test_decoding_that_takes_too_long_is_killed_and_another_process_takes_over():
    slow = Decoders(1, max_pixels=100_000, seconds=0.001, megabytes=1500)
    with pytest.raises(ImageError, match=r"longer than 0.001 s"):
        slow.image(to_png_bytes(draw_good(0)))
    slow.seconds = 20
    assert slow.image(to_png_bytes(draw_good(0))).pixels.shape == (64, 96, 3)
    slow.close()
