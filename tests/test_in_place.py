"""What is out of place: beyond what several references leave usual there, and only of new products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from assistant.errors import MemoryFileError
from assistant.in_place import MARGIN, out_of_place, spread_of
from assistant.look_model import LookModel
from assistant.memory import assemble, held_out, see
from assistant.memory_file import load_memory, save_memory
from assistant.mirrors import mirror
from assistant.own_residual import directions, own_maps
from assistant.reference import PLACE_RADIUS, References, apart, place_residual
from eval.compared import against, together
from finetune.misplaced import without_part
from tests.tiny import tiny_inspector, tiny_model


def flange(rng: np.random.Generator, without: int | None = None) -> np.ndarray:
    """A ring with six holes, or one fewer, [192, 192, 3] uint8, each time with other noise."""
    drawn = np.full((192, 192, 3), 200, np.uint8)
    cv2.circle(drawn, (96, 96), 80, (110, 114, 120), -1, cv2.LINE_AA)
    for hole in range(6):
        if hole != without:
            at = np.deg2rad(60 * hole)
            cv2.circle(drawn, (int(96 + 52 * np.cos(at)), int(96 + 52 * np.sin(at))), 9, (50, 52, 56), -1, cv2.LINE_AA)
    return np.clip(drawn + rng.normal(0, 2, drawn.shape), 0, 255).astype(np.uint8)


def pixels_of(picture: np.ndarray) -> torch.Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_what_is_usual_is_the_farthest_that_a_picture_is_from_its_nearest():
    between = torch.tensor([[0.0, 0.2, 0.6], [0.3, 0.0, 0.5], [0.7, 0.4, 0.0]]).view(3, 3, 1, 1)
    assert float(spread_of(between)) == pytest.approx(0.4)  # 0.2, 0.3 and 0.4 to the nearest other one
    wide = torch.zeros(2, 2, 1, 7)
    wide[0, 1, 0, 3] = 0.5
    assert spread_of(wide)[0].tolist() == [0, 0, 0, 0.5, 0, 0, 0]
    assert spread_of(wide[:1, :1]) is None and spread_of(torch.zeros(0, 0, 0, 0)) is None


def test_only_what_is_beyond_the_usual_and_beyond_the_rest_is_out_of_place():
    spread = torch.full((8, 8), 0.2)
    place = torch.full((3, 8, 8), 0.2)
    place[0, 2, 2] = 0.9
    place[1] += 0.3  # lies otherwise as a whole
    place[1, 2, 2] = 0.9
    found = out_of_place(place, [spread, spread, None])
    assert found.shape == (3, 1, 8, 8)
    assert float(found[0, 0, 2, 2]) == pytest.approx(0.7 - MARGIN) and int((found[0] > 0).sum()) == 1
    assert float(found[1, 0, 2, 2]) == pytest.approx(0.4 - MARGIN) and int((found[1] > 0).sum()) == 1
    assert not bool(found[2].any())
    assert out_of_place(place, [None, None, spread[:4]]) is None  # of a grid of another size


@torch.no_grad()
def test_a_missing_hole_is_out_of_place_beside_three_references_and_not_beside_fewer():
    model: LookModel = tiny_model()[0].look_model
    rng = np.random.default_rng(0)
    inspector = tiny_inspector()
    known = [see(model, pixels_of(flange(rng))) for _ in range(3)]
    features, whole = model.see(pixels_of(flange(rng, without=1))), model.see(pixels_of(flange(rng)))
    for few in (known[:1], known[:2]):
        assert model.compare(features, assemble(model, few, inspector.calibration, [1, 2])).misplaced is None
    memory = assemble(model, known, inspector.calibration, [1, 2, 3])
    found = model.compare(features, memory).misplaced
    assert torch.equal(found[1], mirror(found[0], 1))
    row, column = divmod(int(found[0, 0].argmax()), found.shape[-1])
    side = found.shape[-1] / 192
    assert abs(row - (96 + 52 * np.sin(np.pi / 3)) * side) <= 3 and abs(column - (96 + 52 * 0.5) * side) <= 3
    assert float(model.compare(whole, memory).misplaced.max()) < 0.3 * float(found.max())


@torch.no_grad()
def test_each_reference_is_judged_by_what_is_usual_of_the_others():
    model: LookModel = tiny_model()[0].look_model
    rng = np.random.default_rng(1)
    seen = [see(model, pixels_of(flange(rng))) for _ in range(3)]
    memory = assemble(model, seen, tiny_inspector().calibration, [1, 2, 3])
    units = directions(memory.levels[0][::4])
    assert torch.equal(memory.apart[0, 2], place_residual(units[0], units[2:], PLACE_RADIUS[0]))
    held = held_out(model, seen, memory, range(3))
    others = replace(memory, apart=memory.apart[1:, 1:])
    place = held[0].maps[0][:1, 2]
    assert torch.allclose(held[0].misplaced[:1], out_of_place(place, [others.spread]))


@torch.no_grad()
def test_it_counts_for_new_products_alone():
    model: LookModel = tiny_model()[0].look_model
    model.config.misplaced_score, model.config.misplaced_map = 4.0, 2.0
    rng = np.random.default_rng(2)
    memory = assemble(
        model, [see(model, pixels_of(flange(rng))) for _ in range(3)], tiny_inspector().calibration, [1, 2, 3]
    )
    features = model.see(pixels_of(flange(rng, without=2)))
    new = model.compare(features, replace(memory, known=0.0))
    known = replace(new, known=torch.ones_like(new.given))
    outputs = {
        name: (model.decide(features, one), model.decide(features, replace(one, misplaced=None)))
        for name, one in (("new", new), ("known", known))
    }
    counted, plain = outputs["new"]
    assert float(counted.score_logit) > float(plain.score_logit)
    assert float((counted.heatmap_logits - plain.heatmap_logits).max()) == pytest.approx(
        2 * float(new.misplaced.max()), rel=0.1
    )
    counted, plain = outputs["known"]
    assert torch.equal(counted.score_logit, plain.score_logit)
    assert torch.equal(counted.heatmap_logits, plain.heatmap_logits)


@torch.no_grad()
def test_the_evaluation_finds_the_same():
    model: LookModel = tiny_model()[0].look_model
    rng = np.random.default_rng(3)
    seen = [see(model, pixels_of(flange(rng))) for _ in range(3)]
    memory = assemble(model, seen, tiny_inspector().calibration, [1, 2, 3])
    features = model.see(pixels_of(flange(rng, without=0)))
    levels = features.levels[1:]
    pairs, parts = [against(one.part)(levels) for one in seen], [one.part for one in seen]
    found = together(levels, own_maps(levels), pairs, parts, memory).misplaced
    assert torch.allclose(found, model.compare(features, memory).misplaced, atol=1e-5) and float(found.max()) > 0


def test_it_is_kept_with_a_memory(tmp_path: Path):
    levels = (torch.rand(8, 3, 6, 6),)
    memory = References(
        levels, 2, torch.ones(2, 4), fine=torch.rand(2, 3, 12, 12), shown=torch.zeros(2, 3, 24, 24, dtype=torch.uint8),
        apart=apart(levels[0][::4]),
    )  # fmt: skip
    save_memory(memory, tmp_path / "m", "print")
    assert torch.equal(load_memory(tmp_path / "m", "print").spread, memory.spread)
    save_memory(replace(memory, apart=memory.apart[:1]), tmp_path / "torn", "print")
    with pytest.raises(MemoryFileError, match="does not hold what it should"):
        load_memory(tmp_path / "torn", "print")


def test_a_part_that_goes_missing_leaves_its_ground():
    rng = np.random.default_rng(4)
    whole = flange(rng)
    taken = without_part(whole, rng)
    changed = np.abs(taken.pixels.astype(int) - whole).max(axis=2) > 40
    assert taken.label == 1 and changed.any() and not (changed & ~taken.mask).any()
    assert taken.pixels[changed].mean() > whole[changed].mean() + 30  # plain metal instead of a dark hole
    assert without_part(np.full((96, 96, 3), 120, np.uint8), rng) is None
