"""What differs from normal references, patch by patch; beside it what differs from the rest of the picture itself.

Nearest-neighbour distances between frozen patch features, after PatchCore (Roth et al., CVPR 2022, arXiv 2106.08265,
sections 3.1 and 3.3: neighbourhoods of patches are averaged, the distance to the nearest normal patch is the
residual). Nothing in here is trained; the maps are inputs of the selector and of the heatmap head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.in_place import out_of_place, spread_of
from assistant.mirrors import VARIANTS, mirror, mirrored
from assistant.own_residual import OWN_SHARE, directions, distance_of, own_maps, top_mean

RESIDUALS = ("own", "nearest", "in place")
"""Channels of a residual map: against the picture's own other patches, against any patch of the references and their
mirror images, against the references' patches at the same place."""
LEVEL_WEIGHTS = (1.0, 1.0, 0.5, 0.5)
"""How much each residual level counts in the distance to the references, finest first."""
TOP_SHARE = 0.02
"""Share of a picture's cells whose mean distance to the references speaks for the whole picture."""
BULK = 0.75
"""Quantile of a picture's distances that says how far it is from its references as a whole."""
PATCHES = 512
"""Held against a picture at once: larger products leave holes in the memory that what is kept then stands between."""
PLACE_RADIUS = (2, 1, 1, 1)
"""Cells by which a reference may be shifted and still count as in place, finest residual level first."""


@dataclass(frozen=True, eq=False)
class References:
    """Patch features of normal references of one product.

    Attributes:
        levels: one [K, C_l, h_l, w_l] float32 a residual level, as the tower gives them: each picture is followed by
            its mirror images, see `mirrored`; the last level is the tower's last.
        count: how many pictures were given, >= 1; variants do not count.
        descriptors: [n, D] unit vectors, the pictures' pooled last level; [0, 0] when they are not kept.
        normals: fused image logits of the pictures, each held against the others; what a threshold is made from.
        peaks: highest map logits of the same pictures against the others; what `Calibration.dimming` is made from.
        notes: what was noticed about the pictures, one sentence each.
        usual: mean `Residuals.top` of the pictures, each held against the others, 0..2; None for a single picture,
            of which nothing says how far apart two normal ones are.
        known: 0..1, how far the product is one that the model was trained on, see `familiar.Familiar.known`.
        fine: [K, C, h, w] the tower's finest level of the pictures in `levels` without their mirror images, and
        shown: [K, 3, H, W] uint8 the pictures themselves, by which `registration` brings them under another one; both
            empty when not kept.
        rows: rows of `levels` that one picture has: itself and its mirror images, of each view of it.
        apart: [K, K, h, w] of `in_place.spread_of` at the finest residual level, of the pictures in `levels`; [0, 0, 0,
            0] where they are too few, see `memory.LEAST_IN_PLACE`.
    """

    levels: tuple[Tensor, ...]
    count: int
    descriptors: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    normals: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    usual: float | None = None
    known: float = 0.0
    fine: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, 0))
    shown: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 0, 0, dtype=torch.uint8))
    apart: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, 0))
    peaks: tuple[float, ...] = ()
    rows: int = VARIANTS

    @cached_property
    def units(self) -> tuple[Tensor, ...]:
        """`directions` of the levels; made once, however many pictures are held against them."""
        return tuple(map(directions, self.levels))

    @cached_property
    def spread(self) -> Tensor | None:
        """[h, w] how far a place may be from the same place of the pictures, see `in_place.spread_of`."""
        return spread_of(self.apart)


class Alone(NamedTuple):
    """What was trained says of B pictures without references, whatever they are held against.

    Attributes:
        score_logit: [B] image logit, no gain in it.
        kind_logits: [B, kinds] which kind of defect, if there is one.
    """

    score_logit: Tensor
    kind_logits: Tensor


