"""A small set to learn from: grey pictures of one product, half of them with a dark square and its mask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_squares(folder: Path, count: int, dataset: str) -> Path:
    """Writes `count` pictures of 70 x 60 pixels with masks and manifest to a folder that exists, and returns it."""
    rows = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(100, 130, (60, 70, 3), dtype=np.uint8)
        mask = np.zeros((60, 70), np.uint8)
        if number % 2:
            pixels[20:35, 30:45], mask[20:35, 30:45] = 0, 255
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"m{number}.png")
        rows.append({"image": f"{number}.png", "dataset": dataset, "category": "c", "label": number % 2,
                     "fold": "train", "defect": ("good", "hole")[number % 2],
                     "mask": (None, f"m{number}.png")[number % 2]})  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
