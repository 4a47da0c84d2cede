"""Changes of a picture that are no defects: light, colour, camera and position.

A detector must stay silent under all of these. `photometric` never moves a pixel, `geometric` only moves pixels and
does the same to a mask, so that pictures with drawn defects can be varied together with their masks.
`level` goes from 0 (nearly nothing) to 1 (as far as an ordinary camera and an ordinary lamp can go).
"""

from __future__ import annotations

import cv2
import numpy as np

from data.strokes import is_grey, smooth_noise

TURNED, SHIFTED = 0.7, 0.006
"""Standard deviations of the turn, degrees, and of the shift, shares of the longer side, between two takes."""
RELIT = 0.2
"""`level` by which light and camera differ between them."""


def _tone_table(rng: np.random.Generator, level: float, coloured: bool) -> np.ndarray:
    """Lookup table [1, 256, 3] uint8 for gamma, contrast, brightness and colour cast together."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    cast = rng.normal(0, 0.07 * level, 3).astype(np.float32) * coloured
    gamma = np.exp(rng.normal(0, 0.3 * level))
    contrast = 1 + rng.uniform(-0.3, 0.3) * level
    shift = rng.uniform(-0.15, 0.15) * level
    curve = ((ramp**gamma - 0.5) * contrast + 0.5 + shift)[:, None] * (1 + cast)
    return np.clip(curve * 255 + 0.5, 0, 255).astype(np.uint8)[None]


def _lighting(height: int, width: int, rng: np.random.Generator, level: float) -> np.ndarray:
    """Smooth gain [height, width] float32 around 1: a slope of light, a vignette, or a soft shadow's edge."""
    small_height, small_width = max(height // 8, 8), max(width // 8, 8)
    rows = np.linspace(-1, 1, small_height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, small_width, dtype=np.float32)[None]
    angle = rng.uniform(0, 2 * np.pi)
    slope = columns * np.cos(angle) + rows * np.sin(angle)
    gain = 1 + rng.uniform(0, 0.25) * level * slope
    form = rng.random()
    if form < 0.3:
        gain = gain * (1 - rng.uniform(0, 0.35) * level * (rows**2 + columns**2) / 2)
    elif form < 0.55:
        edge = slope + rng.uniform(-0.6, 0.6) + 0.15 * smooth_noise(small_height, small_width, small_width / 2, rng)
        gain = gain * (1 - rng.uniform(0.1, 0.4) * level / (1 + np.exp(-edge / rng.uniform(0.15, 0.4))))
    return cv2.resize(gain.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def photometric(image: np.ndarray, rng: np.random.Generator, level: float = 0.5) -> np.ndarray:
    """Vary light, colour and camera of [H, W, 3] uint8 without moving anything; grey pictures stay grey."""
    height, width = image.shape[:2]
    grey = is_grey(image)
    out = cv2.LUT(image, _tone_table(rng, level, not grey))
    if rng.random() < 0.6:
        gain = cv2.cvtColor(_lighting(height, width, rng, level), cv2.COLOR_GRAY2RGB)
        out = cv2.multiply(out, gain, dtype=cv2.CV_8U)
    focus = rng.random()
    if focus < 0.25:
        out = cv2.GaussianBlur(out, (0, 0), 0.3 + rng.uniform(0, 0.9) * level)
    elif focus < 0.45:
        amount = rng.uniform(0.1, 0.8) * level
        out = cv2.addWeighted(out, 1 + amount, cv2.GaussianBlur(out, (0, 0), 1.0), -amount, 0)
    if rng.random() < 0.6:
        # The noise's tile is small and turned at random: making fresh normal numbers is the slowest step otherwise.
        channels = 1 if grey or rng.random() < 0.5 else 3
        tile = rng.standard_normal((128, 128, channels), dtype=np.float32) * rng.uniform(1, 9) * level
        tile = np.repeat(tile, 3 // channels, 2)
        tile = np.tile(tile, (height // 128 + 2, width // 128 + 2, 1))
        top, left = rng.integers(128, size=2)
        noise = np.ascontiguousarray(tile[top : top + height, left : left + width])
        out = cv2.add(out, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        quality = int(rng.uniform(92 - 50 * level, 96))
        coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return cv2.cvtColor(out[..., 1].copy(), cv2.COLOR_GRAY2RGB) if grey else out


def geometric(
    image: np.ndarray,
    rng: np.random.Generator,
    level: float = 0.5,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Flip, turn (by 90 degrees only when square), tilt and crop [H, W, 3] uint8; the size stays.

    `mask` [H, W] bool goes the same way with nearest neighbour and keeps its dtype; None stays None.
    The tilt reaches 8 degrees and the crop keeps 70..100 % of each side at level 1; borders are mirrored.
    """
    height, width = image.shape[:2]
    planes = [image] if mask is None else [image, mask.astype(np.uint8)]
    for axis in (0, 1):
        if rng.random() < 0.5:
            planes = [np.flip(plane, axis) for plane in planes]
    turns = int(rng.integers(4))
    if height == width and turns:
        planes = [np.rot90(plane, turns) for plane in planes]
    keep = 1 - 0.3 * level * rng.random()
    tilt = float(rng.normal(0, 3 * level))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(np.clip(tilt, -8, 8)), 1 / keep)
    slack = (1 / keep - 1) / 2
    matrix[:, 2] += rng.uniform(-slack, slack, 2) * [width, height]
    moved = [
        cv2.warpAffine(
            np.ascontiguousarray(plane),
            matrix,
            (width, height),
            flags=cv2.INTER_NEAREST if plane.ndim == 2 else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for plane in planes
    ]
    return moved[0], None if mask is None else moved[1].astype(mask.dtype)


def retake(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same scene [H, W, 3] uint8 under a camera that stands still: hardly turned and shifted, in other light."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, TURNED), 1)
    matrix[:, 2] += rng.normal(0, SHIFTED * max(height, width), 2)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return photometric(moved, rng, RELIT)


def hard_normal(image: np.ndarray, rng: np.random.Generator, level: float = 0.5) -> np.ndarray:
    """A still normal but differently taken picture, [H, W, 3] uint8 like `image`."""
    return photometric(geometric(image, rng, level)[0], rng, level)
