"""A drawn product that no weight was trained on: the round face of a dial, its needle at any angle.

The training never sees it, so it stands for a product that a user brings: `finetune.prove_retrain` corrects the model
on it.
"""

from __future__ import annotations

import cv2
import numpy as np

from data.synth import draw_defect

PRODUCT = "dial"


def draw_dial(rng: np.random.Generator, side: int = 320) -> np.ndarray:
    """A normal dial [side, side, 3] uint8: ticks, a coloured zone, a needle, a round screw; light and grain vary."""
    scale = 4  # drawn large and shrunk, for smooth edges
    large = side * scale
    shade = float(rng.uniform(60, 110))
    image = np.full((large, large, 3), (shade, shade + 4, shade + 8), np.uint8)
    centre = tuple(int(large / 2 + rng.normal(0, 0.01) * large) for _ in range(2))
    radius = int(large * rng.uniform(0.40, 0.44))
    cv2.circle(image, centre, radius, (225, 224, 218), -1)
    cv2.circle(image, centre, radius, (40, 42, 46), max(2, large // 60))
    zone = float(rng.uniform(0, 360))
    cv2.ellipse(
        image, centre, (int(radius * 0.86),) * 2, 0, zone, zone + float(rng.uniform(30, 80)), (200, 48, 40), large // 45
    )
    for number in range(40):
        turn, long = 2 * np.pi * number / 40, number % 5 == 0
        ends = [_at(centre, turn, radius * share) for share in ((0.76 if long else 0.82), 0.92)]
        cv2.line(image, *ends, (30, 30, 34), large // (90 if long else 160), cv2.LINE_AA)
    turn = float(rng.uniform(0, 2 * np.pi))
    cv2.line(
        image, _at(centre, turn + np.pi, radius * 0.18), _at(centre, turn, radius * 0.72), (24, 24, 26), large // 50
    )
    cv2.circle(image, centre, large // 28, (120, 122, 126), -1)
    cv2.line(
        image, _at(centre, turn * 3, large / 36), _at(centre, turn * 3 + np.pi, large / 36), (50, 50, 52), large // 120
    )
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    columns = np.linspace(-1, 1, side, dtype=np.float32)
    light = 1 + rng.uniform(-0.08, 0.08) * columns[None, :, None] + rng.uniform(-0.08, 0.08) * columns[:, None, None]
    grain = rng.normal(0, rng.uniform(1, 3), (side, side, 1))
    return np.clip(small * light * rng.uniform(0.9, 1.1) + grain, 0, 255).astype(np.uint8)


def draw_dials(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` dials, every second one with a drawn defect: pictures [H, W, 3] uint8 and masks [H, W] bool."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, number, 17])
        picture = draw_dial(rng)
        mask = np.zeros(picture.shape[:2], bool)
        if number % 2:
            drawn = draw_defect(picture, rng, strength=float(rng.uniform(0.4, 0.9)), count=1)
            picture, mask = drawn.image, drawn.mask
        made.append((picture, mask))
    return made


def _at(centre: tuple[int, int], turn: float, distance: float) -> tuple[int, int]:
    """The pixel at an angle (radians) and distance from the centre."""
    return int(centre[0] + distance * np.cos(turn)), int(centre[1] + distance * np.sin(turn))
