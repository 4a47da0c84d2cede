"""Draw defects on normal pictures, with the exact mask and the words for what was drawn.

`draw_defect` is the one entry: it chooses kind, strength and place, draws by `data.defects`, and measures the result
from the pixels before and after, so that mask, boxes, tone and extent are facts and not intentions.
Run `python -m data.synth sheet OUT.png` for a contact sheet of all kinds at several strengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from assistant.command import run
from assistant.errors import MediaError, RecordError
from assistant.media import read_media
from data.defects import GENERATORS
from data.photos import photographs
from data.products import PRODUCTS, draw_product
from data.strokes import is_grey

UNSEEN = 3
"""Largest difference in grey levels that a pixel outside the mask may have."""
VISIBLE = 5
"""Smallest smoothed difference in grey levels that counts as a visible change."""
FEWEST_PIXELS = 12
TRIES = 16

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture with drawn defects, and what was drawn, as measured."""

    image: np.ndarray
    """[H, W, 3] uint8 RGB."""
    mask: np.ndarray
    """[H, W] bool, the pixels that visibly changed."""
    kind: str
    """A key of `data.defects.GENERATORS`."""
    strength: float
    """0 barely visible .. 1 obvious, as finally used."""
    n_regions: int
    """Separate changed places; neighbours closer than about 3 % of the short side count as one."""
    boxes: tuple[Box, ...]
    """(x1, y1, x2, y2) in pixels for each region, largest first, x2 and y2 one past the last pixel."""
    tone: str
    """"darker", "brighter", "differently coloured" or "similar in tone"."""
    extent: float
    """Share of the picture's pixels in the mask, 0..1."""


def foreground_mask(image: np.ndarray) -> np.ndarray:
    """The object's pixels [H, W] bool in [H, W, 3] uint8; all True when there is no plain background.

    A plain background is a border ring of nearly one colour, or of a colour that changes evenly from side to side.
    What differs from it by more than the ring's own spread is the object; a result that is tiny, thin or scattered
    (a print, the grains of a texture) or that fills the picture means there was none.
    """
    height, width = image.shape[:2]
    full = np.ones((height, width), bool)
    scale = min(1.0, 160 / min(height, width))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (3, 3), 0).astype(np.float32)
    rows, columns = np.mgrid[-1 : 1 : small.shape[0] * 1j, -1 : 1 : small.shape[1] * 1j].astype(np.float32)
    planes = np.stack([np.ones_like(rows), rows, columns, rows * columns], -1)
    rim = max(2, round(0.03 * min(small.shape[:2])))
    border = np.ones(small.shape[:2], bool)
    border[rim:-rim, rim:-rim] = False
    ring, where = small[border], planes[border]
    # The fit is repeated without the part of the ring that an object touches.
    kept = np.abs(ring - np.median(ring, 0)).max(1) < 40
    if kept.mean() < 0.7:
        return full
    ground = np.linalg.lstsq(where[kept], ring[kept], rcond=None)[0]
    spread = float(np.percentile(np.abs(ring - where @ ground).max(1), 85))
    if spread > 14:
        return full
    far = np.abs(small - planes @ ground).max(2)
    found = (far > max(2.5 * spread, 16)).astype(np.uint8)
    size = max(3, round(0.012 * min(found.shape)) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    found = cv2.morphologyEx(cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    if count < 2:
        return full
    kept = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= 0.1 * stats[1:, cv2.CC_STAT_AREA].max())
    found = np.isin(labels, kept[kept > 0]).astype(np.uint8)
    if not 0.04 < found.mean() < 0.95 or stats[1:, cv2.CC_STAT_AREA].max() < 0.5 * found.sum():
        return full
    thick = max(3, round(0.05 * min(found.shape)) | 1)
    solid = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((thick, thick), np.uint8))
    if solid.sum() < 0.6 * found.sum():
        return full
    return cv2.resize(255 * found, (width, height), interpolation=cv2.INTER_LINEAR) > 127


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Largest absolute difference over the channels, [H, W] uint8 grey levels."""
    red, green, blue = cv2.split(cv2.absdiff(before, after))
    return cv2.max(cv2.max(red, green), blue)


def _changed(before: np.ndarray, after: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Visibly changed pixels [H, W] bool inside `support`, single specks dropped and pinholes filled."""
    step = _difference(before, after)
    smooth = cv2.GaussianBlur(step, (3, 3), 0)
    seen = ((smooth >= VISIBLE) & (step > UNSEEN) & support).astype(np.uint8)
    seen = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) & (smooth >= VISIBLE) & support
    count, labels, stats, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= 4
    large[0] = False
    return large[labels] if count > 1 else np.zeros(support.shape, bool)


