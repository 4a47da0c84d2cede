"""AUPRO against hand values and a slow reference that tries thresholds one by one."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from eval.aupro import aupro, pro_curve


def by_hand(truths, thresholds, limit=0.3):
    """AUPRO by its definition: a loop over thresholds and regions, then a fine straight-line integral."""
    regions = []
    for heatmap, mask in truths:
        labels = label(mask, connectivity=2)
        regions += [heatmap[labels == number] for number in range(1, labels.max() + 1)]
    normal = np.concatenate([heatmap[~mask] for heatmap, mask in truths])
    rates, overlaps = [0.0], [0.0]
    for threshold in sorted(thresholds, reverse=True):
        rates.append((normal >= threshold).mean())
        overlaps.append(np.mean([(region >= threshold).mean() for region in regions]))
    area = 0.0
    for i in range(1, len(rates)):
        x0, x1, y0, y1 = rates[i - 1], rates[i], overlaps[i - 1], overlaps[i]
        if x0 >= limit or x1 == x0:
            continue
        if x1 > limit:
            y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def pictures(rng, count=12, side=40, quantised=False):
    """Maps that favour the masks a little, some pictures normal, regions of very different size."""
    truths = []
    for index in range(count):
        mask = np.zeros((side, side - 7), bool)
        for _ in range(rng.integers(1, 4) if index % 3 else 0):
            y, x, high, wide = *rng.integers(0, side - 12, 2), *rng.integers(1, 12, 2)
            mask[y : y + high, x : x + wide] = True
        heatmap = rng.random(mask.shape) + mask * rng.uniform(0, 0.8)
        truths.append((np.round(heatmap, 1) if quantised else heatmap, mask))
    return truths


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_the_reference_with_dense_thresholds_agrees(seed, limit):
    truths = pictures(np.random.default_rng(seed))
    values = np.concatenate([heatmap.ravel() for heatmap, _ in truths])
    assert aupro(truths, limit) == pytest.approx(by_hand(truths, np.linspace(0, values.max(), 3000), limit), abs=1e-3)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_the_reference_with_all_thresholds_is_equal_also_with_ties(limit):
    truths = pictures(np.random.default_rng(5), quantised=True)
    values = np.unique(np.concatenate([heatmap.ravel() for heatmap, _ in truths]))
    assert aupro(truths, limit) == pytest.approx(by_hand(truths, values, limit), abs=1e-9)


def test_perfect_inverted_and_constant_maps():
    mask = np.zeros((10, 10), bool)
    mask[:2, :5] = True
    assert aupro([(mask.astype(float), mask)]) == pytest.approx(1, abs=1e-9)
    assert aupro([(1 - mask.astype(float), mask)]) == pytest.approx(0, abs=1e-9)
    # one threshold passes everything at once: the curve is the diagonal, 0.3 / 2 after normalising
    assert aupro([(np.full((10, 10), 0.4), mask)]) == pytest.approx(0.15, abs=1e-9)


def test_regions_count_alike_whatever_their_size():
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = True
    mask[5:9, 5:9] = True
    heatmap = np.zeros((10, 10))
    heatmap[0, 0] = 1  # the small one is found at once; the large one comes with all normal pixels
    # PRO starts at 1/2 and rises to 1 at FPR 1: at 0.3 it is 0.65
    assert aupro([(heatmap, mask)]) == pytest.approx((0.5 + 0.65) / 2, abs=1e-9)


def test_normal_pictures_count_in_the_false_positive_rate():
    mask = np.zeros((2, 5), bool)
    mask[0, 0] = True
    heatmap = np.where(mask, 0.5, 0.0)
    normal = np.zeros((1, 11))
    normal[0, :2] = 0.9  # brighter than the defect: 2 of 20 normal pixels
    # PRO is 0 up to FPR 0.1, then 1
    assert aupro([(heatmap, mask), (normal, np.zeros((1, 11), bool))]) == pytest.approx(2 / 3, abs=1e-9)
    assert aupro([(heatmap, mask)]) == pytest.approx(1, abs=1e-9)
    assert aupro([(heatmap, mask), (np.ones((3, 3)), None)]) == pytest.approx(1, abs=1e-9)  # unknown: left out


def test_pixels_that_touch_by_a_corner_are_one_region():
    mask = np.eye(4, dtype=bool)
    heatmap = np.zeros((4, 4))
    heatmap[0, 0] = heatmap[1, 1] = heatmap[2, 2] = 1
    rates, overlaps = pro_curve([(heatmap, mask)])
    np.testing.assert_allclose(rates, [0, 0, 1])
    np.testing.assert_allclose(overlaps, [0, 0.75, 1])
    apart = np.zeros((4, 4), bool)
    apart[0, 0] = apart[3, 3] = apart[3, 2] = True
    np.testing.assert_allclose(pro_curve([(heatmap, apart)])[1], [0, 0.5, 1])


def test_none_without_regions_or_without_normal_pixels():
    full = np.ones((3, 3), bool)
    assert aupro([]) is None
    assert aupro([(np.zeros((3, 3)), ~full), (np.zeros((3, 3)), None)]) is None
    assert aupro([(np.zeros((3, 3)), full)]) is None
