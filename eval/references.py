"""What normal references give: the fused model with k references, without any, and two training-free maps alone.

python -m eval.references --data DIR --out RUN [--shots 1,2,4,8] [--seeds 0,1,2] [--categories ...] [--limit N] [--ask]

References are drawn with the seed from a category's normals of the training fold (of MVTec: of its own training
part); tested are the pictures of the validation fold, of MVTec all that were not drawn. Each picture goes through the
tower once and is compared with each reference once. One file a category, shots and seed, so that a stopped run goes on.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

from assistant import command, load
from assistant.errors import RecordError
from assistant.inspector import Inspector
from assistant.prompts import DEFAULT_QUESTION, places_in
from assistant.reference import References
from assistant.regions import cells_of
from assistant.threshold import DEFAULT_RATE
from data.readers import read_manifest
from data.schema import Record
from eval import metrics
from eval.aupro import aupro
from eval.held import FUSED, Judge
from eval.products import draw, products_of, training_parts

CATEGORIES = (
    "ksdd", "magnetic_tile", "elpv/mono", "elpv/poly", "piped_paper", "casting", "deeppcb", "mvtec/bottle",
)  # fmt: skip
"""What is reported: a set, or one product of a set. A set of several products is judged product by product."""


def rows_of(judge: Judge, shots: int, seed: int, ask: bool, rate: float) -> dict[str, Any]:
    """Everything that is kept of one product with `shots` references of one seed; 0 shots are the model alone.

    Returns:
        {"product", "shots", "seed", "threshold", "labels": [n], "scores": {way: [n]}, "aupro": {way: value or None},
        "false_alarms": share of the normals at or above their threshold, or None, and "words": a list with `ask`}.
    """
    drawn = draw(judge.product, shots, seed)
    held = judge.held(drawn) if shots else None
    memory = held.memory if held is not None else None
    taken = {record.image for record in drawn}
    records = [record for record in judge.product.tested if record.image not in taken]
    scores: dict[str, list[float]] = {}
    truths: dict[str, list[metrics.Truth]] = {}
    words = []
    for record in records:
        mask = judge.tested(record).mask
        for way, (score, heat) in judge.judge(record, held).items():
            scores.setdefault(way, []).append(score)
            truths.setdefault(way, []).append(_truth(heat, mask))
        if ask:
            words.append(_asked(judge.inspector, record, memory, rate if shots else None))
    labels = [record.label for record in records]
    thresholds = [judge.threshold(record, memory, rate) for record in records]
    over = [score >= least for score, least in zip(scores[FUSED], thresholds, strict=True)]
    normals = [called for called, label in zip(over, labels, strict=True) if label == 0]
    return {
        "product": judge.product.name,
        "shots": shots,
        "seed": seed,
        "threshold": float(np.median(thresholds)),
        "labels": labels,
        "scores": scores,
        "aupro": {way: aupro(known) for way, known in truths.items()},
        "false_alarms": float(np.mean(normals)) if normals else None,
        "words": words,
    }


def _truth(heat: Tensor, mask: np.ndarray | None) -> metrics.Truth:
    """Map and mask at the mask's size; the map as it is where there is none."""
    if mask is None:
        return heat.float().numpy(), None
    small = F.interpolate(heat[None, None].float(), mask.shape, mode="bilinear", align_corners=False)[0, 0]
    return small.numpy(), mask


def _asked(inspector: Inspector, record: Record, memory: References | None, rate: float | None) -> dict[str, Any]:
    """Verdict and places of a picture with the words of the default question, as `eval.metrics` reads rows."""
    look = inspector.look(record.image, () if memory is None else memory, rate=rate)
    words = "".join(inspector.ask(look, DEFAULT_QUESTION)).strip()
    finding = inspector.finding(look, words)
    mask = record.read_mask() if record.supervision == "mask" else None
    return {
        "label": record.label,
        "verdict": finding.verdict,
        "place": look.regions[0].place if look.regions else None,
        "word_places": list(places_in(words)),
        "cells": sorted(cells_of(mask)) if mask is not None and mask.any() else None,
    }


def figures(row: dict[str, Any]) -> dict[str, float | None]:
    """Figures of one product, shots and seed from what is kept of it."""
    both = len(set(row["labels"])) == 2
    found: dict[str, float | None] = {"false_alarms": row["false_alarms"]}
    for way, scores in row["scores"].items():
        kept = [{"label": label, "score": score} for label, score in zip(row["labels"], scores, strict=True)]
        found[f"{way}_auroc"] = metrics.image_auroc(kept) if both else None
        found[f"{way}_aupro"] = row["aupro"][way]
    if row["words"]:
        found["verdict_accuracy"] = metrics.balanced_accuracy(row["words"])
        for name, key in (("map_place", "place"), ("word_place", "word_places")):
            named = [(w[key] if key == "place" else (w[key] or [None])[0], w["cells"]) for w in row["words"]]
            right = [place in cells for place, cells in named if cells is not None and place]
            found[f"{name}_accuracy"] = float(np.mean(right)) if right else None
    return found


