"""Maps as exact counts: which values occur in a picture's heatmap, and on how many normal and anomalous pixels.

Kept maps hold few distinct values (16-bit floats), so that a run of a thousand pictures is counted in a small part of
the memory of its pixels, and every figure over pixels comes out as from the pixels themselves: nothing is binned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from assistant.regions import cells_of

Truth = tuple[np.ndarray, np.ndarray | None]
"""Heatmap [h, w] and mask [h, w] bool or None."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Counts of one picture or, merged, of several.

    Attributes:
        values: [k] float, rising: the heatmap values that occur.
        normal, anomalous: [k] int64, pixels of that value outside and inside the mask.
        overlap: [k] float64, sum over the mask's regions C of (pixels of C with that value) / |C|.
        regions: number of connected regions; pixels that touch by a corner are one, as in MVTec's own evaluation.
    """

    values: np.ndarray
    normal: np.ndarray
    anomalous: np.ndarray
    overlap: np.ndarray
    regions: int


def levels_of(heatmap: np.ndarray, mask: np.ndarray) -> Levels:
    """Counts of one heatmap [h, w] against its mask [h, w] bool; both of one shape."""
    values, at = np.unique(heatmap, return_inverse=True)
    at, inside = at.ravel(), mask.ravel()
    size = len(values)
    overlap, regions = np.zeros(size), 0
    if inside.any():
        labels, regions = ndimage.label(mask, structure=np.ones((3, 3)))
        named = labels.ravel()[inside]
        overlap = np.bincount(at[inside], weights=1 / np.bincount(named)[named], minlength=size)
    anomalous = np.bincount(at[inside], minlength=size)
    return Levels(values, np.bincount(at, minlength=size) - anomalous, anomalous, overlap, regions)


@dataclass(frozen=True, eq=False)
class Seen:
    """What every figure needs of one heatmap and its mask, so that neither has to stay in memory.

    Attributes:
        levels: the counts.
        cells: place words that the mask fills.
        pointed: whether the map's highest value lies in the mask; of several equal ones the first in reading order.
            None for an empty mask.
        boxes: (x1, y1, x2, y2) of the mask's regions as shares of width and height, 0..1.
    """

    levels: Levels
    cells: frozenset[str]
    pointed: bool | None
    boxes: tuple[tuple[float, float, float, float], ...]


def seen(truth: Truth | Seen | None) -> Seen | None:
    """A heatmap and its mask measured; None where the mask is unknown; what is measured already stays as it is."""
    if truth is None or isinstance(truth, Seen):
        return truth
    heatmap, mask = truth
    if mask is None:
        return None
    height, width = mask.shape
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes = tuple(
        (columns.start / width, rows.start / height, columns.stop / width, rows.stop / height)
        for rows, columns in ndimage.find_objects(labels)
    )
    pointed = bool(mask.flat[int(np.argmax(heatmap))]) if boxes else None
    return Seen(levels_of(heatmap, mask), frozenset(cells_of(mask)), pointed, boxes)


def known_levels(truths: Iterable[Truth | Seen | Levels | None]) -> list[Levels]:
    """Counts of every picture whose mask is known, in order."""
    counted = []
    for truth in truths:
        if isinstance(truth, (Levels, Seen)):
            counted.append(truth if isinstance(truth, Levels) else truth.levels)
        elif truth is not None and truth[1] is not None:
            counted.append(levels_of(*truth))
    return counted


def merged(levels: Sequence[Levels]) -> Levels | None:
    """Counts of several pictures together; None of none."""
    if not levels:
        return None
    values, at = np.unique(np.concatenate([part.values for part in levels]), return_inverse=True)
    at = at.ravel()

    def summed(name: str) -> np.ndarray:
        return np.bincount(at, weights=np.concatenate([getattr(part, name) for part in levels]), minlength=len(values))

    return Levels(
        values,
        summed("normal").astype(np.int64),  # counts far below 2^53: exact in the floats between
        summed("anomalous").astype(np.int64),
        summed("overlap"),
        sum(part.regions for part in levels),
    )
