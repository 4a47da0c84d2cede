"""Places where clips are drawn: a ground, lanes in which things usually move, props that stand there, a camera.

A ground is a photograph or a drawn surface; no two folds share one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from data.actors import Actor, cart, cutting, item, walker
from data.photos import NORMAL_PHOTOGRAPHS, photograph
from data.products import PRODUCTS, draw_product

WIDTH, HEIGHT = 320, 240
"""Pixels of a clip."""
MARGIN = 32
"""Pixels around the view that a moving camera may show."""
SURFACES = ("cloth", "brushed metal", "paper", "wood", "stone", "leather", "perforation", "tiles", "fibre", "grain")
FOLDS = ("train", "val")
FLOW, STILL = ("walkway", "belt", "street"), "product"
WORLDS = (*FLOW, STILL)
EVENTS = (
    "appears", "vanishes", "passes through", "stands still", "against the flow", "runs", "stranger", "defect grows",
)  # fmt: skip

Rng = np.random.Generator


@dataclass(frozen=True)
class Lane:
    """A stream of things: its y in pixels, direction -1 or 1, speed in pixels a second, seconds between two things."""

    y: float
    direction: int
    speed: float
    gap: float


@dataclass(frozen=True, eq=False)
class Place:
    """Where clips are drawn, the same for all clips of it.

    Attributes:
        world: one of WORLDS.
        source: name of the photograph or the drawn family that its ground is.
        ground: [HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN, 3] uint8 RGB.
        movers: what usually moves here.
        props: (thing, x, y) that stand here.
        camera: "still", "shake", "pan" or "zoom".
    """

    world: str
    source: str
    ground: np.ndarray
    lanes: tuple[Lane, ...] = ()
    movers: tuple[Actor, ...] = ()
    props: tuple[tuple[Actor, float, float], ...] = ()
    size: float = 40.0
    camera: str = "still"
    photographs: tuple[str, ...] = field(default=(), repr=False)

    @property
    def noun(self) -> str:
        """What usually moves here, in words."""
        return {"walkway": "person", "belt": "part", "street": "cart"}.get(self.world, "thing")

    @property
    def events(self) -> tuple[str, ...]:
        """Kinds of events that can happen here."""
        if self.world == STILL:
            return ("appears", "vanishes", "defect grows", "defect grows")
        one_way = len({lane.direction for lane in self.lanes}) == 1
        return tuple(kind for kind in EVENTS[:7] if kind != "against the flow" or one_way)


def sources(fold: str) -> tuple[str, ...]:
    """Photographs and drawn families that places of a fold are made of: no two folds share one."""
    return (*NORMAL_PHOTOGRAPHS[FOLDS.index(fold) :: 2], *PRODUCTS[FOLDS.index(fold) :: 2])


def draw_place(rng: Rng, fold: str, world: str | None = None) -> Place:
    """A place of a fold ("train" or "val"), of a world or any."""
    chosen = world or str(rng.choice(WORLDS, p=(0.35, 0.2, 0.2, 0.25)))
    known = sources(fold)
    photographs = tuple(name for name in known if name in NORMAL_PHOTOGRAPHS)
    grounds = [name for name in known if chosen == STILL or name in (*photographs, *SURFACES)]
    source = str(rng.choice(grounds))
    ground = _ground(rng, source)
    tall, wide = ground.shape[:2]
    camera = str(rng.choice(("still", "shake", "pan", "zoom"), p=(0.55, 0.2, 0.15, 0.1)))
    size = rng.uniform(0.15, 0.21) * HEIGHT * (0.8 if chosen == "belt" else 1.0)

    def prop() -> Actor:
        return cutting(rng, size * rng.uniform(0.9, 1.4), photograph(str(rng.choice(photographs))))

    if chosen == STILL:
        props = tuple(
            (prop(), float(rng.uniform(0.25, 0.75) * wide), float(rng.uniform(0.25, 0.75) * tall))
            for _ in range(int(rng.integers(1, 3)))
        )
        return Place(chosen, source, ground, props=props, size=size, camera=camera, photographs=photographs)
    ground = cv2.addWeighted(ground, 0.75, np.full_like(ground, ground.mean(axis=(0, 1)).astype(np.uint8)), 0.25, 0)
    count = {"walkway": int(rng.integers(2, 4)), "belt": 1, "street": 2}[chosen]
    speed = rng.uniform(0.10, 0.18) * WIDTH
    first, one_way = int(rng.choice([-1, 1])), chosen == "belt" or (chosen == "walkway" and rng.random() < 0.7)
    rows = np.linspace(0.36, 0.72, count) if count > 1 else np.array([rng.uniform(0.4, 0.65)])
    lanes = tuple(
        Lane(float(row * tall), first if one_way else first * (-1) ** number, float(speed * rng.uniform(0.85, 1.15)),
             float(rng.uniform(1.5, 3.2)))
        for number, row in enumerate(rows)
    )  # fmt: skip
    if chosen == "belt":
        half = round(size * 0.8)
        top = round(lanes[0].y) - half
        belt = draw_product(rng, (2 * half, wide), str(rng.choice([one for one in SURFACES if one in known])))
        ground[top : top + 2 * half] = cv2.addWeighted(belt, 0.5, np.full_like(belt, 60), 0.5, 0)
        movers: tuple[Actor, ...] = (item(rng, size),)
    else:
        movers = tuple((walker if chosen == "walkway" else cart)(rng, size * rng.uniform(0.9, 1.1)) for _ in range(5))
    columns = (rng.uniform(0.25, 0.45), rng.uniform(0.55, 0.75))
    props = tuple((prop(), float(x * wide), float(rng.choice([0.2, 0.86]) * tall)) for x in columns)
    return Place(chosen, source, ground, lanes, movers, props, size, camera, photographs)


def _ground(rng: Rng, source: str) -> np.ndarray:
    """The whole canvas from a photograph or a drawn family."""
    tall, wide = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    if source not in NORMAL_PHOTOGRAPHS:
        return draw_product(rng, (tall, wide), source)
    picture = photograph(source)
    fit = min(picture.shape[0] / tall, picture.shape[1] / wide)
    share = rng.uniform(0.75, 1.0)
    high, across = int(fit * tall * share), int(fit * wide * share)
    top = int(rng.integers(0, picture.shape[0] - high + 1))
    left = int(rng.integers(0, picture.shape[1] - across + 1))
    return cv2.resize(picture[top : top + high, left : left + across], (wide, tall), interpolation=cv2.INTER_AREA)
