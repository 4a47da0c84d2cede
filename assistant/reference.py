"""What differs: each patch held against the rest of its own picture and against normal references.

Nearest-neighbour distances between frozen patch features, after PatchCore (Roth et al., CVPR 2022, arXiv 2106.08265,
sections 3.1 and 3.3: neighbourhoods of patches are averaged, the distance to the nearest normal patch is the
residual). Nothing in here is trained; the maps are inputs of the selector and of the heatmap head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.in_place import out_of_place, spread_of

RESIDUALS = ("own", "nearest", "in place")
"""Channels of a residual map: against the picture's own other patches, against any patch of the references and their
mirror images, against the references' patches at the same place."""
OWN_NEIGHBOURS = 4
"""A patch that recurs in its own picture has at least this many like it; one look-alike beside a defect is no proof."""
OWN_SHARE = 0.01
"""Share of a picture's patches that its odd part is summed up from."""
ODD_LEVEL = 1
"""Level of the tower, finest first, whose patches `oddness` is taken on."""
LEVEL_WEIGHTS = (1.0, 1.0, 0.5, 0.5)
"""How much each residual level counts in the distance to the references, finest first."""
TOP_SHARE = 0.02
"""Share of a picture's cells whose mean distance to the references speaks for the whole picture."""
BULK = 0.75
"""Quantile of a picture's distances that says how far it is from its references as a whole."""
PATCHES = 512
"""Held against a picture at once: larger products leave holes in the memory that what is kept then stands between."""
OWN_RADIUS = (3, 2, 1, 1)
"""Cells around a patch that show the same thing and are left out of its own picture, finest residual level first."""
MIRRORED: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes along which a picture is turned over for each of its mirror images; the first is the picture itself."""
VARIANTS = len(MIRRORED)
"""Rows of a memory for each picture: itself and its mirror images."""
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

    @cached_property
    def spread(self) -> Tensor | None:
        """[h, w] how far a place may be from the same place of the pictures, see `in_place.spread_of`."""
        return spread_of(self.apart)


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
        misplaced: [B, 1, h, w] of `in_place.out_of_place` at the finest residual level; None counts as 0.
    """

    maps: tuple[Tensor, ...]
    difference: Tensor
    given: Tensor
    usual: Tensor | None = None
    known: Tensor | None = None
    registered: Tensor | None = None
    misplaced: Tensor | None = None

    @cached_property
    def distance(self) -> Tensor:
        """How far each place is from anything that the references show: the mean over the levels by LEVEL_WEIGHTS.

        [B, 1, h, w] at the finest residual level, 0..2; 0 without references. Made once for map and score.
        """
        size = self.maps[0].shape[-2:]
        weights = LEVEL_WEIGHTS[: len(self.maps)]
        levels = [
            weight * F.interpolate(level[:, 1:2], size=size, mode="bilinear", align_corners=False)
            for weight, level in zip(weights, self.maps, strict=True)
        ]
        return torch.stack(levels).sum(dim=0) / sum(weights)

    @property
    def top(self) -> Tensor:
        """[B] mean `distance` of the farthest TOP_SHARE of the places: what counts for a whole picture."""
        return top_mean(self.distance, TOP_SHARE)

    @property
    def bulk(self) -> Tensor:
        """[B] quantile BULK of `distance`: a defect fills less than the rest of a picture."""
        return self.distance.flatten(1).quantile(BULK, dim=1)


def mirror(values: Tensor, number: int) -> Tensor:
    """Mirror image `number` of [.., H, W], 0 to VARIANTS - 1; it is its own inverse."""
    return values.flip(MIRRORED[number]) if number else values


def mirrored(pixel_values: Tensor, variants: int = VARIANTS) -> Tensor:
    """Pictures [K, 3, H, W], each followed by its first `variants` - 1 mirror images -> [variants K, 3, H, W].

    A texture's patches occur mirrored too, and a tower that was trained on upright photographs sees those otherwise.
    """
    return torch.stack([mirror(pixel_values, number) for number in range(variants)], dim=1).flatten(0, 1)


def turn(values: Tensor, number: int) -> Tensor:
    """Quarter turn `number` of [.., H, W], 0 to VARIANTS - 1: that mirror image, rows and columns exchanged."""
    return mirror(values, number).transpose(-1, -2)


def turned(pixel_values: Tensor, turns: int) -> Tensor:
    """The first quarter turns of pictures [K, 3, H, W], those of each picture in a row -> [turns K, 3, W, H]."""
    return torch.stack([turn(pixel_values, number) for number in range(turns)], dim=1).flatten(0, 1)


def directions(level: Tensor) -> Tensor:
    """[B, C, h, w] features -> unit vectors of the mean over each 3x3 neighbourhood."""
    return F.normalize(F.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False), dim=1)


