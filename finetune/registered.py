"""How far a picture counts that differs, place by place, from the reference that is brought under it.

    python -m finetune.registered --data DIR [--stranger embedded-open]

Chosen on pictures that are taken twice, see `takes`: drawn products, photographs of the training folds held against
another take of themselves, and normal pictures of which the training folds have another take, with a drawn defect in
half of them, and boards beside their templates. Three numbers from short lists, judged by the weights themselves and by
those of a profile that has not learned from a picture's set; they are written into config.json. What they are of stands
in `assistant.registration`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.look_model import LookModel
from assistant.memory import see
from assistant.own_residual import top_mean
from assistant.profiles import Profile, read_profile
from assistant.reference import TOP_SHARE
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts
from data.schema import Record
from finetune.fusion import stranger_of
from finetune.gain_cases import OWN_PRODUCTS, Picture, PlainSight, own_product, regions_of
from finetune.gain_choices import cover
from finetune.known_products import OWN_SET
from finetune.records import training_records
from finetune.stage import new_model, rewrite_config
from finetune.takes import boards_anew, scenes_again, taken_twice

SCORE_GAINS = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
"""Logits of the score for each unit of the mean `registration.excess` of the top places."""
USUALS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""That mean in a normal picture: the very scene differs a little in other light, and else it speaks for the picture."""
MAP_GAINS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Logits of the map for each unit of it."""
MODEST = 0.005
"""Of map gains that are as good as the best, to this, the least is taken: the takes that judge them are drawn by us and
differ less than real ones, which judge the score too.
"""


@dataclass(frozen=True, eq=False)
class Case:
    """A picture as one judge sees it beside its reference.

    Attributes:
        group: the kind of product, and whether the judge knows it.
        label: 0 or 1.
        score: image logit without registration.
        top: mean `registration.excess` of its top places; 0 where nothing was registered.
        logits, excess: [h, w] of the map without registration, and what may be added to it.
        regions: [h, w] int of `gain_cases.regions_of`, None where the place of an anomaly is not known.
        laid: whether the reference was laid under the picture.
    """

    group: tuple[str, bool]
    label: int
    score: float
    top: float
    logits: np.ndarray
    excess: np.ndarray
    regions: np.ndarray | None
    laid: bool = True


class Gains(NamedTuple):
    """What `choose` finds: gain of the score, `Case.top` of a normal picture, gain of the map."""

    score: float
    usual: float
    map: float


def cases_of(
    group: str,
    reference: np.ndarray,
    takes: Sequence[Picture],
    judges: Sequence[tuple[bool, LookModel]],
    sight: PlainSight,
) -> Iterator[Case]:
    """Every take as every judge, (whether it knows the product, weights), sees it beside the reference."""
    model = judges[0][1]
    with torch.inference_mode():
        memory = see(model, sight.pixels(reference)).part
        for picture in takes:
            features = model.see(sight.pixels(picture.pixels))
            differences = model.compare(features, memory)
            cells = tuple(features.levels[0].shape[-2:])
            excess = torch.zeros(1, 1, *cells) if differences.registered is None else differences.registered[:1]
            for known, judge in judges:
                plain = replace(differences, registered=None, known=torch.full_like(differences.given, float(known)))
                output = judge.decide(features, plain)
                yield Case(
                    (group, known), picture.label, float(output.score_logit[0]), float(top_mean(excess, TOP_SHARE)[0]),
                    output.heatmap_logits[0, 0].numpy(), excess[0, 0].numpy(), regions_of(picture.mask, cells),
                    differences.registered is not None,
                )  # fmt: skip


def choose(
    cases: Sequence[Case],
    score_gains: Sequence[float] = SCORE_GAINS,
    map_gains: Sequence[float] = MAP_GAINS,
    modest: tuple[float, float] = (0.0, MODEST),
    usuals: Sequence[float] = (0.0,),
) -> Gains:
    """The least gains of score and map that serve best, to `modest`: image AUROC and `gain_choices.cover`, group means.

    Of the least gain of the score the usual excess that serves best with it.

    Raises:
        RecordError: no group has takes with and without a defect.
    """
    groups: dict[tuple[str, bool], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    both = {group: found for group, found in groups.items() if len({case.label for case in found}) == 2}
    placed = {group: [case for case in found if case.regions is not None] for group, found in both.items()}
    placed = {group: found for group, found in placed.items() if any(case.label for case in found)}
    if not placed:
        raise RecordError("There are no pictures with and without a defect, and its place, to choose on.")
    pairs = [(gain, usual) for gain in score_gains for usual in usuals[: len(usuals) if gain else 1]]
    aurocs, covers = (
        {terms: {group: quality(found, *terms) for group, found in among.items()} for terms in tried}
        for quality, tried, among in ((_auroc, pairs, both), (_cover, [(gain,) for gain in map_gains], placed))
    )
    chosen: list[tuple[float, ...]] = []
    for name, table, near in zip(("image AUROC", "cover of regions"), (aurocs, covers), modest, strict=True):
        means = {terms: float(np.mean(list(found.values()))) for terms, found in table.items()}
        as_good = [terms for terms, mean in means.items() if mean >= max(means.values()) - near]
        best = min(as_good, key=lambda terms: (terms[0], -means[terms]))
        for terms, found in table.items():
            said = ", ".join(
                f"{group}{'' if known else ' (new)'} {value:.3f}" for (group, known), value in found.items()
            )
            typer.echo(f"{name} with {', '.join(map(str, terms))}: {means[terms]:.3f}: {said}")
        chosen.append(best)
    return Gains(*chosen[0], *chosen[1])


def _auroc(cases: Sequence[Case], gain: float, usual: float) -> float:
    scores = [case.score + case.laid * gain * (case.top - usual) for case in cases]
    return float(roc_auc_score([case.label for case in cases], scores))


def _cover(cases: Sequence[Case], gain: float) -> float:
    return cover([(case.logits + gain * case.excess, case.regions) for case in cases])


def judges_beside(
    data: Path, chosen: Profile, stranger: str
) -> tuple[list[Record], LookModel, list[tuple[tuple[str, ...], LookModel]]]:
    """Pictures of the training folds, the weights of a profile, and who judges which sets as new, with its gains.

    Args:
        data: folder with manifest.jsonl.
        chosen: the profile that something is chosen for.
        stranger: name of a profile as of `fusion.stranger_of`; "" for none.

    Raises:
        RecordError: a look of the profile is not compared place by place.
    """
    if chosen.checkpoint:
        raise RecordError(f"Looks of {chosen.name} are not compared place by place: nothing is chosen for it.")
    records = [record for record in training_records(data, chosen) if record.split in ("fit", "calibrate")]
    model = new_model(chosen).eval()
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    strangers = stranger_of(stranger, records, chosen) if stranger else []
    for _, judge in strangers:  # only what they have learned from pictures is theirs
        judge.heatmap.references.load_state_dict(model.heatmap.references.state_dict())
        judge.config = model.config
    return records, model, strangers


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[str, typer.Option(help="A profile that judges the sets that it has not learned from.")] = "",
    profile: Annotated[str, typer.Option(help="Its config.json gets the numbers.")] = "embedded",
) -> None:
    """Chooses the numbers and rewrites config.json."""
    chosen = read_profile(profile)
    records, model, strangers = judges_beside(data, chosen, stranger)
    sight, cases = PlainSight(model.config.vision_config), []
    photographs = (("photographs", *taken) for taken in taken_twice(records))
    again = ((f"{dataset} again", dataset, *taken) for dataset, *taken in scenes_again(records, sight))
    for kind, among in (("photographs", photographs), ("boards", boards_anew(records)), ("scenes", again)):
        for group, dataset, reference, takes in tqdm(among, desc=kind):
            judges = [(True, model), *((False, judge) for unseen, judge in strangers if dataset in unseen)]
            cases += cases_of(group, reference, takes, judges, sight)
    judge = strangers[0][1] if strangers else model
    for number in tqdm(range(OWN_PRODUCTS), desc="drawn products"):
        takes, known = own_product(number)
        cases += cases_of(OWN_SET, known[0], takes, [(False, judge)], sight)
    score, usual, drawn = choose(cases, usuals=USUALS)
    file = rewrite_config(chosen, {"registered_score": score, "registered_usual": usual, "registered_map": drawn})
    typer.echo(
        f"wrote {file}: what differs in place counts {score} in the score, beyond {usual}, and {drawn} in the map"
    )


if __name__ == "__main__":
    run(main)
