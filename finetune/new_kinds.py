"""Sets how far the kind of defect that a look names of a new product is to be believed.

    python -m finetune.new_kinds --data DIR --left-out RUN [--profile NAME]

A head that names kinds is as sure of a product that it has never seen as of one that it knows, and mostly wrong.
Weights that were kept from sets name the kinds of those sets' training pictures, without references and beside some;
the kinds' logits are scaled by what makes their probabilities honest there (temperature scaling: Guo et al., ICML 2017,
arXiv 1706.04599, section 4.2). A kind that only the unseen sets have, which no weights can name, counts as well: users'
products have such defects too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy.optimize import minimize_scalar
from torch import Tensor
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.knowledge import canonical
from assistant.loading import compose
from assistant.look_model import LookModel
from assistant.memory import see
from assistant.profiles import read_profile
from assistant.weights import CALIBRATION_FILE
from data.schema import Record
from finetune.gain_cases import LEAST, MOST, Sight, memory_of
from finetune.leave_out import left_out_judges
from finetune.records import training_records

PICTURES = 14
"""Anomalous pictures of a product, at most MOST products of a set."""
DRAWS = ((0,), (0, 1, 2, 3))
"""References that they are held against as well, where a product has LEAST normal pictures."""


class Named(NamedTuple):
    """An anomalous picture of a new product: its set, the number of its true kind, the kinds' logits [kinds]."""

    dataset: str
    kind: int
    logits: Tensor


def named_by(
    own: LookModel, judges: Sequence[tuple[tuple[str, ...], LookModel]], records: Sequence[Record], sight: Sight
) -> list[Named]:
    """What judges say of pictures of the sets that they were kept from, without references and beside DRAWS.

    Args:
        own: the shipped weights, whose gains count.
        judges: of `leave_out.left_out_judges`.
        records: of the training fold.
        sight: of their tower.
    """
    numbers = {name: number for number, name in enumerate(own.config.heatmap_config.kinds)}
    products: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        products[record.dataset, record.category].append(record)
    found: list[Named] = []
    for unseen, judge in judges:
        judge.config = own.config
        judge.heatmap.references.load_state_dict(own.heatmap.references.state_dict())  # chosen, not trained
        for dataset in unseen:
            mine = [group for (name, _), group in sorted(products.items()) if name == dataset]
            mine = [group for group in mine if any(canonical(one.defect) in numbers for one in group if one.label)]
            for group in tqdm(mine[:MOST], desc=dataset, unit="product"):
                for kind, logits in _of_product(judge.eval(), group, sight, numbers):
                    found.append(Named(dataset, kind, logits))
    return found


def _of_product(
    judge: LookModel, group: Sequence[Record], sight: Sight, numbers: dict[str, int]
) -> Iterable[tuple[int, Tensor]]:
    rng = np.random.default_rng(len(group))
    mixed = [group[index] for index in rng.permutation(len(group))]
    normal = [record for record in mixed if not record.label]
    odd = [record for record in mixed if record.label and canonical(record.defect) in numbers][:PICTURES]
    memories = []
    with torch.inference_mode():
        if len(normal) >= LEAST:
            pictures = [record.read_image() for record in normal[: 1 + max(map(max, DRAWS))]]
            size = sight.fit_size(pictures[0].shape[1], pictures[0].shape[0])
            seen = [see(judge, sight.pixels(pixels, size)) for pixels in pictures]
            memories = [memory_of(judge, [seen[index] for index in draw]) for draw in DRAWS]
        for record in odd:
            features = judge.see(sight.pixels(record.read_image()))
            for memory in (None, *memories):
                output = judge.decide(features, judge.compare(features, memory))
                yield numbers[canonical(record.defect)], output.kind_logits[0]


def kind_scale(named: Sequence[Named]) -> float:
    """`Calibration.kind_scale`, 0..1, by which the true kinds are likeliest; sets weigh the same.

    Raises:
        RecordError: there is no picture.
    """
    sets: dict[str, list[Named]] = defaultdict(list)
    for one in named:
        sets[one.dataset].append(one)
    if not sets:
        raise RecordError("No set that weights were kept from has pictures of a known kind of defect.")
    pairs = [(torch.stack([one.logits for one in group]), torch.tensor([one.kind for one in group]))
             for group in sets.values()]  # fmt: skip

    def surprise(scale: float) -> float:
        return float(np.mean([float(F.cross_entropy(scale * logits, kinds)) for logits, kinds in pairs]))

    return float(minimize_scalar(surprise, bounds=(0, 1), method="bounded").x)


def likely_and_right(named: Sequence[Named], scale: float, likely: float) -> tuple[float, float]:
    """Shares 0..1 of the pictures whose likeliest kind has at least this probability, and of those that are right."""
    shares = [torch.softmax(scale * one.logits, dim=0).max(dim=0) for one in named]
    sure = [int(index) == one.kind for one, (share, index) in zip(named, shares, strict=True) if float(share) >= likely]
    return len(sure) / len(named), float(np.mean(sure)) if sure else float("nan")


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    left_out: Annotated[Path, typer.Option(help="Run folder of finetune.leave_out.")],
    profile: Annotated[str, typer.Option(help="Its calibration.json gets the number.")] = "embedded",
) -> None:
    """Measures the scale and rewrites calibration.json."""
    chosen = read_profile(profile)
    loaded = compose(chosen, stage="look")
    records = [record for record in training_records(data, chosen) if record.split in ("fit", "calibrate")]
    named = named_by(loaded.model.look_model, left_out_judges(left_out, chosen), records, loaded.processor)
    scale = kind_scale(named)
    for name, factor in (("before", 1.0), ("after", scale)):
        sure, right = likely_and_right(named, factor, 0.5)
        told = f", {right:.3f} of those the true one" if sure else ""
        typer.echo(f"{name}: {sure:.3f} of {len(named)} looks have a kind of 50 % or more{told}")
    file = chosen.weights / CALIBRATION_FILE
    replace(loaded.calibration, kind_scale=scale).save(file)
    typer.echo(f"wrote {file}: kinds of new products count {scale:.3f}")


if __name__ == "__main__":
    run(main)
