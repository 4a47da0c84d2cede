"""Motion on drawn frames: the camera's own is told from that of things, and frames of one scene find each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from assistant.alignment import keypoints, similarity, unwarped, warped
from assistant.motion import _cells, _changed, camera_word, motion_between, motion_words
from assistant.types import Frame
from data.photos import photograph


def view(x: float, y: float = 60.0, square: float | None = None) -> np.ndarray:
    """[240, 320, 3] of a photograph from (x, y) on, with a speckled square at this column of the frame."""
    ground = photograph("coffee.png")
    frame = cv2.warpAffine(ground, np.float32([[1, 0, -x], [0, 1, -y]]), (320, 240))
    if square is not None:
        left = round(square)
        frame[100:130, left : left + 30] = (
            np.random.default_rng(0).integers(60, 255, (10, 10, 3)).repeat(3, 0).repeat(3, 1)
        )
    return frame


@pytest.mark.parametrize("pan", [0.0, 4.0])
def test_a_thing_moves_right_whatever_the_camera_does(pan):
    motion = motion_between(Frame(view(80, square=100), 0.0), Frame(view(80 + pan, square=110), 0.2), (15, 20))
    assert camera_word([motion]) == ("moving" if pan else "still")
    mover = motion.movers[0]
    assert "right" in mover.direction and 0.6 <= mover.speed / ((10 + pan) / 320 / 0.2) <= 1.2
    rows, columns = np.nonzero(np.hypot(*motion.velocity) > 0.05)
    assert set(rows) <= set(range(4, 11)) and set(columns) <= set(range(3, 12))
    assert "right" in motion_words([motion])


def bare(left: float) -> np.ndarray:
    """[240, 320, 3] of a ground with marks at its rim only, and a speckled block of 64 x 48 pixels on it."""
    frame = np.full((240, 320, 3), 120, np.uint8)
    for rows in (slice(0, 24), slice(216, 240)):
        frame[rows] = np.random.default_rng(2).integers(60, 200, (3, 40, 1)).repeat(8, 0).repeat(8, 1)
    frame[96:144, round(left) : round(left) + 64] = (
        np.random.default_rng(1).integers(20, 250, (6, 8, 1)).repeat(8, 0).repeat(8, 1)
    )
    return frame


def test_motion_does_not_bleed_into_a_bare_ground_and_is_as_fast_as_the_thing():
    motion = motion_between(Frame(bare(96), 0.0), Frame(bare(104), 0.1), (15, 20))  # cells of 16 x 16 pixels
    speed = np.hypot(*motion.velocity)
    rows, columns = np.nonzero(speed)
    assert set(rows) <= set(range(5, 10)) and set(columns) <= set(range(5, 12))  # the block and a cell around it
    assert len(motion.movers) == 1 and motion.movers[0].area < 1.6 * 72 * 48 / (240 * 320)
    assert motion.velocity[0, 7, 7:9] == pytest.approx(8 / 320 / 0.1, rel=0.15)


def crowd(by: float, gone: float) -> np.ndarray:
    """[240, 320, 3] of a faint ground, moved right by pixels, on which six strong things have gone as far left."""
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 60, (240, 400)), (0, 0), 3)
    ground = cv2.warpAffine(120 + grain, np.float32([[1, 0, by - 40], [0, 1, 0]]), (320, 240))
    for number in range(6):
        row, column = 30 + 100 * (number % 2), round(60 + 90 * (number // 2) - gone)
        marks = np.random.default_rng(number).choice([0, 255], (10, 8)).repeat(4, 0).repeat(4, 1)
        ground[row : row + 40, column : column + 32] = marks
    return np.repeat(ground.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("by", [0.0, 3.0])
def test_things_with_the_strongest_corners_are_not_taken_for_the_camera(by):
    motion = motion_between(Frame(crowd(0, 0), 0.0), Frame(crowd(by, 5), 0.1), (15, 20))
    assert motion.camera == pytest.approx(by / 320 / 0.1, abs=0.01)
    assert len(motion.movers) >= 6 and {one.direction for one in motion.movers if one.area > 0.008} == {"left"}


def test_a_cell_that_something_fills_in_part_has_its_speed_and_not_a_share_of_it():
    velocity = np.zeros((32, 32, 2), np.float32)
    velocity[:16, :4] = (0.2, -0.1)  # a quarter of the first cell
    velocity[16, 16] = (0.2, 0.2)  # a 256th of the last
    cells = _cells(velocity, (2, 2))
    assert cells[:, 0, 0] == pytest.approx([0.2, -0.1]) and not cells[:, 1, 1].any() and not cells[:, 0, 1].any()


def test_light_that_goes_up_is_no_change():
    before = np.random.default_rng(0).integers(60, 90, (60, 80), np.uint8)
    after = before + 25
    assert not _changed(before, after).any()
    after[20:30, 20:30] += 60
    assert _changed(before, after)[22:28, 22:28].all() and _changed(before, after).sum() < 14 * 14 + 1


def test_nothing_moves_in_the_same_frame_and_its_noise():
    rng = np.random.default_rng(0)
    noisy = (view(80).astype(int) + rng.integers(-3, 4, (240, 320, 1))).clip(0, 255).astype(np.uint8)
    motion = motion_between(Frame(view(80), 0.0), Frame(noisy, 0.1), (15, 20))
    assert motion.movers == () and not motion.velocity.any() and camera_word([motion]) == "still"
    assert motion_words([motion]) == "Nothing moves." and camera_word([]) == "still"


def test_frames_of_one_scene_are_moved_onto_each_other_and_back():
    matrix = similarity(keypoints(view(100, 70)), keypoints(view(80, 60)))
    assert np.allclose(matrix, [[1, 0, 20 / 320], [0, 1, 10 / 320]], atol=0.01)
    cells = torch.zeros(1, 24, 32)
    cells[0, 10, 12] = 1.0  # 10 pixels a cell
    moved, seen = warped(cells, matrix, 240 / 320)
    assert moved[0].argmax() == 11 * 32 + 14 and not seen[:, :2].any() and seen[5:20, 5:30].all()
    assert unwarped(moved[0], matrix, 240 / 320).argmax() == 10 * 32 + 12


def test_frames_of_different_scenes_do_not_fit():
    other = np.ascontiguousarray(photograph("gravel.png")[:240, :320])
    assert similarity(keypoints(other), keypoints(view(80))) is None
    assert similarity(keypoints(np.full((240, 320, 3), 90, np.uint8)), keypoints(view(80))) is None
