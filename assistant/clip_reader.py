"""Clips of any supported container as frames at chosen times, decoded in a child process under limits.

A clip that crashes, hangs or floods the decoder gives one sentence; this process goes on. Only the asked frames are
decoded from the nearest key frame on, so the cost follows their number and not the clip's length.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from assistant.errors import MediaError
from assistant.media import MAX_BYTES, open_file, safe_name, sniff_kind
from assistant.types import Frame

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
"""Endings by which clips are known; a file's content decides what it is."""
SIDE = 960
"""Longest side of a frame that is handed out, pixels."""
MINIMUM_DURATION = 1e-3
USABLE = "Use an MP4, WebM, MKV, AVI, MOV or GIF clip."


@dataclass(frozen=True)
class Limits:
    """What one clip may cost.

    Attributes:
        memory: address space of the decoding process, bytes.
        cpu: CPU seconds of the decoding process.
        wall: seconds that this process waits for it in all.
        frames: frames it may decode in all.
        pixels: width x height of one frame.
        duration: seconds of a clip.
    """

    memory: int = 1_500_000_000
    cpu: int = 60
    wall: float = 90.0
    frames: int = 40_000
    pixels: int = 4096 * 2304
    duration: float = 4 * 3600.0


@dataclass(frozen=True, eq=False)
class Grab:
    """A frame shown at a wanted time, and a later one to see what moved; None at the end of a clip."""

    frame: Frame
    later: Frame | None = None


