"""Drawn clips: what the record says is what the frames show, folds share nothing, the set reads back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from assistant.clip_reader import ClipReader
from assistant.errors import RecordError
from data.build import equal_clips
from data.build import events as build_events
from data.clip_talks import talk
from data.clips import read_clips
from data.event_sets import EQUAL
from data.events import RATE, draw_clip
from data.places import EVENTS, HEIGHT, STILL, WIDTH, WORLDS, draw_place, sources
from data.readers import read_manifest
from data.talks import check, conversations
from eval.tasks import Task, samples_of
from tests.clipmaker import moving_square, write_clip


def placed(kind: str, seed: int = 0):
    """A place with a still camera in which the kind can happen."""
    rng = np.random.default_rng([seed, EVENTS.index(kind)])
    for _ in range(200):
        place = draw_place(rng, "train")
        if kind in place.events and place.camera == "still":
            return place, rng
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_where_and_when_its_record_says(kind):
    place, rng = placed(kind)
    frames, event = draw_clip(place, rng, kind)
    assert frames.shape[1:] == (HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert event.kind == kind and 0 <= event.span[0] < event.span[1] <= len(frames) / RATE + 1e-9
    x1, y1, x2, y2 = event.box
    assert 0 <= x1 < x2 <= WIDTH and 0 <= y1 < y2 <= HEIGHT
    assert event.place in event.words and f"{event.span[0]:.1f} s" in event.words


@pytest.mark.parametrize("kind", ["appears", "vanishes", "defect grows"])
@pytest.mark.parametrize("seed", range(3))
def test_what_stays_changes_the_picture_inside_its_box_more_than_elsewhere(kind, seed):
    place, rng = placed(kind, seed)
    while place.world != STILL or place.camera != "still":  # nothing else moves there
        place = draw_place(rng, "train", STILL)
    frames, event = draw_clip(place, rng, kind)
    number = int(sum(event.span) / 2 * RATE)
    # some frames together, each at its own light: what is left is no noise
    before, after = (
        np.mean([one / np.median(one, axis=(0, 1)) for one in frames[max(0, at - 3) : at + 4]], axis=0)
        for at in (0, number)
    )
    changed = np.abs(after - before).max(axis=2)
    x1, y1, x2, y2 = event.box
    inside = changed[y1:y2, x1:x2]
    elsewhere = changed.copy()
    elsewhere[max(0, y1 - 4) : y2 + 4, max(0, x1 - 4) : x2 + 4] = 0
    assert np.quantile(inside, 0.95) > 1.5 * np.quantile(elsewhere, 0.99)


def test_a_clip_follows_from_its_chance_and_a_normal_one_has_no_event():
    place = draw_place(np.random.default_rng(1), "val", "walkway")
    one, event = draw_clip(place, np.random.default_rng(2))
    assert event is None and np.array_equal(one, draw_clip(place, np.random.default_rng(2))[0])
    assert np.abs(one[0].astype(int) - one[20]).max() > 40  # the usual movers
    with pytest.raises(ValueError, match="unknown event"):
        draw_clip(place, np.random.default_rng(2), "explodes")


def test_folds_share_no_photograph_and_no_family():
    assert not set(sources("train")) & set(sources("val"))
    for world in WORLDS:
        for fold in ("train", "val"):
            assert draw_place(np.random.default_rng(3), fold, world).source in sources(fold)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("events")
    build_events(out, count=4, seed=5, fold="val")
    build_events(out, count=2, seed=5, fold="train")
    return out


def test_a_set_reads_back_with_spans_references_and_pairs(folder):
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [row["fold"] for row in rows].count("val") == 4 and len(rows) == 6
    clips = list(read_clips(folder, "val"))
    assert [clip.label for clip in clips] == [1, 0, 1, 0]
    for odd, normal in zip(clips[::2], clips[1::2], strict=True):
        assert odd.category == normal.category and odd.reference == normal.reference
        assert odd.is_video and odd.reference[0].is_file() and normal.seconds == ()
        ((start, end),) = odd.seconds
        with ClipReader(odd.files[0]) as reader:
            assert end <= reader.duration + 0.11
        assert odd.time_labels([start - 0.05, start, end - 0.05, end]) == [0, 1, 1, 0]
        assert normal.time_labels([0.0, 1.0]) == [0, 0]
    assert [sample.clip.name for sample in samples_of(Task.video, folder)] == [clip.name for clip in clips]
    assert not list(read_manifest(folder))  # no picture among them
    assert (folder / "val.png").is_file() and "--fold train" in (folder / "DATASHEET.md").read_text()


def test_conversations_about_a_set_are_true_of_it_and_fit_to_train_on(folder):
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["fold"] == "val"]
    assert check(folder / "conversations-val.json") == (4, 0, [])
    for row, said in zip(rows, conversations(folder / "conversations-val.json"), strict=True):
        assert said.clip == str(folder / row["clip"]) and said.turns[0][0].startswith("<image>")
    for seed in range(30):
        for row in rows:
            (question, answer), *others = talk(row, np.random.default_rng(seed))
            assert answer.startswith("Yes") == (bool(row["label"]) != ("normal" in question))
            for _, text in [(question, answer), *others]:
                if row["label"]:
                    assert f"{row['spans'][0][0]:.1f} s" in text
                else:
                    assert not any(sign.isdigit() for sign in text)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": 2}, "label is 2"), ({"label": 0}, "there are 1 spans"), ({"spans": [[3, 1]]}, "pairs of start"),
        ({"clip": "../x.mp4"}, "out of the set"), ({"reference": ["gone.mp4"]}, "no file gone.mp4"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path, change, sentence):
    write_clip(tmp_path / "a.mp4", moving_square(4))
    row = {"clip": "a.mp4", "label": 1, "spans": [[0.1, 0.2]], "fold": "val"} | change
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(RecordError, match=sentence):
        list(read_clips(tmp_path))


def test_an_unknown_fold_is_refused(tmp_path):
    with pytest.raises(RecordError, match="no fold"):
        build_events(tmp_path, fold="test")


def test_clips_made_equal_are_of_one_size_and_keep_their_labels(tmp_path):
    for name, size in (("fight/a", (400, 300)), ("nofight/b", (640, 360))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((*size[::-1], 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    equal_clips(tmp_path / "equal", tmp_path / "set", split="", seconds=2.0)
    clips = list(read_clips(tmp_path / "equal", "val"))
    assert [clip.label for clip in clips] == [1, 0] and all(clip.seconds is None for clip in clips)
    for clip in clips:
        with ClipReader(clip.files[0]) as reader:
            assert reader.size == EQUAL and reader.count() == 8 and reader.duration == pytest.approx(2.0, abs=0.05)
    with pytest.raises(RecordError, match="is a video file"):
        equal_clips(tmp_path / "again", tmp_path / "equal", split="", seconds=2.0)
