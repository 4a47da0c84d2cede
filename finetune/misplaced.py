"""How far a place counts that is beyond what several references show there, of products that are new to the model.

    python -m finetune.misplaced --data DIR [--stranger embedded-open]

Chosen on pictures of the training folds, judged by the weights of a profile that has not learned from their set, and on
drawn products, also with a part of them missing, each held against three and four references. Two numbers from short
lists are written into config.json; what they multiply stands in `assistant.in_place`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import typer
from tqdm import tqdm

from assistant.command import run
from assistant.in_place import SHARE
from assistant.look_model import LookModel
from assistant.memory import Seen, see
from assistant.own_residual import top_mean
from assistant.profiles import read_profile
from finetune.gain_cases import (
    OWN_PRODUCTS,
    Picture,
    PlainSight,
    memory_of,
    own_product,
    pictured,
    products_of,
    regions_of,
)
from finetune.known_products import OWN_SET
from finetune.registered import Case, choose, judges_beside
from finetune.stage import rewrite_config

SCORE_GAINS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Logits of the score for each unit of the mean `Residuals.misplaced` of the top places."""
MAP_GAINS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Logits of the map for each unit of it."""
MODEST = (0.001, 0.005)
"""Of what is as good as the best, to this, the least gain of score and map is taken: normal pictures must stay dark."""
DRAWS = ((0, 1, 2), (0, 1, 2, 3))
"""Which of the references of a product pictures are held against, each in turn."""
MISSING = "part missing"
LEAST, MOST = 0.0008, 0.02
"""Share of a picture that a part that goes missing has."""
STANDS_OUT = 25
"""Distance, CIELAB as OpenCV scales it to bytes, from which a part stands out against its surroundings."""
SURROUNDINGS = 41
"""Side of the square whose median is taken for them, pixels."""
FRINGE = 9
"""Side by which a part's rim and shadow go with it, pixels."""


def without_part(picture: np.ndarray, rng: np.random.Generator) -> Picture | None:
    """A picture [H, W, 3] uint8 from which a compact part is gone as if it had never been there; None without any."""
    height, width = picture.shape[:2]
    tones, around = (
        cv2.cvtColor(one, cv2.COLOR_RGB2LAB).astype(np.float32)
        for one in (picture, cv2.medianBlur(picture, SURROUNDINGS))
    )
    apart = (np.linalg.norm(tones - around, axis=2) > STANDS_OUT).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(apart, cv2.MORPH_OPEN, np.ones((3, 3))))
    compact = []
    for number, (left, top, wide, high, area) in enumerate(stats):
        inside = min(left, top, width - left - wide, height - top - high) > FRINGE
        if number and inside and LEAST < area / (height * width) < MOST and 3 * area > wide * high:
            compact.append(number)
    if not compact:
        return None
    gone = cv2.dilate((labels == rng.choice(compact)).astype(np.uint8), np.ones((FRINGE, FRINGE)))
    return Picture(cv2.inpaint(picture, gone, 5, cv2.INPAINT_TELEA), gone > 0, 1)


def cases_of(
    group: str,
    tested: Sequence[Picture],
    known: Sequence[np.ndarray],
    judges: Sequence[LookModel],
    sight: PlainSight,
) -> Iterator[Case]:
    """Every picture against the references of each of DRAWS, as judges see it that do not know the product."""
    model = judges[0]
    size = sight.fit_size(known[0].shape[1], known[0].shape[0])
    with torch.inference_mode():
        seen: list[Seen] = [see(model, sight.pixels(pixels, size)) for pixels in known[: 1 + max(map(max, DRAWS))]]
        memories = [memory_of(model, [seen[row] for row in draw]) for draw in DRAWS]
        for picture in tested:
            features = model.see(sight.pixels(picture.pixels))
            cells = tuple(features.levels[0].shape[-2:])
            alone = {judge: judge.alone(features) for judge in judges}
            for memory in memories:
                differences = model.compare(features, memory)
                found = differences.misplaced
                beyond = torch.zeros(1, 1, *cells) if found is None else found[:1]
                plain = replace(differences, misplaced=None, known=torch.zeros_like(differences.given))
                drawn = F.interpolate(beyond, cells, mode="bilinear", align_corners=False)[0, 0].numpy()
                for judge in judges:
                    output = judge.decide(features, replace(plain, alone=alone[judge]))
                    yield Case(
                        (f"{group}, {memory.count} references", False), picture.label, float(output.score_logit[0]),
                        float(top_mean(beyond, SHARE)[0]), output.heatmap_logits[0, 0].numpy(), drawn,
                        regions_of(picture.mask, cells),
                    )  # fmt: skip


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    stranger: Annotated[str, typer.Option(help="A profile that judges the sets that it has not learned from.")] = "",
    profile: Annotated[str, typer.Option(help="Its config.json gets both numbers.")] = "embedded",
) -> None:
    """Chooses both numbers and rewrites config.json."""
    chosen = read_profile(profile)
    records, model, strangers = judges_beside(data, chosen, stranger)
    sight, cases = PlainSight(model.config.vision_config), []
    for (dataset, category), (tested, known) in tqdm(products_of(records).items(), desc="products"):
        judges = [judge for unseen, judge in strangers if dataset in unseen]
        if judges:
            pictures = [record.read_image() for record in known[: 1 + max(map(max, DRAWS))]]
            cases += cases_of(f"{dataset} {category}", list(pictured(tested)), pictures, judges, sight)
    judges = [judge for _, judge in strangers] or [model]
    for number in tqdm(range(OWN_PRODUCTS), desc="drawn products"):
        tested, known = own_product(number)
        cases += cases_of(OWN_SET, tested, known, judges, sight)
        normals, rng = [picture for picture in tested if not picture.label], np.random.default_rng(number)
        missing = [without_part(picture.pixels, rng) for picture in normals]
        if None not in missing:
            cases += cases_of(MISSING, normals + missing, known, judges, sight)
    score, _, drawn = choose(cases, SCORE_GAINS, MAP_GAINS, MODEST)
    file = rewrite_config(chosen, {"misplaced_score": score, "misplaced_map": drawn})
    typer.echo(f"wrote {file}: what is out of place counts {score} in the score and {drawn} in the map")


if __name__ == "__main__":
    run(main)
