"""Motion on drawn frames: the camera's own is told from that of things, and frames of one scene find each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from assistant.alignment import keypoints, similarity, unwarped, warped
from assistant.motion import camera_word, motion_between, motion_words
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
