"""Drawn clips of drawn and real places, with or without an event, and the words that are true of it.

Every clip of a place has its own movers, camera motion, light and noise; an event is one thing that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from assistant.regions import place_word
from data.actors import Actor, cart, cutting, cyclist, put, turned, walker
from data.photos import photograph
from data.places import EVENTS, HEIGHT, MARGIN, WIDTH, Lane, Place, Rng
from data.synth import draw_defect

RATE = 10
"""Frames a second."""
FRAMES = (60, 80)
"""Frames of a clip, from and to."""
IN_VIEW = 0.4
"""Share of a thing that must be in the picture for a frame to count as anomalous."""
SHORTEST = 1.2
"""Seconds that an event is seen at least."""
TRIES = 40
GRAIN = 64
"""Pixels by which the noise of a frame is shifted at most."""

Where = tuple[float, float, float, float]
"""Middle (x, y) in pixels of the canvas, phase, opacity 0..1."""


@dataclass(frozen=True)
class Thing:
    """Something drawn on the ground: its cut-outs, and where it is at a time in seconds, None while it is away."""

    actor: Actor
    at: Callable[[float], Where | None]


@dataclass(frozen=True)
class Event:
    """What happens in a clip.

    Attributes:
        kind: one of EVENTS.
        span: (start, end) seconds in which it can be seen.
        place: one of `types.PLACES`, in the middle of the span.
        box: (x1, y1, x2, y2) pixels, in the middle of the span.
        words: a sentence that is true of it.
    """

    kind: str
    span: tuple[float, float]
    place: str
    box: tuple[int, int, int, int]
    words: str


def draw_clip(place: Place, rng: Rng, kind: str | None = None) -> tuple[np.ndarray, Event | None]:
    """A clip of a place.

    Args:
        kind: the event, one of `place.events`; None for a normal clip.

    Returns:
        (frames [n, HEIGHT, WIDTH, 3] uint8 RGB at RATE, the event).

    Raises:
        ValueError: no try showed the event for SHORTEST.
    """
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    times = np.arange(count) / RATE
    matrices = _camera(place.camera, times, rng)
    props = [Thing(actor, _standing(x, y)) for actor, x, y in place.props]
    things = [*props, *_usual(place, times[-1], rng)]
    if kind is None:
        return _rendered(place, things, times, matrices, rng, None), None
    for _ in range(TRIES):
        staged = _staged(place, kind, float(times[-1]), rng)
        seen = np.array([_box(staged.thing, at, matrix) is not None and staged.active(at)
                         for at, matrix in zip(times, matrices, strict=True)])  # fmt: skip
        if seen.sum() >= SHORTEST * RATE and seen.mean() < 0.8:
            break
    else:
        raise ValueError(f"the event {kind!r} cannot be seen long enough in this place")
    first, last = np.flatnonzero(seen)[[0, -1]]
    span = (float(times[first]), float((last + 1) / RATE))
    middle = int(np.flatnonzero(seen)[seen.sum() // 2])
    box = _box(staged.thing, times[middle], matrices[middle])
    where = place_word((box[0] + box[2]) / 2 / WIDTH, (box[1] + box[3]) / 2 / HEIGHT)
    words = f"{staged.words.format(place=where)}, from {span[0]:.1f} s to {span[1]:.1f} s."
    if kind == "vanishes":
        things = [one for one in things if one is not props[staged.gone]]
    if not staged.grown:
        things.append(staged.shown or staged.thing)
    frames = _rendered(place, things, times, matrices, rng, staged.grown)
    return frames, Event(kind, span, where, box, words)


@dataclass(frozen=True)
class _Staged:
    """An event to be: the thing whose place is the event's, when it is one, and what is drawn instead of it."""

    thing: Thing
    active: Callable[[float], bool]
    words: str
    shown: Thing | None = None
    gone: int = -1
    grown: Callable[[float], np.ndarray] | None = None


