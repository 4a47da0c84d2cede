"""Figures of questions: VisA-D&R's detection and reasoning, multiple choice, and our own question sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assistant.knowledge import canonical, kind_in
from assistant.prompts import says_yes
from eval.text_metrics import rouge_l

MERGED = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}
"""Types of MMAD's questions that its own table reports as one."""

Row = dict[str, Any]
Figures = dict[str, float | int | None]


def mean(values: Sequence[float | bool | None]) -> float | None:
    """Mean of the known values; None of none."""
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def detection(rows: Sequence[Row]) -> dict[str, Any]:
    """VisA-D&R's detection figures from generated verdicts: {"macro", "micro", "classes": {class: figures}}.

    Macro is the mean over classes of each class's figure, micro all pictures together. A precision, recall or F1 that
    is not defined counts as 0, as in the benchmark.
    """
    classes = {}
    for name in sorted({row["category"] for row in rows}):
        classes[name] = yes_no([row for row in rows if row["category"] == name])
    names = ("accuracy", "precision", "recall", "f1")
    macro = {name: mean([figures[name] for figures in classes.values()]) for name in names}
    return {"macro": macro, "micro": yes_no(rows) if rows else {}, "classes": classes}


def yes_no(rows: Sequence[Row]) -> Figures:
    """Accuracy, precision, recall and F1 of the verdict "anomalous"; 0 where a share has nothing to divide by."""
    said = np.array([row["verdict"] == "anomalous" for row in rows])
    truth = np.array([row["label"] == 1 for row in rows])
    right = int((said & truth).sum())
    precision = right / int(said.sum()) if said.any() else 0.0
    recall = right / int(truth.sum()) if truth.any() else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {
        "n": len(rows), "accuracy": float((said == truth).mean()), "precision": precision, "recall": recall, "f1": f1,
    }  # fmt: skip


def reasoning(rows: Sequence[Row], compared: dict[tuple[int, int], dict[str, Any]]) -> dict[str, Figures]:
    """{"low": figures, "complex": figures}: ROUGE-L, SBERT cosine and grade of the open questions.

    Args:
        rows: all rows of a run, in order.
        compared: of `text_metrics.read_text`; SBERT and judge are None where it has nothing.
    """
    groups: dict[str, list[tuple[float, dict[str, Any]]]] = {"low": [], "complex": []}
    for index, row in enumerate(rows):
        for number, turn in enumerate(row.get("turns", ())):
            if turn["type"] in groups and "options" not in turn:
                groups[turn["type"]].append(
                    (rouge_l(turn["reference"], turn["answer"]), compared.get((index, number), {}))
                )
    return {
        kind: {
            "n": len(turns),
            "rouge_l": mean([rouge for rouge, _ in turns]),
            "sbert": mean([line.get("sbert") for _, line in turns]),
            "judge": mean([line.get("judge") for _, line in turns]),
        }
        for kind, turns in groups.items()
    }


def choices(rows: Sequence[Row]) -> dict[str, Any]:
    """Multiple choice: {"types": {type: figures}, "mean": figures over types}, by letter likelihood and by text.

    Columns `likely` and `parsed` are shares of right answers, a text that names no option being wrong; `unparsed` is
    the share of those. A yes/no question about anomalies counts by balanced accuracy, as in MMAD: the mean of the
    shares right on pictures whose right option says yes and on those whose right option says no. A type's figure is the
    mean over the sets that have it, the last one's over types, again as in MMAD.
    """
    turns: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        for turn in row.get("turns", ()):
            if "options" in turn:
                sets = turns.setdefault(MERGED.get(turn["type"], turn["type"]), {})
                sets.setdefault(row.get("dataset", ""), []).append(turn)
    types = {name: _over_sets([_choice_figures(name, part) for part in turns[name].values()]) for name in sorted(turns)}
    names = ("likely", "parsed", "unparsed")
    return {"types": types, "mean": {name: mean([figures[name] for figures in types.values()]) for name in names}}


def _over_sets(parts: Sequence[Figures]) -> Figures:
    figures = {name: mean([part[name] for part in parts]) for name in ("likely", "parsed", "unparsed")}
    return {"n": sum(part["n"] for part in parts), **figures, "balanced": parts[0]["balanced"]}


def _choice_figures(name: str, turns: Sequence[dict[str, Any]]) -> Figures:
    balanced = "detection" in name.lower()
    groups: dict[str, list[dict[str, Any]]] = {}
    for turn in turns:
        right = turn["options"][turn["reference"]].lower()
        groups.setdefault(right[:2] if balanced else "", []).append(turn)

    def share(key: str) -> float | None:
        return mean([mean([turn[key] == turn["reference"] for turn in group]) for group in groups.values()])

    return {
        "n": len(turns),
        "likely": share("likely"),
        "parsed": share("parsed"),
        "unparsed": mean([turn["parsed"] is None for turn in turns]),
        "balanced": int(balanced),
    }


def own(rows: Sequence[Row], cells: Sequence[frozenset[str] | None]) -> Figures:
    """Figures of our own question sets.

    verdict accuracy (balanced), place accuracy (first place named lies in a cell that the mask fills), type accuracy
    (the kind named is the set's), size accuracy (the size word is the mask's), hallucinated defects on normals (yes,
    or a place where there is none), agreement of every named place with the map of the same look.

    Args:
        cells: of every row, the place words its mask fills; None without a mask.
    """
    verdicts: dict[int, list[bool]] = {0: [], 1: []}
    places, types, sizes, invented, agree = [], [], [], [], []
    for row, known in zip(rows, cells, strict=True):
        claims = False
        for turn in row.get("turns", ()):
            said, named = says_yes(turn["answer"]), turn.get("places") or []
            claims |= said is True or bool(named)
            if turn["type"] == "verdict":
                verdicts[row["label"]].append(said is not None and said == (row["label"] == 1))
            elif turn["type"] == "where" and row["label"] == 1 and known:
                places.append(bool(named) and named[0] in known)
            elif turn["type"] == "kind" and row["label"] == 1 and canonical(row.get("defect") or ""):
                types.append(kind_in(turn["answer"]) == canonical(row["defect"]))
            elif turn["type"] == "size" and row["label"] == 1:
                sizes.append(turn["reference"] in turn["answer"].lower())
            if named:
                agree.append(set(named) <= set(row["region_places"]))
        if row["label"] == 0:
            invented.append(claims)
    shares = [mean(group) for group in verdicts.values() if group]
    return {
        "n_normal": len(verdicts[0]), "n_anomalous": len(verdicts[1]), "verdict_accuracy": mean(shares),
        "place_accuracy": mean(places), "type_accuracy": mean(types), "size_accuracy": mean(sizes),
        "hallucination_rate": mean(invented), "agreement": mean(agree),
    }  # fmt: skip
