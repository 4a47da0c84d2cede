"""Drawn defects of artwork, cells, castings and glass, by the contract of `data.defects`.

Faults of two-tone artwork follow the six classes of bare-board inspection: open, short, mousebite, spur, spurious
copper and pinhole (DeepPCB, Tang et al., 2019).
"""

from __future__ import annotations

import cv2
import numpy as np

from data.strokes import (
    Array,
    Pair,
    Rng,
    Window,
    blob,
    cut_around,
    draw_spot,
    ink_strokes,
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

WHOLE_OVERLAP = 0.35
"""Largest overlap of the two tones of a whole picture of artwork, light and rims included."""


def _overlap(high: Array, low: Array) -> float:
    """Spread of two groups of grey values over the gap between their means."""
    high, low = high.astype(np.float32), low.astype(np.float32)
    return float(np.hypot(high.std(), low.std()) / max(float(high.mean() - low.mean()), 1e-6))


def _two_tones(image: Array, area: Array, rng: Rng) -> tuple[Window, Array]:
    """A window with two clearly separate tones in many borders, and where it has the brighter one [h, w].

    Raises ValueError when none of 24 places has (Otsu's threshold, 1979, must leave little spread on each side).
    """
    half = max(20.0, 0.11 * min(area.shape))
    whole = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    split = cv2.threshold(whole, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1] > 0
    if split.all() or not split.any() or _overlap(whole[split], whole[~split]) > WHOLE_OVERLAP:
        raise ValueError("a picture of more than two tones")  # one two-toned corner makes no board
    for _ in range(24):
        window = cut_around(area.shape, *pick_point(area, rng), half)
        crop = cv2.cvtColor(np.ascontiguousarray(image[window]), cv2.COLOR_RGB2GRAY)
        bright = cv2.threshold(crop, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1] > 0
        if not 0.06 < bright.mean() < 0.94:
            continue
        # Away from the half-toned rims each side is nearly flat.
        flat = cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) == 0
        high, low = crop[bright & flat].astype(np.float32), crop[~bright & flat].astype(np.float32)
        if min(len(high), len(low)) < 30:
            continue
        gap = high.mean() - low.mean()
        # Artwork has many borders; the one outline of a part on its ground is none.
        borders = np.count_nonzero(bright[1:] != bright[:-1]) + np.count_nonzero(bright[:, 1:] != bright[:, :-1])
        if gap > 50 and _overlap(high, low) < 0.13 and borders > 3.5 * max(bright.shape):
            return window, bright
    raise ValueError("no artwork of two tones")


