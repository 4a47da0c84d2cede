"""Samples for a short training with corrections, and what the look says about pictures whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from assistant.calibration import Calibration
from assistant.configuration import LookTwiceVisionConfig
from assistant.familiar import Familiar
from assistant.look_model import LookModel
from assistant.operating_point import operating_point
from data.schema import Record
from finetune.dataset import LookDataset, Mix, Sample
from finetune.features import read_batch

SHARE = 0.5
"""Of the samples that are corrections; the rest is what the weights have learnt from before, so that it stays."""
OWN = Mix(real=0.45, drawn=0.1, clean=0.45, own_normals=0.0, referenced=0.0)
"""Of the corrections: the marked ones, defects drawn on the normal ones, and the normal ones, each varied."""
KNOWN = Mix(referenced=0.2)
FILLED = 0.25
"""Share of a cell from which it counts as anomalous: cracks are thin."""


class CorrectedSamples:
    """`length` samples; number i is a function of (seed, i) alone.

    Args:
        corrected: the corrections.
        known: records that the weights have learnt from; [] leaves drawn products and photographs.
        vision, length, batch, seed: as in `dataset.LookDataset`.
    """

    def __init__(
        self,
        corrected: list[Record],
        known: list[Record],
        vision: LookTwiceVisionConfig,
        length: int,
        batch: int = 16,
        seed: int = 0,
    ) -> None:
        self.batch, self.length, self.seed = batch, length, seed
        self._own = LookDataset(corrected, vision, length, batch, seed, OWN)
        self._known = LookDataset(known, vision, length, batch, seed, KNOWN)

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int) -> Sample:
        """Sample number `index`, the same on every call."""
        own = np.random.default_rng([self.seed, index, 5]).random() < SHARE
        return (self._own if own else self._known).sample(index)


@dataclass(frozen=True)
class Figures:
    """How a look does on labelled pictures; means over sets, each 0..1, higher is better but for `error`.

    Attributes:
        image_auroc: of sets with both labels; 0.5 where there is none.
        pixel_auroc: of sets with masks; 0.5 where there is none.
        balanced_accuracy: of score against threshold, of sets with both labels; 0.5 where there is none.
        error: share of all pictures on the wrong side of the threshold.
        distance: mean distance of the score from the label, of all pictures.
        pictures: how many.
    """

    image_auroc: float
    pixel_auroc: float
    balanced_accuracy: float
    error: float
    distance: float
    pictures: int

    @property
    def overall(self) -> float:
        """Mean of the first three."""
        return (self.image_auroc + self.pixel_auroc + self.balanced_accuracy) / 3


def judge(model: LookModel, calibration: Calibration, familiar: Familiar | None, files: Sequence[Path]) -> Figures:
    """Figures of a model on cached features, see `features.make_features`; its tower is not called.

    Each picture has the threshold that a look at it has, see `operating_point`.
    """
    scores, labels, thresholds = defaultdict(list), defaultdict(list), defaultdict(list)
    values, truths = defaultdict(list), defaultdict(list)
    with torch.inference_mode():
        for file in files:
            batch = read_batch(file)
            output = model.single(batch.features, batch.residuals)
            size = batch.target.shape[-2:]
            logits = F.interpolate(output.heatmap_logits.float(), size=size, mode="bilinear")
            descriptors = F.normalize(output.tokens.seen, dim=1)
            for row, origin in enumerate(batch.origins):
                threshold, _ = operating_point(calibration, familiar, descriptors[row : row + 1], None, None)
                thresholds[origin.dataset].append(threshold)
                scores[origin.dataset].append(calibration.score(float(output.score_logit[row])))
                labels[origin.dataset].append(origin.label)
                if bool((batch.weight[row] > 0).all()):
                    values[origin.dataset].append(logits[row].flatten().numpy())
                    truths[origin.dataset].append((batch.target[row] >= FILLED).flatten().numpy())
    return figures_of(scores, labels, values, truths, thresholds)


def figures_of(
    scores: dict[str, list[float]],
    labels: dict[str, list[int]],
    values: dict[str, list[np.ndarray]],
    truths: dict[str, list[np.ndarray]],
    thresholds: dict[str, list[float]],
) -> Figures:
    """Figures from scores and thresholds 0..1 and labels of each set, and map values with the truth of each cell."""
    both = [name for name in labels if len(set(labels[name])) == 2]
    image = [roc_auc_score(labels[name], scores[name]) for name in both]
    called = {
        name: [int(score >= least) for score, least in zip(scores[name], thresholds[name], strict=True)]
        for name in scores
    }
    right = [balanced_accuracy_score(labels[name], called[name]) for name in both]
    pixel = []
    for name in values:
        truth = np.concatenate(truths[name])
        if truth.any() and not truth.all():
            pixel.append(roc_auc_score(truth, np.concatenate(values[name])))
    wrong = [call != label for name in labels for call, label in zip(called[name], labels[name], strict=True)]
    far = [abs(score - label) for name in labels for score, label in zip(scores[name], labels[name], strict=True)]

    def mean(parts: Sequence[float], empty: float) -> float:
        return float(np.mean(parts)) if len(parts) else empty

    return Figures(mean(image, 0.5), mean(pixel, 0.5), mean(right, 0.5), mean(wrong, 0.0), mean(far, 0.0), len(wrong))


def few(records: Sequence[Record], most: int) -> list[Record]:
    """At most `most` records of each set and label, evenly spread over their order."""
    groups: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.dataset, record.label].append(record)
    chosen = []
    for group in groups.values():
        steps = np.linspace(0, len(group) - 1, min(most, len(group))).round().astype(int)
        chosen += [group[step] for step in steps]
    return chosen
