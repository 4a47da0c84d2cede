"""A reference brought under a picture: found where it is the same scene, and what differs then stands out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from assistant.alignment import keypoints, similarity
from assistant.errors import MemoryFileError
from assistant.inspector import Inspector
from assistant.look_model import LookModel
from assistant.memory_file import load_memory, save_memory
from assistant.mirrors import mirror
from assistant.own_residual import top_mean
from assistant.reference import TOP_SHARE, References, residuals
from assistant.registration import (
    MOST_TURN,
    RIM,
    SAME,
    SLOPE,
    USUAL,
    excess,
    found_under,
    grey_of,
    laid_under,
    moved,
    transform,
)
from data.augment import retake
from finetune.registered import MAP_GAINS, MODEST, SCORE_GAINS, USUALS, Case, _auroc, _cover, choose
from tests.tiny import tiny_model

MATRIX = np.array([[0.999, -0.02, 0.03], [0.02, 0.999, -0.02]])


def board(seed: int, side: int = 256) -> np.ndarray:
    """Squares and discs strewn over a ground, [H, W, 3] uint8: no two seeds alike."""
    rng = np.random.default_rng(seed)
    drawn = np.full((side, side, 3), 90, np.uint8)
    for _ in range(60):
        x, y = rng.integers(0, side, 2).tolist()
        size, colour = int(rng.integers(4, 18)), rng.integers(0, 255, 3).tolist()
        if rng.random() < 0.5:
            cv2.circle(drawn, (x, y), size, colour, -1)
        else:
            cv2.rectangle(drawn, (x, y), (x + 2 * size, y + size), colour, -1)
    return drawn


def pixels_of(picture: np.ndarray) -> torch.Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def grey(picture: np.ndarray) -> np.ndarray:
    return grey_of(pixels_of(picture))[0].numpy()


def under(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What a picture shows whose places are taken by `matrix` to those of the one given."""
    pixels, side = matrix.copy(), picture.shape[1]
    pixels[:, 2] *= side
    return cv2.warpAffine(picture, pixels, (side, side), flags=cv2.INTER_LINEAR + cv2.WARP_INVERSE_MAP)


def test_a_turn_and_a_shift_are_found_and_another_scene_is_none():
    reference = board(1)
    found = transform(grey(under(reference, MATRIX)), grey(reference))
    corners = np.array([[x, y, 1] for x in (0.1, 0.9) for y in (0.1, 0.9)]).T
    assert np.abs((found - MATRIX) @ corners).max() * 256 < 0.5  # pixels
    wide = cv2.resize(reference, (512, 512))  # the same scene in twice the pixels
    assert np.abs((transform(grey(reference), grey(wide)) - np.eye(2, 3)) @ corners).max() * 256 < 0.5
    assert transform(grey(board(2)), grey(reference)) is None
    assert transform(np.zeros((64, 64), np.uint8), grey(reference)) is None


def test_smooth_parts_of_a_kind_are_not_held_for_one_scene():
    part = np.full((256, 256, 3), 190, np.uint8)
    cv2.circle(part, (128, 128), 90, (120, 120, 125), -1, cv2.LINE_AA)
    part = cv2.GaussianBlur(part, (0, 0), 6)  # no corner anywhere
    assert transform(grey(part), grey(part)) is None
    one, other = board(1), board(1)
    other[40:216, 40:216] = board(2)[40:216, 40:216]  # many keypoints agree, and half of the picture is another
    assert similarity(*(keypoints(shown) for shown in (one, other))) is not None
    assert transform(grey(one), grey(other)) is None


def part(seed: int) -> np.ndarray:
    """A round part [H, W, 3] uint8: light, dark and a printed rim as all of its kind, grain of its own."""
    drawn = np.full((256, 256, 3), 225, np.uint8)
    cv2.circle(drawn, (128, 128), 100, (150, 150, 150), -1)
    cv2.circle(drawn, (128, 128), 60, (30, 30, 30), -1)
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 30, drawn.shape[:2]), (0, 0), 2)[..., None]
    drawn = np.clip(cv2.GaussianBlur(drawn, (0, 0), 4) + grain, 0, 255).astype(np.uint8)
    for angle in np.linspace(0, 2 * np.pi, 25)[:-1] ** 1.1:
        x, y = np.rint(128 + 114 * np.array([np.cos(angle), np.sin(angle)])).astype(int).tolist()
        cv2.rectangle(drawn, (x, y), (x + 5, y + 3), (60, 60, 60), -1)
    return drawn


