"""What references and false-alarm rates need beside the weights, measured on pictures of the training fold.

python -m finetune.calibrate references --data DIR
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from assistant.familiar import WAYS
from assistant.inspector import Inspector
from assistant.memory import Seen, assemble, describe, judged, see
from assistant.threshold import DEFAULT_RATE, PRIOR_WEIGHT, Normals, conformal_cut, gaussian_cut
from data.photos import photographs
from data.products import draw_product
from data.schema import Record
from finetune.known_products import OWN_SET, Sides

SHOTS = (1, 2, 4, 8)
"""How many references are drawn."""
JUDGED = (1, 4)
"""References that anomalous pictures are held against."""
LEAST = 10
"""Normal pictures that a product needs to be measured on."""
MOST = 24
"""Normal pictures of a product that are looked at."""
WHOLE = 40
"""Pictures of a product and label whose descriptors are kept."""
OWN = 60
"""Pictures of our own whose descriptors are kept."""
MISTAKEN = 0.01
"""Share of pictures that may be held for another product than their references."""
Product = tuple[str, str]


@dataclass(frozen=True)
class Held:
    """Normal pictures of one product held against references of it, in calibrated logits before any scale.

    Attributes:
        product: set and category.
        shots: how many references.
        known: logits of the references, each against the others.
        unseen: logits of other normal pictures.
        anomalous: logits of anomalous pictures, where they were looked at.
        peaks: highest calibrated map logits of the pictures of `unseen`.
    """

    product: Product
    shots: int
    known: tuple[float, ...]
    unseen: tuple[float, ...]
    anomalous: tuple[float, ...] = ()
    peaks: tuple[float, ...] = ()


def measure(
    inspector: Inspector, records: Sequence[Record], seeds: int = 2, most: int = MOST
) -> tuple[dict[Product, list[float]], list[Held]]:
    """Logits of held-out normals without references, and against SHOTS references drawn from among them.

    Of anomalous pictures, where a product has some, those against JUDGED references of the first draw.

    Args:
        inspector: of the weights.
        records: held out from training.
        seeds: how often references are drawn.
        most: normal pictures of a product that are looked at.
    """
    products: dict[Product, list[Record]] = defaultdict(list)
    anomalous: dict[Product, list[Record]] = defaultdict(list)
    for record in records:
        (anomalous if record.label else products)[record.dataset, record.category].append(record)
    alone: dict[Product, list[float]] = {}
    held: list[Held] = []
    for product, normals in tqdm(sorted(products.items()), desc="products"):
        rng = np.random.default_rng(len(normals))
        pictures, others = (
            [group[index].read_image() for index in rng.permutation(len(group))[:most]]
            for group in (normals, anomalous[product])
        )
        alone[product], found = measure_product(inspector, product, pictures, others, rng, seeds)
        held += found
    return alone, held


def measure_product(
    inspector: Inspector,
    product: Product,
    pictures: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    rng: np.random.Generator,
    seeds: int,
) -> tuple[list[float], list[Held]]:
    """As `measure`, of one product: normal pictures and others, anomalous ones, [H, W, 3] uint8 each."""
    model, calibration, familiar = inspector.model.look_model, inspector.calibration, inspector.familiar
    plain = replace(calibration, match_cut=0.0, held_scale=1.0, lone_scale=1.0)
    size = inspector.processor.fit_size(pictures[0].shape[1], pictures[0].shape[0])
    held: list[Held] = []
    with torch.inference_mode():
        seen, odd = ([_seen(inspector, picture, size) for picture in group] for group in (pictures, others))
        alone = [calibration.logit(judged(model, one, None)[0]) for one in seen]
        if len(seen) < LEAST:
            return alone, held
        for shots in SHOTS:
            for draw in range(seeds):
                order = rng.permutation(len(seen))
                chosen_few = [seen[i] for i in order[:shots]]
                memory = assemble(model, chosen_few, plain, range(1, shots + 1), familiar)
                told = [judged(model, seen[i], memory) for i in order[shots:]]
                unseen = tuple(calibration.logit(logit) for logit, _ in told)
                known = tuple(calibration.logit(value) for value in memory.normals)
                against = odd if shots in JUDGED and not draw else []
                found = tuple(calibration.logit(judged(model, one, memory)[0]) for one in against)
                peaks = tuple(peak + calibration.pixel_bias for _, peak in told)
                held.append(Held(product, shots, known, unseen, found, peaks))
    return alone, held


def _seen(inspector: Inspector, picture: np.ndarray, size: tuple[int, int]) -> Seen:
    """A picture, to be held against many others."""
    seen = see(inspector.model.look_model, inspector.processor.pixels(picture, size))
    return replace(seen, alone=inspector.model.look_model.alone(seen.features))


def prior_of(groups: Mapping[Product, Sequence[float]]) -> Normals:
    """What logits of normals of any product are like; sets weigh the same, and within a set its products."""
    sizes: dict[str, int] = defaultdict(int)
    for dataset, _ in groups:
        sizes[dataset] += 1
    weight = np.array([1 / sizes[dataset] for dataset, _ in groups])
    weight /= weight.sum()
    means = np.array([np.mean(values) for values in groups.values()])
    mean = float(weight @ means)
    between = float(weight @ (means - mean) ** 2) / max(1e-6, 1 - float((weight**2).sum()))
    within = float(weight @ np.array([np.var(values) for values in groups.values()]))
    return Normals(mean, max(between, 1e-4) ** 0.5, max(within, 1e-4) ** 0.5)


def held_prior(held: Sequence[Held], *, lone: bool, without: str = "") -> Normals:
    """The prior of normals held against a single reference or against several, of all sets but one."""
    groups: dict[Product, list[float]] = defaultdict(list)
    for one in held:
        if one.product[0] != without and (one.shots == 1) is lone:
            groups[one.product] += one.unseen
    return prior_of(groups)


def scales_of(alone: Normals, held: Sequence[Held]) -> tuple[float, float]:
    """`held_scale` and `lone_scale`: how much less a picture's logit scatters around what is expected without them.

    Expected is the mean of the references, each held against the others, and with a single one the mean of all.
    """
    lone = held_prior(held, lone=True)
    off = [value - float(np.mean(one.known)) for one in held if one.known for value in one.unseen]
    scatter = float(np.sqrt(np.mean(np.square(off)))) if off else 0.0
    without = math.hypot(alone.between, alone.within)
    return (min(1.0, without / scatter) if scatter else 1.0), min(1.0, without / math.hypot(lone.between, lone.within))


def attained(
    held: Sequence[Held],
    rate: float = DEFAULT_RATE,
    prior: Callable[..., Normals] = held_prior,
    trust: float = PRIOR_WEIGHT,
) -> dict[str, dict[int, float]]:
    """False-alarm rate that each way of setting a threshold really has, {way: {shots: share}}, sets weighing the same.

    The Gaussian's prior comes from the other sets each time, drawn products among them; the conformal quantile needs
    two references.

    Args:
        held: of `measure`.
        rate: that is asked for.
        prior: `held_prior` or `new_products.new_prior`.
        trust: as `Calibration.held_trust`.
    """
    found: dict[str, dict[int, dict[str, list[float]]]] = {"gaussian": {}, "conformal": {}}
    for one in held:
        if one.product[0] == OWN_SET:  # takes of a drawn product differ less than pictures do
            continue
        cuts = {
            "gaussian": gaussian_cut(
                one.known,
                rate,
                prior(held, lone=one.shots == 1, without=one.product[0]),
                trust if one.known else PRIOR_WEIGHT,
            )
        }
        if one.known:
            cuts["conformal"] = conformal_cut(one.known, rate)
        for way, cut in cuts.items():
            shares = found[way].setdefault(one.shots, {}).setdefault(one.product[0], [])
            shares.append(float(np.mean(np.array(one.unseen) >= cut)))
    return {
        way: {shots: float(np.mean([np.mean(v) for v in sets.values()])) for shots, sets in sorted(by_shots.items())}
        for way, by_shots in found.items()
    }


def descriptors_of(
    inspector: Inspector, records: Sequence[Record], seed: int = 0
) -> dict[tuple[str, str, int], Tensor]:
    """Descriptors of at most WHOLE pictures of each (set, category, label), [n, D], and of OWN pictures of our own."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.dataset, record.category, record.label].append(record)
    found = {}
    for key, group in tqdm(sorted(groups.items()), desc="descriptors"):
        chosen = [group[index] for index in rng.permutation(len(group))[:WHOLE]]
        found[key] = torch.cat([_descriptor(inspector, record.read_image()) for record in chosen])
    photos = photographs()
    own = [photos[n % len(photos)] if n % 2 else draw_product(rng, (384, 384)) for n in range(OWN)]
    found[OWN_SET, "", 0] = torch.cat([_descriptor(inspector, picture) for picture in own])
    return found


