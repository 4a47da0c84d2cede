"""Figures of clips whose frames are labelled: frame AUROC, average precision, PATE, and when.

PATE (Ghorbani et al., "PATE: Proximity-Aware Time Series Anomaly Evaluation", KDD 2024) is the authors' own package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from data.clips import HIT, spans_of, time_overlap

Row = dict[str, Any]
BUFFER = 0.1
"""Early and late buffer of PATE, as a share of the frames that are scored together, at least one frame."""


def frames(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray] | None:
    """(labels int, scores float) [n] of all labelled frames, clip after clip; None without both labels."""
    known = [row for row in rows if row.get("frame_labels")]
    labels = np.array([label for row in known for label in row["frame_labels"]], dtype=int)
    scores = np.array([score for row in known for score in row["frame_scores"]], dtype=float)
    return (labels, scores) if len(set(labels.tolist())) == 2 else None


def frame_auroc(rows: Sequence[Row]) -> float | None:
    """Area under the ROC curve over all labelled frames of all clips."""
    values = frames(rows)
    return None if values is None else float(roc_auc_score(*values))


def frame_ap(rows: Sequence[Row]) -> float | None:
    """Average precision over the same frames."""
    values = frames(rows)
    return None if values is None else float(average_precision_score(*values))


def pate(rows: Sequence[Row]) -> float | None:
    """Mean PATE of the clips that have both labels, 0..1; None without such clips or without the package."""
    values = []
    for row in rows:
        labels = np.array(row.get("frame_labels") or [], dtype=int)
        if len(set(labels.tolist())) == 2:
            values.append(
                pate_of(labels, np.array(row["frame_scores"], dtype=float), max(1, round(BUFFER * len(labels))))
            )
    return None if not values or None in values else float(np.mean(values))


def pate_of(labels: np.ndarray, scores: np.ndarray, buffer: int) -> float | None:
    """PATE of one series, 0..1; None without the package.

    Weights, events and the area are the package's; only its outer loop is ours, for the package's own imports a private
    name that scikit-learn no longer has.

    Args:
        labels: [n] 0 or 1, both present.
        scores: [n], higher is more anomalous.
        buffer: largest early and late buffer, frames.
    """
    try:
        from pate import PATE_utils as parts
    except ModuleNotFoundError:
        return None
    truth = parts.convert_vector_to_events_PATE(labels)
    areas = []
    buffers = parts.generate_buffer_points(buffer, 1, True)
    for early in buffers:
        for late in buffers:
            precisions, recalls = [1.0], [0.0]
            for threshold in np.unique(scores)[::-1]:
                called = parts.convert_vector_to_events_PATE((scores >= threshold).astype(int))
                ranges = parts.categorize_predicted_ranges_with_ids(called, truth, early, late, len(labels))
                precision, recall = parts.apply_weights(ranges, truth)
                precisions.append(precision)
                recalls.append(recall)
            areas.append(parts.clean_and_compute_auc_pr(np.array(recalls), np.array(precisions)))
    return float(np.mean(areas))


def when_iou(rows: Sequence[Row]) -> float | None:
    """How well the time is found: mean over anomalous clips of |called & true| / |called or true| frames.

    A frame is called anomalous where it lies in one of the clip's spans; in runs of single frames where its score
    reaches the threshold. None without labelled anomalous clips.
    """
    shares = _overlaps(rows)
    return float(np.mean(shares)) if shares else None


def when_hit(rows: Sequence[Row]) -> float | None:
    """Share of the anomalous clips whose time is found: the overlap of `when_iou` is at least HIT."""
    shares = _overlaps(rows)
    return float(np.mean([share >= HIT for share in shares])) if shares else None


def _overlaps(rows: Sequence[Row]) -> list[float]:
    shares = []
    for row in rows:
        labels = np.array(row.get("frame_labels") or [], dtype=bool)
        if labels.any():
            called = np.array(row["frame_scores"]) >= row["threshold"]
            if "spans" in row:
                times = np.array(row["frames"]) * row["step"]
                called = np.array([any(start <= at < end for start, end in row["spans"]) for at in times])
            shares.append(time_overlap(called, labels))
    return shares


def spans(row: Row) -> tuple[tuple[int, int], ...]:
    """(first, last) frame numbers of the spans that a clip's scores call anomalous."""
    called = spans_of(np.array(row["frame_scores"]) >= row["threshold"])
    return tuple((row["frames"][first], row["frames"][last]) for first, last in called)
