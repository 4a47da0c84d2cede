"""Frames of a clip, evenly spread over it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from assistant.clip_reader import ClipReader
from assistant.errors import MediaError
from data.clips import Clip

MOST_SIDE = 4096
"""Longest side of a decoded frame, pixels: as large as clips are read at all."""


def frames_of(clip: Clip, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number in the clip, [H, W, 3] uint8 RGB) of at most `count` frames from first to last; all for 0.

    Raises:
        MediaError: a frame or the video file cannot be read.
    """
    if clip.is_video:
        yield from _decoded(clip, count)
        return
    for number in planned(len(clip.files), count):
        try:
            with Image.open(clip.files[number]) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise MediaError(f"The frame {clip.files[number].name} of {clip.name} cannot be read.") from None
        yield number, pixels


def planned(total: int, count: int) -> list[int]:
    """Numbers of `count` frames of `total`, first and last among them, each once; all of them for 0."""
    if not count or count >= total:
        return list(range(total))
    return sorted({round(number * (total - 1) / max(1, count - 1)) for number in range(count)})


def _decoded(clip: Clip, count: int) -> Iterator[tuple[int, np.ndarray]]:
    with ClipReader(clip.files[0], name=clip.name) as reader:
        # the container's frame count is a guess in some formats, so they are counted by decoding
        for number, frame in reader.numbered(planned(reader.count(), count), side=MOST_SIDE):
            yield number, frame.pixels