def artwork_fault(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A fault of two-tone artwork, in its own tones: break, bridge, bite, spur, spurious copper or pinhole.

    A stronger fault is a larger one. ValueError where the picture has no clear two tones.
    """
    scale = max(min(area.shape) / 384, 0.4)
    for _ in range(12):
        window, bright = _two_tones(image, area, rng)
        form, phase = rng.choice(["through", "edge", "inside"]), bright if rng.random() < 0.5 else ~bright
        depth = cv2.distanceTransform(phase.astype(np.uint8), cv2.DIST_L2, 5)
        if form == "through":
            ridge = (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (depth > 1)
            fit = ridge & (depth < 8 * scale + 2)
        elif form == "edge":
            fit = phase & (depth < 1.5)
        else:
            fit = depth > 3 + scale
        inner = np.zeros_like(fit)
        inner[4:-4, 4:-4] = True
        fit &= inner & area[window]
        if fit.any():
            break
    else:
        raise ValueError("no place for a fault of the artwork")
    y, x = pick_point(fit, rng)
    grown = 0.75 + 0.5 * strength
    if form == "through":
        radius = max(float(depth[y, x]) * max(1.25, rng.uniform(1.2, 1.6) * grown) + 1, 3.5)
    elif form == "edge":
        around = depth[max(y - 9, 0) : y + 10, max(x - 9, 0) : x + 10].max()
        radius = float(np.clip(around * rng.uniform(0.5, 1.0), 3.2, 7 * scale + 2)) * grown
    else:
        radius = float(np.clip(depth[y, x] * rng.uniform(0.35, 0.8), 3.0, 9 * scale + 1)) * grown
    place = (y + window[0].start, x + window[1].start)
    # A ragged outline tells a spurious disc from a pad, and a pinhole from a drilled hole.
    shape = blob(
        window,
        place,
        radius,
        rng,
        log_uniform(rng, 1, 1.7),
        rng.uniform(0.3, 0.6) if form == "inside" else rng.uniform(0.05, 0.3),
        0.1,
    )
    # The phase's half-toned rim goes as well, or a ghost of the old edge would stay.
    shape *= cv2.dilate(phase.astype(np.uint8), np.ones((3, 3), np.uint8))
    other = cv2.erode((~phase).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    pool = image[window][other if other.any() else ~phase]
    drawn = pool[rng.integers(0, len(pool), shape.shape)].astype(np.float32)
    return put_back(image, area, window, drawn, shape)


def _rim_point(area: Array, rng: Rng) -> tuple[int, int]:
    """A pixel (y, x) on the border of the object, or of the picture where the object fills it."""
    edge = area & (cv2.erode(np.pad(area, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    return pick_point(edge if edge.any() else area, rng)


def shatter(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A large broken place at the rim: facets of different tone, bright fracture edges, glints."""
    y, x = _rim_point(area, rng) if rng.random() < 0.75 else pick_point(area, rng)
    radius = float(np.sqrt(log_uniform(rng, 4e-3, 0.08) * area.size / np.pi)) * (0.65 + 0.35 * strength) + 3
    window = cut_around(area.shape, y, x, 2.4 * radius + 3)
    alpha = blob(window, (y, x), radius, rng, log_uniform(rng, 1, 2.2), rng.uniform(0.2, 0.5), 0.06)
    height, width = alpha.shape
    seeds, number = np.full(alpha.shape, 255, np.uint8), int(log_uniform(rng, 8, 60))
    seeds[rng.integers(0, height, number), rng.integers(0, width, number)] = 0
    labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tone, right, down = rng.normal(0, [[0.6], [0.5], [0.5]], (3, labels.max() + 1)).astype(np.float32)[:, labels]
    facets = np.clip(tone + right * columns + down * rows, -1.5, 1.5)
    edges = np.zeros(alpha.shape, np.float32)
    edges[:-1] += labels[:-1] != labels[1:]
    edges[:, :-1] += labels[:, :-1] != labels[:, 1:]
    rim = np.clip(4 * alpha * (1 - alpha), 0, 1)
    lit = np.clip(smooth_noise(height, width, max(4, radius / 3), rng, 2) + rng.uniform(-0.3, 0.5), -0.4, 1)
    lines = cv2.GaussianBlur(np.minimum(edges, 1) + rim, (0, 0), rng.uniform(0.5, 0.9)) * lit
    step = tone_step(image[window], strength, 85)
    side = signed_step(image[window], step, rng, 0.6)
    crop = image[window].astype(np.float32)
    seen = rng.uniform(0.2, 0.8)
    flat = crop * seen + cv2.blur(crop, (9, 9)) * (1 - seen)
    drawn = flat + (step * (facets + 0.35 * side) + 1.6 * step * lines)[..., None] * random_tint(image, rng, 0.12)
    return put_back(image, area, window, drawn, alpha)


def dead_area(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """An inactive, mostly dark area of straight sides, bounded by cracks that run on past its corners."""
    y, x = pick_point(area, rng)
    radius = float(np.sqrt(log_uniform(rng, 2e-3, 0.07) * area.size / np.pi)) + 3
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 9)))
    turn, long = rng.uniform(0, np.pi), log_uniform(rng, 1, 2)
    points = np.stack([np.cos(angles) * long, np.sin(angles) / long], 1) * radius * rng.uniform(0.8, 1.2)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + [x, y]
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    window = cut_around(area.shape, y, x, 2.6 * radius + 4)
    shape, start = np.zeros(image[window].shape[:2], np.uint8), np.array([window[1].start, window[0].start])
    cv2.fillPoly(shape, [np.round((hull - start) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha, strokes = shape.astype(np.float32) / 255, []
    for first, last in zip(hull, np.roll(hull, -1, 0), strict=True):
        over = rng.uniform(0, 0.4) * (last - first)
        way = np.linspace(0, 1, 12)[:, None]
        path = first - over * rng.random() + way * (last - first + over) + rng.normal(0, 0.6, (12, 2))
        strokes.append((path, np.full(12, line_width(area.shape, rng) * rng.uniform(0.5, 1))))
    at, line = ink_strokes(area.shape, strokes)
    cracks = np.zeros(area.shape, np.float32)
    cracks[at] = line * (rng.random() < 0.8)
    crop = image[window].astype(np.float32)
    step = tone_step(image[window], strength, 85)
    side = signed_step(image[window], step, rng, 0.95)
    cloud = 1 + 0.25 * smooth_noise(*alpha.shape, max(4, radius), rng, 2)
    body = np.clip(crop / max(float(crop.mean()), 20), 0.5, 1.5) if side < 0 else np.float32(1)
    drawn = crop + side * step * (alpha * cloud)[..., None] * body - 0.8 * step * cracks[window][..., None]
    return put_back(image, area, window, drawn, (alpha > 0.01) | (cracks[window] > 0.02))


def hairline(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A long, thin, faint crack, nearly straight, now and then forked, that fades away in places."""
    y, x = pick_point(area, rng)
    width, length = 0.55 * line_width(area.shape, rng) + 0.25, log_uniform(rng, 0.3, 1.3) * min(area.shape)
    heading, pace = rng.uniform(0, 2 * np.pi), max(3.0, length / 60)
    back = np.array([np.cos(heading), np.sin(heading)]) * length / 2
    trunk = wander(y - back[1], x - back[0], heading, length, pace, rng.uniform(0.02, 0.12), rng)
    strokes = [(trunk, np.full(len(trunk), width))]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at, turn = trunk[rng.integers(len(trunk))], heading + rng.choice([-1, 1]) * rng.uniform(0.3, 1.2)
        fork = wander(at[1], at[0], turn, length * rng.uniform(0.1, 0.4), pace, 0.08, rng)
        strokes.append((fork, width * np.linspace(1, 0.3, len(fork))))
    window, line = ink_strokes(area.shape, strokes)
    alpha = line * np.clip(0.8 + 0.5 * smooth_noise(*line.shape, max(8, length / 6), rng, 2), 0.1, 1)
    step = tone_step(image[window], strength, 75)
    step *= signed_step(image[window], step, rng, 0.85)
    return put_back(image, area, window, image[window] + (step * alpha)[..., None], alpha > 0.02)


def pores(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A cluster of tiny pores: dark dots of different depth, some with a lit rim."""
    y, x = pick_point(area, rng)
    spread = log_uniform(rng, 0.015, 0.12) * min(area.shape)
    spots = rng.normal([x, y], spread * np.sort(rng.uniform(0.5, 1.5, 2)), (int(log_uniform(rng, 4, 70)), 2))
    sizes = np.exp(rng.normal(0.05, 0.4, len(spots))) * max(min(area.shape) / 340, 0.8)
    window, alpha = ink_strokes(
        area.shape, [(np.stack([s, s + 0.4]), np.full(2, 2 * r)) for s, r in zip(spots, sizes, strict=True)]
    )
    step = tone_step(image[window], strength, 120)
    step *= signed_step(image[window], step, rng, 1.0)
    uneven = np.clip(0.85 + 0.4 * smooth_noise(*alpha.shape, 6, rng), 0.3, 1.2)
    lip = np.clip(shifted_plane(alpha, *rng.choice([-1.0, 1.0], 2)) - alpha, 0, 1) * rng.uniform(0, 0.5)
    drawn = image[window] + (step * (alpha * uneven - lip))[..., None] * random_tint(image, rng, 0.06)
    return put_back(image, area, window, drawn, (alpha > 0.02) | (lip > 0.05))


def fray(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """A frayed edge: along a border of tones the pattern is torn in and out in fine, uneven teeth."""
    grey = cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    right, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    places = [pick_point(area, rng) for _ in range(24)] + [_rim_point(area, rng) for _ in range(4)]
    y, x = max(places, key=lambda place: float(np.hypot(right[place], down[place])))
    across = np.array([right[y, x], down[y, x]]) + 1e-3
    across = (across / np.linalg.norm(across)).astype(np.float32)
    radius = float(np.sqrt(log_uniform(rng, 1.5e-3, 0.03) * area.size / np.pi)) + 3
    window = cut_around(area.shape, y, x, 2.2 * radius + 3)
    alpha = blob(window, (y, x), radius, rng, log_uniform(rng, 1, 2), 0.3, 0.5)
    rows, columns = np.indices(alpha.shape, np.float32)
    place = np.abs(rows * across[0] - columns * across[1]) * np.float32(rng.uniform(0.6, 1.2))
    line = smooth_noise(1, int(place.max()) + 2, log_uniform(rng, 1.5, 6), rng, 2)[0]
    teeth = line[place.astype(int)]
    reach = rng.uniform(2.5, 8) * max(min(area.shape) / 384, 0.5) * (0.35 + 0.65 * strength)
    shift = teeth * alpha * np.float32(2 * reach)
    torn = cv2.remap(
        np.ascontiguousarray(image[window]),
        columns + shift * across[0],
        rows + shift * across[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32)
    drawn = torn + (tone_step(image[window], strength, 45) * 0.6 * np.clip(teeth, -1, 1))[..., None]
    return put_back(image, area, window, drawn, alpha)


def uneven(image: Array, area: Array, rng: Rng, strength: float) -> Pair:
    """An unevenly ground place: coarser streaks, a lighter or darker tone, the surface's own grain partly gone."""
    window, alpha, radius = draw_spot(
        image, area, rng, (2e-3, 0.07), rng.uniform(0.3, 0.6), log_uniform(rng, 0.1, 0.6), 5
    )
    height, width = alpha.shape
    noise = rng.standard_normal((height + width, height + width), dtype=np.float32)
    long = max(5, int(radius * rng.uniform(0.5, 2)))
    noise = cv2.blur(noise, (long, int(rng.integers(1, 4)))) * np.float32(long**0.5)
    middle = (height + width) / 2
    # Streaks follow the surface's own as often as not.
    crop = cv2.cvtColor(np.ascontiguousarray(image[window]), cv2.COLOR_RGB2GRAY)
    right, down = cv2.Sobel(crop, cv2.CV_32F, 1, 0), cv2.Sobel(crop, cv2.CV_32F, 0, 1)
    own = 0.5 * np.arctan2(2 * float((right * down).sum()), float((right**2 - down**2).sum())) + np.pi / 2
    angle = np.degrees(own) + rng.normal(0, 4) if rng.random() < 0.6 else rng.uniform(0, 180)
    turn = cv2.getRotationMatrix2D((middle, middle), -float(angle), 1)
    turn[:, 2] += np.array([width, height]) / 2 - middle
    streaks = cv2.warpAffine(noise, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    step = tone_step(image[window], strength, 45)
    bias = signed_step(image[window], step, rng, 0.5) * rng.uniform(0, 0.7)
    ragged = np.clip((streaks * 0.5 + 1.1), 0, 1) * alpha
    flat = cv2.blur(image[window], (5, 5)).astype(np.float32)
    kept = np.float32(rng.uniform(0.3, 1))
    drawn = flat + kept * (image[window] - flat) + (step * (0.6 * streaks + bias))[..., None]
    return put_back(image, area, window, drawn, ragged)
