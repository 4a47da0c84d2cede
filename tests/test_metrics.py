"""Every figure against hand values and an independent implementation, on random cases with ties and empty masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_precision_recall_curve,
)

from eval import clips, metrics
from eval.aupimo import aupimo, aupimo_scores
from eval.aupro import aupro
from eval.levels import levels_of, merged, seen

CASES = range(100)


def random_rows(seed):
    """2 to 40 pictures; coarse scores make ties, and now and then there is one class only."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 40))
    labels = rng.integers(0, 2, count) if seed % 10 else np.full(count, seed // 10 % 2)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    if seed % 3 == 0:
        scores = np.round(scores, 1)
    verdicts = np.where(scores > 0.55, "anomalous", np.where(scores > 0.5, "unsure", "normal"))
    return [
        {"label": int(label), "score": float(score), "verdict": str(verdict), "verdict_probability": float(score)}
        for label, score, verdict in zip(labels, scores, verdicts, strict=True)
    ]


def random_truths(seed, side=24, pictures=6, dtype=np.float64, blank=True):
    """Heatmaps and masks; about a third of the masks are empty, every third case has coarse values."""
    rng = np.random.default_rng([7, seed])
    truths = []
    for number in range(pictures):
        mask = np.zeros((side, side), bool)
        if number % 3 or not blank:
            for _ in range(int(rng.integers(1, 4))):
                y, x = rng.integers(0, side - 5, 2)
                mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = True
        heatmap = rng.random((side, side)) * 0.7 + 0.3 * mask * rng.random()
        truths.append(((np.round(heatmap, 2) if seed % 3 == 0 else heatmap).astype(dtype), mask))
    return truths


def one_class(rows):
    return len({row["label"] for row in rows}) < 2


@pytest.mark.parametrize("seed", CASES)
def test_image_figures_are_those_of_torchmetrics(seed):
    rows = random_rows(seed)
    if one_class(rows):
        assert metrics.image_auroc(rows) is metrics.image_ap(rows) is metrics.image_f1_max(rows) is None
        return
    scores = torch.tensor([row["score"] for row in rows], dtype=torch.float64)
    labels = torch.tensor([row["label"] for row in rows])
    assert metrics.image_auroc(rows) == pytest.approx(float(binary_auroc(scores, labels)), abs=1e-6)
    assert metrics.image_ap(rows) == pytest.approx(float(binary_average_precision(scores, labels)), abs=1e-6)
    precision, recall, _ = binary_precision_recall_curve(scores, labels)
    best = (2 * precision * recall / (precision + recall).clamp(min=1e-12)).max()
    assert metrics.image_f1_max(rows) == pytest.approx(float(best), abs=1e-6)


@pytest.mark.parametrize("seed", CASES)
def test_verdict_figures_are_counted_one_by_one(seed):
    rows = random_rows(seed)
    pairs = [(row["label"], row["verdict"]) for row in rows]
    hits, false = pairs.count((1, "anomalous")), pairs.count((0, "anomalous"))
    anomalies, normals = sum(label for label, _ in pairs), sum(1 - label for label, _ in pairs)
    rejected = pairs.count((0, "normal"))
    both = anomalies and normals
    wanted = {
        "accuracy": (hits + rejected) / len(rows) if both else None,
        "balanced_accuracy": (hits / anomalies + rejected / normals) / 2 if both else None,
        "yes_no": (
            sum(row["label"] == 1 and row["score"] >= 0.5 for row in rows) / anomalies
            + sum(row["label"] == 0 and row["score"] < 0.5 for row in rows) / normals
        )
        / 2
        if both
        else None,
        "precision": hits / (hits + false) if both and hits + false else None,
        "recall": hits / anomalies if anomalies else None,
        "f1": 2 * hits / (hits + false + anomalies) if both else None,
    }
    for name, value in wanted.items():
        found = getattr(metrics, name)(rows)
        assert found is None if value is None else found == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("seed", CASES)
def test_calibration_error_is_that_of_torchmetrics(seed):
    rows = random_rows(seed)
    for row in rows:  # torchmetrics puts a value on a bin's edge into the bin below
        row["verdict_probability"] = float(np.clip(row["score"] + 1e-4 * (row["score"] < 1), 0, 1))
    stated = torch.tensor([row["verdict_probability"] for row in rows], dtype=torch.float64)
    labels = torch.tensor([row["label"] for row in rows])
    # theirs is of the positive class's probability too: mean |confidence - share positive| over bins
    wanted = float(binary_calibration_error(stated, labels, n_bins=metrics.ECE_BINS))
    reference = 0.0
    for low in range(metrics.ECE_BINS):
        inside = [
            row for row in rows if min(int(row["verdict_probability"] * metrics.ECE_BINS), metrics.ECE_BINS - 1) == low
        ]
        if inside:
            gap = np.mean([row["verdict_probability"] for row in inside]) - np.mean([row["label"] for row in inside])
            reference += len(inside) / len(rows) * abs(gap)
    assert metrics.ece(rows) == pytest.approx(reference, abs=1e-9)
    assert metrics.ece(rows) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("seed", CASES)
def test_pixel_figures_are_those_of_all_pixels_in_torchmetrics(seed):
    truths = random_truths(seed, dtype=np.float16 if seed % 2 else np.float32)
    scores = torch.tensor(np.concatenate([heatmap.ravel() for heatmap, _ in truths]).astype(np.float64))
    labels = torch.tensor(np.concatenate([mask.ravel() for _, mask in truths]).astype(int))
    assert metrics.pixel_auroc(truths) == pytest.approx(float(binary_auroc(scores, labels)), abs=1e-6)
    assert metrics.pixel_ap(truths) == pytest.approx(float(binary_average_precision(scores, labels)), abs=1e-6)
    precision, recall, _ = binary_precision_recall_curve(scores, labels)
    best = (2 * precision * recall / (precision + recall).clamp(min=1e-12)).max()
    assert metrics.pixel_f1_max(truths) == pytest.approx(float(best), abs=1e-6)
    empty = [(heatmap, np.zeros_like(mask)) for heatmap, mask in truths]
    assert metrics.pixel_auroc(empty) is metrics.pixel_f1_max(empty) is aupro(empty) is aupimo(empty) is None


@pytest.mark.parametrize("seed", CASES)
def test_aupro_is_that_of_anomalib(seed, anomalib):
    truths = random_truths(seed, dtype=np.float32)
    theirs = anomalib.AUPRO()
    theirs.update(
        torch.tensor(np.stack([heatmap for heatmap, _ in truths])),
        torch.tensor(np.stack([mask for _, mask in truths]).astype(int)),
    )
    assert aupro(truths) == pytest.approx(float(theirs.compute()), abs=1e-6)


@pytest.mark.parametrize("seed", CASES)
def test_aupimo_is_that_of_anomalib(seed, anomalib):
    bounds, thresholds = (1e-2, 1e-1), 3_000  # wider than the default, which needs some 100,000 normal pixels
    truths = random_truths(seed)
    maps = torch.tensor(np.stack([heatmap for heatmap, _ in truths]))
    masks = torch.tensor(np.stack([mask for _, mask in truths]))
    found = aupimo_scores(truths, bounds, thresholds)
    try:
        *_, wanted, _ = anomalib.pimo.aupimo_scores(maps, masks, thresholds, bounds)
    except ValueError:  # ties so coarse that no threshold comes near the lower bound
        assert seed % 3 == 0 and found is None
        return
    for score, value, (_, mask) in zip(found, wanted.tolist(), truths, strict=True):
        assert score is None if not mask.any() else score == pytest.approx(value, abs=1e-6)


def test_aupimo_at_its_own_bounds_is_that_of_anomalib(anomalib):
    truths = random_truths(1, side=256, pictures=6)
    maps = torch.tensor(np.stack([heatmap for heatmap, _ in truths]))
    masks = torch.tensor(np.stack([mask for _, mask in truths]))
    *_, wanted, _ = anomalib.pimo.aupimo_scores(maps, masks, force=True)
    found = aupimo_scores(truths, force=True)
    known = [(score, value) for score, value in zip(found, wanted.tolist(), strict=True) if score is not None]
    assert known == [(pytest.approx(value, abs=1e-6), value) for _, value in known]


def test_aupimo_by_hand():
    normal = np.linspace(0, 1, 200 * 200).reshape(200, 200)  # a share of 1 - t lies at t or above
    none = np.zeros_like(normal, bool)
    mask = none.copy()
    mask[0, :100] = True
    found, half, lost = (np.zeros_like(normal) for _ in range(3))
    found[mask] = 2
    half[0, :50] = 2
    truths = [(normal, none), (found, mask), (half, mask), (lost, mask), (normal, None)]
    scores = aupimo_scores(truths, (1e-3, 1e-1))
    assert scores == [None, pytest.approx(1, abs=1e-3), pytest.approx(0.5, abs=1e-3), 0, None]
    assert aupimo(truths, bounds=(1e-3, 1e-1)) == pytest.approx(0.5, abs=1e-3)
    assert aupimo_scores(truths[1:], (1e-3, 1e-1)) is None  # no normal picture says what a false alarm is
    assert aupimo_scores([(np.zeros((9, 9)), none[:9, :9]), truths[1]], (1e-3, 1e-1)) is None  # one value only


def test_counts_of_parts_merge_to_the_counts_of_the_whole():
    truths = random_truths(3)
    whole = merged([levels_of(*truth) for truth in truths])
    pixels = np.concatenate([heatmap.ravel() for heatmap, _ in truths])
    inside = np.concatenate([mask.ravel() for _, mask in truths])
    assert np.array_equal(whole.values, np.unique(pixels))
    assert whole.normal.sum() == (~inside).sum() and whole.anomalous.sum() == inside.sum()
    assert whole.overlap.sum() == pytest.approx(whole.regions)
    assert merged([]) is None


def pate_of_the_package(labels, scores, buffer):
    """The package's main function; scikit-learn's private helper that it imports is given back to it."""
    from sklearn.metrics import _ranking

    def thresholds(truth, values, pos_label=None, sample_weight=None):
        at = np.unique(values)[::-1]
        return (
            np.array([((values >= t) & (truth == 0)).sum() for t in at]),
            np.array([((values >= t) & (truth == 1)).sum() for t in at]),
            at,
        )

    _ranking._binary_clf_curve = thresholds
    try:
        from pate.PATE_metric import PATE
    finally:
        del _ranking._binary_clf_curve
    return PATE(labels, scores, e_buffer=buffer, d_buffer=buffer, drop_intermediate=False, Big_Data=False)


@pytest.mark.parametrize("seed", CASES)
def test_pate_and_frame_figures(seed):
    pytest.importorskip("pate.PATE_utils", reason="pip install --no-deps -r requirements-eval.txt")
    rng = np.random.default_rng([9, seed])
    labels = np.zeros(30, int)
    start = int(rng.integers(0, 22))
    labels[start : start + int(rng.integers(2, 8))] = 1
    scores = np.round(rng.random(30) * 0.6 + 0.4 * labels * rng.random(), 1 if seed % 3 == 0 else 6)
    assert clips.pate_of(labels, scores, 3) == pytest.approx(pate_of_the_package(labels, scores, 3), abs=1e-6)
    rows = [{"frame_labels": labels.tolist(), "frame_scores": scores.tolist(), "threshold": 0.5}]
    wanted = float(binary_auroc(torch.tensor(scores), torch.tensor(labels)))
    assert clips.frame_auroc(rows) == pytest.approx(wanted, abs=1e-6)
    called = scores >= 0.5
    iou = (called & (labels == 1)).sum() / (called | (labels == 1)).sum()
    assert clips.when_iou(rows) == pytest.approx(iou)
    assert clips.frame_auroc([]) is clips.pate([]) is clips.when_iou([]) is None


def test_boxes_pointing_and_faithful_words_by_hand():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 2:6] = True
    mask[8:, 8:] = True
    heatmap = np.zeros((10, 10))
    heatmap[3, 3] = 1
    truth = seen((heatmap, mask))
    assert truth.boxes == ((0.2, 0.2, 0.6, 0.6), (0.8, 0.8, 1.0, 1.0)) and truth.pointed
    row = {"size": [100, 50], "regions": [{"box": [20, 10, 60, 25]}, {"box": [0, 0, 100, 50]}]}
    assert metrics.overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert metrics.box_rate([row], [truth]) == pytest.approx(0.5)  # 3/4 of the first, nothing of the second
    assert metrics.pointing([truth, None, seen((heatmap, np.zeros_like(mask)))]) == 1
    assert metrics.pointing([None]) is metrics.box_rate([row], [None]) is None
    told = {"score": 0.7, "threshold": 0.5, "place": "centre", "region_places": ["centre", "top left"]}
    cases = [("Yes.", ["centre"], True), ("No.", [], False), ("Yes.", ["top left"], False), ("Yes.", [], True)]
    for words, places, wanted in cases:
        assert metrics.faithful(told | {"explanation": words, "word_places": places}) is wanted
    spoken = [told | {"explanation": words, "word_places": places} for words, places, _ in cases]
    assert metrics.faithfulness(spoken) == 0.5
    assert metrics.faithfulness([told | {"explanation": ""}]) is None