def _staged(place: Place, kind: str, length: float, rng: Rng) -> _Staged:
    tall, wide = place.ground.shape[:2]
    start = float(rng.uniform(1.2, 0.45 * length))
    lane = place.lanes[int(rng.integers(len(place.lanes)))] if place.lanes else Lane(tall / 2, 1, 50.0, 1.0)
    actor = place.movers[int(rng.integers(len(place.movers)))] if place.movers else None
    if kind == "appears":
        end = length + 1 if rng.random() < 0.5 else start + rng.uniform(2.0, 3.0)
        x = float(rng.uniform(0.25, 0.75) * wide)
        y = (
            lane.y + float(rng.choice([-0.5, 0.5]) * place.size)
            if place.lanes
            else float(rng.uniform(0.25, 0.75) * tall)
        )
        new = cutting(rng, place.size * rng.uniform(0.7, 1.2), photograph(str(rng.choice(place.photographs))))
        thing = Thing(new, lambda at: (x, y, 0.0, float(np.clip(min(at - start, end - at) / 0.3, 0, 1))))
        return _Staged(thing, lambda at: start + 0.15 <= at < end - 0.15,
                       "An object appears in the {place} and stays there")  # fmt: skip
    if kind == "vanishes":
        gone = int(rng.integers(len(place.props)))
        prop, x, y = place.props[gone]
        fading = Thing(prop, lambda at: (x, y, 0.0, float(np.clip(1 - (at - start) / 0.3, 0, 1))))
        return _Staged(Thing(prop, _standing(x, y)), lambda at: at >= start + 0.15,
                       "The object that stood in the {place} is gone", fading, gone)  # fmt: skip
    if kind == "defect grows":
        return _growing(place, start, rng)
    entry = start * lane.speed  # pixels that a thing of usual speed goes until the start
    if kind == "passes through":
        _, x, y = place.props[int(rng.integers(len(place.props)))]
        reach = place.props[0][0](0.0).shape[1] / 2 + place.size / 4
        run = replace(lane, y=y, speed=lane.speed * rng.uniform(0.6, 0.8))
        arrives = start + reach / run.speed
        track = _moving(run, arrives - (x if run.direction > 0 else wide - x) / run.speed, wide, rng, opacity=0.85)
        inside = reach / run.speed
        return _Staged(Thing(turned(actor, run.direction < 0), track), lambda at: abs(at - arrives) <= inside,
                       f"A {place.noun} passes through the object that stands in the {{place}}")  # fmt: skip
    if kind == "stands still":
        dwell = float(rng.uniform(2.0, 3.0))
        before = _moving(lane, start - rng.uniform(0.25, 0.75) * wide / lane.speed, wide, rng)
        track = lambda at: before(min(at, start) if at < start + dwell else at - dwell)  # noqa: E731
        return _Staged(Thing(turned(actor, lane.direction < 0), track), lambda at: start <= at < start + dwell,
                       f"A {place.noun} stands still in the {{place}} while the others go on")  # fmt: skip
    if kind == "against the flow":
        run = replace(lane, direction=-lane.direction)
        words = f"A {place.noun} moves against the flow, through the {{place}}"
    elif kind == "runs":
        run = replace(lane, speed=lane.speed * rng.uniform(2.3, 3.2))
        words = f"A {place.noun} {'runs' if place.world == 'walkway' else 'moves much too fast'} through the {{place}}"
    elif kind == "stranger":
        run = lane
        actor, noun = _stranger(place, rng)
        words = f"{noun} comes through the {{place}}, where only {place.noun}s move otherwise"
        words = words.replace("persons", "people")
    else:
        raise ValueError(f"unknown event {kind!r}; known: {', '.join(EVENTS)}")
    entered = start if kind == "runs" else start - min(entry, MARGIN) / run.speed
    track = _moving(run, entered, wide, rng)
    return _Staged(Thing(turned(actor, run.direction < 0), track), lambda at: True, words)


def _stranger(place: Place, rng: Rng) -> tuple[Actor, str]:
    if place.world == "walkway":
        maker, noun = ((cyclist, "A person on a bicycle"), (cart, "A cart"))[int(rng.integers(2))]
        return maker(rng, place.size * 1.1), noun
    if place.world == "street":
        return walker(rng, place.size * 1.1), "A person on foot"
    picture = photograph(str(rng.choice(place.photographs)))
    return cutting(rng, place.size, picture), "An object of another kind"


def _growing(place: Place, start: float, rng: Rng) -> _Staged:
    """A drawn defect of the ground that spreads from one of its ends."""
    tall, wide = place.ground.shape[:2]
    middle = np.zeros((tall, wide), bool)
    middle[2 * MARGIN : -2 * MARGIN, 2 * MARGIN : -2 * MARGIN] = True
    for _ in range(TRIES):
        drawn = draw_defect(place.ground, rng, strength=float(rng.uniform(0.7, 1.0)), foreground=middle, count=1)
        if 0.003 <= drawn.extent <= 0.15:
            break
    else:
        raise ValueError("no drawn defect of this place is large enough")
    rows, columns = np.nonzero(drawn.mask)
    seed = int(rng.integers(len(rows)))
    order = np.full((tall, wide), np.inf, np.float32)
    order[rows, columns] = np.hypot(rows - rows[seed], columns - columns[seed])
    order /= order[rows, columns].max()
    lasts = float(rng.uniform(1.0, 2.5))

    def grown(at: float) -> np.ndarray:
        weight = np.clip(((at - start) / lasts - order) / 0.08, 0, 1)[..., None]
        return (place.ground * (1 - weight) + drawn.image * weight + 0.5).astype(np.uint8)

    # it counts once a quarter of it is there
    seen = start + lasts * (float(np.quantile(order[rows, columns], 0.25)) + 0.08)
    y, x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    extent = np.zeros((int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1, 4), np.uint8)
    return _Staged(Thing(lambda phase: extent, _standing(float(x), float(y))), lambda at: at >= seen,
                   f"A {drawn.kind} grows in the {{place}}", grown=grown)  # fmt: skip


