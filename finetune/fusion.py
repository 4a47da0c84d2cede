"""How far normal references count beside what was trained, in the map and in the score.

    python -m finetune.fusion --data DIR [--stranger PROFILE] [--profile NAME]

Of a OneVision profile too, after its look stage: until then its references count by what the heatmap head has learned.

A few numbers are chosen, each from a short list, so that nothing can be overfitted: pictures of the training folds are
held against references of their product and judged twice, by the shipped weights, which know the product, and by those
of another profile that never saw its set. Without one only drawn products, which are new to everyone, say how far
references count on new ones. What the numbers do stands in `assistant.reference_gain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError, WeightsError
from assistant.loading import compose
from assistant.look_model import LookModel
from assistant.onevision import OneVisionLook
from assistant.profiles import Profile, read_profile
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from data.schema import Record
from finetune.gain_cases import (
    MOST_REFERENCES,
    OWN_PRODUCTS,
    Case,
    PlainSight,
    Sight,
    cases_of,
    own_product,
    pictured,
    products_of,
)
from finetune.gain_choices import choose
from finetune.known_products import OWN_SET
from finetune.records import training_records
from finetune.stage import new_model

Judge = LookModel | OneVisionLook


def clear_gains(model: Judge) -> Judge:
    """The model without anything by which references count beside what was trained."""
    with torch.no_grad():
        for parameter in model.heatmap.references.parameters():
            parameter.zero_()
    if isinstance(model, LookModel):
        model.config.registered_score = model.config.registered_usual = model.config.registered_map = 0.0
        model.config.misplaced_score = model.config.misplaced_map = 0.0
    return model


def shipped(chosen: Profile) -> tuple[Judge, Sight]:
    """The look weights of a profile, without gains, and how pictures reach its tower.

    Raises:
        WeightsError: there are none, or they have no heatmap head that gains belong to.
    """
    if chosen.checkpoint:
        loaded = compose(chosen, stage="look")
        look = loaded.model.look_model
        if not look.headed:
            raise WeightsError(
                f"The look of {chosen.name} has no heatmap head, in which references count.",
                "Train one with python -m finetune.look --go-on.",
            )
        return clear_gains(look), loaded.processor
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    return clear_gains(model.eval()), PlainSight(model.config.vision_config)


def stranger_of(profile: str, records: Sequence[Record], chosen: Profile) -> list[tuple[tuple[str, ...], Judge]]:
    """The weights of another profile with the sets among these that it has not learned from.

    Raises:
        RecordError: it has learned from all sets, or looks through another tower than the chosen one.
    """
    other = read_profile(profile)
    if (other.tower_package, other.checkpoint) != (chosen.tower_package, chosen.checkpoint):
        raise RecordError(f"The profile {profile} looks through another tower than {chosen.name}.")
    unseen = tuple(sorted({record.dataset for record in records} - set(other.training_sets or ())))
    if other.training_sets is None or not unseen:
        raise RecordError(f"The profile {profile} has learned from every set: it judges none as new.")
    return [(unseen, shipped(other)[0])]


def judges_of(
    data: Path, chosen: Profile, stranger: str = ""
) -> tuple[list[Record], Judge, Sight, list[tuple[tuple[str, ...], Judge]]]:
    """The training pictures, who judges them as known and how its tower sees, and who judges which sets as new.

    Args:
        data: folder with manifest.jsonl.
        chosen: the profile that something is chosen for.
        stranger: name of a profile as of `stranger_of`; "" for none.
    """
    records = list(training_records(data, chosen))
    return records, *shipped(chosen), stranger_of(stranger, records, chosen) if stranger else []


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[
        str, typer.Option(help="A profile that has not learned from most sets judges products as new.")
    ] = "",
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the new weights.")] = "embedded",
) -> None:
    """Chooses the gains and rewrites the look weights."""
    chosen = read_profile(profile)
    records, model, sight, strangers = judges_of(data, chosen, stranger)
    cases: list[Case] = []
    for product, (tested, known) in tqdm(products_of(records).items(), desc="products"):
        drawn = np.random.default_rng(0).permutation(len(known))[:MOST_REFERENCES]
        references = [known[index].read_image() for index in drawn]
        strange = [judge for group, judge in strangers if product[0] in group]
        cases += cases_of(product, pictured(tested), references, {True: [model], False: strange}, sight)
    judge = strangers[0][1] if strangers else model
    for number in tqdm(range(OWN_PRODUCTS), desc="drawn products"):
        cases += cases_of((OWN_SET, str(number)), *own_product(number), {False: [judge]}, sight)
    model.heatmap.references.load_state_dict(choose(cases).state_dict())
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(main)
