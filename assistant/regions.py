"""A map in numbers: connected regions with box, place word, area, tone and shape.

Boxes, words and heatmap come from this one place, so they cannot disagree. A mask counts as a map of zeros and ones,
so that words about a known mask are measured by the same rules.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from assistant.types import PLACES, SUSPICIOUS, Look, Region

MAX_REGIONS = 6
MIN_AREA = 0.0001
"""Share of the picture below which a spot is noise of the map, not a region."""
JOIN = 0.012
"""Gap, as a share of the picture's diagonal, across which spots of one defect are joined (broken cracks)."""
TONE_STEP = 5.0
"""Grey levels (0..255) between region and surroundings from which a difference of tone is named."""
RIM = 2
"""Surroundings against which a region's tone is told, in pixels for each of its own, the nearest ones."""


def find_regions(
    heatmap: np.ndarray, pixels: np.ndarray, threshold: float, size: tuple[int, int], least: float = MIN_AREA
) -> tuple[Region, ...]:
    """Suspicious regions of a map.

    Args:
        heatmap: [H, W] 0..1.
        pixels: [H, W, 3] uint8, the picture at the map's size.
        threshold: value of the map from which a pixel is suspicious, 0..1.
        size: (width, height) of the picture as given; boxes are in its pixels.
        least: share of the picture below which a spot is noise of the map.

    Returns:
        At most MAX_REGIONS regions, highest peak first.
    """
    lit = heatmap >= threshold
    if not lit.any():
        return ()
    height, width = heatmap.shape
    labels, count = _labels(lit)
    grey = pixels.astype(np.float32).mean(axis=2)
    spots = []
    for number, window in enumerate(ndimage.find_objects(labels, max_label=count), start=1):
        if window is None:
            continue
        inside = labels[window] == number
        area = float(inside.sum()) / (height * width)
        if area >= least:
            spots.append((float(heatmap[window][inside].max()), area, window, inside))
    spots.sort(key=lambda spot: (-spot[0], -spot[1]))
    regions = []
    for peak, area, window, inside in spots[:MAX_REGIONS]:
        values = heatmap[window][inside]
        rows, columns = np.nonzero(inside)
        rows, columns = rows + window[0].start, columns + window[1].start
        weight = values / values.sum()
        centre = (float((columns + 0.5) @ weight) / width, float((rows + 0.5) @ weight) / height)
        regions.append(
            Region(
                box=_scaled_box(window, (width, height), size),
                place=place_word(*centre),
                area=area,
                peak=peak,
                mean=float(values.mean()),
                tone=_tone(pixels, grey, lit, window, inside, heatmap[window]),
                shape=_shape(rows, columns),
            )
        )
    return tuple(regions)


def place_word(x: float, y: float) -> str:
    """The 3x3 cell of a point; x and y are shares of width and height, 0..1."""
    column, row = (min(2, max(0, int(share * 3))) for share in (x, y))
    return PLACES[3 * row + column]


def cells_of(mask: np.ndarray, share: float = 0.2) -> set[str]:
    """Place words a mask [H, W] bool may rightly be given: every cell that holds at least `share` of it (0..1)."""
    total = mask.sum()
    if not total:
        return set()
    rows = np.array_split(np.arange(mask.shape[0]), 3)
    columns = np.array_split(np.arange(mask.shape[1]), 3)
    return {
        PLACES[3 * i + j]
        for i, r in enumerate(rows)
        for j, c in enumerate(columns)
        if mask[np.ix_(r, c)].sum() >= share * total
    }


def region_masks(look: Look) -> list[np.ndarray]:
    """Where each of a look's regions is, [h, w] bool at the size of its heatmap, in the order of the regions."""
    lit = look.heatmap >= SUSPICIOUS
    labels, count = _labels(lit)
    shape = (look.heatmap.shape[1], look.heatmap.shape[0])
    windows = ndimage.find_objects(labels, max_label=count)
    boxes = [(number, _scaled_box(window, shape, look.size)) for number, window in enumerate(windows, 1) if window]
    masks = []
    for region in look.regions:
        # a heatmap that was made smaller since has slightly other boxes
        number = max(boxes, key=lambda known: _overlap(known[1], region.box), default=(0, ()))[0]
        masks.append(labels == number if number else np.zeros_like(lit))
    return masks


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    wide = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / max(1, sum(areas) - wide * high)


def _labels(lit: np.ndarray) -> tuple[np.ndarray, int]:
    """[H, W] number of the region that each lit pixel belongs to, 0 elsewhere; and how many there are."""
    labels, count = ndimage.label(_joined(lit), structure=np.ones((3, 3)))
    return np.where(lit, labels, 0), count


def _joined(lit: np.ndarray) -> np.ndarray:
    """Spots closer than JOIN of the diagonal made one."""
    reach = JOIN / 2 * float(np.hypot(*lit.shape))
    if reach < 1:
        return lit
    return ndimage.distance_transform_edt(~lit) <= reach


def _scaled_box(window: tuple[slice, slice], at: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    rows, columns = window
    scale_x, scale_y = size[0] / at[0], size[1] / at[1]
    return (
        int(np.floor(columns.start * scale_x)),
        int(np.floor(rows.start * scale_y)),
        min(size[0], int(np.ceil(columns.stop * scale_x))),
        min(size[1], int(np.ceil(rows.stop * scale_y))),
    )


def _tone(
    pixels: np.ndarray,
    grey: np.ndarray,
    lit: np.ndarray,
    window: tuple[slice, slice],
    inside: np.ndarray,
    heat: np.ndarray,
) -> str:
    """The half of a region that is lit most, for a map is wider than what it shows, against the nearest surroundings.

    Farther ones may be of another part, or of the ground: a dark scratch on a bright plate is dark beside a dark ground
    too. Other regions are left out.
    """
    rows, columns = window
    margin = max(4, rows.stop - rows.start, columns.stop - columns.start)
    top, left = max(0, rows.start - margin), max(0, columns.start - margin)
    ring = slice(top, rows.stop + margin), slice(left, columns.stop + margin)
    free, others = ~lit[ring], np.ones(lit[ring].shape, bool)
    if not free.any():
        return "similar in tone"
    others[rows.start - top :, columns.start - left :][: inside.shape[0], : inside.shape[1]] = ~inside
    distance = cv2.distanceTransform(others.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    last = min(RIM * int(inside.sum()), int(free.sum())) - 1
    around = free & (distance <= np.partition(distance[free], last)[last])
    core = inside & (heat >= np.median(heat[inside]))
    step = float(grey[window][core].mean() - grey[ring][around].mean())
    # colour is what is left of the difference when brightness is taken away
    colour = pixels[window][core].mean(axis=0) - pixels[ring][around].mean(axis=0)
    if float(np.abs(colour - colour.mean()).max()) > max(TONE_STEP, abs(step)):
        return "differently coloured"
    if abs(step) < TONE_STEP:
        return "similar in tone"
    return "brighter" if step > 0 else "darker"


def _shape(rows: np.ndarray, columns: np.ndarray) -> str:
    """From the spread along the main axes of the region's pixels, and how full its box is."""
    points = np.stack([rows, columns]).astype(np.float64)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(points) if points.shape[1] > 1 else np.zeros((2, 2))).clip(1 / 12))
    if spread[1] > 2.5 * spread[0]:
        return "elongated"
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    return "spread out" if len(rows) < 0.4 * box else "compact"
