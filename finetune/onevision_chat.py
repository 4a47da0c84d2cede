"""Stage 2 of a LLaVA-OneVision profile: projector and language model learn to speak of looks; the look is frozen.

Every picture of a conversation is looked at as `Inspector.look` does it, so that the words are trained on the very
prompts they will answer: ordinary tokens, score band, suspicious tokens, measured facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
import yaml
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.data import Dataset

from assistant.clip_reader import ClipReader
from assistant.errors import LookTwiceError, RecipeError, RecordError, WeightsError
from assistant.export import write_merged
from assistant.inspector import Inspector
from assistant.media import read_media
from assistant.modeling import as_batch
from assistant.onevision import OneVision
from assistant.onevision_loading import (
    PROJECTOR_PARTS,
    OneVisionLoaded,
    checkpoint_config,
    compose_onevision,
    quantized,
)
from assistant.packaged import dtype_of
from assistant.profiles import Profile
from assistant.prompts import BASE_SYSTEM, SYSTEM, neutralise
from assistant.types import Look
from assistant.weights import ADAPTER_FOLDER, LANGUAGE_FILE, LOOK_FILE, save_parts
from data.layouts_talks import MARK
from data.talks import Mixed, Source
from finetune.estimate import chat_estimate, refuse_what_will_not_fit
from finetune.large import WHOLE_FOLDER, fit, is_main, load_trained, note_training, updates_of
from finetune.recipe import ChatRecipe, in_pieces, own_device, processes, read_recipe, refuse_others, trained_as

RECIPE = "onevision-chat.yaml"
TARGETS = r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
"""Whole paths in the checkpoint: short names would also land in the tower."""
IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True, eq=False)
class Talk:
    """A conversation with its pictures read: [H, W, 3] uint8 each, a clip as its frames."""

    where: str
    pictures: tuple[np.ndarray, ...]
    is_clip: bool
    turns: tuple[tuple[str, str], ...]


class TalkDataset(Dataset):
    """Conversations by number, pictures read."""

    def __init__(self, mixed: Mixed, length: int, clip_frames: int) -> None:
        self.mixed, self.length, self.clip_frames = mixed, length, clip_frames

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Talk:
        row = self.mixed[index]
        try:
            pictures = [read_media(Path(name)).frames[0].pixels for name in row.pictures]
            if row.clip:
                pictures = frames_of(Path(row.clip), self.clip_frames)
        except LookTwiceError as error:
            raise RecordError(f"{row.where}: {error.sentence}") from None
        return Talk(row.where, tuple(pictures), bool(row.clip), row.turns)


def frames_of(clip: Path, count: int) -> list[np.ndarray]:
    """Frames spread evenly over a clip, in order; raises MediaError when it has none."""
    with ClipReader(clip) as reader:
        times = [(n + 0.5) * reader.duration / count for n in range(count)]
        frames = [grab.frame.pixels for grab in reader.frames(times)]
    if not frames:
        raise RecordError(f"The clip {clip.name} has no frame that can be seen.")
    return frames


class ChatStage(nn.Module):
    """The checkpoint, whose projector and language model learn, with the loss of stage 2.

    The look is held and no part of this: what spreads a model over processes also casts it to half precision, and looks
    are made in float32.

    Args:
        inspector: of the profile; it looks.
        recipe: of the stage.
    """

    accepts_loss_kwargs = True

    def __init__(self, inspector: Inspector, recipe: ChatRecipe) -> None:
        super().__init__()
        self.language_model = inspector.model.language_model
        self._inspector = (inspector,)
        self.longest = recipe.longest

    @property
    def model(self) -> OneVision:
        """The model, look and all."""
        return self._inspector[0].model

    def train(self, mode: bool = True) -> ChatStage:
        """The look never leaves evaluation."""
        super().train(mode)
        self.model.look_model.eval()
        self.model.llava.model.vision_tower.eval()
        return self

    def collate(self, talks: Sequence[Talk]) -> dict[str, Any]:
        """Conversations as the arguments of `forward`; labels tell the trainer how many words there are to learn."""
        processor = self._inspector[0].processor
        rows = [
            processor.supervised(messages_of(talk, [""] * len(talk.pictures), processor.specials)) for talk in talks
        ]
        longest = max(len(labels) for _, labels in rows)
        labels = [nn.functional.pad(labels, (0, longest - len(labels)), value=IGNORED) for _, labels in rows]
        return {"talks": list(talks), "labels": torch.stack(labels)}

    def forward(
        self, talks: list[Talk], labels: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> dict[str, Tensor]:
        """Conversations -> {"loss"}: cross-entropy of the answers' words, summed and divided by the words to learn.

        Args:
            talks: of one batch.
            labels: of `collate`; only counted.
            num_items_in_batch: words of the whole update over all processes; those of this batch when None.
        """
        rows, tokens = [], []
        for talk in talks:
            looks = [self._look(picture) for picture in talk.pictures]
            rows.append(self._tokenised(talk, looks))
            if looks:
                tokens += self.model.joined([self.model.tokens_class(**as_batch(look.tokens)) for look in looks])
        device = labels.device
        longest = max(len(ids) for ids, _ in rows)
        pad = self._inspector[0].processor.tokenizer.pad_token_id or 0

        def padded(part: int, value: int) -> Tensor:
            return torch.stack(
                [nn.functional.pad(row[part], (0, longest - len(row[part])), value=value) for row in rows]
            )

        ids, wanted = padded(0, pad).to(device), padded(1, IGNORED)[:, 1:].to(device)
        lengths = torch.tensor([len(ids) for ids, _ in rows], device=device)
        mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
        llava = self.model.llava
        encoded = {"mm_encoder_outputs": self.model.encoded(ids, tokens)} if tokens else {}
        hidden = llava.model(input_ids=ids, attention_mask=mask, use_cache=False, **encoded).last_hidden_state
        learnt = wanted != IGNORED
        logits = llava.lm_head(hidden[:, :-1][learnt]).float()  # a vocabulary of logits at every token would not fit
        loss = nn.functional.cross_entropy(logits, wanted[learnt], reduction="sum")
        loss = loss / (learnt.sum() if num_items_in_batch is None else num_items_in_batch)
        if not tokens:  # the projector belongs to every step, or processes would wait for its gradient
            projector = llava.model.multi_modal_projector
            weight = next(projector.parameters())
            idle = projector(weight.new_zeros(1, self.model.config.vision_config.token_size)).sum()
            loss = loss + 0.0 * (idle + llava.model.image_newline.sum())
        return {"loss": loss}

    def _look(self, picture: np.ndarray) -> Look:
        device = next(self.model.llava.model.vision_tower.parameters()).device
        if next(self.model.look_model.parameters()).device != device:  # where the trainer has put the rest
            self.model.look_model.to(device)
        with torch.autocast(device.type, enabled=False):
            return self._inspector[0].look(picture)

    def _tokenised(self, talk: Talk, looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
        """(ids [T], labels [T]) of a conversation, cut to `longest`."""
        processor = self._inspector[0].processor
        heads = [processor.part(look, alone=len(looks) == 1) for look in looks]
        ids, labels = processor.supervised(messages_of(talk, heads, processor.specials))
        ids, labels = ids[: self.longest], labels[: self.longest]
        placeholders = sum(sum(processor.counts(look.size, alone=len(looks) == 1).values()) for look in looks)
        if int((ids == self.model.llava.config.image_token_id).sum()) != placeholders or not (labels != IGNORED).any():
            raise RecordError(f"{talk.where}: the pictures alone take more than {self.longest} tokens.")
        return ids, labels


def messages_of(talk: Talk, heads: Sequence[str], specials: Sequence[str]) -> list[dict[str, str]]:
    """Messages for the chat template, with the head of each look in the place of its mark.

    A clip's one mark stands for all its frames. Special tokens in the words are made harmless.
    """
    heads = (
        ["".join(f"Frame {n} of {len(heads)}.\n{head}" for n, head in enumerate(heads, 1))] if talk.is_clip else heads
    )
    left = iter(heads)
    messages = [{"role": "system", "content": SYSTEM if heads else BASE_SYSTEM}]
    for question, answer in talk.turns:
        words = re.split(rf"{re.escape(MARK)}\n?", question)
        pieces = [neutralise(words[0], specials)]
        for part in words[1:]:
            pieces += [next(left), neutralise(part, specials)]
        messages.append({"role": "user", "content": "".join(pieces).strip()})
        messages.append({"role": "assistant", "content": neutralise(answer, specials)})
    return messages


def read_sources(file: Path) -> list[Source]:
    """The sources of a mix: one file of conversations, or a YAML list of {file, root, weight}.

    Raises:
        RecipeError: the YAML is none, or an entry says something else.
    """
    if file.suffix.lower() not in (".yaml", ".yml"):
        return [Source(file)]
    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not rows:
            raise ValueError("no list")
        sources = []
        for row in rows:
            if set(row) - {"file", "root", "weight"}:
                raise ValueError(f"unknown {min(set(row) - {'file', 'root', 'weight'})}")
            root = file.parent / str(row["root"]) if "root" in row else None
            sources.append(Source(file.parent / str(row["file"]), root, float(row.get("weight", 1.0))))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        first = str(error).splitlines()[:1] or [type(error).__name__]
        raise RecipeError(f"The mix '{file.name}' is no list of file, root and weight ({first[0]}).") from None
    return sources


def prepare(model: OneVision, recipe: ChatRecipe, base: str) -> None:
    """Thaws what the method trains, in float32; puts the LoRA on and switches checkpointing on."""
    model.requires_grad_(False)
    llava = model.llava
    projector = llava.model.multi_modal_projector
    if recipe.method == "full":
        llava.model.language_model.requires_grad_(True)
        llava.lm_head.requires_grad_(True)
        llava.model.language_model.float()
        llava.lm_head.float()
    else:
        config = LoraConfig(
            r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=TARGETS, bias="none",
            task_type="CAUSAL_LM", base_model_name_or_path=base,
        )  # fmt: skip
        model.language_model = get_peft_model(llava, config)
    projector.requires_grad_(True)
    projector.float()
    llava.model.image_newline.requires_grad_(True)
    llava.model.image_newline.data = llava.model.image_newline.data.float()
    if recipe.checkpointing:
        llava.model.language_model.activation_checkpointing_enable({"use_reentrant": False})


def train_chat(
    talks: Path | None,
    out: Path,
    profile: Profile,
    recipe_file: Path | None,
    seed: int,
    context: typer.Context | None = None,
) -> None:
    """Trains the language stage of a OneVision profile and writes it to its weights folder.

    A full training writes a whole checkpoint to `out`/checkpoint instead, which is a profile by itself.

    Args:
        talks: conversations, or a YAML that mixes several files; None is refused.
        out: run folder; a second start resumes.
        profile: names the checkpoint; its weights folder holds the look and gets the result.
        recipe_file: YAML of a ChatRecipe, None for the one that ships.
        seed: everything random follows from it.
        context: of the command line, for options that are not read.

    Raises:
        RecipeError: a setting that cannot work, or a training that would not fit.
        RecordError: a conversation that cannot be used.
        WeightsError: there is no look to speak of, or no 4-bit weights here.
    """
    refuse_others(context, "talks", "out", "profile", "recipe", "seed")
    if talks is None:
        raise RecipeError("There is nothing to talk about.", "Name conversations with --talks.")
    recipe = read_recipe(recipe_file, ChatRecipe, RECIPE)
    profile = trained_as(profile)
    dtype = dtype_of(profile.dtype)
    quantized(
        "4bit" if recipe.method == "qlora" else None, dtype
    )  # refuses what cannot run here, before anything is read
    if not (profile.weights / LOOK_FILE).is_file():
        raise WeightsError(
            f"The profile {profile.name} has no look weights in {profile.weights.name}.",
            "Train them with python -m finetune.look, or import the published expert.",
        )
    checkpoint = checkpoint_config(profile.checkpoint)
    estimate = chat_estimate(checkpoint, recipe, half=dtype != torch.float32)
    sentence = refuse_what_will_not_fit(estimate, "Lower batch, longest or rank, or use qlora.")
    sources = read_sources(talks)
    mixed = Mixed(sources, out / f"talks-{seed}", seed)
    updates = updates_of(recipe, mixed.epoch)
    if is_main():
        typer.echo(
            f"{mixed.epoch} conversations a pass, {updates} updates of {recipe.batch * recipe.accumulate * processes()}"
        )
        typer.echo(sentence)
    torch.manual_seed(seed)
    loaded, stage = staged(profile, recipe)
    length = updates * recipe.batch * recipe.accumulate * processes()
    dataset = TalkDataset(mixed, length, recipe.clip_frames)
    fit(stage, dataset, stage.collate, recipe, updates, out, seed)
    if is_main():
        if in_pieces():
            loaded, stage = staged(profile, recipe)
            load_trained(stage, out / WHOLE_FOLDER)
        sets = {source.file.name: (len(rows), set()) for source, rows in zip(sources, mixed.sets, strict=True)}
        note_training(profile.weights, "chat", recipe, sets)
        save(loaded, profile, recipe, out)


def staged(profile: Profile, recipe: ChatRecipe) -> tuple[OneVisionLoaded, ChatStage]:
    """The profile's model with what its method trains thawed, and the stage that trains it."""
    four: dict[str, Any] = {"quantization": "4bit", "device_map": own_device()} if recipe.method == "qlora" else {}
    loaded = compose_onevision(profile, stage="look", **four)
    prepare(loaded.model, recipe, profile.checkpoint)
    return loaded, ChatStage(Inspector(profile.name, loaded), recipe)


def save(loaded: OneVisionLoaded, profile: Profile, recipe: ChatRecipe, out: Path) -> None:
    """The trained parts into the profile's weights folder, or a whole checkpoint after a full training."""
    model = loaded.model
    if recipe.method == "full":
        folder = write_merged(loaded, profile.weights, out / "checkpoint")
        typer.echo(f"wrote {folder}")
        return
    save_parts(model.llava.model, PROJECTOR_PARTS, profile.weights / LANGUAGE_FILE)
    model.language_model.save_pretrained(str(profile.weights / ADAPTER_FOLDER), save_embedding_layers=False)
    (profile.weights / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)  # the library's empty card
    typer.echo(f"wrote {profile.weights}")
