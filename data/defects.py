"""Thirteen kinds of drawn defect, each one function in `GENERATORS`.

Contract: `(image, area, rng, strength) -> (drawn, alpha)`, where `image` [H, W, 3] uint8 RGB is never written to,
`area` [H, W] bool says where drawing is allowed (at least one pixel True), `strength` goes from 0 (barely visible) to
1 (obvious), `drawn` [H, W, 3] is uint8 and `alpha` [H, W] float32 in 0..1 is the support of the drawing. `rng` is the
only source of chance and asked in the same order whatever the strength, so that a seed keeps its place.

Real defects are mostly thin, faint and ragged: shapes are bent by noise, tones are steps away from the surface's own
tone, and its grain stays visible through them. A generator without a fit place (no texture to blur) raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Array, Rng, Window = np.ndarray, np.random.Generator, tuple[slice, slice]
Pair = tuple[np.ndarray, np.ndarray]
Generator = Callable[[Array, Array, Rng, float], Pair]

SMALLEST_SHARE, LARGEST_SHARE, SMALLEST_PIXELS = 3e-4, 0.08, 24.0


def smooth_noise(height: int, width: int, cell: float, rng: Rng, octaves: int = 1) -> Array:
    """Smooth random field [height, width] float32, mean about 0, mostly in -1..1.

    `cell` is the size in pixels of the coarsest grain; each further octave halves it and its weight.
    Value noise on a small grid enlarged by cubic interpolation, a quick stand-in for Perlin's gradient noise.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal((int(height / size) + 2, int(width / size) + 2), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * (0.6 / 2**octave)
    return total


def is_grey(image: Array) -> bool:
    """True when all channels of [H, W, 3] are equal, so that drawn colours must be equal too."""
    # A coloured picture nearly always shows it in its first rows; comparing the rest is the slow part.
    return all(bool((part[..., :2] == part[..., 1:]).all()) for part in (image[::16], image))


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def _pick(area: Array, rng: Rng) -> tuple[int, int]:
    """A random True pixel (y, x) of `area`."""
    flat = np.flatnonzero(area)
    return divmod(int(flat[rng.integers(len(flat))]), area.shape[1])


def _cut(shape: tuple[int, ...], y: float, x: float, half: float) -> Window:
    """The part of a picture of that shape within `half` pixels of the pixel (y, x)."""
    return (slice(max(int(y - half), 0), min(int(y + half) + 1, shape[0])),
            slice(max(int(x - half), 0), min(int(x + half) + 1, shape[1])))


def _busy(crop: Array) -> float:
    """Fine detail of [h, w, 3]: mean absolute difference to its blurred self, in grey levels."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    return float(cv2.absdiff(grey, cv2.blur(grey, (5, 5))).mean())


def _blob(window: Window, at: tuple[int, int], radius: float, rng: Rng, aspect: float, rough: float,
          soft: float) -> Array:
    """Irregular patch [h, w] float32 in 0..1 around the picture's pixel `at` (y, x).

    `radius` in pixels, `aspect` long over short side, `rough` bends the outline (0 an ellipse), `soft` is the
    width of the edge as a share of the radius.
    """
    dy = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - at[0]
    dx = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - at[1]
    angle = rng.uniform(0, np.pi)
    cos, sin, long = np.cos(angle), np.sin(angle), np.sqrt(aspect)
    far = np.hypot((dx * cos + dy * sin) / (radius * long), (dy * cos - dx * sin) * long / radius)
    bent = far + rough * smooth_noise(*far.shape, max(radius * 0.8, 2), rng, 3)
    return np.clip((1 - bent) / max(soft, 1 / radius) + 0.5, 0, 1).astype(np.float32)


def _spot(image: Array, area: Array, rng: Rng, shares: tuple[float, float] = (SMALLEST_SHARE, LARGEST_SHARE),
          rough: float = 0.35, soft: float = 0.3, elongation: float = 3.0, textured: bool = False,
          ) -> tuple[Window, Array, float]:
    """An irregular patch in `area`: (window, alpha [h, w] 0..1, radius px), its size log-uniform in `shares` of the
    picture; `textured` wants the busiest of eight places and raises ValueError when even that one has no detail.
    """
    pixels = max(_log_uniform(rng, *shares) * area.size, SMALLEST_PIXELS)
    radius = float(np.sqrt(min(pixels, 0.5 * np.count_nonzero(area) + SMALLEST_PIXELS) / np.pi))
    aspect = _log_uniform(rng, 1, elongation)
    reach = radius * np.sqrt(aspect) * (1 + soft / 2 + 1.3 * rough) + 3
    places = [_pick(area, rng) for _ in range(8 if textured else 1)]
    if textured:
        places.sort(key=lambda place: _busy(image[_cut(area.shape, *place, radius)]))
        if _busy(image[_cut(area.shape, *places[-1], radius)]) < 2.0:
            raise ValueError("no texture to spoil")
    window = _cut(area.shape, *places[-1], reach)
    return window, _blob(window, places[-1], radius, rng, aspect, rough, soft), radius


def _put(image: Array, area: Array, window: Window, drawn: Array, alpha: Array) -> Pair:
    """Lay `drawn` [h, w, 3] (grey levels) over the window with opacity `alpha` [h, w], inside `area` only."""
    alpha = (alpha * area[window]).astype(np.float32)
    result, support = image.copy(), np.zeros(area.shape, np.float32)
    base = image[window].astype(np.float32)
    result[window] = np.clip(base + (drawn - base) * alpha[..., None] + 0.5, 0, 255)
    support[window] = alpha
    return result, support


def _step(crop: Array, strength: float, reach: float = 95.0) -> float:
    """How many grey levels a defect of that strength lies off its surface: above the surface's own grain."""
    return 7 + 0.6 * min(_busy(crop), 15) + strength**1.4 * reach


