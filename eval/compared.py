"""A picture held against each reference once: the residuals against any of them are put together from that.

The distance to the nearest patch of several references is the least of the distances to each. Runs with 1, 2, 4 and 8
references of one draw share theirs, so that each is compared with a picture once instead of four times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.mirrors import VARIANTS, mirrored
from assistant.own_residual import directions
from assistant.reference import (
    PLACE_RADIUS,
    References,
    Residuals,
    facts_of,
    mean_of_each,
    misplaced_in,
    nearest_residual,
    place_residual,
)

Levels = Sequence[Tensor]
"""Residual levels of one picture and the mirror images that a look is the mean of, [n, C_l, h_l, w_l] each."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture, as it is, held against one reference and its mirror images.

    Attributes:
        maps: one [2, h_l, w_l] a residual level: distance 0..2 to the nearest patch, and to those in place.
        likeness: [N] cosine of each patch of the last level to the nearest one of the reference.
        nearest: [N] which patch that is, counted through the reference's variants.
    """

    maps: tuple[Tensor, ...]
    likeness: Tensor
    nearest: Tensor


def against(part: References) -> Callable[[Levels], Pair]:
    """Holds pictures against one reference, the memory of that picture alone; what it needs of it is made once."""
    patches = F.normalize(_patches(part), dim=0)

    def compare(levels: Levels) -> Pair:
        maps = []
        for number, (level, one) in enumerate(zip(levels, part.units, strict=True)):
            unit = directions(level)[0]
            nearest = nearest_residual(unit, one)
            maps.append(torch.stack([nearest, place_residual(unit, one[::VARIANTS], PLACE_RADIUS[number])]))
        best = (F.normalize(levels[-1][0].flatten(1), dim=0).T @ patches).max(dim=1)
        return Pair(tuple(maps), best.values, best.indices)

    return compare


def together(
    levels: Levels,
    own: Sequence[Tensor],
    pairs: Sequence[Pair],
    parts: Sequence[References],
    memory: References | None = None,
) -> Residuals:
    """Residuals of one picture against all these references; the same as `assistant.reference.residuals` gives.

    Args:
        levels: of the picture.
        own: of `assistant.own_residual.own_maps`.
        pairs: what came of it and each reference; none for a look without references.
        parts: the memory of each reference alone, in the same order.
        memory: of all of them; None for a look without references.
    """
    maps, each = [], []
    for number, mine in enumerate(own):  # [n, h, w]
        if pairs:
            apart = torch.stack([pair.maps[number] for pair in pairs])
            given, mean = apart.amin(dim=0), mean_of_each(apart[:, :1])
        else:
            given, mean = (mine.new_zeros(count, *mine.shape[1:]) for count in (2, 1))
        each.append(_turned(mean, len(mine)))
        maps.append(torch.cat([mine[:, None], _turned(given, len(mine))], dim=1))
    last = levels[-1]
    difference = torch.zeros_like(last)
    if pairs:
        best = torch.stack([pair.likeness for pair in pairs]).argmax(dim=0)  # [N]
        found = torch.stack([_patches(part)[:, pair.nearest] for pair, part in zip(pairs, parts, strict=True)])
        chosen = found.gather(0, best.expand(1, found.shape[1], -1))[0]  # [C, N]
        difference = _turned(last[0] - chosen.view_as(last[0]), len(last))
    references = [memory] * len(last)
    facts = facts_of(references, last.device)
    misplaced = misplaced_in(maps[0], references, len(last))
    return Residuals(tuple(maps), difference, **facts, misplaced=misplaced, each=tuple(each))


def _turned(values: Tensor, count: int) -> Tensor:
    """[C, h, w] and its first mirror images, `count` in all: [count, C, h, w]."""
    return mirrored(values[None], count)


def nearest_of(differences: Residuals) -> Tensor:
    """The map of `eval.plain_maps.nearest_map` out of residuals of one picture: [h_1, w_1], mean over the levels."""
    finest = differences.maps[0].shape[-2:]
    maps = [
        F.interpolate(level[:1, 1:2], size=finest, mode="bilinear", align_corners=False) for level in differences.maps
    ]
    return torch.stack(maps).mean(dim=0)[0, 0]


def _patches(part: References) -> Tensor:
    """Patches of the last level, [C, K h w]."""
    return part.levels[-1].transpose(0, 1).flatten(1)
