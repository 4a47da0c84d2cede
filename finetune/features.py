"""The frozen tower's features of training samples, made once and kept: every run over the same samples reuses them.

One safetensors file a batch. Selection runs, the final run and the language stage read the same files, and a stopped
run goes on at the next file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from assistant.errors import RecordError
from assistant.look_model import LookModel
from assistant.packaged import native_bfloat16
from assistant.processing import normalise
from assistant.reference import References, Residuals, residuals
from assistant.vision import VisionFeatures
from finetune.dataset import Sample

cv2.setNumThreads(0)  # samples are drawn in a forked process, which hangs when its parent's OpenCV has threads
AT_ONCE = 4
"""Pictures the tower sees at once: more no longer fit the caches of a CPU and take longer each."""


@dataclass(frozen=True)
class Origin:
    """Where a sample comes from.

    Attributes:
        label: 0 or 1.
        defect: defect type of the record, kind of the drawn defect, or "good".
        source: set, "photograph", "product" or "drawn:<kind>".
        dataset: set of the picture, "own" for photographs and drawn products.
        references: how many normal references the residuals were made with.
    """

    label: int
    defect: str
    source: str
    dataset: str
    references: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Features and truth of B samples of one size.

    Attributes:
        features: of the tower.
        residuals: with the sample's references where it has any.
        target: [B, 1, h, w] share of each cell of the finest level that is anomalous, 0..1.
        weight: [B, 1, h, w] how much a cell counts.
        pixels: [B, H/2, W/2, 3] uint8, to measure tones.
        origins: one a sample.
    """

    features: VisionFeatures
    residuals: Residuals
    target: Tensor
    weight: Tensor
    pixels: np.ndarray
    origins: list[Origin]


class SampleSource(Protocol):
    """Samples by number; those of one batch share a size."""

    batch: int

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample:
        """Sample number `index`, the same on every call."""
        ...


class _Samples(Dataset):
    """Raw samples of a source by number."""

    def __init__(self, dataset: SampleSource) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset.sample(index)


def make_features(model: LookModel, dataset: SampleSource, out: Path, title: str = "features") -> list[Path]:
    """Writes one file a batch of the dataset and returns all files in order; files that exist are kept.

    Args:
        model: only its tower is used.
        dataset: its length is a multiple of its batch.
        out: folder of the files.
        title: of the progress bar.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{number:06d}.safetensors" for number in range(len(dataset) // dataset.batch)]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    wanted = [number * dataset.batch + k for number in missing for k in range(dataset.batch)]
    loader = DataLoader(
        torch.utils.data.Subset(_Samples(dataset), wanted),
        batch_size=dataset.batch, num_workers=1, prefetch_factor=3, collate_fn=list,
    )  # fmt: skip
    for number, samples in zip(missing, tqdm(loader, desc=title, unit="batch"), strict=True):
        aside = files[number].with_suffix(".partial")
        _write(model, samples, aside)
        aside.replace(files[number])
    return files


@torch.inference_mode()
def _write(model: LookModel, samples: list[Sample], file: Path) -> None:
    config = model.config.vision_config
    pictures = torch.stack([normalise(sample.pixels, config) for sample in samples])
    memories: list[References | None] = []
    with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16()):  # much faster where hardware has it
        parts = [model.tower(some).levels for some in pictures.split(AT_ONCE)]
        for sample in samples:
            known = [normalise(picture, config) for picture in sample.references]
            memories.append(model.remember(torch.stack(known)) if known else None)
    levels = [torch.cat(level) for level in zip(*parts, strict=True)]
    differences = residuals(tuple(levels[1:]), memories)
    mask = torch.stack([torch.from_numpy(sample.mask).float() for sample in samples]).unsqueeze(1)
    weight = torch.stack([torch.from_numpy(sample.weight) for sample in samples]).unsqueeze(1)
    size = levels[0].shape[-2:]
    half = (samples[0].pixels.shape[1] // 2, samples[0].pixels.shape[0] // 2)
    small = [cv2.resize(sample.pixels, half, interpolation=cv2.INTER_AREA) for sample in samples]
    tensors = {f"level{number}": level.half() for number, level in enumerate(levels)}
    tensors |= {f"residual{number}": level.half() for number, level in enumerate(differences.maps)}
    tensors |= {
        "difference": differences.difference.half(),
        "given": differences.given,
        "target": F.adaptive_avg_pool2d(mask, size).half(),
        "weight": F.adaptive_avg_pool2d(weight, size).half(),
        "pixels": torch.from_numpy(np.stack(small)),
    }
    origins = [[sample.label, sample.kind, sample.source, sample.dataset, len(sample.references)] for sample in samples]
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, file, metadata={"origins": json.dumps(origins)})


def feature_files(folder: Path, most: int = 0) -> list[Path]:
    """The files of `make_features` in a folder, in order; the first `most` of them when it is not 0.

    Raises:
        RecordError: there is none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise RecordError(f"There are no cached features in {folder}.", "Start python -m finetune.look first.")
    return files[:most] if most else files


def read_batch(file: Path, *, pixels: bool = False) -> Batch:
    """One file of `make_features`; the small pictures only when asked for."""
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
        values = {name: tensors.get_tensor(name) for name in names if pixels or name != "pixels"}
        origins = [Origin(*row) for row in json.loads(tensors.metadata()["origins"])]
    levels = tuple(values[f"level{number}"].float() for number in range(sum(n.startswith("level") for n in names)))
    maps = tuple(values[f"residual{number}"].float() for number in range(len(levels) - 1))
    last = levels[-1]
    return Batch(
        features=VisionFeatures(levels, last.flatten(2).transpose(1, 2), (last.shape[2], last.shape[3])),
        residuals=Residuals(maps, values["difference"].float(), values["given"]),
        target=values["target"].float(),
        weight=values["weight"].float(),
        pixels=values["pixels"].numpy() if pixels else np.zeros(0, np.uint8),
        origins=origins,
    )


def choose(batch: Batch, rows: list[int], forget: list[int]) -> Batch:
    """The given rows of a batch, in order; rows in `forget` lose their references."""
    chosen = torch.tensor(rows)
    keep = torch.tensor([row not in set(forget) for row in rows], dtype=torch.float32)
    only_own = torch.tensor([1.0, 0.0, 0.0])  # the picture's own residual needs no reference
    factor = torch.maximum(keep[:, None], only_own[None])[:, :, None, None]  # [B, 3, 1, 1]
    features = VisionFeatures(
        tuple(level[chosen] for level in batch.features.levels), batch.features.tokens[chosen], batch.features.grid
    )
    differences = Residuals(
        tuple(level[chosen] * factor for level in batch.residuals.maps),
        batch.residuals.difference[chosen] * keep[:, None, None, None],
        batch.residuals.given[chosen] * keep,
    )
    return Batch(
        features=features,
        residuals=differences,
        target=batch.target[chosen],
        weight=batch.weight[chosen],
        pixels=batch.pixels[rows] if len(batch.pixels) else batch.pixels,
        origins=[
            batch.origins[row] if row not in set(forget) else replace(batch.origins[row], references=0) for row in rows
        ],
    )
