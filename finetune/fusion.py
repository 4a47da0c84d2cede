"""Fits how far references count in the map and in the score, by models that never saw the product; the rest stays.

    python -m finetune.fusion --data DIR --features RUN/features --folds runs/leave-out [--profile NAME] [--limit N]

Stacking (Wolpert, Neural Networks 5, 1992): a head that was trained on a product needs no references for it, so what
they are worth shows only on sets that a head was not trained on. The three runs of `finetune.leave_out` judge the sets
each of them never saw; a few weights are fitted on that and put into the look weights of a profile. A look without
references stays to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from assistant.reference import reference_evidence
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from finetune.features import Batch, choose, feature_files, read_batch
from finetune.leave_out import Variant, groups_in, stage_of
from finetune.records import training_records
from finetune.stage import new_model

DECAY = 0.01
"""Weight of the squared weights beside the mean cross-entropy."""
DARK = 0.999
"""Share of the cells of normal pictures that are as dark with references as without."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Places of pictures with references, as heads see them that were not trained on the pictures' sets.

    Attributes:
        logits: [N] of the head without its reference weights.
        evidence: [N, n] of `reference_evidence`.
        target: [N] 0 or 1.
        weight: [N], adding up to 1: every set counts the same, and so do its normal and its anomalous pictures.
        normal: [N] bool, of a normal picture.
    """

    logits: Tensor
    evidence: Tensor
    target: Tensor
    weight: Tensor
    normal: Tensor


def unseen_rows(files: list[Path], folds: list[tuple[tuple[str, ...], LookModel]], title: str) -> list[tuple]:
    """(model, Batch) of all rows with references whose set that model never saw."""
    for file in tqdm(files, desc=title, unit="batch"):
        batch = read_batch(file)
        for group, model in folds:
            rows = [n for n, origin in enumerate(batch.origins) if origin.references and origin.dataset in group]
            if rows:
                yield model, choose(batch, rows, [])


def fit_map(files: list[Path], folds: list[tuple[tuple[str, ...], LookModel]], models: list[LookModel]) -> Cells:
    """Fits the heads' reference weights on sets that each fold never saw, and sets them in all `models`.

    Returns:
        The places that it was fitted on.

    Raises:
        RecordError: no picture of an unseen set has references and a known mask.
    """
    cells = collect_cells(files, folds)
    inputs = torch.cat([cells.logits[:, None], cells.evidence, torch.ones(len(cells.logits), 1)], dim=1)
    start = torch.zeros(inputs.shape[1])
    start[0] = 1.0
    found = logistic(inputs, cells.target, cells.weight, start)
    own, evidence = found[0].clamp_min(0.0), found[1:-1]
    # The threshold of the map is one for all pictures: normal ones must be as dark with references as without.
    fused = own * cells.logits + cells.evidence @ evidence
    before = np.quantile(cells.logits[cells.normal].numpy(), DARK)
    bias = float(before - np.quantile(fused[cells.normal].numpy(), DARK))
    with torch.no_grad():
        for model in models:
            model.heatmap.own_weight.fill_(own)
            model.heatmap.reference_weight.copy_(evidence)
            model.heatmap.reference_bias.fill_(bias)
    return cells


def collect_cells(files: list[Path], folds: list[tuple[tuple[str, ...], LookModel]]) -> Cells:
    """All places of the pictures with references of unseen sets, at the finest residual level."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    origins: list[tuple[str, int]] = []
    for model, batch in unseen_rows(files, folds, "map"):
        with torch.inference_mode():
            logits = model.judge(batch.features, batch.residuals).heatmap_logits
            evidence = reference_evidence(batch.residuals)
        size = evidence.shape[-2:]
        logits, share, counts = (
            F.adaptive_avg_pool2d(part, size).flatten(1) for part in (logits, batch.target, batch.weight)
        )
        for row, origin in enumerate(batch.origins):
            known = counts[row] > 0.5
            if known.any():
                parts.append(
                    (logits[row][known], evidence[row].flatten(1).T[known], (share[row][known] > 0.25).float())
                )
                origins.append((origin.dataset, origin.label))
    if len({label for _, label in origins}) < 2:
        raise RecordError("These features hold no normal and anomalous pictures with references of an unseen set.")
    count = {origin: origins.count(origin) for origin in set(origins)}
    weight = [
        torch.full_like(logits, 1 / (len(logits) * count[origin]))
        for (logits, _, _), origin in zip(parts, origins, strict=True)
    ]
    normal = [torch.full(p[0].shape, label == 0) for p, (_, label) in zip(parts, origins, strict=True)]
    whole = torch.cat(weight)
    return Cells(
        torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), torch.cat([p[2] for p in parts]),
        whole / whole.sum(), torch.cat(normal),
    )  # fmt: skip


def logistic(inputs: Tensor, target: Tensor, weight: Tensor, start: Tensor, offset: Tensor | float = 0.0) -> Tensor:
    """Weights [n] of a logistic regression of [N, n] inputs on target [N] 0..1, drawn towards `start`."""
    found = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (F.binary_cross_entropy_with_logits(inputs @ found + offset, target, reduction="none") * weight).sum()
        value = value + DECAY * weight.sum() * (found - start).square().sum() / len(found)
        value.backward()
        return value

    optimizer.step(loss)
    return found.detach()


