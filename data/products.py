"""Drawn normal scenes, never two alike: plain moulded parts, and by name every family of surface, part and print.

Each family is a function `(rng, height, width) -> [H, W, 3] uint8` of the clean scene; `draw_product` picks one and
adds what every camera adds. Hard-edged scenes are drawn at twice the size and shrunk, which smooths their edges.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from data.parts import cable, casting, cell, ceramic, screw, vessel, zipper
from data.prints import artwork, barcode, circuit, logo_print, plain_ground, text_print
from data.strokes import smooth_noise
from data.surfaces import (
    brushed_metal,
    cloth,
    fibre,
    grain,
    leather,
    paper,
    perforation,
    pigment,
    stone,
    tiles,
    wood,
)

Family = Callable[[np.random.Generator, int, int], np.ndarray]


def _shine(scene: np.ndarray, mask: np.ndarray, rng: np.random.Generator, depth: float) -> np.ndarray:
    """Give the masked part [H, W] uint8 body: bevelled edges and a soft gloss, `depth` grey levels strong."""
    height, width = mask.shape
    small = cv2.resize(mask, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    round_off = cv2.GaussianBlur(small, (0, 0), max(1.0, height / 160)).astype(np.float32) / 255
    angle = rng.uniform(0, 2 * np.pi)
    slope = cv2.Sobel(round_off, -1, 1, 0) * np.cos(angle) + cv2.Sobel(round_off, -1, 0, 1) * np.sin(angle)
    gloss = depth * (1.2 * slope + 0.5 * smooth_noise(*small.shape, max(small.shape) / 2, rng))
    gloss = cv2.resize(gloss.astype(np.float32), (width, height))
    gloss = cv2.cvtColor(cv2.multiply(gloss, mask, scale=1 / 255, dtype=cv2.CV_32F), cv2.COLOR_GRAY2RGB)
    return cv2.add(scene, gloss, dtype=cv2.CV_8U)


def _polygon(rng: np.random.Generator, radius: np.ndarray, y: float, x: float) -> np.ndarray:
    """Outline points [n, 1, 2] int in 1/16 pixel, evenly turned from a random start, at the given radii [n]."""
    angles = rng.uniform(0, 2 * np.pi) + np.arange(len(radius)) * (2 * np.pi / len(radius))
    return np.round(16 * np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], -1)).astype(int)[:, None]


def _disc(mask: np.ndarray, y: float, x: float, radius: float, value: int) -> None:
    cv2.circle(mask, (round(x * 16), round(y * 16)), max(round(radius * 16), 1), value, -1, cv2.LINE_AA, 4)


def _part(rng: np.random.Generator, mask: np.ndarray, inner: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Compose a part at double size: its mask on a ground, darker or lighter inner zones, gloss, a cast shadow."""
    high, wide = mask.shape
    scene, colour = plain_ground(rng, high, wide)
    if rng.random() < 0.4:
        shadow = cv2.resize(mask, (wide // 8, high // 8), interpolation=cv2.INTER_AREA)
        shadow = cv2.GaussianBlur(np.roll(shadow, rng.integers(-2, 3, 2), (0, 1)), (0, 0), 1.5)
        dark = 1 - rng.uniform(0.1, 0.4) * cv2.resize(shadow, (wide, high)).astype(np.float32) / 255
        scene = cv2.multiply(scene, cv2.cvtColor(dark, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
    for zone, gain in [(mask, 1.0), *inner]:
        zone = cv2.min(zone, mask)
        left, top, across, down = cv2.boundingRect(zone)
        box = slice(top, top + down), slice(left, left + across)
        weight = cv2.cvtColor(zone[box], cv2.COLOR_GRAY2RGB)
        flat = cv2.multiply(np.full_like(weight, pigment(colour, gain)), weight, scale=1 / 255)
        scene[box] = cv2.add(flat, cv2.multiply(scene[box], 255 - weight, scale=1 / 255))
    scene = _shine(scene, mask, rng, rng.uniform(15, 60))
    return cv2.resize(scene, (wide // 2, high // 2), interpolation=cv2.INTER_AREA)


def _middle(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, float, float, float]:
    """An empty mask at double size, and a part's centre y, x and radius in its pixels."""
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    short = min(height, width)
    y, x = height + rng.normal(0, 0.04) * short, width + rng.normal(0, 0.04) * short
    return mask, y, x, short * rng.uniform(0.55, 0.85)


def gear(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A toothed wheel with a bore and maybe holes around it."""
    mask, y, x, radius = _middle(rng, height, width)
    teeth, depth = int(rng.integers(9, 32)), rng.uniform(0.08, 0.2)
    profile = np.tile([1.0, 1.0, 1 - depth, 1 - depth], teeth) * radius
    cv2.fillPoly(mask, [_polygon(rng, profile, y, x)], 255, cv2.LINE_AA, 4)
    boss = np.zeros_like(mask)
    _disc(boss, y, x, radius * rng.uniform(0.35, 0.7), 255)
    bore, start, holes = radius * rng.uniform(0.1, 0.3), rng.uniform(0, 6.28), rng.choice([0, 0, 4, 5, 6])
    for angle in start + np.arange(holes) * 2 * np.pi / max(holes, 1):
        _disc(mask, y + 0.55 * radius * np.sin(angle), x + 0.55 * radius * np.cos(angle), 0.1 * radius, 0)
    _disc(mask, y, x, bore, 0)
    return _part(rng, mask, [(boss, rng.uniform(0.7, 1.25))])


def _turned(rng: np.random.Generator, height: int, width: int, open_middle: bool) -> np.ndarray:
    """A turned part: rings of light and dark, with a hole through the middle or a crimped edge."""
    mask, y, x, radius = _middle(rng, height, width)
    crimp = 0.0 if open_middle else rng.choice([0.0, 0.02, 0.035])
    edge = radius * (1 + crimp * np.sin(np.arange(180) * 2 * np.pi / 180 * rng.integers(14, 28)))
    cv2.fillPoly(mask, [_polygon(rng, edge, y, x)], 255, cv2.LINE_AA, 4)
    hole = radius * rng.uniform(0.2, 0.7) * open_middle
    inner = []
    for share in np.sort(rng.uniform(max(0.25, hole / radius), 0.97, rng.integers(1, 6)))[::-1]:
        zone = np.zeros_like(mask)
        _disc(zone, y, x, radius * share, 255)
        inner.append((zone, float(np.exp(rng.normal(0, 0.3)))))
    if open_middle:
        _disc(mask, y, x, hole, 0)
    return _part(rng, mask, inner)


def pill(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A two-coloured capsule or a scored tablet."""
    mask, y, x, radius = _middle(rng, height, width)
    zone, angle = np.zeros_like(mask), rng.uniform(0, np.pi)
    long, thick = radius * rng.uniform(0.5, 0.7), int(radius * rng.uniform(0.5, 0.8))
    ends = [(round(x + side * long * np.cos(angle)), round(y + side * long * np.sin(angle))) for side in (-1, 0, 1)]
    if rng.random() < 0.6:
        cv2.line(mask, ends[0], ends[2], 255, thick, cv2.LINE_AA)
        cv2.line(zone, ends[1], ends[2], 255, thick, cv2.LINE_AA)
    else:
        axes = (int(radius), int(radius * rng.uniform(0.6, 1)))
        cv2.ellipse(mask, ends[1], axes, np.degrees(angle), 0, 360, 255, -1, cv2.LINE_AA)
        cv2.line(zone, ends[0], ends[2], 255, max(3, int(0.04 * radius)), cv2.LINE_AA)
    return _part(rng, mask, [(zone, rng.choice([0.6, 0.75, 1.3, 1.5]))])


def nut(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A six-sided nut with a chamfer and a threaded hole."""
    mask, y, x, radius = _middle(rng, height, width)
    cv2.fillPoly(mask, [_polygon(rng, np.full(rng.choice([4, 6, 6, 6, 8]), radius), y, x)], 255, cv2.LINE_AA, 4)
    face, hole = np.zeros_like(mask), radius * rng.uniform(0.35, 0.55)
    _disc(face, y, x, radius * rng.uniform(0.72, 0.85), 255)
    inner = [(face, rng.uniform(1.05, 1.3))]
    for share in np.linspace(1.2, 1.02, rng.integers(1, 4)):
        thread = np.zeros_like(mask)
        _disc(thread, y, x, hole * share, 255)
        inner.append((thread, rng.uniform(0.5, 0.9)))
    _disc(mask, y, x, hole, 0)
    return _part(rng, mask, inner)


def plate(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A rectangular plate with a grid of holes, drilled through or blind with a bright rim, and an engraved frame."""
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    high, wide = height * rng.uniform(1.1, 1.75), width * rng.uniform(1.1, 1.75)
    top, left = height - high / 2, width - wide / 2
    first, last = np.array([left, top]).astype(int), np.array([left + wide, top + high]).astype(int)
    cv2.rectangle(mask, first.tolist(), last.tolist(), 255, -1)
    inner = []
    if rng.random() < 0.6:
        frame, inset = np.zeros_like(mask), int(rng.uniform(0.03, 0.1) * min(high, wide))
        cv2.rectangle(frame, (first + inset).tolist(), (last - inset).tolist(), 255, max(2, inset // 4))
        inner.append((frame, rng.uniform(0.6, 0.85)))
    rows, columns, through = rng.integers(1, 8), rng.integers(1, 9), rng.random() < 0.5
    size = min(rng.uniform(0.04, 0.1) * min(high, wide), 0.35 * high / (rows + 1), 0.35 * wide / (columns + 1))
    holes, rims = np.zeros_like(mask), np.zeros_like(mask)
    for row in range(rows):
        for column in range(columns):
            y, x = top + high * (row + 1) / (rows + 1), left + wide * (column + 1) / (columns + 1)
            _disc(holes, y, x, size, 255)
            _disc(rims, y, x, size * 1.25, 255)
    if through:
        mask = cv2.subtract(mask, holes)
    else:
        inner += [(rims, rng.choice([0.7, 1.3, 1.7])), (holes, rng.uniform(0.1, 0.5))]
    return _part(rng, mask, inner)


def connector(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A housing with one or two rows of pins."""
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    wide, high = width * rng.uniform(1.3, 1.8), height * rng.uniform(0.5, 0.9)
    top, left = height - high / 2, width - wide / 2
    cv2.rectangle(mask, (int(left), int(top)), (int(left + wide), int(top + high)), 255, -1)
    slots, pins = np.zeros_like(mask), int(rng.integers(4, 13))
    pitch, rows, legs = wide / (pins + 1), rng.integers(1, 3), rng.random() < 0.6
    for pin in range(pins):
        x, half = int(left + pitch * (pin + 1)), max(2, int(pitch * 0.22))
        for row in range(rows):
            y = int(top + high * (row + 1) / (rows + 1))
            cv2.rectangle(slots, (x - half, y - half), (x + half, y + half), 255, -1)
        if legs:
            cv2.rectangle(mask, (x - half, int(top + high)), (x + half, int(top + high * 1.4)), 255, -1)
    return _part(rng, mask, [(slots, rng.choice([0.35, 0.5, 1.6]))])


_FAMILIES: dict[str, Family] = {
    "cloth": cloth,
    "brushed metal": brushed_metal,
    "paper": paper,
    "wood": wood,
    "stone": stone,
    "leather": leather,
    "perforation": perforation,
    "tiles": tiles,
    "ring": partial(_turned, open_middle=True),
    "gear": gear,
    "bottle top": partial(_turned, open_middle=False),
    "pill": pill,
    "nut": nut,
    "plate": plate,
    "connector": connector,
    "text print": text_print,
    "logo print": logo_print,
    "barcode": barcode,
    "circuit": circuit,
    "artwork": artwork,
    "vessel": vessel,
    "casting": casting,
    "cell": cell,
    "ceramic": ceramic,
    "fibre": fibre,
    "grain": grain,
    "screw": screw,
    "cable": cable,
    "zipper": zipper,
}
PRODUCTS: tuple[str, ...] = tuple(_FAMILIES)
_SCANNED = 0.6
"""Share of artwork taken as a clean scan, without the camera's light, grain and blur."""


def draw_product(rng: np.random.Generator, size: tuple[int, int] = (320, 320), name: str | None = None) -> np.ndarray:
    """A normal scene [H, W, 3] uint8 RGB of `size` (H, W), of the family `name` or a random one.

    Raises ValueError for an unknown family.
    """
    chosen = name or PRODUCTS[int(rng.integers(len(PRODUCTS)))]
    if chosen not in _FAMILIES:
        raise ValueError(f"unknown product {chosen!r}; known: {', '.join(PRODUCTS)}")
    height, width = size
    scene = _FAMILIES[chosen](rng, height, width)
    if chosen == "artwork" and rng.random() < _SCANNED:
        return scene
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.18)
    rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = (1 + fall * (columns * np.cos(angle) + rows * np.sin(angle)) / 1.4).astype(np.float32)
    scene = cv2.multiply(scene, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
    grain = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(0.5, 4)
    scene = cv2.add(scene, cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
    return cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, 0.8))