def _noticeable(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the change is large enough to be told from the surface's own grain."""
    if np.count_nonzero(mask) < FEWEST_PIXELS:
        return False
    left, top, wide, high = cv2.boundingRect(mask.astype(np.uint8))
    box = slice(top, top + high), slice(left, left + wide)
    grain = cv2.absdiff(before[box], cv2.blur(before[box], (5, 5)))[mask[box]].mean()
    return bool(cv2.absdiff(before[box], after[box])[mask[box]].mean() >= 0.7 * grain)


def _boxes(mask: np.ndarray) -> tuple[Box, ...]:
    """Boxes of the mask's regions, largest first; a broken line or a sprinkle of near specks is one region."""
    reach = max(3, round(0.03 * min(mask.shape)) | 1)
    merged = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(merged)
    labels = np.where(mask, labels, 0)
    rows, columns = np.nonzero(labels)
    names = labels[rows, columns]
    found: list[tuple[int, Box]] = []
    for name in range(1, count):
        ys, xs = rows[names == name], columns[names == name]
        found.append((len(ys), (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)))
    return tuple(box for _, box in sorted(found, reverse=True))


def _tone(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> str:
    """The change of tone inside the mask in words, from the mean of the changed pixels."""
    shift = after[mask].astype(np.float32).mean(0) - before[mask].astype(np.float32).mean(0)
    light = float(shift @ np.array([0.299, 0.587, 0.114], np.float32))
    colour = float(np.abs(shift - light).max())
    if colour > 6 and colour > abs(light):
        return "differently coloured"
    if abs(light) >= 4:
        return "darker" if light < 0 else "brighter"
    return "similar in tone"


def _draw_once(
    image: np.ndarray,
    area: np.ndarray,
    rng: np.random.Generator,
    kind: str,
    strength: float,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` defects of one kind; (picture, mask) where everything outside the mask is within UNSEEN."""
    after, support = image, np.zeros(area.shape, bool)
    for _ in range(count):
        after, alpha = GENERATORS[kind](after, area, rng, strength)
        support |= (alpha > 0.02) & area
    result, mask = image.copy(), np.zeros(area.shape, bool)
    left, top, wide, high = cv2.boundingRect(support.astype(np.uint8))
    box = slice(max(top - 2, 0), top + high + 2), slice(max(left - 2, 0), left + wide + 2)
    before, drawn, inside = image[box], np.ascontiguousarray(after[box]), support[box]
    if is_grey(image):
        drawn = cv2.cvtColor(cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mask[box] = changed = _changed(before, drawn, inside)
    limit = (UNSEEN,) * 4
    near = cv2.min(cv2.max(drawn, cv2.subtract(before, limit)), cv2.add(before, limit))
    result[box] = np.where(changed[..., None], drawn, np.where(inside[..., None], near, before))
    return result, mask


def draw_defect(
    image: np.ndarray,
    rng: np.random.Generator,
    kind: str | None = None,
    strength: float | None = None,
    foreground: np.ndarray | None = None,
    count: int | None = None,
) -> Drawn:
    """Draw one to three defects of one kind on the object of a normal picture.

    `image` [H, W, 3] uint8 RGB; `kind` a key of GENERATORS or None for a random one; `strength` 0..1 or None;
    `foreground` [H, W] bool where to draw or None for `foreground_mask(image)`; `count` 1..3 or None (mostly 1).
    An invisible result is drawn again, stronger and elsewhere.
    Raises ValueError for an unknown kind, a wrong picture, or when nothing visible came of all tries.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected a picture [H, W, 3] uint8, got {image.dtype} {image.shape}")
    if kind is not None and kind not in GENERATORS:
        raise ValueError(f"unknown kind of defect {kind!r}; known: {', '.join(GENERATORS)}")
    image = np.ascontiguousarray(image)
    area = foreground_mask(image) if foreground is None else foreground.astype(bool)
    if not area.any():
        raise ValueError("the foreground is empty: nowhere to draw")
    force = float(rng.random() ** 1.3) if strength is None else float(strength)
    number = int(rng.choice([1, 1, 1, 1, 1, 1, 2, 2, 3])) if count is None else count
    for _ in range(TRIES):
        chosen = kind or str(rng.choice(list(GENERATORS)))
        try:
            after, mask = _draw_once(image, area, rng, chosen, force, number)
        except ValueError:
            continue
        if _noticeable(image, after, mask):
            boxes = _boxes(mask)
            return Drawn(after, mask, chosen, force, len(boxes), boxes, _tone(image, after, mask), float(mask.mean()))
        force = min(1.0, force + 0.1)
    raise ValueError(f"no visible defect of kind {kind or 'any'!r} came of {TRIES} tries on this picture")


app = typer.Typer(help="Drawn defects.", add_completion=False)


@app.callback()
def _main() -> None:
    """Drawn defects for training."""


def _sources(files: list[Path], rng: np.random.Generator, number: int, side: int) -> list[np.ndarray]:
    """`number` square pictures [side, side, 3]: the given files, or packaged photographs and drawn products."""
    if files:
        pictures = [read_media(file).frames[0].pixels for file in files]
    else:
        pictures = [*photographs(), *(draw_product(rng, (side, side), name) for name in PRODUCTS)]
    squares = []
    for picture in pictures:
        short = min(picture.shape[:2])
        top, left = (picture.shape[0] - short) // 2, (picture.shape[1] - short) // 2
        crop = np.ascontiguousarray(picture[top : top + short, left : left + short])
        squares.append(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA))
    order = rng.permutation(len(squares))
    return [squares[order[i % len(order)]] for i in range(number)]


@app.command()
def sheet(
    out: Path,
    seed: Annotated[int, typer.Option(help="Seed of all chance.")] = 0,
    image: Annotated[list[Path] | None, typer.Option(help="Pictures to draw on.")] = None,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Side of a picture in pixels.")] = 200,
    kind: Annotated[list[str] | None, typer.Option(help="Kinds to show; all when left out.")] = None,
) -> None:
    """Write a contact sheet: a row a kind, strengths from left to right, each picture beside its mask's outline."""
    rng = np.random.default_rng(seed)
    kinds, strengths = list(kind or GENERATORS), (0.0, 0.25, 0.5, 0.75, 1.0)
    if unknown := set(kinds) - set(GENERATORS):
        raise RecordError(f"There is no kind {min(unknown)!r}.", f"Kinds: {', '.join(GENERATORS)}.")
    sources = iter(_sources(list(image or []), rng, len(kinds) * len(strengths) * 3, side))
    rows = []
    for name in kinds:
        cells = []
        for strength in strengths:
            for picture in sources:
                try:
                    drawn = draw_defect(picture, rng, name, strength, count=1)
                    break
                except ValueError:
                    continue
            else:
                raise RecordError(f"No picture is fit for a defect of kind {name!r}.")
            outline, _ = cv2.findContours(
                cv2.dilate(drawn.mask.astype(np.uint8), np.ones((3, 3), np.uint8)),
                cv2.RETR_EXTERNAL,
                cv2.CHAIN_APPROX_NONE,
            )
            marked = cv2.drawContours(drawn.image.copy(), outline, -1, (255, 0, 0), 1)
            cell = cv2.copyMakeBorder(np.hstack([drawn.image, marked]), 16, 2, 2, 2, cv2.BORDER_CONSTANT)
            label = f"{name} {drawn.strength:.2f} {drawn.tone} {100 * drawn.extent:.2f}%"
            cv2.putText(cell, label, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
            cells.append(cell)
        rows.append(np.hstack(cells))
    try:
        Image.fromarray(np.vstack(rows)).save(out)
    except (OSError, ValueError):
        raise MediaError(f"The sheet {out.name!r} cannot be written.", "Name a .png in an existing folder.") from None
    typer.echo(f"wrote {out}: {len(rows)} kinds, {len(strengths)} strengths")


if __name__ == "__main__":
    run(app)
