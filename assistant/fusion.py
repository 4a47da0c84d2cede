"""A picture's own score and its batch's mutual score made one, and their maps likewise.

The own score has one scale for all pictures; the mutual score has none but its batch's. Both are brought to robust
standard deviations from the batch's middle (median and median absolute deviation), where they can be added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

KNOWN_WEIGHT, NEW_WEIGHT = 0.2, 0.5
"""Weight of the mutual score beside the own score's 1, where it is above the batch's middle: of a product that the
model has learned from, and of one that it has not.

Below the middle it counts nothing: on training pictures of products whose surface varies, a full sum ranked worse than
the own score, and this one did not.
"""
MAP_FROM = 4.0
"""Robust standard deviations above the batch's middle from which a mutual map raises the heatmap."""
MAP_GAIN = 0.4
"""Logits by which the heatmap is raised for each further robust standard deviation."""
MAP_MOST = 3.0
"""Logits by which it is raised at most: the mutual map supports the own map and never replaces it."""
_CLIP = 1e-6


@dataclass(frozen=True)
class MapScale:
    """Middle and robust standard deviation of all mutual-map cells of a batch."""

    middle: float
    spread: float

    @classmethod
    def of(cls, maps: Iterable[np.ndarray]) -> MapScale:
        """Measured on mutual maps [h, w]; every seventh cell is enough."""
        cells = np.concatenate([cells.ravel()[::7] for cells in maps])
        return cls(*_middle_and_spread(cells))


def fuse_scores(scores: np.ndarray, mutual: np.ndarray | None, known: float = 0.0) -> np.ndarray:
    """How suspicious each picture of a batch is.

    Args:
        scores: [N] calibrated own scores, 0..1.
        mutual: [N] smoothed mutual scores, or None when there is nothing to compare with.
        known: how far the pictures are of a product that the model has learned from, 0..1.

    Returns:
        [N] robust standard deviations from the batch's middle; all 0 where all pictures are alike.
    """
    if not len(scores):
        return np.zeros(0)
    fused = robust(logits(scores))
    if mutual is not None:
        weight = known * KNOWN_WEIGHT + (1 - known) * NEW_WEIGHT
        fused = robust(fused + weight * np.maximum(robust(mutual), 0))
    return fused


def fuse_map(heatmap: np.ndarray, mutual: np.ndarray, scale: MapScale) -> np.ndarray:
    """A heatmap [H, W] 0..1 raised where its mutual map [h, w] stands out of the batch; [H, W] float32 0..1.

    Nothing is lowered, and where the mutual map is ordinary the heatmap stays as it is, on its absolute scale.
    """
    size = (heatmap.shape[1], heatmap.shape[0])
    large = np.asarray(Image.fromarray(mutual.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    above = (large - scale.middle) / scale.spread - MAP_FROM
    raised = logits(heatmap) + np.clip(MAP_GAIN * above, 0, MAP_MOST)
    return np.maximum(1 / (1 + np.exp(-raised)), heatmap).astype(np.float32)


def logits(values: np.ndarray) -> np.ndarray:
    """Probabilities 0..1 -> float64 logits, cut where they would be infinite."""
    clipped = np.clip(np.asarray(values, np.float64), _CLIP, 1 - _CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def robust(values: np.ndarray) -> np.ndarray:
    """[N] values in robust standard deviations from their median."""
    middle, spread = _middle_and_spread(values)
    return (np.asarray(values, np.float64) - middle) / spread


def _middle_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Median and scaled median absolute deviation; where most values are one, the mean absolute deviation; else 1."""
    values = np.asarray(values, np.float64)
    middle = float(np.median(values))
    away = np.abs(values - middle)
    spread = 1.4826 * float(np.median(away)) or 1.2533 * float(away.mean())
    return middle, spread or 1.0