def _side(crop: Array, step: float, rng: Rng, dark_share: float) -> float:
    """-1 (darker) or 1 (brighter), by chance unless one side has no room for the step."""
    room = 0.6 * step
    dark = (rng.random() < dark_share and crop.mean() >= room) or crop.mean() > 255 - room
    return -1.0 if dark else 1.0


def _tint(image: Array, rng: Rng, spread: float) -> Array:
    """Channel weights [3] around 1 (each 1 on a grey picture); `spread` is how coloured they may get."""
    weights = 1 + rng.uniform(-spread, spread, 3).astype(np.float32)
    return np.ones(3, np.float32) if is_grey(image) else weights


def _walk(y: float, x: float, heading: float, length: float, pace: float, wobble: float, rng: Rng) -> Array:
    """A wandering path [n, 2] of (x, y) in pixels, `length` long in paces of `pace` pixels."""
    turns = rng.normal(0, 1, max(int(length / pace), 2))
    angles = heading + wobble * (turns + 0.3 * np.cumsum(turns))
    return np.array([x, y]) + np.cumsum(pace * np.stack([np.cos(angles), np.sin(angles)], 1), 0)


def _ink(shape: tuple[int, ...], strokes: list[Pair], margin: int = 6) -> tuple[Window, Array]:
    """Draw paths [n, 2] (x, y) with widths [n] in pixels; (window, alpha [h, w] 0..1), drawn at 2x and shrunk;
    the window is the picture's part within `margin` pixels of the paths.
    """
    points = np.concatenate([path for path, _ in strokes])
    low = np.clip(points.min(0) - margin, 0, [shape[1] - 2, shape[0] - 2]).astype(int)
    high = np.clip(points.max(0) + margin + 1, low + 2, [shape[1], shape[0]]).astype(int)
    canvas = np.zeros((2 * (high[1] - low[1]), 2 * (high[0] - low[0])), np.uint8)
    for path, widths in strokes:
        scaled = np.round((path - low) * 32).astype(int)
        for start, end, width in zip(scaled[:-1], scaled[1:], widths, strict=False):
            value, thick = int(255 * min(1.0, 0.25 + 1.5 * width)), max(1, round(2 * width))
            cv2.line(canvas, start.tolist(), end.tolist(), value, thick, cv2.LINE_AA, 4)
    alpha = cv2.resize(canvas, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), alpha


