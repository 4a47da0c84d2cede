"""The language stage learns of clips: looks kept and read back, a mix that depends on its number alone, a real step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assistant.errors import RecordError
from assistant.picture import picture_facts
from assistant.types import Span
from data.build import events as build_events
from data.clip_instruct import told
from data.clips import Clip
from finetune import clip_looks
from finetune.chat import ChatTrainer, ConversationDataset, collate, prepare
from finetune.clip_chat import WithClips, about_clip, known_clips
from finetune.clip_looks import MODES, make_clip_looks, read_clip_looks
from finetune.looks import KnownLook
from tests.tiny import tiny_inspector, tiny_model


@pytest.fixture(scope="module")
def inspector():
    return tiny_inspector()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("events")
    build_events(out, count=2, seed=5, fold="train")
    return out


@pytest.fixture(scope="module")
def looks(inspector, drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("looks")
    known = known_clips(drawn, inspector, out)
    return out, known


def test_looks_come_back_as_they_were_made(inspector, drawn, looks):
    _, known = looks
    assert sorted((one.row["clip"], one.mode) for one in known) == sorted(
        (f"train/0000-{name}.mp4", mode) for name in ("event", "normal") for mode in MODES
    )
    for one in known[:1] + known[-1:]:
        normal = [drawn / one.row["reference"][0]] if one.mode == "held" else []
        made = inspector.look_clip(drawn / one.row["clip"], normal)
        assert inspector.processor.head(one.look) == inspector.processor.head(made)
        assert one.look.time == made.time and one.look.clip.spans == made.clip.spans
        for kept, key in zip(one.look.clip.keys, made.clip.keys, strict=True):
            assert kept.tokens.keys() == key.tokens.keys()
            for kind, value in key.tokens.items():
                np.testing.assert_allclose(kept.tokens[kind], value, rtol=2e-3, atol=1e-2, err_msg=f"{kind} {key.time}")


def test_a_second_start_goes_on_and_other_weights_are_refused(inspector, drawn, looks, monkeypatch, tmp_path):
    out, known = looks
    missing = sorted(out.glob("*.jsonl"))[1]
    text = missing.read_text()
    missing.unlink()
    made = []
    look = inspector.look_clip
    monkeypatch.setattr(inspector, "look_clip", lambda *args, **rest: made.append(args) or look(*args, **rest))
    make_clip_looks(inspector, drawn, "train", out)
    assert len(made) == 2 and missing.read_text().splitlines()[0][:20] == text[:20]
    assert [one.row["clip"] for one in read_clip_looks(out)] == [one.row["clip"] for one in known]
    monkeypatch.setitem(vars(inspector), "fingerprint", "another")
    with pytest.raises(RecordError, match="other weights"):
        make_clip_looks(inspector, drawn, "train", out)
    with pytest.raises(RecordError, match="no clips with a reference"):
        make_clip_looks(inspector, drawn, "val", tmp_path)
    with pytest.raises(RecordError, match="no looks at clips"):
        read_clip_looks(tmp_path)


def test_half_a_run_has_both_modes():
    clips = [Clip(name, (), "events", "", 0, reference=(Path(name[0]),)) for name in ("a1", "a2", "b1")]
    assert [(number, mode, [clip.name for clip in here]) for number, mode, here in clip_looks._jobs(clips)] == [
        (0, "alone", ["a1", "a2"]), (1, "held", ["b1"]), (0, "held", ["a1", "a2"]), (1, "alone", ["b1"]),
    ]  # fmt: skip


def test_damaged_looks_are_named(looks, tmp_path):
    out, _ = looks
    for file in out.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    first = sorted(tmp_path.glob("*.jsonl"))[0]
    first.write_text(first.read_text()[:-30])
    with pytest.raises(RecordError, match=f"{first.name} is damaged"):
        read_clip_looks(tmp_path)


def test_a_look_is_right_when_verdict_and_time_are(looks):
    one = next(one for one in looks[1] if one.row["label"])
    (start, end), span = one.row["spans"][0], Span(0, 0, 0, 0.9, "centre", "something is there")

    def right(label, *spans):
        row = one.row | {"label": label}
        facts = replace(one.look.clip, spans=tuple(replace(span, start=a, end=b, peak=a) for a, b in spans))
        return replace(one, row=row, look=replace(one.look, clip=facts)).is_right

    assert right(1, (start + 0.1, end + 1)) and not right(1, (end + 0.1, end + 1)) and not right(1)
    assert right(0) and not right(0, (start, end))


def pictures(processor, count: int) -> ConversationDataset:
    facts = picture_facts(np.full((64, 64, 3), 120, np.uint8))
    known = [KnownLook(0.9 if label else 0.1, (), (), facts, 0, label, "scratch", "set") for label in (0, 1)]
    size = processor.config.vision_config.token_size
    tokens = {kind: torch.zeros(2, number, size) for kind, number in processor.counts().items()}
    model, _ = tiny_model()
    cells = processor.config.heatmap_config.cells
    tokens["map"] = torch.zeros(2, cells[0] * cells[1], model.map_tokens.mlp[0].in_features)
    return ConversationDataset(tokens, known, processor, count, 4)


def test_the_mix_depends_on_seed_and_number_and_keeps_its_share(inspector, looks):
    known, base = looks[1], pictures(inspector.processor, 200)
    mixed, again = WithClips(base, known, 0.25), WithClips(base, known, 0.25)
    assert len(mixed) == 200
    clips = []
    for number in range(200):
        one = mixed[number]
        clips.append("frames" in one)
        if number % 20 == 0:
            other = again[number]
            assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        if not clips[-1]:  # the picture that would stand there without clips
            assert torch.equal(one["input_ids"], base[number]["input_ids"])
    assert 0.15 < np.mean(clips) < 0.35
    assert not any("frames" in WithClips(base, known, 0.0)[number] for number in range(10))


def test_the_prompt_of_training_is_the_assistants_own(inspector, looks):
    processor = inspector.processor
    for number, clip in enumerate(looks[1]):
        sample = about_clip(processor, clip, np.random.default_rng([number, 1]))
        text = processor.tokenizer.decode(sample["input_ids"]).replace(" ", "")
        own = processor.head(clip.look)
        assert own[own.index("Most suspicious") :].replace(" ", "") in text
        assert sample["frames"].shape[0] == len(clip.look.clip.keys) - 1
        assert told(clip.look, clip.row).event in ("", clip.row["event"])
        assert int((sample["labels"] != -100).sum()) > 0


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft, while it is put on
def test_a_step_on_pictures_and_clips_moves_the_weights(inspector, looks):
    model, processor = tiny_model()
    mixed = WithClips(pictures(processor, 40), looks[1], 0.5)
    prepare(model, 2)
    batch = collate([mixed[number] for number in range(6)])
    assert batch["framed"].any() and not batch["framed"].all()
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2)
    losses = []
    for _ in range(3):
        loss = ChatTrainer.compute_loss(None, model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