@dataclass(frozen=True, eq=False)
class Residuals:
    """What differs, for B pictures.

    Attributes:
        maps: one [B, 3, h_l, w_l] a residual level, channels as RESIDUALS, distances 0..2; the two channels of the
            references are 0 where none were given.
        difference: [B, D, h, w] last level minus its nearest reference patches; 0 without references.
        given: [B] float, 1 where references were given.
        usual: [B] of `References.usual`, NaN where there is none; None counts as that.
        known: [B] of `References.known`, 0 without references; None counts as that.
        registered: [B, 1, H, W] of `registration.excess` at the tower's finest level, 0 where nothing was registered;
            None counts as that.
        laid: [B] 1 where something was registered, 0 elsewhere; None counts as 1 where `registered` is given.
        alone: of the same pictures, where it is known already.
        misplaced: [B, 1, h, w] of `in_place.out_of_place` at the finest residual level; None counts as 0.
        each: one [B, 1, h_l, w_l] a residual level: mean over the references of the distance to the nearest patch of
            each; None counts as the distance to the nearest of all.
        count: [B] how many references there are, 0 without; None counts as very many.
    """

    maps: tuple[Tensor, ...]
    difference: Tensor
    given: Tensor
    usual: Tensor | None = None
    known: Tensor | None = None
    registered: Tensor | None = None
    misplaced: Tensor | None = None
    count: Tensor | None = None
    each: tuple[Tensor, ...] | None = None
    laid: Tensor | None = None
    alone: Alone | None = None

    @cached_property
    def distance(self) -> Tensor:
        """How far each place is from anything that the references show: the mean over the levels by LEVEL_WEIGHTS.

        [B, 1, h, w] at the finest residual level, 0..2; 0 without references. Made once for map and score.
        """
        return _over_levels([level[:, 1:2] for level in self.maps])

    @cached_property
    def mean_distance(self) -> Tensor:
        """As `distance`, but to each of the references, and the mean over them: what counts for the map.

        The more references there are, the nearer is the nearest of all their patches, above all to what is odd: among
        many normal pictures some speck looks like it. On training folds the nearest of eight covered defects less well
        than that of four, and the mean as well.
        """
        return self.distance if self.each is None else _over_levels(self.each)

    def without(self) -> Residuals:
        """The same pictures as if there were no references: what differs within each of them is left."""
        maps = tuple(torch.cat([level[:, :1], torch.zeros_like(level[:, 1:])], dim=1) for level in self.maps)
        return Residuals(maps, torch.zeros_like(self.difference), torch.zeros_like(self.given))

    @property
    def known_share(self) -> Tensor:
        """[B] of `known`; 0 where nothing is told of it."""
        return torch.zeros_like(self.given) if self.known is None else self.known

    @property
    def top(self) -> Tensor:
        """[B] mean `distance` of the farthest TOP_SHARE of the places: what counts for a whole picture."""
        return top_mean(self.distance, TOP_SHARE)

    @property
    def bulk(self) -> Tensor:
        """[B] quantile BULK of `distance`: a defect fills less than the rest of a picture."""
        return self.distance.flatten(1).quantile(BULK, dim=1)


def _over_levels(levels: Sequence[Tensor]) -> Tensor:
    """Maps [B, 1, h_l, w_l] -> their mean by LEVEL_WEIGHTS at the size of the first, [B, 1, h_1, w_1]."""
    size, weights = levels[0].shape[-2:], LEVEL_WEIGHTS[: len(levels)]
    at_size = [
        weight * F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        for weight, level in zip(weights, levels, strict=True)
    ]
    return torch.stack(at_size).sum(dim=0) / sum(weights)


def residuals(
    levels: tuple[Tensor, ...],
    references: list[References | None],
    mirrors: int = 1,
    own: Sequence[Tensor] | None = None,
) -> Residuals:
    """Residual maps of B pictures.

    Args:
        levels: the residual levels of the tower, [B, C_l, h_l, w_l] each.
        references: one entry a picture.
        mirrors: how many pictures in a row are one and its first mirror images, see `mirrored`. What the references
            say is found once and turned over: they are there with their own mirror images.
        own: of `own_maps` of these levels, where they are known already.
    """
    alone = own or own_maps(levels)
    found = [_maps(level, number, alone[number], references, mirrors) for number, level in enumerate(levels)]
    maps, each = zip(*found, strict=True)
    last = levels[-1]
    difference = torch.zeros_like(last)
    for index, memory in enumerate(references):
        if memory is not None and (turned := index % mirrors):
            difference[index] = mirror(difference[index - turned], turned)
        elif memory is not None:
            difference[index] = last[index] - _nearest(last[index], memory.levels[-1])
    misplaced = misplaced_in(maps[0], references, mirrors)
    return Residuals(maps, difference, **facts_of(references, last.device), misplaced=misplaced, each=each)


def misplaced_in(maps: Tensor, references: Sequence[References | None], mirrors: int) -> Tensor | None:
    """`Residuals.misplaced` of the finest residual level [B, 3, h, w]; the rest as in `residuals`."""
    spreads = [None if one is None else one.spread for one in references[::mirrors]]
    found = out_of_place(maps[::mirrors, RESIDUALS.index("in place")], spreads)
    return None if found is None else mirrored(found, mirrors)