def test_parts_that_are_light_and_dark_alike_are_no_scene_where_their_details_differ():
    one, other = (cv2.GaussianBlur(grey(part(seed)), (5, 5), 0) for seed in (1, 2))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > SAME
    assert transform(grey(part(1)), grey(part(2))) is None
    assert transform(grey(under(part(1), MATRIX)), grey(part(1))) is not None


def test_a_level_is_moved_as_the_picture_is():
    level = torch.arange(192.0).view(1, 12, 16)
    still, shown = moved(level, np.eye(2, 3), (12, 16), 0.75, 0.75)
    rim = round(RIM)
    assert torch.allclose(still, level, atol=1e-3)
    assert bool(shown[rim:-rim, rim:-rim].all()) and int(shown.sum()) == (12 - 2 * rim) * (16 - 2 * rim)
    one_right = np.array([[1, 0, 1 / 16], [0, 1, 0.0]])
    right, shown = moved(level, one_right, (12, 16), 0.75, 0.75)
    assert torch.allclose(right[:, :, :-1], level[:, :, 1:], atol=1e-3)
    assert bool(shown[rim:-rim, rim - 1 : -rim - 1].all()) and not bool(shown[:, -rim - 1 :].any())


def features_of(picture: np.ndarray) -> torch.Tensor:
    """A finest level [3, 64, 64] that is the colours themselves, never of length 0."""
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    return torch.tensor(small).permute(2, 0, 1) + 20


def kept(*pictures: np.ndarray) -> References:
    """References of pictures, whose last level is theirs in few cells, with one mirror image each."""
    last = torch.stack([features_of(picture)[:, ::16, ::16] for picture in pictures])
    return References(
        (torch.stack([last, last.flip(3)], dim=1).flatten(0, 1),), len(pictures),
        fine=torch.stack([features_of(picture) for picture in pictures]),
        shown=torch.stack([torch.tensor(picture).permute(2, 0, 1) for picture in pictures]),
    )  # fmt: skip


def test_what_differs_in_its_place_stands_out_though_others_are_like_it():
    reference = board(3)
    picture = under(reference, MATRIX)
    cv2.circle(reference, (120, 90), 12, [240, 200, 40], -1)  # missing in the picture, which shows others

    fine, shades = features_of(picture), torch.tensor(grey(picture))

    def compared(*references: np.ndarray) -> torch.Tensor | None:
        memory = kept(*references)
        under = found_under(fine[:, ::16, ::16], shades, memory)
        if under is None:
            return None
        return excess(fine, *moved(memory.fine[under.number], under.matrix, (64, 64), 1.0, 1.0))

    found = compared(reference)
    row, column = divmod(int(found.argmax()), 64)
    missing = np.linalg.inv(np.vstack([MATRIX, [0, 0, 1]])) @ (120 / 256, 90 / 256, 1)
    assert abs(row - 64 * missing[1]) <= 3 and abs(column - 64 * missing[0]) <= 3 and float(found.max()) > 0.1
    assert float((found > 0).float().mean()) < 0.1 and float(found.min()) == 0
    assert compared(board(4)) is None
    among = compared(board(4), reference, board(5))  # the one that is most like it is taken
    assert torch.allclose(among, found, atol=1e-5)
    assert found_under(fine[:, ::16, ::16], shades, References(kept(reference).levels, 1)) is None
    assert USUAL > 0 and 0 < SLOPE < 1


