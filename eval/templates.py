"""Boards beside their own templates: what a reference gives that shows the very scene.

    python -m eval.templates --data DIR [--split val] [--limit N] [--profile NAME]

In DeepPCB each defective board has an aligned template, whose file has the next number. Both are taken anew, hardly
turned and shifted and in other light, and each is looked at alone, beside another board's template and beside its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from assistant import command, load
from assistant.types import Look
from data.augment import retake
from data.pairs import pairs_of
from data.readers import read_manifest
from data.schema import Record

WAYS = ("alone", "another board's template", "its own template")


@dataclass(frozen=True)
class Seen:
    """One look at a board or at a template.

    Attributes:
        label: 1 for the board with defects.
        evidence: of `types.Look`.
        lit: share of the picture that is lit.
        found: of the board's defects the share of whose boxes some region touches; None for a template.
        right: of the regions the share that touches some defect; None without regions, and for a template.
    """

    label: int
    evidence: float
    lit: float
    found: float | None = None
    right: float | None = None


def seen_as(look: Look, boxes: Sequence[tuple[int, int, int, int]]) -> Seen:
    """What a look at a board with defects in these boxes, or at a template without any, found of them."""
    lit = float((look.heatmap >= 0.5).mean())
    if not boxes:
        return Seen(0, look.evidence, lit)
    touches = np.array([[_touch(region.box, box) for box in boxes] for region in look.regions], dtype=bool)
    found = float(touches.any(axis=0).mean()) if len(touches) else 0.0
    return Seen(1, look.evidence, lit, found, float(touches.any(axis=1).mean()) if len(touches) else None)


def _touch(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def moved_boxes(record: Record, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A board taken anew, and where its boxes are then: the bounds of what each of them covers."""
    pixels, state = record.read_image(), rng.bit_generator.state
    taken, boxes = retake(pixels, rng), []
    for x1, y1, x2, y2, _ in record.boxes:
        marked = np.zeros_like(pixels)
        marked[y1:y2, x1:x2] = 255
        again = np.random.default_rng()
        again.bit_generator.state = state  # the same turn and shift
        rows, columns = np.nonzero(retake(marked, again).max(axis=2) > 64)
        if len(rows):
            boxes.append((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
    return taken, boxes


def figures(seen: Sequence[Seen]) -> dict[str, float]:
    """Image AUROC, balanced accuracy at the threshold, lit share of templates, defects found, regions right."""
    labels, evidence = (np.array([getattr(one, name) for one in seen]) for name in ("label", "evidence"))
    over = evidence >= 0
    known = [one for one in seen if one.label]
    right = [one.right for one in known if one.right is not None]
    return {
        "image AUROC": float(roc_auc_score(labels, evidence)),
        "balanced accuracy": float((over[labels == 1].mean() + (~over[labels == 0]).mean()) / 2),
        "lit on templates": float(np.mean([one.lit for one in seen if not one.label])),
        "defects found": float(np.mean([one.found for one in known])),
        "regions on defects": float(np.mean(right)) if right else float("nan"),
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    split: Annotated[str, typer.Option(help="Fold whose boards are looked at.")] = "val",
    limit: Annotated[int, typer.Option(min=2, help="Boards at most.")] = 1000,
    profile: str = "embedded",
) -> None:
    """Looks at every board and template three times and prints the table."""
    pairs = pairs_of([record for record in read_manifest(data / "manifest.jsonl") if record.split == split])[:limit]
    inspector, rng = load(profile), np.random.default_rng(0)
    seen: dict[str, list[Seen]] = {way: [] for way in WAYS}
    others = [template for _, template in pairs]
    for number, (board, template) in enumerate(tqdm(pairs, desc="boards")):
        taken, boxes = moved_boxes(board, rng)
        normal = retake(template.read_image(), rng)
        other = others[(number + 1) % len(others)]
        memories = ((), inspector.remember([other.image]), inspector.remember([template.image]))
        for way, memory in zip(WAYS, memories, strict=True):
            seen[way] += [seen_as(inspector.look(taken, memory), boxes), seen_as(inspector.look(normal, memory), ())]
    table = Table("figure", *WAYS, title=f"{len(pairs)} boards and their templates, {split}")
    found = {way: figures(one) for way, one in seen.items()}
    for name in found[WAYS[0]]:
        table.add_row(name, *(f"{found[way][name]:.3f}" for way in WAYS))
    Console().print(table)


if __name__ == "__main__":
    command.run(main)
