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

from eval.levels import Levels, Seen, Truth, known_levels, merged

LIMIT = 0.3
"""False-positive rate up to which the curve is integrated, as in the paper."""


def aupro(truths: Sequence[Truth | Seen | Levels | None], limit: float = LIMIT) -> float | None:
    """AUPRO of a group of pictures, normalised to 0..1; a map of one value everywhere has limit / 2.

    Exact on the maps as they are: every value that occurs is a threshold, nothing is binned or sampled.

    Args:
        truths: heatmap [h, w] and mask [h, w] bool, or None where it is unknown (such pictures are left out), or the
            counts of both. Normal pictures have an empty mask: their pixels count in the false-positive rate.
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


def pro_curve(truths: Sequence[Truth | Seen | Levels | None]) -> tuple[np.ndarray, np.ndarray] | None:
    """(FPR, PRO) at every value that occurs, [k] float64 each, rising from (0, 0) to (1, 1); None as for `aupro`.

    Each pixel of a region C weighs 1 / (n |C|), so that PRO is one cumulative sum over the values of all regions;
    pixels of equal value are passed together.
    """
    counts = merged(known_levels(truths))
    if counts is None or not counts.regions or not counts.normal.any():
        return None
    false = np.cumsum(counts.normal[::-1])
    found = np.cumsum(counts.overlap[::-1])
    rates, overlaps = false / false[-1], found / found[-1]  # each region weighs 1, so the last is their number
    return np.concatenate([[0.0], rates]), np.concatenate([[0.0], overlaps])
