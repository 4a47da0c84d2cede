"""Figures of a group of predictions; each is None where the group cannot give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from assistant.prompts import says_yes
from eval.levels import Seen, Truth, known_levels, merged, seen

Row = dict[str, Any]
Truths = Sequence[Truth | Seen | None]
THRESHOLD = 0.5
"""Score from which a look calls a picture anomalous, for runs that did not keep it."""
HIT = 0.5
"""Intersection over union from which two boxes are the same place."""
ECE_BINS = 10


def image_auroc(rows: Sequence[Row]) -> float | None:
    """Area under the ROC curve of `score` against `label`; needs both labels."""
    labels = [row["label"] for row in rows]
    return float(roc_auc_score(labels, [row["score"] for row in rows])) if len(set(labels)) == 2 else None


def image_ap(rows: Sequence[Row]) -> float | None:
    """Average precision of `score`; needs both labels."""
    labels = [row["label"] for row in rows]
    return float(average_precision_score(labels, [row["score"] for row in rows])) if len(set(labels)) == 2 else None


def image_f1_max(rows: Sequence[Row]) -> float | None:
    """Best F1 of `score` over all thresholds, anomalous being positive; needs both labels.

    The threshold is the best one for these very labels: it says how well scores part the two, not what a user gets.
    """
    labels = [row["label"] for row in rows]
    if len(set(labels)) < 2:
        return None
    precisions, recalls, _ = precision_recall_curve(labels, [row["score"] for row in rows])
    return float(np.max(2 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)))


def balanced_accuracy(rows: Sequence[Row]) -> float | None:
    """Mean of the shares of normals called normal and anomalies called anomalous; "unsure" is right for neither."""
    shares = []
    for label, wanted in ((0, "normal"), (1, "anomalous")):
        group = [row for row in rows if row["label"] == label]
        if not group:
            return None
        shares.append(np.mean([row["verdict"] == wanted for row in group]))
    return float(np.mean(shares))


def yes_no(rows: Sequence[Row]) -> float | None:
    """Mean of the shares of normals answered no and anomalies answered yes; see `answer_of`. Needs both labels.

    Two-valued, as the field reports its yes/no questions; `balanced_accuracy` is of the verdict, which may be unsure.
    None when a row has neither words nor a stated probability.
    """
    answers = [answer_of(row) for row in rows]
    if any(not row.get("explanation") and said is None for row, said in zip(rows, answers, strict=True)):
        return None
    shares = []
    for label in (0, 1):
        group = [said is bool(label) for row, said in zip(rows, answers, strict=True) if row["label"] == label]
        if not group:
            return None
        shares.append(np.mean(group))
    return float(np.mean(shares))


def answer_of(row: Row) -> bool | None:
    """The assistant's own yes or no: what its words begin with; without words the likelier side of its probability.

    None when the words begin with neither, which is right for no label, and when there is neither.
    """
    if row.get("explanation"):
        return says_yes(row["explanation"])
    stated = row.get("verdict_probability")
    return None if stated is None else stated >= 0.5


def accuracy(rows: Sequence[Row]) -> float | None:
    """Share of pictures whose verdict is right; "unsure" never is. Needs both labels, as `balanced_accuracy`."""
    if len({row["label"] for row in rows}) < 2:
        return None
    return float(np.mean([row["verdict"] == ("normal", "anomalous")[row["label"]] for row in rows]))


def precision(rows: Sequence[Row]) -> float | None:
    """Share of the pictures called anomalous that are; needs both labels and one such verdict.

    "unsure" is no call: it lowers `recall`, `accuracy` and `f1`, not the precision.
    """
    called = [row["label"] for row in rows if row["verdict"] == "anomalous"]
    return float(np.mean(called)) if called and len({row["label"] for row in rows}) == 2 else None


def recall(rows: Sequence[Row]) -> float | None:
    """Share of the anomalies that are called anomalous; "unsure" misses. Also of a set that has anomalies only."""
    found = [row["verdict"] == "anomalous" for row in rows if row["label"] == 1]
    return float(np.mean(found)) if found else None


def f1(rows: Sequence[Row]) -> float | None:
    """2 TP / (2 TP + FP + FN) of the verdict "anomalous"; an anomaly called "unsure" is missed (FN). Needs both labels.

    The harmonic mean of `precision` and `recall` where both are known, 0 when nothing is called anomalous.
    """
    if len({row["label"] for row in rows}) < 2:
        return None
    called = [row["label"] for row in rows if row["verdict"] == "anomalous"]
    return 2 * sum(called) / (len(called) + sum(row["label"] for row in rows))


def ece(rows: Sequence[Row]) -> float | None:
    """Expected calibration error of the verdict's stated probability of "anomalous", 0..1.

    ECE = sum_b n_b / n |mean p - mean label| over the pictures of each of ECE_BINS equal bins of p in 0..1
    (Naeini, Cooper and Hauskrecht 2015, for two classes): bin b holds b/10 <= p < (b + 1)/10, the last one 1 as well.
    Chance in the bins adds to it, so that it reads too high on few pictures. None when a row states no probability.
    """
    stated = [row.get("verdict_probability") for row in rows]
    if not rows or any(value is None for value in stated):
        return None
    gaps = np.array(stated, np.float64) - [row["label"] for row in rows]
    bins = np.minimum((np.array(stated, np.float64) * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(rows))


def pixel_auroc(truths: Truths) -> float | None:
    """Area under the ROC curve over all pixels of pictures with a known mask, normals included."""
    levels = pixel_levels(truths)
    return None if levels is None else float(roc_auc_score(levels[0], levels[1], sample_weight=levels[2]))


def pixel_ap(truths: Truths) -> float | None:
    """Average precision over the same pixels as `pixel_auroc`; chance is the share of anomalous pixels."""
    levels = pixel_levels(truths)
    return None if levels is None else float(average_precision_score(levels[0], levels[1], sample_weight=levels[2]))


def pixel_f1_max(truths: Truths) -> float | None:
    """Best F1 of the pixels over all thresholds; None as for `pixel_auroc`."""
    levels = pixel_levels(truths)
    if levels is None:
        return None
    precisions, recalls, _ = precision_recall_curve(levels[0], levels[1], sample_weight=levels[2])
    return float(np.max(2 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)))


def pixel_levels(truths: Truths) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(mask bool, value float32, pixels that have both), [k] each, over all pictures with a known mask.

    Kept maps hold a few thousand distinct values: counting them first gives the same figures as all pixels, sooner.
    None when no mask has an anomalous pixel or none a normal one.
    """
    counts = merged(known_levels(truths))
    if counts is None or not counts.normal.any() or not counts.anomalous.any():
        return None
    masks = np.repeat([False, True], len(counts.values))
    values = np.tile(counts.values.astype(np.float32), 2)
    pixels = np.concatenate([counts.normal, counts.anomalous])
    return masks[pixels > 0], values[pixels > 0], pixels[pixels > 0]


