"""What the pictures that a model knows look like as a whole, so that it can say when one is unlike all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from assistant.errors import WeightsError


@dataclass(frozen=True, eq=False)
class Familiar:
    """Stored beside the weights as one safetensors file.

    Attributes:
        centres: [n, D] unit vectors: middles of groups of known pictures' descriptors, see `memory.describe`.
        cut: cosine distance 0..2 to the nearest centre from which a picture is unlike all of them.
    """

    centres: Tensor
    cut: float

    def distance(self, descriptor: Tensor) -> float:
        """Cosine distance 0..2 of a descriptor [1, D], a unit vector, to the nearest centre."""
        return 1 - float((self.centres @ descriptor.T).amax())

    def save(self, file: Path) -> None:
        """Writes the file, aside first."""
        aside = file.with_suffix(".partial")
        save_file({"centres": self.centres.contiguous(), "cut": torch.tensor([self.cut], dtype=torch.float64)}, aside)
        aside.replace(file)

    @classmethod
    def load(cls, file: Path, size: int) -> Familiar:
        """Reads the file; `size` is the D of the tower.

        Raises:
            WeightsError: damaged, or of another shape.
        """
        try:
            tensors = load_file(file)
            centres, cut = tensors["centres"].float(), float(tensors["cut"][0])
        except (SafetensorError, OSError, KeyError, IndexError, RuntimeError):
            raise WeightsError(f"The weights file {file.name} is damaged.") from None
        if centres.ndim != 2 or centres.shape[1] != size or not len(centres):
            raise WeightsError(f"The weights file {file.name} is of another tower.")
        return cls(centres, cut)
