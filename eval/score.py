"""Figures of a run from its predictions alone; loads no model.

python -m eval.score RUN [--beside OTHER_RUN]...

Writes RUN/metrics.json, RUN/report.html, and prints the tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from assistant import command
from eval import clips, exams, kinds, metrics
from eval.aupimo import aupimo
from eval.aupro import aupro
from eval.levels import Seen, seen
from eval.predictions import read_predictions, read_settings
from eval.published import published_for
from eval.tables import CLIPS, COLUMNS, DOUBLE, SPEED, WORDS, Shown, tables_of
from eval.text_metrics import read_text

OURS = "looktwice"
"""Name of this project's own model among a run's settings."""
VERDICT = ("balanced_accuracy", "accuracy", "precision", "recall", "f1")
_OF_MAPS = {"pixel_auroc", "pixel_ap", "pixel_f1_max", "pointing"}
_OF_BOTH = {"map_place_accuracy", "map_place_recall", "word_place_accuracy", "word_place_recall", "box_rate"}


def figures(
    rows: list[dict[str, Any]],
    truths: Sequence[metrics.Truth | Seen | None],
    columns: Sequence[str] = COLUMNS,
) -> dict[str, Any]:
    """The columns of a group of rows and their truths, None where not defined."""
    truths = [seen(truth) for truth in truths]
    values: dict[str, Any] = {
        "n_normal": sum(row["label"] == 0 for row in rows),
        "n_anomalous": sum(row["label"] == 1 for row in rows),
    }
    judged = all(row.get("verdict") is not None for row in rows)
    scaled = all(row.get("lit") is not None for row in rows)  # a peer's map has no absolute scale
    for name in columns:
        if name in DOUBLE:
            values[name] = values[DOUBLE[name]]
        elif name in ("aupro", "aupimo"):
            values[name] = {"aupro": aupro, "aupimo": aupimo}[name](truths)
        elif name in ("kind_accuracy", "wrong_kind_rate", "likeliest_kind_accuracy"):
            values[name] = getattr(kinds, name)(rows) if judged and scaled else None
        elif name in CLIPS:
            values[name] = getattr(clips, name)(rows)
        elif name in SPEED:
            values[name] = exams.mean([row.get("seconds") for row in rows])
        elif name in _OF_MAPS:
            values[name] = getattr(metrics, name)(truths)
        elif name in _OF_BOTH:
            values[name] = getattr(metrics, name)(rows, truths) if scaled else None
        elif (name in VERDICT and not judged) or (name in ("lit_on_normals", "normal_top") and not scaled):
            values[name] = None
        else:
            values[name] = getattr(metrics, name)(rows)
    return values


def read_truths(run: Path, count: int) -> list[Seen | None]:
    """Every picture's map held against its mask, measured one by one; None where map or mask is not kept."""
    truths: list[Seen | None] = []
    for index in range(count):
        file = run / "maps" / f"{index:06d}.npz"
        truth = None
        if file.is_file():
            with np.load(file) as arrays:
                if "mask" in arrays:
                    truth = seen((arrays["heatmap"], arrays["mask"]))
        truths.append(truth)
    return truths


def groups_of(rows: list[dict[str, Any]], task: str | None, products: bool = False) -> list[tuple[str, str, list[int]]]:
    """(dataset, category or "", indices) of the rows of the table.

    Sets of a manifest, folder, clips or own questions are one row each, MVTec's products one each, for they differ as
    much as sets do; benchmarks have a row a category, and so has everything with `products`: a peer's scores have no
    scale that products share.
    """
    by_set = not products and task in (None, "manifest", "folder", "questions", "video")
    found: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        if row["label"] is None or (task == "visa_dr" and row.get("kind") == "exam"):
            continue
        whole = by_set and not row["dataset"].lower().startswith("mvtec")
        found.setdefault((row["dataset"], "" if whole else row["category"]), []).append(index)
    return [(dataset, category, found[dataset, category]) for dataset, category in sorted(found)]


def is_peer(settings: dict[str, Any]) -> bool:
    """Whether a run's predictions are a peer's; runs from before there were peers name no model."""
    return settings.get("model", OURS) != OURS


def system_of(settings: dict[str, Any]) -> str:
    """Who judged a run and what it was given, for a line of a table: "patchcore, 4-shot"."""
    name = settings["model"] if is_peer(settings) else f"LookTwice {settings.get('profile', '')}".strip()
    if settings.get("mode") != "reference":
        return f"{name}, {(settings.get('mode') or 'zero_shot').replace('_', '-')}"
    return f"{name}, {settings['shots']}-shot" if settings.get("shots") else f"{name}, all normals"


