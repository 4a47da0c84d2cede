"""Area under the per-image overlap curve (AUPIMO): one figure an anomalous picture, on a strict absolute scale.

Bertoldo, Ameln, Vaidya and Akcay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low
Tolerance" (BMVC 2024). For a threshold t, F(t) is the mean over the *normal* pictures of the share of their pixels
that are t or more, and T_i(t) the share of picture i's anomalous pixels that are. With L = 1e-5 and U = 1e-4,

    AUPIMO_i = 1 / log(U / L)  integral from log L to log U of T_i d log F

so a picture scores only what is found while normal pictures stay almost wholly dark. Thresholds lie evenly between the
lowest and the highest value on normal pictures, THRESHOLDS of them, as in the authors' implementation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.levels import Levels, Seen, Truth, known_levels

BOUNDS = (1e-5, 1e-4)
"""False-positive rates L and U between which the curve is integrated."""
THRESHOLDS = 300_000
MIN_POINTS = 30
"""With this many points between the bounds or fewer the integral says nothing, as in the authors' implementation."""


def aupimo(truths: Sequence[Truth | Seen | Levels | None], **settings: object) -> float | None:
    """Mean of `aupimo_scores` over the anomalous pictures, 0..1; None where they are."""
    scores = aupimo_scores(truths, **settings)
    if scores is None:
        return None
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def aupimo_scores(
    truths: Sequence[Truth | Seen | Levels | None],
    bounds: tuple[float, float] = BOUNDS,
    thresholds: int = THRESHOLDS,
    force: bool = False,
) -> list[float | None] | None:
    """AUPIMO of every picture, 0..1, in the order given; None for normal pictures and those without a known mask.

    Args:
        truths: heatmap and mask, or the counts of both, as for `eval.aupro.aupro`.
        bounds: false-positive rates L < U.
        thresholds: how many.
        force: integrates over MIN_POINTS points or fewer too.

    Returns None as a whole when there is no normal or no anomalous picture, when normal maps hold one value only, or
    when they are too coarse or too few for the bounds (a rate of 1e-5 needs some 100,000 normal pixels).
    """
    counted = [next(iter(known_levels([truth])), None) for truth in truths]
    normals = [levels for levels in counted if levels is not None and not levels.anomalous.any()]
    if not normals or not any(levels is not None and levels.anomalous.any() for levels in counted):
        return None
    values = np.concatenate([levels.values for levels in normals]).astype(np.float64)
    if values.min() == values.max():
        return None
    # every normal picture weighs the same, whatever its size
    shares = np.concatenate([levels.normal / levels.normal.sum() for levels in normals]) / len(normals)
    order = np.argsort(values, kind="stable")
    values, above = values[order], np.cumsum(shares[order][::-1])[::-1]  # share at this value or more
    at = np.linspace(values[0], values[-1], thresholds)
    rates = above[np.searchsorted(values, at, side="left")]  # falling
    lower, upper = bounds
    if lower < rates[-1] or upper > rates[0]:
        return None
    first, last = int(np.argmin(np.abs(rates - upper))), int(np.argmin(np.abs(rates - lower)))
    if first >= last or (last + 1 - first <= MIN_POINTS and not force):
        return None
    at, logs = at[first : last + 1], np.log(rates[first : last + 1])
    return [
        None
        if levels is None or not levels.anomalous.any()
        else min(1.0, max(0.0, _area(levels, at, logs) / float(np.log(upper / lower))))
        for levels in counted
    ]


def _area(levels: Levels, at: np.ndarray, logs: np.ndarray) -> float:
    """Integral of one picture's true-positive rate over the falling log rates `logs` [k] of the thresholds `at`."""
    found = np.concatenate([np.cumsum(levels.anomalous[::-1])[::-1], [0]]) / levels.anomalous.sum()
    rates = found[np.searchsorted(levels.values.astype(np.float64), at, side="left")]
    return float(np.trapezoid(rates[::-1], logs[::-1]))
