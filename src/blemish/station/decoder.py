"""The process that decodes images from strangers: ``python -m blemish.station.decoder``.

Requests come as one JSON line ``{"bytes": n, "mask": bool, "max_pixels": n}`` and n bytes; answers
go as one JSON line, ``{"shape": [H, W, 3]}`` followed by the pixels or ``{"error": text}``. It ends
when its input does. Memory is limited where the system can.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import blemish


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the input ends."""
    while line := source.readline():
        request = json.loads(line)
        header, pixels = _answer(source.read(request["bytes"]), request)
        sink.write(json.dumps(header).encode() + b"\n" + pixels)
        sink.flush()


def _answer(content: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        if request["mask"]:
            mask = blemish.read_mask(content, max_pixels=request["max_pixels"])
            return {"shape": list(mask.shape)}, mask.tobytes()
        info = blemish.read_info(content, max_pixels=request["max_pixels"])
        image = blemish.read_image(content, max_pixels=request["max_pixels"])
        return {"shape": list(image.shape), "format": info.format}, image.tobytes()
    except blemish.BlemishError as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "The image needs more memory than decoding may take."}, b""


def limit_memory(megabytes: int) -> None:
    """Let this process take no more memory than so many MB, where the system can limit it."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # POSIX only

        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 1_000_000,) * 2)


if __name__ == "__main__":
    limit_memory(int(sys.argv[1]))
    with suppress(BrokenPipeError):  # the station is gone, and so are we
        serve(sys.stdin.buffer, sys.stdout.buffer)
