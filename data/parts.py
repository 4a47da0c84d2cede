"""Drawn normal parts with the benign structure of photographs: glints, turning marks, busy centres, busbars, streaks.

Families `(rng, height, width) -> [H, W, 3] uint8`. Round parts are painted on an unrolled canvas (angle down, radius
across) and wound around their centre, long parts in coordinates along and across their axis.
"""

from __future__ import annotations

import cv2
import numpy as np

from data.strokes import log_uniform, smooth_noise
from data.surfaces import paint, random_colour, tilted_axes

Rng = np.random.Generator
_TURN, _REACH = 480, 208
"""Rows (angles) and columns (radii) of the unrolled canvas."""


def _line_noise(rng: Rng, length: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Smooth random line [length] float32, about -1..1."""
    return smooth_noise(1, length, cell, rng, octaves)[0]


def _around(rng: Rng, radii: int, angles: int) -> np.ndarray:
    """Noise [_TURN, _REACH] of that many grains around and outwards, closed at the seam."""
    grid = rng.standard_normal((angles, radii), dtype=np.float32) * 0.6
    grid = np.concatenate([grid[-2:], grid, grid[:2]])
    tall = cv2.resize(grid, (_REACH, _TURN * (angles + 4) // angles), interpolation=cv2.INTER_CUBIC)
    margin = (len(tall) - _TURN) // 2
    return tall[margin : margin + _TURN]


def _wind(
    rng: Rng, size: tuple[int, int], rings: np.ndarray, ground: np.ndarray, radius: float, squash: float, drift: float
) -> np.ndarray:
    """Wind the unrolled canvas [_TURN, _REACH, 3] float32 around a centre and lay it on the ground [H, W, 3] uint8.

    `squash` is the short over the long axis of the ellipse; `drift` moves the inner rings, as depth does, in radii.
    """
    height, width = size
    tilt, way = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    dy = np.arange(height, dtype=np.float32)[:, None] - height / 2 - np.float32(rng.normal(0, 0.02) * height)
    dx = np.arange(width, dtype=np.float32)[None] - width / 2 - np.float32(rng.normal(0, 0.02) * width)
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    u, v = (dx * cos + dy * sin) / np.float32(radius), (dy * cos - dx * sin) / np.float32(radius * squash)
    far = cv2.magnitude(u, v)
    inner = np.clip(1 - far, 0, 1) * np.float32(drift)
    far, angle = cv2.cartToPolar(u + inner * np.float32(np.cos(way)), v + inner * np.float32(np.sin(way)))
    part = cv2.remap(
        cv2.convertScaleAbs(np.maximum(rings, 0)),
        np.minimum(far, 1) * (_REACH - 1),
        angle * np.float32(_TURN / (2 * np.pi)),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    rim = (1 - far) * np.float32(radius)
    return _over(part, ground, rim, rng.uniform(0, 0.35), 0.16 * radius)


def _over(part: np.ndarray, ground: np.ndarray, inset: np.ndarray, shadow: float, reach: float) -> np.ndarray:
    """Lay a part on the ground, both [H, W, 3] uint8, where `inset` [H, W] (pixels from its rim) is positive.

    `shadow` is how much darker the ground is at the part's foot, `reach` how many pixels that goes.
    """
    shade = 1 - np.float32(shadow) * np.clip(1 + inset * np.float32(1 / reach), 0, 1)
    ground = cv2.multiply(ground, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
    alpha = np.clip(inset + np.float32(0.5), 0, 1)
    return cv2.blendLinear(part, ground, alpha, 1 - alpha)


def _plain(rng: Rng, size: tuple[int, int], tone: np.ndarray, depth: float) -> np.ndarray:
    """A plain ground [H, W, 3] uint8 of a tone [3], unevenly lit by `depth` grey levels."""
    return paint(smooth_noise(*size, max(size) / 1.5, rng), tone.astype(np.float32), depth)


def vessel(rng: Rng, height: int, width: int) -> np.ndarray:
    """A glass or plastic vessel seen along its axis: many rings, arcs of glare, glints, a dark or bright inside."""
    clear, count = rng.random() < 0.4, int(rng.integers(5, 22))
    tone = rng.uniform(30, 110) * np.ones(_REACH, np.float32)
    for start in np.sort(rng.integers(0, _REACH, count)):
        tone[start:] = rng.uniform(15, 170) if rng.random() < 0.35 else tone[start] + rng.normal(0, 30)
    tone += _line_noise(rng, _REACH, rng.uniform(8, 50)) * rng.uniform(4, 22)
    for start in rng.integers(10, _REACH - 4, rng.integers(3, 16)):
        tone[start : start + rng.integers(1, 5)] += rng.uniform(-70, 100)
    inside = int(_REACH * rng.uniform(0.15, 0.6))
    tone[:inside] = tone[:inside] * rng.uniform(0.15, 0.6) + rng.choice([4.0, 10.0, 60.0, 190.0])
    if clear:
        tone = 0.45 * tone + 120
    rings = tone[None] + _around(rng, int(rng.integers(6, 40)), int(rng.integers(5, 30))) * log_uniform(rng, 2, 28)
    rings += _around(rng, 4, int(rng.integers(3, 8))) * log_uniform(rng, 4, 28)
    glare = np.zeros((_TURN, _REACH), np.float32)
    for _ in range(int(rng.integers(4, 26))):
        at, wide = int(rng.integers(_REACH // 8, _REACH - 6)), int(log_uniform(rng, 2, 14))
        first, long = int(rng.integers(_TURN)), int(log_uniform(rng, 5, 200))
        light = rng.uniform(40, 220)
        for wrap in (0, _TURN):
            glare[max(first - wrap, 0) : max(first - wrap + long, 0), at : at + wide] += light
    glare = cv2.GaussianBlur(glare, (0, 0), rng.uniform(0.5, 1.5), sigmaY=rng.uniform(1, 5))
    body = random_colour(rng, 120, 200, 9)
    if rng.random() < 0.3:
        # Amber, green or blue glass.
        body = np.array([[200, 130, 60], [90, 160, 90], [90, 130, 190]], np.float32)[rng.integers(3)]
    colour = rings[..., None] * (body / body.mean()) + glare[..., None] * rng.uniform(0.85, 1.1, 3).astype(np.float32)
    if rng.random() < 0.5:
        # Coloured lamps and the table mirror in the wall as tinted patches.
        tint = np.clip(_around(rng, 3, 6) - 0.2, 0, 1)[..., None]
        colour = colour + tint * rng.uniform(-45, 45, 3).astype(np.float32)
    ground = random_colour(rng, 200, 250, 6) if rng.random() < 0.85 else random_colour(rng, 5, 60, 6)
    radius = min(height, width) * rng.uniform(0.36, 0.5)
    scene = _wind(
        rng,
        (height, width),
        colour,
        _plain(rng, (height, width), ground, rng.uniform(1, 10)),
        radius,
        rng.uniform(0.96, 1),
        rng.normal(0, 0.06),
    )
    return cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.5, 1.3))


def casting(rng: Rng, height: int, width: int) -> np.ndarray:
    """A machined round casting: turning marks with sectors of glare, a dark vaned or toothed zone, a bright hub."""
    base = rng.uniform(110, 200)
    edges = np.sort(rng.uniform(0.1, 0.97, rng.integers(4, 9)))
    tone = np.full(_REACH, base, np.float32)
    for edge in edges:
        start = int(edge * _REACH)
        tone[start:] = base + rng.normal(0, 28)
        tone[start : start + rng.integers(1, 6)] = base + rng.choice([-1, -1, 1]) * rng.uniform(20, 80)
    marks = _line_noise(rng, _REACH, rng.uniform(1.5, 5), 2) * rng.uniform(3, 16)
    theta = np.arange(_TURN, dtype=np.float32)[:, None] * np.float32(2 * np.pi / _TURN)
    sector = np.cos(rng.choice([2, 2, 3, 4]) * theta + rng.uniform(0, 6.28)) ** int(rng.choice([3, 5, 9]))
    shine = rng.uniform(10, 60) * sector + _around(rng, 2, int(rng.integers(6, 26))) * rng.uniform(4, 18)
    rings = tone[None] + marks[None] * (1 + 0.7 * sector) + shine
    rings += rng.standard_normal((_TURN, _REACH), dtype=np.float32) * rng.uniform(1, 6)
    first, last = int(_REACH * rng.uniform(0.12, 0.35)), int(_REACH * rng.uniform(0.45, 0.75))
    zone = slice(first, last)
    span = np.arange(first, last, dtype=np.float32)[None]
    count, twist = int(rng.integers(5, 40)), rng.uniform(-0.03, 0.03)
    wave = np.sin(count * theta + twist * span + rng.uniform(0, 6.28))
    vanes = np.clip(wave * rng.uniform(1, 5) + rng.uniform(-1, 0.6), -1, 1)
    dark = rng.uniform(15, 80)
    if rng.random() < 0.75:
        busy = dark + rng.uniform(15, 70) * (vanes + 1) / 2 + _around(rng, 30, 60)[:, zone] * rng.uniform(4, 24)
        rings[:, zone] = busy + 0.3 * shine[:, zone]
    hub = int(first * rng.uniform(0.4, 0.95))
    rings[:, :hub] = rng.uniform(140, 235) + marks[:hub] + 0.8 * shine[:, :hub]
    if rng.random() < 0.6:
        rings[:, : int(hub * rng.uniform(0.3, 0.8))] = rng.uniform(5, 70)
    for _ in range(int(rng.choice([0, 0, 3, 4, 6]))):
        at = int(rng.integers(_TURN))
        rings[at : at + 14, last + 8 : last + 22] = dark
    tint = np.ones(3, np.float32) if rng.random() < 0.7 else 1 + rng.normal(0, 0.03, 3).astype(np.float32)
    ground = np.full(3, rng.uniform(60, 220), np.float32) * tint
    size = (height, width)
    return _wind(
        rng,
        size,
        cv2.cvtColor(rings.astype(np.float32), cv2.COLOR_GRAY2RGB) * tint,
        _plain(rng, size, ground, rng.uniform(2, 14)),
        min(height, width) * rng.uniform(0.36, 0.5),
        rng.uniform(0.82, 1),
        rng.normal(0, 0.05),
    )


def cell(rng: Rng, height: int, width: int) -> np.ndarray:
    """A solar cell or tile of one: busbars, fine fingers with gaps, crystal grain or none, vignette, dark rim."""
    base, form = rng.uniform(60, 190), rng.random()
    field = smooth_noise(height, width, max(height, width) / 3, rng, 2) * rng.uniform(2, 14)
    if form < 0.6:
        seeds = np.full((height // 2 + 1, width // 2 + 1), 255, np.uint8)
        number = int(log_uniform(rng, 30, 600))
        seeds[rng.integers(0, len(seeds), number), rng.integers(0, seeds.shape[1], number)] = 0
        # Bent distances make crystals ragged.
        labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)[1]
        tones = rng.normal(0, 1, labels.max() + 1).astype(np.float32)
        crystals = cv2.resize(tones[labels], (width, height), interpolation=cv2.INTER_LINEAR)
        bend = [smooth_noise(height, width, 12, rng, 2) * 5 for _ in range(2)]
        rows, columns = np.indices((height, width), np.float32)
        crystals = cv2.remap(
            crystals, columns + bend[0], rows + bend[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        field += crystals * rng.uniform(3, 22)
    if form > 0.3:
        dark = smooth_noise(height, width, rng.uniform(10, 50), rng, 3)
        field -= np.clip(dark - rng.uniform(0, 0.6), 0, 2) * rng.uniform(5, 45)
    scene = base + field
    pitch, depth = rng.uniform(3, 11), rng.uniform(3, 22) * rng.choice([-1, 1])
    across = np.arange(height, dtype=np.float32)
    fingers = np.clip(np.cos(across * 2 * np.pi / pitch) * 3 - 2, 0, 1)[:, None] * depth
    gaps = smooth_noise(height, width, 14, rng) < rng.uniform(0.7, 1.6)
    scene += fingers * gaps
    bars, bar_tone = int(rng.integers(0, 6)), rng.choice([rng.uniform(5, 60), rng.uniform(150, 250)])
    for bar in range(bars):
        at, half = width * (bar + 0.5) / bars + rng.normal(0, 0.004) * width, rng.uniform(0.5, 0.014 * width + 0.6)
        left, right = int(at - half), int(at + half) + 1
        strip = scene[:, max(left, 0) : right]
        strip += (bar_tone - strip) * np.float32(rng.uniform(0.6, 1))
        if rng.random() < 0.5:
            dashes = int(height * rng.uniform(0.04, 0.2))
            strip[np.arange(height) % dashes < dashes * rng.uniform(0.1, 0.5)] += rng.uniform(-40, 40)
        # Current crowds beside a bar and lights the cell there.
        glow = np.exp(-np.abs(np.arange(width, dtype=np.float32) - at) / (0.06 * width))
        scene += glow[None] * np.float32(rng.uniform(-4, 14))
    rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    scene = scene * (1 - rng.uniform(0, 0.5) * (rows**2 * rng.uniform(0.3, 1) + columns**2 * rng.uniform(0.3, 1)) / 2)
    rim, soft = rng.uniform(-0.01, 0.05), rng.uniform(0.004, 0.05)
    inset = np.minimum(1 - np.abs(rows), 1 - np.abs(columns))
    if rng.random() < 0.4:
        inset = np.minimum(inset, (2 - rng.uniform(0.12, 0.4) - np.abs(rows) - np.abs(columns)) / 1.4)
    shown = np.clip((inset - rim) / soft, 0, 1)
    outside = rng.uniform(3, 40) if rng.random() < 0.85 else rng.uniform(180, 240)
    scene = (outside + (scene - outside) * shown).astype(np.float32)
    if rng.random() < 0.5:
        scene = cv2.resize(np.ascontiguousarray(scene.T), (width, height))
    scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, 1.1))
    return cv2.cvtColor(np.clip(scene, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def ceramic(rng: Rng, height: int, width: int) -> np.ndarray:
    """A dark ground plate: strong irregular upright streaks, uneven light, dark sides, rounded upper and lower edge."""
    base = rng.uniform(25, 130)
    streaks = np.zeros((height, width), np.float32)
    for cell_width, long, weight in ((1.5, 0.5, 1.0), (5, 0.8, 0.8), (18, 1.5, 0.6)):
        grid = rng.standard_normal((max(int(1 / long * 3), 2) + 2, int(width / cell_width) + 2), dtype=np.float32)
        streaks += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    gain = np.clip(1 + 0.5 * smooth_noise(height, width, max(height, width) / 3, rng, 2), 0.2, 2)
    scene = base + streaks * gain * rng.uniform(3, 14) * np.sqrt(base / 60)
    scene += rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1, 6)
    scene *= 1 + rng.uniform(0.1, 0.4) * smooth_noise(height, width, max(height, width) / 1.5, rng)
    rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    side, bow = rng.uniform(-0.05, 0.3, 2), rng.uniform(0, 0.2, 2) * (rng.random() < 0.7)
    ragged = 0.012 * _line_noise(rng, height, 12)[:, None] * rng.uniform(0, 1.5)
    soft = rng.uniform(0.01, 0.08)
    shown = np.clip((columns + 1 - side[0] + ragged) / soft, 0, 1) * np.clip(
        (1 - side[1] - columns + ragged) / soft, 0, 1
    )
    if rng.random() < 0.6:
        gap = rng.uniform(-0.02, 0.15, 2)
        shown = shown * np.clip((rows + 1 - gap[0] - bow[0] * columns**2) / (soft / 2), 0, 1)
        shown = shown * np.clip((1 - gap[1] - bow[1] * columns**2 - rows) / (soft / 2), 0, 1)
    outside = rng.uniform(2, 35) if rng.random() < 0.85 else rng.uniform(150, 240)
    scene = outside + (np.maximum(scene, 3) - outside) * shown
    tint = np.ones(3) if rng.random() < 0.6 else 1 + rng.normal(0, 0.06, 3)
    return np.clip(scene[..., None] * tint, 0, 255).astype(np.uint8)


def _long_part(rng: Rng, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(along, across) [H, W] of a long part, a plain ground [H, W, 3] and a colour [3] well apart from it."""
    along, across = tilted_axes(rng, *size, 0.35)
    if rng.random() < 0.5:
        along, across = across, along
    tone, colour = random_colour(rng, 10, 245, 12), random_colour(rng, 50, 210, 25)
    if abs(tone.mean() - colour.mean()) < 60:
        colour = np.clip(colour + (80 if tone.mean() < 125 else -80), 15, 240)
    return along, across, _plain(rng, size, tone, rng.uniform(1, 8)), colour.astype(np.float32)


def _lay(ground: np.ndarray, tone: np.ndarray, colour: np.ndarray, inset: np.ndarray) -> np.ndarray:
    """Lay a part of a colour [3] and a relative tone [H, W] (0..2.5) on the ground [H, W, 3] uint8, see `_over`."""
    tones = np.linspace(0, 2.55, 256, dtype=np.float32)[:, None]
    table = np.clip(tones * colour + np.clip(tones - 1.3, 0, 1) * 90, 0, 255).astype(np.uint8)[None]
    index = cv2.convertScaleAbs(np.maximum(tone, 0), alpha=100)
    return _over(cv2.LUT(cv2.cvtColor(index, cv2.COLOR_GRAY2RGB), table), ground, inset, 0.25, 9)


def _round_body(place: np.ndarray, rng: Rng) -> np.ndarray:
    """Relative tone of a rod at `place` [H, W] -1..1 across it: dark flanks, one or two lines of glare."""
    across = np.linspace(-1, 1, 256, dtype=np.float32)
    tone = 0.35 + 0.7 * np.sqrt(1 - across**2)
    for _ in range(int(rng.integers(1, 3))):
        glare = (across - rng.uniform(-0.7, 0.7)) / rng.uniform(0.08, 0.3)
        tone = tone + rng.uniform(0.2, 0.8) * np.exp(-(glare**2))
    return cv2.LUT(cv2.convertScaleAbs(place + 1, alpha=127.5), tone.astype(np.float32))


def screw(rng: Rng, height: int, width: int) -> np.ndarray:
    """A screw or bolt lying on a plain ground: head, shank, slanted thread, tip."""
    along, across, ground, colour = _long_part(rng, (height, width))
    if rng.random() < 0.7:
        colour = np.full(3, colour.mean(), np.float32) * (1 + rng.normal(0, 0.02, 3).astype(np.float32))
    short, way = min(height, width), float(rng.choice([-1, 1]))
    long, half = short * rng.uniform(0.32, 0.44), short * rng.uniform(0.04, 0.09)
    head, shank = long * rng.uniform(0.15, 0.35), long * rng.uniform(0.1, 0.9)
    stops = np.array([-long - 1, -long, -long + head, -long + head + 1, long - 1.5 * half, long, long + 1])
    wide = half * np.array([0, 1, rng.uniform(1, 1.1), 0, 0, rng.uniform(-1, 0.6) - 1, -9])
    wide = wide * [0, rng.uniform(1.6, 2.4), rng.uniform(1.2, 2.4), 0, 0, 1, 1] + half * np.array(
        [-9, 0, 0, 1, 1, 1, 0]
    )
    u = along * way
    body = np.interp(u, stops, wide).astype(np.float32)
    pitch, slant = half * rng.uniform(0.35, 0.8), rng.uniform(-0.35, 0.35)
    wave = np.sin((u + slant * across) * np.float32(2 * np.pi / pitch))
    threaded = ((u > -long + head + shank * 0.6) & (u < long)).astype(np.float32)
    rim = body + threaded * wave * half * np.float32(rng.uniform(0.08, 0.2))
    place = np.clip(across / np.maximum(rim, 1), -1, 1)
    tone = _round_body(place, rng) * (1 + threaded * wave * rng.uniform(0.3, 0.6))
    tone *= 1 + 0.12 * smooth_noise(height, width, rng.uniform(2, 8), rng, 2)
    if rng.random() < 0.5:
        slot = (np.abs(across) < half * rng.uniform(0.15, 0.4)) & (u < -long + head * rng.uniform(0.2, 0.6))
        tone = np.where(slot, np.float32(0.25), tone)
    return _lay(ground, tone, colour, rim - np.abs(across))


def cable(rng: Rng, height: int, width: int) -> np.ndarray:
    """One to four cables side by side: smooth, ribbed or braided, straight or in a gentle bend."""
    along, across, ground, colour = _long_part(rng, (height, width))
    short, count = min(height, width), int(rng.integers(1, 5))
    half = short * rng.uniform(0.05, 0.2) / count**0.5
    bend = short * rng.uniform(0, 0.08) * np.sin(along / (short * rng.uniform(0.2, 0.6)) + rng.uniform(0, 6.28))
    gap = half * rng.uniform(1.9, 2.6)
    scene = ground
    for strand in range(count):
        offset = (across + bend - (strand - (count - 1) / 2) * gap).astype(np.float32)
        place = np.clip(offset / half, -1, 1)
        tone, form = _round_body(place, rng), rng.integers(3)
        pitch = half * rng.uniform(0.2, 0.7)
        if form == 1:
            tone *= 1 + rng.uniform(0.1, 0.4) * np.sin((along + rng.uniform(-1, 1) * offset) * (2 * np.pi / pitch))
        elif form == 2:
            tone *= 1 + 0.35 * np.sin((along + offset) * (2 * np.pi / pitch)) * np.sin(
                (along - offset) * (2 * np.pi / pitch)
            )
        tone = tone * (1 + rng.uniform(0.02, 0.15) * smooth_noise(height, width, rng.uniform(2, 12), rng, 2))
        if strand and rng.random() < 0.6:
            colour = random_colour(rng, 30, 220, 60)
        scene = _lay(scene, tone, colour, half - np.abs(offset))
    return scene


def zipper(rng: Rng, height: int, width: int) -> np.ndarray:
    """A closed zip: meshed teeth between two woven tapes."""
    along, across, ground, colour = _long_part(rng, (height, width))
    short = min(height, width)
    half, tooth = short * rng.uniform(0.2, 0.42), short * rng.uniform(0.03, 0.09)
    pitch, weave = tooth * rng.uniform(0.5, 1.2), short * rng.uniform(0.01, 0.025)
    thread = np.sin(along * (2 * np.pi / weave)) * np.sin((across + 0.5 * along) * (2 * np.pi / weave))
    tone = 0.85 + rng.uniform(0.08, 0.25) * thread + 0.12 * smooth_noise(height, width, 20, rng, 2)
    tape = _lay(ground, tone, colour, half - np.abs(across))
    metal = random_colour(rng, 40, 230, 20)
    side = np.where(across > 0, np.float32(0.5), np.float32(0))
    wave = np.cos((along / pitch + side) * (2 * np.pi))
    inset = np.where(wave > -0.3, tooth - np.abs(across), np.minimum(tooth - np.abs(across), -4)) + np.minimum(
        wave * pitch / 4, 0
    )
    shine = 0.75 + 0.35 * wave + rng.uniform(0.1, 0.5) * np.exp(-(((np.abs(across) / tooth - 0.5) / 0.2) ** 2))
    return _lay(tape, shine, metal, inset)
