"""Pictures that are taken twice: what a reference that shows the very scene tells is chosen on them.

Photographs and boards are taken anew by us, in other light, shifted and turned a little. Some sets have takes of their
own: a casting that was laid down twice. These differ as takes on a line do, which is more, and judge the score; into
half of them a defect is drawn. Were defective pictures of others put beside them, which no reference comes to lie
under, the mere fact that one does would tell the two apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from assistant.registration import grey_of, transform
from data.augment import retake
from data.pairs import SET, pairs_of
from data.schema import Record
from data.synth import draw_defect
from finetune.gain_cases import Picture, Sight, products_of

PHOTOGRAPHS = 8
"""Photographs of each set that are taken twice."""
BOARDS = 24
"""Boards, those first that no weight was fitted on: what is wrong with them was not drawn by us."""
SCENES, LEAST_AGAIN = 40, 4
"""Normal pictures of a product among which the same scenes are looked for, and how many there must be to count."""


def taken_twice(records: Sequence[Record], seed: int = 0) -> Iterator[tuple[str, np.ndarray, list[Picture]]]:
    """(set, reference, two other takes of it, one with a defect) of PHOTOGRAPHS normal pictures of each set."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.label == 0:
            groups[record.dataset].append(record)
    for dataset, group in sorted(groups.items()):
        rng = np.random.default_rng([seed, len(group)])
        for index in rng.permutation(len(group))[:PHOTOGRAPHS]:
            pixels = group[index].read_image()
            normal = _normal(retake(pixels, rng))
            defective = _defective(retake(pixels, rng), rng)
            if defective is not None:
                yield dataset, pixels, [normal, defective]


def boards_anew(records: Sequence[Record], seed: int = 0) -> Iterator[tuple[str, str, np.ndarray, list[Picture]]]:
    """("boards", set, template, the board and the template taken anew) of BOARDS boards; nothing without any."""
    boards = [record for record in records if record.dataset == SET]
    rng = np.random.default_rng([seed, len(boards)])
    pairs = sorted(pairs_of(boards), key=lambda pair: pair[0].split) if boards else []  # "calibrate" before "fit"
    for board, template in pairs[:BOARDS]:
        pixels = template.read_image()
        normal = _normal(retake(pixels, rng))
        yield "boards", SET, pixels, [normal, Picture(retake(board.read_image(), rng), None, 1)]


def scenes_again(
    records: Sequence[Record], sight: Sight, seed: int = 0
) -> Iterator[tuple[str, np.ndarray, list[Picture]]]:
    """(set, reference, the other take of it as it is and with a drawn defect) of products that have some taken twice.

    Where the defect lies is not told: see `registered.MODEST`.
    """
    rng = np.random.default_rng([seed, 1])
    for (dataset, _), (tested, known) in products_of(records).items():
        normals = [record.read_image() for record in [*(one for one in tested if not one.label), *known][:SCENES]]
        greys = [grey_of(sight.pixels(picture))[0].numpy() for picture in normals]
        other: dict[int, int] = {}
        for one in range(len(greys)):
            for number in range(one + 1, len(greys)):
                if one not in other and transform(greys[one], greys[number]) is not None:
                    other[one] = number
        if len(other) < LEAST_AGAIN:
            continue
        for one, number in other.items():
            defective = _defective(normals[one], rng)
            if defective is not None:
                yield dataset, normals[number], [_normal(normals[one]), defective._replace(mask=None)]


def _normal(pixels: np.ndarray) -> Picture:
    return Picture(pixels, np.zeros(pixels.shape[:2], bool), 0)


def _defective(pixels: np.ndarray, rng: np.random.Generator) -> Picture | None:
    """The picture with a drawn defect; None where nothing visible can be drawn."""
    try:
        drawn = draw_defect(pixels, rng)
    except ValueError:
        return None
    return Picture(drawn.image, drawn.mask, 1)
