"""Spans from synthetic scores: where they start, peak and end, on even and uneven times."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.spans import SMOOTHING, find_spans, scored, smoothed


def bump(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """A score that is 1 from start to end, with slopes of 0.4 s that reach one half there."""
    return np.clip(np.minimum((times - start) / 0.4, (end - times) / 0.4) + 0.5, 0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_a_span_is_found_where_it_was_put(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 10, 80))
    start = rng.uniform(1, 5)
    end = start + rng.uniform(1, 3)
    (span,) = find_spans(times, smoothed(times, bump(times, start, end), 0.1), 0.5, 10.0)
    assert abs(span.start - start) < 0.3 and abs(span.end - end) < 0.3
    assert span.start <= span.peak <= span.end and span.score > 0.9


def test_edges_gaps_and_nothing():
    times = [0.5, 1.5, 2.5, 3.5, 4.5]
    assert find_spans(times, [0, 0, 0, 0, 0], 0.5, 5) == ()
    (whole,) = find_spans(times, [1, 1, 2, 1, 1], 0.5, 5)
    assert (whole.start, whole.end, whole.peak, whole.score) == (0.0, 5.0, 2.5, 2.0)
    first, last = find_spans(times, [1, 0, 0, 0, 1], 0.5, 5)
    assert (first.start, first.end, last.start, last.end) == (0.0, 1.0, 4.0, 5.0)
    (joined,) = find_spans([0, 1, 1.2, 1.4, 2.4], [0, 1, 0, 2, 0], 0.5, 3)
    assert joined.peak == 1.4 and joined.start == 0.5 and joined.end == pytest.approx(2.15)
    assert find_spans([], [], 0.5, 5) == ()


def test_one_score_over_the_threshold_is_a_span_of_its_own_length():
    (span,) = find_spans([1, 2, 3], [0, 1, 0], 0.5, 4)
    assert (span.start, span.peak, span.end) == (1.5, 2, 2.5)


def test_a_span_is_called_by_its_peak_and_reaches_down_to_the_lower_threshold():
    times, scores = [0, 1, 2, 3, 4, 5, 6], [-4, -1, 2, -1, -4, -1, -4]
    (span,) = find_spans(times, scores, 0.0, 7, reach=-2)
    assert (span.start, span.peak, span.end, span.score) == pytest.approx((2 / 3, 2, 10 / 3, 2))  # -4 to -1: two thirds
    assert find_spans(times, scores, 0.0, 7, reach=1) == find_spans(times, scores, 0.0, 7)  # never higher than called
    assert find_spans(times, scores, 2.5, 7, reach=-2) == ()


def test_evidence_becomes_scores_and_spans_that_reach_half_way_down():
    times = np.arange(0.05, 10, 0.1)
    evidence = np.where((times > 4) & (times < 5), 3.0, np.where((times > 3) & (times < 6), 0.0, -5.0)) - 0.5
    scores, (span,) = scored(times, evidence, 10.0)  # from -5.5 to 2.5: half way is -1.5
    inside = 0.8416 * SMOOTHING  # of the step from -5.5 to -0.5 that is four fifths: so many deviations of the Gaussian
    assert (span.start, span.end) == pytest.approx((3 + inside, 6 - inside), abs=0.02) and 4 <= span.peak <= 5
    assert scores.max() == span.score == pytest.approx(1 / (1 + np.exp(-2.5)), abs=0.02) and scores.min() < 0.01
    quiet, none = scored(times, evidence - 3, 10.0)
    assert none == () and quiet.max() < 0.5
    _, (whole,) = scored(times, np.full(len(times), 1.0), 10.0)
    assert (whole.start, whole.end) == (0.0, 10.0)


@pytest.mark.parametrize("seed", range(10))
def test_smoothing_keeps_constants_and_takes_noise_off(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 5, 50))
    assert np.allclose(smoothed(times, np.full(50, 0.7)), 0.7)
    noise = rng.normal(0, 1, 50)
    assert smoothed(times, noise).std() < 0.6 * noise.std()
    assert (smoothed(times, noise, 0) == noise).all() and smoothed([1.0], [2.0]).tolist() == [2.0]
