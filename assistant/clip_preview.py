"""A clip to be shown before and beside its look: its first frame, and a copy that every browser plays.

Everything of the file is decoded by `clip_reader`'s child process; what is encoded here are pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from assistant.clip_reader import ClipReader, Limits
from assistant.errors import MediaError
from assistant.types import ClipFile, Frame

PLAYED = {
    ("mov", ".mp4"): ("h264 yuv420p", "h264 yuvj420p", "vp9 yuv420p", "av1 yuv420p"),
    ("matroska", ".webm"): ("vp8 yuv420p", "vp9 yuv420p", "av1 yuv420p"),
}
"""(container, ending): codings that Chromium, Firefox and Safari play as they are."""
SIDE = 480
"""Longest side of the copy, pixels."""
RATE, MOST = 12.0, 480
"""Frames a second of the copy, and frames of it in all: a long clip becomes a show of slides."""
LIMITS = Limits(cpu=20, wall=20.0)
"""What the copy may cost; a clip that takes more is not shown in the player."""
POSTER_SIDE = 640
TICK = Fraction(1, 1000)
"""Of a copy's clock, seconds."""
OPTIONS = {"preset": "ultrafast", "crf": "27", "g": "12"}


@dataclass(frozen=True, eq=False)
class OpenedClip(ClipFile):
    """A clip that could be opened.

    Attributes:
        poster: its first frame, at most POSTER_SIDE pixels long.
        duration: seconds.
        plays: whether browsers play the file as it is.
        label: display name, harmless as `media.safe_name` makes it.
    """

    poster: Frame = None  # type: ignore[assignment]
    duration: float = 0.0
    plays: bool = False
    label: str = "clip"


def open_clip(source: bytes | os.PathLike, *, name: str | None = None) -> OpenedClip:
    """Opens a clip and decodes its first frame; errors as `ClipReader`, MediaError also when there is no frame.

    Args:
        source: the bytes of a file, or a path object that the program's owner vouches for.
        name: display name, by default the file's own.
    """
    with ClipReader(source, name=name) as reader:
        first = next(iter(reader.frames([0.0], side=POSTER_SIDE)), None)
        if first is None:
            raise MediaError(f"Of '{reader.name}' no frame can be decoded.")
        ending = Path(source).suffix.lower() if isinstance(source, os.PathLike) else ""
        plays = reader.coding in PLAYED.get((reader.container, ending), ())
        return OpenedClip(source, name, first.frame, reader.duration, plays, reader.name)


def write_preview(clip: ClipFile, file: Path) -> Path:
    """Writes a copy without sound as H.264 in MP4, upright, whose seconds are the clip's own; returns the file.

    Args:
        clip: what is copied.
        file: where to; its folder exists.

    Raises:
        MediaError: the clip cannot be decoded within LIMITS, or the copy cannot be encoded.
    """
    with ClipReader(clip.source, name=clip.name, limits=LIMITS) as reader:
        rate = min(RATE, reader.rate or RATE, MOST / reader.duration)
        count = max(1, int(reader.duration * rate))
        frames = reader.frames([number / rate for number in range(count)], side=SIDE)
        first = next(frames, None)
        if first is None:
            raise MediaError(f"Of '{reader.name}' no frame can be decoded.")
        try:
            with av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"}) as out:
                coded = _Coded(out, first.frame, rate)
                for grab in chain([first], frames):
                    coded.add(grab.frame.pixels, grab.frame.time)
                coded.end(reader.duration)
        except (av.FFmpegError, OSError):
            file.unlink(missing_ok=True)
            raise MediaError(f"'{reader.name}' cannot be copied for the browser.") from None
    return file


class _Coded:
    """An H.264 stream whose frames are shown at the seconds they are given with; `rate` is about how many a second."""

    def __init__(self, out: av.container.OutputContainer, first: Frame, rate: float) -> None:
        self._out, self._step = out, 1 / rate
        self._stream = out.add_stream("libx264", rate=max(1, round(rate)), options=OPTIONS)
        self._stream.width, self._stream.height = (max(2, side // 2 * 2) for side in first.size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = TICK
        self._last: tuple[int, np.ndarray] | None = None

    def add(self, pixels: np.ndarray, time: float) -> None:
        """One frame [H, W, 3] uint8; one that is not later than the one before is left out."""
        at = round(time / TICK)
        if self._last is not None and at <= self._last[0]:
            return
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        frame.pts, frame.time_base = at, TICK
        self._out.mux(self._stream.encode(frame))
        self._last = at, pixels

    def end(self, duration: float) -> None:
        """The last frame stays until the clip's end."""
        if self._last is not None:
            self.add(self._last[1], duration - self._step)
        self._out.mux(self._stream.encode())
