"""The products of a manifest: normals that references are drawn from, and pictures that are tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assistant.errors import RecordError
from data.schema import Record


@dataclass(frozen=True)
class Product:
    """One product's pictures.

    Attributes:
        name: "set/category".
        known: normals that references are drawn from.
        tested: pictures with labels; what is drawn as reference is taken out of them.
    """

    name: str
    known: tuple[Record, ...]
    tested: tuple[Record, ...]


def training_parts(data: Path) -> frozenset[Path]:
    """Pictures of a manifest that their own benchmark puts into its training part (key `orig_split`)."""
    with (data / "manifest.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return frozenset(data / row["image"] for row in rows if row.get("orig_split") == "train" and "image" in row)


def products_of(
    records: Sequence[Record], category: str, training: frozenset[Path], most: int = 0, seed: int = 0
) -> list[Product]:
    """The products of one of CATEGORIES (or any "set" or "set/category") that have normals to draw.

    Args:
        records: of the manifest.
        category: which.
        training: of `training_parts`: where references of a set that nothing is trained on are drawn from.
        most: at most this many tested pictures of each label and product, drawn with the seed; 0 means all.

    Raises:
        RecordError: there is no such category, or it has no normal picture to draw references from.
    """
    dataset, _, wanted = category.partition("/")
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.dataset == dataset and wanted in ("", record.category):
            groups.setdefault(f"{record.dataset}/{record.category}", []).append(record)
    found = []
    for name, group in sorted(groups.items()):
        if any(record.split == "test" for record in group):  # a set that nothing is trained on
            known = [r for r in group if r.label == 0 and r.image in training]
            tested = group
        else:
            known = [r for r in group if r.label == 0 and r.split in ("fit", "calibrate")]
            tested = [r for r in group if r.split == "val"]
        if most:
            rng = np.random.default_rng(seed)
            tested = [r for label in (0, 1) for r in _drawn([t for t in tested if t.label == label], most, rng)]
        if known and tested:
            found.append(Product(name, tuple(known), tuple(tested)))
    if not found:
        raise RecordError(f"There are no normals to draw references from in {category!r}.", "See the categories.")
    return found


def _drawn(records: Sequence[Record], most: int, rng: np.random.Generator) -> list[Record]:
    return [records[index] for index in sorted(rng.permutation(len(records))[:most])]


def draw(product: Product, shots: int, seed: int) -> list[Record]:
    """References of a product: the first `shots` of an order that the seed alone decides, so that 2 hold the 1."""
    order = np.random.default_rng([seed, 5]).permutation(len(product.known))
    return [product.known[index] for index in order[:shots]]
