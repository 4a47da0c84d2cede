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

from assistant import command
from eval import clips, exams, kinds, metrics
from eval.aupimo import aupimo
from eval.aupro import aupro
from eval.levels import Seen, seen
from eval.predictions import read_predictions, read_settings
from eval.published import published_for
from eval.text_metrics import read_text

IMAGE = ("image_auroc", "image_ap", "image_f1_max", "f1_max")
MAP = (
    "pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupimo", "pointing", "box_rate", "map_place_accuracy",
    "lit_on_normals", "normal_top", "likeliest_kind_accuracy",
)  # fmt: skip
LOOK = IMAGE + MAP
"""Figures of score and heatmap; no word enters."""
WORDS = (
    "balanced_accuracy", "accuracy", "precision", "recall", "f1", "ece", "word_place_accuracy", "place_accuracy",
    "kind_accuracy", "agreement", "place_agreement", "hallucination_rate", "faithfulness",
)  # fmt: skip
"""Figures of the verdict and of the answers."""
CLIPS = ("frame_auroc", "frame_ap", "pate", "when_iou")
SPEED = ("seconds",)
OURS = "looktwice"
"""Name of this project's own model among a run's settings."""
COLUMNS = LOOK + WORDS + CLIPS + SPEED
VERDICT = ("balanced_accuracy", "accuracy", "precision", "recall", "f1")
DOUBLE = {"f1_max": "image_f1_max", "place_accuracy": "word_place_accuracy"}
"""Columns that stand under two names, the second being the one that tables show."""
_OF_MAPS = {"pixel_auroc", "pixel_ap", "pixel_f1_max", "pointing"}
_OF_BOTH = {"map_place_accuracy", "word_place_accuracy", "box_rate"}


def figures(rows: list[dict[str, Any]], truths: Sequence[metrics.Truth | Seen | None]) -> dict[str, Any]:
    """All COLUMNS of a group of rows and their truths, None where not defined."""
    truths = [seen(truth) for truth in truths]
    values: dict[str, Any] = {
        "n_normal": sum(row["label"] == 0 for row in rows),
        "n_anomalous": sum(row["label"] == 1 for row in rows),
    }
    judged = all(row.get("verdict") is not None for row in rows)
    scaled = all(row.get("lit") is not None for row in rows)  # a peer's map has no absolute scale
    for name in COLUMNS:
        if name in DOUBLE:
            values[name] = values[DOUBLE[name]]
        elif name in ("aupro", "aupimo"):
            values[name] = {"aupro": aupro, "aupimo": aupimo}[name](truths)
        elif name in ("kind_accuracy", "likeliest_kind_accuracy"):
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

    Sets of a manifest, folder or own questions are one row each, MVTec's products one each, for they differ as much as
    sets do; benchmarks have a row a category, and so has everything with `products`: a peer's scores have no scale that
    products share.
    """
    by_set = not products and task in (None, "manifest", "folder", "questions")
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
        over the rows that have it}, "mean_by_split": the same for the rows of each split, "kinds": {true kind: {named
        kind: answers}} over all sets, "published": rows of other systems, "beside": lines of other runs on the same
        samples (`eval.beside`, empty without --beside), and, where a run has them, "detection" and "reasoning"
        (VisA-D&R), "choices" (multiple choice), "questions" (our own)}.
    """
    rows, settings = read_predictions(run), read_settings(run)
    return score_rows(run, rows, settings, read_truths(run, len(rows)))


def score_rows(
    run: Path, rows: list[dict[str, Any]], settings: dict[str, Any], truths: list[Seen | None]
) -> dict[str, Any]:
    """See `score_run`."""
    task = settings.get("task")
    table, splits = [], []
    for dataset, category, chosen in groups_of(rows, task, is_peer(settings)):
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
        "kinds": kinds.confusion([row for row in rows if row["label"] is not None and row.get("explanation")]),
    }
    turns = [turn for row in rows for turn in row.get("turns", ())]
    if task == "visa_dr" and any(row.get("verdict") for row in rows):  # a peer has no verdict and no words
        result["detection"] = exams.detection([row for row in rows if row.get("kind") != "exam"])
        result["reasoning"] = exams.reasoning(rows, read_text(run))
        result["answer_fields"] = sorted({row["field"] for row in rows if row.get("field")})
    if any("options" in turn for turn in turns):
        result["choices"] = exams.choices(rows)
    if task == "questions":
        groups = groups_of(rows, task)
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
    for title, columns in shown_tables():
        if any(result["mean"][name] is not None for name in columns):
            console.print(_figure_table(title, columns, result))
    for title, header, lines in extra_tables(result):
        table = Table(*header, title=title)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    if result["kinds"]:
        console.print(_kind_table(result["kinds"]))
    if report:
        from eval.report import write_report

        write_report(run, rows, result)
        typer.echo(f"wrote {run / 'report.html'}")