def summary(kept: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"rows": a dict a category and shots (mean over its products, then over seeds), "mean": one a shots}.

    A figure's mean is over the categories that have it.
    """
    table = []
    for category, shots in sorted({(row["category"], row["shots"]) for row in kept}):
        group = [row for row in kept if (row["category"], row["shots"]) == (category, shots)]
        table.append({"category": category, "shots": shots, **_mean([figures(row) for row in group])})
    means = []
    for shots in sorted({row["shots"] for row in table}):
        of_shots = [
            {k: v for k, v in row.items() if k not in ("category", "shots")} for row in table if row["shots"] == shots
        ]
        means.append({"shots": shots, **_mean(of_shots)})
    return {"rows": table, "mean": means}


def _mean(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    names = sorted({name for row in rows for name in row})
    known = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def numbers(text: str, least: int) -> list[int]:
    """Whole numbers with commas between them, each once, rising; raises RecordError for anything else."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < least:
        raise RecordError(f"{text!r} is not a list of numbers from {least} on.", "For example 1,2,4,8.")
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    out: Annotated[Path, typer.Option(help="Run folder; a second start goes on.")],
    shots: Annotated[
        str, typer.Option(help="How many references, with commas; 0 is the model alone, always run.")
    ] = "1,2,4,8",
    seeds: Annotated[str, typer.Option(help="References are drawn with each of these.")] = "0,1,2",
    profile: str = "embedded",
    categories: Annotated[str, typer.Option(help="A set or set/category each, with commas.")] = ",".join(CATEGORIES),
    limit: Annotated[int, typer.Option(help="At most this many tested pictures a label and product; 0 means all.")] = 0,
    rate: Annotated[float, typer.Option(help="False-alarm rate that is asked for.")] = DEFAULT_RATE,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for words as well.")] = False,
) -> None:
    """Predicts, keeps, and writes RUN/metrics.json with a table."""
    records = list(read_manifest(data))
    training = training_parts(data)
    plan = [(category, products_of(records, category, training, limit)) for category in categories.split(",")]
    runs = [(0, 0), *((k, seed) for seed in numbers(seeds, 0) for k in numbers(shots, 1))]
    terms = {"limit": limit, "rate": rate, "ask": ask, "profile": profile}
    out.mkdir(parents=True, exist_ok=True)
    _same_terms(out / "terms.json", terms)
    inspector: Inspector | None = None
    kept: list[dict[str, Any]] = []
    steps = [(category, product) for category, products in plan for product in products]
    with tqdm(total=len(steps) * len(runs), unit="run") as bar:
        for category, product in steps:
            judge: Judge | None = None
            for k, seed in runs:
                file = out / "rows" / f"{product.name.replace('/', '-')}-{k}-{seed}.json"
                bar.set_description(f"{product.name}, {k} references")
                row = _read(file)
                if row is None:
                    inspector = inspector or load(profile)
                    judge = judge or Judge(inspector, product)
                    row = rows_of(judge, k, seed, ask, rate)
                    file.parent.mkdir(exist_ok=True)
                    aside = file.with_suffix(".partial")
                    aside.write_text(json.dumps(row), encoding="utf-8")
                    aside.replace(file)
                kept.append({"category": category, **row})
                bar.update()
            del judge  # it and its caches hold one another: counting alone does not free its pictures
            gc.collect()
    result = summary(kept)
    (out / "metrics.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for table in tables(result):
        Console(width=180).print(table)


def _same_terms(file: Path, terms: dict[str, Any]) -> None:
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != terms:
        raise RecordError(f"{file.parent} holds a run under other terms.", "Name another folder with --out.")
    file.write_text(json.dumps(terms), encoding="utf-8")


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def tables(result: dict[str, Any]) -> list[Table]:
    """The figures for people: a table of the means, and one of every category."""
    names = sorted({name for row in result["rows"] for name in row} - {"category", "shots"})
    mean = Table("references", *(name.replace("_", " ") for name in names), title="mean over the categories")
    for row in result["mean"]:
        mean.add_row(str(row["shots"]), *(_cell(row.get(name)) for name in names))
    each = Table("category", "references", *(name.replace("_", " ") for name in names), title="each category")
    for row in result["rows"]:
        each.add_row(row["category"], str(row["shots"]), *(_cell(row.get(name)) for name in names))
    return [each, mean]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.run(main)
