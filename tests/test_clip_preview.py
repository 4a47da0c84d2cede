"""A clip to be shown: its first frame, whether browsers play it, and a copy that they do play in the clip's time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assistant.clip_preview import MOST, SIDE, Limits, OpenedClip, open_clip, write_preview
from assistant.clip_reader import ClipReader
from assistant.errors import MediaError
from assistant.types import ClipFile
from tests.clipmaker import CODECS, moving_square, write_clip, write_sound


@pytest.mark.parametrize("ending", sorted(CODECS))
def test_what_browsers_play_as_it_is_is_known_by_container_coding_and_name(ending: str, tmp_path: Path) -> None:
    file = write_clip(tmp_path / f"clip.{ending}", moving_square())
    opened = open_clip(file)
    assert opened.plays == (ending in ("mp4", "webm")) and opened.label == file.name
    assert opened.duration == pytest.approx(2.0, abs=0.05) and opened.poster.size == (96, 64)
    renamed = file.rename(tmp_path / ("clip.bin" if opened.plays else "clip.mp4"))
    assert open_clip(renamed).plays == (ending == "mov")  # browsers are told the kind of file by its name


@pytest.mark.parametrize("ending", ["avi", "mkv", "gif", "mov"])
def test_a_copy_shows_at_each_second_what_the_clip_shows(ending: str, tmp_path: Path) -> None:
    file = write_clip(tmp_path / f"clip.{ending}", moving_square(72, (320, 200)), rate=24)
    copy = write_preview(ClipFile(file), tmp_path / "copy.mp4")
    assert open_clip(copy).plays
    with ClipReader(file) as clip, ClipReader(copy) as copied:
        assert copied.duration == pytest.approx(clip.duration, abs=0.15) and copied.size == (320, 200)
        wanted = [0.0, 0.7, 1.5, 2.6]
        for one, other in zip(clip.frames(wanted), copied.frames(wanted), strict=True):
            assert abs(one.frame.time - other.frame.time) < 0.1
            assert abs(square(one.frame.pixels) - square(other.frame.pixels)) < 0.05


def square(pixels: np.ndarray) -> float:
    """Middle of the bright square, as a share of the width."""
    lit = (pixels[..., 0] > 170) & (pixels[..., 2] < 140)
    assert lit.any()
    return float(np.flatnonzero(lit.any(axis=0)).mean() / pixels.shape[1])


def test_a_turned_clip_is_copied_upright_and_a_large_one_small(tmp_path: Path) -> None:
    turned = write_clip(tmp_path / "turned.mov", moving_square(12, (98, 64)), turn=90)
    with ClipReader(write_preview(ClipFile(turned), tmp_path / "a.mp4")) as copied:
        assert copied.size == (64, 98)
    large = write_clip(tmp_path / "large.avi", moving_square(6, (1280, 720)))
    with ClipReader(write_preview(ClipFile(large), tmp_path / "b.mp4")) as copied:
        assert max(copied.size) == SIDE


def test_a_long_clip_is_copied_with_a_bounded_number_of_frames(tmp_path: Path) -> None:
    pixels = np.repeat(moving_square(40, (64, 48)), 40, axis=0)[: MOST + 400]
    file = write_clip(tmp_path / "long.avi", pixels, rate=10)
    with ClipReader(write_preview(ClipFile(file), tmp_path / "copy.mp4")) as copied:
        assert copied.duration == pytest.approx(len(pixels) / 10, abs=0.5)
        assert copied.count() <= MOST + 1


def test_what_cannot_be_copied_is_a_sentence_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MediaError, match="sound only"):
        open_clip(write_sound(tmp_path / "sound.mp4"))
    file = write_clip(tmp_path / "clip.avi", moving_square())
    monkeypatch.setattr("assistant.clip_preview.LIMITS", Limits(frames=3))
    with pytest.raises(MediaError, match="decoding"):
        write_preview(ClipFile(file), tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_an_opened_clip_is_a_clip_file_with_a_harmless_name(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "clip.mp4", moving_square())
    opened = open_clip(file, name="../x\u202e.mp4")
    assert isinstance(opened, OpenedClip) and isinstance(opened, ClipFile) and opened.label == "x.mp4"
    assert open_clip(file.read_bytes()).label == "clip"
