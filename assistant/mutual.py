"""Mutual scoring of pictures without labels: a patch is suspicious when few other pictures have one like it.

After MuSc (Li et al., ICLR 2024, arXiv 2401.16753): local neighbourhoods aggregated at several sizes (section 3.1),
mutual scoring with the mean of the lowest share of the distances to the other pictures (section 3.2), and image scores
smoothed over each picture's nearest pictures (section 3.3). Nothing in here is trained, and nothing knows a file.

Time grows with the number of pictures and not with its square: each picture is held against a pool of at most
MAX_OTHERS others, chosen once by a seed. Fine levels are halved first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = (1, 3, 5)
"""Sides of the neighbourhoods that are averaged around each patch, in cells: MuSc's r."""
LOWEST = 0.3
"""Share of the other pictures, nearest first, whose distances count: the others may be anomalous too."""
MAX_OTHERS = 48
"""Pictures in the pool that every picture is held against."""
MAX_CELLS = 900
"""Cells of a level from which it is halved, time and again, before its patches are compared."""
TOP = 0.01
"""Share of a map's cells whose mean is the picture's score."""
NEIGHBOURS = 3
"""Nearest pictures that a picture's score is smoothed over."""
NEIGHBOUR_WEIGHT = 0.05
"""Weight of a neighbour that is quite alike, beside the picture's own 1. The paper's weights are stronger; on training
pictures that made single defects vanish among their normal neighbours."""
CHUNK = 8
"""Pool pictures that are compared at once: bounds the memory of a comparison."""

SETTINGS = f"{SIZES} {LOWEST} {MAX_OTHERS} {MAX_CELLS} {TOP}"
"""What the scores depend on beside the pictures: kept ones of other settings do not count."""

Levels = Sequence[Tensor]
"""One [C_l, h_l, w_l] feature map a level of one picture, any floating dtype."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What every picture is held against.

    Attributes:
        keys: one key a pool picture; a picture is never held against itself.
        patches: for each level, for each size of SIZES, [M, P, C_l] unit vectors.
    """

    keys: tuple[str, ...]
    patches: tuple[tuple[Tensor, ...], ...]


def choose_pool(keys: Sequence[str], seed: int = 0) -> list[str]:
    """At most MAX_OTHERS + 1 of the keys, whatever their order: a picture of the pool leaves MAX_OTHERS others."""
    ordered = sorted(set(keys))
    if len(ordered) <= MAX_OTHERS + 1:
        return ordered
    chosen = np.random.default_rng(seed).choice(len(ordered), MAX_OTHERS + 1, replace=False)
    return [ordered[index] for index in sorted(chosen)]


