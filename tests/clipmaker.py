"""Small clips of any container, made on the spot by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "gif": "gif"}


def moving_square(count: int = 24, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """[n, H, W, 3] uint8: a bright square that goes from left to right over a ground with a gradient."""
    width, height = size
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = np.linspace(40, 110, width, dtype=np.uint8)[None, None, :, None]
    for number in range(count):
        x = round(number / max(1, count - 1) * (width - 16))
        frames[number, height // 2 - 8 : height // 2 + 8, x : x + 16] = (230, 220, 60)
    return frames


def write_clip(
    file: Path, frames: np.ndarray, rate: int = 12, times: Sequence[float] | None = None, turn: int = 0, gop: int = 12
) -> Path:
    """Writes [n, H, W, 3] uint8 RGB frames, at these seconds when given; returns the file."""
    codec = CODECS[file.suffix[1:]]
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        if codec != "gif":
            stream.codec_context.gop_size = gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * times[number])
            else:
                frame.time_base, frame.pts = Fraction(1, rate), number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file


def write_sound(file: Path) -> Path:
    """A file with a second of sound and no picture."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file
