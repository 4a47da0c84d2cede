"""What is usual in a clip, place by place, and how far each of its moments is from that. Nothing here is trained.

Three things are held against the usual: what stays where it is not usual (a morphological opening in time of the
distance to the background: what passes is taken off), how a place looks, and how things move there. That appearance and
velocity by nearest neighbours make a strong one-class detector is due to Reiss and Hoshen ("Attribute-based
Representations for Accurate and Interpretable Video Anomaly Detection", 2022, arXiv 2212.00789); theirs works on
detected objects, this on the cells of a grid.

The usual comes from a normal clip or frames of the scene, or, without any, from the clip itself: the background is
then what a place mostly and first shows, and motion is unusual where little else in the clip moves alike.

Motion is held against what moves in the same lane and against what moves anywhere, and the mean of the two counts: the
few looks of a clip know little of each lane, and the scene as a whole does not know which way a lane goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.clip_gains import level
from assistant.clip_plan import stretches
from assistant.own_residual import directions
from assistant.vision import VisionFeatures

CHANNELS = ("stays", "looks", "motion")
DWELL = 1.5
"""Seconds that something must stay to be more than passing, where looks are close enough in time."""
HELD_DWELL = 2.0
"""The same with something normal to hold a clip against: how a place looks tells there what stays for less."""
OWN_MOST = 0.25
"""The most of what stays in a place that is taken off as what it shows of the clip's own (see `clip_gains.level`), a
distance of unit vectors: light does not reach it, and what is odd from end to end goes beyond it."""
FEWEST_STAYS = 3
"""Moments that something must be seen at to be more than passing."""
NEAR = 0.6
"""Seconds around a moment in which others show the same thing: it is not held against them."""
MOVES = 0.04
"""Speed, picture widths a second, from which a cell's motion is looked at."""
LANE = 1.5
"""Cells to either side of a cell's path, the straight line along its velocity, that belong to the same lane."""
SLOW = 0.02
"""Widths a second that are added to a speed before others are told as shares of it."""
FEW = 4
"""Cells that are thought to have moved otherwise everywhere: where few have, little is known of what is rare."""
MOST_KNOWN = 2000
"""Moving cells that others are held against at most, evenly out of all: it must not take long where all moves."""
ALIKE, ALIKE_LEAST = 0.5, 0.02
"""Velocities are alike when they differ by less than this share of the speed, and this many widths a second."""
LIKENESS = 0.35
"""Distance of unit vectors at which two looks of a place are hardly the same any more."""
EARLY = 0.4
"""Share of a clip after which what a place shows counts 1/e for its background."""
THING = 2
"""Side of the square of cells whose mean counts for a whole frame, where it is highest: a thing is in one place."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame of a clip on the grid of the tower's third level, moved to where the clip's anchor has it.

    Attributes:
        looks: [C, h, w] unit vectors.
        velocity: [2, h, w] right and down, picture widths a second, the camera's motion taken off; 0 where unknown.
        seen: [h, w] bool, what the frame shows of the anchor's view.
        time: seconds.
    """

    looks: Tensor
    velocity: Tensor
    seen: Tensor
    time: float


@dataclass(frozen=True, eq=False)
class Usual:
    """What a normal clip or frames show.

    Attributes:
        background: [C, h, w] unit vectors.
        looks: [K, C, h, w], velocity: [K, 2, h, w], seen: [K, h, w] of its moments.
        level: [2, h, w] the farthest that normal moments themselves are from the others, the first two of CHANNELS.
    """

    background: Tensor
    looks: Tensor
    velocity: Tensor
    seen: Tensor
    level: Tensor


def cell_looks(features: VisionFeatures) -> Tensor:
    """[C, h, w] unit vectors of the two middle levels of one picture, on the grid of the coarser one; on the CPU.

    Of a picture in several views the base view's; of a tower with fewer levels its last ones.
    """
    fine, coarse = (features.levels[min(number, len(features.levels) - 1)][:1].cpu() for number in (1, 2))
    pooled = F.normalize(F.adaptive_avg_pool2d(directions(fine), coarse.shape[-2:]), dim=1)
    return (torch.cat([pooled, directions(coarse)], dim=1) / 2**0.5)[0]


