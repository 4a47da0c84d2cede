"""When to look at a clip: first evenly, then more closely where the score rises. Pure arithmetic on times.

The second part is after the anomaly-focused temporal sampler of Holmes-VAU (Zhang et al., CVPR 2025, arXiv 2412.06171,
section 4.2), which draws frames in proportion to their score; here intervals are halved instead, so that the same
scores always give the same frames.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

COARSE_RATE = 2.0
"""Looks a second of the first pass, while there are at most COARSE_MOST of them."""
COARSE_LEAST, COARSE_MOST = 8, 24
BUDGET = 32
"""Looks at one clip in all."""
UNIFORM = 0.15
"""Share of the score's range that every interval has at least: what scores nothing is still looked into."""


def even_times(duration: float, count: int) -> list[float]:
    """`count` times in 0..duration, each in the middle of an equal share of it; [0.0] for a clip without duration.

    Args:
        duration: seconds, >= 0.
        count: >= 1.
    """
    if duration <= 0 or count <= 1:
        return [max(0.0, duration) / 2]
    return [duration * (number + 0.5) / count for number in range(count)]


def stretches(times: Sequence[float]) -> np.ndarray:
    """Seconds [n] that each of the looks at rising times [n] stands for: what is nearest to it; > 0.

    Looks lie close together where a score rises, so whatever counts looks would count what is suspicious many times.
    The first and last stand for as much on their outer side as on the inner one.
    """
    at = np.asarray(times, np.float64)
    edges = np.concatenate([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])
    share = np.diff(edges)
    share[[0, -1]] *= 2
    return share.clip(1e-6)


def coarse_count(duration: float, budget: int = BUDGET) -> int:
    """Looks of the first pass: COARSE_RATE a second within its bounds, at most two thirds of the budget, >= 1."""
    wanted = min(max(round(duration * COARSE_RATE), COARSE_LEAST), COARSE_MOST)
    return max(1, min(wanted, 2 * budget // 3 if budget > 2 else 1))


def closer_times(times: Sequence[float], scores: Sequence[float], count: int, least_gap: float) -> list[float]:
    """At most `count` further times, between those that have been looked at, where scores are high or change.

    The interval with the largest product of length and score is halved, again and again; the score of a new time is
    taken to lie between its neighbours.

    Args:
        times: seconds, rising strictly.
        scores: one a time, any finite range, higher is more suspicious.
        count: >= 0.
        least_gap: seconds that two times are apart at least, > 0.

    Returns:
        New times in rising order, none of them in `times`.
    """
    low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)
    span = (high - low) or 1.0
    level = [(score - low) / span for score in scores]
    heap: list[tuple[float, float, float, float, float]] = []

    def offer(start: float, end: float, first: float, last: float) -> None:
        if end - start >= 2 * least_gap:
            weight = (max(first, last) + abs(first - last) + UNIFORM) * (end - start)
            heapq.heappush(heap, (-weight, start, end, first, last))

    for number in range(len(times) - 1):
        offer(times[number], times[number + 1], level[number], level[number + 1])
    found: list[float] = []
    while heap and len(found) < count:
        _, start, end, first, last = heapq.heappop(heap)
        middle, between = (start + end) / 2, (first + last) / 2
        found.append(middle)
        offer(start, middle, first, between)
        offer(middle, end, between, last)
    return sorted(found)
