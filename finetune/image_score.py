"""Chooses what the image score is made of, on pictures of the training folds and by judges that know them or do not.

    python -m finetune.image_score --data DIR [--stranger embedded-open] [--left-out RUN]

Training ends with a layer that makes the score from the selector, the map and the picture's own residuals. It serves
the products that it was fitted on; the map alone, which is trained pixel by pixel, may serve others better, and so may
the oddest patches of a picture (`own_residual.oddness`), which are trained on nothing. How far the layer counts
beside the map alone, the odd patches beside both, and in how many quarter turns of a picture of a new product these
must have no like either, are the three numbers from short lists that rank best in the mean of all judges: the weights
themselves on pictures held out of their training, on sets that they have never seen the weights of another profile and
those of `finetune.leave_out`, and these strangers on drawn products of every family, for the photographed sets are
surfaces more often than objects. They are written into config.json.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.profiles import read_profile
from assistant.vision import VisionFeatures
from data.products import PRODUCTS
from data.schema import Record
from finetune.fusion import Judge, shipped, stranger_of
from finetune.gain_cases import own_product
from finetune.leave_out import as_new, left_out_judges
from finetune.records import training_records, two_sided
from finetune.stage import rewrite_config

SHARES = (0.0, 0.5, 1.0)
"""How far the trained layer counts, the rest being the map alone."""
GAINS = (0.0, 1.0, 2.0, 3.5, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Logits for each unit of distance; pictures differ by about 0.1."""
TURNS = (0, 2, 4)
"""Quarter turns of a picture that odd patches of new products are held against: each costs time."""
PICTURES = 24
"""Pictures of a set, category and label that are judged; those that no weight was fitted on come first."""
TIE = 0.002
"""Image AUROC by which two scores must differ, or the one with less of the trained layer and fewer turns is taken."""
SCENES = 2
"""Drawn products of each family."""
FIRST_DRAWN = 1000
"""Number of the first of them; `finetune.fusion` is fitted on other ones."""
KNOWN, OTHER, LEFT_OUT, DRAWN = "known", "new to the other profile", "left out of a training", "drawn products"


@dataclass(frozen=True)
class Judged:
    """A picture as a judge sees it: image logits of its trained layer and of its map alone, `oddness` with TURNS."""

    label: int
    layer: float
    drawn: float
    odd: Mapping[int, float]

    def score(self, share: float, gain: float, turns: int) -> float:
        """The image logit at one of SHARES, one of GAINS and one of TURNS."""
        return share * self.layer + (1 - share) * self.drawn + gain * self.odd[turns]


Scores = Mapping[tuple[str, str], Sequence[Judged]]
"""(who judges, set): its pictures."""
Choice = tuple[float, float, int]
"""Of SHARES, GAINS and TURNS."""
Table = dict[Choice, dict[str, float]]
"""Image AUROC by who judges, mean of the sets."""


def chosen_records(records: Sequence[Record], seed: int = 0) -> list[Record]:
    """At most PICTURES of each set, category and label of the sets with both labels, held-out ones first."""
    training = [record for record in records if record.split in ("fit", "calibrate")]
    groups: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in (training[number] for number in two_sided(training)):
        groups[record.dataset, record.category, record.label].append(record)
    rng, found = np.random.default_rng(seed), []
    for _, group in sorted(groups.items()):
        mixed = [group[index] for index in rng.permutation(len(group))]
        found += sorted(mixed, key=lambda record: record.split != "calibrate")[:PICTURES]
    return found


def mean_auroc(scores: Scores, who: str, share: float, gain: float, turns: int) -> float:
    """Image AUROC of a choice by one judge, mean over the sets that have both labels; NaN without any."""
    found = []
    for (judge, _), rows in scores.items():
        labels = [one.label for one in rows]
        if judge == who and len(set(labels)) == 2:
            found.append(roc_auc_score(labels, [one.score(share, gain, turns) for one in rows]))
    return float(np.mean(found)) if found else float("nan")