def lit_on_normals(rows: Sequence[Row]) -> float | None:
    """Mean share of pixels at or above the pixel threshold on normal pictures, 0..1."""
    lit = [row["lit"] for row in rows if row["label"] == 0]
    return float(np.mean(lit)) if lit else None


def normal_top(rows: Sequence[Row]) -> float | None:
    """Mean heatmap value, 0..1, of the strongest 1 % of pixels of a normal picture, mean over the normal pictures.

    Tells how dark a normal map stays below the pixel threshold, where `lit_on_normals` cannot see. None when a normal
    row does not have it, as in runs from before it was kept.
    """
    top = [row.get("top") for row in rows if row["label"] == 0]
    return None if not top or None in top else float(np.mean(top))


def map_place_accuracy(rows: Sequence[Row], truths: Truths) -> float | None:
    """Share of anomalous pictures with mask and lit map whose first region lies in a cell that the mask fills."""
    right = [row["place"] in cells for row, cells in _with_cells(rows, truths) if row["place"]]
    return float(np.mean(right)) if right else None


def map_place_recall(rows: Sequence[Row], truths: Truths) -> float | None:
    """As `map_place_accuracy` of all anomalous pictures with mask: where no place is lit, none was found."""
    right = [row["place"] in cells for row, cells in _with_cells(rows, truths)]
    return float(np.mean(right)) if right else None


