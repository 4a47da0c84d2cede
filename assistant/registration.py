"""A reference brought to lie under a picture, so that the two are compared place by place at the finest level.

Of a part that lies still under a camera, or a board beside its template, two normal pictures hardly differ once one is
brought over the other, and then a missing mark or a bridged track stands out although there are others like it. SIFT
keypoints (Lowe 2004) say where to begin, from where the enhanced correlation coefficient is climbed (Evangelidis and
Psarakis, "Parametric Image Alignment using Enhanced Correlation Coefficient Maximization", TPAMI 2008); both are
OpenCV's. The two are held to show one scene only if keypoints agree on a place and most of the pictures correlates
nearly wholly then; else nothing is compared: a cell of the same kind, on which all lines lie alike, is no copy of
another, nor is a smooth part, which correlates with every other of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.alignment import Keypoints, keypoints, similarity
from assistant.own_residual import directions
from assistant.reference import BULK, References, place_residual

SIDE = 128
"""Longest side at which the correlation is climbed, pixels."""
STEPS, LEAST_GAIN = 40, 1e-4
"""The climb ends after so many steps, or with one that gains less."""
SAME, SAME_DETAILS, SET_ASIDE = 0.996, 0.98, 0.1
"""Correlation, of pictures and of their details, from which two show one scene, when SET_ASIDE of their pixels, those
that fit worst, do not count: a defect may lie there. On training folds: a board and its template, taken anew, have more
than 0.996 in nine of ten, and details of 0.99 and more; castings, which lie under one camera, have up to 0.998 where
they are different parts or turned otherwise, with details of at most 0.974, and 0.9999 where one part was laid down
twice; solar cells, which differ in little else than details, come up to 0.995 but for one of 240.
"""
PLAIN, PLAIN_DETAILS = 1.0, 0.2
"""Grey levels of 255 by which they must vary: a plain ground is no scene."""
OVERLAP = 0.4
"""Share of the picture that the other must show."""
STRAYED = 0.05
"""Share of the width that a corner may be moved by it: keypoints that agree are not so wrong, the climb can be."""
SMOOTHED, COARSE = 5, 2.0
"""Side of the Gaussian that pictures are smoothed with for it, pixels, and standard deviation of a wider one: what that
takes away besides are the details, for bright and dark parts lie alike in other scenes too.
"""
KEPT = 48
"""Pictures whose keypoints are kept, half a megabyte each."""
MOST_TURN, MOST_SCALED = 5.0, 1.1
"""Degrees and factor up to which features are moved; beyond, the tower looks at the reference's moved pixels."""
RIM = 3.0
"""Cells at the edge of a reference that say nothing: what lies beyond has a part in their features."""
USUAL, SLOPE = 0.25, 0.5
"""A place of a normal picture is at most so far from the one under it: USUAL, and SLOPE for each unit that the picture
is farther as a whole, by its quantile `reference.BULK`, for light and grain differ all over it. On training pictures.
"""


def grey_of(pixel_values: Tensor) -> Tensor:
    """[B, 3, H, W] normalised pixels -> [B, H, W] uint8, the darkest value of each 0 and the brightest 255."""
    grey = pixel_values.float().mean(dim=1)
    low, high = (end(grey, dim=(1, 2), keepdim=True) for end in (torch.amin, torch.amax))
    return (255 * (grey - low) / (high - low).clamp_min(1e-6)).round().to(torch.uint8)


