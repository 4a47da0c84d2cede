"""Chooses how far a picture's own odd patches count beside what was trained, on pictures of the training folds.

python -m finetune.oddness --data DIR --stranger embedded-open

What was trained ranks products that it knows, and less well those that it has never seen. How far the oddest patches of
a picture are from their like in it and in its mirror images (`assistant.reference.oddness`) is trained on nothing. The
gain that ranks best in the mean of both kinds of products is written into config.json.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from data.schema import Record
from finetune.fusion import judges_of

GAINS = (0.0, 1.0, 2.0, 3.5, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Logits for each unit of distance; pictures differ by about 0.1."""
PICTURES = 48
"""Pictures of a set, category and label that are judged; those that no weight was fitted on come first."""
KNOWN, NEW = "known", "new"
Scores = Mapping[tuple[str, str], Sequence[tuple[int, float, float]]]
"""(KNOWN or NEW, set): (label, image logit without a gain, oddness) of each picture."""


def chosen_records(records: Sequence[Record], seed: int = 0) -> list[Record]:
    """At most PICTURES of each set, category and label of the sets with both labels, held-out ones first."""
    groups: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.split in ("fit", "calibrate"):
            groups[record.dataset, record.category, record.label].append(record)
    labels = defaultdict(set)
    for dataset, _, label in groups:
        labels[dataset].add(label)
    rng, found = np.random.default_rng(seed), []
    for (dataset, _, _), group in sorted(groups.items()):
        if len(labels[dataset]) == 2:
            mixed = [group[index] for index in rng.permutation(len(group))]
            found += sorted(mixed, key=lambda record: record.split != "calibrate")[:PICTURES]
    return found


def mean_auroc(scores: Scores, kind: str, gain: float) -> float:
    """Image AUROC at a gain, mean over the sets of KNOWN or NEW products that have both labels."""
    found = []
    for (of, _), rows in scores.items():
        labels, logits, odd = np.array(rows).T
        if of == kind and len(set(labels)) == 2:
            found.append(roc_auc_score(labels, logits + gain * odd))
    return float(np.mean(found)) if found else float("nan")


def best_gain(scores: Scores) -> tuple[float, dict[float, tuple[float, float]]]:
    """The gain with the best mean of known and new products, and (known, new) image AUROC of each of GAINS."""
    table = {gain: (mean_auroc(scores, KNOWN, gain), mean_auroc(scores, NEW, gain)) for gain in GAINS}
    return max(table, key=lambda gain: float(np.nanmean(table[gain]))), table


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[
        str, typer.Option(help="A profile that has not learned from most sets judges products as new.")
    ] = "",
    profile: Annotated[str, typer.Option(help="Its config.json gets the gain.")] = "embedded",
) -> None:
    """Chooses the gain and rewrites config.json."""
    chosen = read_profile(profile)
    if chosen.checkpoint:
        raise RecordError(f"Looks of {profile} are not held against mirror images: nothing is chosen for it.")
    records, model, sight, strangers = judges_of(data, chosen, stranger)
    unseen, judge = strangers[0] if strangers else ((), model)
    model.config.oddness = judge.config.oddness = 0.0
    scores: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for record in tqdm(chosen_records(records), desc="pictures"):
        with torch.inference_mode():
            features = model.see(sight.pixels(record.read_image()))
            odd = float(model.odd(features, model.config.mirrors))
            differences = model.compare(features, None)
            for kind, one, counts in (
                (KNOWN, model, record.split == "calibrate"),
                (NEW, judge, record.dataset in unseen),
            ):
                if counts:
                    logit = float(one.decide(features, differences).score_logit[0])
                    scores[kind, record.dataset].append((record.label, logit, odd))
    gain, table = best_gain(scores)
    for tried, (known, new) in table.items():
        typer.echo(f"gain {tried:4.1f}: image AUROC of known products {known:.3f}, of new ones {new:.3f}")
    file = chosen.weights / "config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    aside = file.with_suffix(".partial")
    aside.write_text(json.dumps(values | {"oddness": gain}, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)
    typer.echo(f"wrote {file}: oddness {gain}")


if __name__ == "__main__":
    run(main)
