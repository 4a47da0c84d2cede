"""A picture of a new product without references has its odd patches held against quarter turns of it too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from assistant.mirrors import VARIANTS, turn, turned
from assistant.own_residual import OWN_NEIGHBOURS, OWN_SHARE, directions, oddness, own_residual
from tests.tiny import one_product, tiny_config, tiny_inspector, tiny_model


def own_of(level: torch.Tensor) -> torch.Tensor:
    """`own_residual` of each row of [B, C, h, w] within one cell -> [B, h, w]."""
    return torch.stack([own_residual(unit, 1) for unit in directions(level)])


def test_quarter_turns_are_all_different_and_half_of_them_turn_without_a_mirror():
    values = torch.arange(24).view(1, 1, 4, 6)
    turns = [turn(values, number) for number in range(VARIANTS)]
    assert {tuple(one.shape[-2:]) for one in turns} == {(6, 4)}
    assert len({tuple(one.flatten().tolist()) for one in turns}) == VARIANTS
    rotations = [torch.rot90(values, number, (-2, -1)) for number in (1, 3)]
    assert [any(torch.equal(one, rotation) for rotation in rotations) for one in turns].count(True) == 2
    pictures = torch.randn(2, 3, 4, 6)
    rows = turned(pictures, 2)
    assert torch.equal(rows[::2], pictures.transpose(2, 3)) and torch.equal(rows[1::2], turn(pictures, 1))


@pytest.mark.parametrize("turns", range(1, VARIANTS + 1))
def test_oddness_is_the_distance_to_the_nearest_in_all_of_them(turns: int):
    generator = torch.Generator().manual_seed(turns)
    level, more = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 6, 7), (2 * turns, 5, 7, 6)))
    found = oddness(level, own_of(level), 1, 1, more)
    for number, value in enumerate(found.tolist()):
        own = directions(level)[number].numpy()
        images = [own, *directions(more)[number * turns : (number + 1) * turns].numpy()]
        places = np.arange(42).reshape(6, 7)
        lying = [places, *(turn(torch.from_numpy(places), one).numpy() for one in range(turns))]
        distances = []
        for y in range(6):
            for x in range(7):
                away = [
                    float(np.linalg.norm(own[:, y, x] - image[:, v, u]))
                    for image, cells in zip(images, lying, strict=True)
                    for (v, u), cell in np.ndenumerate(cells)
                    if max(abs(cell // 7 - y), abs(cell % 7 - x)) > 1
                ]
                distances.append(np.mean(sorted(away)[:OWN_NEIGHBOURS]))
        count = max(1, round(42 * OWN_SHARE))
        assert value == pytest.approx(float(np.mean(sorted(distances)[-count:])), abs=1e-5)


@torch.no_grad()
def test_one_level_alone_is_the_level_of_all():
    tower = tiny_model()[0].look_model.tower
    pixels = torch.randn(2, 3, 96, 64)
    for number, level in enumerate(tower(pixels).levels):
        assert torch.allclose(tower.early(pixels, number), level, atol=1e-5)


@torch.no_grad()
def test_only_a_new_product_without_references_is_turned_and_only_its_score_changes():
    model = tiny_model()[0].look_model
    model.config.oddness, model.config.turns = 4.0, 2
    picture, memory = torch.randn(1, 3, 96, 64), model.remember(torch.randn(1, 3, 96, 64))
    told, descriptors = model(picture), []
    known, half, new = (model(picture, None, lambda one, share=share: share) for share in (1.0, 0.5, 0.0))
    assert torch.equal(known.score_logit, told.score_logit)
    assert new.score_logit < told.score_logit  # more of its like can only be nearer
    assert half.score_logit.item() == pytest.approx((told.score_logit + new.score_logit).item() / 2, abs=1e-5)
    assert torch.equal(new.heatmap_logits, told.heatmap_logits)
    beside = model(picture, memory, lambda one: descriptors.append(one) or 0.0)
    assert torch.equal(beside.score_logit, model(picture, memory).score_logit) and not descriptors
    model(picture, None, lambda one: descriptors.append(one) or 0.0)
    assert torch.allclose(descriptors[0], F.normalize(told.tokens.seen, dim=1), atol=1e-6)


def test_the_assistant_turns_what_it_does_not_know():
    inspector, other = tiny_inspector(), tiny_inspector()
    picture = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    size = other.processor.config.vision_config.channels[-1]
    for one in (inspector, other):
        one.model.config.oddness = 4.0
        one.familiar = one_product(F.normalize(torch.randn(1, size), dim=1), 2.0, 0.1, 0.01, 0.1)
    other.model.config.turns = 2
    assert other.fingerprint != inspector.fingerprint
    assert other.look(picture).known == 0 and other.look(picture).score < inspector.look(picture).score
    for one in (inspector, other):
        seen = torch.from_numpy(one.look(picture).tokens["visual"]).mean(dim=0, keepdim=True)
        one.familiar = one_product(F.normalize(seen, dim=1), 2.0, 0.1, 0.01, 0.1)
    assert other.look(picture).known == 1 and other.look(picture).score == inspector.look(picture).score


def test_impossible_numbers_of_turns_are_refused():
    for number in (-1, VARIANTS + 1):
        with pytest.raises(ValueError, match=str(number)):
            tiny_config(turns=number)
