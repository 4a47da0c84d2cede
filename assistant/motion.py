"""What moves between two frames: the camera, and things against the scene behind them.

The camera's own motion is a similarity fitted to tracked corners by RANSAC (Lucas and Kanade 1981; Fischler and Bolles
1981). The corners lie evenly over the picture, one in each square of it: things that move have the strongest corners,
and were those taken wherever they lie, a few things would be taken for the camera. What the dense optical flow (DIS,
Kroeger et al., ECCV 2016, arXiv 1603.03590) still shows once it is taken off belongs to things. Flow alone bleeds:
where a ground has little texture it follows whatever moves beside it. So a pixel moves only where the picture itself
changes as well, more than its noise. All of it is OpenCV's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from scipy import ndimage

from assistant.regions import place_word
from assistant.types import Frame

SIDE = 256
"""Width that flow is measured at, pixels."""
CORNER_EVERY = 16
"""Side, pixels at SIDE, of the squares of which each gives its strongest corner."""
RETURNS = 1.0
"""Pixels by which a corner that is tracked there and back may miss where it was (Kalal et al., ICPR 2010)."""
FEWEST_CORNERS = 12
INLIERS = 0.4
"""Share of the tracked corners that must follow one motion for it to be the camera's."""
CAMERA_MOVES = 0.006
"""Median speed of the picture's corners, widths a second, from which a camera is called moving.

Of drawn clips for training all but one with a still camera measure under 0.004, all with a moving one over 0.008.
"""
MOVES = 0.03
"""Speed, widths a second, from which a place moves; slower flow is noise of sensor and coder."""
SHAKE = 0.35
"""Pixels at SIDE under which a displacement is noise, however short the time."""
CHANGES, CHANGES_LEAST = 2.5, 3.0
"""A pixel changes by more than this many times the picture's median change, and by this many grey levels of 255."""
FILLED = 0.1
"""Share of a cell that must move for it to have a velocity: the mean over what moves in it, not over the cell."""
SMALLEST = 0.0008
"""Share of the picture that something moving fills at least."""
DIRECTIONS = ("right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right")


@dataclass(frozen=True)
class Mover:
    """Something that moves: one connected region of flow.

    Attributes:
        place: one of `types.PLACES`.
        area: share of the picture, 0..1.
        speed: picture widths a second, of its fastest tenth: flow is blurred at the edges of what moves.
        direction: one of DIRECTIONS.
    """

    place: str
    area: float
    speed: float
    direction: str


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion between two frames.

    Attributes:
        velocity: [2, rows, columns] float32, right and down, picture widths a second, mean over what moves in each
            cell, the camera's motion taken off; 0 where less than FILLED of a cell moves.
        camera: speed of the picture's corners, widths a second; 0.0 where no common motion was found.
        movers: what moves, largest first.
    """

    velocity: np.ndarray
    camera: float
    movers: tuple[Mover, ...] = ()


def motion_between(earlier: Frame, later: Frame, grid: tuple[int, int]) -> Motion:
    """Motion from one frame to a later one of the same size, in cells of a grid (rows, columns)."""
    seconds = max(later.time - earlier.time, 1e-3)
    before, after = _grey(earlier.pixels), _grey(later.pixels)
    height, width = before.shape
    matrix = _camera(before, after)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    shift = np.abs(np.hypot(*(corners @ matrix.T - corners[:, :2]).T)).mean() / width / seconds
    moved = cv2.warpAffine(before, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(moved, after, None)  # [h, w, 2] pixels
    size = np.hypot(flow[..., 0], flow[..., 1])
    rim = _unseen(matrix, width, height)  # what a moving camera has only now brought into view has no flow
    flow[(size < SHAKE) | rim | ~_changed(moved, after)] = 0
    velocity = flow / (width * seconds)
    return Motion(_cells(velocity, grid), float(shift), _movers(velocity))


def camera_word(motions: Sequence[Motion]) -> str:
    """Whether the camera is "still" or "moving", by the median over a clip's motions; "still" without any."""
    if not motions:
        return "still"
    return "moving" if float(np.median([one.camera for one in motions])) > CAMERA_MOVES else "still"


def direction_word(x: float, y: float) -> str:
    """One of DIRECTIONS for a velocity to the right and down."""
    return DIRECTIONS[round(math.atan2(y, x) / (math.pi / 4)) % 8]