def shown_tables() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(title, columns) of the tables of figures; a column that stands under two names is shown once."""
    titles = ("score of the look", "map of the look", "verdict and words", "clips, and seconds a sample")
    return tuple(
        (title, tuple(name for name in columns if name not in DOUBLE))
        for title, columns in zip(titles, (IMAGE, MAP, WORDS, CLIPS + SPEED), strict=True)
    )


def extra_tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, header, rows of cells) of VisA-D&R, multiple choice and own questions, published figures among them."""
    tables = []
    others = result["published"]
    if "detection" in result:
        detection, reasoning = result["detection"], result["reasoning"]
        names = ("accuracy", "precision", "recall", "f1")
        columns = (*names, "low_rouge_l", "low_sbert", "low_judge", "complex_sbert", "complex_judge")
        words = {f"{kind}_{name}": value for kind, known in reasoning.items() for name, value in known.items()}
        lines = [["this run, macro", *(cell({**detection["macro"], **words}.get(name)) for name in columns)]]
        lines.append(["this run, micro", *(cell(detection["micro"].get(name)) for name in names), *[""] * 5])
        lines += [[f"{row['system']} (published)", *(cell(row.get(name)) for name in columns)] for row in others]
        tables.append(("VisA-D&R: detection and reasoning", ["system", *map(_label, columns)], lines))
    if "choices" in result:
        types = result["choices"]["types"] | {"mean of the types": result["choices"]["mean"]}
        lines = [
            [
                name + (", balanced" if values.get("balanced") else ""), str(values.get("n", "")),
                *(cell(values[key]) for key in ("likely", "parsed", "unparsed")),
            ]
            for name, values in types.items()
        ]  # fmt: skip
        lines += [[f"{row['system']} (published)", "", "", cell(row.get("accuracy")), ""] for row in others]
        header = ["type of question", "n", "by letter likelihood", "by generated text", "names no option"]
        tables.append(("multiple choice: share of right answers", header, lines))
    if "questions" in result:
        names = (
            "n_normal", "n_anomalous", "verdict_accuracy", "place_accuracy", "type_accuracy", "size_accuracy",
            "hallucination_rate", "agreement",
        )  # fmt: skip
        lines = [[name, *(cell(values[key]) for key in names)] for name, values in result["questions"].items()]
        tables.append(("our own questions", ["set", *map(_label, names)], lines))
    return tables


def detection_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The published rows that stand in the tables of figures: those whose columns are the tables' own."""
    return [] if "detection" in result or "choices" in result else result["published"]


def _figure_table(title: str, columns: tuple[str, ...], result: dict[str, Any]) -> Table:
    """A row a set, and their mean; a column that no row has is left out, other cells without a figure are empty."""
    columns = tuple(name for name in columns if result["mean"][name] is not None)
    table = Table(Column("set", no_wrap=True), "normal", "anomalous", *map(_label, columns), title=title)
    for row in result["rows"]:
        name = "/".join(part for part in (row["dataset"], row["category"]) if part)
        table.add_row(name, str(row["n_normal"]), str(row["n_anomalous"]), *(cell(row[column]) for column in columns))
    table.add_section()
    table.add_row("mean of the sets", "", "", *(cell(result["mean"][column]) for column in columns))
    if len(result["mean_by_split"]) > 1:
        for split, values in result["mean_by_split"].items():
            table.add_row(f"mean of {split}", "", "", *(cell(values[column]) for column in columns))
    if result["beside"]:
        table.add_section()
        for row in result["beside"]:
            given = [cell(row.get(name)) for name in ("n_normal", "n_anomalous", *columns)]
            table.add_row(f"{row['system']}, by product", *given)
    published = [row for row in detection_rows(result) if any(row.get(name) is not None for name in columns)]
    if published:
        table.add_section()
        for row in published:
            name = f"{row['system']}, {row['set']} (published)"
            table.add_row(name, "", "", *(cell(row.get(column)) for column in columns))
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


def _label(name: str) -> str:
    return name.replace("_", " ")


def cell(value: float | int | None) -> str:
    """A figure as text; empty where there is none."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    command.run(main)
