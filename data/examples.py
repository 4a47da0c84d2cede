"""The examples of the page: packaged photographs, untouched and with a drawn defect, and a clip of a drawn event."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from assistant.cache import cache_folder
from assistant.prompts import DEFAULT_QUESTION
from data.photos import photograph
from data.synth import draw_defect

VERSION = 4
"""Part of the folder's name; raise it whenever the examples change."""
CLIP_SEEDS = {"place": (77, 3), "event": (79, 3, 1), "normal": (78, 3)}
"""Of the example's place, of the clip with the event, and of the normal one."""
CLIP_EVENT = "stranger"


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        file: a PNG on this machine, or an MP4.
        caption: a few words for people.
        label: what is true of it.
        questions: asked one after another, the first with the picture or clip.
        references: files of normal pictures or clips of the same that it is held against.
        poster: of a clip, a PNG with one of its frames; None of a picture.
    """

    file: Path
    caption: str
    label: Literal["normal", "anomalous"]
    questions: tuple[str, ...] = (DEFAULT_QUESTION,)
    references: tuple[Path, ...] = ()
    poster: Path | None = None

    def thumbnail(self, side: int = 240) -> Image.Image:
        """A copy of the picture, or of the clip's poster, of at most `side` x `side` pixels."""
        image = Image.open(self.poster or self.file).convert("RGB")
        image.thumbnail((side, side))
        return image


@dataclass(frozen=True)
class _Plan:
    """A photograph, the defect to draw on it (kind and seed), if any, and what to do with it."""

    photograph: str
    caption: str
    kind: str | None = None
    seed: int = 0
    questions: tuple[str, ...] = (DEFAULT_QUESTION,)
    references: int = 0


_PLANS = (
    _Plan("brick.png", "Brick wall with a crack", "crack", 3),
    _Plan("brick.png", "Brick wall, untouched"),
    _Plan("gravel.png", "Gravel with a stain, held against a normal picture", "stain", 2, references=1),
    _Plan("grass.png", "Grass with a hole: where is it?", "hole", 1, (DEFAULT_QUESTION, "Where is it?")),
    _Plan(
        "coins.png", "Coins with a crack: what may have caused it?", "crack", 4,
        (DEFAULT_QUESTION, "What may have caused it?"),
    ),
)  # fmt: skip


def examples(folder: Path | None = None) -> list[Example]:
    """The examples, drawn on the first call and read from `folder` afterwards.

    Args:
        folder: where they are kept; by default a folder of the user's cache, or a temporary one where that
            cannot be written.
    """
    if folder is None:
        folder = cache_folder() / f"examples-{VERSION}"
    try:
        return _made(folder)
    except OSError:
        return _made(Path(tempfile.mkdtemp(prefix="looktwice-examples-")))


def _made(folder: Path) -> list[Example]:
    """The examples in `folder`, drawing those that are missing; raises OSError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, plan in enumerate(_PLANS, start=1):
        stem = f"{number}-{Path(plan.photograph).stem}"
        file = _kept(folder / f"{stem}-{plan.kind or 'untouched'}.png", lambda plan=plan: _draw(plan))
        normals = tuple(
            _kept(folder / f"{stem}-normal-{shift}.png", lambda plan=plan, shift=shift: _normal(plan, shift))
            for shift in range(1, plan.references + 1)
        )
        label = "anomalous" if plan.kind else "normal"
        found.append(Example(file, plan.caption, label, plan.questions, normals))
    return [*found, _clip(folder)]


def _clip(folder: Path) -> Example:
    """The example clip and the normal clip of its place in `folder`, drawn where one of its files is missing."""
    names = ("clip-event.mp4", "clip-normal.mp4", "clip-poster.png")
    event, normal, poster = (folder / name for name in names)
    if not all(file.is_file() for file in (event, normal, poster)):
        from data.event_sets import write_clip  # the drawing of clips and their coder, once
        from data.events import draw_clip
        from data.places import draw_place

        place = draw_place(np.random.default_rng(CLIP_SEEDS["place"]), "train", "walkway")
        frames, _ = draw_clip(place, np.random.default_rng(CLIP_SEEDS["event"]), CLIP_EVENT)
        usual, _ = draw_clip(place, np.random.default_rng(CLIP_SEEDS["normal"]))
        _kept(poster, lambda: frames[len(frames) // 2])
        _written(normal, lambda aside: write_clip(aside, usual))
        _written(event, lambda aside: write_clip(aside, frames))
    caption = "A cart where people walk, in a clip: when and where?"
    return Example(event, caption, "anomalous", references=(normal,), poster=poster)


def _kept(file: Path, draw: Callable[[], np.ndarray]) -> Path:
    """The picture's file, drawn where it is missing."""
    return _written(file, lambda aside: Image.fromarray(draw()).save(aside, format="PNG"))


def _written(file: Path, write: Callable[[Path], None]) -> Path:
    """The file, written where it is missing: aside and renamed, so that nobody ever sees half of it."""
    if not file.is_file():
        with tempfile.NamedTemporaryFile(
            dir=file.parent, prefix="partial-", suffix=f".partial{file.suffix}", delete=False
        ) as aside:
            write(Path(aside.name))
        Path(aside.name).replace(file)
    return file


def _normal(plan: _Plan, shift: int) -> np.ndarray:
    """[S, S, 3] uint8: the plan's photograph without a defect, moved by a few pixels as a second take would be."""
    plain = _draw(replace(plan, kind=None))
    return np.ascontiguousarray(np.roll(plain, 16 * shift, axis=0))


def _draw(plan: _Plan) -> np.ndarray:
    """[S, S, 3] uint8: the top left square of the photograph, with the defect."""
    pixels = photograph(plan.photograph)
    side = min(pixels.shape[:2])
    pixels = np.ascontiguousarray(pixels[:side, :side])
    if plan.kind is None:
        return pixels
    return draw_defect(pixels, np.random.default_rng(plan.seed), plan.kind, strength=1.0, count=1).image
