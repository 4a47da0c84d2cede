"""Leave datasets out: every set is judged by a model that never saw it. This is how choices are made.

    python -m finetune.leave_out --data DIR --features RUN/features [--steps N] [--on fit | --weights-only]

Three short runs, each without one group of sets, on the cached features of a look stage; each is judged on the sets
it did not see: on pictures of their training folds to choose between variants, on their validation folds to report.
The shipped weights are then trained on all sets.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.look_model import LookModel
from assistant.own_residual import top_mean
from assistant.profiles import Profile, read_profile
from assistant.weights import LOOK_PARTS, load_parts, save_parts
from data.schema import Record
from finetune.dataset import mask_at
from finetune.features import feature_files
from finetune.gain_cases import PlainSight
from finetune.kinds import fit_kinds
from finetune.look import fit
from finetune.records import training_records
from finetune.stage import hide_own_residual, new_model

GROUPS = (
    ("ksdd", "elpv", "leather"),
    ("magnetic_tile", "casting", "neu_det", "textile"),
    ("piped_paper", "deeppcb", "crackforest"),
)
"""Sets left out together; each group has sets with both labels and, where all are at hand, one with anomalies only."""
LEFT_OUT_FILE = "{variant}-{number}.safetensors"
"""Weights of a run, without those of the tower."""
POOLINGS = (0.0005, 0.002, 0.004, 0.01, 0.03)
"""Shares of the map's cells whose mean is tried as the picture's score."""


CHOICE_PICTURES = 50
"""Pictures of each set and label that a choice is made on."""


class Variant(StrEnum):
    """What is tried."""

    base = "base"
    no_own = "no-own-residual"
    no_average = "no-average"


class Fold(StrEnum):
    """Which pictures of an unseen set judge."""

    choose = "fit"
    report = "val"


def as_new(descriptor: Tensor) -> float:
    """How far a picture of this descriptor is of a known product, of a judge to whom all are new: 0."""
    return 0.0


def judge(model: LookModel, records: list[Record], hide_own: bool = False) -> list[dict[str, float | str | None]]:
    """Scores of pictures, looked at as new ones in use: the mean over mirror images, odd patches counted.

    Args:
        model: with its tower.
        records: the pictures.
        hide_own: without the residual of each picture against itself.

    Returns:
        One row a picture: dataset, label, scores by name, and pixel_auroc of its own map where it has a mask.
    """
    rows = []
    model.eval()
    if hide_own:
        model.config.oddness = 0.0  # it is found from that residual
    sight = PlainSight(model.config.vision_config)
    for record in tqdm(records, desc="judge", unit="picture"):
        with torch.inference_mode():
            features = model.see(sight.pixels(record.read_image()), as_new)
            differences = model.compare(features, None)
            if hide_own:
                hide_own_residual({f"residual{number}": maps for number, maps in enumerate(differences.maps)})
            output = model.decide(features, differences)
        logits = output.heatmap_logits.float()
        scores = {"fused": output.score_logit, "map": output.map_logit, "selector": output.selector_logit}
        scores |= {f"top {share:.2%}": top_mean(logits, share) for share in POOLINGS}
        mask = mask_at(record, logits.shape[-2:])
        pixel = None
        if mask is not None and not mask.all():
            pixel = float(roc_auc_score(mask.ravel(), logits.numpy().ravel()))
        rows.append(
            {
                "dataset": record.dataset,
                "label": record.label,
                "pixel": pixel,
                **{name: float(value[0]) for name, value in scores.items()},
            }
        )
    return rows


def table_of(rows: list[dict[str, float | str | None]]) -> dict[str, dict[str, float | None]]:
    """Set -> score name -> image AUROC (sets with both labels), and the mean pixel AUROC of its pictures."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["dataset"]].append(row)
    result: dict[str, dict[str, float | None]] = {}
    for dataset, group in sorted(groups.items()):
        labels = [row["label"] for row in group]
        names = [name for name in group[0] if name not in ("dataset", "label", "pixel")]
        both = len(set(labels)) == 2
        result[dataset] = {
            name: float(roc_auc_score(labels, [row[name] for row in group])) if both else None for name in names
        }
        pixels = [row["pixel"] for row in group if row["pixel"] is not None]
        result[dataset]["pixel"] = float(np.mean(pixels)) if pixels else None
    return result


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    features: Annotated[Path, typer.Option(help="Cached features of a look stage.")] = Path("runs/look/features"),
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/leave-out"),
    profile: str = "embedded",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each run.")] = 300,
    variant: Variant = Variant.base,
    on: Annotated[Fold, typer.Option(help="fit: to choose between variants; val: to report.")] = Fold.report,
    limit: Annotated[int, typer.Option(help="Use at most this many batches; 0 means all.")] = 0,
    weights_only: Annotated[bool, typer.Option(help="Train and stop there: for who asks `left_out_judges`.")] = False,
) -> None:
    """Trains three times, judges each on what it did not see, and prints the table."""
    files = feature_files(features, limit)
    chosen = read_profile(profile)
    known = list(training_records(data, chosen))
    records, rows = judges(known, on), []
    for number, group in groups_in(known):
        model = new_model(chosen)
        tower = model.tower  # the training goes without
        torch.manual_seed(0)
        stage_of(model, files, group, out / f"{variant}-{number}", steps, variant)
        fit_kinds(model, files, without=group)
        save_parts(model, LOOK_PARTS, out / LEFT_OUT_FILE.format(variant=variant, number=number))
        if weights_only:
            continue
        model.tower = tower
        rows += judge(model, [record for record in records if record.dataset in group], variant is Variant.no_own)
    if weights_only:
        typer.echo(f"wrote weights to {out}")
        return
    result = table_of(rows)
    names = list(next(iter(result.values())))
    mean = {}
    for name in names:
        known = [values[name] for values in result.values() if values[name] is not None]
        mean[name] = float(np.mean(known)) if known else None
    (out / f"{variant}-{on}.json").write_text(
        json.dumps({"steps": steps, "sets": result, "mean": mean}, indent=1) + "\n"
    )
    table = Table("set", *names)
    for dataset, values in [*result.items(), ("mean", mean)]:
        table.add_row(dataset, *("" if values[name] is None else f"{values[name]:.3f}" for name in names))
    Console(width=160).print(table)


