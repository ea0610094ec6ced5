"""Decoding in processes that may be killed: bounded in bytes, pixels, memory and time."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import blemish

MEDIA_TYPES = {
    "BMP": "image/bmp",
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WebP": "image/webp",
}


@dataclass(frozen=True)
class Decoded:
    """An image as the decoder read it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        media_type: What the file is by its content, such as ``image/png``.
    """

    pixels: NDArray[np.uint8]
    media_type: str

    @property
    def digest(self) -> str:
        """Of the pixels, as a detector remembers what it learned from."""
        return blemish.image_digest(self.pixels)


class Decoders:
    """A few decoding processes, started when first needed and again when one dies.

    Args:
        count: How many decode at the same time.
        max_pixels: Images with more pixels are refused by their header.
        seconds: Time that one image may take; then its process is killed.
        megabytes: Memory that a process may take, where the system can limit it.
    """

    def __init__(self, count: int, max_pixels: int, seconds: float, megabytes: int):
        self.max_pixels, self.seconds, self.megabytes = max_pixels, seconds, megabytes
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    def image(self, content: bytes) -> Decoded:
        """Decode an image file.

        Raises:
            ImageError: It is none, is damaged or too large, or takes too long.
        """
        header, pixels = self._ask(content, mask=False)
        shaped = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
        return Decoded(shaped, MEDIA_TYPES[header["format"]])

    def mask(self, content: bytes) -> NDArray[np.bool_]:
        """Decode a mask as (H, W) bool; every pixel that is not black is marked.

        Raises:
            ImageError: As for :meth:`image`.
        """
        header, pixels = self._ask(content, mask=True)
        return np.frombuffer(pixels, np.bool_).reshape(header["shape"])

    def close(self) -> None:
        """End the processes; those at work end when they are done."""
        while not self._idle.empty():
            _end(self._idle.get())

    def _ask(self, content: bytes, *, mask: bool) -> tuple[dict[str, Any], bytes]:
        request = {"bytes": len(content), "mask": mask, "max_pixels": self.max_pixels}
        late = False
        try:
            with self._process() as process:

                def kill() -> None:
                    nonlocal late
                    late = True
                    process.kill()

                watch = threading.Timer(self.seconds, kill)
                watch.start()
                try:
                    header, pixels = _exchange(process, request, content)
                finally:
                    watch.cancel()
        except (OSError, ValueError) as error:
            reason = f"took longer than {self.seconds:g} s" if late else "broke the decoder"
            raise blemish.ImageError(f"The image of {len(content)} bytes {reason}.") from error
        if "error" in header:
            raise blemish.ImageError(header["error"])
        return header, pixels

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        process = self._idle.get()
        try:
            if process is None or process.poll() is not None:
                process = self._start()
            yield process
        except BaseException:
            _end(process)
            process = None
            raise
        finally:
            self._idle.put(process)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "blemish.station.decoder", str(self.megabytes)]
        # Threads of numeric libraries would each reserve memory of the limit.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )


def _exchange(
    process: subprocess.Popen[bytes], request: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], bytes]:
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipe")
    process.stdin.write(json.dumps(request).encode() + b"\n" + content)
    process.stdin.flush()
    header = json.loads(process.stdout.readline() or b"no answer")
    size = int(np.prod(header.get("shape", [0])))
    pixels = process.stdout.read(size)
    if len(pixels) != size:
        raise OSError("the decoder ended early")
    return header, pixels


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    process.wait()
