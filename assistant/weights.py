"""Files of a weights folder, and what of the model each holds. Tensors are safetensors only; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from assistant.errors import WeightsError

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
    tensors = {
        name: tensor.detach().float().contiguous()
        for name, tensor in module.state_dict().items()
        if name.startswith(parts)
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".partial")
    save_file(tensors, aside)
    aside.replace(file)


def load_parts(module: nn.Module, parts: tuple[str, ...], file: Path) -> None:
    """Fills the tensors of `module` whose names begin with one of `parts` from `file`.

    Raises:
        WeightsError: the file is missing or damaged, or names or shapes differ; the first difference is named.
    """
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise WeightsError(f"The weights file {file.name} is missing from {file.parent.name}.") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {file.name} is damaged ({error}).") from None
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
