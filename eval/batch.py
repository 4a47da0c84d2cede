"""Image AUROC of unlabelled batches: the look alone, mutual scoring alone, and both together, for each set.

python -m eval.batch --data DIR --out RUN [--split val] [--sets A,B] [--limit N]

Each category of a set is a batch of its own, as a folder of one product would be. A second start goes on where the
first stopped. Labels enter the figures only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from assistant import command, load
from assistant.batch import Batch, Engine, PlainEngine, run_batch
from assistant.batch_store import write_whole
from assistant.entries import Entry
from assistant.errors import RecordError
from data.schema import Record
from eval.run import Task, records_of

COLUMNS = {"zero-shot": "score", "mutual": "mutual", "fused": "suspicion"}
"""Name of a figure: the field of a row that is ranked for it."""
LEAST = 8
"""Pictures below which a category is no batch."""


def grouped(records: list[Record], limit: int, seed: int) -> dict[str, dict[str, list[Record]]]:
    """Records by set and category, at most `limit` of each category (0: all), drawn with the seed."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.dataset][record.category].append(record)
    if limit:
        for categories in groups.values():
            for name, members in categories.items():
                order = np.random.default_rng(seed).permutation(len(members))[:limit]
                categories[name] = [members[index] for index in sorted(order)]
    return groups


def figures(batch: Batch, labels: dict[str, int]) -> dict[str, Any]:
    """AUROC of each of COLUMNS over the rows that were looked at; {} unless both labels are among them."""
    rows = [row for row in batch.rows if not row.problem]
    truth = [labels[row.name] for row in rows]
    if len(set(truth)) < 2 or any(row.mutual is None for row in rows):
        return {}
    found: dict[str, Any] = {
        name: float(roc_auc_score(truth, [getattr(row, field) for row in rows])) for name, field in COLUMNS.items()
    }
    return found | {"pictures": len(rows), "anomalous": sum(truth)}


def measure(
    records: list[Record], out: Path, profile: str, engine: Engine, limit: int = 0, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """{set: {column: mean AUROC over its categories, "categories": {category: figures}}}.

    Args:
        records: of one split.
        out: run folder; one folder a category in it.
        profile, engine: see `run_batch`.
        limit, seed: see `grouped`.
    """
    result: dict[str, dict[str, Any]] = {}
    groups = grouped(records, limit, seed)
    batches = [(dataset, category) for dataset, kinds in groups.items() for category in kinds]
    for dataset, category in tqdm(batches, desc="batches"):
        members = groups[dataset][category]
        if len(members) < LEAST or len({record.label for record in members}) < 2:
            continue
        entries = [Entry(f"{number:05d}", record.image) for number, record in enumerate(members)]
        batch = run_batch(entries, out / dataset / category, profile, engine)
        labels = {entry.name: record.label for entry, record in zip(entries, members, strict=True)}
        if found := figures(batch, labels):
            result.setdefault(dataset, {"categories": {}})["categories"][category] = found
    for values in result.values():
        for name in COLUMNS:
            values[name] = float(np.mean([found[name] for found in values["categories"].values()]))
    return result


def main(
    data: Annotated[Path, typer.Option(help="Folder of the set, with its manifest.jsonl.")],
    out: Annotated[Path, typer.Option(help="Run folder: what was looked at, and figures.json.")],
    split: Annotated[str, typer.Option(help="fit or calibrate (parts of the training fold), val, or test.")] = "val",
    sets: Annotated[str, typer.Option(help="Only these datasets, with commas between them; all when empty.")] = "",
    limit: Annotated[int, typer.Option(help="At most this many pictures a category, drawn; 0 means all.")] = 0,
    seed: int = 0,
    profile: str = "embedded",
) -> None:
    """Measures and prints."""
    records = records_of(Task.manifest, data, split, sets)
    result = measure(records, out, profile, PlainEngine(load(profile)), limit, seed)
    if not result:
        raise RecordError(f"No category of the split {split!r} in {data} has {LEAST} pictures and both labels.")
    write_whole(out / "figures.json", (json.dumps(result, indent=1) + "\n").encode())
    table = Table("set", "batches", "pictures", *COLUMNS, title=f"image AUROC, {profile}, split {split}")
    for dataset, values in result.items():
        pictures = sum(found["pictures"] for found in values["categories"].values())
        shown = [f"{values[name]:.3f}" for name in COLUMNS]
        table.add_row(dataset, str(len(values["categories"])), str(pictures), *shown)
    Console(width=100).print(table)


if __name__ == "__main__":
    command.run(main)
