"""Fits the head that names kinds of defects, on the finished map of a look stage.

    python -m finetune.kinds --features RUN/features [--profile NAME]

Its inputs are a few hundred numbers a picture, so it is trained for many epochs in seconds; `finetune.look` does the
same at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.knowledge import canonical
from assistant.look_model import LookModel
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from finetune.features import choose, feature_files, read_batch
from finetune.stage import new_model

STEPS, SIZE, RATE = 1500, 256, 1e-3
HELD_EVERY = 10
"""Every tenth batch of features is kept apart to tell how well kinds are named on pictures not fitted on."""


def facts_of(model: LookModel, files: list[Path], without: Collection[str] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """Facts [N, n], kinds [N] and number of the file [N] of all anomalous samples whose kind is known.

    Args:
        model: with its finished map.
        files: of `features.make_features`.
        without: sets whose samples are left out.
    """
    numbers = {name: number for number, name in enumerate(model.config.heatmap_config.kinds)}
    facts, kinds, sources = [], [], []
    for place, file in enumerate(tqdm(files, desc="kinds", unit="batch")):
        batch = read_batch(file)
        told = [origin.label and origin.dataset not in without for origin in batch.origins]
        names = [canonical(origin.defect) if use else None for use, origin in zip(told, batch.origins, strict=True)]
        rows = [row for row, name in enumerate(names) if name in numbers]
        if not rows:
            continue
        batch = choose(batch, rows, [])
        with torch.no_grad():
            selection = model.selector(batch.features, batch.residuals)
            logits = model.heatmap(selection, batch.residuals)[0]
            facts.append(model.kinds.facts(selection, logits))
        kinds += [numbers[names[row]] for row in rows]
        sources += [place] * len(rows)
    if not facts:
        raise RecordError("No picture in these features has a known kind of defect.")
    return torch.cat(facts), torch.tensor(kinds), torch.tensor(sources)


def fit_kinds(model: LookModel, files: list[Path], seed: int = 0, without: Collection[str] = ()) -> float:
    """Trains `model.kinds` on cached batches, but for those of some sets; everything else is left alone.

    Kinds are drawn with the square root of their number, so that rare ones are learned and common ones stay likely.

    Returns:
        Share of right kinds on the batches kept apart, 0..1; NaN when there are none.

    Raises:
        RecordError: no sample has a known kind.
    """
    model.eval()
    facts, kinds, sources = facts_of(model, files, without)
    held = sources % HELD_EVERY == HELD_EVERY - 1
    counts = Counter(kinds[~held].tolist())
    weights = torch.tensor([counts[kind] ** -0.5 for kind in kinds[~held].tolist()])
    generator = torch.Generator().manual_seed(seed)
    head = model.kinds.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    known, wanted = facts[~held], kinds[~held]
    torch.manual_seed(seed)
    for _ in range(STEPS):
        rows = torch.multinomial(weights, SIZE, replacement=True, generator=generator)
        loss = F.cross_entropy(head.name(known[rows]), wanted[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    head.eval()
    with torch.no_grad():
        return float((head.name(facts[held]).argmax(dim=1) == kinds[held]).float().mean())


def main(
    features: Annotated[Path, typer.Option(help="Cached features of the look stage.")] = Path("runs/look/features"),
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the new head.")] = "embedded",
    seed: int = 0,
) -> None:
    """Fits the head anew and rewrites the look weights."""
    files = feature_files(features)
    chosen = read_profile(profile)
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    right = fit_kinds(model, files, seed)
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"kinds right on batches kept apart: {right:.3f}; wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(main)
