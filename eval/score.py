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
from eval import kinds, metrics
from eval.aupro import aupro
from eval.predictions import read_predictions

LOOK = (
    "image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "aupro", "lit_on_normals", "normal_top",
    "map_place_accuracy", "likeliest_kind_accuracy",
)  # fmt: skip
"""Figures of score and heatmap; no word enters."""
WORDS = (
    "balanced_accuracy", "accuracy", "precision", "recall", "f1", "ece", "word_place_accuracy", "kind_accuracy",
    "agreement", "place_agreement", "hallucination_rate",
)  # fmt: skip
"""Figures of the verdict and of the answers."""
COLUMNS = LOOK + WORDS


def figures(rows: list[dict[str, Any]], truths: list[metrics.Truth]) -> dict[str, Any]:
    """All COLUMNS of a group of rows and their truths, None where not defined."""
    values: dict[str, Any] = {
        "n_normal": sum(row["label"] == 0 for row in rows),
        "n_anomalous": sum(row["label"] == 1 for row in rows),
    }
    for name in COLUMNS:
        if name == "aupro":
            values[name] = aupro(truths)
        elif name in ("kind_accuracy", "likeliest_kind_accuracy"):
            values[name] = getattr(kinds, name)(rows)
        elif name in ("pixel_auroc", "pixel_ap"):
            values[name] = getattr(metrics, name)(truths)
        elif name in ("map_place_accuracy", "word_place_accuracy"):
            values[name] = getattr(metrics, name)(rows, truths)
        else:
            values[name] = getattr(metrics, name)(rows)
    return values


def score_run(run: Path) -> dict[str, Any]:
    """All figures of a run.

    Returns:
        {"rows": one dict for each set and category, "mean": {column: mean over the sets that have it, each set the
        figure of its pictures together}, "kinds": {true kind: {named kind: answers}} over all sets}.
    """
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
    return {"rows": table, "mean": mean, "kinds": kinds.confusion(rows)}


def main(run: Annotated[Path, typer.Argument(help="Folder of eval.run.")]) -> None:
    """Prints the tables and writes RUN/metrics.json."""
    result = score_run(run)
    (run / "metrics.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console = Console(width=200)
    console.print(_figure_table("the look: score and heatmap", LOOK, result))
    console.print(_figure_table("verdict and words", WORDS, result))
    if result["kinds"]:
        console.print(_kind_table(result["kinds"]))


def _figure_table(title: str, columns: tuple[str, ...], result: dict[str, Any]) -> Table:
    """A row a set, and their mean; cells are empty where a figure is not defined."""
    table = Table("set", "normal", "anomalous", *(name.replace("_", " ") for name in columns), title=title)
    for row in result["rows"]:
        name = "/".join(part for part in (row["dataset"], row["category"]) if part)
        table.add_row(name, str(row["n_normal"]), str(row["n_anomalous"]), *(_cell(row[column]) for column in columns))
    table.add_section()
    table.add_row("mean of the sets", "", "", *(_cell(result["mean"][column]) for column in columns))
    return table


def _kind_table(confusion: dict[str, dict[str, int]]) -> Table:
    """A row a true kind, a column a kind that was named, the right ones in bold; only kinds that occur."""
    named = sorted({name for counts in confusion.values() for name in counts}, key=lambda n: (n == kinds.NO_KIND, n))
    table = Table("true kind", *named, title="kinds: what the answers that say yes name (columns) of each true kind")
    for truth, counts in confusion.items():
        cells = [str(counts.get(name, "")) for name in named]
        table.add_row(
            truth, *(f"[bold]{cell}[/]" if name == truth else cell for name, cell in zip(named, cells, strict=True))
        )
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.run(main)
