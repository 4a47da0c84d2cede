"""Conversations about known looks at clips, and their mix with those about pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from assistant.inspector import Inspector
from assistant.processing import LookTwiceProcessor
from assistant.types import Look
from data.clip_instruct import clip_conversation, told
from data.clip_rules import written_rules
from finetune.chat import ConversationDataset, sample
from finetune.clip_looks import KnownClip, make_clip_looks, read_clip_looks

RIGHT = 0.85
"""Share of the conversations about clips whose look is right."""
WRITTEN = 0.4
"""Share under rules as people write them; the others have those of the normal clip, or none."""


class WithClips(Dataset):
    """Conversations about pictures and, for a share of them, about clips; number i is a function of (seed, i) alone."""

    def __init__(self, pictures: ConversationDataset, clips: Sequence[KnownClip], share: float) -> None:
        self.pictures, self.clips, self.share = pictures, list(clips), share
        self.by_label = [[n for n, clip in enumerate(self.clips) if clip.row["label"] == label] for label in (0, 1)]
        self.right = [[n for n in group if self.clips[n].is_right] for group in self.by_label]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.pictures.seed, index, 13])
        if rng.random() >= self.share:
            return self.pictures[index]
        label = int(rng.random() < 0.5)  # half of them normal
        few = self.right[label] if rng.random() < RIGHT else []
        chosen = few or self.by_label[label] or range(len(self.clips))
        return about_clip(self.pictures.processor, self.clips[int(chosen[rng.integers(len(chosen))])], rng)


def about_clip(processor: LookTwiceProcessor, clip: KnownClip, rng: np.random.Generator) -> dict[str, Tensor]:
    """A conversation about a clip as the trainer takes it, see `chat.sample`; the prompt is the assistant's own."""
    look = clip.look
    if rng.random() < WRITTEN:
        rules = written_rules(rng, clip.row["event"])
        look = replace(look, clip=replace(look.clip, rules=rules))
    turns = clip_conversation(told(look, clip.row), rng, turns=int(rng.integers(2, 5)))
    return sample(processor, processor.head(look), look.evidence > 0, turns, tokens_of(processor, look))


def tokens_of(processor: LookTwiceProcessor, look: Look) -> dict[str, Tensor]:
    """Tokens of a look at a clip as fields of LookTokens without their batch: comparison zeros, for none is held."""
    first, *others = (
        {kind: torch.tensor(value) for kind, value in one.tokens.items()} for one in processor.shown(look)
    )
    first.setdefault(
        "comparison", first["suspicious"].new_zeros(processor.counts()["comparison"], first["suspicious"].shape[1])
    )
    if others:
        first["frames"] = torch.stack([one["suspicious"] for one in others])
    return first


def known_clips(folder: Path, inspector: Inspector, out: Path) -> list[KnownClip]:
    """Looks of a folder of `finetune.clip_looks`, or those at a set of drawn events, kept in `out`.

    Raises:
        RecordError: it is neither.
    """
    if (folder / "manifest.jsonl").is_file():
        make_clip_looks(inspector, folder, "train", out)
        folder = out
    return read_clip_looks(folder)
