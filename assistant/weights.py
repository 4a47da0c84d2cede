"""Files of a weights folder, and what of the model each holds. Tensors are safetensors only; nothing is unpickled."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TypeVar

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PretrainedConfig

from assistant.errors import WeightsError

Config = TypeVar("Config", bound=PretrainedConfig)

LOOK_FILE = "look.safetensors"
LANGUAGE_FILE = "language.safetensors"
ADAPTER_FOLDER = "adapter"
CALIBRATION_FILE = "calibration.json"
FAMILIAR_FILE = "familiar.safetensors"

LOOK_PARTS = ("selector.", "heatmap.", "kinds.", "fusion.")
"""Trained parts of LookModel; the tower comes from its package."""
LANGUAGE_PARTS = ("projector.", "map_tokens.", "embedding_scale")
"""Trained parts around the language model; its LoRA has a folder of its own."""


def save_parts(module: nn.Module, parts: tuple[str, ...], file: Path) -> None:
    """Writes the tensors of `module` whose names begin with one of `parts`, aside first, then renamed into place."""
    save_tensors({name: tensor for name, tensor in module.state_dict().items() if name.startswith(parts)}, file)


def save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Writes tensors in float32, aside first, then renamed into place."""
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".partial")
    save_file(tensors, aside)
    aside.replace(file)


def load_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a weights file; raises WeightsError when it is missing or damaged."""
    try:
        return load_file(file)
    except FileNotFoundError:
        raise WeightsError(f"The weights file {file.name} is missing from {file.parent.name}.") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {file.name} is damaged ({error}).") from None


def load_parts(module: nn.Module, parts: tuple[str, ...], file: Path) -> None:
    """Fills the tensors of `module` whose names begin with one of `parts` from `file`.

    Raises:
        WeightsError: the file is missing or damaged, or names or shapes differ; the first difference is named.
    """
    tensors = load_tensors(file)
    own = {name: tensor for name, tensor in module.state_dict().items() if name.startswith(parts)}
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors:
            raise WeightsError(f"The weights file {file.name} has no tensor {name}.")
        if name not in own:
            raise WeightsError(f"The weights file {file.name} has an unknown tensor {name}.")
        if own[name].shape != tensors[name].shape:
            raise WeightsError(
                f"The tensor {name} of {file.name} has shape {tuple(tensors[name].shape)}, "
                f"not {tuple(own[name].shape)}."
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def read_config(folder: Path, kind: type[Config]) -> Config:
    """The configuration of a weights folder.

    Raises:
        WeightsError: missing, or not a configuration of this kind.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if values.get("model_type") != kind.model_type:
            raise ValueError(f"model_type is {values.get('model_type')!r}")
        return kind(**values)
    except FileNotFoundError:
        raise WeightsError(f"The configuration config.json is missing from {folder.name}.") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"The configuration of {folder.name} cannot be read ({error}).") from None


def with_adapter(model: nn.Module, folder: Path) -> PeftModel:
    """A model with the PEFT adapter of a folder on it; raises WeightsError when it is missing or cannot be loaded."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise WeightsError(f"The adapter is missing from {folder.parent.name}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft still asks transformers by an old name
            return PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"The adapter of {folder.parent.name} cannot be loaded ({error}).") from None
