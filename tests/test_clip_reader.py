"""Clips are read in a child process: real containers, damaged ones, and children that crash, spin and eat memory."""

from __future__ import annotations

import os
import struct
import sys
import textwrap
import time
from pathlib import Path

import av
import numpy as np
import pytest

from assistant import clip_decoder, clip_reader
from assistant.clip_reader import ClipReader, Limits, is_clip
from assistant.errors import MediaError
from data.clips import Clip
from eval.frames import frames_of
from tests.clipmaker import CODECS, moving_square, write_clip, write_sound

REAL = Path(__file__).parents[2] / "shared" / "data" / "video"
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module", params=sorted(CODECS))
def clip(request, tmp_path_factory) -> Path:
    """One clip of two seconds in each container."""
    return write_clip(tmp_path_factory.mktemp("clips") / f"belt.{request.param}", moving_square())


def left_edge(pixels: np.ndarray) -> float:
    """Where the bright square is, share of the width."""
    columns = np.flatnonzero(pixels[pixels.shape[0] // 2, :, 0].astype(int) > 180)
    return float(columns[0] / pixels.shape[1]) if len(columns) else -1.0


def test_every_container_gives_the_frames_of_the_wanted_times(clip):
    assert is_clip(clip) and is_clip(clip.read_bytes())
    with ClipReader(clip) as reader:
        assert reader.size == (96, 64) and reader.name == clip.name
        assert reader.duration == pytest.approx(2.0, abs=0.13)
        grabs = list(reader.frames([0.0, 0.5, 1.0, 1.5, 0.25], after=0.2))
        assert [round(grab.frame.time, 1) for grab in grabs] == [0.0, 0.5, 1.0, 1.5, 0.2]
        for grab in grabs:
            assert grab.later.time >= grab.frame.time + 0.199
            assert left_edge(grab.frame.pixels) == pytest.approx(grab.frame.time / (23 / 12) * 80 / 96, abs=0.04)
            assert not grab.frame.pixels.flags.writeable
        assert reader.count() == 24
        numbers = list(reader.numbered([0, 7, 23]))
        assert [number for number, _ in numbers] == [0, 7, 23]
        assert left_edge(numbers[1][1].pixels) == pytest.approx(7 / 23 * 80 / 96, abs=0.04)


def test_bytes_are_read_as_a_file_is_and_text_is_never_opened(clip):
    with ClipReader(clip.read_bytes(), name="../evil\n.mp4") as reader:
        assert reader.name == "evil.mp4" and len(list(reader.frames([0.1]))) == 1
    with pytest.raises(TypeError):
        ClipReader(str(clip))


def test_long_clips_are_jumped_through(tmp_path):
    frames = np.repeat(moving_square(40), 30, axis=0)
    with ClipReader(write_clip(tmp_path / "long.mp4", frames, rate=12)) as reader:
        grabs = list(reader.frames([10.0, 50.0, 90.0]))
        assert [round(grab.frame.time) for grab in grabs] == [10, 50, 90]
    with open(tmp_path / "long.mp4", "rb") as file:
        decoder = clip_decoder.Decoder(file, "mov", {"pixels": 1 << 20, "frames": 1 << 20})
        for wanted in (10.0, 50.0, 90.0):
            assert decoder.at(wanted)[0] == pytest.approx(wanted, abs=0.1)
        assert decoder.decoded < 80  # of 1200


def test_a_variable_rate_keeps_its_times(tmp_path):
    times = [0, 0.1, 0.2, 1.5, 1.6, 4.0, 4.05]
    file = write_clip(tmp_path / "variable.mkv", moving_square(7), times=times)
    with ClipReader(file) as reader:
        shown = [grab.frame.time for grab in reader.frames([0.15, 1.0, 3.9, 4.02])]
    assert shown == pytest.approx([0.1, 0.2, 1.6, 4.0], abs=0.01)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_clip_is_shown_upright(tmp_path, turn):
    frames = moving_square(6)
    with ClipReader(write_clip(tmp_path / "turned.mp4", frames, turn=turn)) as reader:
        assert reader.size == ((96, 64) if turn == 180 else (64, 96))
        assert any("upright" in note for note in reader.notes)
        (grab,) = reader.frames([0.0])
    upright = np.rot90(frames[0], turn // 90)
    assert grab.frame.pixels.shape == upright.shape
    assert np.abs(grab.frame.pixels.astype(int) - upright).mean() < 6


def test_large_frames_come_small_and_one_frame_is_a_clip_too(tmp_path):
    with ClipReader(write_clip(tmp_path / "wide.mp4", moving_square(3, (1280, 320)))) as reader:
        assert reader.size == (1280, 320)
        (grab,) = reader.frames([0.0], side=320)
        assert grab.frame.pixels.shape == (80, 320, 3)
    with ClipReader(write_clip(tmp_path / "one.mp4", moving_square(1))) as reader:
        (grab,) = reader.frames([reader.duration / 2], after=0.1)
        assert grab.later is None and reader.duration > 0


def refusal(source: bytes | Path, **limits: float) -> str:
    """The sentence a source is refused with."""
    with pytest.raises(MediaError) as caught:
        with ClipReader(source, limits=Limits(**limits)) as reader:
            list(reader.frames([0.0, 0.5 * reader.duration]))
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_clip_is_refused_in_one_sentence(tmp_path):
    assert "sound only" in refusal(write_sound(tmp_path / "sound.mp4"))
    assert "empty" in refusal(b"")
    assert "not a clip" in refusal(b"#EXTM3U\nhttp://somewhere/x.ts\n")
    assert "no file" in refusal(tmp_path / "missing.mp4")
    assert "folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "device or pipe" in refusal(tmp_path / "pipe.mp4")
    with av.open(str(tmp_path / "nothing.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.start_encoding()
    assert "no frame" in refusal(tmp_path / "nothing.mkv")


def test_limits_of_pixels_frames_and_duration(tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(48), gop=48)
    assert "pixels a frame" in refusal(file, pixels=1000)
    assert "frames of decoding" in refusal(file, frames=5)
    assert "hours long" in refusal(file, duration=1.0)


def test_a_header_that_claims_ten_hours_is_not_believed(tmp_path):
    data = bytearray(write_clip(tmp_path / "clip.mkv", moving_square()).read_bytes())
    place = data.index(b"\x44\x89\x88")  # Matroska's Duration: a double, in milliseconds
    data[place + 3 : place + 11] = struct.pack(">d", 36_000_000.0)
    with ClipReader(bytes(data), name="liar.mkv") as reader:
        assert reader.duration == pytest.approx(2.0, abs=0.2)
        assert any("36000.0 s" in note for note in reader.notes)
        assert len(list(reader.frames([0.5, 1.5]))) == 2


def test_a_truncated_clip_gives_what_it_holds_or_a_sentence(tmp_path):
    data = write_clip(tmp_path / "clip.mkv", moving_square(48)).read_bytes()
    with ClipReader(data[: 2 * len(data) // 3]) as reader:
        assert 0.5 < reader.duration < 4
        assert list(reader.frames([0.1]))
    data = write_clip(tmp_path / "clip.mp4", moving_square(48)).read_bytes()
    assert "damaged or cut off" in refusal(data[: len(data) // 2])  # its index stands at the end


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm", "avi", "gif"])
def test_two_hundred_damaged_files(tmp_path, container):
    """Forty of each container: every one is read or refused with a sentence, in time, and this process lives on."""
    whole = write_clip(tmp_path / f"clip.{container}", moving_square(16)).read_bytes()
    rng = np.random.default_rng(len(container) + whole[0])
    outcomes = {"read": 0, "refused": 0}
    for number in range(40):
        data = bytearray(whole)
        if number % 4 == 0:
            data = data[: int(rng.integers(1, len(data)))]
        elif number % 4 == 1:
            start = int(rng.integers(0, len(data) - 8))
            data[start : start + int(rng.integers(1, 400))] = b""
        else:
            for place in rng.integers(0, len(data), int(rng.integers(1, 60))):
                data[place] = int(rng.integers(256))
        begun = time.monotonic()
        try:
            with ClipReader(bytes(data), limits=Limits(wall=20, cpu=10)) as reader:
                for grab in reader.frames([0.1, 0.7, 1.1], after=0.1):
                    assert grab.frame.pixels.ndim == 3
            outcomes["read"] += 1
        except MediaError as error:
            assert str(error).endswith(".") and "\n" not in str(error)
            outcomes["refused"] += 1
        assert time.monotonic() - begun < 25
    assert sum(outcomes.values()) == 40
    assert outcomes["refused"] >= 3 or container == "gif"  # whose decoder makes a picture of nearly anything


def planted(monkeypatch, body: str) -> None:
    """The child process runs this instead, under the very limits of the real one."""
    code = textwrap.dedent(
        """
        import importlib.util, json, os, sys
        spec = importlib.util.spec_from_file_location("clip_decoder", {file!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        settings = json.loads(sys.argv[1])
        module.limit(settings["memory"], settings["cpu"])
        """
    ).format(file=clip_decoder.__file__) + textwrap.dedent(body)
    monkeypatch.setattr(clip_reader, "decoder_command", lambda: [sys.executable, "-c", code])


def test_a_child_that_crashes(monkeypatch, tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(4))
    planted(monkeypatch, "import ctypes; ctypes.string_at(0)")
    assert "made the decoder fail" in refusal(file)


def test_a_child_that_spins_is_ended_by_its_cpu_seconds(monkeypatch, tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(4))
    planted(monkeypatch, "while True: pass")
    assert "takes too long" in refusal(file, cpu=1, wall=60)


def test_a_child_that_sleeps_is_ended_by_the_clock(monkeypatch, tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(4))
    planted(monkeypatch, "import time; time.sleep(600)")
    assert "takes too long" in refusal(file, wall=1.0)


def test_a_child_that_eats_memory(monkeypatch, tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(4))
    eater = """
        held = []
        try:
            while True: held.append(bytearray(50_000_000))
        except MemoryError:
            held.clear()
            module.send({"error": "memory"})
        """
    planted(monkeypatch, eater)
    assert "more memory" in refusal(file, memory=400_000_000)


def test_a_child_may_write_no_file(monkeypatch, tmp_path):
    file = write_clip(tmp_path / "clip.mp4", moving_square(4))
    target = tmp_path / "written"
    planted(monkeypatch, f"open({str(target)!r}, 'wb').write(b'x' * 10); ")
    refusal(file)
    assert not target.exists() or target.stat().st_size == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real clips are not here")
def test_the_real_clips():
    files = sorted(REAL.glob("*/*.mp4"))
    assert len(files) == 16
    for file in files:
        with av.open(str(file)) as whole:  # every frame decoded, without the reader
            stream = whole.streams.video[0]
            times = [frame.time for frame in whole.decode(stream)]
            length = times[-1] - times[0] + 1 / float(stream.average_rate)
        with ClipReader(file) as reader:
            assert reader.duration == pytest.approx(length, abs=0.05) and reader.count() == len(times)
            grabs = list(reader.frames([0.2, 1.0, 1.5], after=0.12))
            assert len(grabs) == 3 and grabs[0].frame.pixels.shape[:2] == reader.size[::-1]
            for wanted, grab in zip([0.2, 1.0, 1.5], grabs, strict=True):
                shown = max(one for one in times if one - times[0] <= wanted + 1e-4) - times[0]
                assert grab.frame.time == pytest.approx(shown, abs=1e-3)
                assert grab.later.time >= grab.frame.time + 0.12 - 1e-3


def test_the_evaluation_reads_its_clips_the_same_way(tmp_path):
    file = write_clip(tmp_path / "belt.avi", moving_square(24))
    clip = Clip("belt", (file,), "set", "normal", 0)
    assert [number for number, _ in frames_of(clip, 3)] == [0, 12, 23]
    assert len(list(frames_of(clip, 0))) == 24
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MediaError, match="'belt'"):
        list(frames_of(clip, 3))
