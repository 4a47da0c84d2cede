"""Residuals by hand: what recurs is calm, what stands alone is not, and references decide where they are given."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from assistant.mirrors import VARIANTS, mirrored
from assistant.own_residual import directions, own_residual
from assistant.reference import (
    LEVEL_WEIGHTS,
    PATCHES,
    References,
    Residuals,
    nearest_residual,
    place_residual,
    residuals,
)


@pytest.fixture
def unit() -> torch.Tensor:
    """[4, 12, 12] unit vectors: two patterns in turn, and one odd patch at (5, 7)."""
    level = torch.zeros(4, 12, 12)
    level[0, ::2], level[1, 1::2] = 1, 1
    level[:, 5, 7] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    return level


def test_a_patch_without_its_like_in_the_picture_stands_out(unit):
    residual = own_residual(unit, radius=1)
    assert residual[5, 7] == pytest.approx(2**0.5)  # a right angle to everything else
    residual[5, 7] = 0
    assert residual.abs().max() < 1e-3


def test_near_patches_do_not_vouch_for_each_other(unit):
    unit[:, 5, 8] = unit[:, 5, 7]
    assert own_residual(unit, radius=1)[5, 7] > 1
    assert own_residual(unit, radius=0)[5, 7] < own_residual(unit, radius=1)[5, 7]


def test_the_nearest_patch_of_any_reference_counts(unit):
    blank, same = torch.zeros_like(unit), unit.clone()
    blank[3] = 1
    assert nearest_residual(unit, blank[None]).min() == pytest.approx(2**0.5)
    assert nearest_residual(unit, torch.stack([blank, same])).max() < 1e-3


def test_more_patches_than_are_taken_at_once_come_out_alike():
    torch.manual_seed(1)
    unit, known = torch.randn(4, 30, 31), torch.randn(3, 4, 20, 30)
    assert PATCHES < 30 * 31 and (30 * 31) % PATCHES
    unit, known = F.normalize(unit, dim=0), F.normalize(known, dim=1)
    every = torch.cdist(unit.flatten(1).T, known.transpose(0, 1).flatten(1).T).amin(dim=1)
    assert torch.allclose(nearest_residual(unit, known).flatten(), every, atol=1e-3)


def test_in_place_a_shift_beyond_the_radius_is_seen(unit):
    assert place_residual(unit, unit.roll((1, 1), (1, 2))[None], radius=1)[3:9, 3:9].max() < 1e-3
    moved = place_residual(unit, unit.roll((3, 3), (1, 2))[None], radius=1)
    assert moved[5, 7] > 1  # somewhere else the reference has such a patch, here it has not
    assert nearest_residual(unit, unit.roll((3, 3), (1, 2))[None])[5, 7] < 1e-3


def test_other_grids_have_no_same_place(unit):
    other = unit[None, :, :8, :8]
    assert torch.equal(place_residual(unit, other, 1), nearest_residual(unit, other))


def test_without_references_only_the_own_channel_speaks():
    levels = tuple(torch.randn(2, 8, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 8, 4))
    memory = References(tuple(level[:1] for level in levels), 1)
    mixed = residuals(levels, [None, memory])
    assert mixed.given.tolist() == [0, 1]
    for level in mixed.maps:
        assert level.shape[1] == 3 and level[:, 0].any()
        assert not level[0, 1:].any() and level[1, 1:].any()
    assert not mixed.difference[0].any() and mixed.difference[1].any()
    same = residuals(levels, [memory, None])
    assert same.maps[0][0, 1:].abs().max() < 1e-2  # a picture does not differ from itself


def test_directions_have_length_one():
    assert torch.allclose(directions(torch.randn(1, 6, 5, 5)).norm(dim=1), torch.ones(1, 5, 5))


def test_a_picture_stands_before_its_mirror_images():
    pictures = torch.rand(2, 3, 4, 6)
    rows = mirrored(pictures)
    assert rows.shape == (2 * VARIANTS, 3, 4, 6) and torch.equal(rows[::VARIANTS], pictures)
    assert torch.equal(rows[VARIANTS + 1], pictures[1].flip(2)) and torch.equal(rows[3], pictures[0].flip(1, 2))


def test_in_place_only_the_pictures_themselves_count(unit):
    levels = tuple(level[None] for level in (unit, unit, unit))
    memory = References(tuple(torch.cat([level, *[level.flip(3)] * (VARIANTS - 1)]) for level in levels), 1)
    turned = tuple(level.flip(3) for level in levels)
    maps = residuals(turned, [memory]).maps[0]
    assert maps[0, 1].max() < 1e-2 < maps[0, 2].max()


def test_the_distance_is_nothing_without_references_and_grows_with_the_difference(unit):
    level = unit[None]
    memory = References((level, level, level), 1)
    odd = level.clone()
    odd[0, :, 8:10, 2:4] = torch.tensor([0.0, 0.0, 0.0, 1.0])[:, None, None]
    alone, same, differs = (
        residuals((seen,) * 3, [held]) for seen, held in ((odd, None), (level, memory), (odd, memory))
    )
    assert not alone.distance.any() and differs.distance.shape == (1, 1, 12, 12)
    assert differs.top > same.top + 0.5 and differs.distance[0, 0, 2, 9] < 0.01


def test_levels_count_by_their_weight_and_a_top_is_the_mean_of_the_farthest():
    maps = tuple(torch.zeros(1, 3, side, side) for side in (10, 5, 5))
    for level, value in zip(maps, (0.1, 0.2, 0.4), strict=True):
        level[:, 1] = value
    maps[0][0, 1, 0, :2] = 1.1
    weights = torch.tensor(LEVEL_WEIGHTS[:3])
    found = residuals_of(maps)
    usual = float((torch.tensor([0.1, 0.2, 0.4]) * weights).sum() / weights.sum())
    assert float(found.distance[0, 0, 5, 5]) == pytest.approx(usual)
    assert float(found.top[0]) == pytest.approx(usual + float(weights[0] / weights.sum()))  # 2 of 100
    assert float(found.bulk[0]) == pytest.approx(usual)


def residuals_of(maps):
    return Residuals(maps, torch.zeros(1, 8, 5, 5), torch.ones(1))
