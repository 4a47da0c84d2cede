"""Drawn defects, harmless changes and drawn products: what the training relies on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from assistant.command import run
from data.augment import geometric, hard_normal, photometric
from data.defects import GENERATORS
from data.products import PRODUCTS, draw_product
from data.strokes import is_grey
from data.synth import UNSEEN, Drawn, app, draw_defect, foreground_mask

KINDS = list(GENERATORS)
SOURCES = ("cloth", "stone", "text print", "gear")
FIT = {"artwork_fault": "artwork"}
"""Kinds that want a certain product."""


def source(name: str, size: tuple[int, int] = (160, 160), seed: int = 3) -> np.ndarray:
    """A product with detail enough for every kind, blur and misprint included."""
    return draw_product(np.random.default_rng(seed), size, name)


def largest_step(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before.astype(int) - after.astype(int)).max(2)


def check_facts(before: np.ndarray, drawn: Drawn) -> None:
    """Mask, boxes, extent and count must follow from the pixels."""
    step = largest_step(before, drawn.image)
    assert drawn.image.shape == before.shape and drawn.image.dtype == np.uint8
    assert drawn.mask.shape == before.shape[:2] and drawn.mask.dtype == bool
    assert step[~drawn.mask].max(initial=0) <= UNSEEN
    assert drawn.mask.sum() >= 12
    assert np.mean(step[drawn.mask] > UNSEEN) > 0.7, "most of the mask must have changed by itself"
    near = cv2.dilate((step > UNSEEN).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert near[drawn.mask].all(), "no pixel of the mask may lie away from a change"
    boxed = np.zeros_like(drawn.mask)
    for x1, y1, x2, y2 in drawn.boxes:
        part = drawn.mask[y1:y2, x1:x2]
        assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any(), "a box fits tightly"
        boxed[y1:y2, x1:x2] = True
    assert boxed[drawn.mask].all()
    assert drawn.n_regions == len(drawn.boxes) >= 1
    assert drawn.extent == pytest.approx(drawn.mask.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_facts_follow_from_the_pixels(kind: str) -> None:
    for name in [FIT[kind]] if kind in FIT else SOURCES:
        before = source(name)
        kept = before.copy()
        for seed in range(3):
            drawn = draw_defect(before, np.random.default_rng(seed), kind)
            assert drawn.kind == kind
            check_facts(before, drawn)
        assert np.array_equal(before, kept), "the input must stay untouched"


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits(kind: str) -> None:
    before = source(FIT.get(kind, "stone"))
    first, second = (draw_defect(before, np.random.default_rng(7), kind) for _ in range(2))
    other = draw_defect(before, np.random.default_rng(8), kind)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.mask, second.mask)
    assert (first.boxes, first.tone, first.strength) == (second.boxes, second.tone, second.strength)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_stays_grey(kind: str) -> None:
    before = cv2.cvtColor(cv2.cvtColor(source(FIT.get(kind, "cloth")), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for seed in range(4):
        drawn = draw_defect(before, np.random.default_rng(seed), kind)
        assert is_grey(drawn.image) and drawn.tone != "differently coloured"


@pytest.mark.parametrize("size", [(64, 64), (64, 300), (500, 120), (640, 256), (1024, 1024)])
def test_any_size_and_aspect(size: tuple[int, int]) -> None:
    for seed, kind in enumerate(KINDS if max(size) < 1024 else KINDS[::4]):
        before = source(FIT.get(kind, "text print"), size)
        check_facts(before, draw_defect(before, np.random.default_rng(seed), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_changes_more(kind: str) -> None:
    """Over many seeds, on one surface, the mean change grows with the strength."""
    before = source(FIT.get(kind, "cloth"), (128, 128))
    area = np.ones(before.shape[:2], bool)
    means = []
    for strength in (0.1, 0.5, 1.0):
        changes = [GENERATORS[kind](before, area, np.random.default_rng(seed), strength)[0] for seed in range(16)]
        means.append(np.mean([largest_step(before, after).mean() for after in changes]))
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_stays_on_the_foreground(kind: str) -> None:
    before = source("text print")
    foreground = np.zeros(before.shape[:2], bool)
    foreground[40:120, 30:100] = True
    for seed in range(4):
        drawn = draw_defect(before, np.random.default_rng(seed), kind, foreground=foreground)
        assert not drawn.mask[~foreground].any()
        assert np.array_equal(drawn.image[~foreground], before[~foreground])


def test_foreground_is_the_object_on_a_plain_ground() -> None:
    picture = np.full((200, 260, 3), (200, 190, 180), np.uint8)
    picture = (picture * np.linspace(0.85, 1.05, 260)[None, :, None]).astype(np.uint8)
    truth = np.zeros((200, 260), np.uint8)
    cv2.circle(truth, (120, 90), 60, 1, -1)
    picture[truth > 0] = (60, 80, 120)
    found = foreground_mask(picture)
    overlap = (found & (truth > 0)).sum() / (found | (truth > 0)).sum()
    assert overlap > 0.95
    assert foreground_mask(source("stone")).all()
    assert foreground_mask(np.full((80, 90, 3), 128, np.uint8)).all()


def test_tone_is_what_the_pixels_say() -> None:
    before = np.full((128, 128, 3), 128, np.uint8)
    tones = {kind: draw_defect(before, np.random.default_rng(1), kind, 0.9, count=1).tone for kind in ("hole", "crack")}
    assert tones == {"hole": "darker", "crack": "darker"}
    coloured = draw_product(np.random.default_rng(5), (160, 160), "wood")
    seen = {draw_defect(coloured, np.random.default_rng(seed), "discolouration", 0.8).tone for seed in range(12)}
    assert "differently coloured" in seen


def test_random_kinds_strengths_and_counts() -> None:
    before, rng = source("cloth"), np.random.default_rng(0)
    drawn = [draw_defect(before, rng) for _ in range(60)]
    assert len({one.kind for one in drawn}) > 8
    assert min(one.strength for one in drawn) < 0.3 and max(one.strength for one in drawn) > 0.7
    assert any(one.n_regions > 1 for one in drawn) and np.median([one.extent for one in drawn]) < 0.04


def test_errors_name_what_is_wrong() -> None:
    flat, rng = np.full((96, 96, 3), 128, np.uint8), np.random.default_rng(0)
    with pytest.raises(ValueError, match="blur"):
        draw_defect(flat, rng, "blur")
    with pytest.raises(ValueError, match="rust.*known"):
        draw_defect(flat, rng, "rust")
    with pytest.raises(ValueError, match="uint8"):
        draw_defect(flat.astype(float), rng)
    with pytest.raises(ValueError, match="foreground"):
        draw_defect(flat, rng, "stain", foreground=np.zeros((96, 96), bool))
    assert draw_defect(flat, rng).kind != "blur"


@pytest.mark.parametrize("size", [(64, 64), (90, 333), (1000, 64)])
def test_hard_normal_keeps_shape_and_scene(size: tuple[int, int]) -> None:
    before = source("tiles", size)
    for seed in range(8):
        for change in (hard_normal, photometric):
            after = change(before, np.random.default_rng(seed), 1.0)
            assert after.shape == before.shape and after.dtype == np.uint8
        again = photometric(before, np.random.default_rng(seed), 1.0)
        assert np.array_equal(after, again), "same seed, same bits"
        likeness = np.corrcoef(cv2.blur(before, (3, 3)).ravel(), cv2.blur(after, (3, 3)).ravel())[0, 1]
        assert likeness > 0.4, "light and camera may change, the scene not"
    grey = cv2.cvtColor(before[..., 0].copy(), cv2.COLOR_GRAY2RGB)
    assert all(is_grey(hard_normal(grey, np.random.default_rng(seed), 1.0)) for seed in range(12))


@pytest.mark.parametrize("size", [(120, 120), (100, 180)])
def test_mask_moves_with_the_picture(size: tuple[int, int]) -> None:
    mask = np.zeros(size, bool)
    mask[30:60, 40:90] = True
    picture = np.repeat(np.where(mask, 220, 30).astype(np.uint8)[..., None], 3, 2)
    for seed in range(20):
        moved, moved_mask = geometric(picture, np.random.default_rng(seed), 1.0, mask)
        assert moved.shape == picture.shape and moved_mask is not None and moved_mask.dtype == bool
        bright = moved[..., 0] > 125
        assert (bright != moved_mask).mean() < 0.01
    assert geometric(picture, np.random.default_rng(0))[1] is None


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_repeatable_and_never_alike(name: str) -> None:
    for size in ((64, 64), (200, 120)):
        first, again, other = (draw_product(np.random.default_rng(seed), size, name) for seed in (1, 1, 2))
        assert first.shape == (*size, 3) and first.dtype == np.uint8
        assert np.array_equal(first, again)
        assert largest_step(first, other).mean() > 3 and first.std() > 2


def test_product_names() -> None:
    assert len(PRODUCTS) >= 14
    with pytest.raises(ValueError, match="unknown product"):
        draw_product(np.random.default_rng(0), (64, 64), "spaceship")


def test_sheet_writes_a_picture(tmp_path: Path) -> None:
    picture, out = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(picture), source("stone"))
    options = ["sheet", str(out), "--side", "64", "--kind", "stain", "--kind", "crack"]
    result = CliRunner().invoke(app, [*options, "--image", str(picture)])
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(out)).shape == (2 * 82, 5 * 132, 3)
    result = CliRunner().invoke(app, [*options, "--image", str(tmp_path / "none.png")])
    assert result.exit_code != 0


def test_what_a_sheet_cannot_do_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        ([str(tmp_path / "a.png"), "--kind", "dragon"], "no kind 'dragon'"),
        ([str(tmp_path / "none" / "a.png"), "--kind", "stain", "--side", "64"], "cannot be written"),
        ([str(tmp_path / "a.png"), "--image", str(tmp_path / "none.png")], "none.png"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["sheet", *arguments])
        captured = capsys.readouterr()
        assert stopped.value.code == 2 and sentence in captured.err and len(captured.err.strip().splitlines()) == 1
