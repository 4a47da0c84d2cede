"""Predictions of a profile on a labelled set, one JSON line a picture; a second start goes on where the first stopped.

python -m eval.run manifest --data DIR --out RUN [--split val] [--sets A,B] [--ask/--no-ask] [--limit N]
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

from assistant import command, load
from assistant.errors import RecordError
from assistant.inspector import Inspector
from assistant.prompts import DEFAULT_QUESTION, places_in
from data.readers import read_folder, read_manifest
from data.schema import Record
from eval.predictions import complete_lines

MAP_SIDE = 192
"""Longest side of a kept heatmap, pixels."""
TOP = 0.01
"""Share of a map's pixels whose mean is kept as "top"."""


class Task(StrEnum):
    """Layouts of a labelled set."""

    manifest = "manifest"
    folder = "folder"


def records_of(task: Task, data: Path, split: str, sets: str = "") -> list[Record]:
    """Records of one split; a folder is one split as a whole.

    Args:
        task: the layout of `data`.
        data: folder of the set.
        split: of a manifest, see `data.schema.Split`.
        sets: names of datasets with commas between them; all when empty.

    Raises:
        RecordError: rows that cannot be used, or a name in `sets` that has no record in the split.
    """
    if task is Task.folder:
        records = list(read_folder(data))
    else:
        records = [record for record in read_manifest(data) if record.split == split]
    wanted = {name.strip() for name in sets.split(",") if name.strip()}
    present = sorted({record.dataset for record in records})
    if unknown := wanted - set(present):
        raise RecordError(f"There are no records of the set {min(unknown)!r} here.", f"Sets: {', '.join(present)}.")
    return [record for record in records if not wanted or record.dataset in wanted]


def predict(inspector: Inspector, record: Record, ask: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One line of predictions.jsonl, and what is kept beside it.

    Returns:
        The row, and {"heatmap": [h, w] float32, "thumbnail": [h, w, 3] uint8 RGB}, at most MAP_SIDE long.
    """
    start = time.perf_counter()
    look = inspector.look(record.image)
    words = "".join(inspector.ask(look, DEFAULT_QUESTION)).strip() if ask else ""
    finding = inspector.finding(look, words)
    shrink = min(1.0, MAP_SIDE / max(look.heatmap.shape))
    size = tuple(max(1, round(side * shrink)) for side in look.heatmap.shape[::-1])
    kept = {
        "heatmap": np.asarray(Image.fromarray(look.heatmap).resize(size, Image.Resampling.BOX)),
        "thumbnail": np.asarray(Image.fromarray(look.thumbnail).resize(size, Image.Resampling.BOX)),
    }
    row = {
        "dataset": record.dataset,
        "category": record.category,
        "image": record.image.name,
        "size": list(look.size),
        "label": record.label,
        "defect": record.defect,
        "score": finding.score,
        "verdict": finding.verdict,
        "confidence": finding.confidence,
        "verdict_probability": finding.verdict_probability,
        "place": look.regions[0].place if look.regions else None,
        "word_places": list(places_in(words)),
        "region_places": [region.place for region in look.regions],
        "regions": finding.to_dict()["regions"],
        "kinds": [[str(name), float(probability)] for name, probability in look.kinds],
        "lit": float((look.heatmap >= 0.5).mean()),
        "top": top_mean(look.heatmap),
        "explanation": words,
        "warnings": list(finding.warnings),
        "seconds": round(time.perf_counter() - start, 4),
    }
    return row, kept


def top_mean(heatmap: np.ndarray) -> float:
    """Mean of the strongest TOP of a map's pixels [h, w], at least one; 0..1."""
    count = max(1, round(TOP * heatmap.size))
    return float(np.partition(heatmap, -count, axis=None)[-count:].mean())


def run(
    task: Annotated[Task, typer.Argument(help="Layout of the set.")],
    data: Annotated[Path, typer.Option(help="Folder of the set.")],
    out: Annotated[Path, typer.Option(help="Run folder: predictions.jsonl and maps.")],
    split: Annotated[
        str,
        typer.Option(
            help="Of a manifest: fit or calibrate (parts of the training fold), val, or test (sets that are only "
            "evaluated on). A folder is one split."
        ),
    ] = "val",
    sets: Annotated[str, typer.Option(help="Only these datasets, with commas between them; all when empty.")] = "",
    profile: str = "embedded",
    ask: Annotated[bool, typer.Option(help="Ask for words as well.")] = True,
    limit: Annotated[int, typer.Option(help="At most this many pictures, drawn with the seed; 0 means all.")] = 0,
    seed: int = 0,
) -> None:
    """Predicts and keeps what was predicted."""
    records = records_of(task, data, split, sets)
    if limit:
        order = np.random.default_rng(seed).permutation(len(records))[:limit]
        records = [records[index] for index in sorted(order)]
    if not records:
        raise RecordError(f"There are no records of the split {split!r} in {data}.")
    file = out / "predictions.jsonl"
    names = [json.loads(line)["image"] for line in complete_lines(file)]
    done = len(names)
    if names != [record.image.name for record in records[:done]]:  # another set, split, limit or seed than before
        raise RecordError(f"{out} holds predictions of other pictures.", "Name another folder with --out.")
    inspector = load(profile)
    (out / "maps").mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        for index in tqdm(range(done, len(records)), desc=str(task), unit="picture", initial=done, total=len(records)):
            row, kept = predict(inspector, records[index], ask)
            kept |= _truth(records[index], kept["heatmap"]) | {"heatmap": kept["heatmap"].astype(np.float16)}
            np.savez_compressed(out / "maps" / f"{index:06d}.npz", **kept)
            lines.write(json.dumps(row) + "\n")
            lines.flush()
    typer.echo(f"wrote {file}: next, python -m eval.score {out}")


def _truth(record: Record, heatmap: np.ndarray) -> dict[str, np.ndarray]:
    """{"mask": [h, w] bool} at the heatmap's size when the record has an exact mask or is normal, else nothing."""
    if record.supervision != "mask":
        return {}
    mask = record.read_mask()
    if mask is None:
        return {}
    size = (heatmap.shape[1], heatmap.shape[0])
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
    return {"mask": share > 0.25}


if __name__ == "__main__":
    command.run(run)
