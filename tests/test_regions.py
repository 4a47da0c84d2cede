"""Maps to regions, against hand cases."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.regions import cells_of, find_regions, place_word
from assistant.types import PLACES


def scene(box, value=0.9, size=(90, 90), tone=40):
    heatmap = np.zeros(size[::-1], np.float32)
    pixels = np.full((*size[::-1], 3), 120, np.uint8)
    x1, y1, x2, y2 = box
    heatmap[y1:y2, x1:x2] = value
    pixels[y1:y2, x1:x2] = tone
    return heatmap, pixels


def test_a_dark_map_has_no_region():
    heatmap, pixels = scene((10, 10, 20, 20), value=0.4)
    assert find_regions(heatmap, pixels, 0.5, (90, 90)) == ()


def test_one_square_is_measured_exactly():
    heatmap, pixels = scene((10, 20, 20, 30))
    (region,) = find_regions(heatmap, pixels, 0.5, (90, 90))
    assert region.box == (10, 20, 20, 30)
    assert region.area == pytest.approx(100 / 8100)
    assert region.place == "top left"
    assert region.peak == region.mean == pytest.approx(0.9)
    assert (region.tone, region.shape) == ("darker", "compact")


def test_boxes_are_in_pixels_of_the_picture_as_given():
    heatmap, pixels = scene((10, 20, 20, 30))
    (region,) = find_regions(heatmap, pixels, 0.5, (900, 450))
    assert region.box == (100, 100, 200, 150)


@pytest.mark.parametrize(("tone", "word"), [(40, "darker"), (230, "brighter"), (121, "similar in tone")])
def test_tone_is_measured_against_the_surroundings(tone, word):
    heatmap, pixels = scene((40, 40, 50, 50), tone=tone)
    assert find_regions(heatmap, pixels, 0.5, (90, 90))[0].tone == word


def test_tone_is_that_of_the_half_that_is_lit_most():
    heatmap, pixels = scene((30, 30, 60, 60), tone=120)  # a map twice as wide as the band that it shows
    heatmap[30:60, 30:60] = 0.9 - 0.02 * np.abs(np.arange(30) - 14.5)[:, None]
    pixels[38:52, 30:60] = 128
    assert find_regions(heatmap, pixels, 0.5, (90, 90))[0].tone == "brighter"


def test_tone_is_measured_against_what_lies_nearest_not_against_the_ground_beside_the_part():
    heatmap, pixels = scene((20, 42, 70, 45), tone=150)  # a scratch along a bright bar
    pixels[:36], pixels[51:] = 30, 30
    bar = pixels[36:51]
    bar[bar == 120] = 180
    assert find_regions(heatmap, pixels, 0.5, (90, 90))[0].tone == "darker"


def test_colour_is_named_when_brightness_is_not_the_difference():
    heatmap, pixels = scene((40, 40, 50, 50))
    pixels[40:50, 40:50] = (190, 100, 80)
    assert find_regions(heatmap, pixels, 0.5, (90, 90))[0].tone == "differently coloured"


def test_a_line_is_elongated_and_a_ring_is_spread_out():
    heatmap, pixels = scene((5, 44, 85, 47))
    assert find_regions(heatmap, pixels, 0.5, (90, 90))[0].shape == "elongated"
    y, x = np.indices((90, 90)) - 45
    ring = (np.abs(np.hypot(x, y) - 30) < 2).astype(np.float32)
    assert find_regions(ring, pixels, 0.5, (90, 90))[0].shape == "spread out"


def test_broken_pieces_of_one_crack_are_one_region():
    heatmap, pixels = scene((10, 44, 40, 46), size=(300, 300))
    heatmap[44:46, 42:80] = 0.8
    assert len(find_regions(heatmap, pixels, 0.5, (300, 300))) == 1
    heatmap[200:205, 200:205] = 0.8
    assert len(find_regions(heatmap, pixels, 0.5, (300, 300))) == 2


def test_the_highest_peak_comes_first_and_specks_are_left_out():
    heatmap, pixels = scene((10, 10, 20, 20), value=0.6, size=(300, 300))
    heatmap[200:210, 200:210] = 0.95
    heatmap[100, 100] = 1.0  # one pixel of 90,000
    regions = find_regions(heatmap, pixels, 0.5, (300, 300))
    assert [region.place for region in regions] == ["bottom right", "top left"]


def test_nine_places():
    centres = [(x, y) for y in (0.1, 0.5, 0.9) for x in (0.1, 0.5, 0.9)]
    assert tuple(place_word(x, y) for x, y in centres) == PLACES
    assert place_word(1.0, 1.0) == "bottom right" and place_word(0.0, 0.0) == "top left"


def test_cells_of_accepts_every_cell_with_a_fair_share():
    mask = np.zeros((90, 90), bool)
    assert cells_of(mask) == set()
    mask[40:45, 5:55] = True  # 25 px in the left cell, 25 in the middle
    assert cells_of(mask) == {"centre left", "centre"}
