"""Views of a picture and where they lie in it: AnyRes base and crops, tiles, and maps put back together.

AnyRes after LLaVA-NeXT as LLaVA-OneVision uses it (Li et al. 2024, arXiv 2408.03326, section 3.2): the whole picture
squeezed into one square view, then the picture enlarged onto a grid of square crops. A box is (x1, y1, x2, y2) in
shares of the picture's width and height; a crop's box may reach beyond 0..1 where it is padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
LEAST_WEIGHT = 1e-3
"""Of a cell at the very edge of a view, where its neighbour sees it in full."""


@dataclass(frozen=True, eq=False)
class Views:
    """Views of several pictures, one picture after another, the base view first.

    Attributes:
        pixels: [V, 3, S, S] normalised.
        counts: views of each picture; sums up to V.
        sizes: (width, height) of each picture as given, pixels.
        boxes: V boxes.
    """

    pixels: Tensor
    counts: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[Box, ...]

    @property
    def bases(self) -> list[int]:
        """Number of each picture's base view."""
        return [sum(self.counts[:index]) for index in range(len(self.counts))]

    @property
    def owners(self) -> list[int]:
        """Number of each view's picture."""
        return [index for index, count in enumerate(self.counts) for _ in range(count)]


def join_views(parts: Sequence[Views]) -> Views:
    """Views of several pictures as one batch."""
    return Views(
        torch.cat([part.pixels for part in parts]),
        tuple(count for part in parts for count in part.counts),
        tuple(size for part in parts for size in part.sizes),
        tuple(box for part in parts for box in part.boxes),
    )


def content_size(size: tuple[int, int], best: tuple[int, int]) -> tuple[int, int]:
    """(width, height) that a picture of (width, height) has when it is fitted into `best` = (height, width)."""
    width, height = size
    if best[1] / width < best[0] / height:
        return best[1], min(math.ceil(height * best[1] / width), best[0])
    return min(math.ceil(width * best[0] / height), best[1]), best[0]


def anyres_boxes(size: tuple[int, int], pinpoints: Sequence[Sequence[int]], side: int) -> tuple[Box, ...]:
    """Boxes of a picture's views: the base, then the crops row by row.

    Args:
        size: (width, height) of the picture, pixels.
        pinpoints: (height, width) of the grids there are, multiples of `side`.
        side: pixels of a view.
    """
    best = select_best_resolution((size[1], size[0]), [list(pinpoint) for pinpoint in pinpoints])
    width, height = content_size(size, best)
    left, top = (best[1] - width) // 2, (best[0] - height) // 2
    crops = [
        ((x - left) / width, (y - top) / height, (x + side - left) / width, (y + side - top) / height)
        for y in range(0, best[0], side)
        for x in range(0, best[1], side)
    ]
    return (WHOLE, *crops)


def canvas_size(boxes: Sequence[Box], cells: tuple[int, int], longest: int = 4096) -> tuple[int, int]:
    """(rows, columns) of a map of the whole picture on which the smallest view keeps its own `cells` = (h, w)."""
    rows = max(round(cells[0] / (box[3] - box[1])) for box in boxes)
    columns = max(round(cells[1] / (box[2] - box[0])) for box in boxes)
    shrink = min(1.0, longest / max(rows, columns))
    return max(1, round(rows * shrink)), max(1, round(columns * shrink))


class Canvas:
    """A map of a whole picture, put together view by view; where views overlap they are averaged, edges least.

    Args:
        size: (rows, columns).
        device: of the maps that will be put in.
    """

    def __init__(self, size: tuple[int, int], device: torch.device | None = None) -> None:
        self.size = size
        self._sum = torch.zeros(size, device=device)
        self._weight = torch.zeros(size, device=device)

    def put(self, values: Tensor, box: Box) -> None:
        """Adds a view's map [h, w] that lies in `box`; cells whose centre lies outside of it are not touched."""
        rows, y = self._inside(box[1], box[3], 0)
        columns, x = self._inside(box[0], box[2], 1)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        places = torch.stack(torch.meshgrid(y * 2 - 1, x * 2 - 1, indexing="ij")[::-1], dim=-1)  # [r, c, 2], x first
        sampled = F.grid_sample(
            values.float()[None, None], places[None].to(values.device), padding_mode="border", align_corners=False
        )[0, 0]
        weight = (_ramp(y)[:, None] * _ramp(x)[None]).to(values.device)
        self._sum[rows, columns] += sampled * weight
        self._weight[rows, columns] += weight

    def map(self, empty: float = 0.0) -> Tensor:
        """The map [rows, columns]; `empty` where no view lies."""
        seen = self._weight > 0
        return torch.where(seen, self._sum / self._weight.clamp_min(1e-12), torch.full_like(self._sum, empty))

    def _inside(self, start: float, stop: float, axis: int) -> tuple[slice, Tensor]:
        """Cells of an axis whose centre lies in start..stop, and where they lie in the view, 0..1."""
        count = self.size[axis]
        first, last = max(0, math.ceil(start * count - 0.5)), min(count, math.ceil(stop * count - 0.5))
        centres = (torch.arange(first, max(first, last)) + 0.5) / count
        return slice(first, max(first, last)), (centres - start) / (stop - start)


def _ramp(places: Tensor) -> Tensor:
    """Weight of places 0..1 inside a view: falls to nearly nothing over the outer eighth."""
    return (torch.minimum(places, 1 - places) * 8).clamp(LEAST_WEIGHT, 1.0)


def stitch(maps: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Maps [V, h, w] of one picture's views, the base first, -> [rows, columns] of the whole picture.

    The crops are put together; base and crops see the same places, and the higher of both counts: what is smaller
    than a patch of the base view is seen by a crop only, what is larger than a crop by the base view only.
    """
    size = canvas_size(boxes, (maps.shape[1], maps.shape[2]))
    base = Canvas(size, maps.device)
    base.put(maps[0], boxes[0])
    if len(boxes) == 1:
        return base.map()
    crops = Canvas(size, maps.device)
    for values, box in zip(maps[1:], boxes[1:], strict=True):
        crops.put(values, box)
    return torch.maximum(base.map(), crops.map(float("-inf")))
