"""A peer's predictions: which samples it can judge, its references through the tower, and its line of predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.errors import LookTwiceError
from assistant.inspector import Inspector
from assistant.media import read_media
from assistant.mirrors import mirrored
from assistant.processing import fit_size, resize
from assistant.types import MAX_MAP_SIDE, Look
from eval.peers import FITS, MIRRORED, Judge, Levels, Model
from eval.predict import kept_of
from eval.tasks import Mode, Sample, Task, with_references

MOST_NORMALS = 256
"""Normal pictures of a product that a peer is fitted to; of more, evenly spread ones."""
FEW = 16
"""References up to which their mirror images are added for the peers of MIRRORED."""
SILENT = (Task.mmad, Task.vane, Task.questions, Task.video)
"""Tasks that ask for words, or whose clips have no normal references."""


def peer_samples(
    model: Model, task: Task, mode: Mode, data: Path, samples: Sequence[Sample], shots: int, seed: int
) -> tuple[list[Sample], list[str]]:
    """The samples a peer judges, each with its references, and the products that have no normals and are left out.

    Args:
        mode: reference for `shots` references a product; zero_shot for all its normals that are not evaluated.

    Raises:
        LookTwiceError: a task or mode that peers cannot take part in, or no product has a normal to refer to.
    """
    if task in SILENT:
        raise LookTwiceError(f"The peer {model} cannot take {task}.", "It judges pictures against normal ones only.")
    if mode is Mode.batch:
        raise LookTwiceError(f"The peer {model} needs normal references.", "Leave --mode out, or say reference.")
    pictures = [sample for sample in samples if sample.record is not None]
    held = with_references(task, data, pictures, shots if mode is Mode.reference else 0, seed)
    known = [replace(sample, references=_spread(sample.references)) for sample in held if sample.references]
    without = sorted({"/".join(sample.key[:2]) for sample in held if not sample.references})
    if not known:
        raise LookTwiceError(f"No product here has a normal picture that {model} could be fitted to.")
    return known, without


def _spread(files: Sequence[Path]) -> tuple[Path, ...]:
    if len(files) <= MOST_NORMALS:
        return tuple(files)
    return tuple(files[round(at)] for at in np.linspace(0, len(files) - 1, MOST_NORMALS))


class PeerRun:
    """Judges samples by one peer; what is fitted is kept until other references come."""

    def __init__(self, inspector: Inspector, model: Model) -> None:
        self.processor, self.tower, self.model = inspector.processor, inspector.model.look_model.tower, model
        self._fitted: tuple[tuple[Path, ...], Judge, tuple[int, int]] | None = None

    def predict(self, sample: Sample) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The line of predictions.jsonl and {"heatmap", "thumbnail"}, as `eval.predict.predict`.

        There is no verdict, place or word, and `lit` and `top` are None: a peer's map has no absolute scale.
        """
        record = sample.record
        judge, size = self._judge(sample.references)
        start = time.perf_counter()  # fitting is shared by all pictures of a product
        pixels = self._read(record.image)
        score, heat = judge(self._levels(pixels, size))
        height, width = pixels.shape[:2]
        shrink = min(1.0, MAX_MAP_SIDE / max(width, height))
        kept = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        drawn = F.interpolate(heat[None, None].float(), kept[::-1], mode="bilinear", align_corners=False)[0, 0]
        look = Look(
            size=(width, height), score=score, heatmap=drawn.numpy(), regions=(), thumbnail=resize(pixels, kept),
            tokens={},
        )  # fmt: skip
        row = {
            "dataset": record.dataset, "category": record.category, "image": record.image.name, "split": record.split,
            "size": [width, height], "label": record.label, "defect": record.defect, "score": round(score, 6),
            "verdict": None, "confidence": None, "verdict_probability": None, "place": None, "word_places": [],
            "region_places": [], "regions": [], "kinds": [], "references": len(sample.references), "lit": None,
            "top": None, "explanation": "", "warnings": [], "seconds": round(time.perf_counter() - start, 4),
        }  # fmt: skip
        return row, kept_of(look)

    def _judge(self, references: tuple[Path, ...]) -> tuple[Judge, tuple[int, int]]:
        """What judges pictures against these references, and the (width, height) that all are looked at."""
        if self._fitted is None or self._fitted[0] != references:
            first = self._read(references[0])
            size = fit_size(first.shape[1], first.shape[0], self.processor.config.vision_config)
            seen = [self._levels(self._read(file), size, len(references)) for file in references]
            known = [torch.cat(level) for level in zip(*seen, strict=True)]
            self._fitted = (references, FITS[self.model](known), size)
        return self._fitted[1], self._fitted[2]

    @staticmethod
    def _read(file: Path) -> np.ndarray:
        return read_media(file).frames[0].pixels

    def _levels(self, pixels: np.ndarray, size: tuple[int, int], references: int = 0) -> Levels:
        """The tower's levels of a picture; of one of few references also those of its mirror images."""
        tensor: Tensor = self.processor.pixels(pixels, size)
        if self.model in MIRRORED and 0 < references <= FEW:
            tensor = mirrored(tensor)
        with torch.inference_mode():
            return [level.float() for level in self.tower(tensor).levels]
