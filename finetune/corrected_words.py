"""The language stage of a training with corrections: LoRA, projector and map tokens go on from the old weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from assistant.loading import compose
from assistant.profiles import Profile
from assistant.prompts import neutralise
from assistant.weights import (
    ADAPTER_FOLDER,
    LANGUAGE_FILE,
    LANGUAGE_PARTS,
    LOOK_FILE,
    LOOK_PARTS,
    load_parts,
    save_parts,
)
from data.layouts_talks import Talk
from data.schema import Record
from finetune.chat import (
    ADAPTER_WEIGHTS,
    ChatTrainer,
    ConversationDataset,
    collate,
    load_language,
    prepare,
    save_adapter,
    supervised,
    teach,
)
from finetune.features import feature_files, make_features
from finetune.looks import make_looks, read_looks
from finetune.records import RecordSamples

BATCH, RANK, RATE = 4, 16, 1e-4
SHARE = 0.5
"""Of the conversations that are corrected words, where there are any."""
HELD = 16
"""Conversations by whose loss it is decided whether new words are kept."""
MOST_RISE = 0.0
"""Of that loss."""


class CorrectedConversations(Dataset):
    """Conversations of a `ConversationDataset`, every second one a corrected answer; number i depends on (seed, i)."""

    def __init__(self, known: ConversationDataset, corrected: Sequence[dict[str, Tensor]], seed: int) -> None:
        self.known, self.corrected, self.seed = known, corrected, seed

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index, 11])
        if len(self.corrected) and rng.random() < SHARE:
            return self.corrected[int(rng.integers(len(self.corrected)))]
        return self.known[index]


def teach_words(
    profile: Profile, out: Path, talks: Sequence[Talk], *, steps: int, seed: int
) -> tuple[Path | None, dict[str, Any]]:
    """Trains the language stage on the looks of `out/look.safetensors`.

    Args:
        profile: of the weights to go on from.
        out: run of `retrain`: the look's weights and cached features of mixed samples.
        talks: conversations with corrected words.
        steps, seed: batches of BATCH conversations.

    Returns:
        The folder with new language weights, None when conversations kept apart came out worse; losses before and
        after, {"before": {"held", "corrected"}, "after": ...}, None where there are no corrected words.
    """
    loaded = compose(profile, stage="look")
    model, processor = loaded.model, loaded.processor
    load_parts(model.look_model, LOOK_PARTS, out / LOOK_FILE)
    shutil.rmtree(out / "looks", ignore_errors=True)
    files = feature_files(out / "features")
    make_looks(model.look_model, loaded.calibration, files, out / "looks", seed, familiar=loaded.familiar)
    tokens, known = read_looks(out / "looks")
    corrected = _corrected(model, loaded.calibration, processor, out, talks)
    prepare(model, RANK)
    load_language(model, profile.weights / LANGUAGE_FILE, profile.weights / ADAPTER_FOLDER / ADAPTER_WEIGHTS)
    held = [ConversationDataset(tokens, known, processor, HELD, seed + 1)[n] for n in range(HELD)]
    before = {"held": loss_of(model, held), "corrected": loss_of(model, corrected)}
    dataset = ConversationDataset(tokens, known, processor, steps * BATCH, seed)
    shutil.rmtree(out / "chat", ignore_errors=True)
    teach(
        model, CorrectedConversations(dataset, corrected, seed), out / "chat", steps=steps, batch=BATCH, rate=RATE,
        seed=seed, save_steps=steps,
    )  # fmt: skip
    after = {"held": loss_of(model, held), "corrected": loss_of(model, corrected)}
    facts = {"before": before, "after": after, "steps": steps}
    if after["held"] > before["held"] + MOST_RISE:
        return None, facts | {"kept": False}
    folder = out / "language"
    save_parts(model, LANGUAGE_PARTS, folder / LANGUAGE_FILE)
    save_adapter(model, folder / ADAPTER_FOLDER)
    return folder, facts | {"kept": True}


def _corrected(
    model: Any, calibration: Any, processor: Any, out: Path, talks: Sequence[Talk]
) -> list[dict[str, Tensor]]:
    """Corrected words with the look at their picture, ready for the trainer."""
    if not talks:
        return []
    # the label is not known and enters neither the look nor the prompt
    records = [Record(talk.image, 0, "corrections", "corrected") for talk in talks]
    for part in ("talk-features", "talk-looks"):
        shutil.rmtree(out / part, ignore_errors=True)
    files = make_features(
        model.look_model, RecordSamples(records, model.config.vision_config), out / "talk-features", "words"
    )
    make_looks(model.look_model, calibration, files, out / "talk-looks", 0)
    tokens, known = read_looks(out / "talk-looks")
    known = [replace(look, label=int(look.score > 0.5)) for look in known]  # the prompt tells the look's verdict
    return [
        supervised(
            processor, look, _plain(talk.turns, processor), {name: value[number] for name, value in tokens.items()}
        )
        for number, (look, talk) in enumerate(zip(known, talks, strict=True))
    ]


def _plain(turns: Sequence[tuple[str, str]], processor: Any) -> list[tuple[str, str]]:
    """Words of a user without special tokens, in the answers too."""
    return [tuple(neutralise(words, processor.specials) for words in turn) for turn in turns]


@torch.inference_mode()
def loss_of(model: Any, conversations: Sequence[dict[str, Tensor]]) -> float | None:
    """Mean cross-entropy of conversations, one at a time; None when there is none."""
    model.eval()
    found = [float(ChatTrainer.compute_loss(None, model, collate([one]))) for one in conversations]
    return round(float(np.mean(found)), 4) if found else None