def _usual(place: Place, length: float, rng: Rng) -> list[Thing]:
    """What moves in a clip of the place anyway."""
    things, wide = [], place.ground.shape[1]
    for lane in place.lanes:
        at = -wide / lane.speed + float(rng.uniform(0, lane.gap))
        while at < length:
            actor = place.movers[int(rng.integers(len(place.movers)))]
            own = replace(lane, speed=lane.speed * rng.uniform(0.92, 1.08), y=lane.y + rng.uniform(-3, 3))
            things.append(Thing(turned(actor, lane.direction < 0), _moving(own, at, wide, rng)))
            at += lane.gap * float(rng.uniform(0.7, 1.6))
    return things


def _moving(lane: Lane, entered: float, wide: int, rng: Rng, opacity: float = 1.0) -> Callable[[float], Where | None]:
    """Along a lane from one side of the canvas to the other, from the second `entered` on."""
    sway, offset = float(rng.uniform(0, 1.5)), float(rng.uniform(0, 1))

    def at(time: float) -> Where | None:
        gone = (time - entered) * lane.speed
        if not -30 <= gone <= wide + 30:
            return None
        x = gone if lane.direction > 0 else wide - gone
        return x, lane.y + sway * np.sin(gone / 9), offset + gone / 28, opacity

    return at


def _standing(x: float, y: float) -> Callable[[float], Where]:
    return lambda at: (x, y, 0.0, 1.0)


def _camera(kind: str, times: np.ndarray, rng: Rng) -> list[np.ndarray]:
    """[2, 3] canvas -> view for every time, with chance of the clip's own."""
    phase = rng.uniform(0, 2 * np.pi, 4)
    shift, scale = np.zeros((len(times), 2)), np.ones(len(times))
    if kind == "shake":
        beat = rng.uniform(0.7, 1.6, 4)
        waves = np.sin(2 * np.pi * times[:, None] * beat + phase) * rng.uniform(0.5, 1.6, 4)
        shift = waves[:, :2] + waves[:, 2:]
    elif kind == "pan":
        shift[:, 0] = rng.uniform(12, 24) * np.sin(2 * np.pi * times / rng.uniform(8, 13) + phase[0])
        shift[:, 1] = rng.uniform(0, 6) * np.sin(2 * np.pi * times / rng.uniform(8, 13) + phase[1])
    elif kind == "zoom":
        scale = 1.06 + 0.05 * np.sin(2 * np.pi * times / rng.uniform(8, 13) + phase[0])
    middle = np.array([WIDTH / 2 + MARGIN, HEIGHT / 2 + MARGIN])
    return [
        np.array([[s, 0, WIDTH / 2 - s * (middle[0] + x)], [0, s, HEIGHT / 2 - s * (middle[1] + y)]], np.float32)
        for (x, y), s in zip(shift, scale, strict=True)
    ]


def _box(thing: Thing, at: float, matrix: np.ndarray) -> tuple[int, int, int, int] | None:
    """The thing's box in the view, None where less than IN_VIEW of it is in it."""
    where = thing.at(at)
    if where is None:
        return None
    tall, wide = np.array(thing.actor(where[2]).shape[:2]) * matrix[0, 0]
    x, y = matrix @ np.array([where[0], where[1], 1.0])
    box = (max(0, round(x - wide / 2)), max(0, round(y - tall / 2)),
           min(WIDTH, round(x + wide / 2)), min(HEIGHT, round(y + tall / 2)))  # fmt: skip
    inside = max(0, box[2] - box[0]) * max(0, box[3] - box[1])
    return box if inside >= IN_VIEW * wide * tall else None


def _rendered(
    place: Place, things: Sequence[Thing], times: np.ndarray, matrices: Sequence[np.ndarray], rng: Rng,
    grown: Callable[[float], np.ndarray] | None,
) -> np.ndarray:  # fmt: skip
    """[n, HEIGHT, WIDTH, 3] uint8: ground, things by their feet, camera, light that drifts or steps, noise."""
    gain = (
        1
        + rng.normal(0, 0.03)
        + rng.uniform(0, 0.04) * np.sin(2 * np.pi * times / rng.uniform(3, 9) + rng.uniform(0, 6))
    )
    if rng.random() < 0.15:  # a lamp or a cloud
        gain = gain + rng.choice([-0.12, 0.12]) * np.clip((times - rng.uniform(1, 0.8 * times[-1])) / 0.4, 0, 1)
    tint, noise = rng.normal(1, 0.01, 3), float(rng.uniform(1, 4))
    # one sheet of noise that is laid anew at random: fresh normal numbers would be the slowest step
    grain = rng.standard_normal((HEIGHT + GRAIN, WIDTH + GRAIN), dtype=np.float32) * noise
    grain = cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB)
    frames = np.empty((len(times), HEIGHT, WIDTH, 3), np.uint8)
    for number, at in enumerate(times):
        scene = place.ground.copy() if grown is None else grown(at)
        there = [(thing, where) for thing in things if (where := thing.at(at)) is not None and where[3] > 0]
        for thing, (x, y, phase, opacity) in sorted(there, key=lambda one: one[1][1]):
            put(scene, thing.actor(phase), x, y, opacity)
        view = cv2.warpAffine(scene, matrices[number], (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        lit = cv2.multiply(view, (*(gain[number] * tint), 1.0))
        y, x = rng.integers(0, GRAIN, 2)
        frames[number] = cv2.add(lit, grain[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)
    return frames
