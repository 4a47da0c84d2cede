"""Figures of a run from its predictions alone; loads no model.

python -m eval.score RUN
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from assistant import command
from eval import metrics
from eval.predictions import read_predictions

COLUMNS = (
    "image_auroc", "image_ap", "balanced_accuracy", "pixel_auroc", "lit_on_normals", "map_place_accuracy",
    "word_place_accuracy", "agreement", "place_agreement", "hallucination_rate",
)  # fmt: skip


def figures(rows: list[dict[str, Any]], truths: list[metrics.Truth]) -> dict[str, Any]:
    """All COLUMNS of a group of rows and their truths, None where not defined."""
    values: dict[str, Any] = {
        "n_normal": sum(row["label"] == 0 for row in rows),
        "n_anomalous": sum(row["label"] == 1 for row in rows),
    }
    for name in COLUMNS:
        function = getattr(metrics, name)
        if name == "pixel_auroc":
            values[name] = function(truths)
        elif name.endswith("place_accuracy"):
            values[name] = function(rows, truths)
        else:
            values[name] = function(rows)
    return values


def score_run(run: Path) -> dict[str, Any]:
    """{"rows": one for each set and category, "mean": over the sets, each set the mean of its pictures together}."""
    rows = read_predictions(run)
    truths: list[metrics.Truth] = []
    for index in range(len(rows)):
        with np.load(run / "maps" / f"{index:06d}.npz") as arrays:
            truths.append((arrays["heatmap"].astype(np.float32), arrays["mask"] if "mask" in arrays else None))
    table = []
    sets = sorted({row["dataset"] for row in rows})
    if sets == ["mvtec"]:  # products of MVTec differ as much as sets do
        names = sorted({(row["dataset"], row["category"]) for row in rows})
    else:
        names = [(name, "") for name in sets]
    for dataset, category in names:
        chosen = [i for i, row in enumerate(rows) if row["dataset"] == dataset and category in ("", row["category"])]
        values = figures([rows[i] for i in chosen], [truths[i] for i in chosen])
        table.append({"dataset": dataset, "category": category, **values})
    mean = {}
    for name in COLUMNS:
        known = [row[name] for row in table if row[name] is not None]
        mean[name] = float(np.mean(known)) if known else None
    return {"rows": table, "mean": mean}


def main(run: Annotated[Path, typer.Argument(help="Folder of eval.run.")]) -> None:
    """Prints the table and writes RUN/metrics.json."""
    result = score_run(run)
    (run / "metrics.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = Table("set", "normal", "anomalous", *(name.replace("_", " ") for name in COLUMNS))
    for row in result["rows"]:
        name = "/".join(part for part in (row["dataset"], row["category"]) if part)
        table.add_row(name, str(row["n_normal"]), str(row["n_anomalous"]), *(_cell(row[column]) for column in COLUMNS))
    table.add_section()
    table.add_row("mean of the sets", "", "", *(_cell(result["mean"][column]) for column in COLUMNS))
    Console(width=200).print(table)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.run(main)
