"""Stage 1: trains selector and heatmap head on real and drawn masks, boxes and labels; the tower stays frozen.

python -m finetune.look --data DIR [--steps N] [--out RUN] [--profile NAME]
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from assistant.command import run
from assistant.loading import read_config
from assistant.modeling import LookModel
from assistant.packaged import fill_tower
from assistant.profiles import Profile, read_profile
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from data.readers import read_manifest
from finetune.checkpoint import MarkComplete, last_complete
from finetune.dataset import LookDataset
from finetune.losses import dice_loss, focal_loss

MAP_WEIGHT, DICE_WEIGHT, LEVEL_WEIGHT, SCORE_WEIGHT = 20.0, 0.5, 5.0, 0.5
"""Focal terms are means over mostly empty pictures, hence small; these bring all terms to the same order."""


class LookStage(nn.Module):
    """LookModel with the losses of stage 1: the module the trainer sees."""

    def __init__(self, model: LookModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, mask: Tensor, weight: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Pixels [B, 3, H, W], mask and weight [B, H, W], labels [B] -> {"loss": mean over the batch}."""
        output = self.model(pixels)
        mask, weight = mask.unsqueeze(1), weight.unsqueeze(1)  # [B, 1, H, W]
        logits = output.heatmap_logits.float()
        target, share = _shrink(mask, weight, logits.shape[-2:])
        loss = MAP_WEIGHT * focal_loss(logits, target, share) + DICE_WEIGHT * dice_loss(logits, target, share)
        for level in output.selection.level_logits:
            target, share = _shrink(mask, weight, level.shape[-2:])
            loss = loss + LEVEL_WEIGHT / 4 * focal_loss(level.float(), target, share)
        for logit in (output.map_logit, output.selector_logit, output.score_logit):
            loss = loss + SCORE_WEIGHT * F.binary_cross_entropy_with_logits(logit.float(), labels, reduction="none")
        return {"loss": loss.mean()}


def _shrink(mask: Tensor, weight: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mask and weight [B, 1, H, W] at the size of a map; a cell a quarter full counts as full: cracks are thin."""
    return (F.adaptive_avg_pool2d(mask, size) * 4).clamp(max=1), F.adaptive_avg_pool2d(weight, size)


def new_model(profile: Profile) -> LookModel:
    """A LookModel of the profile's configuration, with its packaged tower and untrained parts of our own."""
    config = read_config(profile.weights)
    model = LookModel(config)
    fill_tower(model.tower.backbone, config.vision_config.backbone, profile.tower_package)
    return model


def train(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    out: Annotated[Path, typer.Option(help="Run folder; a second start resumes.")] = Path("runs/look"),
    profile: Annotated[str, typer.Option(help="Its weights folder gets look.safetensors.")] = "embedded",
    steps: Annotated[int, typer.Option(min=1)] = 1900,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: int = 0,
    go_on: Annotated[bool, typer.Option(help="Start from the profile's look.safetensors, not from nothing.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that draw samples.")] = 1,
    save_steps: Annotated[int, typer.Option(min=1)] = 100,
) -> None:
    """Trains the look stage and writes its weights."""
    random.seed(seed)
    torch.manual_seed(seed)
    records = [record for record in read_manifest(data) if record.split == "fit"]
    chosen = read_profile(profile)
    model = new_model(chosen)
    if go_on:
        load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    # half precision halves the frozen tower's time and costs its features nothing that training notices
    model.tower.backbone.to(torch.bfloat16)
    dataset = LookDataset(records, model.config.vision_config, steps * batch, batch, seed)
    typer.echo(f"{len(records)} records of {sorted({record.dataset for record in records})}; {steps} steps of {batch}")
    trainer = Trainer(
        model=LookStage(model),
        args=TrainingArguments(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=batch, learning_rate=rate,
            lr_scheduler_type="cosine", warmup_steps=max(1, steps // 12), weight_decay=0.02, max_grad_norm=1.0,
            bf16=True, use_cpu=not torch.cuda.is_available(), dataloader_num_workers=workers,
            remove_unused_columns=False, logging_steps=10, save_steps=save_steps, save_total_limit=2,
            report_to="none", seed=seed, disable_tqdm=False, train_sampling_strategy="sequential", label_names=[],
        ),
        train_dataset=dataset,
        callbacks=[MarkComplete()],
    )  # fmt: skip
    resume = last_complete(out)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(train)
