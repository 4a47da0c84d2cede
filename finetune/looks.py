"""Looks of the frozen look stage at training pictures, made once and kept: what the language stage is trained on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from assistant.calibration import PIXEL_THRESHOLD, Calibration
from assistant.modeling import LookModel, LookTokens
from assistant.processing import normalise
from assistant.regions import find_regions
from assistant.types import Region
from finetune.dataset import LookDataset, Sample

CHUNK = 512
"""Looks of one file; an interrupted run goes on at the next file."""


@dataclass(frozen=True)
class KnownLook:
    """A look and the truth about its picture.

    Attributes:
        score: calibrated, 0..1.
        regions: of the map.
        label: 0 or 1, the truth.
        defect: defect type of the record, or kind of the drawn defect.
        source: set, "photograph", "product" or "drawn:<kind>".
    """

    score: float
    regions: tuple[Region, ...]
    label: int
    defect: str
    source: str


class _Samples(Dataset):
    """Raw samples of a LookDataset by number."""

    def __init__(self, dataset: LookDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset.sample(index)


def make_looks(model: LookModel, calibration: Calibration, dataset: LookDataset, out: Path) -> None:
    """Writes `looks-<n>.safetensors` and `looks-<n>.jsonl` for every CHUNK samples; files that exist are kept."""
    out.mkdir(parents=True, exist_ok=True)
    starts = [start for start in range(0, len(dataset), CHUNK) if not _files(out, start)[1].is_file()]
    for start in tqdm(starts, desc="looks", unit="file"):
        indices = range(start, min(start + CHUNK, len(dataset)))
        loader = DataLoader(
            torch.utils.data.Subset(_Samples(dataset), indices),
            batch_size=dataset.batch, num_workers=1, collate_fn=list,
        )  # fmt: skip
        tokens: dict[str, list[torch.Tensor]] = {"visual": [], "suspicious": [], "map": []}
        known: list[KnownLook] = []
        for samples in loader:
            looked, facts = look_at(model, calibration, samples)
            known += facts
            for name, values in vars(looked).items():
                tokens[name].append(values.half())
        tensors, rows = _files(out, start)
        save_file({name: torch.cat(values) for name, values in tokens.items()}, tensors)
        aside = rows.with_suffix(".partial")
        aside.write_text("".join(json.dumps(asdict(row)) + "\n" for row in known), encoding="utf-8")
        aside.replace(rows)


def look_at(model: LookModel, calibration: Calibration, samples: list[Sample]) -> tuple[LookTokens, list[KnownLook]]:
    """Looks at samples of one size; as `Inspector.look` does it, but in a batch."""
    pixels = torch.stack([normalise(sample.pixels, model.config.vision_config) for sample in samples])
    with torch.inference_mode():
        output = model(pixels)
        logits = F.interpolate(
            output.heatmap_logits.float(), size=pixels.shape[-2:], mode="bilinear", align_corners=False
        )
    maps = torch.sigmoid(logits[:, 0] + calibration.pixel_bias).numpy()
    known = [
        KnownLook(
            score=calibration.score(float(logit)),
            regions=find_regions(heatmap, sample.pixels, PIXEL_THRESHOLD, sample.pixels.shape[1::-1]),
            label=sample.label,
            defect=sample.kind,
            source=sample.source,
        )
        for sample, heatmap, logit in zip(samples, maps, output.score_logit, strict=True)
    ]
    return output.tokens, known


def read_looks(out: Path) -> tuple[dict[str, torch.Tensor], list[KnownLook]]:
    """All looks of a folder: tokens {"visual" | "suspicious" | "map": [N, n, D] half} and N known looks."""
    tokens: dict[str, list[torch.Tensor]] = {"visual": [], "suspicious": [], "map": []}
    known: list[KnownLook] = []
    for rows in sorted(out.glob("looks-*.jsonl")):
        for name, values in load_file(rows.with_suffix(".safetensors")).items():
            tokens[name].append(values)
        for line in rows.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["regions"] = tuple(Region(**{**region, "box": tuple(region["box"])}) for region in row["regions"])
            known.append(KnownLook(**row))
    return {name: torch.cat(values) for name, values in tokens.items()}, known


def _files(out: Path, start: int) -> tuple[Path, Path]:
    return out / f"looks-{start:06d}.safetensors", out / f"looks-{start:06d}.jsonl"


def generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of conversation `index`."""
    return np.random.default_rng([seed, index, 7])
