"""Pictures that are taken twice: real takes are found among normal pictures, and half of them get a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.augment import retake
from data.schema import Record
from finetune import gain_cases
from finetune.gain_cases import Picture, PlainSight
from finetune.takes import LEAST_AGAIN, scenes_again
from tests.test_registration import board
from tests.tiny import tiny_config

NORMALS = 12


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product is judged by NORMALS pictures."""
    monkeypatch.setattr(gain_cases, "PICTURES", NORMALS - gain_cases.LEAST)


def scenes_of(
    folder: Path, twice: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[tuple[str, np.ndarray, list[Picture]]]]:
    """Boards, other takes of the first `twice` of them, and what is found in their product."""
    rng = np.random.default_rng(0)
    boards = [board(seed) for seed in range(NORMALS - twice)]
    others = [retake(one, rng) for one in boards[:twice]]
    records = []
    for number, pixels in enumerate([*boards, *others, boards[-1]]):  # the last one stands for an anomalous picture
        Image.fromarray(pixels).save(folder / f"{number}.png")
        label = int(number == len(boards) + twice)
        records.append(Record(folder / f"{number}.png", label, "boards", "one", split="fit"))
    return boards, others, list(scenes_again(records, PlainSight(tiny_config().vision_config)))


def test_scenes_that_were_taken_twice_are_found_and_half_of_them_get_a_defect(tmp_path: Path):
    boards, others, found = scenes_of(tmp_path, LEAST_AGAIN + 2)
    assert LEAST_AGAIN <= len(found) <= len(others)
    for dataset, reference, (normal, defective) in found:
        assert dataset == "boards" and (normal.label, defective.label) == (0, 1) and not normal.mask.any()
        pair = [next(n for n, two in enumerate(zip(boards, others, strict=False)) if any(np.array_equal(shown, one)
                for one in two)) for shown in (reference, normal.pixels)]  # fmt: skip
        assert pair[0] == pair[1] and not np.array_equal(reference, normal.pixels)  # the two takes of one board
        changed = (defective.pixels != normal.pixels).any(axis=-1)
        assert defective.mask is None and 0 < changed.mean() < 0.5


def test_a_product_of_which_few_scenes_were_taken_twice_judges_nothing(tmp_path: Path):
    assert not scenes_of(tmp_path, LEAST_AGAIN - 1)[2]
