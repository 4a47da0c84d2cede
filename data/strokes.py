"""What all drawn defects are drawn with: noise, places, blobs, strokes and tones that fit the picture."""

from __future__ import annotations

import cv2
import numpy as np

Array, Rng, Window = np.ndarray, np.random.Generator, tuple[slice, slice]
Pair = tuple[np.ndarray, np.ndarray]

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


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def pick_point(area: Array, rng: Rng) -> tuple[int, int]:
    """A random True pixel (y, x) of `area`."""
    flat = np.flatnonzero(area)
    return divmod(int(flat[rng.integers(len(flat))]), area.shape[1])


def cut_around(shape: tuple[int, ...], y: float, x: float, half: float) -> Window:
    """The part of a picture of that shape within `half` pixels of the pixel (y, x)."""
    return (
        slice(max(int(y - half), 0), min(int(y + half) + 1, shape[0])),
        slice(max(int(x - half), 0), min(int(x + half) + 1, shape[1])),
    )


def busyness(crop: Array) -> float:
    """Fine detail of [h, w, 3]: mean absolute difference to its blurred self, in grey levels."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    return float(cv2.absdiff(grey, cv2.blur(grey, (5, 5))).mean())


def blob(
    window: Window, at: tuple[int, int], radius: float, rng: Rng, aspect: float, rough: float, soft: float
) -> Array:
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


def draw_spot(
    image: Array,
    area: Array,
    rng: Rng,
    shares: tuple[float, float] = (SMALLEST_SHARE, LARGEST_SHARE),
    rough: float = 0.35,
    soft: float = 0.3,
    elongation: float = 3.0,
    textured: bool = False,
) -> tuple[Window, Array, float]:
    """An irregular patch in `area`: (window, alpha [h, w] 0..1, radius px), its size log-uniform in `shares` of the
    picture; `textured` wants the busiest of eight places and raises ValueError when even that one has no detail.
    """
    pixels = max(log_uniform(rng, *shares) * area.size, SMALLEST_PIXELS)
    radius = float(np.sqrt(min(pixels, 0.5 * np.count_nonzero(area) + SMALLEST_PIXELS) / np.pi))
    aspect = log_uniform(rng, 1, elongation)
    reach = radius * np.sqrt(aspect) * (1 + soft / 2 + 1.3 * rough) + 3
    places = [pick_point(area, rng) for _ in range(8 if textured else 1)]
    if textured:
        places.sort(key=lambda place: busyness(image[cut_around(area.shape, *place, radius)]))
        if busyness(image[cut_around(area.shape, *places[-1], radius)]) < 2.0:
            raise ValueError("no texture to spoil")
    window = cut_around(area.shape, *places[-1], reach)
    return window, blob(window, places[-1], radius, rng, aspect, rough, soft), radius


def put_back(image: Array, area: Array, window: Window, drawn: Array, alpha: Array) -> Pair:
    """Lay `drawn` [h, w, 3] (grey levels) over the window with opacity `alpha` [h, w], inside `area` only."""
    alpha = (alpha * area[window]).astype(np.float32)
    result, support = image.copy(), np.zeros(area.shape, np.float32)
    base = image[window].astype(np.float32)
    result[window] = np.clip(base + (drawn - base) * alpha[..., None] + 0.5, 0, 255)
    support[window] = alpha
    return result, support


def tone_step(crop: Array, strength: float, reach: float = 95.0) -> float:
    """How many grey levels a defect of that strength lies off its surface: above the surface's own grain."""
    return 7 + 0.6 * min(busyness(crop), 15) + strength**1.4 * reach


def signed_step(crop: Array, step: float, rng: Rng, dark_share: float) -> float:
    """-1 (darker) or 1 (brighter), by chance unless one side has no room for the step."""
    room = 0.6 * step
    dark = (rng.random() < dark_share and crop.mean() >= room) or crop.mean() > 255 - room
    return -1.0 if dark else 1.0


def random_tint(image: Array, rng: Rng, spread: float) -> Array:
    """Channel weights [3] around 1 (each 1 on a grey picture); `spread` is how coloured they may get."""
    weights = 1 + rng.uniform(-spread, spread, 3).astype(np.float32)
    return np.ones(3, np.float32) if is_grey(image) else weights


def wander(y: float, x: float, heading: float, length: float, pace: float, wobble: float, rng: Rng) -> Array:
    """A wandering path [n, 2] of (x, y) in pixels, `length` long in paces of `pace` pixels."""
    turns = rng.normal(0, 1, max(int(length / pace), 2))
    angles = heading + wobble * (turns + 0.3 * np.cumsum(turns))
    return np.array([x, y]) + np.cumsum(pace * np.stack([np.cos(angles), np.sin(angles)], 1), 0)


def ink_strokes(shape: tuple[int, ...], strokes: list[Pair], margin: int = 6) -> tuple[Window, Array]:
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


def shifted_plane(plane: Array, right: float, down: float) -> Array:
    """A picture or plane moved by parts of a pixel, its border mirrored."""
    move = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(plane, move, plane.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def line_width(shape: tuple[int, ...], rng: Rng) -> float:
    """A thin line's width in pixels, growing slowly with the picture."""
    return log_uniform(rng, 0.5, 2.2) * max(min(shape[:2]) / 320, 0.5) ** 0.6
