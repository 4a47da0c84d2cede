"""Gains of clips: kept exactly, refused when damaged, a clip's own level taken off, fitted to what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from assistant.clip_gains import LEVEL, ClipGains, Weighing, level, median_over
from assistant.clip_look import Measured
from assistant.errors import RecordError, WeightsError
from data.clips import Clip
from finetune.clips import RIDGE, Frames, fit, keep, kept, logistic, measured, right


def test_gains_are_kept_exactly_and_none_are_the_defaults(tmp_path):
    gains = ClipGains(Weighing(-1.5, (1.0, 2.0, 0.0, 0.3), (0.1, 0.2, 0.3), (0.4, 0.0, 0.1)), source="fitted to clips")
    gains.save(tmp_path / "clips.json")
    assert ClipGains.load(tmp_path / "clips.json") == gains
    assert ClipGains.load(tmp_path / "none.json") == ClipGains() and ClipGains().source == ""


@pytest.mark.parametrize(
    "change", [{"gains": [1, 2, 3]}, {"gains": [1, 2, 3, -1]}, {"zeros": [0, 1, 1]}, {"bias": "x"}, {"levels": [1]}]
)
def test_damaged_gains_are_refused_in_one_sentence(tmp_path, change):
    ClipGains(source="x").save(tmp_path / "clips.json")
    values = json.loads((tmp_path / "clips.json").read_text())
    values["held"] |= change
    (tmp_path / "clips.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"^[^\n]*clips.json[^\n]*$"):
        ClipGains.load(tmp_path / "clips.json")


def test_the_level_counts_time_and_not_looks():
    """Many looks at a short event do not lift what the clip always has."""
    even = np.arange(0, 10, 0.5)
    close = np.sort(np.concatenate([even, np.arange(4.05, 5, 0.05)]))
    raised = [np.where((at >= 4) & (at < 5), 3.0, 0.2)[:, None] for at in (even, close)]
    assert level(even, raised[0]) == level(close, raised[1]) == pytest.approx(0.2)
    longer = np.where(even >= 10 * LEVEL * 0.5, 3.0, 0.2)[:, None]  # but what lasts nearly all of it does
    assert level(even, longer) == pytest.approx(3.0)


def test_the_median_counts_time_and_not_looks():
    times = [0.0, 1.0, 2.0, 3.0, 3.1, 3.2, 3.3, 3.4, 4.0]
    assert median_over(times, [1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]) == 1.0
    assert median_over([0.0, 1.0, 2.0], [3.0, 7.0, 5.0]) == 5.0


def test_what_lifts_a_whole_clip_is_taken_off_up_to_what_normal_clips_have():
    weighing = Weighing(0.0, (1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.0))
    sums = np.tile(np.array([0.3, 2.0, 1.0, -1.0], np.float32), (6, 1))
    over = weighing.over(np.arange(6.0), sums)
    assert over.dtype == sums.dtype and np.allclose(over, [0.0, 1.5, 1.0, -1.0])


def drawn(count: int) -> list[Frames]:
    """Clips whose first channel rises in the event; the second is noise, the others nothing."""
    rng, clips = np.random.default_rng(0), []
    for number in range(count):
        times = np.arange(0.25, 8, 0.5)
        labels = ((times > 3) & (times < 6)).astype(int) * (number % 2)
        sums = np.zeros((len(times), 4))
        sums[:, 0] = rng.uniform(0, 0.3) + rng.normal(0, 0.05, len(times)) + 0.6 * labels
        sums[:, 1] = rng.normal(0, 0.1, len(times))
        clips.append(Frames(times, labels, sums, np.array([0.4, 0.0, 0.1]), 8.0))
    return clips


def test_the_fit_finds_the_channel_that_tells_and_the_tipping_point():
    clips = drawn(40)
    weighing = fit(clips)
    assert weighing.gains[0] > 3 and min(weighing.gains) >= 0 and weighing.gains[2] == weighing.gains[3] == 0
    assert weighing.zeros[0] == pytest.approx(0.4) and min(weighing.zeros) > 0
    other = drawn(41)[1:]
    evidence = [weighing.over(one.times, one.sums) @ np.array(weighing.gains) for one in other]
    assert right(other, evidence, weighing.bias) > 0.9
    assert right(other, evidence, weighing.bias + 100) == 0.0 and right(other, evidence, weighing.bias - 100) == 0.5


def test_what_is_shrunk_is_stretched_back_to_what_the_labels_say():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    values = np.stack([labels + rng.normal(0, 0.6, 400), labels + rng.normal(0, 0.65, 400), -labels], axis=1)
    free, shrunk = (logistic(values, labels, np.ones(400), ridge) for ridge in (0.0, RIDGE))
    assert free[2] == shrunk[2] == 0 < min(shrunk[:2])  # what tells the other way is not turned round
    assert shrunk.sum() < 0.7 * free.sum()
    stretched = shrunk * logistic((values @ shrunk)[:, None], labels, np.ones(400), 0.0)
    assert stretched.sum() == pytest.approx(free.sum(), rel=0.05)
    assert logistic((values @ stretched)[:, None], labels, np.ones(400), 0.0) == pytest.approx([1.0], abs=1e-3)


def test_what_was_measured_is_kept_and_is_of_one_origin(tmp_path):
    clips, file = drawn(3), tmp_path / "place.safetensors"
    keep(file, {"alone": clips, "held": clips[:2]}, "these")
    found = kept(file, "these")
    assert [len(found[mode]) for mode in ("alone", "held")] == [3, 2]
    for one, other in zip(clips, found["alone"], strict=True):
        assert np.array_equal(one.sums, other.sums) and one.duration == other.duration
    with pytest.raises(RecordError, match="other clips or other weights"):
        kept(file, "those")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RecordError, match="damaged"):
        kept(file, "these")


class Measuring:
    """An inspector that measures clips until it is stopped."""

    fingerprint = "weights"

    def __init__(self, most: int) -> None:
        self.most, self.seen = most, []

    def learn_normal(self, sources):
        return sources[0].name

    def measure_clip(self, source, known):
        if len(self.seen) == self.most:
            raise KeyboardInterrupt
        self.seen.append(source.name)
        return [Measured([0.0, 0.5, 1.0], torch.rand(3, 4), torch.rand(3, 3, 2, 2), 1.5) for _ in known]


def test_a_stopped_measuring_goes_on_at_the_next_place(tmp_path):
    clips = [
        Clip(f"{n}.mp4", (Path(f"{n}.mp4"),), "events", "belt", n % 2, None, ((0.2, 0.8),) * (n % 2),
             (Path(f"normal{n // 2}.mp4"),))
        for n in range(6)
    ]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        measured(Measuring(3), clips, tmp_path)  # in the middle of the second place
    again = Measuring(10)
    found = measured(again, clips, tmp_path)
    assert again.seen == ["2.mp4", "3.mp4", "4.mp4", "5.mp4"]
    assert [len(found[mode]) for mode in ("alone", "held")] == [6, 6]
    assert [one.labels.tolist() for one in found["held"]] == [[0, 0, 0], [0, 1, 0]] * 3
    with pytest.raises(RecordError, match="other clips"):
        measured(again, clips[1:], tmp_path)
