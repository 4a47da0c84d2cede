"""Which figures a run has, and its tables as text: for the terminal, the report and a model card alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eval.kinds import NO_KIND

IMAGE = ("image_auroc", "image_ap", "image_f1_max", "f1_max")
MAP = (
    "pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupimo", "pointing", "box_rate", "map_place_accuracy",
    "map_place_recall", "lit_on_normals", "normal_top", "likeliest_kind_accuracy",
)  # fmt: skip
LOOK = IMAGE + MAP
"""Figures of score and heatmap; no word enters."""
WORDS = (
    "yes_no", "balanced_accuracy", "accuracy", "precision", "recall", "f1", "ece", "word_place_accuracy",
    "word_place_recall", "place_accuracy", "kind_accuracy", "wrong_kind_rate", "agreement", "place_agreement",
    "hallucination_rate", "faithfulness",
)  # fmt: skip
"""Figures of yes or no, of the verdict and of the answers."""
CLIPS = ("frame_auroc", "frame_ap", "pate", "when_iou", "when_hit")
SPEED = ("seconds",)
COLUMNS = LOOK + WORDS + CLIPS + SPEED
WRITTEN = {name: name.upper() for name in ("auroc", "ap", "f1", "aupro", "aupimo", "ece", "iou", "pate", "sbert")}
"""How parts of a column's name are written where they are abbreviations."""
KEY = ("image_auroc", "pixel_auroc", "aupro", "map_place_accuracy", "yes_no", "balanced_accuracy", "frame_auroc")
"""Columns whose means stand first in a report."""
DOUBLE = {"f1_max": "image_f1_max", "place_accuracy": "word_place_accuracy"}
"""Columns that stand under two names, the second being the one that tables show."""


@dataclass(frozen=True)
class Shown:
    """One table as text.

    Attributes:
        title: what stands above it.
        header: the columns' names; the first column names the lines.
        lines: (style, cells), the style being "", "mean" or "published".
        right: (line, column) of the cells that stand out because an answer was right.
    """

    title: str
    header: list[str]
    lines: list[tuple[str, list[str]]]
    right: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def tables_of(result: dict[str, Any]) -> list[Shown]:
    """All tables of a result of `eval.score.score_run`, those that have something to show."""
    titles = ("score of the look", "map of the look", "yes or no, verdict and words", "clips, and seconds a sample")
    found = []
    for title, names in zip(titles, (IMAGE, MAP, WORDS, CLIPS + SPEED), strict=True):
        # a column that no set has is left out, and so is the second of two names
        columns = [name for name in names if name not in DOUBLE and result["mean"].get(name) is not None]
        if columns:
            found.append(_figures(title, columns, result))
    found += _of_questions(result)
    told = (
        ("kinds", "kinds: what the answers that say yes name (columns) of each true kind (rows)"),
        ("look_kinds", "kinds: what the look holds for the likeliest (columns) of each true kind (rows)"),
    )
    return found + [_confusion(title, result[name]) for name, title in told if result.get(name)]


def _figures(title: str, columns: list[str], result: dict[str, Any]) -> Shown:
    """A line a set, their mean, all samples together, and lines of other systems."""
    named = [("", "/".join(part for part in (row["dataset"], row["category"]) if part), row) for row in result["rows"]]
    named.append(("mean", "mean of the sets", result["mean"]))
    if len(result["mean_by_split"]) > 1:
        named += [("mean", f"mean of {split}", values) for split, values in result["mean_by_split"].items()]
    if len(result["rows"]) > 1 and any(result["all"].get(name) is not None for name in columns):
        named.append(("mean", "all samples together", result["all"]))
    named += [("mean", f"{row['system']}, by product", row) for row in result["beside"]]
    for row in [] if "detection" in result or "choices" in result else result["published"]:
        if any(row.get(name) is not None for name in columns):
            given = f"{row['shots']}-shot" if row.get("shots") else (row.get("mode") or "").replace("_", "-")
            named.append(("published", f"{row['system']}, {row['set']} {given} (published)", row))
    counts = ("n_normal", "n_anomalous")
    lines = [(style, [name, *(cell(row.get(key)) for key in (*counts, *columns))]) for style, name, row in named]
    return Shown(title, ["set", "normal", "anomalous", *map(label, columns)], lines)


def _of_questions(result: dict[str, Any]) -> list[Shown]:
    """VisA-D&R, multiple choice and own questions, published figures among them."""
    found = []
    others = result["published"]
    if "detection" in result:
        detection, reasoning = result["detection"], result["reasoning"]
        names = ("accuracy", "precision", "recall", "f1")
        columns = (*names, "low_rouge_l", "low_sbert", "low_judge", "complex_sbert", "complex_judge")
        words = {f"{kind}_{name}": value for kind, known in reasoning.items() for name, value in known.items()}
        macro = {**detection["macro"], **words}
        lines = [
            ("", ["this run, macro", *(cell(macro.get(name)) for name in columns)]),
            ("", ["this run, micro", *(cell(detection["micro"].get(name)) for name in names), *[""] * 5]),
        ]
        lines += [
            ("published", [f"{row['system']} (published)", *(cell(row.get(name)) for name in columns)])
            for row in others
        ]
        found.append(Shown("VisA-D&R: detection and reasoning", ["system", *map(label, columns)], lines))
    if "choices" in result:
        types = result["choices"]["types"] | {"mean of the types": result["choices"]["mean"]}
        lines = [
            (
                "" if "n" in values else "mean",
                [
                    name + (", balanced" if values.get("balanced") else ""), str(values.get("n", "")),
                    *(cell(values[key]) for key in ("likely", "parsed", "unparsed")),
                ],
            )
            for name, values in types.items()
        ]  # fmt: skip
        lines += [
            ("published", [f"{row['system']} (published)", "", "", cell(row.get("accuracy")), ""]) for row in others
        ]
        header = ["type of question", "n", "by letter likelihood", "by generated text", "names no option"]
        found.append(Shown("multiple choice: share of right answers", header, lines))
    if "questions" in result:
        names = (
            "n_normal", "n_anomalous", "verdict_accuracy", "place_accuracy", "type_accuracy", "size_accuracy",
            "hallucination_rate", "agreement",
        )  # fmt: skip
        lines = [("", [name, *(cell(row[key]) for key in names)]) for name, row in result["questions"].items()]
        found.append(Shown("our own questions", ["set", *map(label, names)], lines))
    return found


def _confusion(title: str, counts: dict[str, dict[str, int]]) -> Shown:
    """A line a true kind, a column a kind that was named; only kinds that occur."""
    named = sorted({name for row in counts.values() for name in row}, key=lambda name: (name == NO_KIND, name))
    lines = [("", [truth, *(str(row.get(name, "")) for name in named)]) for truth, row in counts.items()]
    right = {(line, named.index(truth) + 1) for line, (truth, row) in enumerate(counts.items()) if truth in row}
    return Shown(title, ["true kind", *named], lines, frozenset(right))


def label(name: str) -> str:
    """A column's name for people."""
    words = ["yes", "or", "no"] if name == "yes_no" else name.split("_")
    return " ".join(WRITTEN.get(word, word) for word in words)


def cell(value: float | int | None) -> str:
    """A figure as text; empty where there is none."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
