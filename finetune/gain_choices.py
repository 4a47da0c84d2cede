"""Which gains serve best, chosen from short lists on cases of the training folds.

Of the score's gains the least counts that is as good as the best within one standard error (Breiman, Friedman, Olshen
and Stone 1984, section 3.4.3): which references are drawn moves the rank of pictures, and a larger gain all the more.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import typer
from sklearn.metrics import roc_auc_score

from assistant.errors import RecordError
from assistant.reference_gain import ReferenceGain, relied
from finetune.gain_cases import Case

MAP_GAINS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)
"""Logits of the map for each unit of `Residuals.mean_distance`."""
SCORE_GAINS = (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 30.0, 40.0, 60.0)
"""Logits of the score for each unit of `Residuals.top` with ever more references."""
SLOPES = (0.0, 0.5, 0.75, 1.0, 1.25)
"""How much farther the farthest places of a normal picture are for each unit that it is farther as a whole,"""
KNEES = (0.4, 0.45, 0.5, 0.55)
"""up to this distance. See `assistant.reference_gain`."""
DARK = 0.999
"""Share of the cells of normal pictures that are as dark with references as without."""
LIMIT = 0.3
"""False-positive rate up to which the cover of the regions is counted."""


Lone = tuple[float, float, float]
"""Offset, slope and knee, as `ReferenceGain.lone`."""


@dataclass(frozen=True)
class Choice:
    """A value and what it gives, mean over the groups; the same for 0, and for the references alone."""

    gain: float
    before: float
    after: float
    alone: float


def choose_lone(cases: Sequence[Case]) -> Lone:
    """The `ReferenceGain.lone` with which scores tell normals from anomalies best.

    With a single reference one threshold must serve products that differ in how alike their pictures are, so all
    products are ranked together, each set with the same weight, with the gain that serves each choice best. The offset
    makes normals of all sets 0 in the mean.

    Raises:
        RecordError: no product has normal and anomalous pictures.
    """
    lone = [case for case in cases if case.usual is None]
    if len({case.label for case in lone}) < 2:
        raise RecordError("No product has normal and anomalous pictures beside enough normal references.")
    sizes = Counter((case.group[0], case.label) for case in lone)
    weight = np.array([1 / sizes[case.group[0], case.label] for case in lone])
    labels = np.array([case.label for case in lone])
    score, top, bulk = (np.array([getattr(case, name) for case in lone]) for name in ("score", "top", "bulk"))
    over = {(slope, knee): top - slope * np.minimum(bulk, knee) for slope, knee in itertools.product(SLOPES, KNEES)}
    ranked = {
        key: max(roc_auc_score(labels, score + gain * relied(1) * value, sample_weight=weight) for gain in SCORE_GAINS)
        for key, value in over.items()
    }
    best = max(ranked, key=lambda key: ranked[key])
    normal = labels == 0
    return float(np.average(over[best][normal], weights=weight[normal])), *best


def choose_score(cases: Sequence[Case], lone: Lone) -> Choice:
    """Least gain of the distance that ranks the pictures of a product as well as the best, mean AUROC of the groups.

    Raises:
        RecordError: no group holds normal and anomalous pictures.
    """
    groups = [group for group in _grouped(cases) if len({case.label for case in group}) == 2]
    if not groups:
        raise RecordError("No product has normal and anomalous pictures beside enough normal references.")

    def quality(value: Callable[[Case], float]) -> np.ndarray:
        return _of_products(groups, lambda g: roc_auc_score([c.label for c in g], [value(c) for c in g]))

    ranked = {gain: quality(lambda case, gain=gain: case.score + gain * above(case, lone)) for gain in SCORE_GAINS}
    weight = _weights(groups)
    gain = least_as_good(ranked, weight)
    before, after, alone = (
        float(weight @ found) for found in (ranked[0.0], ranked[gain], quality(lambda c: above(c, lone)))
    )
    return Choice(gain, before, after, alone)


def least_as_good(ranked: Mapping[float, np.ndarray], weight: np.ndarray) -> float:
    """The least value whose weighted mean is within one standard error of the best, the products told one by one.

    Args:
        ranked: for each value what it gives, [n] of the products.
        weight: [n] of the products, of sum 1.
    """
    best = max(ranked, key=lambda value: float(weight @ ranked[value]))

    def as_good(value: float) -> bool:
        lost = ranked[best] - ranked[value]
        mean = float(weight @ lost)
        return mean <= float(np.sqrt(weight**2 @ (lost - mean) ** 2))

    return min(filter(as_good, ranked))


def above(case: Case, lone: Lone) -> float:
    """How much farther a picture is from its references than a normal one would be, as far as `ReferenceGain` relies
    on so many.
    """
    return relied(case.group[2]) * (case.top - expected(case, lone))


def expected(case: Case, lone: Lone) -> float:
    """`ReferenceGain.usual` of a case."""
    return lone[0] + lone[1] * min(case.bulk, lone[2]) if case.usual is None else case.usual


def choose_map(cases: Sequence[Case]) -> Choice | None:
    """Gain of the map that covers regions best (`cover`), mean of the groups with masks; None when there are none."""
    groups = [group for group in _grouped(cases) if any(c.label and c.regions is not None for c in group)]
    if not groups:
        return None

    def quality(value: Callable[[Case], np.ndarray]) -> float:
        covered = _of_products(groups, lambda g: cover([(value(c), c.regions) for c in g if c.regions is not None]))
        return float(_weights(groups) @ covered)

    ranked = {gain: quality(lambda case, gain=gain: case.logits + gain * case.distance) for gain in MAP_GAINS}
    gain = max(ranked, key=lambda key: ranked[key])
    return Choice(gain, ranked[0.0], ranked[gain], quality(lambda case: case.distance))


def _of_products(groups: Sequence[Sequence[Case]], quality: Callable[[Sequence[Case]], float]) -> np.ndarray:
    """[n] of the products, in the order of `_weights`: the mean of a quality over the groups of each."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for group in groups:
        found[group[0].group[:2]].append(quality(group))
    return np.array([np.mean(values) for values in found.values()])