@torch.no_grad()
def test_it_counts_in_map_and_score_of_a_look_and_of_its_mirror_images():
    model: LookModel = tiny_model()[0].look_model
    model.config.registered_score, model.config.registered_map = 4.0, 2.0
    reference = board(6)
    picture = under(reference, MATRIX)
    picture[100:130, 60:100] = [250, 20, 20]
    pixels = pixels_of(picture)
    features, memory = model.see(pixels), model.remember(pixels_of(reference))
    differences = model.compare(features, memory)
    rows = differences.registered
    assert rows.shape == (2, 1, 64, 64) and torch.equal(rows[1], mirror(rows[0], 1)) and float(rows.max()) > 0
    plain = model.decide(features, replace(differences, registered=None))
    counted = model.decide(features, differences)
    top = float(top_mean(rows[:1], TOP_SHARE))
    assert float(counted.score_logit - plain.score_logit) == pytest.approx(4 * top, abs=1e-4)
    model.config.registered_usual = 2 * top  # a picture that differs less than is usual is less suspicious
    assert float(model.decide(features, differences).score_logit - plain.score_logit) == pytest.approx(
        -4 * top, abs=1e-4
    )
    both = torch.cat([pixels_of(board(8)), pixels])  # nothing is laid under the first one
    seen = model.see(both)
    differences = model.compare(seen, memory)
    assert differences.laid.tolist() == [0, 0, 1, 1]
    without = model.decide(seen, replace(differences, registered=None)).score_logit
    assert (model.decide(seen, differences).score_logit - without).tolist() == pytest.approx([0, -4 * top], abs=1e-3)
    assert torch.allclose(counted.heatmap_logits - plain.heatmap_logits, 2 * rows[:1], atol=1e-4)
    assert torch.equal(counted.map_logit, plain.map_logit)  # that of the trained map alone
    assert model.compare(features, model.remember(pixels_of(board(7)))).registered is None
    assert model.compare(features, None).registered is None


@pytest.mark.parametrize("degrees", [0, 3, 90, 140])
def test_a_reference_that_lies_turned_is_laid_as_the_picture_is(degrees: int):
    reference = board(8)
    turn = cv2.getRotationMatrix2D((127.5, 127.5), degrees, 1.0)
    picture = cv2.warpAffine(reference, turn, (256, 256), borderMode=cv2.BORDER_REFLECT_101)
    memory = kept(reference)
    under = found_under(features_of(picture)[:, ::16, ::16], torch.tensor(grey(picture)), memory)
    assert under.number == 0 and under.turned == (degrees > MOST_TURN)
    laid = laid_under(under, memory, (256, 256))[0].permute(1, 2, 0).numpy()
    middle = slice(64, 192), slice(64, 192)  # what both show
    assert np.abs(laid[middle].astype(int) - picture[middle].astype(int)).mean() < 8
    assert np.abs(reference[middle].astype(int) - picture[middle].astype(int)).mean() > 8 or degrees < 5


@torch.no_grad()
def test_a_look_has_the_turned_reference_among_its_references():
    model: LookModel = tiny_model()[0].look_model
    reference = board(9)
    memory = model.remember(pixels_of(reference))
    upright, lying = (model.see(pixels_of(one)) for one in (reference, np.rot90(reference).copy()))
    assert model.under(upright, 0, memory)[0] is memory
    more, found = model.under(lying, 0, memory)
    assert len(more.levels[0]) == 2 * len(memory.levels[0]) and found.shape == (1, 1, 64, 64)
    corner = cv2.warpAffine(reference, cv2.getRotationMatrix2D((127.5, 127.5), 45, 1), (256, 256))  # black around it
    _, found = model.under(model.see(pixels_of(corner)), 0, memory)
    assert not bool(found[0, 0, :12, :12].any()) and not bool(found[0, 0, -8:, -8:].any())  # nothing is known of it
    apart = [model.compare(lying, memory), residuals(lying.levels[1:], [memory] * 2, 2)]
    assert float(apart[0].distance.mean()) < 0.8 * float(apart[1].distance.mean())


def test_it_is_kept_with_a_memory(tmp_path: Path):
    memory = replace(kept(board(1), board(2)), descriptors=torch.ones(2, 4))
    save_memory(memory, tmp_path / "m", "print")
    read = load_memory(tmp_path / "m", "print")
    assert torch.equal(read.fine, memory.fine) and torch.equal(read.shown, memory.shown)
    save_memory(replace(memory, shown=memory.shown[:1]), tmp_path / "torn", "print")
    with pytest.raises(MemoryFileError, match="does not hold what it should"):
        load_memory(tmp_path / "torn", "print")


