"""Figures of a group of predictions; each is None where the group cannot give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from assistant.regions import cells_of

Row = dict[str, Any]
Truth = tuple[np.ndarray, np.ndarray | None]
"""Heatmap [h, w] and mask [h, w] bool or None."""


def image_auroc(rows: Sequence[Row]) -> float | None:
    """Area under the ROC curve of `score` against `label`; needs both labels."""
    labels = [row["label"] for row in rows]
    return float(roc_auc_score(labels, [row["score"] for row in rows])) if len(set(labels)) == 2 else None


def image_ap(rows: Sequence[Row]) -> float | None:
    """Average precision of `score`; needs both labels."""
    labels = [row["label"] for row in rows]
    return float(average_precision_score(labels, [row["score"] for row in rows])) if len(set(labels)) == 2 else None


def balanced_accuracy(rows: Sequence[Row]) -> float | None:
    """Mean of the shares of normals called normal and anomalies called anomalous; "unsure" is right for neither."""
    shares = []
    for label, wanted in ((0, "normal"), (1, "anomalous")):
        group = [row for row in rows if row["label"] == label]
        if not group:
            return None
        shares.append(np.mean([row["verdict"] == wanted for row in group]))
    return float(np.mean(shares))


def pixel_auroc(truths: Sequence[Truth]) -> float | None:
    """Area under the ROC curve over all pixels of pictures with a known mask, normals included."""
    known = [(heatmap, mask) for heatmap, mask in truths if mask is not None]
    if not any(mask.any() for _, mask in known):
        return None
    values = np.concatenate([heatmap.ravel() for heatmap, _ in known]).astype(np.float32)
    masks = np.concatenate([mask.ravel() for _, mask in known])
    return float(roc_auc_score(masks, values))


def lit_on_normals(rows: Sequence[Row]) -> float | None:
    """Mean share of pixels at or above the pixel threshold on normal pictures, 0..1."""
    lit = [row["lit"] for row in rows if row["label"] == 0]
    return float(np.mean(lit)) if lit else None


def map_place_accuracy(rows: Sequence[Row], truths: Sequence[Truth]) -> float | None:
    """Share of anomalous pictures with mask and lit map whose first region lies in a cell that the mask fills."""
    right = [
        row["place"] in cells_of(mask)
        for row, (_, mask) in zip(rows, truths, strict=True)
        if mask is not None and mask.any() and row["place"]
    ]
    return float(np.mean(right)) if right else None


def word_place_accuracy(rows: Sequence[Row], truths: Sequence[Truth]) -> float | None:
    """As `map_place_accuracy`, of the first place the words name."""
    right = [
        row["word_places"][0] in cells_of(mask)
        for row, (_, mask) in zip(rows, truths, strict=True)
        if mask is not None and mask.any() and row["word_places"]
    ]
    return float(np.mean(right)) if right else None


def words_agree(row: Row) -> bool:
    """Whether an answer's words fit its own map and verdict.

    They do when the first place named is the place of the most suspicious region and every named place has a region.
    Words without a place fit a map without regions, and a verdict that is not anomalous.
    """
    if row["word_places"]:
        return row["word_places"][0] == row["place"] and set(row["word_places"]) <= set(row["region_places"])
    return not row["region_places"] or row["verdict"] != "anomalous"


def agreement(rows: Sequence[Row]) -> float | None:
    """Share of answers with words for which `words_agree`."""
    spoken = [words_agree(row) for row in rows if row["explanation"]]
    return float(np.mean(spoken)) if spoken else None


def place_agreement(rows: Sequence[Row]) -> float | None:
    """Share of `words_agree` among answers that name a place, or are anomalous with a lit map."""
    spoken = [
        words_agree(row)
        for row in rows
        if row["explanation"] and (row["word_places"] or (row["region_places"] and row["verdict"] == "anomalous"))
    ]
    return float(np.mean(spoken)) if spoken else None


def hallucination_rate(rows: Sequence[Row]) -> float | None:
    """Share of normal pictures whose words claim a defect: they begin with yes or name a place."""
    normals = [row for row in rows if row["label"] == 0 and row["explanation"]]
    claims = [row["explanation"].lower().startswith("yes") or bool(row["word_places"]) for row in normals]
    return float(np.mean(claims)) if claims else None
