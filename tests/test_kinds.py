"""What kind of defect: shape facts by hand, and what a calm look does not name."""

from __future__ import annotations

import pytest
import torch

from assistant.kinds import likely_kinds, shape_facts
from assistant.types import Region

NAMES = ("crack", "hole", "scratch", "dent")
SPOT = Region((0, 0, 4, 4), "centre", 0.01, 0.9, 0.8, "darker", "compact")


def lit(rows: slice, columns: slice) -> torch.Tensor:
    lit_map = torch.zeros(1, 1, 64, 64)
    lit_map[0, 0, rows, columns] = 1
    return lit_map


def test_a_line_is_longer_than_a_disc_of_the_same_area():
    line, square = shape_facts(lit(slice(30, 32), slice(8, 56)))[0], shape_facts(lit(slice(27, 37), slice(27, 37)))[0]
    assert line[0] == pytest.approx(square[0].item(), abs=0.02)  # 96 and 100 cells
    assert line[1] == square[1] == 1
    assert line[2] > square[2] + 1  # elongation
    assert line[3] > square[3]  # spread
    assert square[2].abs() < 0.01


def test_shape_facts_are_finite_for_an_empty_and_a_full_map():
    for value in (0.0, 1.0):
        assert torch.isfinite(shape_facts(torch.full((1, 1, 8, 8), value))).all()


def test_kinds_come_likeliest_first_with_probabilities():
    kinds = likely_kinds(0.8, (), torch.tensor([0.0, 2.0, 1.0, -1.0]), NAMES)
    assert [name for name, _ in kinds] == ["hole", "scratch", "crack"]
    assert sum(share for _, share in kinds) < 1 and kinds[0][1] > kinds[1][1] > kinds[2][1]


def test_a_calm_look_names_no_kind_unless_the_map_is_lit():
    logits = torch.tensor([3.0, 0.0, 0.0, 0.0])
    assert likely_kinds(0.1, (), logits, NAMES) == ()
    assert likely_kinds(0.1, (SPOT,), logits, NAMES)[0][0] == "crack"
