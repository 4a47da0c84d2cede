"""The kinds of drawn defect, each one function in `GENERATORS`, here and in `data.faults`.

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

from data.faults import artwork_fault, dead_area, fray, hairline, pores, shatter, uneven
from data.strokes import (
    LARGEST_SHARE,
    SMALLEST_PIXELS,
    SMALLEST_SHARE,
    Array,
    Pair,
    Rng,
    Window,
    blob,
    busyness,
    cut_around,
    draw_spot,
    ink_strokes,
    is_grey,
    line_width,
    log_uniform,
    pick_point,
    put_back,
    random_tint,
    shifted_plane,
    signed_step,
    smooth_noise,
    tone_step,
    wander,
)

Generator = Callable[[Array, Array, Rng, float], Pair]

PLAIN_STROKE = 0.35
"""Share of the scratches that are one even stroke: taught on faint ragged lines alone, a head overlooks plain ones."""


def crack(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A thin jagged line with branches, dark (bright only on a black surface), fading in and out along its way."""
    y, x = pick_point(area, rng)
    width, length = line_width(area.shape, rng), log_uniform(rng, 0.06, 0.9) * min(area.shape)
    heading, pace = rng.uniform(0, 2 * np.pi), max(2.0, 2.2 * width)
    trunk = wander(y, x, heading, length, pace, rng.uniform(0.15, 0.5), rng)
    swell = np.clip(1 + 0.5 * np.convolve(rng.normal(0, 1, len(trunk) + 4), np.ones(5) / 2.2, "valid"), 0.25, 2)
    taper = np.minimum(1, 4 * np.linspace(0.02, 1, len(trunk))[::-1])
    strokes: list[Pair] = [(trunk, width * swell * taper)]
    for _ in range(rng.choice(5, p=[0.35, 0.25, 0.2, 0.12, 0.08])):
        at = trunk[rng.integers(len(trunk))]
        turn = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
        branch = wander(at[1], at[0], turn, length * rng.uniform(0.1, 0.45), pace, 0.35, rng)
        strokes.append((branch, width * rng.uniform(0.4, 0.8) * np.linspace(1, 0.2, len(branch))))
    window, line = ink_strokes(area.shape, strokes)
    alpha = line * np.clip(0.85 + 0.4 * smooth_noise(*line.shape, max(6, length / 8), rng, 2), 0.15, 1)
    step = tone_step(image[window], strength, 130)
    # A worn edge catches light beside the opening.
    lip = shifted_plane(alpha, float(rng.choice([-1, 1])), 1)
    depth = (
        signed_step(image[window], step, rng, 1.0) * step * (alpha - rng.uniform(0, 0.3) * np.clip(lip - alpha, 0, 1))
    )
    return put_back(image, area, window, image[window] + depth[..., None], (alpha > 0.02) | (lip > 0.05))


def scratch(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """One to five nearly parallel straight or slightly bent lines, bright or dark, with skips; or one plain stroke."""
    if rng.random() < PLAIN_STROKE:
        return _plain_stroke(image, area, rng, strength)
    y, x = pick_point(area, rng)
    width, length = 0.8 * line_width(area.shape, rng), log_uniform(rng, 0.08, 0.8) * min(area.shape)
    heading, bend = rng.uniform(0, np.pi), rng.normal(0, 0.12)
    along, across = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    strokes: list[Pair] = []
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3, 5])):
        way = np.linspace(0, 1, 24)[:, None] * length * rng.uniform(0.5, 1)
        offset = rng.normal(0, 0.06, 2) * length * bool(strokes)
        path = np.array([x, y]) + offset + way * along + (bend + rng.normal(0, 0.02)) * way**2 / length * across
        pressure = np.sin(np.linspace(0.15, np.pi - 0.1, 24)) ** 0.5 * rng.uniform(0.6, 1.2)
        strokes.append((path, width * pressure))
    window, alpha = ink_strokes(area.shape, strokes)
    alpha = alpha * np.clip(0.75 + 0.6 * smooth_noise(*alpha.shape, max(5, length / 6), rng, 2), 0, 1)
    step = tone_step(image[window], strength, 110)
    step *= signed_step(image[window], step, rng, 0.4)
    return put_back(image, area, window, image[window] + step * random_tint(image, rng, 0.1), alpha)