def transform(grey: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """[2, 3] from places of a picture to those of another, in shares of each one's width; None for another scene.

    Args:
        grey, other: [H, W] uint8.
    """
    begin = similarity(*(_keypoints(one.tobytes(), one.shape) for one in (grey, other)))
    if begin is None:
        return None
    small = [_shrunk(one) for one in (grey, other)]
    # in shares of the widths -> in pixels of the shrunk pictures, whose widths may differ
    width, wide = (one.shape[1] for one in small)
    matrix = begin * wide
    matrix[:, :2] /= width
    ends = cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, STEPS, LEAST_GAIN
    try:
        _, found = cv2.findTransformECC(*small, matrix.astype(np.float32), cv2.MOTION_AFFINE, ends, None, SMOOTHED)
    except cv2.error:  # it does not climb: what the keypoints say stays
        found = matrix
    corners = np.array([[x, y, 1] for x in (0, width) for y in (0, small[0].shape[0])]).T
    if np.abs((found - matrix) @ corners).max() > STRAYED * wide:
        found = matrix
    whole, details = _likeness(*small, found)
    if whole < SAME or details < SAME_DETAILS:
        return None
    found = found.astype(np.float64) / wide
    found[:, :2] *= width
    return found


@lru_cache(KEPT)
def _keypoints(grey: bytes, shape: tuple[int, int]) -> Keypoints:
    """Keypoints of a picture [H, W] uint8: a reference is held against many pictures, and a picture by several ways."""
    return keypoints(np.dstack([np.frombuffer(grey, np.uint8).reshape(shape)] * 3))


def _likeness(grey: np.ndarray, other: np.ndarray, matrix: np.ndarray) -> tuple[float, float]:
    """Correlations -1..1 of a picture and of another that is moved by `matrix`, pixels: of the whole, of details."""
    size = grey.shape[::-1]
    flags = cv2.INTER_LINEAR + cv2.WARP_INVERSE_MAP
    moved_other = cv2.warpAffine(other, matrix.astype(np.float32), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    shown = cv2.warpAffine(np.ones_like(other), matrix.astype(np.float32), size, flags=flags)  # 0 beyond the other
    shown = cv2.erode(shown, np.ones((SMOOTHED, SMOOTHED)), borderValue=0) > 0
    if shown.mean() < OVERLAP:
        return -1.0, -1.0
    both = [one.astype(np.float32) for one in (grey, moved_other)]
    smooth = [cv2.GaussianBlur(one, (SMOOTHED, SMOOTHED), 0) for one in both]
    details = [near - cv2.GaussianBlur(one, (0, 0), COARSE) for near, one in zip(smooth, both, strict=True)]
    whole, fine = (
        _correlation(*(one[shown].astype(float) for one in pair), plain)
        for pair, plain in ((smooth, PLAIN), (details, PLAIN_DETAILS))
    )
    return whole, fine


def _correlation(values: np.ndarray, others: np.ndarray, plain: float) -> float:
    """Correlation -1..1 of two [n] without what fits worst; -1 where one of them varies by less than `plain`."""
    kept = np.ones(len(values), bool)
    for _ in range(3):
        if min(others[kept].std(), values[kept].std()) < plain:
            return -1.0
        off = np.abs(values - np.polyval(np.polyfit(others[kept], values[kept], 1), others))
        kept = off <= np.quantile(off, 1 - SET_ASIDE)
    return float(np.corrcoef(values[kept], others[kept])[0, 1])


def _shrunk(grey: np.ndarray) -> np.ndarray:
    """[H, W] with its longer side at most SIDE."""
    shrink = min(1.0, SIDE / max(grey.shape))
    height, width = (max(16, round(side * shrink)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def moved(
    level: Tensor, matrix: np.ndarray, size: tuple[int, int], aspect: float, other: float
) -> tuple[Tensor, Tensor]:
    """A level of a reference as a picture's grid has it.

    Args:
        level: [C, h, w] of the reference.
        matrix: of `transform`, from the picture to the reference.
        size: rows and columns of the picture's grid.
        aspect, other: height over width of the picture and of the reference.

    Returns:
        (level [C, rows, columns], shown [rows, columns] bool: what lies well inside of the reference).
    """
    rows, columns = ((torch.arange(count, dtype=torch.float64) + 0.5) / count for count in size)
    y, x = torch.meshgrid(aspect * rows, columns, indexing="ij")
    (a, b, c), (d, e, f) = matrix.tolist()
    grid = torch.stack([2 * (a * x + b * y + c) - 1, 2 * (d * x + e * y + f) / other - 1], dim=-1)
    warped = F.grid_sample(level[None], grid[None].to(level.dtype), padding_mode="border", align_corners=False)
    height, width = level.shape[-2:]
    inside = 1 - 2 * RIM / torch.tensor([width, height])
    return warped[0], (grid.abs() <= inside).all(dim=-1)


@dataclass(frozen=True, eq=False)
class Under:
    """A reference that shows the scene of a picture, and how it comes to lie under it.

    Attributes:
        number: of the reference.
        matrix: [2, 3] of `transform`, from the picture to the reference.
    """

    number: int
    matrix: np.ndarray

    @property
    def turned(self) -> bool:
        """Whether it has to be turned or scaled so far that a tower sees its patches otherwise."""
        (a, _, _), (b, _, _) = self.matrix
        return abs(np.degrees(np.arctan2(b, a))) > MOST_TURN or abs(np.log(np.hypot(a, b))) > np.log(MOST_SCALED)


def found_under(last: Tensor, grey: Tensor, references: References) -> Under | None:
    """The reference under a picture; None where none of them shows the same scene, or the pictures were not kept.

    Args:
        last: [C, h, w] last level of the tower of one picture.
        grey: [H, W] of `grey_of`.
        references: any number; the one that is most like the picture is tried.
    """
    if not len(references.fine):
        return None
    number = _nearest(last, references)
    matrix = transform(grey.numpy(), references.shown[number].float().mean(dim=0).round().byte().numpy())
    return None if matrix is None else Under(number, matrix)


def laid_under(under: Under, references: References, size: tuple[int, int]) -> Tensor:
    """The reference's pixels [1, 3, height, width] uint8 as a picture of `size` = (height, width) would show them."""
    pixels = references.shown[under.number].permute(1, 2, 0).numpy()
    matrix = under.matrix * pixels.shape[1]
    matrix[:, :2] /= size[1]
    turned = cv2.warpAffine(
        pixels, matrix, size[::-1], flags=cv2.INTER_LINEAR + cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    return torch.from_numpy(turned).permute(2, 0, 1)[None]


def excess(fine: Tensor, under: Tensor, shown: Tensor) -> Tensor:
    """How much farther each place of a picture is from the one under it than in a normal picture, [h, w], >= 0.

    Args:
        fine: [C, h, w] finest level of the picture.
        under: the same of what lies under it.
        shown: [h, w] bool, where the reference shows something at all; elsewhere it is 0.
    """
    residual = place_residual(directions(fine[None])[0], directions(under[None]), 0) * shown
    return (residual - USUAL - SLOPE * residual.flatten().quantile(BULK)).clamp_min(0)


def _nearest(last: Tensor, references: References) -> int:
    """Which reference is most like a picture place by place, by the last level of the tower."""
    if len(references.fine) == 1:
        return 0
    rows = references.levels[-1].unflatten(0, (len(references.fine), -1))[:, 0]  # [K, C, h, w], pictures unmirrored
    if rows.shape[-2:] != last.shape[-2:]:
        rows = F.interpolate(rows, size=last.shape[-2:], mode="bilinear", align_corners=False)
    return int((F.normalize(rows, dim=1) * F.normalize(last, dim=0)).sum(dim=1).mean(dim=(1, 2)).argmax())