def fit_score(
    files: list[Path], folds: list[tuple[tuple[str, ...], LookModel]], models: list[LookModel]
) -> dict[str, float]:
    """Fits the reference weights of `fusion` on sets that each fold never saw, and sets them in all `models`.

    They stay 0 where the score without them, from a map with references, ranks the pictures better.

    Returns:
        Image AUROC with references on unseen sets, mean of the sets: "own" score, "nearest" patch alone, "fused".

    Raises:
        RecordError: the features hold no samples of both labels with references of an unseen set.
    """
    inputs, base, labels, sets = [], [], [], []
    for model, batch in unseen_rows(files, folds, "score"):
        seen, alone = fusion_inputs(model, batch), fusion_inputs(model, choose(batch, *_all_forgotten(batch)))
        inputs.append(seen)
        base.append(torch.stack([_own_score(model, seen), _own_score(model, alone)], dim=1))
        labels += [float(origin.label) for origin in batch.origins]
        sets += [origin.dataset for origin in batch.origins]
    wanted = torch.tensor(labels)
    if len(set(labels)) < 2:
        raise RecordError("These features hold no normal and anomalous pictures with references of an unseen set.")
    known, scores = torch.cat(inputs), torch.cat(base)
    compared = known[:, -models[0].compared :]
    pairs = list(zip(sets, labels, strict=True))
    weight = torch.tensor([1 / pairs.count(pair) for pair in pairs])
    found = logistic(compared, wanted, weight / weight.sum(), torch.zeros(compared.shape[1]), scores[:, 0])
    ranked = {
        "own": _mean_auroc(sets, wanted, scores[:, 1]),
        "own, map with references": _mean_auroc(sets, wanted, scores[:, 0]),
        "nearest patch": _mean_auroc(sets, wanted, compared[:, 0]),
        "fused": _mean_auroc(sets, wanted, scores[:, 0] + compared @ found),
    }
    if ranked["fused"] < ranked["own, map with references"]:  # what the references say is in the map already
        found = torch.zeros_like(found)
    with torch.no_grad():
        for model in models:
            model.fusion.weight[0, -model.compared :] = found
    return ranked


def fusion_inputs(model: LookModel, batch: Batch) -> Tensor:
    """What the fused score of each picture is made from, [B, n]."""
    kept: list[Tensor] = []
    hook = model.fusion.register_forward_hook(lambda _module, seen, _output: kept.append(seen[0].detach()))
    try:
        with torch.inference_mode():
            model.judge(batch.features, batch.residuals)
    finally:
        hook.remove()
    return kept[0].clone()


def _own_score(model: LookModel, inputs: Tensor) -> Tensor:
    alone = inputs.shape[1] - model.compared
    return inputs[:, :alone] @ model.fusion.weight.detach()[0, :alone] + model.fusion.bias.detach()


def _all_forgotten(batch: Batch) -> tuple[list[int], list[int]]:
    rows = list(range(len(batch.origins)))
    return rows, rows


def _mean_auroc(sets: list[str], labels: Tensor, scores: Tensor) -> float:
    found = []
    for name in sorted(set(sets)):
        rows = [row for row, other in enumerate(sets) if other == name]
        if len(set(labels[rows].tolist())) == 2:
            found.append(roc_auc_score(labels[rows].numpy(), scores[rows].numpy()))
    return float(np.mean(found)) if found else float("nan")


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    features: Annotated[Path, typer.Option(help="Cached features of the look stage.")] = Path("runs/look/features"),
    folds: Annotated[Path, typer.Option(help="Run folder of finetune.leave_out; what is missing is trained.")] = Path(
        "runs/leave-out"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of each of its runs.")] = 300,
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the new weights.")] = "embedded",
    limit: Annotated[int, typer.Option(help="Use at most this many batches; 0 means all.")] = 0,
) -> None:
    """Fits the reference weights and rewrites the look weights."""
    files = feature_files(features)
    chosen = read_profile(profile)
    judges = []
    for number, group in groups_in(training_records(data, chosen)):
        model = new_model(chosen)
        torch.manual_seed(0)
        stage_of(model, files, group, folds / f"{Variant.base}-{number}", steps, Variant.base)
        judges.append((group, model.eval()))
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    models = [*(judge for _, judge in judges), model]
    some = feature_files(features, limit)
    cells = fit_map(some, judges, models)
    head = model.heatmap
    fused = head.own_weight * cells.logits + cells.evidence @ head.reference_weight
    found = {"own": cells.logits, "fused": fused}
    found |= {f"evidence {n}": cells.evidence[:, n] for n in range(cells.evidence.shape[1])}
    for name, values in found.items():
        pixel = roc_auc_score(cells.target.numpy(), values.detach().numpy(), sample_weight=cells.weight.numpy())
        typer.echo(f"pixel AUROC with references on unseen sets, {name}: {pixel:.3f}")
    for name, value in fit_score(some, judges, models).items():
        typer.echo(f"image AUROC with references on unseen sets, {name}: {value:.3f}")
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(main)