def _plain_stroke(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """An even, hard-edged line of one tone, jagged or in one sweep, as a tool or a pen leaves it."""
    start = np.array(pick_point(area, rng)[::-1], dtype=np.float64)
    turns, length = int(rng.integers(1, 6)), log_uniform(rng, 0.08, 0.6) * min(area.shape)
    headings = rng.uniform(0, 2 * np.pi) + np.cumsum(np.append(0.0, rng.normal(0, 0.7, turns - 1)))
    legs = length / turns * rng.uniform(0.4, 1.6, turns)
    corners = np.vstack([start, start + np.cumsum(legs[:, None] * np.c_[np.cos(headings), np.sin(headings)], axis=0)])
    along = np.linspace(0, turns, 10 * turns + 1)
    path = np.c_[np.interp(along, range(turns + 1), corners[:, 0]), np.interp(along, range(turns + 1), corners[:, 1])]
    width = rng.uniform(1.0, 2.2) * line_width(area.shape, rng)
    window, alpha = ink_strokes(area.shape, [(path, np.full(len(path), width))])
    step = tone_step(image[window], strength, 130)
    step *= signed_step(image[window], step, rng, 0.4)
    return put_back(image, area, window, image[window].mean((0, 1)) + step * random_tint(image, rng, 0.2), alpha)


def stain(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A soft-edged change of tone and colour through which the surface shows; now and then a dried-up rim."""
    window, alpha, _ = draw_spot(image, area, rng, soft=log_uniform(rng, 0.15, 1.2), rough=rng.uniform(0.2, 0.6))
    cloud = alpha * np.clip(0.8 + 0.35 * smooth_noise(*alpha.shape, max(4, alpha.shape[0] / 3), rng, 3), 0.2, 1.2)
    rim = 4 * alpha * (1 - alpha) * rng.choice([0.0, 0.0, 1.0])
    step = tone_step(image[window], strength, 75)
    step *= signed_step(image[window], step, rng, 0.7)
    depth, crop = np.clip(cloud * (0.5 if rim.any() else 1) + 0.7 * rim, 0, 1.3), image[window].astype(np.float32)
    # A darkening film swallows light in proportion, a brightening one adds its own.
    body = crop / max(float(crop.mean()), 20) if step < 0 else np.float32(1)
    drawn = crop + step * depth[..., None] * random_tint(image, rng, 0.4) * np.clip(body, 0.4, 1.6)
    return put_back(image, area, window, drawn, alpha > 0.01)


def hole(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A compact dark opening or pit, deeper inside, one side of its rim lit."""
    window, alpha, radius = draw_spot(image, area, rng, (SMALLEST_SHARE, 0.02), rng.uniform(0.1, 0.35), 0.25, 2)
    step = tone_step(image[window], strength, 150)
    depth = step * signed_step(image[window], step, rng, 1.0)
    deep = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 0.35 * radius)) * 0.4 + 0.6
    rim = np.clip(shifted_plane(alpha, *rng.uniform(-1.5, 1.5, 2)) - alpha, 0, 1) * rng.uniform(0, 0.6)
    drawn = image[window] + depth * (alpha * deep - rim)[..., None] * random_tint(image, rng, 0.06)
    if (core := alpha > 0.5).any():
        # Deep holes have no surface left to see.
        drawn[core] += (drawn[core].mean(0) - drawn[core]) * 0.7 * strength
    return put_back(image, area, window, drawn, (alpha > 0) | (rim > 0.02))