def learn(moments: Sequence[Moment]) -> Usual:
    """What is usual, from at least one normal moment; each is held against the others to know how far normals reach."""
    looks, velocity, seen = _stacked(moments)
    times = torch.tensor([one.time for one in moments], dtype=torch.float64)
    background = F.normalize(looks.median(dim=0).values, dim=0)
    stays = opened(_standing_out(_distance(looks, background), seen), times, HELD_DWELL)
    looked = torch.zeros_like(stays)
    for index, moment in enumerate(moments):
        others = (times - moment.time).abs() > NEAR
        if others.any():
            looked[index] = _nearest_looks(moment, looks[others])
    looked = _standing_out(looked, seen)
    level = torch.stack([stays.amax(dim=0), looked.amax(dim=0)])
    level = F.max_pool2d(level[None], 3, stride=1, padding=1)[0]
    return Usual(background, looks, velocity, seen, level)


def unusual(moments: Sequence[Moment], usual: Usual) -> Tensor:
    """How much farther the moments of a clip are from the usual than normal moments, [n, 3, h, w], CHANNELS.

    Distances of unit vectors for the first two, of which not more than 0 is usual; of the first, what each place has
    all through the clip is taken off, up to OWN_MOST. The third is how far a velocity is from the nearest that is
    usual, or from rest, as a share of its own speed, 0..1, `confirmed`; the mean for its lane and for the scene.
    """
    looks, velocity, seen = _stacked(moments)
    times = torch.tensor([one.time for one in moments], dtype=torch.float64)
    stays = opened(_standing_out(_distance(looks, usual.background), seen), times, HELD_DWELL) - usual.level[0]
    stays -= _own(stays, times).clamp(0, OWN_MOST)
    looked = _standing_out(torch.stack([_nearest_looks(one, usual.looks) for one in moments]), seen) - usual.level[1]
    moved = confirmed(_strangeness(velocity, seen, usual.velocity, usual.seen), velocity, times, seen)
    return torch.stack([stays, looked, moved], dim=1)


def unusual_within(moments: Sequence[Moment]) -> Tensor:
    """As `unusual` without anything normal to compare with: each moment against the clip as a whole, [n, 3, h, w].

    The second channel is 0: without normal moments everything has been seen once. The third is a share, 0..1,
    `confirmed`.
    """
    looks, velocity, seen = _stacked(moments)
    times = torch.tensor([one.time for one in moments], dtype=torch.float64)
    share = torch.from_numpy(stretches(times.tolist()))
    share = (share / share.mean()).to(looks.dtype)
    stays = opened(_distance(looks, _background(looks, times, share)) * seen, times)
    moved = confirmed(_rarity(velocity, times, seen, share), velocity, times, seen)
    return torch.stack([stays, torch.zeros_like(stays), moved], dim=1)


def opened(values: Tensor, times: Tensor, dwell: float = DWELL) -> Tensor:
    """Morphological opening in time of [n, ...] values at rising times [n]: what is high for less than `dwell` is gone.

    A stretch has at least FEWEST_STAYS moments, however far they are apart; all of them where there are fewer.
    """
    count = len(times)
    least = min(FEWEST_STAYS, count)
    result = values.amin(dim=0).expand_as(values).clone()
    for index in range(count):
        # the shortest stretch that begins at this moment, and the shortest one that ends with it
        last = max(index + least, int((times < times[index] + dwell).sum()) + 1)
        first = min(index - least + 1, int((times <= times[index] - dwell).sum()) - 1)
        for start, end in ((index, last), (first, index + 1)):
            if start >= 0 and end <= count:
                result[start:end] = torch.maximum(result[start:end], values[start:end].amin(dim=0))
    return result


