"""The products that a model knows: what their pictures look like as wholes, and where their verdicts balance.

Measured on pictures of the training fold by `python -m finetune.calibrate references`; see `assistant.familiar`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from tqdm import tqdm

from assistant.familiar import SCENE, Familiar
from assistant.inspector import Inspector
from assistant.look_model import LookOutput
from data.schema import Record
from finetune.records import two_sided

CENTRES = 4
"""Groups of pictures of each set that a model keeps in mind."""
STRANGE = 0.99
"""Share of the pictures of each known set, the most varied one too, that must not be unlike all that is known; of one
set, the share within which pictures are of it at all."""
HOME = 0.9
"""Share of a set's pictures that are wholly of it: what varies more reaches farther."""
SHRUNK = 4
"""Pictures of either label by which a product's balanced point is drawn to that of all products."""
LEAST_RAMP = 0.05
"""Distance between a known and a new product at least."""
LEAST_STEEP = 0.05
"""A logit over the balanced point never speaks for a normal picture."""
OWN_SET = "own"


def sets_of(descriptors: Mapping[tuple[str, str, int], Tensor]) -> dict[str, Tensor]:
    """Descriptors [n, D] of each set; the order of the sets numbers `Familiar.products`."""
    sets: dict[str, list[Tensor]] = defaultdict(list)
    for (dataset, _, _), group in descriptors.items():
        sets[dataset].append(group)
    return {name: torch.cat(groups) for name, groups in sorted(sets.items())}


def familiar_of(descriptors: Mapping[tuple[str, str, int], Tensor], seed: int = 0) -> Familiar:
    """Middles of each set's pictures, and the distance within which other pictures of every set lie from such middles.

    What lies farther is strange: a picture of no product at all, or of one unlike all that was learned from. How far a
    set lies from all the others says what is new without being strange.
    """
    pictures = sets_of(descriptors)
    centres = {OWN_SET: pictures.pop(OWN_SET)} if OWN_SET in pictures else {}  # each of them a scene of its own
    for name, group in pictures.items():
        centres[name] = _middles(group, seed)
    number = {name: index for index, name in enumerate(pictures)} | {OWN_SET: SCENE}
    away = []
    for name, group in pictures.items():
        others = torch.cat([middle for other, middle in centres.items() if other != name] or [centres[name]])
        away.append(float((1 - (group @ others.T).amax(dim=1)).median()))
    unseen = [_unseen(group, seed) for group in pictures.values()]
    near = torch.tensor([float(distances.quantile(HOME)) for distances in unseen], dtype=torch.float64)
    far = torch.tensor([float(distances.quantile(STRANGE)) for distances in unseen], dtype=torch.float64)
    return Familiar(
        torch.cat(list(centres.values())),
        cut=float(far.max()) if len(far) else 0.0,
        new=min(away, default=LEAST_RAMP),
        products=torch.cat([torch.full((len(middles),), number[name]) for name, middles in centres.items()]),
        near=near,
        far=torch.maximum(far, near + LEAST_RAMP),
    )


def look_at_record(inspector: Inspector, record: Record) -> LookOutput:
    """What the model makes of a record's picture without references."""
    with torch.inference_mode():
        return inspector.model.look(inspector.processor.pixels(record.read_image()))


Sides = dict[str, tuple[list[float], list[float]]]
"""Calibrated logits of the normal and of the anomalous pictures of each set."""


def sides_alone(inspector: Inspector, records: Sequence[Record], sets: Sequence[str]) -> Sides:
    """What pictures that no weight was fitted on score without references, of the sets in this order."""
    sides: Sides = {name: ([], []) for name in sets}
    told = [records[number] for number in two_sided(records) if records[number].dataset in sides]
    for record in tqdm(told, desc="known products", unit="picture"):
        score = float(look_at_record(inspector, record).score_logit[0])
        sides[record.dataset][record.label].append(inspector.calibration.logit(score))
    return sides


def balanced_points(sides: Sides) -> Tensor:
    """A column of `Familiar.tipping`: the `balanced_point` of each set, NaN where nothing was measured."""
    points = [balanced_point(*both) if any(both) else torch.nan for both in sides.values()]
    return torch.tensor(points, dtype=torch.float64)


def steepness(sides: Sides) -> float:
    """How much a logit over the set's balanced point says: the slope of a logistic regression, all groups equal.

    Of the sets with both labels; 1 where there are none.
    """
    values, labels, weights = [], [], []
    for both in sides.values():
        if not all(both):
            continue
        point = balanced_point(*both)
        for label, side in enumerate(both):
            values += [value - point for value in side]
            labels += [label] * len(side)
            weights += [1 / len(side)] * len(side)
    if not values:
        return 1.0
    weight = np.array(weights) * len(weights) / sum(weights)
    fitted = LogisticRegression(C=1e3, fit_intercept=False).fit(np.array(values)[:, None], labels, weight)
    return max(LEAST_STEEP, float(fitted.coef_[0, 0]))


def balanced_point(normal: Sequence[float], anomalous: Sequence[float]) -> float:
    """The calibrated logit half way between the means of both labels, drawn to 0, and 0 where it is lower.

    A known product raises its threshold where its normal pictures look suspicious, and never lowers it: on held-out
    training pictures lowering it found no more than it cost in false alarms.
    """
    count = min(len(normal), len(anomalous))
    if not count:
        return 0.0
    middle = (float(np.mean(normal)) + float(np.mean(anomalous))) / 2
    return max(0.0, middle * count / (count + SHRUNK))


def _unseen(group: Tensor, seed: int, seeds: int = 4) -> Tensor:
    """Distances of a set's pictures [n, D] to the middles of other pictures of it, each half by the other: [seeds n].

    Middles lie nearer to the pictures that they were made of, the more so the more varied a set is.
    """
    if len(group) < 2:
        return torch.zeros(1)
    rng, found = np.random.default_rng(seed), []
    for _ in range(seeds):
        order = rng.permutation(len(group))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        for near, far in (halves, halves[::-1]):
            found.append(1 - (group[far] @ _middles(group[near], seed).T).amax(dim=1))
    return torch.cat(found)


def _middles(group: Tensor, seed: int) -> Tensor:
    """Unit vectors [k, D], at most CENTRES, about which descriptors [n, D] lie."""
    fitted = KMeans(min(CENTRES, len(group)), n_init=2, random_state=seed).fit(group.double().numpy())
    return F.normalize(torch.from_numpy(fitted.cluster_centers_).float(), dim=1)
