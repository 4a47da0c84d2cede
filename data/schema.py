"""One typed record for every dataset layout."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from assistant.errors import RecordError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
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
        mask: file that is not black where anomalous, or a folder of such files whose union counts, or None.
        boxes: (x1, y1, x2, y2, type) pixels of the picture as stored.
        defect: defect type, "good" for normals.
        dataset, category: set and product.
        split: "fit" and "calibrate" are parts of a set's training fold, "val" is its validation fold, "test" is a
            set that is only ever evaluated on.
        licence: what the source says.
        part: the part of its set that the layout puts it in ("train", "validation", "test"), "" where it has none.
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
    part: str = ""

    @property
    def supervision(self) -> Literal["mask", "boxes", "label"]:
        """What the record says about where: a normal picture's empty mask counts as a mask."""
        if self.label == 0 or self.mask is not None:
            return "mask"
        return "boxes" if self.boxes else "label"

    def read_image(self) -> np.ndarray:
        """[H, W, 3] uint8 RGB.

        Raises:
            RecordError: the file cannot be read as a picture.
        """
        with _opened(self.image) as image:
            return np.asarray(image.convert("RGB"))

    def read_mask(self) -> np.ndarray | None:
        """[H, W] bool at the picture's size; boxes filled; all False for normals; None when only a label is known.

        Raises:
            RecordError: picture or mask cannot be read, or they differ in size.
        """
        if self.label == 1 and self.mask is None and not self.boxes:
            return None
        with _opened(self.image) as image:
            filled = np.zeros((image.height, image.width), dtype=bool)
        if self.mask is not None:
            for file in pictures(self.mask) if self.mask.is_dir() else [self.mask]:
                marked = _marked(file)
                if marked.shape != filled.shape:
                    raise RecordError(
                        f"The mask {file.name} is {marked.shape[1]} x {marked.shape[0]} pixels, its picture "
                        f"{self.image.name} is {filled.shape[1]} x {filled.shape[0]}."
                    )
                filled |= marked
            return filled
        for x1, y1, x2, y2, _ in self.boxes:
            filled[y1:y2, x1:x2] = True
        return filled


def pictures(folder: Path) -> list[Path]:
    """Picture files right in a folder, sorted by name; hidden ones (as macOS leaves behind) are no pictures."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != ".")


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """The opened picture; whatever Pillow or the disk says against it is one sentence."""
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RecordError(f"{file.name} cannot be read as a picture.") from None


def _marked(file: Path) -> np.ndarray:
    """[H, W] bool: where a mask file says anomalous.

    Masks carry 255, or the number of the defect's type (VisA from 1 on, LOCO from 255 down), so every value but 0
    counts. Only JPEG, which leaves traces beside the edges, is cut in the middle.
    """
    with _opened(file) as image:
        # any colour of a palette or of RGB marks: a grey value of dark red could round to 0
        plain = image.mode in ("1", "L", "I", "I;16")
        values = np.asarray(image) if plain else np.asarray(image.convert("RGB")).max(axis=2)
        return values > (127 if image.format == "JPEG" else 0)


def held_out(dataset: str, category: str, label: int, index: int) -> bool:
    """Whether the picture with this running number belongs to the calibration part of its training fold.

    Decided by a checksum of the block's name, so that it is the same on every machine.
    """
    block = f"{dataset}/{category}/{label}/{index // CALIBRATE_BLOCK}"
    return zlib.crc32(block.encode()) % 1000 < CALIBRATE_SHARE * 1000