def confirmed(values: Tensor, velocity: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    """What moves counts at most for what the look before or after it finds where it was or will be, [n, h, w].

    Flow that is wrong is so for one look; a thing moves on. Of the two looks the higher one counts, there the highest
    cell around the place that the velocity leads to. A look that is more than NEAR away says nothing, nor does one
    that does not show the place; without either a value stays.

    Args:
        values: [n, h, w], >= 0, at rising times [n] in seconds.
        velocity: [n, 2, h, w] right and down, picture widths a second.
        seen: [n, h, w] bool.
    """
    result, width = values.clone(), values.shape[-1]
    around = F.max_pool2d(values[:, None], 3, stride=1, padding=1)[:, 0]
    for number, (one, ways) in enumerate(zip(values, velocity, strict=True)):
        row, column = one.nonzero(as_tuple=True)
        support = torch.full((len(row),), -1.0)
        for other in (number - 1, number + 1):
            if not 0 <= other < len(times) or abs(float(times[other] - times[number])) > NEAR:
                continue
            right, down = (ways[:, row, column] * width * float(times[other] - times[number])).round().long()
            shown, there = _at(seen[other], row + down, column + right, False), around[other]
            support = torch.where(shown, torch.maximum(support, _at(there, row + down, column + right, 0.0)), support)
        result[number, row, column] = torch.where(support < 0, one[row, column], support.minimum(one[row, column]))
    return result


def summed(cells: Tensor) -> Tensor:
    """[n, ..., h, w] -> [n, ...]: the highest mean of a square of THING by THING cells of each frame.

    Odd cells that lie apart are noise more often than a thing; of them no square has more than one.
    """
    flat = cells.flatten(0, -3)
    size = (min(THING, cells.shape[-2]), min(THING, cells.shape[-1]))
    return F.avg_pool2d(flat, size, stride=1).amax(dim=(-2, -1)).view(cells.shape[:-2])


def _at(grid: Tensor, row: Tensor, column: Tensor, outside: float | bool) -> Tensor:
    """[k] cells of a grid [h, w] at rows and columns [k], `outside` where these are not on it."""
    height, width = grid.shape
    on = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    found = grid[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return torch.where(on, found, torch.tensor(outside, dtype=grid.dtype))


def _stacked(moments: Sequence[Moment]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.stack([one.looks for one in moments]),
        torch.stack([one.velocity for one in moments]),
        torch.stack([one.seen for one in moments]),
    )


def _distance(looks: Tensor, other: Tensor) -> Tensor:
    """Euclidean distance of unit vectors, [n, C, h, w] and [C, h, w] -> [n, h, w]."""
    return (2 - 2 * (looks * other).sum(dim=-3)).clamp_min(0).sqrt()


def _standing_out(values: Tensor, seen: Tensor) -> Tensor:
    """[n, h, w] less what half of the cells that each moment shows have at least: light lifts a whole frame; >= 0.

    Not more than LIKENESS is taken off: what covers the whole picture is no light.
    """
    middle = torch.stack(
        [one[there].median() if there.any() else one.amax() for one, there in zip(values, seen, strict=True)]
    )
    return (values - middle[:, None, None].clamp_max(LIKENESS)).clamp_min(0) * seen


def _own(values: Tensor, times: Tensor) -> Tensor:
    """[h, w] what each place of [n, h, w] at rising times [n] in seconds has for `clip_gains.LEVEL` of the time."""
    flat = level(times.tolist(), values.flatten(1).numpy())
    return torch.from_numpy(flat).to(values.dtype).view(values.shape[1:])


def _nearest_looks(moment: Moment, known: Tensor) -> Tensor:
    """Distance [h, w] to the nearest look that a place or one beside it has in any of [K, C, h, w]."""
    height, width = moment.looks.shape[-2:]
    padded = F.pad(known, (1, 1, 1, 1))  # a zero vector is as far as a right angle
    best = torch.full((height, width), -1.0)
    for dy in range(3):
        for dx in range(3):
            there = padded[:, :, dy : dy + height, dx : dx + width]
            best = torch.maximum(best, torch.einsum("kchw,chw->khw", there, moment.looks).amax(dim=0))
    return (2 - 2 * best).clamp_min(0).sqrt() * moment.seen


def _movers(velocity: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cells that move in [n, 2, h, w]: index [m, 3] of moment, row and column, velocity [m, 2], speed [m]."""
    index = ((velocity.norm(dim=1) > MOVES) & seen).nonzero()
    moving = velocity[index[:, 0], :, index[:, 1], index[:, 2]]
    return index, moving, moving.norm(dim=1)


def _some(values: Tensor) -> Tensor:
    """Every so manieth of [k, ...], so that at most MOST_KNOWN are left."""
    return values[:: max(1, -(-len(values) // MOST_KNOWN))]


def _in_lane(index: Tensor, moving: Tensor, others: Tensor) -> Tensor:
    """[m, k] bool: whether each of the other cells, index [k, 3], lies in the lane of a moving cell."""
    way = moving / moving.norm(dim=1, keepdim=True)
    down, right = (others[:, axis] - index[:, axis, None] for axis in (1, 2))
    return (right * way[:, 1:] - down * way[:, :1]).abs() <= LANE


def _strangeness(velocity: Tensor, seen: Tensor, known: Tensor, known_seen: Tensor) -> Tensor:
    """[n, h, w] 0..1: distance of what moves to the nearest velocity known, or to rest, over its speed.

    The mean of two: of those known in its lane, and of all.
    """
    result = torch.zeros(len(velocity), *velocity.shape[-2:])
    others, usual, _ = _movers(known, known_seen)
    others, usual = _some(others), _some(usual)
    for number in range(len(velocity)):  # moment by moment: all at once would take memory with the square of what moves
        index, moving, speed = _movers(velocity[number : number + 1], seen[number : number + 1])
        apart = torch.cdist(moving, usual)
        in_lane = torch.where(_in_lane(index, moving, others), apart, torch.inf)
        nearest = [torch.cat([one, speed[:, None]], dim=1).amin(dim=1) for one in (in_lane, apart)]
        result[number, index[:, 1], index[:, 2]] = sum(nearest) / 2 / (speed + SLOW)
    return result


def _background(looks: Tensor, times: Tensor, share: Tensor) -> Tensor:
    """What each place mostly shows, earlier moments counting more: the mode by a kernel density, [C, h, w].

    A moment counts for the share [n] of time that it stands for: looks gather at what is suspicious.
    """
    count, size, height, width = looks.shape
    flat = looks.flatten(2)
    apart = (2 - 2 * torch.einsum("icp,jcp->ijp", flat, flat)).clamp_min(0)
    length = float(times[-1] - times[0]) or 1.0
    weight = torch.exp(-(times - times[0]) / (EARLY * length)).to(looks.dtype) * share
    density = (torch.exp(-apart / (2 * LIKENESS**2)) * weight[None, :, None]).sum(dim=1)
    best = density.argmax(dim=0)
    return flat.gather(0, best.expand(1, size, -1))[0].view(size, height, width)


def _rarity(velocity: Tensor, times: Tensor, seen: Tensor, share: Tensor) -> Tensor:
    """Share of the other motion at other times that is not like a cell's own, [n, h, w]; 0 where still.

    The mean of two shares: of the motion in its lane, and of all. What moves counts for the share [n], on average 1,
    of time that its moment stands for.
    """
    result = torch.zeros(len(times), *velocity.shape[-2:])
    every, ways, _ = _movers(velocity, seen)
    for number in range(len(times)):
        apart = (times[every[:, 0]] - times[number]).abs() > NEAR
        others, other_ways = _some(every[apart]), _some(ways[apart])
        lasts = share[others[:, 0]]
        index, moving, speed = _movers(velocity[number : number + 1], seen[number : number + 1])
        alike = torch.cdist(moving, other_ways) < ALIKE * speed[:, None] + ALIKE_LEAST
        in_lane = _in_lane(index, moving, others)
        shares = [
            ((known & alike).to(lasts.dtype) @ lasts + 1) / (known.to(lasts.dtype) @ lasts + FEW)
            for known in (in_lane, torch.ones_like(in_lane))
        ]
        result[number, index[:, 1], index[:, 2]] = 1 - sum(shares) / 2
    return result
