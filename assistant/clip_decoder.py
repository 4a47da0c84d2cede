"""The child process that decodes clips: it holds the only call of the video decoder, under limits of its own.

Started by `clip_reader` as a script, so it imports nothing of this project. It reads one JSON request a line from its
standard input and answers with JSON lines, some followed by raw pixels, on its standard output. Whatever the decoder
does to this process, the program that asked lives on.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

EPSILON = 1e-4
"""Seconds by which time stamps are rounded."""
FIRST_GAP = 1.5
"""Seconds to the next wanted frame from which the decoder jumps instead of decoding on; learned while it jumps."""
RECENT = 10
"""Decoded frames that are kept, since wanted times may lie closer than the pairs they come in are wide."""
MAX_STAMPS = 2_000_000
"""Packets that are read to find out where a clip without a usable index ends."""


class Refused(Exception):
    """The clip cannot be used; the argument is a word that `clip_reader` has a sentence for."""


def limit(memory: int, cpu: int) -> None:
    """Bound this process: bytes of address space, CPU seconds, no core files, nothing written to disk."""
    try:
        import resource
    except ImportError:  # not on this system: the clock of the asking process is what remains
        return
    for what, most in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):
            continue  # some systems do not know every limit


class Decoder:
    """One opened clip.

    Args:
        file: binary and seekable; the container is told its format and opens nothing else.
        container: "mov", "matroska", "avi" or "gif".
        limits: {"pixels": of one frame, "frames": decoded in all}.
    """

    def __init__(self, file: Any, container: str, limits: dict[str, int]) -> None:
        self.file, self.format, self.limits = file, container, limits
        self.decoded = self.bad = 0
        self.gap = FIRST_GAP
        self._open()
        self.claimed = self._claimed()
        self.end = self._end()

    def _open(self) -> None:
        import av
        from av.stream import Disposition

        self.file.seek(0)
        try:
            self.container = av.open(self.file, format=self.format, options={"protocol_whitelist": "none"})
        except MemoryError:
            raise Refused("memory") from None
        except Exception:
            raise Refused("damaged") from None
        streams = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise Refused("sound" if self.container.streams.audio else "no video")
        self.stream = streams[0]
        context = self.stream.codec_context
        if context is None:
            raise Refused("codec")
        if context.width * context.height > self.limits["pixels"]:
            raise Refused("pixels")
        self.stream.thread_type = "SLICE"  # threads by frame would delay and hold as many frames as there are threads
        context.thread_count = 2
        self.base = float(self.stream.time_base or 0) or 1e-3
        self.start = (self.stream.start_time or 0) * self.base
        self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 0)
        self._fresh()

    @property
    def coding(self) -> str:
        """Codec and pixel format, as "h264 yuv420p"."""
        context = self.stream.codec_context
        return f"{context.codec.canonical_name} {context.pix_fmt or ''}".strip()

    def _fresh(self) -> None:
        self.recent: deque[tuple[float, Any]] = deque(maxlen=RECENT)
        self.source = self._frames()
        self.upcoming: tuple[float, Any] | None = None
        self.over = False
        self.guess = 0.0

    def _claimed(self) -> float:
        if self.stream.duration:
            return self.stream.duration * self.base
        return (self.container.duration or 0) / 1e6

    def _end(self) -> float:
        """Seconds from the first frame to the end of the last, from the packets themselves: headers lie."""
        last = -1.0
        if self.claimed and self.format != "gif":
            try:
                self._seek(self.claimed)
                last = self._last_stamp()
            except Exception:
                self._open()
        if last < self.claimed * 0.9 - 0.5 or last <= 0:
            self._rewind()
            last = self._last_stamp()
        self._rewind()
        return max(0.0, last)

    def _last_stamp(self) -> float:
        last, count = -1.0, 0
        try:
            for packet in self.container.demux(self.stream):
                if packet.size == 0:
                    continue
                count += 1
                stamp = packet.pts if packet.pts is not None else packet.dts
                length = (packet.duration or 0) * self.base or (1 / self.rate if self.rate else 0.04)
                last = max(last, (stamp * self.base - self.start if stamp is not None else count * length) + length)
                if count > MAX_STAMPS:
                    raise Refused("frames")
        except (MemoryError, Refused):
            raise
        except Exception:  # cut off or damaged from here on: what came before can be looked at
            self.bad += 1
        return last

    def _seek(self, time: float) -> None:
        self.container.seek(round((time + self.start) / self.base), stream=self.stream, backward=True)
        self._fresh()

    def _rewind(self) -> None:
        try:
            self._seek(0.0)
            if self.format == "gif":
                self._open()
        except Refused:
            raise
        except Exception:
            self._open()

    def _frames(self) -> Iterator[tuple[float, Any]]:
        """(seconds from the clip's first frame, frame) in order; damaged packets are passed over and counted."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except MemoryError:
                raise Refused("memory") from None
            except Exception:
                self.bad += 1
                return
            try:
                frames = packet.decode()
            except MemoryError:
                raise Refused("memory") from None
            except Exception:
                self.bad += 1
                continue
            for frame in frames:
                self.decoded += 1
                if self.decoded > self.limits["frames"]:
                    raise Refused("frames")
                if frame.width * frame.height > self.limits["pixels"]:
                    raise Refused("pixels")
                stamp = frame.pts if frame.pts is not None else frame.dts
                time = self.guess if stamp is None else stamp * self.base - self.start
                self.guess = time + (1 / self.rate if self.rate else 0.04)
                yield time, frame

    def _pull(self) -> tuple[float, Any] | None:
        """The next frame, kept among the recent ones; None at the end."""
        if self.over:
            return None
        taken = next(self.source, None)
        if taken is None:
            self.over = True
            return None
        self.recent.append(taken)
        return taken

    def at(self, time: float) -> tuple[float, Any] | None:
        """(seconds, frame) shown at a time: the last one that begins by then, else the first there is."""
        place = self.recent[-1][0] if self.recent else None
        oldest = self.recent[0][0] if self.recent else None
        jump = place is None and time > self.gap or place is not None and time - place > self.gap
        if jump or (oldest is not None and time < oldest - EPSILON and oldest > EPSILON):
            try:
                if self.format == "gif" and not jump:
                    self._open()
                elif self.format != "gif":
                    self._seek(max(0.0, time))
            except Refused:
                raise
            except Exception:
                self._open()
            first = self._pull()
            if first is None and time > 0:  # a jump behind the last frame that there is
                self._rewind()
                self.gap = float("inf")
            elif first is not None and place is not None and jump and first[0] <= place + EPSILON:
                self.gap = 2 * (time - place)  # key frames lie farther apart than that
        while not self.over and (not self.recent or self.recent[-1][0] <= time + EPSILON):
            self._pull()
        known = list(self.recent)
        shown = [one for one in known if one[0] <= time + EPSILON]
        return shown[-1] if shown else known[0] if known else None

    def following(self, time: float, after: float) -> tuple[float, Any] | None:
        """(seconds, frame) of the first frame that begins at least `after` seconds later; None at the end."""
        while True:
            later = [one for one in self.recent if one[0] >= time + after - EPSILON]
            if later:
                return later[0]
            if self._pull() is None:
                return None

    def numbered(self, wanted: set[int]) -> Iterator[tuple[int, float, Any]]:
        """(number, seconds, frame) of frames by their number from 0, decoded from the start."""
        self._open()
        for number, (time, frame) in enumerate(self.source):
            if number in wanted:
                yield number, time, frame
            if number >= max(wanted, default=-1):
                break
        self._open()  # what has been read on is not where `at` believes to be

    def count(self) -> int:
        """How many frames there are, by decoding them all: packets of some formats hold none or several."""
        self._open()
        found = sum(1 for _ in self.source)
        self._open()
        return found


def pixels_of(frame: Any, side: int) -> tuple[int, int, bytes]:
    """(width, height, RGB bytes) of a frame with square pixels, at most `side` pixels long."""
    aspect = 1.0
    ratio = getattr(frame, "sample_aspect_ratio", None)
    if ratio and 0.1 < float(ratio) < 10:
        aspect = float(ratio)
    wide, high = frame.width * aspect, float(frame.height)
    shrink = min(1.0, side / max(wide, high))
    width, height = max(1, round(wide * shrink)), max(1, round(high * shrink))
    plane = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").planes[0]
    data = bytes(plane)
    if plane.line_size != 3 * width:
        step = plane.line_size
        data = b"".join(data[row * step : row * step + 3 * width] for row in range(height))
    return width, height, data[: 3 * width * height]


def send(values: dict[str, Any], data: bytes = b"") -> None:
    """One answer: a JSON line, then the bytes it announces."""
    out = sys.stdout.buffer
    out.write(json.dumps(values | {"bytes": len(data)}).encode() + b"\n")
    out.write(data)
    out.flush()


def send_frame(what: dict[str, Any], time: float, frame: Any, side: int) -> None:
    """One frame with its time and the counterclockwise turn in degrees that shows it upright."""
    width, height, data = pixels_of(frame, side)
    send(what | {"time": time, "width": width, "height": height, "turn": int(frame.rotation or 0)}, data)


def answer(decoder: Decoder, request: dict[str, Any]) -> None:
    """Answer one request of `clip_reader`; raises Refused."""
    if request["do"] == "times":
        for index, wanted in enumerate(request["times"]):
            found = decoder.at(wanted)
            if found is None:
                continue
            send_frame({"index": index, "role": "shown"}, *found, request["side"])
            later = decoder.following(found[0], request["after"]) if request["after"] else None
            if later is not None:
                send_frame({"index": index, "role": "later"}, *later, request["side"])
    elif request["do"] == "numbers":
        for number, time, frame in decoder.numbered(set(request["numbers"])):
            send_frame({"index": number, "role": "shown"}, time, frame, request["side"])
    elif request["do"] == "count":
        send({"count": decoder.count()})
    send({"end": True, "bad": decoder.bad})


def opened(decoder: Decoder) -> dict[str, Any]:
    """What is said of a clip before any frame of it."""
    first = decoder.at(0.0)
    if first is None:
        raise Refused("empty" if not decoder.bad else "damaged")
    width, height, _ = pixels_of(first[1], 1 << 20)
    turn = int(first[1].rotation or 0)
    size = (height, width) if turn % 180 else (width, height)
    return {
        "duration": max(decoder.end, 0.0), "claimed": decoder.claimed, "rate": decoder.rate, "size": size,
        "turn": turn, "bad": decoder.bad, "coding": decoder.coding,
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    """Serve requests about the clip in the file descriptor that is given until standard input ends."""
    settings = json.loads(arguments[0])
    limit(settings["memory"], settings["cpu"])
    try:
        import av

        av.logging.set_level(None)
        decoder = Decoder(os.fdopen(settings["file"], "rb"), settings["container"], settings)
        send(opened(decoder))
        for line in sys.stdin:
            answer(decoder, json.loads(line))
    except Refused as error:
        send({"error": str(error)})
    except MemoryError:
        send({"error": "memory"})
    except BrokenPipeError:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
