"""Clips on a tiny LLaVA-OneVision: looked at, talked about, trained on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers.utils import logging

from assistant import load
from assistant.prompts import DEFAULT_QUESTION
from assistant.types import ClipFile
from data.talks import Mixed, Source
from finetune.onevision_chat import ChatStage, TalkDataset
from finetune.recipe import ChatRecipe
from tests.clipmaker import moving_square, write_clip
from tests.tiny_onevision import tiny_checkpoint, tiny_look

logging.disable_progress_bar()


@pytest.fixture(scope="module")
def onevision(tmp_path_factory):
    checkpoint = tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return load(str(tiny_look(checkpoint, tmp_path_factory.mktemp("weights"))))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "odd.mp4", moving_square(12))


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
    frames = np.repeat(moving_square(1), 12, axis=0)
    return write_clip(tmp_path_factory.mktemp("clips") / "normal.mp4", frames)


@pytest.mark.parametrize("held", [False, True])
def test_a_clip_is_looked_at_and_answered(onevision, clip, normal, short_answers, held):
    look = onevision.look_clip(ClipFile(clip), [ClipFile(normal)] if held else [])
    assert 0 <= look.score <= 1 and look.clip.frames and look.size == (96, 64)
    answer = "".join(onevision.ask(look, DEFAULT_QUESTION))
    assert answer
    finding = onevision.finding(look, answer).to_dict()
    assert len(finding["frames"]) == len(look.clip.frames) and finding["camera"] in ("still", "moving")
    assert "".join(onevision.ask(look, "What colour is it?", [(DEFAULT_QUESTION, answer)]))


def test_a_clip_is_trained_on_frame_by_frame(onevision, clip, tmp_path):
    said = [{"from": "human", "value": "<video>\nIs it odd?"}, {"from": "gpt", "value": "Yes."}]
    (tmp_path / "talks.json").write_text(json.dumps([{"video": clip.name, "conversations": said}]))
    mixed = Mixed([Source(tmp_path / "talks.json", clip.parent)], tmp_path / "cache", 0)
    talk = TalkDataset(mixed, 1, clip_frames=3)[0]
    assert talk.is_clip and [frame.shape for frame in talk.pictures] == [(64, 96, 3)] * 3
    assert not np.array_equal(talk.pictures[0], talk.pictures[2])
    stage = ChatStage(onevision, ChatRecipe())
    batch = stage.collate([talk])
    with torch.inference_mode():
        assert float(stage(**batch)["loss"]) > 0
    looks = [onevision.look(frame) for frame in talk.pictures]
    ids, _ = stage._tokenised(talk, looks)
    text = "".join(onevision.processor.tokenizer.convert_ids_to_tokens(ids.tolist()))
    assert "Frame 1 of 3." in text and "Frame 3 of 3." in text
    assert int((ids == 6).sum()) == 3 * (36 + 1 + 1 + 4 * onevision.processor.pixels(talk.pictures[0]).counts[0])