def _descriptor(inspector: Inspector, picture: np.ndarray) -> Tensor:
    model = inspector.model.look_model
    with torch.inference_mode():
        features = model.tower(inspector.processor.pixels(picture))
    # of a picture in several views the first is the whole, as in `memory.see`
    return describe(features.tokens[:1], features.grid, model.config.visual_grid).cpu()


def match_cut(descriptors: Mapping[tuple[str, str, int], Tensor], seed: int = 0, seeds: int = 6) -> float:
    """Distance to the nearest reference beyond which lie MISTAKEN of the pictures of the same product, sets equal."""
    rng = np.random.default_rng(seed)
    distances: dict[str, list[np.ndarray]] = defaultdict(list)
    for (dataset, category, label), group in descriptors.items():
        if label or len(group) < LEAST:
            continue
        anomalous = descriptors.get((dataset, category, 1), group[:0])
        for shots in SHOTS:
            for _ in range(seeds):
                order = rng.permutation(len(group))
                others = torch.cat([group[order[shots:]], anomalous])
                distances[dataset].append(1 - (others @ group[order[:shots]].T).amax(dim=1).numpy())
    cuts = np.linspace(0, 2, 401)
    beyond = np.mean(
        [
            np.mean([_share_beyond(d, cuts) for d in found], axis=0)
            for name, found in distances.items()
            if name != OWN_SET
        ],
        axis=0,
    )
    return float(cuts[int(np.argmax(beyond <= MISTAKEN))])


