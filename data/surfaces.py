"""Drawn surfaces: families `(rng, height, width) -> [H, W, 3] uint8`, and the colours and reliefs they share."""

from __future__ import annotations

import cv2
import numpy as np

from data.strokes import log_uniform, smooth_noise

Colour = tuple[int, ...]


def random_colour(rng: np.random.Generator, low: float = 30, high: float = 230, spread: float = 25) -> np.ndarray:
    """A random colour [3] float32; `spread` is how far its channels lie apart, a third of the scenes are grey."""
    apart = rng.normal(0, spread, 3) * (rng.random() > 0.33)
    return np.clip(rng.uniform(low, high) + apart, 5, 250).astype(np.float32)


def pigment(colour: np.ndarray, gain: float = 1.0, shift: float = 0.0) -> Colour:
    """A colour as cv2 wants it, scaled and shifted."""
    return tuple(int(value) for value in np.clip(colour * gain + shift, 0, 255))


def paint(field: np.ndarray, base: np.ndarray, depth: float) -> np.ndarray:
    """Colour a relief [H, W] (about -1..1): `base` [3] plus `depth` grey levels times the relief."""
    tint = depth * (0.5 + base / max(2 * float(base.mean()), 1))
    table = np.clip(base + np.linspace(-2.5, 2.5, 256)[:, None] * tint + 0.5, 0, 255).astype(np.uint8)[None]
    index = cv2.convertScaleAbs(np.clip(field, -2.5, 2.5) + 2.5, alpha=51)
    return cv2.LUT(cv2.cvtColor(index, cv2.COLOR_GRAY2RGB), table)


