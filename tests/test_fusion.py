"""Own and mutual scores made one: scales, degenerate batches, and maps that stay dark."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.fusion import KNOWN_WEIGHT, MAP_FROM, NEW_WEIGHT, MapScale, fuse_map, fuse_scores, robust


def test_robust_deviations_are_those_of_a_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 20_000)
    found = robust(np.append(values, 1e6))
    assert found[:-1].mean() == pytest.approx(0, abs=0.03) and found[:-1].std() == pytest.approx(1, abs=0.03)


def test_equal_values_are_not_divided_by_nothing() -> None:
    assert robust(np.full(5, 0.3)).tolist() == [0] * 5
    assert np.isfinite(robust(np.array([1.0, 1.0, 1.0, 9.0]))).all()
    assert fuse_scores(np.full(4, 0.2), np.full(4, 0.7)).tolist() == [0] * 4
    assert fuse_scores(np.zeros(0), None).size == 0
    assert np.isfinite(fuse_scores(np.array([0.0, 1.0, 0.5]), None)).all()


def test_both_scores_count() -> None:
    own = np.array([0.1, 0.12, 0.11, 0.13, 0.9])
    mutual = np.array([0.5, 0.52, 0.9, 0.51, 0.5])
    fused = fuse_scores(own, mutual)
    assert set(np.argsort(-fused)[:2]) == {2, 4}
    assert np.argsort(-fuse_scores(own, None)).tolist()[0] == 4


def test_of_a_known_product_the_batch_counts_less() -> None:
    rng = np.random.default_rng(0)
    own, mutual = rng.random(50), rng.random(50)
    mutual[7] = 9.0
    places = [np.argsort(np.argsort(-fuse_scores(own, mutual, known)))[7] for known in (0.0, 0.5, 1.0)]
    lifts = [fuse_scores(own, mutual, known)[7] for known in (0.0, 0.5, 1.0)]
    assert lifts[0] > lifts[1] > lifts[2] and places[0] <= places[1] <= places[2]
    assert KNOWN_WEIGHT < NEW_WEIGHT


def test_a_map_is_raised_where_the_batch_says_so_and_nowhere_else() -> None:
    scale = MapScale(0.5, 0.02)
    heatmap = np.full((40, 60), 0.2, np.float32)
    mutual = np.full((4, 6), 0.5 + 0.02 * (MAP_FROM - 0.5))
    np.testing.assert_allclose(fuse_map(heatmap, mutual, scale), heatmap, atol=1e-6)
    mutual[1, 2] = 0.5 + 0.02 * 30
    raised = fuse_map(heatmap, mutual, scale)
    assert raised.dtype == np.float32 and raised[15, 25] > 0.5 and raised[35, 55] == pytest.approx(0.2, abs=1e-6)
    assert (raised >= heatmap).all() and raised.max() <= 1


def test_the_scale_of_maps_is_median_and_spread() -> None:
    maps = [np.random.default_rng(seed).normal(0.6, 0.05, (24, 24)) for seed in range(30)]
    scale = MapScale.of(maps)
    assert scale.middle == pytest.approx(0.6, abs=0.01) and scale.spread == pytest.approx(0.05, abs=0.01)
