"""Where the places of one frame lie in another frame of the same scene, so that a moving camera can be taken off.

SIFT keypoints (Lowe 2004) matched with his ratio test, and a similarity fitted to the matches by RANSAC (Fischler and
Bolles 1981). All of it is OpenCV's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 320
"""Width that keypoints are found at, pixels."""
KEYPOINTS = 600
RATIO = 0.8
NEAREST = 2.0
"""Pixels at WIDTH by which a match may miss its place."""
FEWEST = 10
"""Matches that must agree for two frames to show one scene."""
RIM = 1.5
"""Cells at the edge of a warped frame that are not trusted."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Of one frame: places [n, 2] in shares of width and of width (so that both axes have one scale), descriptors."""

    places: np.ndarray
    descriptors: np.ndarray | None


def keypoints(pixels: np.ndarray) -> Keypoints:
    """The keypoints of [H, W, 3] uint8 RGB."""
    height = max(16, round(pixels.shape[0] * WIDTH / pixels.shape[1]))
    grey = cv2.cvtColor(cv2.resize(pixels, (WIDTH, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    found, descriptors = cv2.SIFT_create(KEYPOINTS).detectAndCompute(grey, None)
    return Keypoints(np.array([one.pt for one in found], np.float64).reshape(-1, 2) / WIDTH, descriptors)


def similarity(frame: Keypoints, anchor: Keypoints) -> np.ndarray | None:
    """[2, 3] from places of a frame to places of an anchor, both in shares of the width; None where too few agree."""
    if min(len(frame.places), len(anchor.places)) < FEWEST:
        return None
    pairs: list[Any] = cv2.BFMatcher().knnMatch(frame.descriptors, anchor.descriptors, k=2)
    good = [best for best, *others in pairs if others and best.distance < RATIO * others[0].distance]
    if len(good) < FEWEST:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        frame.places[[match.queryIdx for match in good]] * WIDTH,
        anchor.places[[match.trainIdx for match in good]] * WIDTH,
        method=cv2.RANSAC, ransacReprojThreshold=NEAREST,
    )  # fmt: skip
    if matrix is None or int(inliers.sum()) < FEWEST or not 0.5 < np.hypot(matrix[0, 0], matrix[1, 0]) < 2:
        return None
    matrix[:, 2] /= WIDTH
    return matrix


def warped(cells: Tensor, matrix: np.ndarray, aspect: float) -> tuple[Tensor, Tensor]:
    """What a frame's cells show, moved to where the anchor has it.

    Args:
        cells: [C, h, w] of the frame.
        matrix: of `similarity`.
        aspect: height of a frame over its width.

    Returns:
        (cells [C, h, w] on the anchor's grid, seen [h, w] bool: what the frame shows at all).
    """
    height, width = cells.shape[-2:]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.stack([(columns + 0.5) / width, (rows + 0.5) / height * aspect, np.ones(rows.shape)], axis=-1)
    x, y = np.moveaxis(places @ inverse.T, -1, 0)
    grid = torch.tensor(np.stack([2 * x - 1, 2 * y / aspect - 1], axis=-1), dtype=cells.dtype)  # [h, w, 2]
    moved = F.grid_sample(cells[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    seen = (grid[..., 0].abs() <= 1 - 2 * RIM / width) & (grid[..., 1].abs() <= 1 - 2 * RIM / height)
    return moved, seen


def unwarped(cells: Tensor, matrix: np.ndarray, aspect: float) -> Tensor:
    """The way back of `warped`: values [h, w] on the anchor's grid, moved to where the frame has them; 0 outside."""
    full = np.vstack([matrix, [0, 0, 1]])
    moved, seen = warped(cells[None], np.linalg.inv(full)[:2], aspect)
    return moved[0] * seen