class ClipReader:
    """One clip, open for reading. A context manager; the child process ends with it.

    Attributes:
        name: display name without folders.
        duration: seconds from the first frame to the end of the last, > 0.
        size: (width, height) of the upright picture with square pixels.
        rate: frames a second as the container says, 0.0 when it says nothing.
        container: "mov" (MP4 too), "matroska" (WebM too), "avi" or "gif".
        coding: codec and pixel format, as "h264 yuv420p".
        notes: what was noticed while opening, one sentence each.

    Raises:
        TypeError: the source is neither bytes nor a path object.
        MediaError: it cannot be used as a clip.
    """

    def __init__(self, source: bytes | os.PathLike, *, name: str | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._child: subprocess.Popen[bytes] | None = None
        if isinstance(source, bytes):
            self.name = _named(name or "")
            file = _kept(source, self.name)
        elif isinstance(source, os.PathLike):
            self.name = _named(name or os.path.basename(os.fsdecode(source)))
            file = open_file(source, self.name, "clip", USABLE)
        else:
            raise TypeError(f"A clip is bytes or a pathlib.Path of the program's owner, not {type(source).__name__}.")
        with file:
            self.container = _container(file.read(64), self.name)
            file.seek(0)
            self._left = self.limits.wall
            self._start(file, self.container)
        try:
            values = self._answer()
            claimed, self.rate = float(values["claimed"]), float(values["rate"])
            self.size = (int(values["size"][0]), int(values["size"][1]))
            self.coding = str(values["coding"])
            self.duration = max(float(values["duration"]), MINIMUM_DURATION)
            self.notes = self._noticed(claimed, int(values["turn"]))
        except BaseException:
            self.close()
            raise

    def _noticed(self, claimed: float, turn: int) -> tuple[str, ...]:
        most = self.limits.duration
        if self.duration > most:
            raise MediaError(
                f"'{self.name}' is {self.duration / 3600:.1f} hours long; clips of at most {most / 3600:g} hours are "
                "looked at.", "Cut it first.",
            )  # fmt: skip
        notes = []
        if claimed > 1.1 * self.duration + 1:
            notes.append(
                f"The file says it is {claimed:.1f} s long, but holds {self.duration:.1f} s: only those were looked at."
            )
        if turn:
            notes.append("The clip was turned upright as its rotation says.")
        return tuple(notes)

    def frames(self, times: Sequence[float], *, after: float = 0.0, side: int = SIDE) -> Iterator[Grab]:
        """Frames shown at these times, in order; a time whose frame cannot be decoded is left out.

        Args:
            times: seconds from the first frame, rising.
            after: seconds to a later frame that comes along, 0.0 for none.
            side: longest side of the frames, pixels.

        Raises MediaError when the decoder gives up, crashes or takes too long.
        """
        self._ask({"do": "times", "times": [float(one) for one in times], "after": after, "side": side})
        shown: tuple[int, Frame] | None = None
        while True:
            values = self._answer()
            if values.get("role") != "later" and shown is not None:
                yield Grab(shown[1])
                shown = None
            if values.get("end"):
                return
            if values["role"] == "shown":
                shown = (values["index"], self._frame(values))
            elif shown is not None:
                yield Grab(shown[1], self._frame(values))
                shown = None

    def numbered(self, numbers: Sequence[int], *, side: int = SIDE) -> Iterator[tuple[int, Frame]]:
        """(number, frame) of frames by their number from 0; everything before the last one is decoded."""
        self._ask({"do": "numbers", "numbers": [int(one) for one in numbers], "side": side})
        while not (values := self._answer()).get("end"):
            yield values["index"], self._frame(values)

    def count(self) -> int:
        """How many frames the clip has; all are decoded."""
        self._ask({"do": "count"})
        found = int(self._answer()["count"])
        self._answer()
        return found

    def close(self) -> None:
        """Ends the child process."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was written cannot be sent any more
                    pass
        child.wait()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _start(self, file: IO[bytes], container: str) -> None:
        settings = {"file": file.fileno(), "container": container} | asdict(self.limits)
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        self._child = subprocess.Popen(
            [*decoder_command(), json.dumps(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, pass_fds=[file.fileno()], env=environment,
        )  # fmt: skip
        os.set_blocking(self._child.stdout.fileno(), False)
        self._buffer = bytearray()

    def _ask(self, request: dict[str, Any]) -> None:
        if self._child is None:
            raise MediaError(f"'{self.name}' has been closed.")
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            raise self._died() from None

    def _answer(self) -> dict[str, Any]:
        """The next answer, with its bytes under "data"."""
        while (end := self._buffer.find(b"\n")) < 0:
            self._more()
        values = json.loads(bytes(self._buffer[:end]))
        del self._buffer[: end + 1]
        if "error" in values:
            self.close()
            raise _refusal(values["error"], self.name, self.limits)
        while len(self._buffer) < values["bytes"]:
            self._more()
        values["data"] = bytes(self._buffer[: values["bytes"]])
        del self._buffer[: values["bytes"]]
        return values

    def _more(self) -> None:
        """Read what the child has sent; raises MediaError when its time is over or it has ended."""
        pipe = self._child.stdout
        begun = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            ready = selector.select(max(0.0, self._left))
        self._left -= time.monotonic() - begun
        if not ready:
            self.close()
            raise _refusal("time", self.name, self.limits)
        piece = os.read(pipe.fileno(), 1 << 20)
        if not piece:
            raise self._died()
        self._buffer += piece

    def _died(self) -> MediaError:
        """The error for a child that has ended by itself."""
        child = self._child
        status = child.wait()
        self.close()
        # a hard CPU limit kills outright; not every system knows these signals
        spent = {-getattr(signal, name) for name in ("SIGXCPU", "SIGKILL") if hasattr(signal, name)}
        return _refusal("time" if status in spent else "crash", self.name, self.limits)

    def _frame(self, values: dict[str, Any]) -> Frame:
        pixels = np.frombuffer(values["data"], np.uint8).reshape(values["height"], values["width"], 3)
        pixels = np.ascontiguousarray(np.rot90(pixels, round(values["turn"] / 90) % 4))
        pixels.setflags(write=False)
        return Frame(pixels, max(0.0, float(values["time"])))


def decoder_command() -> list[str]:
    """The command of the child process. `-P`: the modules beside it must not hide Python's own."""
    return [sys.executable, "-P", str(Path(__file__).with_name("clip_decoder.py"))]


def is_clip(source: bytes | os.PathLike) -> bool:
    """Whether the first bytes say that this is a clip; False for what cannot be read."""
    if isinstance(source, bytes):
        return sniff_kind(source[:64]) == "clip"
    try:
        with open_file(source, "clip", "clip", USABLE) as file:
            return sniff_kind(file.read(64)) == "clip"
    except MediaError:
        return False


def _named(text: str) -> str:
    shown = safe_name(text)
    return "clip" if shown == "picture" and text != "picture" else shown


def _kept(data: bytes, label: str) -> IO[bytes]:
    if len(data) > MAX_BYTES:
        raise MediaError(f"'{label}' is larger than the {MAX_BYTES // 1_000_000} MB this program reads.")
    file = tempfile.TemporaryFile(prefix="looktwice-clip-")  # noqa: SIM115  closed by the caller
    file.write(data)
    file.seek(0)
    return file


def _container(head: bytes, label: str) -> str:
    """The container by a file's first bytes, so that no other of the decoder's many readers can be reached."""
    if not head:
        raise MediaError(f"'{label}' is empty.", USABLE)
    if sniff_kind(head) == "clip":
        if head[:4] == b"RIFF":
            return "avi"
        if head[:3] == b"GIF":
            return "gif"
        return "matroska" if head[:4] == b"\x1a\x45\xdf\xa3" else "mov"
    raise MediaError(f"'{label}' is not a clip this program reads.", USABLE)


def _refusal(word: str, label: str, limits: Limits) -> MediaError:
    """The sentence for a word of the child process."""
    again = "Save or export the clip again."
    sentences = {
        "damaged": (f"'{label}' is damaged or cut off: no frame of it can be decoded.", again),
        "empty": (f"'{label}' holds no frame.", again),
        "sound": (f"'{label}' holds sound only, no picture.", USABLE),
        "no video": (f"'{label}' holds no video.", USABLE),
        "codec": (f"'{label}' is coded in a way this program does not know.", "Export it as H.264 in an MP4 file."),
        "pixels": (f"'{label}' has more than {limits.pixels / 1e6:.1f} million pixels a frame.", "Scale it first."),
        "frames": (f"'{label}' takes more than {limits.frames} frames of decoding.", "Cut it first."),
        "memory": (f"'{label}' takes more memory to decode than a clip may.", "Scale it down or export it again."),
        "time": (f"'{label}' takes too long to decode.", "Cut it or export it again."),
    }
    return MediaError(*sentences.get(word, (f"'{label}' made the decoder fail.", again)))