def patches_of(level: Tensor, size: int) -> Tensor:
    """[C, h, w] features -> [h * w, C] float32 unit vectors of the mean over each size x size neighbourhood."""
    level = level.float().unsqueeze(0)
    if size > 1:
        level = F.avg_pool2d(level, size, stride=1, padding=size // 2, count_include_pad=False)
    return F.normalize(level[0].flatten(1), dim=0).T.contiguous()


def make_pool(keys: Sequence[str], pictures: Sequence[Levels]) -> Pool:
    """The pool of these pictures; those of another grid than the first are brought to its grid.

    Args:
        keys: one a picture.
        pictures: features of each, at least one.
    """
    first = [halved(level) for level in pictures[0]]
    patches = []
    for number, like in enumerate(first):
        maps = [_on_grid(halved(picture[number]), like.shape[-2:]) for picture in pictures]
        patches.append(tuple(torch.stack([patches_of(level, size) for level in maps]) for size in SIZES))
    return Pool(tuple(keys), tuple(patches))


def halved(level: Tensor) -> Tensor:
    """[C, h, w] -> [C, h', w'] float32 of at most MAX_CELLS cells, averaged over 2x2 cells as often as needed."""
    level = level.float()
    while level.shape[-1] * level.shape[-2] > MAX_CELLS:
        level = F.avg_pool2d(level.unsqueeze(0), 2, ceil_mode=True, count_include_pad=False)[0]
    return level


def _on_grid(level: Tensor, grid: torch.Size) -> Tensor:
    if level.shape[-2:] == grid:
        return level
    return F.interpolate(level.unsqueeze(0), size=tuple(grid), mode="bilinear", align_corners=False)[0]


def mutual_map(key: str, levels: Levels, pool: Pool) -> Tensor | None:
    """How unlike the pool's pictures each place of a picture is.

    Args:
        key: of the picture; the pool picture of the same key is left out.
        levels: its features, as many levels as the pool has.
        pool: of `make_pool`.

    Returns:
        [h, w] float32 distances 0..2 on the grid of the finest level, halved: the mean over levels and sizes. None
        when the pool holds no other picture.
    """
    others = torch.tensor([index for index, other in enumerate(pool.keys) if other != key], dtype=torch.long)
    if not len(others):
        return None
    levels = [halved(level) for level in levels]
    grid = tuple(levels[0].shape[-2:])
    total = torch.zeros(grid)
    for level, known in zip(levels, pool.patches, strict=True):
        for size, patches in zip(SIZES, known, strict=True):
            scores = patch_scores(patches_of(level, size), patches, others)
            scores = F.interpolate(
                scores.view(1, 1, *level.shape[-2:]), size=grid, mode="bilinear", align_corners=False
            )[0, 0]
            total += scores
    return total / (len(pool.patches) * len(SIZES))


def patch_scores(asked: Tensor, known: Tensor, others: Tensor) -> Tensor:
    """Mutual scores of patches (equations 3 and 4 of the paper, with Euclidean distances of unit vectors).

    Args:
        asked: [N, C] unit vectors.
        known: [M, P, C] unit vectors of M pictures.
        others: numbers of the pictures that count, 1..M of them.

    Returns:
        [N] 0..2: mean of the lowest LOWEST share of the distances to each picture's nearest patch.
    """
    nearest = []
    for start in range(0, len(others), CHUNK):
        part = known[others[start : start + CHUNK]]  # [m, P, C]
        likeness = asked @ part.flatten(0, 1).T  # [N, m * P]
        nearest.append(likeness.view(len(asked), len(part), -1).amax(dim=2))
    best = torch.cat(nearest, dim=1)  # [N, others]
    count = max(1, round(LOWEST * best.shape[1]))
    return (2 - 2 * best.topk(count, dim=1).values).clamp_min(0).sqrt().mean(dim=1)


def map_score(mutual: Tensor) -> float:
    """Mean of the strongest TOP of a map's cells [h, w], at least one."""
    flat = mutual.flatten()
    return float(flat.topk(max(1, round(TOP * flat.numel()))).values.mean())


def descriptor(levels: Levels) -> Tensor:
    """What a whole picture is like, [C] float32 unit vector: the mean of the coarsest level.

    The paper takes the class token, which a convolutional tower has not.
    """
    return F.normalize(levels[-1].float().mean(dim=(1, 2)), dim=0)


def smoothed(scores: np.ndarray, descriptors: np.ndarray) -> np.ndarray:
    """Scores averaged over each picture and its nearest NEIGHBOURS, weighted by likeness (section 3.3).

    Args:
        scores: [N] mutual scores.
        descriptors: [N, C] unit vectors.

    Returns:
        [N]; each picture itself has weight 1, the others NEIGHBOUR_WEIGHT times their cosine.
    """
    count = min(NEIGHBOURS, len(scores) - 1)
    if count < 1:
        return scores.copy()
    result = np.empty(len(scores))
    for index, own in enumerate(descriptors):
        likeness = descriptors @ own
        likeness[index] = -np.inf
        near = np.argpartition(-likeness, count - 1)[:count]
        weights = NEIGHBOUR_WEIGHT * np.clip(likeness[near], 0, None)
        result[index] = (scores[index] + weights @ scores[near]) / (1 + weights.sum())
    return result
