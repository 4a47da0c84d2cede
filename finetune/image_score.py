"""Chooses what the image score is made of, on pictures of the training folds and by judges that know them or do not.

    python -m finetune.image_score --data DIR [--stranger embedded-open] [--left-out RUN]

Training ends with a layer that makes the score from the selector, the map and the picture's own residuals. It serves
the products that it was fitted on; the map alone, which is trained pixel by pixel, may serve others better, and so may
the oddest patches of a picture (`assistant.reference.oddness`), which are trained on nothing. How far the layer counts
beside the map alone, and the odd patches beside both, are the two numbers from short lists that rank best in the mean
of all judges: the weights themselves on pictures held out of their training, on sets that they have never seen the
weights of another profile and those of `finetune.leave_out`, and these strangers on drawn products of every family, for
the photographed sets are surfaces more often than objects. They are written into config.json.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from finetune.leave_out import left_out_judges
from finetune.records import training_records, two_sided
from finetune.stage import rewrite_config

SHARES = (0.0, 0.5, 1.0)
"""How far the trained layer counts, the rest being the map alone."""
GAINS = (0.0, 1.0, 2.0, 3.5, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Logits for each unit of distance; pictures differ by about 0.1."""
PICTURES = 24
"""Pictures of a set, category and label that are judged; those that no weight was fitted on come first."""
TIE = 0.002
"""Image AUROC by which two scores must differ, or the one with less of the trained layer is taken."""
SCENES = 2
"""Drawn products of each family."""
FIRST_DRAWN = 1000
"""Number of the first of them; `finetune.fusion` is fitted on other ones."""
KNOWN, OTHER, LEFT_OUT, DRAWN = "known", "new to the other profile", "left out of a training", "drawn products"


@dataclass(frozen=True)
class Judged:
    """A picture as a judge sees it: image logits of its trained layer and of its map alone, and `oddness`."""

    label: int
    layer: float
    drawn: float
    odd: float

    def score(self, share: float, gain: float) -> float:
        """The image logit at one of SHARES and one of GAINS."""
        return share * self.layer + (1 - share) * self.drawn + gain * self.odd


Scores = Mapping[tuple[str, str], Sequence[Judged]]
"""(who judges, set): its pictures."""
Table = dict[tuple[float, float], dict[str, float]]
"""(share, gain): image AUROC by who judges, mean of the sets."""


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


def mean_auroc(scores: Scores, who: str, share: float, gain: float) -> float:
    """Image AUROC at a share and a gain by one judge, mean over the sets that have both labels; NaN without any."""
    found = []
    for (judge, _), rows in scores.items():
        labels = [one.label for one in rows]
        if judge == who and len(set(labels)) == 2:
            found.append(roc_auc_score(labels, [one.score(share, gain) for one in rows]))
    return float(np.mean(found)) if found else float("nan")


def best_score(scores: Scores) -> tuple[tuple[float, float], Table]:
    """The share and the gain with the best mean over the judges, and what each pair gives by judge.

    Of what is as good as the best, to TIE, it is the best one with the least share.
    """
    judges = sorted({who for who, _ in scores})
    table = {pair: {who: mean_auroc(scores, who, *pair) for who in judges} for pair in itertools.product(SHARES, GAINS)}
    means = {pair: float(np.nanmean(list(found.values()))) for pair, found in table.items()}
    good = [pair for pair in means if means[pair] >= max(means.values()) - TIE]
    return min(good, key=lambda pair: (pair[0], -means[pair])), table


def judged(judge: Judge, features: VisionFeatures, label: int) -> Judged:
    """One picture's features, of `LookModel.see`, as a judge sees them."""
    differences = judge.compare(features, None)
    output = judge.decide(features, differences)
    odd = judge.odd(features, differences, judge.config.mirrors)
    return Judged(label, float(output.score_logit[0]), float(output.map_logit[0]), float(odd))


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[str, typer.Option(help="A profile that has not learned from most sets judges those.")] = "",
    left_out: Annotated[
        Path | None, typer.Option(help="Run folder of finetune.leave_out: its weights judge what they were kept from.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Its config.json gets both numbers.")] = "embedded",
) -> None:
    """Chooses both numbers and rewrites config.json."""
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
    scores: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for record in tqdm(chosen_records(records), desc="pictures"):
        mine = [(who, judge) for who, unseen, judge in judges if record.dataset in unseen]
        if record.split == "calibrate":
            mine.append((KNOWN, model))
        with torch.inference_mode():
            features = model.see(sight.pixels(record.read_image())) if mine else None
            for who, judge in mine:
                scores[who, record.dataset].append(judged(judge, features, record.label))
    strangers = [judge for _, _, judge in judges] or [model]
    for number in tqdm(range(SCENES * len(PRODUCTS)), desc="drawn products"):
        for picture in own_product(FIRST_DRAWN + number, PRODUCTS[number % len(PRODUCTS)])[0]:
            with torch.inference_mode():
                features = model.see(sight.pixels(picture.pixels))
                for place, judge in enumerate(strangers):
                    scores[DRAWN, f"{number}, judge {place}"].append(judged(judge, features, picture.label))
    (share, gain), table = best_score(scores)
    for (layer, odd), found in table.items():
        said = ", ".join(f"{who} {value:.3f}" for who, value in found.items())
        typer.echo(f"layer {layer:.1f}, odd patches {odd:4.1f}: image AUROC {said}")
    file = rewrite_config(chosen, {"fusion_share": share, "oddness": gain})
    typer.echo(f"wrote {file}: the trained layer counts {share}, odd patches {gain}")


if __name__ == "__main__":
    run(main)
