"""scikit-image's own photographs, as normals and as the pictures of the examples."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

NORMAL_PHOTOGRAPHS = (
    "brick.png", "grass.png", "gravel.png", "coins.png", "page.png", "text.png", "ihc.png", "retina.jpg", "moon.png",
    "coffee.png", "chelsea.png", "cell.png", "camera.png", "astronaut.png", "rocket.jpg", "hubble_deep_field.jpg",
    "motorcycle_left.png", "chessboard_GRAY.png", "horse.png",
)  # fmt: skip
"""Files that come inside the scikit-image wheel: no download."""


def photograph(name: str) -> np.ndarray:
    """One of NORMAL_PHOTOGRAPHS as [H, W, 3] uint8 RGB.

    Raises:
        FileNotFoundError: the installed scikit-image does not carry the file.
    """
    with Image.open(Path(skimage.data.__file__).parent / name) as image:
        return np.asarray(image.convert("RGB"))


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """All NORMAL_PHOTOGRAPHS, each [H, W, 3] uint8."""
    return tuple(photograph(name) for name in NORMAL_PHOTOGRAPHS)