def score_run(run: Path) -> dict[str, Any]:
    """All figures of a run.

    Returns:
        {"task", "model", "mode", "shots", "profile", "rows": one dict for each set or category, "mean": {column: mean
        over the rows that have it}, "mean_by_split": the same for the rows of each split, "all": yes or no, verdict and
        words of all samples together (scores of different sets are never pooled), "kinds": {true kind: {named kind:
        answers}} over all sets, "look_kinds": the same of the look's likeliest kind, "published": rows of other
        systems, "beside": lines of other runs on the same samples (`eval.beside`, empty without --beside), and, where
        a run has them, "detection" and "reasoning" (VisA-D&R), "choices" (multiple choice), "questions" (our own)}.
    """
    rows, settings = read_predictions(run), read_settings(run)
    return score_rows(run, rows, settings, read_truths(run, len(rows)))


def score_rows(
    run: Path, rows: list[dict[str, Any]], settings: dict[str, Any], truths: list[Seen | None]
) -> dict[str, Any]:
    """See `score_run`."""
    task = settings.get("task")
    table, splits = [], []
    groups = groups_of(rows, task, is_peer(settings))
    every = [index for _, _, chosen in groups for index in chosen]
    for dataset, category, chosen in groups:
        values = figures([rows[i] for i in chosen], [truths[i] for i in chosen])
        table.append({"dataset": dataset, "category": category, **values})
        splits.append(rows[chosen[0]].get("split", ""))
    result = {
        "task": task,
        "model": settings.get("model", OURS),
        "mode": settings.get("mode"),
        "shots": settings.get("shots"),
        "profile": settings.get("profile"),
        "rows": table,
        "mean": means(table),
        "mean_by_split": {
            name: means([row for row, split in zip(table, splits, strict=True) if split == name])
            for name in sorted(set(splits) - {""})
        },
        "all": figures([rows[i] for i in every], [truths[i] for i in every], WORDS),
        "kinds": kinds.confusion(kinds.named_kinds([row for row in rows if row.get("explanation")])),
        "look_kinds": kinds.confusion(kinds.likeliest_kinds([] if is_peer(settings) else rows)),
    }
    turns = [turn for row in rows for turn in row.get("turns", ())]
    if task == "visa_dr" and any(row.get("verdict") for row in rows):  # a peer has no verdict and no words
        result["detection"] = exams.detection([row for row in rows if row.get("kind") != "exam"])
        result["reasoning"] = exams.reasoning(rows, read_text(run))
        result["answer_fields"] = sorted({row["field"] for row in rows if row.get("field")})
    if any("options" in turn for turn in turns):
        result["choices"] = exams.choices(rows)
    if task == "questions":
        result["questions"] = {
            dataset: exams.own([rows[i] for i in chosen], [truths[i] and truths[i].cells for i in chosen])
            for dataset, _, chosen in groups
        }
    result["beside"] = []
    result["published"] = published_for(result)
    return result


def means(table: list[dict[str, Any]]) -> dict[str, float | None]:
    """{column: mean over the rows that have it, None where none has}."""
    return {name: exams.mean([row[name] for row in table]) for name in COLUMNS}


def main(
    run: Annotated[Path, typer.Argument(help="Folder of eval.run.")],
    report: Annotated[bool, typer.Option(help="Write RUN/report.html as well.")] = True,
    others: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="A run whose figures on the same samples stand in the tables too; repeatable."),
    ] = None,
) -> None:
    """Prints the tables and writes RUN/metrics.json and RUN/report.html."""
    rows, settings = read_predictions(run), read_settings(run)
    truths = read_truths(run, len(rows))
    result = score_rows(run, rows, settings, truths)
    if others:
        from eval.beside import beside

        result["beside"] = beside(run, others)
    (run / "metrics.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console = Console(width=200)
    for shown in tables_of(result):
        console.print(_drawn(shown))
    if report:
        from eval.report import write_report

        write_report(run, rows, result)
        typer.echo(f"wrote {run / 'report.html'}")


def _drawn(shown: Shown) -> Table:
    """One table for the terminal; texts of files stand as they are."""
    first, *others = shown.header
    table = Table(Column(first, no_wrap=True), *others, title=shown.title)
    before = ""
    for number, (style, cells) in enumerate(shown.lines):
        if style != before:
            table.add_section()
        before = style
        table.add_row(
            *(Text(text, "bold" if (number, column) in shown.right else "") for column, text in enumerate(cells))
        )
    return table


if __name__ == "__main__":
    command.run(main)
