"""Drawn things that move through clips, each as a cut-out [h, w, 4] uint8 RGBA for a phase of its own motion.

A look is a function `phase -> cut-out`; the phase counts steps, its fraction is where in a step a thing is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from data.surfaces import pigment, random_colour

Cutout = np.ndarray
Actor = Callable[[float], Cutout]
PHASES = 8
"""Different cut-outs of one step."""
FINE = 3
"""Things are drawn at this many times their size and shrunk, which smooths their edges."""


def walker(rng: np.random.Generator, height: float) -> Actor:
    """A person from the side who walks: head, body, swinging arms and legs; `height` in pixels."""
    coat, trousers = random_colour(rng, 30, 220, 45), random_colour(rng, 20, 110, 25)
    skin = np.array([200, 160, 130]) * rng.uniform(0.4, 1.1)
    broad = rng.uniform(0.85, 1.2)
    tall, wide = round(FINE * height), round(FINE * height * 0.6)

    def draw(phase: float) -> Cutout:
        canvas = np.zeros((tall, wide, 4), np.uint8)
        middle, swing = wide / 2, 0.17 * tall * np.sin(2 * np.pi * phase)
        hip, neck, thick = 0.55 * tall, 0.2 * tall, max(2, round(0.07 * tall * broad))
        for side in (-1, 1):
            knee = (middle + 0.6 * side * swing, 0.76 * tall)
            foot = (middle + side * swing, 0.97 * tall - 0.03 * tall * max(0.0, side * np.cos(2 * np.pi * phase)))
            _stroke(canvas, [(middle, hip), knee, foot], trousers, thick)
            _stroke(canvas, [(middle, 0.28 * tall), (middle - side * swing * 0.7, 0.5 * tall)], coat * 0.85, thick - 1)
        body = (round(middle), round((neck + hip) / 2))
        cv2.ellipse(canvas, body, (round(0.1 * tall * broad), round((hip - neck) / 1.8)), 0, 0, 360, _paint(coat), -1)
        cv2.circle(canvas, (round(middle), round(0.11 * tall)), round(0.085 * tall), _paint(skin), -1)
        return _shrunk(canvas)

    return _kept(draw)


def cyclist(rng: np.random.Generator, height: float) -> Actor:
    """A person on a bicycle from the side; `height` in pixels."""
    coat, frame = random_colour(rng, 40, 230, 50), random_colour(rng, 10, 120, 30)
    tall, wide = round(FINE * height), round(FINE * height * 1.25)
    wheel = 0.24 * tall

    def draw(phase: float) -> Cutout:
        canvas = np.zeros((tall, wide, 4), np.uint8)
        hubs = [(0.24 * wide, tall - wheel - 3), (0.76 * wide, tall - wheel - 3)]
        for hub in hubs:
            cv2.circle(canvas, _whole(hub), round(wheel), _paint(frame * 0.6), max(2, round(0.03 * tall)))
            for spoke in range(3):
                angle = 2 * np.pi * (phase / 2 + spoke / 3)
                _stroke(canvas, [hub, (hub[0] + wheel * np.cos(angle), hub[1] + wheel * np.sin(angle))], frame, 2)
        saddle, crank = (0.4 * wide, 0.45 * tall), (0.48 * wide, tall - wheel - 3)
        _stroke(
            canvas, [hubs[0], saddle, crank, (0.68 * wide, 0.45 * tall), hubs[1]], frame, max(2, round(0.03 * tall))
        )
        pedal = (crank[0] + 0.08 * wide * np.cos(2 * np.pi * phase), crank[1] + 0.08 * wide * np.sin(2 * np.pi * phase))
        _stroke(canvas, [saddle, (0.55 * wide, 0.58 * tall), pedal], coat * 0.5, max(3, round(0.06 * tall)))
        _stroke(canvas, [saddle, (0.55 * wide, 0.18 * tall), (0.68 * wide, 0.42 * tall)], coat, round(0.09 * tall))
        cv2.circle(canvas, _whole((0.58 * wide, 0.09 * tall)), round(0.08 * tall), _paint(coat * 0.4 + 60), -1)
        return _shrunk(canvas)

    return _kept(draw)


def cart(rng: np.random.Generator, height: float) -> Actor:
    """A box on wheels with a stripe or a window; `height` in pixels."""
    body, mark = random_colour(rng, 40, 230, 45), random_colour(rng, 20, 230, 40)
    tall, wide = round(FINE * height), round(FINE * height * rng.uniform(1.2, 1.9))
    window = rng.random() < 0.5

    def draw(phase: float) -> Cutout:
        canvas = np.zeros((tall, wide, 4), np.uint8)
        cv2.rectangle(canvas, (2, 2), (wide - 3, round(0.82 * tall)), _paint(body), -1)
        if window:
            cv2.rectangle(
                canvas, _whole((0.55 * wide, 0.14 * tall)), _whole((0.9 * wide, 0.42 * tall)), _paint(mark), -1
            )
        else:
            cv2.rectangle(canvas, _whole((0, 0.4 * tall)), _whole((wide - 3, 0.55 * tall)), _paint(mark), -1)
        for hub in ((0.22 * wide, 0.82 * tall), (0.78 * wide, 0.82 * tall)):
            cv2.circle(canvas, _whole(hub), round(0.17 * tall), (25, 25, 28, 255), -1)
            rim = (hub[0] + 0.1 * tall * np.cos(phase * np.pi), hub[1] + 0.1 * tall * np.sin(phase * np.pi))
            cv2.circle(canvas, _whole(rim), max(2, round(0.04 * tall)), (190, 190, 190, 255), -1)
        return _shrunk(canvas)

    return _kept(draw)


def item(rng: np.random.Generator, height: float) -> Actor:
    """A turned or punched part as it lies on a belt; it does not move in itself."""
    colour, corners = random_colour(rng, 60, 230, 20), int(rng.choice([0, 0, 4, 6]))
    side = round(FINE * height)
    middle, radius = side / 2, side / 2 - 3
    canvas = np.zeros((side, side, 4), np.uint8)
    if corners:
        angles = rng.uniform(0, np.pi) + np.arange(corners) * 2 * np.pi / corners
        outline = np.stack([middle + radius * np.cos(angles), middle + radius * np.sin(angles)], axis=-1)
        cv2.fillPoly(canvas, [outline.round().astype(int)], _paint(colour))
    else:
        cv2.circle(canvas, _whole((middle, middle)), round(radius), _paint(colour), -1)
    for share in np.sort(rng.uniform(0.25, 0.85, int(rng.integers(1, 4))))[::-1]:
        cv2.circle(canvas, _whole((middle, middle)), round(radius * share), _paint(colour * rng.uniform(0.45, 1.3)), -1)
    small = _shrunk(canvas)
    return lambda phase: small


def cutting(rng: np.random.Generator, height: float, picture: np.ndarray) -> Actor:
    """A piece of a photograph [H, W, 3] uint8 with a round or angular outline, as a thing that lies or stands there."""
    side = max(8, round(height))
    tall, wide = picture.shape[:2]
    reach = int(min(tall, wide) * rng.uniform(0.25, 0.5))
    top, left = int(rng.integers(0, tall - reach + 1)), int(rng.integers(0, wide - reach + 1))
    piece = cv2.resize(picture[top : top + reach, left : left + reach], (side, side), interpolation=cv2.INTER_AREA)
    outline = np.zeros((FINE * side, FINE * side), np.uint8)
    if rng.random() < 0.5:
        middle, axes = (FINE * side // 2,) * 2, (FINE * side // 2 - 3, round(FINE * side * rng.uniform(0.3, 0.48)))
        cv2.ellipse(outline, middle, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    else:
        outline[3 : FINE * side - 3, round(FINE * side * rng.uniform(0.02, 0.2)) :] = 255
    alpha = cv2.resize(outline, (side, side), interpolation=cv2.INTER_AREA)
    cutout = np.dstack([piece, alpha])
    return lambda phase: cutout


def turned(actor: Actor, left: bool) -> Actor:
    """The thing as it faces to the left, or as it is drawn: to the right."""
    return (lambda phase: np.ascontiguousarray(actor(phase)[:, ::-1])) if left else actor


def put(scene: np.ndarray, cutout: Cutout, x: float, y: float, opacity: float = 1.0) -> None:
    """Lays a cut-out on a scene [H, W, 3] uint8, in place, its middle at (x, y); parts outside are left out."""
    tall, wide = cutout.shape[:2]
    # whole pixels by a shift of less than one: what moves slowly must not jump
    left, top = int(np.floor(x - wide / 2)), int(np.floor(y - tall / 2))
    first_y, first_x = max(0, -top), max(0, -left)
    last_y, last_x = min(tall + 1, scene.shape[0] - top), min(wide + 1, scene.shape[1] - left)
    if last_y <= first_y or last_x <= first_x:
        return
    shift = np.array([[1, 0, x - wide / 2 - left], [0, 1, y - tall / 2 - top]], np.float32)
    weights = cutout[..., 3:].astype(np.float32) / 255 * opacity
    layer = np.dstack([cutout[..., :3] * weights, weights])
    layer = cv2.warpAffine(layer, shift, (wide + 1, tall + 1), flags=cv2.INTER_LINEAR)
    layer = layer[first_y:last_y, first_x:last_x]
    box = scene[top + first_y : top + last_y, left + first_x : left + last_x]
    box[:] = np.clip(box * (1 - layer[..., 3:]) + layer[..., :3] + 0.5, 0, 255).astype(np.uint8)


def _kept(draw: Actor) -> Actor:
    """Each of PHASES cut-outs is drawn once."""
    drawn = lru_cache(maxsize=PHASES)(lambda number: draw(number / PHASES))
    return lambda phase: drawn(round(phase * PHASES) % PHASES)


def _whole(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _paint(colour: np.ndarray) -> tuple[int, ...]:
    return (*pigment(colour), 255)


def _stroke(canvas: np.ndarray, points: list[tuple[float, float]], colour: np.ndarray, thick: int) -> None:
    for first, last in zip(points[:-1], points[1:], strict=True):
        cv2.line(canvas, _whole(first), _whole(last), _paint(colour), max(1, thick))


def _shrunk(canvas: np.ndarray) -> Cutout:
    """To a FINEth of the size; colours are averaged where there is anything only."""
    size = (max(1, canvas.shape[1] // FINE), max(1, canvas.shape[0] // FINE))
    weights = canvas[..., 3:].astype(np.float32) / 255
    small = cv2.resize(np.dstack([canvas[..., :3] * weights, weights]), size, interpolation=cv2.INTER_AREA)
    colours = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    return np.dstack([colours, 255 * small[..., 3]]).clip(0, 255).round().astype(np.uint8)
