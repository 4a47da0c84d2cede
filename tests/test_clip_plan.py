"""The plan of frames holds for any clip: within it, in order, apart, within the budget, close to what is suspicious."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.clip_plan import BUDGET, closer_times, coarse_count, even_times, stretches


@pytest.mark.parametrize("seed", range(60))
def test_plans_lie_within_the_clip_in_order_and_apart(seed):
    rng = np.random.default_rng(seed)
    duration, budget = float(10 ** rng.uniform(-2, 4.5)), int(rng.integers(1, 80))
    count = coarse_count(duration, budget)
    assert 1 <= count <= budget
    times = even_times(duration, count)
    assert len(times) == count and all(0 <= one < duration for one in times)
    gaps = np.diff(times)
    assert (gaps > 0).all() and np.allclose(gaps, duration / count)
    least = float(10 ** rng.uniform(-3, 1))
    more = closer_times(times, rng.normal(0, 10, count).tolist(), budget - count, least)
    assert len(more) <= budget - count and more == sorted(more)
    assert all(times[0] < one < times[-1] for one in more)
    if count > 1 and least <= duration / count:
        assert np.diff(sorted([*times, *more])).min() >= least * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_most_of_what_is_added_lies_where_the_score_is_high(seed):
    rng = np.random.default_rng(seed)
    times = even_times(20.0, 20)
    start = rng.uniform(3, 13)
    scores = [1.0 if start <= one <= start + 4 else 0.0 for one in times]
    more = closer_times(times, scores, 12, 0.05)
    near = [one for one in more if start - 1.1 <= one <= start + 5.1]
    assert len(more) == 12 and len(near) >= 9  # a third of the clip takes three quarters of the looks


def test_scores_and_their_scale_decide_and_nothing_else():
    times, scores = even_times(10, 10), [0, 0, 3, 9, 2, 0, 0, 0, 1, 0]
    first = closer_times(times, scores, 8, 0.1)
    assert first == closer_times(times, [5 * one - 40 for one in scores], 8, 0.1)
    assert first == closer_times(list(times), list(scores), 8, 0.1)
    assert closer_times(times, scores, 0, 0.1) == [] == closer_times([1.0], [2.0], 5, 0.1) == closer_times([], [], 5, 1)


def test_even_scores_give_an_even_plan():
    times = even_times(8, 8)
    assert np.allclose(closer_times(times, [1.0] * 8, 7, 0.1), [one + 0.5 for one in times[:-1]])


def test_a_long_clip_costs_no_more_than_a_short_one():
    assert coarse_count(36_000) == coarse_count(60) and coarse_count(36_000) < BUDGET
    assert even_times(0, 5) == [0.0] and coarse_count(0) >= 1


@pytest.mark.parametrize("seed", range(20))
def test_stretches_share_out_the_time_and_not_the_looks(seed):
    rng = np.random.default_rng(seed)
    duration, count = float(rng.uniform(1, 60)), int(rng.integers(2, 40))
    even = even_times(duration, count)
    assert np.allclose(stretches(even), duration / count)
    more = closer_times(even, rng.normal(size=count).tolist(), 30, 0.01)
    found = stretches(sorted([*even, *more]))
    assert found.min() > 0 and found.sum() <= duration * (1 + 1e-9)
    # the first and last look are even ones: what is lost is at most what lies outside of them
    assert found.sum() >= duration * (1 - 1 / count) - 1e-9
    assert stretches([2.0]).tolist() == [1e-6]
