"""Pictures far larger than what the model sees at once: looked at whole, then tile by tile.

Tiles overlap, are looked at a few at a time, and only their small maps are kept, so that memory does not grow with the
picture. Their maps become one map of the picture; the most suspicious tile gives the score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.anyres import WHOLE, Box, Canvas, canvas_size
from assistant.errors import MediaError
from assistant.heatmap import restated
from assistant.look_model import LookOutput, LookTokens
from assistant.modeling import LookTwiceForConditionalGeneration
from assistant.processing import LookTwiceProcessor
from assistant.tiling import Tiles, checked_tiles
from assistant.types import MAX_MAP_SIDE

if TYPE_CHECKING:
    from assistant.onevision import OneVision

AUTO_FROM = 2.5
"""How much a picture may be shrunk before "auto" looks at it in tiles."""
OVERLAP = 0.125
"""Share of a tile's side that its neighbour sees as well."""
MAX_TILES = 2048


@dataclass(frozen=True, eq=False)
class Tiled:
    """What was seen of a picture in tiles.

    Attributes:
        output: as of one look, with map, score and kinds of the whole and all tiles together.
        count: views that had a chance to raise the alarm, the whole picture included.
        share: one tile's share of the picture's area, 0..1.
    """

    output: LookOutput
    count: int
    share: float


def tile_boxes(size: tuple[int, int], tiles: Tiles, processor: LookTwiceProcessor) -> tuple[Box, ...]:
    """Boxes of a picture's tiles, row by row; () where it is looked at as a whole only.

    Args:
        size: (width, height) of the picture, pixels.
        tiles: see Tiles.
        processor: says what the model sees at once.

    Raises:
        MediaError: the setting cannot be, or would make more than MAX_TILES tiles.
    """
    tiles = checked_tiles(tiles)
    seen = processor.fit_size(*size)
    if tiles is None or (tiles == "auto" and max(size[0] / seen[0], size[1] / seen[1]) <= AUTO_FROM):
        return ()
    side = processor.tile_side if tiles == "auto" else int(tiles)
    columns, rows = (_spans(extent, side) for extent in size)
    if len(columns) * len(rows) == 1:
        return ()
    if len(columns) * len(rows) > MAX_TILES:
        raise MediaError(f"Tiles of {side} pixels make {len(columns) * len(rows)} of this picture; {MAX_TILES} go.")
    width, height = size
    return tuple((x1 / width, y1 / height, x2 / width, y2 / height) for y1, y2 in rows for x1, x2 in columns)


def _spans(extent: int, side: int) -> list[tuple[int, int]]:
    """Starts and ends of the tiles along an axis, pixels: all of one length, evenly spread, overlapping."""
    if extent <= side:
        return [(0, extent)]
    count = math.ceil((extent - side * OVERLAP) / (side * (1 - OVERLAP)))
    starts = [round(number * (extent - side) / (count - 1)) for number in range(count)]
    return [(start, start + side) for start in starts]


def look_closer(
    model: LookTwiceForConditionalGeneration | OneVision,
    processor: LookTwiceProcessor,
    pixels: np.ndarray,
    whole: LookOutput,
    boxes: Sequence[Box],
) -> Tiled:
    """Looks at the tiles of a picture and puts what they show together with the look at the whole.

    Args:
        model, processor: of one profile.
        pixels: [H, W, 3] uint8.
        whole: the look at the whole picture, B = 1.
        boxes: of `tile_boxes`.
    """
    canvas, best = None, whole
    for box, seen in _looks(model, processor, pixels, boxes):
        logits = seen.heatmap_logits[0, 0].float().cpu()
        if canvas is None:
            canvas = Canvas(canvas_size(boxes, (logits.shape[0], logits.shape[1])))
        canvas.put(logits, box)
        if float(seen.score_logit[0]) > float(best.score_logit[0]):
            best = seen
    assert canvas is not None  # there are boxes
    under = Canvas(canvas.size)
    under.put(whole.heatmap_logits[0, 0].float().cpu(), WHOLE)
    logits = torch.maximum(canvas.map(float("-inf")), under.map())[None, None]  # [1, 1, H, W]
    shrink = min(1.0, MAX_MAP_SIDE / max(canvas.size))
    if shrink < 1:  # what is lit in one cell stays lit
        logits = F.adaptive_max_pool2d(logits, [max(1, round(extent * shrink)) for extent in canvas.size])
    output = replace(
        whole,
        heatmap_logits=logits,
        score_logit=best.score_logit.float().cpu(),
        kind_logits=best.kind_logits.float().cpu(),
        tokens=_tokens(whole, best, logits, tuple(getattr(model.config.heatmap_config, "cells", (3, 3)))),
    )
    x1, y1, x2, y2 = boxes[0]
    return Tiled(output, len(boxes) + 1, (x2 - x1) * (y2 - y1))


def _looks(
    model: LookTwiceForConditionalGeneration | OneVision,
    processor: LookTwiceProcessor,
    pixels: np.ndarray,
    boxes: Sequence[Box],
) -> Iterator[tuple[Box, LookOutput]]:
    """A look (B = 1) at each tile, a few together."""
    height, width = pixels.shape[:2]
    together = model.tiles_at_once
    for start in range(0, len(boxes), together):
        some = boxes[start : start + together]
        inputs = []
        for box in some:
            x1, x2 = (round(box[n] * width) for n in (0, 2))
            y1, y2 = (round(box[n] * height) for n in (1, 3))
            inputs.append(processor.pixels(pixels[y1:y2, x1:x2]))
        yield from zip(some, model.look_each(inputs), strict=True)


def _tokens(whole: LookOutput, best: LookOutput, logits: Tensor, cells: tuple[int, int]) -> object:
    """The whole picture's tokens; what is suspicious is the best tile's, map tokens carry the whole map's values."""
    tokens = whole.tokens
    if not isinstance(tokens, LookTokens):
        # of a tile in several views the global token stands for all of them
        theirs = best.tokens.suspicious[:, :1].float().cpu()
        return replace(tokens, suspicious=torch.cat([theirs, tokens.suspicious[:, 1:]], dim=1))
    return replace(tokens, suspicious=best.tokens.suspicious, map=restated(tokens.map, logits, cells))