def apart(level: Tensor) -> Tensor:
    """`References.apart` of the finest residual level of pictures without their mirror images, [K, C, h, w]."""
    unit = directions(level)
    return torch.stack(
        [torch.stack([place_residual(one, other[None], PLACE_RADIUS[0]) for other in unit]) for one in unit]
    )


def facts_of(references: Sequence[References | None], device: torch.device) -> dict[str, Tensor]:
    """`given`, `usual`, `known` and `count` of Residuals, [B] each, for one entry a picture."""
    facts = [
        (0.0, math.nan, 0.0, 0.0)
        if one is None
        else (1.0, math.nan if one.usual is None else one.usual, one.known, float(one.count))
        for one in references
    ]
    values = torch.tensor(facts, device=device).view(-1, 4).unbind(1)
    return dict(zip(("given", "usual", "known", "count"), values, strict=True))


def _maps(
    level: Tensor, number: int, own: Tensor, references: list[References | None], mirrors: int
) -> tuple[Tensor, Tensor]:
    """One residual level [B, C, h, w] -> its map [B, 3, h, w], and `Residuals.each` of it."""
    maps = level.new_zeros(level.shape[0], len(RESIDUALS), *level.shape[-2:])
    each = level.new_zeros(level.shape[0], 1, *level.shape[-2:])
    for index, memory in enumerate(references):
        maps[index, 0] = own[index]
        if memory is not None and (turned := index % mirrors):
            maps[index, 1:] = mirror(maps[index - turned, 1:], turned)
            each[index] = mirror(each[index - turned], turned)
        elif memory is not None:
            unit, known = directions(level[index : index + 1])[0], memory.units[number]
            apart = torch.stack([nearest_residual(unit, one) for one in known.split(memory.rows)])
            maps[index, 1] = apart.amin(dim=0)
            each[index, 0] = mean_of_each(apart, len(memory.fine))
            maps[index, 2] = place_residual(unit, known[::VARIANTS], PLACE_RADIUS[number])
    return maps, each


def mean_of_each(apart: Tensor, pictures: int = 0) -> Tensor:
    """Mean over pictures of distances [K, ...] to each; what stands after them is one of them as it lies elsewhere.

    Args:
        apart: the distances.
        pictures: how many of the first are of pictures of their own; 0 means all.
    """
    own, again = apart[: pictures or None], apart[pictures:] if pictures else apart[:0]
    return (torch.minimum(own, again.amin(dim=0)) if len(again) else own).mean(dim=0)


def own_summary(differences: Residuals) -> list[Tensor]:
    """How much the oddest OWN_SHARE of each picture differs from the rest of it, one [B] a level, of order 1."""
    summary = []
    for level in differences.maps:
        summary.append(
            (top_mean(level[:, :1], OWN_SHARE) - 0.5) * 10
        )  # pictures differ by about 0.1 around a distance of 0.5
    return summary


def nearest_residual(unit: Tensor, known: Tensor) -> Tensor:
    """Distance of each patch [C, h, w] to the nearest of all patches [K, C, h', w'] -> [h, w]."""
    patches = unit.flatten(1).T  # [N, C]
    best = unit.new_full((patches.shape[0],), -1.0)
    for picture in known:  # one by one: all products at once no longer fit the caches
        seen = picture.flatten(1)
        best = torch.maximum(best, torch.cat([(some @ seen).amax(dim=1) for some in patches.split(PATCHES)]))
    return distance_of(best).view(unit.shape[-2:])


def place_residual(unit: Tensor, known: Tensor, radius: int) -> Tensor:
    """As `nearest_residual`, to patches within `radius` cells of the same place; needs grids of one size.

    Where the grids differ there is no same place, and the residual is that of `nearest_residual`.
    """
    if known.shape[-2:] != unit.shape[-2:]:
        return nearest_residual(unit, known)
    height, width = unit.shape[-2:]
    padded = F.pad(known, (radius,) * 4)  # a zero vector is as far as a right angle: never the nearest
    best = unit.new_full((height, width), -1.0)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            shifted = padded[:, :, dy : dy + height, dx : dx + width]
            best = torch.maximum(best, (unit * shifted).sum(dim=1).amax(dim=0))
    return distance_of(best)


def _nearest(level: Tensor, known: Tensor) -> Tensor:
    """For each patch of [C, h, w] the features of the nearest patch of [K, C, h', w'] -> [C, h, w]."""
    memory = known.transpose(0, 1).flatten(1)  # [C, M]
    chosen = (F.normalize(level.flatten(1), dim=0).T @ F.normalize(memory, dim=0)).argmax(dim=1)
    return memory[:, chosen].view_as(level)
