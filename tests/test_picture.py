"""Facts about the picture as a whole, on pictures whose facts are known."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from assistant.picture import BRIGHTNESSES, COLOURS, ORIENTATIONS, STRUCTURES, picture_facts


def flat(colour, height=120, width=120) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def rough(rng, size=320, sigma=1.0, spread=40.0) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), sigma)
    grey = np.clip(128 + spread * noise / noise.std(), 0, 255).astype(np.uint8)
    return np.dstack([grey] * 3)


@pytest.mark.parametrize(
    ("colour", "brightness", "word"),
    [
        ((20, 20, 20), "dark", "grey"), ((128, 128, 128), "medium", "grey"), ((250, 250, 250), "bright", "grey"),
        ((200, 20, 20), "dark", "red"), ((20, 40, 200), "dark", "blue"), ((120, 170, 230), "medium", "blue"),
        ((30, 140, 40), "medium", "green"), ((240, 220, 30), "bright", "yellow"), ((240, 140, 20), "medium", "orange"),
        ((110, 70, 40), "dark", "brown"), ((225, 205, 175), "bright", "beige"), ((130, 30, 160), "dark", "purple"),
        ((240, 120, 190), "medium", "pink"), ((150, 95, 80), "medium", "brown"),
    ],
)  # fmt: skip
def test_brightness_and_colour_of_one_colour(colour, brightness, word):
    facts = picture_facts(flat(colour))
    assert (facts.brightness, facts.colour, facts.structure) == (brightness, word, "plain")


def test_several_hues_are_colourful_and_a_little_colour_is_grey():
    pixels = flat((200, 30, 30))
    pixels[:60] = (30, 60, 200)
    pixels[:, :40] = (30, 150, 40)
    assert picture_facts(pixels).colour == "colourful"
    spot = flat((128, 128, 128))
    spot[50:60, 50:60] = (220, 20, 20)
    assert picture_facts(spot).colour == "grey"


@pytest.mark.parametrize(
    ("height", "width", "word"), [(100, 100, "square"), (100, 105, "square"), (100, 150, "wide"), (150, 100, "upright")]
)
def test_orientation(height, width, word):
    assert picture_facts(flat((90, 90, 90), height, width)).orientation == word


def test_structure_is_told_by_the_width_of_detail():
    rng = np.random.default_rng(0)
    assert picture_facts(rough(rng, sigma=1.0)).structure == "finely structured"
    assert picture_facts(rough(rng, sigma=5.0)).structure == "coarsely structured"
    assert picture_facts(rough(rng, sigma=1.0, spread=2.0)).structure == "plain"


def test_facts_hold_under_jpeg_and_resizing():
    pixels = rough(np.random.default_rng(1), size=640, sigma=8.0)
    packed = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    assert picture_facts(packed) == picture_facts(pixels) == picture_facts(cv2.resize(pixels, (1280, 1280)))


def test_words_are_one_line_of_the_known_words():
    facts = picture_facts(flat((20, 20, 20)))
    assert facts.words() == "dark, grey, square, plain"
    assert picture_facts(flat((128, 128, 128))).words().startswith("medium-bright, ")
    assert facts.brightness in BRIGHTNESSES and facts.colour in COLOURS
    assert facts.orientation in ORIENTATIONS and facts.structure in STRUCTURES


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_pictures_of_any_shape_have_facts(shape):
    assert picture_facts(flat((50, 50, 50), *shape)).words()


def test_a_large_picture_is_quick():
    pixels = np.random.default_rng(0).integers(0, 255, (1280, 1280, 3), dtype=np.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        picture_facts(pixels)
        times.append(time.perf_counter() - start)
    # 3 ms on an idle core; the margin is for a busy machine.
    assert min(times) < 0.03
