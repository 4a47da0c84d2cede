"""Drawn normal prints and boards, families `(rng, height, width) -> [H, W, 3] uint8`, and the plain ground of parts."""

from __future__ import annotations

import cv2
import numpy as np

from data.strokes import log_uniform, smooth_noise
from data.surfaces import pigment, random_colour


def plain_ground(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A plain ground [H, W, 3] uint8, and the colour [3] of a part or ink upon it, well apart in tone."""
    ground, part = random_colour(rng, 15, 245, 15), random_colour(rng, 40, 215, 25)
    if abs(ground.mean() - part.mean()) < 70:
        part = np.clip(part + (90 if ground.mean() < 125 else -90), 10, 245).astype(np.float32)
    return np.full((height, width, 3), pigment(ground), np.uint8), part


def text_print(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Printed lines of letters and figures in one of several faces and sizes."""
    scene, colour = plain_ground(rng, 2 * height, 2 * width)
    letters = list("ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789   -./")
    face, scale = int(rng.choice([0, 2, 3, 4])), rng.uniform(0.6, 2.2) * min(height, width) / 320 * 1.6
    thick, pace = max(1, round(scale * rng.uniform(1, 3))), int(rng.uniform(36, 60) * scale)
    for y in range(int(pace * 1.2), 2 * height - pace // 3, pace):
        line = "".join(rng.choice(letters, int(rng.integers(6, 60))))[: max(3, int(1.8 * width / (19 * scale)))]
        cv2.putText(scene, line, (int(0.06 * width), y), face, scale, pigment(colour), thick, cv2.LINE_AA)
    return cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)


def logo_print(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Simple shapes of a few colours, once in the middle or repeated as a pattern."""
    scene, colour = plain_ground(rng, 2 * height, 2 * width)
    repeats = int(rng.choice([1, 2, 3, 5]))
    cell_high, cell_wide, unit = 2 * height / repeats, 2 * width / repeats, 0.84 * min(height, width) / repeats
    shapes = [(0, np.zeros(2), 0.95, pigment(colour), 5, 0.0)]
    shapes += [
        (
            int(rng.integers(3)),
            rng.uniform(-0.4, 0.4, 2),
            rng.uniform(0.2, 0.9),
            pigment(random_colour(rng, 20, 235, 60)),
            int(rng.integers(3, 9)),
            rng.uniform(0, 360),
        )
        for _ in range(rng.integers(1, 5))
    ]
    for row in range(repeats):
        for column in range(repeats):
            for form, offset, size, ink, sides, turn in shapes:
                x, y = (column + 0.5) * cell_wide + offset[0] * unit, (row + 0.5) * cell_high + offset[1] * unit
                at, far = (int(x), int(y)), int(size * unit)
                if form == 0:
                    cv2.circle(scene, at, far, ink, -1 if sides % 2 else max(2, far // 5), cv2.LINE_AA)
                elif form == 1:
                    corners = cv2.ellipse2Poly(at, (far, far), int(turn), 0, 359, 360 // sides)
                    cv2.fillPoly(scene, [corners], ink, cv2.LINE_AA)
                else:
                    cv2.ellipse(scene, at, (far, far // 2), turn, 0, 280, ink, far // 6 + 1, cv2.LINE_AA)
    return cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)


def barcode(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Bars of four widths above a line of figures."""
    scene = np.full((2 * height, 2 * width, 3), pigment(random_colour(rng, 190, 250, 10)), np.uint8)
    ink, module = pigment(random_colour(rng, 5, 60, 10)), max(2, int(width * rng.uniform(0.008, 0.02)))
    top, bottom = int(height * rng.uniform(0.2, 0.5)), int(height * rng.uniform(1.3, 1.7))
    x = int(0.15 * width)
    while x < 1.8 * width:
        bar, gap = rng.integers(1, 5, 2) * module
        cv2.rectangle(scene, (x, top), (int(x + bar) - 1, bottom), ink, -1)
        x += int(bar + gap)
    figures = "".join(rng.choice(list("0123456789"), 12))
    cv2.putText(scene, figures, (int(0.2 * width), bottom + int(0.2 * height)), 0, width / 190, ink, 2, cv2.LINE_AA)
    return cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)


def circuit(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A circuit board: tracks with bends of 45 degrees, pads, drilled holes and chips."""
    board = np.array([rng.uniform(5, 60), rng.uniform(50, 130), rng.uniform(20, 120)], np.float32)
    scene = np.full((2 * height, 2 * width, 3), pigment(board), np.uint8)
    track, pad = pigment(board, 1.5, 25), pigment(random_colour(rng, 150, 230, 12))
    step = int(min(height, width) * rng.uniform(0.06, 0.12))
    thick, ends = max(2, step // 5), []
    for _ in range(int(rng.integers(18, 40))):
        at = np.array([rng.integers(1, 2 * width // step), rng.integers(1, 2 * height // step)])
        path, heading = [at], int(rng.integers(8))
        for _ in range(int(rng.integers(2, 5))):
            heading += int(rng.integers(-1, 2))
            way = np.round([np.cos(heading * np.pi / 4), np.sin(heading * np.pi / 4)])
            path.append(path[-1] + way.astype(int) * rng.integers(1, 5))
        cv2.polylines(scene, [np.array(path) * step], False, track, thick, cv2.LINE_AA)
        ends += [path[0] * step, path[-1] * step]
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.integers(0, [2 * width, 2 * height])
        wide, high = rng.integers(2, 7, 2) * step
        for leg in range(int(x), int(x + wide), step // 2 + 1):
            cv2.rectangle(scene, (leg, int(y) - step // 2), (leg + step // 4, int(y + high) + step // 2), pad, -1)
        cv2.rectangle(
            scene, (int(x), int(y)), (int(x + wide), int(y + high)), pigment(random_colour(rng, 15, 50, 4)), -1
        )
    for x, y in ends:
        cv2.circle(scene, (int(x), int(y)), int(step * 0.35), pad, -1, cv2.LINE_AA)
        cv2.circle(scene, (int(x), int(y)), int(step * 0.14), (20, 20, 20), -1, cv2.LINE_AA)
    return cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)


def artwork(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two-tone artwork of a board: bundles of traces with bends of 45 degrees, pads, planes and combs, hard edges."""
    ink = np.zeros((height, width), np.uint8)
    short = min(height, width)
    unit = max(3, round(short * log_uniform(rng, 0.012, 0.035)))
    gap = max(2, round(unit * rng.uniform(0.6, 1.2)))

    def rounded(first: tuple[int, int], last: tuple[int, int], corner: int, value: int) -> None:
        inner = (first[0] + corner, first[1] + corner), (last[0] - corner, last[1] - corner)
        cv2.rectangle(ink, *inner, value, -1)
        cv2.rectangle(ink, *inner, value, 2 * corner)

    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.integers(-width // 4, width), rng.integers(-height // 4, height)
        wide, high = rng.uniform(0.15, 0.6, 2) * short
        corner = max(1, int(rng.uniform(0.3, 2) * unit))
        first, last = (int(x), int(y)), (int(x + wide), int(y + high))
        rounded((first[0] - gap, first[1] - gap), (last[0] + gap, last[1] + gap), corner, 0)
        rounded(first, last, corner, 255)
    for _ in range(int(rng.integers(4, 14))):
        thick, lanes = max(2, int(unit * rng.choice([0.6, 1, 1, 1.6, 2.5]))), int(rng.choice([1, 1, 2, 3, 4, 6]))
        at, heading = rng.uniform(0, [width, height]), int(rng.integers(4)) * 2
        path = [at]
        for _ in range(int(rng.integers(2, 6))):
            way = np.array([np.cos(heading * np.pi / 4), np.sin(heading * np.pi / 4)])
            path.append(path[-1] + way * short * rng.uniform(0.08, 0.5))
            heading += int(rng.choice([-1, 1]))
        line = np.array(path)
        # Lanes of a bundle are moved along the bisectors, so that they keep their distance in the bends.
        ways = np.diff(line, axis=0) / np.linalg.norm(np.diff(line, axis=0), axis=1, keepdims=True)
        normals = np.stack([-ways[:, 1], ways[:, 0]], 1)
        bisectors = np.concatenate([normals[:1], normals[:-1] + normals[1:], normals[-1:]])
        bisectors[1:-1] /= (1 + (normals[:-1] * normals[1:]).sum(1))[:, None]
        strands = [
            np.round(line + (lane - (lanes - 1) / 2) * (thick + gap) * bisectors).astype(np.int32)
            for lane in range(lanes)
        ]
        cv2.polylines(ink, strands, False, 0, thick + 2 * gap)
        cv2.polylines(ink, strands, False, 255, thick)
        pad = int(thick * rng.uniform(0.9, 1.6)) + 1
        for strand in strands if rng.random() < 0.7 else []:
            for end in (strand[0], strand[-1]):
                cv2.circle(ink, end.tolist(), pad, 255, -1)
                if pad > 4:
                    cv2.circle(ink, end.tolist(), max(1, pad // 3), 0, -1)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.integers(0, [width, height])
        bars, bar, long = int(rng.integers(3, 16)), max(2, unit), int(unit * rng.uniform(3, 9))
        turned, round_ends = rng.random() < 0.5, rng.random() < 0.4
        span = bars * (bar + gap)
        box = (
            ((x - gap, y - gap), (x + long + gap, y + span))
            if turned
            else ((x - gap, y - gap), (x + span, y + long + gap))
        )
        cv2.rectangle(ink, *[(int(a), int(b)) for a, b in box], 0, -1)
        for number in range(bars):
            move = number * (bar + gap)
            first = (int(x), int(y + move)) if turned else (int(x + move), int(y))
            last = (first[0] + long, first[1] + bar - 1) if turned else (first[0] + bar - 1, first[1] + long)
            if round_ends and bar > 3:
                rounded(first, last, bar // 3, 255)
            else:
                cv2.rectangle(ink, first, last, 255, -1)
    for _ in range(int(rng.integers(0, 16))):
        x, y = (int(value) for value in rng.integers(0, [width, height]))
        size = int(unit * rng.uniform(0.8, 2.2)) + 1
        cv2.circle(ink, (x, y), size + gap, 0, -1)
        cv2.circle(ink, (x, y), size, 255, -1)
        if rng.random() < 0.6:
            cv2.circle(ink, (x, y), max(1, int(size * rng.uniform(0.25, 0.5))), 0, -1)
    if rng.random() < 0.8:
        # Etching and scanning leave edges slightly jagged.
        jag = rng.uniform(0.3, 0.9)
        rows, columns = np.indices((height, width), np.float32)
        moves = [smooth_noise(height, width, 2, rng) * np.float32(jag) for _ in range(2)]
        ink = cv2.remap(ink, columns + moves[0], rows + moves[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    low, high = random_colour(rng, 0, 45, 8), random_colour(rng, 205, 255, 8)
    if rng.random() < 0.3:
        low, high = random_colour(rng, 10, 90, 40), random_colour(rng, 150, 250, 40)
    elif rng.random() < 0.5:
        low, high = np.zeros(3), np.full(3, 255.0)
    if rng.random() < 0.3:
        low, high = high, low
    table = np.linspace(low, high, 256).clip(0, 255).astype(np.uint8)[None]
    return cv2.LUT(cv2.cvtColor(ink, cv2.COLOR_GRAY2RGB), table)
