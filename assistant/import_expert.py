"""Anomaly-OneVision's published expert as weights of ours.

    python -m assistant.import_expert pretrained_expert_7b.pth --profile onevision-7b --out DIR

The file is a state dict of tensors (Xu et al., CVPR 2025, arXiv 2502.07601); nothing else of it is read. The folder
then loads by its name: `python -m assistant part.png --profile DIR`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from transformers import LlavaOnevisionConfig

from assistant.command import run
from assistant.errors import ProfileError, WeightsError
from assistant.expert import ExpertSelector
from assistant.onevision_config import OneVisionConfig, config_for
from assistant.onevision_loading import checkpoint_config
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE, save_tensors

LAYERS = {
    "pooling_layer.0": "pool",
    "class_predictor.0": "descriptor.0",
    "class_predictor.2": "descriptor.2",
    "q_former.query_proj": "query",
    "q_former.key_proj": "key",
    "final_predictor.0": "score.0",
    "final_predictor.2": "score.2",
}
"""Linear layers by their published names, and by ours."""
EMBEDDINGS = {"negative_embedding": "anomalous", "positive_embedding": "normal"}
"""The published code takes the channel of the "negative" embedding as the anomalous one."""


def published_names(levels: int) -> dict[str, str]:
    """Published name -> name in `ExpertSelector` of every tensor, for so many levels."""
    numbered = {f"siglip_adaptors.{n}": f"adapters.{n}" for n in range(levels)}
    numbered |= {f"prompt_adaptors.{n}": f"prompts.{n}" for n in range(levels)}
    layers = (LAYERS | numbered).items()
    return EMBEDDINGS | {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in layers for part in ("weight", "bias")}


def read_expert(file: Path) -> dict[str, Tensor]:
    """The tensors of a published file.

    Raises:
        WeightsError: no such file, damaged, or something else than tensors by name.
    """
    if not file.is_file():
        raise WeightsError(f"There is no file '{file.name}'.")
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch has a dozen errors for files that are torn or hold objects
        raise WeightsError(f"The file '{file.name}' is damaged or holds more than tensors.") from None
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items()
    ):
        raise WeightsError(f"The file '{file.name}' is no state dict: tensors by name are wanted.")
    return values


def expert_tensors(published: dict[str, Tensor], config: OneVisionConfig) -> dict[str, Tensor]:
    """A published state dict as the tensors of `ExpertSelector`, in float32.

    The residuals of references, which the paper does not have, begin at zero: they then change nothing.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape; the first one is named as in the file.
    """
    with torch.device("meta"):
        wanted = ExpertSelector(config).state_dict()
    names = published_names(len(config.vision_config.channels))
    for name in sorted(names.keys() | published.keys()):
        if name not in published:
            raise WeightsError(f"The expert has no tensor {name}.")
        if name not in names:
            raise WeightsError(f"The expert has an unknown tensor {name}.")
        shape = wanted[names[name]].shape
        given = published[name].shape
        if (given[1:] if name in EMBEDDINGS and given[:1] == (1,) else given) != shape:
            raise WeightsError(f"The tensor {name} has shape {tuple(given)}, this profile wants {tuple(shape)}.")
    tensors = {ours: published[theirs].float().reshape(wanted[ours].shape) for theirs, ours in names.items()}
    tensors |= {name: torch.zeros(value.shape) for name, value in wanted.items() if name.startswith("residual.")}
    return tensors


def import_expert(file: Path, checkpoint: LlavaOnevisionConfig, base: str, out: Path) -> OneVisionConfig:
    """Writes configuration and look weights for a checkpoint to `out`; without heatmap head and calibration.

    Args:
        file: the published file.
        checkpoint: configuration of the LLaVA-OneVision checkpoint it belongs to.
        base: folder or hub name of that checkpoint.
        out: new or empty folder.

    Raises:
        WeightsError: as `read_expert` and `expert_tensors`, or `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"The folder '{out.name}' is not empty.", "Name a new one with --out.")
    config = config_for(checkpoint, parts=["selector"], heatmap_config={"kinds": []}, base=base)
    tensors = expert_tensors(read_expert(file), config)
    out.mkdir(parents=True, exist_ok=True)
    save_tensors({f"selector.{name}": value for name, value in tensors.items()}, out / LOOK_FILE)
    config.save_pretrained(out)
    return config


def main(
    file: Annotated[Path, typer.Argument(help="pretrained_expert_05b.pth or pretrained_expert_7b.pth.")],
    out: Annotated[Path, typer.Option(help="New folder for the weights.")],
    profile: Annotated[str, typer.Option(help="The checkpoint it belongs to.")] = "onevision-7b",
) -> None:
    """Import the published expert of Anomaly-OneVision."""
    chosen = read_profile(profile)
    if not chosen.checkpoint:
        raise ProfileError(f"The profile {chosen.name} is no LLaVA-OneVision profile.")
    config = import_expert(file, checkpoint_config(chosen.checkpoint), chosen.checkpoint, out)
    taps = ", ".join(map(str, config.taps))
    typer.echo(f"wrote {out}: the selector on blocks {taps} of {chosen.checkpoint}; not calibrated")


if __name__ == "__main__":
    run(main)
