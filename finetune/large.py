"""The trainer of both stages of a OneVision profile: what is trained is saved, the rest is in the checkpoint.

Samples are a function of their number, so that a run that was killed goes on bit for bit, and so that two processes
see together what one sees alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from assistant.errors import RecipeError
from assistant.weight_card import TRAINING_FILE
from finetune.checkpoint import MarkComplete, last_complete
from finetune.recipe import Recipe, in_pieces, precision, processes

TRAINED_FILE = "trained.safetensors"
WHOLE_FOLDER = "whole"
"""Of a run whose weights lie in pieces: where they are put together at its end."""


class TrainedOnly(Trainer):
    """Checkpoints hold the trained weights alone, at their own precision, so that a resumed run is the same run."""

    def __init__(self, model: nn.Module, **kwargs: Any) -> None:
        self.trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        super().__init__(model=model, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if state_dict is None else state_dict
        save_file({name: state[name].detach().contiguous() for name in self.trained}, folder / TRAINED_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_trained(self.model, Path(resume_from_checkpoint))


def load_trained(stage: nn.Module, folder: Path) -> None:
    """What is trained of a stage, from a checkpoint of `TrainedOnly`.

    Raises:
        RecipeError: it is of another training.
    """
    try:
        tensors = load_file(folder / TRAINED_FILE)
    except (OSError, SafetensorError):
        raise RecipeError(f"The checkpoint {folder.name} is of another training.") from None
    own = {name: parameter for name, parameter in stage.named_parameters() if parameter.requires_grad}
    if set(tensors) != set(own) or any(own[name].shape != value.shape for name, value in tensors.items()):
        raise RecipeError("The run folder holds a checkpoint of another recipe.", "Name another folder with --out.")
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def updates_of(recipe: Recipe, samples: int) -> int:
    """Updates of a training on so many samples a pass."""
    if recipe.steps:
        return recipe.steps
    return max(1, int(samples * recipe.epochs) // (recipe.batch * recipe.accumulate * processes()))


def fit(
    stage: nn.Module,
    dataset: Dataset,
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    recipe: Recipe,
    updates: int,
    out: Path,
    seed: int,
) -> None:
    """Trains what of `stage` wants gradients; goes on at the last complete checkpoint of `out`.

    Args:
        stage: gives {"loss"} for what `collate` makes of samples.
        dataset: at least `updates` times the samples of an update, in order.
        collate: samples -> the keyword arguments of `stage.forward`.
        recipe: rates, sizes and where figures go.
        updates: how many.
        out: run folder.
        seed: of what is random within a step.
    """
    trainer = TrainedOnly(
        model=stage,
        args=TrainingArguments(
            output_dir=str(out), max_steps=updates, per_device_train_batch_size=recipe.batch,
            gradient_accumulation_steps=recipe.accumulate, learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.schedule, warmup_steps=recipe.warmup, weight_decay=recipe.decay, max_grad_norm=1.0,
            save_steps=recipe.save_steps, save_total_limit=2, logging_steps=recipe.log_steps, seed=seed,
            report_to=recipe.report_to, project=out.name, dataloader_num_workers=recipe.workers,
            remove_unused_columns=False, label_names=["labels"], train_sampling_strategy="sequential",
            average_tokens_across_devices=True, ddp_find_unused_parameters=False, ddp_backend=backend(), **precision(),
        ),
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[MarkComplete()],
    )  # fmt: skip
    with trainer.args.main_process_first(local=False):  # it removes torn checkpoints
        resume = last_complete(out)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if in_pieces():  # every process gives its own
        trainer.save_model(str(out / WHOLE_FOLDER))


def backend() -> str | None:
    """How processes talk: gloo without GPUs, the library's own choice with them."""
    return "gloo" if processes() > 1 and not torch.cuda.is_available() else None


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def note_training(folder: Path, stage: str, recipe: Recipe, sets: dict[str, tuple[int, set[str]]]) -> None:
    """Keeps in a weights folder what a stage was trained on and how, for its card.

    Args:
        folder: of the weights.
        stage: "look" or "chat".
        recipe: of the stage.
        sets: name -> (samples, licences as the source states them).
    """
    file = folder / TRAINING_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    listed = {name: {"count": count, "licences": sorted(licences)} for name, (count, licences) in sets.items()}
    known[stage] = {"recipe": asdict(recipe), "sets": listed}
    aside = file.with_suffix(".partial")
    aside.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)
