"""Runs of other models as lines in a run's own tables: the same samples, judged product by product.

A peer's scores and maps have no scale that products share, so that figures are taken of each product; a set's figure
is the mean over its products, a line's the mean over sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.errors import LookTwiceError
from eval.predictions import keys_of, read_predictions, read_settings
from eval.score import figures, groups_of, means, read_truths, system_of

Row = dict[str, Any]


def beside(run: Path, others: Sequence[Path]) -> list[Row]:
    """[{"system", "mode", "shots", "n_normal", "n_anomalous", figures...}] of the run itself, then of each other one.

    Only samples that all of them hold count.

    Raises:
        LookTwiceError: there is no such sample, or two runs label one differently.
    """
    held = []
    for folder in (run, *others):
        rows = read_predictions(folder)
        keys = {key: index for index, key in enumerate(keys_of(rows))}
        held.append((folder, rows, keys))
    shared = [key for key in held[0][2] if all(key in keys for _, _, keys in held)]
    if not shared:
        raise LookTwiceError("The runs have no sample in common.", "Name runs of the same set with --beside.")
    lines, labels = [], None
    for folder, rows, keys in held:
        chosen = [keys[key] for key in shared]
        found = [rows[index]["label"] for index in chosen]
        labels = labels or found
        if found != labels:
            raise LookTwiceError(f"{folder} labels samples otherwise than {run}.")
        truths = read_truths(folder, len(rows))
        settings = read_settings(folder)
        lines.append(
            {
                "system": system_of(settings), "mode": settings.get("mode"), "shots": settings.get("shots"),
                "n_normal": labels.count(0), "n_anomalous": labels.count(1),
                **_figures([rows[index] for index in chosen], [truths[index] for index in chosen]),
            }
        )  # fmt: skip
    return lines


def _figures(rows: list[Row], truths: list[Any]) -> dict[str, float | None]:
    sets: dict[str, list[Row]] = {}
    for dataset, _, chosen in groups_of(rows, None, products=True):
        sets.setdefault(dataset, []).append(figures([rows[i] for i in chosen], [truths[i] for i in chosen]))
    return means([means(products) for products in sets.values()])
