"""What the pictures that a model knows look like as a whole, so that it can say when one is unlike all of them.

Of a product that it knows it also keeps from which score on its pictures are called anomalous: normal pictures of one
product may look more suspicious than anomalous ones of another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from assistant.errors import WeightsError
from assistant.threshold import Normals

SCENE = -1
"""The product of a centre that is a scene or a correction by itself."""
MOSTLY = 0.5
"""How far pictures must be of a known product to count as pictures of it, 0..1."""
WAYS = ("alone", "lone", "held")
"""How a normal picture is judged: without references, against a single one, against several."""


@dataclass(frozen=True, eq=False)
class Familiar:
    """Stored beside the weights as one safetensors file.

    Attributes:
        centres: [n, D] unit vectors: middles of groups of known pictures' descriptors, see `memory.describe`.
        cut: cosine distance 0..2 to the nearest centre from which a picture is unlike all of them.
        new: the distance from which a picture that is of no known product shows a new one, 0..2.
        products: [n] int64: number of the product, a whole set that was trained on, that each centre is of; or SCENE.
        near, far: [G] for each product the distance to its centres up to which a picture is wholly of it, and from
            which it is not at all; 0 <= near < far.
        tipping: [G, 3] for each of WAYS how far, in calibrated logits, the point at which normal and anomalous pictures
            of the product balance lies over that of all products; 0 where it is not higher, NaN where it has not been
            measured.
        judged: [G] int64: pictures that was measured on.
        normals: [G, 3, 4] for each of WAYS mean, between and within of `threshold.Normals` of its normal pictures, and
            how many there were; NaN where they have not been measured.
    """

    centres: Tensor
    cut: float
    new: float
    products: Tensor
    near: Tensor
    far: Tensor
    tipping: Tensor = field(default_factory=lambda: torch.zeros(0, len(WAYS)))
    judged: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    normals: Tensor = field(default_factory=lambda: torch.zeros(0, len(WAYS), 4))

    def distance(self, descriptor: Tensor) -> float:
        """Cosine distance 0..2 of a descriptor [1, D], a unit vector, to the nearest centre."""
        return 1 - float((self.centres @ descriptor.T).amax())

    def product_of(self, descriptors: Tensor) -> tuple[int, float]:
        """The known product that pictures, [n, D] unit vectors, are most likely of, and how far they are, 0..1.

        (SCENE, 0) where they are of none.
        """
        best, most = SCENE, 0.0
        for product in range(len(self.near)):
            mine = self.centres[self.products == product]
            distance = float((1 - (descriptors @ mine.T).amax(dim=1)).mean())
            near, far = float(self.near[product]), float(self.far[product])
            share = min(1.0, max(0.0, (far - distance) / (far - near)))
            if share > most:
                best, most = product, share
        return best, most

    def known(self, descriptors: Tensor) -> float:
        """How far the product of these pictures, [n, D] unit vectors, is one that the model learned from, 0..1."""
        return self.product_of(descriptors)[1]

    def are_one(self, one: Tensor, other: Tensor) -> bool:
        """Whether pictures, two [n, D] of unit vectors, are MOSTLY of one known product."""
        (product, share), (same, also) = self.product_of(one), self.product_of(other)
        return product == same != SCENE and min(share, also) >= MOSTLY

    def normals_of(self, product: int, way: str) -> tuple[Normals, int] | None:
        """What normal pictures of a product score, and how many were measured; None where none were."""
        if product == SCENE or product >= len(self.normals):
            return None
        mean, between, within, count = self.normals[product, WAYS.index(way)].tolist()
        return None if math.isnan(mean) else (Normals(mean, between, within), int(count))

    def tipping_of(self, product: int, way: str) -> tuple[float, int] | None:
        """`tipping` and `judged` of a product, None where they have not been measured."""
        if product == SCENE or product >= len(self.tipping):
            return None
        higher = float(self.tipping[product, WAYS.index(way)])
        count = int(self.judged[product])
        return None if math.isnan(higher) or not count else (higher, count)

    def save(self, file: Path) -> None:
        """Writes the file, aside first."""
        aside = file.with_suffix(".partial")
        save_file(
            {
                "centres": self.centres.contiguous(), "products": self.products, "near": self.near.double(),
                "far": self.far.double(), "tipping": self.tipping.double(), "judged": self.judged,
                "normals": self.normals.double(), "distances": torch.tensor([self.cut, self.new], dtype=torch.float64),
            },
            aside,
        )  # fmt: skip
        aside.replace(file)

    @classmethod
    def load(cls, file: Path, size: int) -> Familiar:
        """Reads the file; `size` is the D of the tower.

        Raises:
            WeightsError: damaged, or of another shape.
        """
        try:
            found = cls._of(load_file(file))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
            raise WeightsError(f"The weights file {file.name} is damaged.") from None
        count = len(found.near)
        fits = found.products.shape == found.centres.shape[:1] and found.far.shape == (count,)
        numbered = fits and bool(((found.products >= SCENE) & (found.products < count)).all())
        measured = found.tipping.shape[1:] == (len(WAYS),) and (
            len(found.tipping) == len(found.judged) == len(found.normals)
        )
        if not numbered or not measured or bool((found.near >= found.far).any() or (found.near < 0).any()):
            raise WeightsError(f"The weights file {file.name} holds what cannot be.")
        if found.centres.ndim != 2 or found.centres.shape[1] != size or not len(found.centres):
            raise WeightsError(f"The weights file {file.name} is of another tower.")
        return found

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor]) -> Familiar:
        centres = tensors["centres"].float()
        if "learned" in tensors:  # of weights trained before products were told apart: each centre counts as one
            learned = tensors["learned"].bool()
            cut, near, far = tensors["distances"].tolist()
            products = torch.where(learned, learned.cumsum(0) - 1, SCENE)
            edges = torch.full((int(learned.sum()),), near), torch.full((int(learned.sum()),), far)
            return cls(centres, cut, far, products, *edges)
        cut, new = tensors["distances"].tolist()
        tipping = tensors["tipping"]
        if tipping.ndim == 1:  # of weights whose balanced points were measured without references alone
            tipping = torch.stack([tipping, *[torch.full_like(tipping, torch.nan)] * (len(WAYS) - 1)], dim=1)
        return cls(
            centres, cut, new, tensors["products"].long(), tensors["near"], tensors["far"], tipping,
            tensors["judged"].long(), tensors["normals"],
        )  # fmt: skip