def _shifted(plane: Array, right: float, down: float) -> Array:
    """A picture or plane moved by parts of a pixel, its border mirrored."""
    move = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(plane, move, plane.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def _line_width(shape: tuple[int, ...], rng: Rng) -> float:
    """A thin line's width in pixels, growing slowly with the picture."""
    return _log_uniform(rng, 0.5, 2.2) * max(min(shape[:2]) / 320, 0.5) ** 0.6


def crack(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A thin jagged line with branches, dark (bright only on a black surface), fading in and out along its way."""
    y, x = _pick(area, rng)
    width, length = _line_width(area.shape, rng), _log_uniform(rng, 0.06, 0.9) * min(area.shape)
    heading, pace = rng.uniform(0, 2 * np.pi), max(2.0, 2.2 * width)
    trunk = _walk(y, x, heading, length, pace, rng.uniform(0.15, 0.5), rng)
    swell = np.clip(1 + 0.5 * np.convolve(rng.normal(0, 1, len(trunk) + 4), np.ones(5) / 2.2, "valid"), 0.25, 2)
    taper = np.minimum(1, 4 * np.linspace(0.02, 1, len(trunk))[::-1])
    strokes: list[Pair] = [(trunk, width * swell * taper)]
    for _ in range(rng.choice(5, p=[0.35, 0.25, 0.2, 0.12, 0.08])):
        at = trunk[rng.integers(len(trunk))]
        turn = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
        branch = _walk(at[1], at[0], turn, length * rng.uniform(0.1, 0.45), pace, 0.35, rng)
        strokes.append((branch, width * rng.uniform(0.4, 0.8) * np.linspace(1, 0.2, len(branch))))
    window, line = _ink(area.shape, strokes)
    alpha = line * np.clip(0.85 + 0.4 * smooth_noise(*line.shape, max(6, length / 8), rng, 2), 0.15, 1)
    step = _step(image[window], strength, 130)
    # A worn edge catches light beside the opening.
    lip = _shifted(alpha, float(rng.choice([-1, 1])), 1)
    depth = _side(image[window], step, rng, 1.0) * step * (alpha - rng.uniform(0, 0.3) * np.clip(lip - alpha, 0, 1))
    return _put(image, area, window, image[window] + depth[..., None], (alpha > 0.02) | (lip > 0.05))


def scratch(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """One to five nearly parallel straight or slightly bent lines, bright or dark, with skips."""
    y, x = _pick(area, rng)
    width, length = 0.8 * _line_width(area.shape, rng), _log_uniform(rng, 0.08, 0.8) * min(area.shape)
    heading, bend = rng.uniform(0, np.pi), rng.normal(0, 0.12)
    along, across = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    strokes: list[Pair] = []
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3, 5])):
        way = np.linspace(0, 1, 24)[:, None] * length * rng.uniform(0.5, 1)
        offset = rng.normal(0, 0.06, 2) * length * bool(strokes)
        path = np.array([x, y]) + offset + way * along + (bend + rng.normal(0, 0.02)) * way**2 / length * across
        pressure = np.sin(np.linspace(0.15, np.pi - 0.1, 24)) ** 0.5 * rng.uniform(0.6, 1.2)
        strokes.append((path, width * pressure))
    window, alpha = _ink(area.shape, strokes)
    alpha = alpha * np.clip(0.75 + 0.6 * smooth_noise(*alpha.shape, max(5, length / 6), rng, 2), 0, 1)
    step = _step(image[window], strength, 110)
    step *= _side(image[window], step, rng, 0.4)
    return _put(image, area, window, image[window] + step * _tint(image, rng, 0.1), alpha)


def stain(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A soft-edged change of tone and colour through which the surface shows; now and then a dried-up rim."""
    window, alpha, _ = _spot(image, area, rng, soft=_log_uniform(rng, 0.15, 1.2), rough=rng.uniform(0.2, 0.6))
    cloud = alpha * np.clip(0.8 + 0.35 * smooth_noise(*alpha.shape, max(4, alpha.shape[0] / 3), rng, 3), 0.2, 1.2)
    rim = 4 * alpha * (1 - alpha) * rng.choice([0.0, 0.0, 1.0])
    step = _step(image[window], strength, 75)
    step *= _side(image[window], step, rng, 0.7)
    depth, crop = np.clip(cloud * (0.5 if rim.any() else 1) + 0.7 * rim, 0, 1.3), image[window].astype(np.float32)
    # A darkening film swallows light in proportion, a brightening one adds its own.
    body = crop / max(float(crop.mean()), 20) if step < 0 else np.float32(1)
    drawn = crop + step * depth[..., None] * _tint(image, rng, 0.4) * np.clip(body, 0.4, 1.6)
    return _put(image, area, window, drawn, alpha > 0.01)


def hole(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A compact dark opening or pit, deeper inside, one side of its rim lit."""
    window, alpha, radius = _spot(image, area, rng, (SMALLEST_SHARE, 0.02), rng.uniform(0.1, 0.35), 0.25, 2)
    step = _step(image[window], strength, 150)
    depth = step * _side(image[window], step, rng, 1.0)
    deep = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 0.35 * radius)) * 0.4 + 0.6
    rim = np.clip(_shifted(alpha, *rng.uniform(-1.5, 1.5, 2)) - alpha, 0, 1) * rng.uniform(0, 0.6)
    drawn = image[window] + depth * (alpha * deep - rim)[..., None] * _tint(image, rng, 0.06)
    if (core := alpha > 0.5).any():
        # Deep holes have no surface left to see.
        drawn[core] += (drawn[core].mean(0) - drawn[core]) * 0.7 * strength
    return _put(image, area, window, drawn, (alpha > 0) | (rim > 0.02))


def chip(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Material missing at the border of the object (or of the picture), showing the background's tone."""
    edge = area & (cv2.erode(np.pad(area, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    pixels = max(_log_uniform(rng, 6e-4, 0.04) * area.size, SMALLEST_PIXELS)
    at = _pick(edge if edge.any() else area, rng)
    # A faint chip is a small one: missing material is never see-through.
    radius = float(np.sqrt(pixels / np.pi)) * (0.5 + 0.5 * strength)
    window = _cut(area.shape, *at, 2.7 * radius + 3)
    alpha = _blob(window, at, radius, rng, _log_uniform(rng, 1, 2.5), rng.uniform(0.25, 0.5), 0.05)
    outside, step = image[window][~area[window]], _step(image[window], 1.0, 100)
    tone, grain = image[window].mean((0, 1)) + _side(image[window], step, rng, 0.85) * step, 4 + _busy(image[window])
    if len(outside) >= 8:
        tone, grain = np.median(outside, 0), min(float(outside.std()), 6.0)
    floor = tone + grain * smooth_noise(*alpha.shape, 2, rng)[..., None]
    broken = np.clip(1 - 0.35 * cv2.GaussianBlur(4 * alpha * (1 - alpha), (0, 0), 1.0), 0.5, 1)[..., None]
    return _put(image, area, window, floor * broken, alpha * (0.6 + 0.4 * strength))


def _foreign(image: Array, height: int, width: int, rng: Rng) -> Array:
    """A texture [height, width, 3] float32 that does not belong: own picture turned and recoloured, or invented."""
    if rng.random() < 0.5:
        other = cv2.resize(np.rot90(image, rng.integers(1, 4)), (width, height), interpolation=cv2.INTER_AREA)
        return other[..., rng.permutation(3)] * np.float32(rng.uniform(0.6, 1.4)) + np.float32(rng.uniform(-30, 30))
    grain = smooth_noise(max(height // int(rng.choice([1, 1, 4, 10])), 1), width, _log_uniform(rng, 1.5, 10), rng, 2)
    grain = cv2.resize(grain, (width, height))
    if rng.random() < 0.3:
        slant = np.arange(height)[:, None] * rng.uniform(-1, 1) + np.arange(width) * rng.uniform(-1, 1)
        grain = grain * 0.4 + np.sin(slant * 2 * np.pi / _log_uniform(rng, 3, 12))
    base = image[_pick(np.ones(image.shape[:2], bool), rng)].astype(np.float32) * rng.uniform(0.5, 1.4)
    return base + rng.uniform(10, 50) * grain[..., None] * _tint(image, rng, 0.5)


def texture(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Foreign texture inside a thresholded noise mask (DRAEM, Zavrtanik et al., ICCV 2021)."""
    window, alpha, radius = _spot(image, area, rng, (2e-3, LARGEST_SHARE * 1.5), 0.5, 0.15, 2)
    ragged = smooth_noise(*alpha.shape, max(3, radius * rng.uniform(0.3, 1)), rng, 3) + 0.25
    alpha = alpha * np.clip(ragged / 0.15 + 0.5, 0, 1)
    return _put(image, area, window, _foreign(image, *alpha.shape, rng), alpha * (0.2 + 0.75 * strength))


def patch(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A piece of the same picture in the wrong place: pasted with colour jitter (CutPaste, Li et al., CVPR 2021)
    or melted in by Poisson editing (Natural Synthetic Anomalies, Schlueter et al., ECCV 2022).
    """
    window, alpha, _ = _spot(image, area, rng, (1e-3, 0.06), rng.uniform(0, 0.3), 0.12, 2.5)
    (height, width), (y, x) = alpha.shape, _pick(area, rng)
    piece = image[min(y, area.shape[0] - height) :, min(x, area.shape[1] - width) :][:height, :width]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), rng.uniform(0.7, 1.4))
    piece = cv2.warpAffine(piece, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    inner = (alpha > 0.5).astype(np.uint8) * 255
    # The solver needs a frame of untouched pixels around the piece, and some within.
    cv2.rectangle(inner, (0, 0), (width - 1, height - 1), 0, 3)
    if rng.random() < 0.5 and min(cv2.boundingRect(inner)[2:]) > 4:
        left, top, wide, high = cv2.boundingRect(inner)
        piece = cv2.seamlessClone(piece, np.ascontiguousarray(image[window]), inner,
                                  (left + wide // 2, top + high // 2), cv2.NORMAL_CLONE)
    else:
        piece = np.clip(piece + rng.uniform(-18, 18) * _tint(image, rng, 0.5), 0, 255)
    return _put(image, area, window, piece.astype(np.float32), alpha * (0.3 + 0.7 * strength))


def contamination(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Something lying on the surface: a fibre, a sprinkle of specks, a particle with its shadow, or a drop."""
    form = rng.choice(["fibre", "specks", "particle", "drop"])
    y, x = _pick(area, rng)
    if form == "fibre":
        length, width = _log_uniform(rng, 0.06, 0.5) * min(area.shape), _line_width(area.shape, rng)
        path = _walk(y, x, rng.uniform(0, 6.28), length, max(2.0, length / 40), rng.uniform(0.03, 0.25), rng)
        window, alpha = _ink(area.shape, [(path, np.full(len(path), width))])
    elif form == "specks":
        spread = _log_uniform(rng, 0.03, 0.25) * min(area.shape)
        spots = rng.normal([x, y], spread, (int(_log_uniform(rng, 3, 30)), 2))
        sizes = np.exp(rng.normal(0.2, 0.5, len(spots))) * max(min(area.shape) / 320, 0.7)
        window, alpha = _ink(area.shape, [(np.stack([s, s + 0.3]), np.full(2, 1.6 * r))
                                          for s, r in zip(spots, sizes, strict=True)])
    else:
        window, alpha, _ = _spot(image, area, rng, (SMALLEST_SHARE, 0.01), 0.45 if form == "particle" else 0.08,
                                 0.15, 4 if form == "particle" else 1.4)
    step = _step(image[window], strength, 120)
    side, tint = _side(image[window], step, rng, 0.6), _tint(image, rng, 0.5)
    shade = _shifted(alpha, *rng.uniform(-2.5, 2.5, 2))
    body = side * step * (alpha * (1 + 0.25 * smooth_noise(*alpha.shape, 3, rng)))
    if form == "drop":
        # A drop is a lens: dark on one side, lit on the other, hardly tinted in the middle.
        body, tint = step * (1.6 * (cv2.GaussianBlur(shade, (0, 0), 1.2) - alpha) + 0.15 * side * alpha), np.ones(3)
    cast = 0.3 * step * np.clip(shade - alpha, 0, 1) * (form != "fibre")
    drawn = image[window] + body[..., None] * tint - cast[..., None]
    return _put(image, area, window, drawn, (alpha > 0.02) | (shade > 0.03))


def _relief(image: Array, area: Array, window: Window, height: Array, rng: Rng,
            strength: float, depth: float) -> Pair:
    """Light and bend the window as a surface of that `height` [h, w] 0..1; `depth` is the largest shift in pixels."""
    slope_x, slope_y = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    steep = np.hypot(slope_x, slope_y)
    steepest, angle = max(float(steep.max()), 1e-6), rng.uniform(0, 2 * np.pi)
    shade = (slope_x * np.cos(angle) + slope_y * np.sin(angle)) / steepest
    shift, (rows, columns) = depth * (0.3 + 0.7 * strength) / steepest, np.indices(height.shape, np.float32)
    bent = cv2.remap(np.ascontiguousarray(image[window]), columns + shift * slope_x, rows + shift * slope_y,
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    drawn = bent + (_step(image[window], strength, 70) * shade)[..., None]
    return _put(image, area, window, drawn, steep > 0.04 * steepest)


def dent(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A pressed-in place: one side in shadow, the other lit, the pattern bent over it."""
    window, alpha, radius = _spot(image, area, rng, (6e-4, 0.03), 0.2, 1.2, 2.5)
    height = cv2.GaussianBlur(alpha, (0, 0), max(0.8, 0.2 * radius))
    return _relief(image, area, window, height, rng, strength, min(0.25 * radius, 6.0))


def wrinkle(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A bent fold: a soft ridge of light and shadow along a line, the pattern shifted on both sides."""
    y, x = _pick(area, rng)
    length, width = _log_uniform(rng, 0.12, 0.9) * min(area.shape), _log_uniform(rng, 0.004, 0.02) * min(area.shape)
    path = _walk(y, x, rng.uniform(0, 6.28), length, max(2.0, length / 30), rng.uniform(0.02, 0.15), rng)
    swell = max(width, 0.8) * np.sin(np.linspace(0.2, np.pi - 0.2, len(path)))
    window, line = _ink(area.shape, [(path, swell)], int(4 * width) + 6)
    height = cv2.GaussianBlur(line, (0, 0), max(width, 1.0))
    return _relief(image, area, window, height, rng, strength, 1.0 + width)


def misprint(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A part of the pattern doubled, displaced or wiped away, where there is a pattern."""
    window, alpha, radius = _spot(image, area, rng, (1.5e-3, LARGEST_SHARE), 0.15, 0.12, 3, textured=True)
    form, angle = rng.choice(["double", "shift", "erase"]), rng.uniform(0, 2 * np.pi)
    reach = (2 + 0.25 * min(radius, 24)) * rng.uniform(0.6, 1.3)
    crop = np.ascontiguousarray(image[window])
    if form == "erase":
        side = max(3, int(radius) | 1)
        drawn = cv2.blur(cv2.medianBlur(crop, min(side, 31)), (side, side))
    else:
        drawn = _shifted(crop, reach * np.cos(angle), reach * np.sin(angle))
    opacity = (0.25 + 0.75 * strength) * (0.6 if form == "double" else 1.0)
    return _put(image, area, window, drawn.astype(np.float32), alpha * opacity)


def discolouration(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A wide faded, yellowed or burnt place: channel gains change while the detail stays."""
    window, alpha, _ = _spot(image, area, rng, (4e-3, 0.09), rng.uniform(0.2, 0.5), _log_uniform(rng, 0.25, 1.1))
    crop = image[window].astype(np.float32)
    step = _step(image[window], strength, 50)
    lean, faded = rng.uniform(-1, 1, 3).astype(np.float32), rng.random() < 0.3
    if is_grey(image):
        lean = np.full(3, _side(crop, step, rng, 0.5), np.float32)
    elif faded:
        # Fading takes the colour out and leaves the tone.
        own = crop.mean((0, 1))
        lean = own.mean() - own + 0.3 * lean * max(float(np.ptp(own)), 10)
    lean = lean.mean() + 0.7 * (lean - lean.mean())
    drawn = crop + lean / np.abs(lean).max() * step * np.clip(crop / np.maximum(crop.mean((0, 1)), 40), 0.5, 1.4)
    return _put(image, area, window, drawn, alpha)


def blur(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A smeared place where the detail is lost; ValueError when the picture has no detail."""
    window, alpha, _ = _spot(image, area, rng, (3e-3, LARGEST_SHARE), 0.3, 0.4, 2.5, textured=True)
    sigma = (0.8 + 3.5 * strength) * max(min(area.shape) / 320, 0.5)
    # Out of focus, or smeared sideways or downwards.
    right, down = rng.choice([[1, 1], [1, 1], [1.5, 0.2], [0.2, 1.5]]) * sigma
    drawn = cv2.GaussianBlur(np.ascontiguousarray(image[window]), (0, 0), right, sigmaY=down)
    return _put(image, area, window, drawn.astype(np.float32), alpha)


GENERATORS: dict[str, Generator] = {draw.__name__: draw for draw in (
    crack, scratch, stain, hole, chip, texture, patch, contamination, dent, wrinkle, misprint, discolouration, blur)}
