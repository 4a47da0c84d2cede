"""The example pictures of the page: packaged photographs, untouched and with a drawn defect."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from assistant.cache import cache_folder
from data.photos import photograph
from data.synth import draw_defect

VERSION = 1
"""Part of the folder's name; raise it whenever the pictures change."""


@dataclass(frozen=True)
class Example:
    """One example picture.

    Attributes:
        file: a PNG on this machine.
        caption: a few words for people.
        label: what is true of the picture.
    """

    file: Path
    caption: str
    label: Literal["normal", "anomalous"]

    def thumbnail(self, side: int = 240) -> Image.Image:
        """A copy of the picture of at most `side` x `side` pixels."""
        image = Image.open(self.file).convert("RGB")
        image.thumbnail((side, side))
        return image


@dataclass(frozen=True)
class _Plan:
    """A photograph, and the defect to draw on it (kind and seed), if any."""

    photograph: str
    caption: str
    kind: str | None = None
    seed: int = 0


_PLANS = (
    _Plan("brick.png", "Brick wall with a crack", "crack", 3),
    _Plan("brick.png", "Brick wall, untouched"),
    _Plan("gravel.png", "Gravel with a stain", "stain", 2),
    _Plan("gravel.png", "Gravel, untouched"),
    _Plan("grass.png", "Grass with a hole", "hole", 1),
    _Plan("coins.png", "Coins with a crack across", "crack", 4),
)


def example_pictures(folder: Path | None = None) -> list[Example]:
    """The examples, drawn on the first call and read from `folder` afterwards.

    Args:
        folder: where the pictures are kept; by default a folder of the user's cache, or a temporary one where that
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
    examples = []
    for number, plan in enumerate(_PLANS, start=1):
        file = folder / f"{number}-{Path(plan.photograph).stem}-{plan.kind or 'untouched'}.png"
        if not file.is_file():
            # written aside and renamed: two programs starting at once never see half a picture
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial", delete=False) as aside:
                Image.fromarray(_draw(plan)).save(aside, format="PNG")
            Path(aside.name).replace(file)
        examples.append(Example(file, plan.caption, "anomalous" if plan.kind else "normal"))
    return examples


def _draw(plan: _Plan) -> np.ndarray:
    """[S, S, 3] uint8: the top left square of the photograph, with the defect."""
    pixels = photograph(plan.photograph)
    side = min(pixels.shape[:2])
    pixels = np.ascontiguousarray(pixels[:side, :side])
    if plan.kind is None:
        return pixels
    return draw_defect(pixels, np.random.default_rng(plan.seed), plan.kind, strength=1.0, count=1).image