def _share_beyond(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    return (values[:, None] > cuts).mean(axis=0)


def normals_of_sets(
    sets: Sequence[str],
    alone: Mapping[Product, Sequence[float]],
    held: Sequence[Held],
    scales: Mapping[str, float],
) -> Tensor:
    """`Familiar.normals` of the sets in this order.

    Args:
        sets: names of the products.
        alone, held: of `measure`.
        scales: of WAYS, by which logits are multiplied.
    """
    normals = torch.full((len(sets), len(WAYS), 4), torch.nan, dtype=torch.float64)
    for row, name in enumerate(sets):
        groups: dict[str, dict[Product, list[float]]] = {way: defaultdict(list) for way in WAYS}
        for product, values in alone.items():
            if product[0] == name:
                groups["alone"][product] += values
        for one in held:
            if one.product[0] == name:
                groups["lone" if one.shots == 1 else "held"][one.product] += one.unseen
        for place, way in enumerate(WAYS):
            pictures = sum(len(values) for product, values in alone.items() if product in groups[way])
            if pictures >= LEAST:
                prior = prior_of(groups[way])
                numbers = [scales[way] * value for value in (prior.mean, prior.between, prior.within)]
                normals[row, place] = torch.tensor([*numbers, pictures])
    return normals


def sides_held(sets: Sequence[str], held: Sequence[Held], way: str, scale: float) -> Sides:
    """What pictures of the sets score with references, "lone" or "held" of WAYS, logits times `scale`."""
    sides: Sides = {}
    for name in sets:
        mine = [one for one in held if one.product[0] == name and one.anomalous and (one.shots == 1) is (way == "lone")]
        sides[name] = (
            [scale * value for one in mine for value in one.unseen],
            [scale * value for one in mine for value in one.anomalous],
        )
    return sides