def word_place_accuracy(rows: Sequence[Row], truths: Truths) -> float | None:
    """As `map_place_accuracy`, of the first place the words name."""
    right = [row["word_places"][0] in cells for row, cells in _with_cells(rows, truths) if row["word_places"]]
    return float(np.mean(right)) if right else None


def word_place_recall(rows: Sequence[Row], truths: Truths) -> float | None:
    """As `word_place_accuracy` of all anomalous pictures with mask; None where no words name any place."""
    named = [(row["word_places"], cells) for row, cells in _with_cells(rows, truths)]
    if not any(words for words, _ in named):
        return None
    return float(np.mean([bool(words) and words[0] in cells for words, cells in named]))


def _with_cells(rows: Sequence[Row], truths: Truths) -> list[tuple[Row, frozenset[str]]]:
    """Rows whose mask has an anomalous pixel, and the place words it may be given."""
    pairs = [(row, seen(truth)) for row, truth in zip(rows, truths, strict=True)]
    return [(row, known.cells) for row, known in pairs if known is not None and known.cells]


def pointing(truths: Truths) -> float | None:
    """Pointing game (Zhang et al. 2018): share of the anomalous pictures whose highest map value lies in the mask."""
    hits = [known.pointed for known in map(seen, truths) if known is not None and known.pointed is not None]
    return float(np.mean(hits)) if hits else None


def box_rate(rows: Sequence[Row], truths: Truths) -> float | None:
    """Share of the masks' connected regions for which a region of the look has a box of at least HIT overlap.

    Overlap is intersection over union. None without masks, or for runs that did not keep boxes.
    """
    hits = []
    for row, truth in zip(rows, truths, strict=True):
        known = seen(truth)
        if known is None or not known.boxes or not row.get("size"):
            continue
        width, height = row["size"]
        found = [
            (x1 / width, y1 / height, x2 / width, y2 / height)
            for x1, y1, x2, y2 in (region["box"] for region in row.get("regions", ()))
        ]
        hits += [any(overlap(box, other) >= HIT for other in found) for box in known.boxes]
    return float(np.mean(hits)) if hits else None


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2) in one unit, 0..1."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    shared = max(0.0, sides[0]) * max(0.0, sides[1])
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


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
    spoken = [words_agree(row) for row in rows if row.get("explanation")]
    return float(np.mean(spoken)) if spoken else None


def place_agreement(rows: Sequence[Row]) -> float | None:
    """Share of `words_agree` among answers that name a place, or are anomalous with a lit map."""
    spoken = [
        words_agree(row)
        for row in rows
        if row.get("explanation") and (row["word_places"] or (row["region_places"] and row["verdict"] == "anomalous"))
    ]
    return float(np.mean(spoken)) if spoken else None


def hallucination_rate(rows: Sequence[Row]) -> float | None:
    """Share of normal pictures whose words claim a defect: they begin with yes or name a place."""
    normals = [row for row in rows if row["label"] == 0 and row.get("explanation")]
    claims = [row["explanation"].lower().startswith("yes") or bool(row["word_places"]) for row in normals]
    return float(np.mean(claims)) if claims else None


def faithfulness(rows: Sequence[Row]) -> float | None:
    """Share of answers whose words fit what the same look measured: yes or no its score, every place its map.

    An answer is faithful when it begins with yes exactly where the score reaches its threshold, and names no place
    that the map does not show, the first one being the map's strongest. An answer that begins with neither counts by
    its places alone. None without words.
    """
    spoken = [faithful(row) for row in rows if row.get("explanation")]
    return float(np.mean(spoken)) if spoken else None


def faithful(row: Row) -> bool:
    """Whether one answer with words is faithful; see `faithfulness`."""
    said = says_yes(row["explanation"])
    if said is not None and said != (row["score"] >= row.get("threshold", THRESHOLD)):
        return False
    places = row["word_places"]
    return not places or (places[0] == row["place"] and set(places) <= set(row["region_places"]))
