"""Evidence over time to scores and spans: smoothed, called by a threshold, with start, peak and end. Pure arithmetic.

A span is called by a high threshold and reaches as far as a lower one (hysteresis, Canny 1986): what is called at its
peak only would be found too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit

from assistant.clip_plan import stretches
from assistant.types import Span

SMOOTHING = 0.25
"""Standard deviation of the Gaussian that scores are smoothed with, seconds."""
REACH = 0.5
"""Share of the way from a clip's lowest evidence to its highest from which moments belong to a span that was called."""
JOIN = 0.6
"""Seconds under the threshold between two spans up to which they are one."""


def smoothed(times: Sequence[float], scores: Sequence[float], width: float = SMOOTHING) -> np.ndarray:
    """Scores [n] at rising times [n] in seconds, each the Gaussian mean of its surroundings; `width` 0 changes nothing.

    Times may be spaced unevenly: each score counts for the stretch of time that is nearest to it.
    """
    at, values = np.asarray(times, np.float64), np.asarray(scores, np.float64)
    if width <= 0 or len(at) < 2:
        return values.copy()
    weights = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2) * stretches(times)
    return (weights @ values) / weights.sum(axis=1)


def scored(times: Sequence[float], logits: Sequence[float], duration: float) -> tuple[np.ndarray, tuple[Span, ...]]:
    """Scores [n], 0..1, of evidence [n] at rising times [n] in seconds, and the spans; 0.5 is the tipping point.

    A span's peak is at 0.5 or over it. It reaches to where the evidence falls under REACH of the clip's own
    range, or under 0 where that is lower.
    """
    evidence = smoothed(times, logits)
    low = float(evidence.min() + REACH * (evidence.max() - evidence.min()))
    spans = find_spans(times, evidence.tolist(), 0.0, duration, reach=low)
    return expit(evidence), tuple(replace(span, score=float(expit(span.score))) for span in spans)


def find_spans(
    times: Sequence[float],
    scores: Sequence[float],
    threshold: float,
    duration: float,
    join: float = JOIN,
    reach: float | None = None,
) -> tuple[Span, ...]:
    """Stretches of time whose score reaches the threshold somewhere, in order.

    Start and end are where the straight line between two scores crosses the lower of threshold and reach; a span at the
    first or last time reaches to the start or end of the clip.

    Args:
        times: [n] seconds, rising strictly, within 0..duration.
        scores: [n], higher is more suspicious.
        threshold: on the scale of the scores.
        duration: seconds of the clip.
        join: seconds between two spans up to which they become one.
        reach: on the scale of the scores, how low those of a span may be; the threshold when left out or over it.
    """
    low = threshold if reach is None else min(reach, threshold)
    called = [score >= low for score in scores]
    found: list[Span] = []
    number = 0
    while number < len(called):
        if not called[number]:
            number += 1
            continue
        first = number
        while number + 1 < len(called) and called[number + 1]:
            number += 1
        start = 0.0 if first == 0 else _crossing(times, scores, first - 1, first, low)
        end = duration if number == len(called) - 1 else _crossing(times, scores, number, number + 1, low)
        top = max(range(first, number + 1), key=lambda index: scores[index])
        number += 1
        if scores[top] < threshold:
            continue
        span = Span(float(start), float(end), float(times[top]), float(scores[top]))
        if found and span.start - found[-1].end <= join:
            before = found.pop()
            best = before if before.score >= span.score else span
            span = Span(before.start, span.end, best.peak, best.score)
        found.append(span)
    return tuple(found)


def _crossing(times: Sequence[float], scores: Sequence[float], before: int, after: int, threshold: float) -> float:
    """The time between two neighbours of which exactly one reaches the threshold where the line crosses it."""
    step = scores[after] - scores[before]
    share = 0.5 if step == 0 else (threshold - scores[before]) / step
    return times[before] + min(1.0, max(0.0, share)) * (times[after] - times[before])