def foreign_object(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A solid thing that does not belong there: disc, block, ring or bar of one colour with a hard edge."""
    y, x = pick_point(area, rng)
    radius = float(np.sqrt(log_uniform(rng, 2 * SMALLEST_SHARE, 0.06) * area.size / np.pi)) + 2
    long = float(np.sqrt(log_uniform(rng, 1, 2.5)))
    window = cut_around(area.shape, y, x, 2 * radius * long + 3)
    at = (x - window[1].start, y - window[0].start)
    shape = np.zeros(image[window].shape[:2], np.uint8)
    axes, turn, form = (int(radius * long), int(radius / long)), rng.uniform(0, 180), rng.integers(4)
    if form == 0:
        cv2.ellipse(shape, at, axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    elif form == 1:
        corners = cv2.boxPoints((at, (1.8 * axes[0], 1.8 * axes[1]), turn))
        cv2.fillConvexPoly(shape, corners.astype(np.int32), 255, cv2.LINE_AA)
    elif form == 2:
        cv2.ellipse(shape, at, axes, turn, 0, 360, 255, max(2, int(0.3 * radius)), cv2.LINE_AA)
    else:
        step = 1.8 * radius * np.array([np.cos(turn), np.sin(turn)])
        ends = [tuple(int(value) for value in at + sign * step) for sign in (-1, 1)]
        cv2.line(shape, *ends, 255, max(2, int(log_uniform(rng, 0.08, 0.3) * radius)), cv2.LINE_AA)
    tone = rng.choice([rng.uniform(0, 40), rng.uniform(215, 255), rng.uniform(40, 215)])
    hue = rng.normal(0, 60, 3) * (rng.random() < 0.6 and not is_grey(image))
    grain = rng.uniform(0, 5) * smooth_noise(*shape.shape, 3, rng)
    drawn = np.clip(tone + hue, 0, 255).astype(np.float32) + grain[..., None]
    return put_back(image, area, window, drawn, shape.astype(np.float32) / 255 * (0.4 + 0.6 * strength))


def chip(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Material missing at the border of the object (or of the picture), showing the background's tone."""
    edge = area & (cv2.erode(np.pad(area, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    pixels = max(log_uniform(rng, 6e-4, 0.04) * area.size, SMALLEST_PIXELS)
    at = pick_point(edge if edge.any() else area, rng)
    # A faint chip is a small one: missing material is never see-through.
    radius = float(np.sqrt(pixels / np.pi)) * (0.5 + 0.5 * strength)
    window = cut_around(area.shape, *at, 2.7 * radius + 3)
    alpha = blob(window, at, radius, rng, log_uniform(rng, 1, 2.5), rng.uniform(0.25, 0.5), 0.05)
    outside, step = image[window][~area[window]], tone_step(image[window], 1.0, 100)
    tone, grain = (
        image[window].mean((0, 1)) + signed_step(image[window], step, rng, 0.85) * step,
        4 + busyness(image[window]),
    )
    if len(outside) >= 8:
        tone, grain = np.median(outside, 0), min(float(outside.std()), 6.0)
    floor = tone + grain * smooth_noise(*alpha.shape, 2, rng)[..., None]
    broken = np.clip(1 - 0.35 * cv2.GaussianBlur(4 * alpha * (1 - alpha), (0, 0), 1.0), 0.5, 1)[..., None]
    return put_back(image, area, window, floor * broken, alpha * (0.6 + 0.4 * strength))


def _foreign(image: Array, height: int, width: int, rng: Rng) -> Array:
    """A texture [height, width, 3] float32 that does not belong: own picture turned and recoloured, or invented."""
    if rng.random() < 0.5:
        other = cv2.resize(np.rot90(image, rng.integers(1, 4)), (width, height), interpolation=cv2.INTER_AREA)
        return other[..., rng.permutation(3)] * np.float32(rng.uniform(0.6, 1.4)) + np.float32(rng.uniform(-30, 30))
    grain = smooth_noise(max(height // int(rng.choice([1, 1, 4, 10])), 1), width, log_uniform(rng, 1.5, 10), rng, 2)
    grain = cv2.resize(grain, (width, height))
    if rng.random() < 0.3:
        slant = np.arange(height)[:, None] * rng.uniform(-1, 1) + np.arange(width) * rng.uniform(-1, 1)
        grain = grain * 0.4 + np.sin(slant * 2 * np.pi / log_uniform(rng, 3, 12))
    base = image[pick_point(np.ones(image.shape[:2], bool), rng)].astype(np.float32) * rng.uniform(0.5, 1.4)
    return base + rng.uniform(10, 50) * grain[..., None] * random_tint(image, rng, 0.5)


def texture(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Foreign texture inside a thresholded noise mask (DRAEM, Zavrtanik et al., ICCV 2021)."""
    window, alpha, radius = draw_spot(image, area, rng, (2e-3, LARGEST_SHARE * 1.5), 0.5, 0.15, 2)
    ragged = smooth_noise(*alpha.shape, max(3, radius * rng.uniform(0.3, 1)), rng, 3) + 0.25
    alpha = alpha * np.clip(ragged / 0.15 + 0.5, 0, 1)
    return put_back(image, area, window, _foreign(image, *alpha.shape, rng), alpha * (0.2 + 0.75 * strength))


def patch(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A piece of the same picture in the wrong place: pasted with colour jitter (CutPaste, Li et al., CVPR 2021)
    or melted in by Poisson editing (Natural Synthetic Anomalies, Schlueter et al., ECCV 2022).
    """
    window, alpha, _ = draw_spot(image, area, rng, (1e-3, 0.06), rng.uniform(0, 0.3), 0.12, 2.5)
    (height, width), (y, x) = alpha.shape, pick_point(area, rng)
    piece = image[min(y, area.shape[0] - height) :, min(x, area.shape[1] - width) :][:height, :width]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), rng.uniform(0.7, 1.4))
    piece = cv2.warpAffine(piece, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    inner = (alpha > 0.5).astype(np.uint8) * 255
    # The solver needs a frame of untouched pixels around the piece, and some within.
    cv2.rectangle(inner, (0, 0), (width - 1, height - 1), 0, 3)
    if rng.random() < 0.5 and min(cv2.boundingRect(inner)[2:]) > 4:
        left, top, wide, high = cv2.boundingRect(inner)
        piece = cv2.seamlessClone(
            piece, np.ascontiguousarray(image[window]), inner, (left + wide // 2, top + high // 2), cv2.NORMAL_CLONE
        )
    else:
        piece = np.clip(piece + rng.uniform(-18, 18) * random_tint(image, rng, 0.5), 0, 255)
    return put_back(image, area, window, piece.astype(np.float32), alpha * (0.3 + 0.7 * strength))


def contamination(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """Something lying on the surface: a fibre, a sprinkle of specks, a particle with its shadow, or a drop."""
    form = rng.choice(["fibre", "specks", "particle", "drop"])
    y, x = pick_point(area, rng)
    if form == "fibre":
        length, width = log_uniform(rng, 0.06, 0.5) * min(area.shape), line_width(area.shape, rng)
        path = wander(y, x, rng.uniform(0, 6.28), length, max(2.0, length / 40), rng.uniform(0.03, 0.25), rng)
        window, alpha = ink_strokes(area.shape, [(path, np.full(len(path), width))])
    elif form == "specks":
        spread = log_uniform(rng, 0.03, 0.25) * min(area.shape)
        spots = rng.normal([x, y], spread, (int(log_uniform(rng, 3, 30)), 2))
        sizes = np.exp(rng.normal(0.2, 0.5, len(spots))) * max(min(area.shape) / 320, 0.7)
        window, alpha = ink_strokes(
            area.shape, [(np.stack([s, s + 0.3]), np.full(2, 1.6 * r)) for s, r in zip(spots, sizes, strict=True)]
        )
    else:
        window, alpha, _ = draw_spot(
            image,
            area,
            rng,
            (SMALLEST_SHARE, 0.01),
            0.45 if form == "particle" else 0.08,
            0.15,
            4 if form == "particle" else 1.4,
        )
    step = tone_step(image[window], strength, 120)
    side, tint = signed_step(image[window], step, rng, 0.6), random_tint(image, rng, 0.5)
    shade = shifted_plane(alpha, *rng.uniform(-2.5, 2.5, 2))
    body = side * step * (alpha * (1 + 0.25 * smooth_noise(*alpha.shape, 3, rng)))
    if form == "drop":
        # A drop is a lens: dark on one side, lit on the other, hardly tinted in the middle.
        body, tint = step * (1.6 * (cv2.GaussianBlur(shade, (0, 0), 1.2) - alpha) + 0.15 * side * alpha), np.ones(3)
    cast = 0.3 * step * np.clip(shade - alpha, 0, 1) * (form != "fibre")
    drawn = image[window] + body[..., None] * tint - cast[..., None]
    return put_back(image, area, window, drawn, (alpha > 0.02) | (shade > 0.03))


def _relief(image: Array, area: Array, window: Window, height: Array, rng: Rng, strength: float, depth: float) -> Pair:
    """Light and bend the window as a surface of that `height` [h, w] 0..1; `depth` is the largest shift in pixels."""
    slope_x, slope_y = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    steep = np.hypot(slope_x, slope_y)
    steepest, angle = max(float(steep.max()), 1e-6), rng.uniform(0, 2 * np.pi)
    shade = (slope_x * np.cos(angle) + slope_y * np.sin(angle)) / steepest
    shift, (rows, columns) = depth * (0.3 + 0.7 * strength) / steepest, np.indices(height.shape, np.float32)
    bent = cv2.remap(
        np.ascontiguousarray(image[window]),
        columns + shift * slope_x,
        rows + shift * slope_y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32)
    drawn = bent + (tone_step(image[window], strength, 70) * shade)[..., None]
    return put_back(image, area, window, drawn, steep > 0.04 * steepest)


def dent(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A pressed-in place: one side in shadow, the other lit, the pattern bent over it."""
    window, alpha, radius = draw_spot(image, area, rng, (6e-4, 0.03), 0.2, 1.2, 2.5)
    height = cv2.GaussianBlur(alpha, (0, 0), max(0.8, 0.2 * radius))
    return _relief(image, area, window, height, rng, strength, min(0.25 * radius, 6.0))


def wrinkle(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A bent fold: a soft ridge of light and shadow along a line, the pattern shifted on both sides."""
    y, x = pick_point(area, rng)
    length, width = log_uniform(rng, 0.12, 0.9) * min(area.shape), log_uniform(rng, 0.004, 0.02) * min(area.shape)
    path = wander(y, x, rng.uniform(0, 6.28), length, max(2.0, length / 30), rng.uniform(0.02, 0.15), rng)
    swell = max(width, 0.8) * np.sin(np.linspace(0.2, np.pi - 0.2, len(path)))
    window, line = ink_strokes(area.shape, [(path, swell)], int(4 * width) + 6)
    height = cv2.GaussianBlur(line, (0, 0), max(width, 1.0))
    return _relief(image, area, window, height, rng, strength, 1.0 + width)


def misprint(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A part of the pattern doubled, displaced or wiped away, where there is a pattern."""
    window, alpha, radius = draw_spot(image, area, rng, (1.5e-3, LARGEST_SHARE), 0.15, 0.12, 3, textured=True)
    form, angle = rng.choice(["double", "shift", "erase"]), rng.uniform(0, 2 * np.pi)
    reach = (2 + 0.25 * min(radius, 24)) * rng.uniform(0.6, 1.3)
    crop = np.ascontiguousarray(image[window])
    if form == "erase":
        side = max(3, int(radius) | 1)
        drawn = cv2.blur(cv2.medianBlur(crop, min(side, 31)), (side, side))
    else:
        drawn = shifted_plane(crop, reach * np.cos(angle), reach * np.sin(angle))
    opacity = (0.25 + 0.75 * strength) * (0.6 if form == "double" else 1.0)
    return put_back(image, area, window, drawn.astype(np.float32), alpha * opacity)


def discolouration(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A wide faded, yellowed or burnt place: channel gains change while the detail stays."""
    window, alpha, _ = draw_spot(image, area, rng, (4e-3, 0.09), rng.uniform(0.2, 0.5), log_uniform(rng, 0.25, 1.1))
    crop = image[window].astype(np.float32)
    step = tone_step(image[window], strength, 50)
    lean, faded = rng.uniform(-1, 1, 3).astype(np.float32), rng.random() < 0.3
    if is_grey(image):
        lean = np.full(3, signed_step(crop, step, rng, 0.5), np.float32)
    elif faded:
        # Fading takes the colour out and leaves the tone.
        own = crop.mean((0, 1))
        lean = own.mean() - own + 0.3 * lean * max(float(np.ptp(own)), 10)
    lean = lean.mean() + 0.7 * (lean - lean.mean())
    drawn = crop + lean / np.abs(lean).max() * step * np.clip(crop / np.maximum(crop.mean((0, 1)), 40), 0.5, 1.4)
    return put_back(image, area, window, drawn, alpha)


def blur(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A smeared place where the detail is lost; ValueError when the picture has no detail."""
    window, alpha, _ = draw_spot(image, area, rng, (3e-3, LARGEST_SHARE), 0.3, 0.4, 2.5, textured=True)
    sigma = (0.8 + 3.5 * strength) * max(min(area.shape) / 320, 0.5)
    # Out of focus, or smeared sideways or downwards.
    right, down = rng.choice([[1, 1], [1, 1], [1.5, 0.2], [0.2, 1.5]]) * sigma
    drawn = cv2.GaussianBlur(np.ascontiguousarray(image[window]), (0, 0), right, sigmaY=down)
    return put_back(image, area, window, drawn.astype(np.float32), alpha)


GENERATORS: dict[str, Generator] = {
    draw.__name__: draw
    for draw in (
        crack,
        scratch,
        stain,
        hole,
        foreign_object,
        chip,
        texture,
        patch,
        contamination,
        dent,
        wrinkle,
        misprint,
        discolouration,
        blur,
        artwork_fault,
        shatter,
        dead_area,
        hairline,
        pores,
        fray,
        uneven,
    )
}
