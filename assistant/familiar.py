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
        learned: [n] bool: which centres are of whole sets that were trained on, and not of a scene or a correction.
        near, far: distance to those up to which a product is wholly known, and from which it is new; 0 <= near < far.
    """

    centres: Tensor
    cut: float
    learned: Tensor
    near: float
    far: float

    def distance(self, descriptor: Tensor) -> float:
        """Cosine distance 0..2 of a descriptor [1, D], a unit vector, to the nearest centre."""
        return 1 - float((self.centres @ descriptor.T).amax())

    def known(self, descriptors: Tensor) -> float:
        """How far the product of these pictures, [n, D] unit vectors, is one that the model learned from, 0..1."""
        if not self.learned.any():
            return 0.0
        distance = float((1 - (descriptors @ self.centres[self.learned].T).amax(dim=1)).mean())
        return min(1.0, max(0.0, (self.far - distance) / (self.far - self.near)))

    def save(self, file: Path) -> None:
        """Writes the file, aside first."""
        aside = file.with_suffix(".partial")
        numbers = torch.tensor([self.cut, self.near, self.far], dtype=torch.float64)
        save_file({"centres": self.centres.contiguous(), "learned": self.learned, "distances": numbers}, aside)
        aside.replace(file)

    @classmethod
    def load(cls, file: Path, size: int) -> Familiar:
        """Reads the file; `size` is the D of the tower.

        Raises:
            WeightsError: damaged, or of another shape.
        """
        try:
            tensors = load_file(file)
            centres, learned = tensors["centres"].float(), tensors["learned"].bool()
            cut, near, far = tensors["distances"].tolist()
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
            raise WeightsError(f"The weights file {file.name} is damaged.") from None
        if not 0 <= near < far or learned.shape != centres.shape[:1]:
            raise WeightsError(f"The weights file {file.name} holds what cannot be.")
        if centres.ndim != 2 or centres.shape[1] != size or not len(centres):
            raise WeightsError(f"The weights file {file.name} is of another tower.")
        return cls(centres, cut, learned, near, far)
