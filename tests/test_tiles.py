"""Big pictures: which tiles, what they find, how much memory they take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from assistant.calibration import Calibration
from assistant.errors import MediaError
from assistant.inspector import Inspector
from assistant.onevision_config import config_for
from assistant.onevision_loading import checkpoint_config, compose_onevision
from assistant.profiles import read_profile
from assistant.siglip import AT_ONCE
from assistant.tiles import tile_boxes
from finetune.dataset import Sample
from finetune.onevision_look import ViewStage, collate
from tests.tiny import tiny_inspector
from tests.tiny_onevision import tiny_checkpoint


@pytest.fixture(scope="module")
def tiny():
    return tiny_inspector()


def pixels_of(box, size):
    return [round(box[n] * size[n % 2]) for n in range(4)]


def test_tiles_cover_the_picture_and_overlap(tiny):
    size = (8000, 2000)
    boxes = [pixels_of(box, size) for box in tile_boxes(size, 512, tiny.processor)]
    covered = np.zeros((size[1], size[0]), np.uint8)
    for x1, y1, x2, y2 in boxes:
        assert (x2 - x1, y2 - y1) == (512, 512) and x1 >= 0 and y2 <= 2000
        covered[y1:y2, x1:x2] += 1
    assert covered.min() == 1 and len(boxes) == 18 * 5
    starts = sorted({box[0] for box in boxes})
    assert all(512 - (b - a) >= 0.125 * 512 - 1 for a, b in zip(starts, starts[1:], strict=False))


def test_only_pictures_that_would_be_shrunk_much_are_tiled_by_themselves(tiny):
    assert tile_boxes((300, 300), "auto", tiny.processor) == ()  # the tiny tower sees 128 x 128
    assert len(tile_boxes((4190, 3040), "auto", tiny.processor)) > 100
    assert tile_boxes((4190, 3040), None, tiny.processor) == ()
    assert tile_boxes((100, 100), 512, tiny.processor) == ()  # one tile is the picture itself


@pytest.mark.parametrize("wrong", ["many", 3, -1, "0", True, 0.5])
def test_other_settings_are_one_sentence(tiny, wrong):
    with pytest.raises(MediaError, match="Tiles are 'auto' or a side of at least 64 pixels"):
        tiny.look(np.zeros((80, 80, 3), np.uint8), tiles=wrong)


def test_too_many_tiles_are_refused(tiny):
    with pytest.raises(MediaError, match="2048 go"):
        tile_boxes((8000, 5000), 64, tiny.processor)


def test_a_tiled_look_is_as_large_as_any_and_its_threshold_higher():
    tiny = tiny_inspector(normal_mean=-2.0, normal_between=0.5, normal_within=1.0)
    picture = np.random.default_rng(0).integers(0, 255, (700, 1400, 3), np.uint8)
    plain, tiled = tiny.look(picture), tiny.look(picture, tiles="auto")
    assert tiled.heatmap.shape == (640, 1280) and {n: v.shape for n, v in tiled.tokens.items()} == {
        n: v.shape for n, v in plain.tokens.items()
    }
    assert tiled.score >= plain.score and tiled.threshold > plain.threshold
    assert "views" in tiled.threshold_source
    assert tiled.heatmap.mean() >= plain.heatmap.mean() - 0.02  # the higher of both counts
    assert "".join(tiny.ask(tiled, "Where?")) is not None


def test_the_highest_of_many_scores_keeps_the_rate_of_one():
    """Simulated: the highest of 40 normal scores is over the raised threshold as often as one over the plain one."""
    calibration = Calibration(normal_mean=-2.0, normal_between=0.01, normal_within=1.0)
    threshold = calibration.threshold_at(0.05)
    raised = calibration.threshold_of_most(threshold, 40)
    draws = np.random.default_rng(1).normal(-2.0, 1.0, (20000, 40)).max(axis=1)
    one = np.random.default_rng(2).normal(-2.0, 1.0, 200000)
    rate = (1 / (1 + np.exp(-one)) > threshold).mean()
    assert 0.02 < rate < 0.06
    assert (1 / (1 + np.exp(-draws)) > raised).mean() == pytest.approx(rate, abs=0.006)
    assert calibration.threshold_of_most(threshold, 1) == pytest.approx(threshold, abs=1e-9)


def test_memory_does_not_grow_with_the_number_of_tiles(tiny, monkeypatch):
    """What lies on the way besides the picture: as much for four times the tiles."""
    alive: list[int] = []
    original = tiny.model.look_each

    def counted(inputs):
        alive.append(len(inputs))
        return original(inputs)

    monkeypatch.setattr(tiny.model, "look_each", counted)
    peaks = []
    for side in (600, 1200):
        picture = np.full((side, side, 3), 99, np.uint8)
        tracemalloc.start()
        tiny.look(picture, tiles=170)
        peaks.append(tracemalloc.get_traced_memory()[1] - picture.nbytes)
        tracemalloc.stop()
    assert max(alive) == tiny.model.tiles_at_once and sum(alive) == 16 + 64
    assert peaks[1] < peaks[0] + 60e6  # the kept map and thumbnail grow to their own limit


def test_a_twelve_pixel_defect_in_a_big_picture_is_found(inspector):
    """8000 x 2000 pixels of an even surface with one dark disc of 12 pixels: 0.0007 % of the picture."""
    rng = np.random.default_rng(4)
    picture = (150 + rng.normal(0, 3, (2000, 8000, 1))).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    rows, columns = np.ogrid[:2000, :8000]
    y, x = 1310, 5210
    picture[(rows - y) ** 2 + (columns - x) ** 2 <= 36] = 25
    plain, look = inspector.look(picture), inspector.look(picture, tiles="auto")
    first = look.regions[0]
    assert first.box[0] <= x <= first.box[2] and first.box[1] <= y <= first.box[3] and first.area < 0.01
    assert look.score >= look.threshold > plain.threshold and look.score > plain.score
    assert first.peak > max([region.peak for region in plain.regions], default=0.0)


def surface(shape, seed, spot=None):
    """[H, W, 3] uint8 of an even surface, and the [H, W] mask of the dark disc (y, x, radius) on it."""
    picture = (150 + np.random.default_rng(seed).normal(0, 3, (*shape, 1))).clip(0, 255).astype(np.uint8)
    picture, mask = picture.repeat(3, axis=2), np.zeros(shape, bool)
    if spot is not None:
        y, x, radius = spot
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        picture[mask] = 25
    return picture, mask


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny OneVision whose look has learned from a hundred pairs of 96 x 96 pixels what a dark disc is."""
    checkpoint = tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"), side=96)
    sizes = {"selector_config": {"size": 16, "temperature": 0.1, "dropout": 0.0},
             "heatmap_config": {"size": 16, "fine_size": 8, "kinds": ["hole"]}}  # fmt: skip
    torch.manual_seed(0)
    config = config_for(checkpoint_config(checkpoint), **sizes)
    loaded = compose_onevision(read_profile(str(checkpoint)), stage="new", config=config)
    loaded.model.look_model.thaw()
    stage, rng = ViewStage(loaded.model, loaded.processor), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=5e-3)
    for step in range(100):
        spot = (*rng.integers(8, 88, 2).tolist(), int(rng.integers(2, 7)))
        pairs = [surface((96, 96), 2 * step), surface((96, 96), 2 * step + 1, spot)]
        samples = [
            Sample(pixels, mask, np.ones(mask.shape, np.float32), label, "x", "hole" if label else "good")
            for label, (pixels, mask) in enumerate(pairs)
        ]
        optimizer.zero_grad()
        stage(**collate(samples))["loss"].backward()
        optimizer.step()
    loaded.model.eval().requires_grad_(False)
    return Inspector("tiny", loaded)


def test_a_twelve_pixel_defect_in_a_big_picture_is_found_by_onevision_too(trained, monkeypatch):
    """As above; the checkpoint is random, only what is ours has learned. No more views at once than in any look."""
    seen, tiles = [], []
    tower, look_each = trained.model.look_model.tower.siglip, trained.model.look_each
    hook = tower.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(trained.model, "look_each", lambda views: tiles.append(len(views)) or look_each(views))
    y, x = 1310, 5210
    picture, _ = surface((2000, 8000), 4, (y, x, 6))
    plain, look = trained.look(picture), trained.look(picture, tiles="auto")
    hook.remove()
    first = look.regions[0]
    assert first.box[0] <= x <= first.box[2] and first.box[1] <= y <= first.box[3] and first.area < 0.01
    assert plain.regions == () and look.score > plain.score and look.threshold > plain.threshold
    assert max(seen) <= AT_ONCE and max(tiles) == trained.model.tiles_at_once and sum(tiles) > 200
    normal = trained.look(surface((2000, 2000), 5)[0], tiles="auto")
    assert normal.regions == () and normal.score < look.score
