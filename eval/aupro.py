"""Area under the per-region-overlap curve (AUPRO): how well each anomalous region is covered, large or small alike.

Bergmann et al., "The MVTec Anomaly Detection Dataset" (IJCV 2021), section 5.3. With the connected regions C_1..C_n of
all masks, and P(t) the pixels of all pictures whose heatmap value is t or more:

    PRO(t) = 1/n sum_i |P(t) & C_i| / |C_i|          FPR(t) = |P(t) & not any C_i| / |not any C_i|
    AUPRO  = 1/L integral from 0 to L of PRO d FPR,  L = 0.3

Pixel AUROC is led by the few largest defects; here a scratch of 50 pixels counts as much as a stain of 5,000.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

LIMIT = 0.3
"""False-positive rate up to which the curve is integrated, as in the paper."""


def aupro(truths: Sequence[tuple[np.ndarray, np.ndarray | None]], limit: float = LIMIT) -> float | None:
    """AUPRO of a group of pictures, normalised to 0..1; a map of one value everywhere has limit / 2.

    Exact on the maps as they are: every value that occurs is a threshold, nothing is binned or sampled.

    Args:
        truths: heatmap [h, w] and mask [h, w] bool, or None where it is unknown (such pictures are left out). Normal
            pictures have an empty mask: their pixels count in the false-positive rate.
        limit: false-positive rate where the integral ends, over 0 and at most 1.

    Returns None when no region or no normal pixel is known.
    """
    curve = pro_curve(truths)
    if curve is None:
        return None
    rates, overlaps = curve
    inside = int(np.searchsorted(rates, limit, side="right"))  # the first point beyond the limit
    if inside < len(rates):
        # The curve is straight between two thresholds, so its height at the limit is known exactly.
        share = (limit - rates[inside - 1]) / (rates[inside] - rates[inside - 1])
        height = overlaps[inside - 1] + share * (overlaps[inside] - overlaps[inside - 1])
        rates, overlaps = np.append(rates[:inside], limit), np.append(overlaps[:inside], height)
    return float(np.trapezoid(overlaps, rates)) / limit


def pro_curve(truths: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> tuple[np.ndarray, np.ndarray] | None:
    """(FPR, PRO) at every value that occurs, [k] float64 each, rising from (0, 0) to (1, 1); None as for `aupro`.

    Pixels are sorted once. Each pixel of a region C weighs 1 / (n |C|), so that PRO is one cumulative sum over the
    pixels of all regions; pixels of equal value are passed together.
    """
    normal, anomalous, weights = [], [], []
    for heatmap, mask in truths:
        if mask is None:
            continue
        normal.append(heatmap[~mask])
        # Pixels that touch by a corner are one region, as in the benchmark's own evaluation.
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        if count:
            inside = labels[mask]
            anomalous.append(heatmap[mask])
            weights.append(1 / np.bincount(inside)[inside])
    if not anomalous or not sum(values.size for values in normal):
        return None
    negatives = np.sort(np.concatenate(normal))
    positives = np.concatenate(anomalous)
    order = np.argsort(positives, kind="stable")
    positives, weight = positives[order], np.concatenate(weights)[order]
    below = np.concatenate([[0.0], np.cumsum(weight)])  # each region weighs 1, so the last is their number
    thresholds = np.union1d(negatives, positives)[::-1]
    rates = 1 - np.searchsorted(negatives, thresholds, side="left") / len(negatives)
    overlaps = 1 - below[np.searchsorted(positives, thresholds, side="left")] / below[-1]
    return np.concatenate([[0.0], rates]), np.concatenate([[0.0], overlaps])
