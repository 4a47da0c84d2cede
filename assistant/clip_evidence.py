"""What was seen of a clip's frames, and how much speaks for something unusual in each of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.alignment import Keypoints, keypoints, similarity, unwarped, warped
from assistant.clip_gains import Weighing
from assistant.motion import Motion
from assistant.types import Frame
from assistant.usual import Moment

STEEP = 4.0
"""Logits by which a cell at twice its channel's zero is over the tipping point of the map."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame as the model sees it, before it is moved onto an anchor."""

    frame: Frame
    looks: Tensor
    evidence: float
    motion: Motion | None

    @cached_property
    def keypoints(self) -> Keypoints:
        return keypoints(self.frame.pixels)


@dataclass(frozen=True, eq=False)
class Weighed:
    """Evidence over a clip: logits [n], sums and parts [n, 4] by channel, cells [n, 3, h, w], how frames were moved.

    A part is a sum times its gain.
    """

    logits: Tensor
    sums: Tensor
    parts: Tensor
    cells: Tensor
    ways: list[np.ndarray | None]
    weighing: Weighing
    camera: str
    notes: tuple[str, ...]

    def map_of(self, index: int, size: tuple[int, int]) -> Tensor:
        """[h, w] 0..1 of a frame in its own view: SUSPICIOUS where a channel reaches what is suspicious."""
        used = torch.tensor(self.weighing.gains[:3]).view(3, 1, 1) > 0
        zeros = torch.tensor(self.weighing.zeros).view(3, 1, 1)
        heat = (torch.sigmoid(STEEP * (self.cells[index] / zeros - 1)) * used).amax(dim=0)
        way = self.ways[index]
        return heat if way is None else unwarped(heat, way, size[1] / size[0])


def moment_of(one: Seen, anchor: Keypoints | None, way: np.ndarray | None = None) -> Moment:
    """A frame on the grid of the anchor; as it is where it has no anchor or does not fit it."""
    if one.motion is None:
        velocity = torch.zeros(2, *one.looks.shape[1:])
    else:
        velocity = torch.from_numpy(one.motion.velocity)
    if way is None and anchor is not None:
        way = similarity(one.keypoints, anchor)
    if way is None:
        seen = torch.ones(one.looks.shape[1:], dtype=torch.bool)
        return Moment(one.looks, velocity, seen, one.frame.time)
    aspect = one.frame.size[1] / one.frame.size[0]
    moved, seen = warped(torch.cat([one.looks, velocity]), way, aspect)
    return Moment(F.normalize(moved[:-2], dim=0), moved[-2:], seen, one.frame.time)
