"""What differs within one picture: each patch held against the other patches of it and of its mirror images.

Nothing in here is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.mirrors import mirror, turn

OWN_NEIGHBOURS = 4
"""A patch that recurs in its own picture has at least this many like it; one look-alike beside a defect is no proof."""
OWN_SHARE = 0.01
"""Share of a picture's patches that its odd part is summed up from."""
ODD_LEVEL = 1
"""Level of the tower, finest first, whose patches `oddness` is taken on."""
OWN_RADIUS = (3, 2, 1, 1)
"""Cells around a patch that show the same thing and are left out of its own picture, finest residual level first."""


def directions(level: Tensor) -> Tensor:
    """[B, C, h, w] features -> unit vectors of the mean over each 3x3 neighbourhood."""
    return F.normalize(F.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False), dim=1)


def own_maps(levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`own_residual` of B pictures, [B, h_l, w_l] a residual level."""
    return tuple(
        torch.stack([own_residual(one, radius) for one in directions(level)])
        for level, radius in zip(levels, OWN_RADIUS, strict=False)
    )


def own_residual(unit: Tensor, radius: int) -> Tensor:
    """Mean distance of each patch to its OWN_NEIGHBOURS nearest patches of the same picture, [C, h, w] -> [h, w].

    Patches within `radius` cells show the same thing and are left out. Few mutual neighbours mean suspicion (MuSc,
    Li et al., ICLR 2024, within one picture).
    """
    height, width = unit.shape[-2:]
    flat = unit.flatten(1)  # [C, N]
    likeness = flat.T @ flat  # [N, N]
    likeness.masked_fill_(_near(height, width, radius, unit.device), -1.0)
    best = likeness.topk(min(OWN_NEIGHBOURS, likeness.shape[0]), dim=1).values
    return distance_of(best).mean(dim=1).view(height, width)


def oddness(level: Tensor, own: Tensor, mirrors: int, radius: int, turns: Tensor | None = None) -> Tensor:
    """How far the oddest OWN_SHARE of a picture's patches are from their like -> [B], 0..2.

    As `own_residual`, with the picture's mirror images among what a patch is held against: what a symmetric product has
    at its left it has at its right, and a defect has neither. So it is with quarter turns and a round product.

    Args:
        level: [mirrors B, C, h, w] features, each picture followed by its mirror images.
        own: [mirrors B, h, w] `own_residual` of them: mirror images can only bring a patch nearer to its like, so the
            patches that are odd without them are looked at first, and more only until none of the rest can be odder.
        mirrors: how many rows belong to one picture.
        radius: that `own` was made with.
        turns: [n B, C, w, h] features of the pictures' first quarter turns, those of each picture in a row.
    """
    height, width = level.shape[-2:]
    near, cells = _near(height, width, radius, level.device), torch.arange(height * width).view(height, width)
    lying = [mirror(cells, number).flatten() for number in range(mirrors)]
    rows = directions(level).flatten(2).unflatten(0, (-1, mirrors))  # [B, mirrors, C, N]
    if turns is not None:
        more = directions(turns).flatten(2).unflatten(0, (len(rows), -1))
        lying += [turn(cells, number).flatten() for number in range(more.shape[1])]
        rows = torch.cat([rows, more], dim=1)
    count = max(1, round(height * width * OWN_SHARE))
    odd = []
    for images, apart in zip(rows, own[::mirrors].flatten(1), strict=True):
        order, taken = apart.argsort(descending=True), 0
        found = apart[:0]
        while taken < len(order) and (taken < count or found.topk(count).values[-1] < apart[order[taken]]):
            some = order[taken : taken + 4 * count]
            patches = images[0][:, some].T  # [n, C]
            likeness = [
                # a mirror image shows the patch itself elsewhere, and it is left out there too
                (patches @ image).masked_fill_(near[some][:, where], -1.0)
                for where, image in zip(lying, images, strict=True)
            ]
            best = torch.cat(likeness, dim=1).topk(min(OWN_NEIGHBOURS, height * width), dim=1).values
            found, taken = torch.cat([found, distance_of(best).mean(dim=1)]), taken + len(some)
        odd.append(found.topk(count).values.mean())
    return torch.stack(odd)


@lru_cache(maxsize=16)
def _near(height: int, width: int, radius: int, device: torch.device) -> Tensor:
    """Which pairs of a grid's cells lie within `radius` cells, [N, N] bool; as costly as the products themselves."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    return ((rows[:, None] - rows).abs() <= radius) & ((columns[:, None] - columns).abs() <= radius)


def top_mean(logits: Tensor, share: float) -> Tensor:
    """Mean of the highest `share` (0..1) of the cells of [B, 1, H, W] -> [B]."""
    flat = logits.flatten(1)
    return flat.topk(max(1, round(flat.shape[1] * share)), dim=1).values.mean(dim=1)


def distance_of(cosine: Tensor) -> Tensor:
    """Euclidean distance 0..2 of unit vectors with this cosine."""
    return (2 - 2 * cosine).clamp_min(0).sqrt()
