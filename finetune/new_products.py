"""What normal pictures of products score that the model has not learned from, held against references.

The thresholds of new products follow from it. Weights that were kept from a set judge its pictures, and drawn products
stand for those whose pictures hardly differ from one another, as those of a line with a fixed camera do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
from tqdm import tqdm

from assistant.inspector import Inspector
from assistant.look_model import LookModel
from assistant.threshold import DEFAULT_RATE, Normals
from data.products import PRODUCTS, draw_product
from data.schema import Record
from finetune.dataset import variants
from finetune.known_products import OWN_SET
from finetune.references import Held, Product, attained, measure, measure_product, prior_of

MOST, MOST_PRODUCTS = 20, 3
"""Normal pictures of a product that are looked at, and products of a set."""
DRAWS = 3
"""How often references are drawn: which ones they are moves scores more than anything else does."""
OWN_PRODUCTS = 9
"""Drawn products."""
SIDE = 384
"""Side of the drawn products, pixels."""
SEED = 59
TRUSTS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Values of `Calibration.held_trust` that are tried."""


def measure_new(
    inspector: Inspector, judges: Sequence[tuple[tuple[str, ...], LookModel]], records: Sequence[Record]
) -> list[Held]:
    """`references.measure` of normal pictures of new products.

    Args:
        inspector: of calibrated weights; it gets its own back.
        judges: of `leave_out.left_out_judges`: sets, and weights that were kept from them.
        records: of the training fold.
    """
    own, familiar, inspector.familiar = inspector.model.look_model, inspector.familiar, None
    gains = own.heatmap.references.state_dict()
    held: list[Held] = []
    try:
        for number, (unseen, judge) in enumerate(judges):
            judge.config = own.config
            judge.heatmap.references.load_state_dict(gains)  # chosen, not trained
            inspector.model.look_model = judge.eval()
            normals = few([record for record in records if record.dataset in unseen and not record.label])
            held += measure(inspector, normals, seeds=DRAWS, most=MOST)[1]
            for drawn in tqdm(range(number, OWN_PRODUCTS, len(judges)), desc="drawn products"):
                family, pictures = own_normals(drawn)
                rng = np.random.default_rng(drawn)
                held += measure_product(inspector, (OWN_SET, family), pictures, (), rng, DRAWS)[1]
    finally:
        inspector.model.look_model, inspector.familiar = own, familiar
    return held


def few(records: Sequence[Record]) -> list[Record]:
    """Those of MOST_PRODUCTS products of each set, the ones with the most pictures."""
    counts = Counter((record.dataset, record.category) for record in records)
    chosen: dict[str, list[str]] = defaultdict(list)
    for (dataset, category), _ in counts.most_common():
        chosen[dataset] = (chosen[dataset] + [category])[:MOST_PRODUCTS]
    return [record for record in records if record.category in chosen[record.dataset]]


def own_normals(number: int) -> tuple[str, list[np.ndarray]]:
    """Family and MOST normal pictures [SIDE, SIDE, 3] uint8 of a drawn product, of OWN_PRODUCTS of many families."""
    family = PRODUCTS[number * len(PRODUCTS) // OWN_PRODUCTS]
    rng = np.random.default_rng([SEED, number])
    scene = draw_product(rng, (SIDE, SIDE), family)
    return family, [variants(scene, rng)[0] for _ in range(MOST)]


def new_prior(
    held: Sequence[Held],
    *,
    lone: bool,
    without: str = "",
    of: Callable[[Held], Sequence[float]] = attrgetter("unseen"),
) -> Normals:
    """What normals of new products are like, beside a single reference or several; sets weigh the same.

    `within` is of pictures beside the same references. Beside several the prior on the variance of a product is a
    scaled inverse chi-squared of few degrees, see `threshold.gaussian_cut`, whose upper tail is heavy by itself: its
    scale is the geometric mean over products (as Smyth 2004, section 6.2, matches the moments of the logarithm). A
    single reference tells nothing of the variance, and the mean counts.

    Args:
        held: of `measure_new`.
        lone: beside a single reference.
        without: a set that is left out.
        of: which of a picture's values, `Held.unseen` or `Held.peaks`.
    """
    chosen = [one for one in held if one.product[0] != without and (one.shots == 1) is lone]
    values: dict[Product, list[float]] = defaultdict(list)
    variances: dict[Product, list[float]] = defaultdict(list)
    for one in chosen:
        values[one.product] += of(one)
        variances[one.product].append(float(np.var(of(one), ddof=1)))
    sets = Counter(dataset for dataset, _ in variances)
    weights = [1 / sets[dataset] for dataset, _ in variances]
    means = np.maximum([np.mean(drawn) for drawn in variances.values()], 1e-4)
    within = np.average(means, weights=weights) if lone else np.exp(np.average(np.log(means), weights=weights))
    return replace(prior_of(values), within=float(within) ** 0.5)


def trust_of(held: Sequence[Held], rate: float = DEFAULT_RATE) -> float:
    """`Calibration.held_trust`, of TRUSTS, with which the rate of sets by the others' numbers is nearest to `rate`."""

    def off(trust: float) -> float:
        rates = attained(held, rate, new_prior, trust)["gaussian"]
        return abs(float(np.mean([share for shots, share in rates.items() if shots > 1])) - rate)

    return min(TRUSTS, key=off)