def tilted_axes(rng: np.random.Generator, height: int, width: int, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates (along, across) [H, W] float32, turned by up to `tilt` radians about the middle."""
    angle = rng.uniform(-tilt, tilt)
    rows = np.arange(height, dtype=np.float32)[:, None] - height / 2
    columns = np.arange(width, dtype=np.float32)[None] - width / 2
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return columns * cos + rows * sin, rows * cos - columns * sin


def cloth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Woven threads, over and under, uneven in thickness."""
    along, across = tilted_axes(rng, height, width, 0.5)
    pitch = rng.uniform(5, 14)
    warp = smooth_noise(height, width, 40, rng) * 0.8
    u, v = (along + warp) * (np.pi / pitch), (across + warp) * (np.pi / (pitch * rng.uniform(0.7, 1.4)))
    over = np.sin(u) * np.sin(v) > 0
    field = np.where(over, np.abs(np.sin(u)), 0.75 * np.abs(np.sin(v))) * 2 - 1.1
    field = field + 0.25 * smooth_noise(height, width, 3, rng)
    return paint(field, random_colour(rng), rng.uniform(10, 35))


def brushed_metal(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Fine parallel brushing with a broad sheen."""
    fine = cv2.blur(rng.standard_normal((height, width + 80), dtype=np.float32), (int(rng.uniform(15, 70)), 1))
    field = fine[:, :width] * rng.uniform(2, 4) + 0.6 * smooth_noise(height, width, width / 2, rng)
    if rng.random() < 0.5:
        field = cv2.resize(np.ascontiguousarray(field.T), (width, height))
    return paint(field, random_colour(rng, 90, 200, 8), rng.uniform(6, 18))


def paper(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paper or card: mottled fibres, more or less coarse."""
    field = 0.7 * smooth_noise(height, width, rng.uniform(3, 8), rng, 2) + 0.5 * smooth_noise(height, width, 30, rng, 2)
    return paint(field, random_colour(rng, 130, 235, 15), rng.uniform(3, 14))


def wood(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Wood grain: bent rings cut lengthwise, with fine pores along."""
    along, across = tilted_axes(rng, height, width, 0.15)
    bend = smooth_noise(height, width, max(height, width) / 2, rng) * rng.uniform(10, 40)
    rings = np.sin((across + bend + 0.05 * along) * (2 * np.pi / rng.uniform(10, 40)))
    pores = cv2.blur(rng.standard_normal((height, width), dtype=np.float32), (25, 1))
    base = np.array([rng.uniform(110, 210), rng.uniform(80, 150), rng.uniform(40, 110)], np.float32)
    return paint(0.6 * rings + 2.0 * pores + 0.3 * smooth_noise(height, width, 60, rng), base, rng.uniform(10, 24))


def stone(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Speckled stone or terrazzo: grains of a few tones."""
    coarse = smooth_noise(height, width, rng.uniform(3, 12), rng, 2)
    levels = rng.uniform(-1.5, 1.5, 6).astype(np.float32)
    grains = levels[np.clip((coarse * 1.5 + 3).astype(int), 0, 5)]
    field = cv2.GaussianBlur(grains, (0, 0), 0.7) + 0.5 * rng.standard_normal((height, width), dtype=np.float32)
    return paint(field, random_colour(rng, 60, 200, 18), rng.uniform(8, 28))


def leather(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Pebbled grain: cells with dark creases between them."""
    cell = rng.uniform(7, 18)
    rows, columns = int(height / cell) + 2, int(width / cell) + 2
    seeds = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    points = ((seeds + rng.uniform(-0.42, 0.42, seeds.shape)) * cell).astype(int)
    mask = np.full((height, width), 255, np.uint8)
    inside = points[(points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)]
    mask[inside[:, 1], inside[:, 0]] = 0
    far = cv2.distanceTransform(mask, cv2.DIST_L2, 5) / (0.62 * cell)
    field = 0.8 - 1.6 * np.clip(far, 0, 1.2) ** 2 + 0.3 * smooth_noise(height, width, 3, rng)
    return paint(field, random_colour(rng, 40, 190, 25), rng.uniform(6, 22))


def perforation(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A sheet or mesh with regular openings, round or square, in rows or staggered."""
    along, across = tilted_axes(rng, height, width, 0.3)
    pitch, square, openness = rng.uniform(12, 34), rng.random() < 0.4, rng.uniform(0.22, 0.42)
    row = np.floor(across / pitch)
    if rng.random() < 0.5:
        along = along + 0.5 * pitch * np.mod(row, 2)
    u, v = np.abs(np.mod(along, pitch) - pitch / 2), np.abs(np.mod(across, pitch) - pitch / 2)
    opening = np.clip((np.maximum(u, v) if square else np.hypot(u, v)) - openness * pitch + 0.5, 0, 1)[..., None]
    sheet = paint(smooth_noise(height, width, 2, rng), random_colour(rng, 60, 220, 15), rng.uniform(2, 6))
    below = random_colour(rng, 5, 70, 8) if rng.random() < 0.7 else random_colour(rng, 180, 245, 8)
    return (below + (sheet - below) * opening).astype(np.uint8)


def tiles(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Tiles or bricks with joints, each of a slightly different tone."""
    along, across = tilted_axes(rng, height, width, 0.1)
    high = rng.uniform(0.1, 0.3) * height
    wide = high * rng.uniform(1, 2.5)
    row = np.floor(across / high).astype(int)
    along = along + wide * rng.choice([0.0, 0.5]) * (row % 2)
    tone = rng.normal(0, 0.6, (31, 37)).astype(np.float32)[row % 31, np.floor(along / wide).astype(int) % 37]
    border = np.minimum(
        wide / 2 - np.abs(np.mod(along, wide) - wide / 2), high / 2 - np.abs(np.mod(across, high) - high / 2)
    )
    joint = np.clip(border - rng.uniform(1, 4), 0, 1)[..., None]
    face = paint(
        tone + 0.6 * smooth_noise(height, width, rng.uniform(2, 10), rng, 2),
        random_colour(rng, 70, 220, 30),
        rng.uniform(3, 14),
    )
    mortar = random_colour(rng, 40, 220, 8)
    return (mortar + (face - mortar) * joint).astype(np.uint8)


def fibre(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paper, felt or fleece: cloudy formation, fibres lying every way, specks too small to mind."""
    number, bend = int(log_uniform(rng, 60, 500)), rng.uniform(0.1, 0.7)
    long = min(height, width) * log_uniform(rng, 0.02, 0.15)
    starts, headings = rng.uniform(0, [width, height], (number, 1, 2)), rng.uniform(0, 6.28, (number, 1))
    turns = headings + np.cumsum(rng.normal(0, bend, (number, 7)), 1)
    steps = np.stack([np.cos(turns), np.sin(turns)], -1) * (long / 7)
    paths = np.round((starts + np.cumsum(steps, 1)) * 16).astype(np.int32)
    ink = np.full((height, width), 128, np.uint8)
    for share, side in ((slice(None, None, 2), 1), (slice(1, None, 2), -1)):
        tone = int(128 + side * rng.uniform(50, 127))
        cv2.polylines(ink, list(paths[share]), False, tone, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    cloud = rng.uniform(0.2, 0.8) * smooth_noise(height, width, log_uniform(rng, 8, 40), rng, 3)
    field = (ink.astype(np.float32) - 128) * np.float32(rng.uniform(0.4, 1.8) / 128) + cloud
    specks = rng.integers(0, [height, width], (int(log_uniform(rng, 3, 150)), 2))
    field[specks[:, 0], specks[:, 1]] -= np.float32(rng.uniform(0.5, 2.5))
    field += rng.uniform(0.1, 0.5) * rng.standard_normal((height, width), dtype=np.float32)
    return paint(field, random_colour(rng, 70, 235, 20), rng.uniform(4, 22))


def grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Rolled or ground metal or graphite: short streaks one way, speckles dark and bright."""
    noise = rng.standard_normal((height, width), dtype=np.float32)
    field = sum(
        cv2.blur(noise, (long, 1)) * (np.float32(long) ** 0.5 * weight)
        for long, weight in ((int(rng.integers(3, 9)), rng.uniform(0.3, 0.7)), (int(rng.integers(15, 60)), 0.5))
    )
    speckle = smooth_noise(height, width, rng.uniform(1.5, 4), rng, 2)
    limit = rng.uniform(0.8, 1.4)
    field = field + (
        np.clip(speckle - limit, 0, 1) * rng.normal(0, 3) - np.clip(-speckle - limit, 0, 1) * rng.uniform(0, 3)
    )
    field = field + rng.uniform(0.1, 0.9) * smooth_noise(height, width, max(height, width) / 4, rng, 2)
    if rng.random() < 0.25:
        field = cv2.resize(np.ascontiguousarray(field.T), (width, height))
    return paint(field, random_colour(rng, 40, 200, 8), rng.uniform(6, 24))