def test_the_gains_are_those_that_serve_best():
    rng = np.random.default_rng(0)
    regions = np.zeros((8, 8), int)
    regions[2:4, 2:4] = 1
    cases = []
    for number in range(200):
        label = number % 2
        excess = np.where(regions * label, 0.5, 0.0) + 0.05 * rng.random((8, 8))
        logits = rng.normal(size=(8, 8))
        cases.append(
            Case(("own", False), label, rng.normal(), 0.3 * label + 0.1 * rng.random(), logits, excess, regions)
        )
    score, usual, drawn = choose(cases, modest=(MODEST, MODEST))
    assert 0 < score < SCORE_GAINS[-1] and not usual and 0 < drawn < MAP_GAINS[-1]
    for chosen, gains, quality in ((score, SCORE_GAINS, partial(_auroc, usual=0.0)), (drawn, MAP_GAINS, _cover)):
        best = max(quality(cases, gain) for gain in gains)
        assert quality(cases, chosen) >= best - MODEST > quality(cases, gains[gains.index(chosen) - 1])
    misled = [replace(case, top=-case.top, excess=-case.excess) for case in cases]
    assert choose(misled) == (0.0, 0.0, 0.0)
    assert choose(cases).score == SCORE_GAINS[-1] and choose(cases).map == drawn  # the score's is the best itself


def test_the_very_scene_speaks_for_a_picture_that_differs_from_it_no_more_than_usual():
    rng, blank = np.random.default_rng(0), np.zeros((8, 8))
    regions = np.zeros((8, 8), int)
    regions[2:4, 2:4] = 1
    cases = []
    for number in range(400):
        label, laid = number % 2, number % 4 > 1  # half of them have no reference under them
        top = laid * (0.05 + 0.02 * rng.random() + 0.1 * label)
        cases.append(Case(("own", False), label, rng.normal(label), top, blank, blank, regions * label, laid))
    assert choose(cases, usuals=USUALS).usual in (0.05, 0.1, 0.15)
    assert _auroc(cases, 16.0, 0.1) > _auroc(cases, 16.0, 0.0) + 0.02


def test_another_take_differs_a_little_all_over():
    one, rng = board(1), np.random.default_rng(0)
    other = retake(one, rng)
    assert other.shape == one.shape and other.dtype == np.uint8 and not np.array_equal(one, other)
    assert transform(grey(other), grey(one)) is not None


def print_of(missing: bool) -> np.ndarray:
    """Rows of marks, no two alike, [300, 420, 3] uint8; maybe one of them is missing."""
    drawn = np.full((300, 420, 3), (235, 230, 215), np.uint8)
    for row in range(6):
        for column in range(9):
            if missing and (row, column) == (3, 5):
                continue
            left, top = 30 + column * 42, 30 + row * 42
            right, bottom = left + 12 + (row * 7 + column * 5) % 18, top + 10 + (column * 3) % 14
            colour = ((40 + row * 20) % 200, 60, (90 + column * 13) % 220)
            cv2.rectangle(drawn, (left, top), (right, bottom), colour, -1)
    return drawn


def turned_by(picture: np.ndarray, degrees: float) -> np.ndarray:
    turn = cv2.getRotationMatrix2D((210, 150), degrees, 1)
    return cv2.warpAffine(picture, turn, (420, 300), borderValue=(235, 230, 215))


def test_the_shipped_weights_find_a_missing_mark_beside_a_whole_print(inspector: Inspector):
    memory = inspector.remember([print_of(missing=False)])
    part, whole = turned_by(print_of(missing=True), 4), turned_by(print_of(missing=False), 33)
    assert not inspector.look(part).regions  # there are others like it: alone nothing shows
    look = inspector.look(part, memory)
    assert [region.place for region in look.regions] == ["centre"]
    finding = inspector.finding(look, "")
    assert finding.verdict == "unsure" and finding.confidence <= 0.55  # a lit place and a low score: nobody is sure
    look = inspector.look(whole, memory)
    assert not look.regions and inspector.finding(look, "").verdict == "normal"