def _grey(pixels: np.ndarray) -> np.ndarray:
    height = max(16, round(pixels.shape[0] * SIDE / pixels.shape[1]))
    small = cv2.resize(pixels, (SIDE, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def _camera(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[2, 3] similarity that most corners follow; the identity where there is none."""
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    corners = _corners(before)
    lucas_kanade = partial(cv2.calcOpticalFlowPyrLK, nextPts=None, winSize=(15, 15), maxLevel=3)
    tracked, found, _ = lucas_kanade(before, after, corners)
    returned, found_again, _ = lucas_kanade(after, before, tracked)
    missed = np.linalg.norm((returned - corners)[:, 0], axis=1)
    good = (found & found_again).ravel().astype(bool) & (missed < RETURNS)
    if good.sum() < FEWEST_CORNERS:
        return still
    matrix, inliers = cv2.estimateAffinePartial2D(
        corners[good], tracked[good], method=cv2.RANSAC, ransacReprojThreshold=1.0, maxIters=400
    )
    if matrix is None or inliers.mean() < INLIERS or not 0.7 < np.hypot(matrix[0, 0], matrix[1, 0]) < 1.4:
        return still
    return matrix


def _corners(grey: np.ndarray) -> np.ndarray:
    """[k, 1, 2] float32 x and y of the strongest corner (Shi and Tomasi 1994) of each square of a picture."""
    strength = cv2.cornerMinEigenVal(grey, 3)
    height, width = (-(-side // CORNER_EVERY) * CORNER_EVERY for side in grey.shape)
    padded = np.full((height, width), -1, np.float32)
    padded[: grey.shape[0], : grey.shape[1]] = strength
    squares = padded.reshape(height // CORNER_EVERY, CORNER_EVERY, width // CORNER_EVERY, CORNER_EVERY)
    best = squares.transpose(0, 2, 1, 3).reshape(*squares.shape[::2], -1).argmax(axis=-1)
    rows, columns = np.indices(best.shape) * CORNER_EVERY + np.stack(np.divmod(best, CORNER_EVERY))
    return np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).astype(np.float32)


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pixels [h, w] bool that differ by more than noise and light, which shift the whole picture alike."""
    change = after.astype(np.float32) - before
    change = cv2.blur(np.abs(change - np.median(change)), (5, 5))
    return change >= max(CHANGES_LEAST, CHANGES * float(np.median(change)))


def _cells(velocity: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """[2, rows, columns] float32 of [h, w, 2] velocities: the mean over what moves in each cell."""
    moving = (velocity != 0).any(axis=-1).astype(np.float32)
    share = cv2.resize(moving, grid[::-1], interpolation=cv2.INTER_AREA).reshape(*grid, 1)
    mean = cv2.resize(velocity, grid[::-1], interpolation=cv2.INTER_AREA).reshape(*grid, 2) / np.maximum(share, 1e-6)
    return np.ascontiguousarray(np.where(share >= FILLED, mean, 0).transpose(2, 0, 1), dtype=np.float32)


def _unseen(matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels [h, w] bool of the later frame that the earlier one did not show, and a rim of theirs."""
    inside = cv2.warpAffine(np.ones((height, width), np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
    if inside.all():
        return np.zeros((height, width), bool)
    return cv2.erode(inside, np.ones((9, 9), np.uint8), borderValue=1) == 0


def _movers(velocity: np.ndarray) -> tuple[Mover, ...]:
    """Connected moving regions of [h, w, 2] velocities."""
    speed = np.hypot(velocity[..., 0], velocity[..., 1])
    labels, count = ndimage.label(speed > MOVES, structure=np.ones((3, 3)))
    found = []
    height, width = speed.shape
    for number, window in enumerate(ndimage.find_objects(labels, max_label=count), start=1):
        inside = labels[window] == number
        area = float(inside.sum()) / speed.size
        if area < SMALLEST:
            continue
        rows, columns = np.nonzero(inside)
        x, y = velocity[window][inside].mean(axis=0)
        place = place_word(
            (columns.mean() + 0.5 + window[1].start) / width, (rows.mean() + 0.5 + window[0].start) / height
        )
        found.append(
            Mover(place, area, float(np.quantile(speed[window][inside], 0.9)), direction_word(float(x), float(y)))
        )
    return tuple(sorted(found, key=lambda one: -one.area))


def motion_words(motions: Sequence[Motion]) -> str:
    """What moves in a clip, in one sentence."""
    movers = [mover for motion in motions for mover in motion.movers]
    if not movers:
        return "Nothing moves."
    most = max(len(motion.movers) for motion in motions)
    ways = Counter(mover.direction for mover in movers).most_common(2)
    directions = " or ".join(way for way, count in ways if count >= 0.2 * len(movers)) or ways[0][0]
    speed = float(np.median([mover.speed for mover in movers]))
    noun = "thing moves" if most == 1 else "things move"
    return f"At most {most} {noun} at once, mostly {directions}, at about {speed:.2f} picture widths a second."
