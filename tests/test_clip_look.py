"""A clip looked at, by the real path on tiny random weights: what stands out in time, what is said, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assistant.clip_look import HINT, UNMEASURED
from assistant.errors import MediaError
from tests.clipmaker import moving_square, write_clip, write_sound
from tests.tiny import tiny_inspector


def still_then_odd(odd: bool) -> np.ndarray:
    """Three seconds of a still scene at 12 frames a second; a dark block is there in the last one."""
    ground = np.random.default_rng(0).integers(90, 120, (64, 96, 1), np.uint8).repeat(3, axis=2)
    frames = np.stack([ground] * 36)
    if odd:
        frames[24:, 20:44, 40:64] = 5
    return frames


@pytest.fixture(scope="module")
def inspector():
    return tiny_inspector()


def test_what_a_normal_clip_does_not_show_is_found_when_it_is_there(inspector, tmp_path):
    normal = inspector.learn_normal([write_clip(tmp_path / "normal.mp4", still_then_odd(False))])
    odd = inspector.look_clip(write_clip(tmp_path / "odd.mp4", still_then_odd(True)), normal)
    same = inspector.look_clip(write_clip(tmp_path / "same.mp4", still_then_odd(False)), normal)
    before = [frame.score for frame in odd.clip.frames if frame.time < 1.7]
    after = [frame.score for frame in odd.clip.frames if frame.time > 2.2]
    assert min(after) > max(before) and odd.score > same.score
    assert odd.clip.spans and all(span.start <= span.peak <= span.end for span in odd.clip.spans)
    assert odd.clip.spans[0].end > 2


def test_how_far_a_clip_is_to_be_trusted_is_said(inspector, tmp_path, monkeypatch):
    look = inspector.look_clip(write_clip(tmp_path / "clip.mp4", moving_square()))
    assert UNMEASURED in look.warnings and "chosen by hand" in look.threshold_source
    monkeypatch.setattr(inspector, "clip_gains", replace(inspector.clip_gains, source="fitted to something"))
    fitted = inspector.look_clip(write_clip(tmp_path / "clip.mp4", moving_square()))
    assert HINT in fitted.warnings and UNMEASURED not in fitted.warnings
    told = inspector.finding(look, "").to_dict()
    assert UNMEASURED in told["warnings"] and told["frames"] == sorted(told["frames"], key=lambda one: one["time"])


def test_every_frame_is_counted_before_it_is_looked_at_and_what_is_raised_then_ends_the_look(inspector, tmp_path):
    told: dict[str, list[tuple[int, int]]] = {}
    normal = write_clip(tmp_path / "normal.mp4", still_then_odd(False))

    def count(what: str, number: int, of: int) -> None:
        told.setdefault(what, []).append((number, of))

    look = inspector.look_clip(write_clip(tmp_path / "odd.mp4", still_then_odd(True)), [normal], progress=count)
    assert list(told) == ["remembering", "watching", "closer", "keys"]
    for counted in told.values():
        assert [number for number, _ in counted] == list(range(1, len(counted) + 1))
        assert {of for _, of in counted} == {len(counted)}
    assert len(told["watching"]) + len(told["closer"]) == len(look.clip.frames)
    assert len(told["keys"]) == len(look.clip.keys)

    def enough(what: str, number: int, of: int) -> None:
        told["last"] = [(number, of)]
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspector.look_clip(normal, progress=enough)
    assert told["last"][0][0] == 3


def test_a_clip_without_pictures_is_one_sentence(inspector, tmp_path):
    with pytest.raises(MediaError, match=r"^[^\n]+$"):
        inspector.look_clip(write_sound(tmp_path / "sound.mp4"))