def best_score(scores: Scores) -> tuple[Choice, Table]:
    """What has the best mean over the judges, and what each choice gives by judge.

    Share and gain are chosen without turns, for these serve new products alone: of what is as good as the best, to TIE,
    the best one with the least share. Beside them, the fewest turns that are as good as the best.
    """
    judges = sorted({who for who, _ in scores})
    choices = itertools.product(SHARES, GAINS, TURNS)
    table = {choice: {who: mean_auroc(scores, who, *choice) for who in judges} for choice in choices}
    means = {choice: float(np.nanmean(list(found.values()))) for choice, found in table.items()}
    still = [choice for choice in means if not choice[2]]
    most = max(means[choice] for choice in still)
    share, gain, _ = min(
        (choice for choice in still if means[choice] >= most - TIE), key=lambda choice: (choice[0], -means[choice])
    )
    beside = [(share, gain, turns) for turns in TURNS]
    most = max(means[choice] for choice in beside)
    return next(choice for choice in beside if means[choice] >= most - TIE), table


def judged(judge: Judge, features: VisionFeatures, label: int) -> Judged:
    """One picture as a judge sees it; features of `LookModel.see` with as many turns as there are in TURNS.

    A judge that knows the product is given features without turns.
    """
    differences = judge.compare(features, None)
    output = judge.decide(features, differences)
    odd = {}
    for turns in TURNS:
        turned = features.turned[:turns] if turns and features.turned is not None else None
        odd[turns] = float(judge.odd(replace(features, turned=turned), differences, judge.config.mirrors))
    return Judged(label, float(output.score_logit[0]), float(output.map_logit[0]), odd)


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[str, typer.Option(help="A profile that has not learned from most sets judges those.")] = "",
    left_out: Annotated[
        Path | None, typer.Option(help="Run folder of finetune.leave_out: its weights judge what they were kept from.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Its config.json gets the numbers.")] = "embedded",
) -> None:
    """Chooses the numbers and rewrites config.json."""
    chosen = read_profile(profile)
    if chosen.checkpoint:
        raise RecordError(f"Looks of {profile} are not held against mirror images: nothing is chosen for it.")
    records = list(training_records(data, chosen))
    model, sight = shipped(chosen)
    judges = [(OTHER, *one) for one in stranger_of(stranger, records, chosen)] if stranger else []
    judges += [(LEFT_OUT, *one) for one in left_out_judges(left_out, chosen)] if left_out else []
    mirrors = model.config.mirrors
    for judge in (model, *(judge for _, _, judge in judges)):
        judge.config.fusion_share, judge.config.oddness, judge.config.mirrors = 1.0, 0.0, mirrors
    model.config.turns = max(TURNS)  # by its tower all are seen
    scores: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for record in tqdm(chosen_records(records), desc="pictures"):
        mine = [(who, judge) for who, unseen, judge in judges if record.dataset in unseen]
        if record.split == "calibrate":
            mine.append((KNOWN, model))
        with torch.inference_mode():
            features = model.see(sight.pixels(record.read_image()), as_new) if mine else None
            for who, judge in mine:
                seen = replace(features, turned=None) if who == KNOWN else features
                scores[who, record.dataset].append(judged(judge, seen, record.label))
    strangers = [judge for _, _, judge in judges] or [model]
    for number in tqdm(range(SCENES * len(PRODUCTS)), desc="drawn products"):
        for picture in own_product(FIRST_DRAWN + number, PRODUCTS[number % len(PRODUCTS)])[0]:
            with torch.inference_mode():
                features = model.see(sight.pixels(picture.pixels), as_new)
                for place, judge in enumerate(strangers):
                    scores[DRAWN, f"{number}, judge {place}"].append(judged(judge, features, picture.label))
    (share, gain, turns), table = best_score(scores)
    for (layer, odd, number), found in table.items():
        said = ", ".join(f"{who} {value:.3f}" for who, value in found.items())
        typer.echo(f"layer {layer:.1f}, odd patches {odd:4.1f}, {number} turns: image AUROC {said}")
    file = rewrite_config(chosen, {"fusion_share": share, "oddness": gain, "turns": turns})
    typer.echo(f"wrote {file}: the trained layer counts {share}, odd patches {gain}, beside {turns} quarter turns")


if __name__ == "__main__":
    run(main)
