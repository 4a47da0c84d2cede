"""Looks of the frozen look stage at training pictures, made once and kept: what the language stage is trained on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from assistant.calibration import Calibration
from assistant.familiar import Familiar
from assistant.kinds import likely_kinds
from assistant.look_model import TOKEN_KINDS, LookModel, LookTokens
from assistant.memory import describe
from assistant.picture import PictureFacts, picture_facts
from assistant.regions import find_regions
from assistant.types import SUSPICIOUS, Region
from finetune.features import Batch, choose, read_batch

CHUNK = 32
"""Cached batches of one file of looks; an interrupted run goes on at the next file."""


@dataclass(frozen=True)
class KnownLook:
    """A look and the truth about its picture.

    Attributes:
        score: calibrated, 0..1.
        regions: of the map.
        kinds: as the look names them.
        picture: facts of the whole picture.
        references: how many it was held against.
        label: 0 or 1, the truth.
        defect: defect type of the record, or kind of the drawn defect.
        source: set, "photograph", "product" or "drawn:<kind>".
    """

    score: float
    regions: tuple[Region, ...]
    kinds: tuple[tuple[str, float], ...]
    picture: PictureFacts
    references: int
    label: int
    defect: str
    source: str

    @property
    def is_right(self) -> bool:
        """Whether the verdict at the balanced threshold is the truth."""
        return (self.score > 0.5) == (self.label == 1)


def make_looks(
    model: LookModel,
    calibration: Calibration,
    files: list[Path],
    out: Path,
    seed: int = 0,
    forget: float = 0.4,
    familiar: Familiar | None = None,
) -> None:
    """Writes `looks-<n>.safetensors` and `looks-<n>.jsonl` for every CHUNK cached batches; files that exist are kept.

    Args:
        model: its trained parts judge; its tower is not called.
        calibration: of the look stage.
        files: of `features.make_features`.
        out: folder of the looks.
        seed, forget: which share of the referenced samples is judged without its references.
        familiar: what the model knows: how far references count depends on it.
    """
    out.mkdir(parents=True, exist_ok=True)
    starts = [start for start in range(0, len(files), CHUNK) if not _files(out, start)[1].is_file()]
    for start in tqdm(starts, desc="looks", unit="file"):
        tokens: dict[str, list[torch.Tensor]] = {name: [] for name in TOKEN_KINDS}
        known: list[KnownLook] = []
        for file in files[start : start + CHUNK]:
            batch = read_batch(file, pixels=True)
            rng = np.random.default_rng([seed, int(file.stem), 4])
            rows = list(range(len(batch.origins)))
            batch = choose(batch, rows, [row for row in rows if rng.random() < forget])
            looked, facts = look_at(model, calibration, batch, familiar)
            known += facts
            for name in TOKEN_KINDS:
                tokens[name].append(getattr(looked, name).half())
        tensors, rows_file = _files(out, start)
        save_file({name: torch.cat(values) for name, values in tokens.items()}, tensors)
        aside = rows_file.with_suffix(".partial")
        aside.write_text("".join(json.dumps(asdict(row)) + "\n" for row in known), encoding="utf-8")
        aside.replace(rows_file)


def look_at(
    model: LookModel, calibration: Calibration, batch: Batch, familiar: Familiar | None = None
) -> tuple[LookTokens, list[KnownLook]]:
    """Looks at a cached batch; as `Inspector.look` does it, at half the tower's size.

    Cached features do not say how alike the references are: all count as a single one does.
    """
    with torch.inference_mode():
        differences, trust = batch.residuals, torch.ones(len(batch.origins))
        if familiar is not None:
            seen = describe(batch.features.tokens, batch.features.grid, model.config.visual_grid)
            known = torch.tensor([familiar.known(one[None]) for one in seen])
            differences = replace(differences, known=known * differences.given)
            trust = torch.tensor([calibration.kind_trust(float(one)) for one in known])
        output = model.single(batch.features, differences)
        size = batch.pixels.shape[1:3]
        logits = F.interpolate(output.heatmap_logits.float(), size=size, mode="bilinear", align_corners=False)
    maps = torch.sigmoid(logits[:, 0] + calibration.pixel_bias).numpy()
    names = model.config.heatmap_config.kinds
    known = []
    for row, origin in enumerate(batch.origins):
        pixels = batch.pixels[row]
        score = calibration.score(float(output.score_logit[row]), () if origin.references else None)
        regions = find_regions(maps[row], pixels, SUSPICIOUS, pixels.shape[1::-1])
        known.append(
            KnownLook(
                score=score,
                regions=regions,
                kinds=likely_kinds(score, regions, trust[row] * output.kind_logits[row], names),
                picture=picture_facts(pixels),
                references=origin.references,
                label=origin.label,
                defect=origin.defect,
                source=origin.source,
            )
        )
    comparison = output.selection.comparison  # zeros for looks without references: their prompts do not hold them
    return replace(output.tokens, comparison=comparison), known


def read_looks(out: Path) -> tuple[dict[str, torch.Tensor], list[KnownLook]]:
    """All looks of a folder: tokens of each of TOKEN_KINDS, [N, n, D] half, and N known looks."""
    tokens: dict[str, list[torch.Tensor]] = {name: [] for name in TOKEN_KINDS}
    known: list[KnownLook] = []
    for rows in sorted(out.glob("looks-*.jsonl")):
        for name, values in load_file(rows.with_suffix(".safetensors")).items():
            tokens[name].append(values)
        for line in rows.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["regions"] = tuple(Region(**{**region, "box": tuple(region["box"])}) for region in row["regions"])
            row["kinds"] = tuple((name, share) for name, share in row["kinds"])
            row["picture"] = PictureFacts(**row["picture"])
            known.append(KnownLook(**row))
    return {name: torch.cat(values) for name, values in tokens.items()}, known


def _files(out: Path, start: int) -> tuple[Path, Path]:
    return out / f"looks-{start:06d}.safetensors", out / f"looks-{start:06d}.jsonl"


def generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of conversation `index`."""
    return np.random.default_rng([seed, index, 7])
