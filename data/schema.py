"""One typed record for every dataset layout."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

Split = Literal["fit", "calibrate", "val", "test"]

CALIBRATE_BLOCK = 20
"""Neighbouring pictures of a set often show one part; they are held out together, in blocks of this many."""
CALIBRATE_SHARE = 0.12
"""Share of the blocks of a training fold that no weight is fitted on; thresholds are set there."""


@dataclass(frozen=True)
class Record:
    """One labelled picture.

    Attributes:
        image: file of the picture.
        label: 0 normal, 1 anomalous.
        mask: 1-bit file, white where anomalous, or None.
        boxes: (x1, y1, x2, y2, type) pixels of the picture as stored.
        defect: defect type, "good" for normals.
        dataset, category: set and product.
        split: "fit" and "calibrate" are parts of a set's training fold, "val" is its validation fold, "test" is a
            set that is only ever evaluated on.
        licence: what the source says.
    """

    image: Path
    label: int
    dataset: str
    category: str
    defect: str = "good"
    mask: Path | None = None
    boxes: tuple[tuple[int, int, int, int, str], ...] = ()
    split: Split = "fit"
    licence: str = ""

    @property
    def supervision(self) -> Literal["mask", "boxes", "label"]:
        """What the record says about where: a normal picture's empty mask counts as a mask."""
        if self.label == 0 or self.mask is not None:
            return "mask"
        return "boxes" if self.boxes else "label"

    def read_image(self) -> np.ndarray:
        """[H, W, 3] uint8 RGB."""
        with Image.open(self.image) as image:
            return np.asarray(image.convert("RGB"))

    def read_mask(self) -> np.ndarray | None:
        """[H, W] bool at the picture's size; boxes filled; all False for normals; None when only a label is known."""
        if self.mask is not None:
            with Image.open(self.mask) as image:
                return np.asarray(image.convert("L")) > 127
        if self.label == 1 and not self.boxes:
            return None
        with Image.open(self.image) as image:
            filled = np.zeros((image.height, image.width), dtype=bool)
        for x1, y1, x2, y2, _ in self.boxes:
            filled[y1:y2, x1:x2] = True
        return filled


def held_out(dataset: str, category: str, label: int, index: int) -> bool:
    """Whether the picture with this running number belongs to the calibration part of its training fold.

    Decided by a checksum of the block's name, so that it is the same on every machine.
    """
    block = f"{dataset}/{category}/{label}/{index // CALIBRATE_BLOCK}"
    return zlib.crc32(block.encode()) % 1000 < CALIBRATE_SHARE * 1000