def _weights(groups: Sequence[Sequence[Case]]) -> np.ndarray:
    """[n] by which products count, of sum 1: sets weigh the same, and within a set its products."""
    products = list(dict.fromkeys(group[0].group[:2] for group in groups))
    sizes = Counter(dataset for dataset, _ in products)
    return np.array([1 / (sizes[dataset] * len(sizes)) for dataset, _ in products])


def cover(truths: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """How well maps [h, w] cover numbered regions [h, w], each region weighing the same, up to LIMIT false positives.

    The partial area under the ROC curve of weighted cells, which is the area under the per-region-overlap curve
    (Bergmann et al., IJCV 2021, section 5.3) but for McClish's standardisation: 0.5 is chance, 1 perfect.
    """
    values, target, weight = [], [], []
    for drawn, regions in truths:
        sizes = np.bincount(regions.ravel(), minlength=1).astype(float)
        sizes[0] = 1.0
        values.append(drawn.ravel())
        target.append(regions.ravel() > 0)
        weight.append(1 / np.maximum(sizes, 1)[regions.ravel()])
    return float(
        roc_auc_score(
            np.concatenate(target), np.concatenate(values), sample_weight=np.concatenate(weight), max_fpr=LIMIT
        )
    )


def bias_of(cases: Sequence[Case], gain: float, lone: Lone) -> float:
    """What keeps the cells of normal pictures as dark with references as without, at DARK of them."""
    normal = [case for case in cases if case.label == 0]
    before = np.quantile(np.concatenate([case.logits.ravel() for case in normal]), DARK)
    held = [case.logits + gain * (case.distance - expected(case, lone)) for case in normal]
    return float(before - np.quantile(np.concatenate([one.ravel() for one in held]), DARK))


def choose(cases: Sequence[Case]) -> ReferenceGain:
    """All numbers of `ReferenceGain`: by judges that know the product, and by ones that do not.

    Where there are cases of one of the two only, both get its numbers.
    """
    found = ReferenceGain()
    lone = choose_lone([case for case in cases if not case.group[-1]] or cases)
    with torch.no_grad():
        found.lone.copy_(torch.tensor(lone))
        for place, familiar in enumerate((True, False)):
            group = [case for case in cases if case.group[-1] is familiar] or list(cases)
            score, drawn = choose_score(group, lone), choose_map(group)
            found.score[place] = score.gain
            if drawn is not None:
                found.drawn[place] = drawn.gain
                found.bias[place] = bias_of(group, drawn.gain, lone)
            for name, one in (("image AUROC", score), ("cover of regions", drawn)):
                if one is not None:
                    typer.echo(
                        f"{'known' if familiar else 'new'} products, {name} with references: {one.before:.3f} without "
                        f"a gain, {one.after:.3f} with {one.gain}, {one.alone:.3f} by the references alone"
                    )
    return found


def _grouped(cases: Sequence[Case]) -> list[list[Case]]:
    groups: dict[tuple[str, str, int, bool], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    return list(groups.values())
