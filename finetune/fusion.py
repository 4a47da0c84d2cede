"""Fits how far the references' distances count in the fused score, on cached features; everything else stays.

    python -m finetune.fusion --features RUN/features [--profile NAME] [--limit N]

Only the weights of `reference.reference_summary` move, and only samples with references are looked at: the score of a
look without references stays to the bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.modeling import LookModel
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from finetune.features import feature_files, read_batch
from finetune.stage import new_model

DECAY = 0.01
"""Weight of the squared weights beside the mean cross-entropy."""
HELD_EVERY = 5
"""Every fifth batch of features is kept apart to tell whether the fit helps."""


def referenced(model: LookModel, files: list[Path]) -> tuple[Tensor, Tensor, Tensor]:
    """Fusion inputs [N, n], labels [N] and number of the file [N] of all samples with references."""
    inputs, labels, sources = [], [], []
    kept: list[Tensor] = []
    hook = model.fusion.register_forward_hook(lambda _module, seen, _output: kept.append(seen[0].detach()))
    try:
        for place, file in enumerate(tqdm(files, desc="fusion", unit="batch")):
            batch = read_batch(file)
            rows = [row for row, origin in enumerate(batch.origins) if origin.references]
            if not rows:
                continue
            with torch.inference_mode():
                model.judge(batch.features, batch.residuals)
            inputs.append(kept.pop()[rows].clone())
            labels += [float(batch.origins[row].label) for row in rows]
            sources += [place] * len(rows)
    finally:
        hook.remove()
    if len(set(labels)) < 2:
        raise RecordError("These features hold no normal and anomalous pictures with references.")
    return torch.cat(inputs), torch.tensor(labels), torch.tensor(sources)


def fit_fusion(model: LookModel, files: list[Path]) -> tuple[float, float]:
    """Fits the reference weights of `model.fusion` by logistic regression on top of the score without them.

    Returns:
        Image AUROC before and after, on the batches kept apart; NaN where they have one label only.

    Raises:
        RecordError: the features hold no samples of both labels with references.
    """
    model.eval()
    inputs, labels, sources = referenced(model, files)
    held = sources % HELD_EVERY == HELD_EVERY - 1
    alone = inputs.shape[1] - model.compared
    weight, bias = model.fusion.weight.detach()[0], model.fusion.bias.detach()
    base = inputs[:, :alone] @ weight[:alone] + bias
    before = inputs @ weight + bias
    compared = weight[alone:].clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([compared], max_iter=200, line_search_fn="strong_wolfe")
    balance = torch.where(labels > 0, 0.5 / labels[~held].mean(), 0.5 / (1 - labels[~held].mean()))

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = base[~held] + inputs[~held][:, alone:] @ compared
        value = F.binary_cross_entropy_with_logits(logits, labels[~held], balance[~held])
        value = value + DECAY * compared.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        model.fusion.weight[0, alone:] = compared
        after = base + inputs[:, alone:] @ compared
    return _auroc(labels[held], before[held]), _auroc(labels[held], after[held])


def _auroc(labels: Tensor, scores: Tensor) -> float:
    if len(set(labels.tolist())) < 2:
        return float(np.nan)
    return float(roc_auc_score(labels.numpy(), scores.numpy()))


def main(
    features: Annotated[Path, typer.Option(help="Cached features of the look stage.")] = Path("runs/look/features"),
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the new weights.")] = "embedded",
    limit: Annotated[int, typer.Option(help="Use at most this many batches; 0 means all.")] = 0,
) -> None:
    """Fits the reference weights and rewrites the look weights."""
    files = feature_files(features, limit)
    chosen = read_profile(profile)
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    before, after = fit_fusion(model, files)
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"image AUROC with references on batches kept apart: {before:.3f} before, {after:.3f} after")


if __name__ == "__main__":
    run(main)