def left_out_judges(run: Path, profile: Profile) -> list[tuple[tuple[str, ...], LookModel]]:
    """The sets that each training of a run was kept from, and its weights.

    Args:
        run: folder that `main` has filled.
        profile: whose configuration and tower they are of.

    Raises:
        RecordError: there are no weights in the folder.
        WeightsError: a file is damaged or of another configuration.
    """
    judges = []
    for number, group in enumerate(GROUPS):
        file = run / LEFT_OUT_FILE.format(variant=Variant.base, number=number)
        if file.is_file():
            model = new_model(profile)
            load_parts(model, LOOK_PARTS, file)
            judges.append((group, model))
    if not judges:
        raise RecordError(f"There are no weights in {run}.", "python -m finetune.leave_out makes them.")
    return judges


def groups_in(records: Iterable[Record]) -> list[tuple[int, tuple[str, ...]]]:
    """Number and sets of the groups of which there are records: a profile may learn from few sets."""
    present = {record.dataset for record in records}
    return [(number, group) for number, group in enumerate(GROUPS) if present & set(group)]


def judges(records: list[Record], on: Fold) -> list[Record]:
    """The pictures that judge: the whole validation fold, or CHOICE_PICTURES of each set and label to fit on."""
    chosen, seen = [], Counter[tuple[str, int]]()
    records = [record for record in records if record.split == on]
    if on is Fold.report:
        return records
    for index in np.random.default_rng(0).permutation(len(records)):
        group = (records[index].dataset, records[index].label)
        seen[group] += 1
        if seen[group] <= CHOICE_PICTURES:
            chosen.append(records[index])
    return chosen


def stage_of(
    model: LookModel, files: list[Path], group: tuple[str, ...], out: Path, steps: int, variant: Variant
) -> LookModel:
    """One run without the sets of `group`."""
    return fit(
        model, files, [], out, steps=steps, without=group, save_steps=steps,
        hide_own=variant is Variant.no_own, average=variant is not Variant.no_average,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