def residuals(levels: tuple[Tensor, ...], references: list[References | None], mirrors: int = 1) -> Residuals:
    """Residual maps of B pictures.

    Args:
        levels: the residual levels of the tower, [B, C_l, h_l, w_l] each.
        references: one entry a picture.
        mirrors: how many pictures in a row are one and its first mirror images, see `mirrored`. What the references
            say is found once and turned over: they are there with their own mirror images.
    """
    maps = [_maps(level, number, references, mirrors) for number, level in enumerate(levels)]
    last = levels[-1]
    difference = torch.zeros_like(last)
    for index, memory in enumerate(references):
        if memory is not None and (turned := index % mirrors):
            difference[index] = mirror(difference[index - turned], turned)
        elif memory is not None:
            difference[index] = last[index] - _nearest(last[index], memory.levels[-1])
    misplaced = misplaced_in(maps[0], references, mirrors)
    return Residuals(tuple(maps), difference, *facts_of(references, last.device), misplaced=misplaced)


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


def facts_of(references: Sequence[References | None], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`given`, `usual` and `known` of Residuals, [B] each, for one entry a picture."""
    facts = [
        (0.0, math.nan, 0.0) if one is None else (1.0, math.nan if one.usual is None else one.usual, one.known)
        for one in references
    ]
    given, usual, known = torch.tensor(facts, device=device).view(-1, 3).unbind(1)
    return given, usual, known


def _maps(level: Tensor, number: int, references: list[References | None], mirrors: int) -> Tensor:
    """One residual level [B, C, h, w] -> [B, 3, h, w]."""
    unit = directions(level)
    maps = level.new_zeros(level.shape[0], len(RESIDUALS), *level.shape[-2:])
    for index, memory in enumerate(references):
        maps[index, 0] = own_residual(unit[index], OWN_RADIUS[number])
        if memory is not None and (turned := index % mirrors):
            maps[index, 1:] = mirror(maps[index - turned, 1:], turned)
        elif memory is not None:
            known = directions(memory.levels[number])
            maps[index, 1] = nearest_residual(unit[index], known)
            maps[index, 2] = place_residual(unit[index], known[::VARIANTS], PLACE_RADIUS[number])
    return maps


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
    return _distance(best).mean(dim=1).view(height, width)


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
            found, taken = torch.cat([found, _distance(best).mean(dim=1)]), taken + len(some)
        odd.append(found.topk(count).values.mean())
    return torch.stack(odd)


@lru_cache(maxsize=16)
def _near(height: int, width: int, radius: int, device: torch.device) -> Tensor:
    """Which pairs of a grid's cells lie within `radius` cells, [N, N] bool; as costly as the products themselves."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    return ((rows[:, None] - rows).abs() <= radius) & ((columns[:, None] - columns).abs() <= radius)


def own_summary(differences: Residuals) -> list[Tensor]:
    """How much the oddest OWN_SHARE of each picture differs from the rest of it, one [B] a level, of order 1."""
    summary = []
    for level in differences.maps:
        summary.append(
            (top_mean(level[:, :1], OWN_SHARE) - 0.5) * 10
        )  # pictures differ by about 0.1 around a distance of 0.5
    return summary


def top_mean(logits: Tensor, share: float) -> Tensor:
    """Mean of the highest `share` (0..1) of the cells of [B, 1, H, W] -> [B]."""
    flat = logits.flatten(1)
    return flat.topk(max(1, round(flat.shape[1] * share)), dim=1).values.mean(dim=1)


def nearest_residual(unit: Tensor, known: Tensor) -> Tensor:
    """Distance of each patch [C, h, w] to the nearest of all patches [K, C, h', w'] -> [h, w]."""
    patches = unit.flatten(1).T  # [N, C]
    best = unit.new_full((patches.shape[0],), -1.0)
    for picture in known:  # one by one: all products at once no longer fit the caches
        seen = picture.flatten(1)
        best = torch.maximum(best, torch.cat([(some @ seen).amax(dim=1) for some in patches.split(PATCHES)]))
    return _distance(best).view(unit.shape[-2:])


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
    return _distance(best)


def _nearest(level: Tensor, known: Tensor) -> Tensor:
    """For each patch of [C, h, w] the features of the nearest patch of [K, C, h', w'] -> [C, h, w]."""
    memory = known.transpose(0, 1).flatten(1)  # [C, M]
    chosen = (F.normalize(level.flatten(1), dim=0).T @ F.normalize(memory, dim=0)).argmax(dim=1)
    return memory[:, chosen].view_as(level)


def _distance(cosine: Tensor) -> Tensor:
    """Euclidean distance 0..2 of unit vectors with this cosine."""
    return (2 - 2 * cosine).clamp_min(0).sqrt()
