"""Stage 1: trains selector, heatmap head and kinds on real and drawn masks, boxes and labels; the tower stays frozen.

    python -m finetune.look --data DIR [--samples N] [--steps N] [--out RUN] [--profile NAME] [--features-only]

The tower looks at every sample once (`OUT/features`), then the small parts are trained on what it saw. The first can be
done ahead, while another run trains.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from assistant.command import run
from assistant.errors import RecordError
from assistant.look_model import LookModel
from assistant.packaged import native_bfloat16
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from data.schema import Record
from finetune.checkpoint import MarkComplete, last_complete
from finetune.dataset import LookDataset, Mix
from finetune.features import make_features
from finetune.kinds import fit_kinds
from finetune.recipe import refuse_recipe
from finetune.records import training_records
from finetune.stage import Average, BatchDataset, LookStage, new_model, only

BATCH = 16
HELD_BATCHES = 24
"""Batches of held-out pictures by whose loss the training may stop early."""
PATIENCE = 4
"""Evaluations without a better held-out loss after which the training stops."""


def cached(
    model: LookModel, records: list[Record], samples: int, seed: int, out: Path, mix: Mix | None = None
) -> list[Path]:
    """Files with the features of `samples` mixed samples, made now or before.

    Raises:
        RecordError: the folder holds features of other pictures, of another seed or of another tower.
    """
    dataset = LookDataset(records, model.config.vision_config, samples // BATCH * BATCH, BATCH, seed, mix)
    known = [f"{record.image.name} {record.dataset} {record.label} {record.split}" for record in records]
    made_of = {
        "seed": seed,
        "batch": BATCH,
        "mix": asdict(dataset.mix),
        "pictures": zlib.crc32("\n".join(known).encode()),
        "tower": [model.config.vision_config.backbone, model.config.vision_config.image_side],
    }
    note = out / "made-of.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != json.loads(json.dumps(made_of)):
        raise RecordError(f"The folder {out} holds features of other pictures.", "Name another run folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
    return make_features(model, dataset, out, out.name)


def fit(
    model: LookModel,
    files: list[Path],
    held: list[Path],
    out: Path,
    *,
    steps: int,
    rate: float = 2e-3,
    without: Iterable[str] = (),
    seed: int = 0,
    save_steps: int = 200,
    evaluate_steps: int = 200,
    resume: bool = True,
    hide_own: bool = False,
    average: bool = True,
    mix_style: bool = True,
    changing: Iterable[str] = (),
) -> LookModel:
    """Trains the small parts of a model on cached features and returns it with averaged weights and without a tower.

    Args:
        files, held: cached batches to train on, and others by whose loss the training may stop early; may be [].
        out: run folder; with `resume` a second call goes on at its last complete checkpoint.
        without: sets to leave out of `files`.
        hide_own, average: what a choice is compared without, see `leave_out`.
        mix_style: as in `stage.LookStage`.
        changing: as in `stage.BatchDataset`; of what is kept the model goes on saying what it says.
    """
    stage = LookStage(model, mix_style, holding=bool(changing))
    kinds = model.config.heatmap_config.kinds
    averages = [Average(stage)] if average else []
    early = [EarlyStoppingCallback(PATIENCE)] if held else []
    trainer = Trainer(
        model=stage,
        args=TrainingArguments(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=1, per_device_eval_batch_size=1,
            learning_rate=rate, lr_scheduler_type="cosine", warmup_steps=max(1, steps // 12), weight_decay=0.02,
            max_grad_norm=1.0, use_cpu=not torch.cuda.is_available(), bf16=native_bfloat16(),
            dataloader_num_workers=1, dataloader_prefetch_factor=2,
            remove_unused_columns=False, logging_steps=20, save_steps=save_steps, save_total_limit=2,
            eval_strategy="steps" if held else "no", eval_steps=evaluate_steps, metric_for_best_model="loss",
            prediction_loss_only=True, report_to="none", seed=seed, disable_tqdm=False,
            train_sampling_strategy="sequential", label_names=["labels"],
        ),
        train_dataset=BatchDataset(files, steps, kinds, without, seed, hide_own, changing),
        eval_dataset=BatchDataset(held, len(held), kinds, without, seed, hide_own) if held else None,
        data_collator=only,
        callbacks=[*averages, *early, MarkComplete()],
    )  # fmt: skip
    found = last_complete(out) if resume else None
    if found:
        for kept in averages:
            kept.resume(found)
    share, model.config.fusion_share = model.config.fusion_share, 1.0  # trained whole, however little of it will count
    trainer.train(resume_from_checkpoint=str(found) if found else None)
    model.config.fusion_share = share
    return model


def train(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    out: Annotated[Path, typer.Option(help="Run folder; a second start resumes.")] = Path("runs/look"),
    profile: Annotated[str, typer.Option(help="Its weights folder gets look.safetensors.")] = "embedded",
    samples: Annotated[int, typer.Option(min=BATCH, help="Pictures the tower looks at.")] = 6144,
    steps: Annotated[int, typer.Option(min=1, help=f"Batches of {BATCH}; samples come again.")] = 1100,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    own_normals: Annotated[float, typer.Option(help="Share of normals that are photographs or drawn products.")] = 0.5,
    referenced: Annotated[float, typer.Option(help="Share of samples with normal references.")] = 0.4,
    seed: int = 0,
    go_on: Annotated[bool, typer.Option(help="Start from the profile's look.safetensors, not from nothing.")] = False,
    mix_style: Annotated[bool, typer.Option(help="Pictures lend each other their style in half of the steps.")] = True,
    save_steps: Annotated[int, typer.Option(min=1)] = 200,
    features_only: Annotated[bool, typer.Option(help="Let the tower look at the samples and stop there.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="Of a OneVision profile: its settings, as YAML.")] = None,
    context: typer.Context = None,
) -> None:
    """Trains the look stage and writes its weights."""
    chosen = read_profile(profile)
    if chosen.checkpoint:
        from finetune.onevision_look import train_look  # a tower that does not fit in files of features

        return train_look(data, out, chosen, recipe, seed, context, go_on=go_on)
    refuse_recipe(chosen, recipe)
    random.seed(seed)
    torch.manual_seed(seed)
    records = training_records(data, chosen)
    model = new_model(chosen)
    if go_on:
        load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    fitted = [record for record in records if record.split == "fit"]
    typer.echo(f"{len(fitted)} records of {sorted({record.dataset for record in fitted})}; {steps} steps of {BATCH}")
    mix = Mix(own_normals=own_normals, referenced=referenced)
    files = cached(model, fitted, samples, seed, out / "features", mix)
    held = [record for record in records if record.split == "calibrate"]
    kept = cached(model, held, HELD_BATCHES * BATCH, seed + 1, out / "held") if held else []
    if features_only:
        typer.echo(f"wrote {len(files)} + {len(kept)} batches of features to {out}")
        return
    fit(model, files, kept, out, steps=steps, rate=rate, seed=seed, save_steps=save_steps, mix_style=mix_style)
    right = fit_kinds(model, files, seed)
    typer.echo(f"kinds right on batches kept apart: {right:.3f}")
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(train)
