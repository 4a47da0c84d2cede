"""Thresholds at a requested false-alarm rate, against scipy and against drawn normals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assistant.errors import RateError
from assistant.threshold import Normals, checked_rate, conformal_cut, gaussian_cut

PRIOR = Normals(mean=-2.0, between=0.8, within=0.5)


def test_without_values_the_prior_alone_decides():
    wide = np.hypot(PRIOR.between, PRIOR.within)
    assert gaussian_cut((), 0.05, PRIOR) == pytest.approx(stats.t(8, PRIOR.mean, wide).isf(0.05))
    assert gaussian_cut((), 0.05, PRIOR, weight=1e7) == pytest.approx(stats.norm(PRIOR.mean, wide).isf(0.05), abs=1e-5)


def test_by_hand_with_three_values():
    values = [-1.0, -1.4, -0.9]
    variance = (8 * 0.25 + np.var(values) * 3) / 10
    precision = 1 / 0.64 + 3 / variance
    mean = (-2 / 0.64 + sum(values) / variance) / precision
    wanted = stats.t(10, mean, np.sqrt(variance + 1 / precision)).isf(0.1)
    assert gaussian_cut(values, 0.1, PRIOR) == pytest.approx(wanted)


def test_with_many_values_it_is_their_own_gaussian():
    values = np.random.default_rng(0).normal(1.0, 0.3, 4000)
    assert gaussian_cut(values, 0.05, PRIOR) == pytest.approx(stats.norm(*stats.norm.fit(values)).isf(0.05), abs=0.01)


def test_one_odd_value_moves_it_less_than_the_plain_spread_would():
    values = [-1.0, -1.1, -0.9, 2.0]
    plain = np.mean(values) + stats.t.isf(0.05, 3) * np.std(values, ddof=1) * np.sqrt(1.25)
    assert gaussian_cut([-1.0, -1.1, -0.9], 0.05, PRIOR) < gaussian_cut(values, 0.05, PRIOR) < plain


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_drawn_normals_exceed_it_as_often_as_asked(count):
    rng = np.random.default_rng(count)
    over = []
    for _ in range(4000):
        middle = rng.normal(PRIOR.mean, PRIOR.between)
        cut = gaussian_cut(rng.normal(middle, PRIOR.within, count), 0.05, PRIOR, weight=1000)
        over.append(stats.norm.sf(cut, middle, PRIOR.within))
    assert np.mean(over) == pytest.approx(0.05, abs=0.006)


def test_a_lower_rate_is_a_higher_cut_and_order_does_not_matter():
    values = list(np.random.default_rng(1).normal(size=7))
    cuts = [gaussian_cut(values, rate, PRIOR) for rate in (0.2, 0.05, 0.01)]
    assert cuts == sorted(cuts)
    assert gaussian_cut(values[::-1], 0.05, PRIOR) == pytest.approx(cuts[1])


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (39, 0.05), (100, 0.1), (50, 0.37)])
def test_the_conformal_quantile_is_scipys_order_statistic(count, rate):
    values = np.random.default_rng(count).normal(size=count)
    place = int(np.ceil(round((count + 1) * (1 - rate), 9)))
    assert conformal_cut(values, rate) == np.sort(values)[place - 1]
    assert conformal_cut(values, rate) == pytest.approx(
        stats.mstats.mquantiles(values, place / (count + 1), alphap=0, betap=0)[0]
    )


def test_few_values_promise_only_their_highest_and_none_nothing():
    assert conformal_cut([3.0, 1.0, 2.0], 0.05) == 3.0
    with pytest.raises(ValueError, match="needs values"):
        conformal_cut([], 0.05)


@pytest.mark.parametrize("rate", [0, -0.1, 0.6, 5, float("nan"), "0.05", True])
def test_rates_that_cannot_be_asked_for(rate):
    with pytest.raises(RateError, match="from 0.001 to 0.5"):
        checked_rate(rate)


def test_rates_that_can():
    assert checked_rate(None) is None and checked_rate(0.05) == 0.05
