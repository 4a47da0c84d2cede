"""A look is the mean over a picture and its mirror images, and counts what has no like in any of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assistant.configuration import MOST_MIRRORS
from assistant.errors import RecordError, WeightsError
from assistant.mirrors import VARIANTS, mirror, mirrored
from assistant.own_residual import OWN_NEIGHBOURS, OWN_SHARE, directions, oddness, own_residual, top_mean
from assistant.profiles import read_profile
from assistant.reference import residuals
from assistant.weights import LOOK_PARTS, read_config, save_parts
from finetune.image_score import (
    GAINS,
    KNOWN,
    LEFT_OUT,
    OTHER,
    SHARES,
    TIE,
    TURNS,
    Judged,
    best_score,
    mean_auroc,
)
from finetune.leave_out import GROUPS, LEFT_OUT_FILE, Variant, left_out_judges
from finetune.stage import new_model
from tests.tiny import tiny_config, tiny_inspector, tiny_model


def test_mirror_images_are_their_own_inverse_and_all_different():
    values = torch.arange(24).view(1, 1, 4, 6)
    images = [mirror(values, number) for number in range(VARIANTS)]
    assert all(torch.equal(mirror(image, number), values) for number, image in enumerate(images))
    assert len({tuple(image.flatten().tolist()) for image in images}) == VARIANTS == MOST_MIRRORS
    pictures = torch.randn(3, 3, 4, 6)
    rows = mirrored(pictures, 2)
    assert torch.equal(rows[::2], pictures) and torch.equal(rows[1::2], pictures.flip(3))


@pytest.mark.parametrize("number", range(VARIANTS))
@torch.no_grad()
def test_the_look_at_a_mirror_image_is_the_mirrored_look(number: int):
    model = tiny_model()[0].look_model
    model.config.mirrors, model.config.oddness = VARIANTS, 0.0  # oddness is of the picture as it is
    picture = torch.randn(1, 3, 96, 128)
    one, other = model(picture), model(mirror(picture, number))
    assert torch.allclose(mirror(other.heatmap_logits, number), one.heatmap_logits, atol=1e-4)
    for name in ("score_logit", "map_logit", "selector_logit", "kind_logits"):
        assert torch.allclose(getattr(other, name), getattr(one, name), atol=1e-4), name


@torch.no_grad()
def test_a_look_is_the_mean_of_single_looks_and_states_the_mean_map():
    model = tiny_model()[0].look_model
    pictures = torch.randn(2, 3, 96, 96)
    model.config.mirrors, model.config.oddness = 1, 0.0
    single = [model(mirror(pictures, number)) for number in range(3)]
    model.config.mirrors = 3
    whole = model(pictures)
    maps = torch.stack([mirror(one.heatmap_logits, number) for number, one in enumerate(single)])
    assert torch.allclose(whole.heatmap_logits, maps.mean(dim=0), atol=1e-5)
    assert torch.allclose(whole.score_logit, torch.stack([one.score_logit for one in single]).mean(dim=0), atol=1e-5)
    assert torch.allclose(whole.tokens.visual, single[0].tokens.visual, atol=1e-5)
    peaks = torch.sigmoid(whole.heatmap_logits).amax(dim=(1, 2, 3))
    assert torch.allclose(whole.tokens.map[:, :, 0].amax(dim=1), peaks, atol=1e-5)
    assert torch.allclose(whole.tokens.map[:, :, 2:], single[0].tokens.map[:, :, 2:], atol=1e-5)
    assert whole.selection.score_logit.shape == (2,) and whole.selection.level_logits[0].shape[0] == 2


@torch.no_grad()
def test_what_references_say_is_found_once_and_turned_over():
    model = tiny_model()[0].look_model
    model.config.mirrors = 3
    picture, other = torch.randn(1, 3, 96, 96), torch.randn(1, 3, 96, 96)
    memory = model.remember(picture)
    features = model.see(other)
    found, alone = model.compare(features, memory), residuals([level[:1] for level in features.levels[1:]], [memory])
    for level, single in zip(found.maps, alone.maps, strict=True):
        assert level.shape[0] == 3 and torch.allclose(level[0], single[0], atol=1e-5)
        assert torch.equal(level[:, 1:], torch.cat([mirror(level[:1, 1:], number) for number in range(3)]))
        assert not torch.equal(level[1, 0], mirror(level[0, 0], 1))  # its own patches are seen anew
    assert torch.equal(found.difference[2], mirror(found.difference[0], 2))
    same = model.compare(model.see(picture), memory)
    assert all(float(level[:, 1:].max()) < 2e-3 for level in same.maps)
    known = model.remember(picture, model.see(picture))  # what was seen already is not seen again, and is the same
    for left, right in zip(memory.levels, known.levels, strict=True):
        assert torch.allclose(left, right, rtol=1e-4, atol=1e-4)


def test_what_a_picture_shows_by_itself_and_what_references_are_is_made_once(monkeypatch):
    model = tiny_model()[0].look_model
    pixels, pictures = torch.randn(1, 3, 96, 96), torch.randn(2, 3, 96, 96)
    memories = [model.remember(picture) for picture in pictures.split(1)]
    fresh = [model.compare(model.see(pixels), memory) for memory in memories]
    features = model.see(pixels)
    model.compare(features, None)
    monkeypatch.delattr("assistant.own_residual.own_residual")  # a second time would fail
    for memory, wanted in zip(memories, fresh, strict=True):
        found = model.compare(features, memory)
        assert all(torch.equal(left, right) for left, right in zip(found.maps, wanted.maps, strict=True))
        assert memory.units is memory.units


def own_of(level: torch.Tensor, radius: int) -> torch.Tensor:
    """`own_residual` of each row of [B, C, h, w] -> [B, h, w]."""
    return torch.stack([own_residual(unit, radius) for unit in directions(level)])


def slow_oddness(images: list[np.ndarray], radius: int) -> float:
    """`oddness` of one picture, patch by patch; images are its unit features [C, h, w] and those of its mirrors."""
    _, height, width = images[0].shape
    found = []
    for y in range(height):
        for x in range(width):
            distances = []
            for number, image in enumerate(images):
                own_y = height - 1 - y if number in (2, 3) else y
                own_x = width - 1 - x if number in (1, 3) else x
                for v in range(height):
                    for u in range(width):
                        if max(abs(v - own_y), abs(u - own_x)) > radius:
                            distances.append(float(np.linalg.norm(images[0][:, y, x] - image[:, v, u])))
            found.append(np.mean(sorted(distances)[:OWN_NEIGHBOURS]))
    top = max(1, round(len(found) * OWN_SHARE))
    return float(np.mean(sorted(found)[-top:]))


@pytest.mark.parametrize("mirrors", range(1, VARIANTS + 1))
def test_oddness_is_the_distance_to_the_nearest_in_the_picture_and_its_mirror_images(mirrors: int):
    generator = torch.Generator().manual_seed(mirrors)
    level = torch.randn(2 * mirrors, 5, 6, 7, generator=generator)
    found = oddness(level, own_of(level, 1), mirrors, 1)
    unit = directions(level).unflatten(0, (2, mirrors)).numpy()
    assert found.tolist() == pytest.approx([slow_oddness(list(images), 1) for images in unit], abs=1e-5)
    if mirrors == 1:
        alone = own_residual(directions(level)[0], 1)
        assert float(found[0]) == pytest.approx(float(top_mean(alone[None, None], OWN_SHARE)[0]), abs=1e-6)


def test_what_a_mirror_image_has_as_well_is_not_odd():
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(1, 8, 10, 5, generator=generator)
    symmetric = torch.cat([half, half.flip(3)], dim=3)  # each side's patches are in the other, turned over
    rows = torch.cat([symmetric, symmetric])  # the mirror image of it is itself
    spoilt = symmetric.clone()
    spoilt[:, :, 4:6, 2:4] = torch.randn(1, 8, 2, 2, generator=generator) * 3
    odd = torch.cat([spoilt, spoilt.flip(3)])
    assert float(oddness(rows, own_of(rows, 1), 2, 1)[0]) < float(oddness(odd, own_of(odd, 1), 2, 1)[0])


@torch.no_grad()
def test_oddness_counts_in_the_score_only():
    model = tiny_model()[0].look_model
    picture = torch.randn(1, 3, 96, 96)
    model.config.oddness = 0.0
    without = model(picture)
    model.config.oddness = 4.0
    counted = model(picture)
    assert not torch.allclose(counted.score_logit, without.score_logit, atol=1e-4)
    assert torch.equal(counted.heatmap_logits, without.heatmap_logits)
    assert torch.equal(counted.map_logit, without.map_logit)


def test_impossible_numbers_of_mirror_images_are_refused(tmp_path: Path):
    for number in (0, MOST_MIRRORS + 1):
        with pytest.raises(ValueError, match=str(number)):
            tiny_config(mirrors=number)
    values = tiny_config().to_json_string().replace('"mirrors": 2', '"mirrors": 9')
    (tmp_path / "config.json").write_text(values)
    with pytest.raises(WeightsError, match="9"):
        read_config(tmp_path, type(tiny_config()))


def test_references_are_of_looks_with_these_mirror_images():
    one, other = tiny_inspector(), tiny_inspector()
    assert one.fingerprint == other.fingerprint
    third = tiny_inspector()
    third.model.config.oddness = 1.0
    assert third.fingerprint != one.fingerprint


def test_odd_patches_are_found_though_most_are_not_looked_at():
    generator = torch.Generator().manual_seed(3)
    half = torch.randn(1, 6, 24, 12, generator=generator)
    picture = torch.cat([half, half.flip(3)], dim=3)  # nothing is odd once it is turned over ...
    picture[:, :, 10:13, 5:8] = 2 * torch.randn(1, 6, 3, 3, generator=generator)  # ... but this
    rows = torch.cat([picture, picture.flip(3)])
    unit, own = directions(rows), own_of(rows, 2)
    near = [[max(abs(a // 24 - b // 24), abs(a % 24 - b % 24)) <= 2 for b in range(576)] for a in range(576)]
    likeness = unit[0].flatten(1).T @ torch.cat([unit[0].flatten(1), unit[1].flatten(1)], dim=1)
    turned = mirror(torch.arange(576).view(24, 24), 1).flatten()
    likeness[torch.cat([torch.tensor(near), torch.tensor(near)[:, turned]], dim=1)] = -1.0
    best = likeness.topk(OWN_NEIGHBOURS, dim=1).values
    whole = (2 - 2 * best).clamp_min(0).sqrt().mean(dim=1)
    assert float(oddness(rows, own, 2, 2)[0]) == pytest.approx(float(whole.topk(6).values.mean()), abs=1e-5)


def test_the_score_is_the_best_by_all_judges():
    rng = np.random.default_rng(0)

    def one(label: int, drawn: float, odd: float) -> Judged:
        noise = 0.1 * rng.normal()
        found = {turns: noise + odd * label * (2 if turns else 1) for turns in TURNS}
        return Judged(label, rng.normal(), rng.normal() + drawn, found)

    helped = [one(label, 0.0, 0.2) for label in (0, 1) * 200]  # most by any number of turns
    drawn = [one(label, 3.0 * label, 0.0) for label in (0, 1) * 200]
    scores = {(OTHER, "a"): helped, (KNOWN, "b"): drawn, (KNOWN, "normals only"): [one(0, 1.0, 1.0)]}
    (share, gain, turns), table = best_score(scores)
    assert share == 0 and 0 < gain < GAINS[-1] and turns == TURNS[1] and {found for found, *_ in table} == set(SHARES)
    means = {choice: float(np.mean(list(found.values()))) for choice, found in table.items()}
    still = {choice: mean for choice, mean in means.items() if not choice[2]}
    rivals = [mean for choice, mean in still.items() if choice[0] == share]
    assert means[share, gain, 0] == max(rivals) >= max(still.values()) - TIE
    assert means[share, gain, turns] >= max(means[share, gain, more] for more in TURNS) - TIE
    tied = [Judged(row.label, row.drawn, row.drawn, row.odd) for row in drawn]  # the layer says what the map says
    assert best_score({(KNOWN, "b"): tied})[0][0] == 0
    same = [replace(row, odd=dict.fromkeys(TURNS, row.odd[turns])) for row in helped]
    assert best_score({(OTHER, "a"): same})[0][2] == 0  # turns that say nothing take no time
    assert table[0.0, GAINS[-1], 0][KNOWN] < table[0.0, 0.0, 0][KNOWN]
    assert table[1.0, 0.0, 0][KNOWN] < table[0.0, 0.0, 0][KNOWN]
    assert np.isnan(mean_auroc(scores, LEFT_OUT, share, gain, turns))
    assert helped[1].score(0.25, 2.0, 2) == pytest.approx(
        0.25 * helped[1].layer + 0.75 * helped[1].drawn + 2 * helped[1].odd[2]
    )


@torch.no_grad()
def test_the_trained_layer_counts_by_its_share():
    model = tiny_model()[0].look_model
    model.config.oddness = 0.0
    picture, found = torch.randn(1, 3, 96, 96), {}
    for share in (0.0, 0.5, 1.0):
        model.config.fusion_share = share
        found[share] = model(picture)
    assert torch.allclose(found[0.0].score_logit, found[0.0].map_logit, atol=1e-5)
    assert not torch.allclose(found[1.0].score_logit, found[1.0].map_logit, atol=1e-4)
    assert torch.allclose(found[0.5].score_logit, (found[0.0].score_logit + found[1.0].score_logit) / 2, atol=1e-5)


def test_weights_of_trainings_without_sets_judge_those_sets(tmp_path: Path):
    profile, model = read_profile("embedded"), new_model(read_profile("embedded"))
    with pytest.raises(RecordError, match="no weights"):
        left_out_judges(tmp_path, profile)
    with torch.no_grad():
        model.fusion.bias.fill_(0.75)
    save_parts(model, LOOK_PARTS, tmp_path / LEFT_OUT_FILE.format(variant=Variant.base, number=1))
    ((sets, judge),) = left_out_judges(tmp_path, profile)
    assert sets == GROUPS[1] and judge.fusion.bias.tolist() == [0.75] and not judge.training
