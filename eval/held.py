"""Tested pictures of a product held against its references: the model's way, and two without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from assistant.inspector import Inspector
from assistant.memory import Seen, assemble, describe, kept_of, see
from assistant.mirrors import mirrored
from assistant.own_residual import own_maps, top_mean
from assistant.processing import fit_size
from assistant.reference import Alone, References
from assistant.vision import VisionFeatures
from data.schema import Record
from eval.compared import Pair, against, nearest_of, together
from eval.plain_maps import PlainMap, subspace_map
from eval.products import Product

MAP_SIDE = 192
"""Longest side of the maps that AUPRO is taken on, pixels."""
TOP = 0.01
"""Share of a training-free map whose mean is its image score."""
FUSED = "fused"
"""The model's own score and map; beside it stand the two of `plain_maps` that nothing was trained for."""
MOST_TESTED = 512
"""Tested pictures whose features are kept, about 1 MB each; of more, the ones that were not used for longest go."""
MOST_PAIRED = 16
"""References of which is kept what each tested picture gave against them, about 30 KB a picture."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A tested picture as the tower sees it.

    Attributes:
        levels: of the tower, of the picture and the mirror images that a look is the mean of, in half precision, for
            they are many.
        own: of `assistant.own_residual.own_maps`.
        grey, new, turned: of `VisionFeatures`, the last one in half precision.
        mask: [h, w] bool, where it is known at most MAP_SIDE long with the picture's aspect, else None.
    """

    levels: tuple[Tensor, ...]
    own: tuple[Tensor, ...]
    grey: Tensor | None
    new: Tensor | None
    turned: Tensor | None
    mask: np.ndarray | None

    def whole(self) -> VisionFeatures:
        """The features in single precision."""
        levels = tuple(level.float() for level in self.levels)
        tokens, grid = levels[-1].flatten(2).transpose(1, 2), tuple(levels[-1].shape[-2:])
        turned = self.turned if self.turned is None else self.turned.float()
        return VisionFeatures(levels, tokens, grid, grey=self.grey, new=self.new, turned=turned)


@dataclass(frozen=True, eq=False)
class Held:
    """What tested pictures are held against.

    Attributes:
        memory: as `Inspector.remember` makes it.
        kept: the references whose patches are in it.
        subspace: the map of `plain_maps.subspace_map`.
    """

    memory: References
    kept: tuple[Record, ...]
    subspace: PlainMap


class Judge:
    """Tested pictures and references of one product through the tower once, and what each way says of them.

    Features are kept for MOST_TESTED pictures and what they gave against MOST_PAIRED references, the last ones used.
    """

    def __init__(self, inspector: Inspector, product: Product) -> None:
        self.inspector, self.product = inspector, product
        self.model = inspector.model.look_model
        sizes = [self._size(record) for record in product.known[:20]]
        self.size = max(sorted(set(sizes)), key=sizes.count)
        self.tested = lru_cache(MOST_TESTED)(self._encode)
        self.seen = lru_cache(MOST_PAIRED)(self._see)
        self.pairs = lru_cache(MOST_PAIRED)(self._pairs)
        self.alone = lru_cache(maxsize=None)(self._alone)

    def _size(self, record: Record) -> tuple[int, int]:
        with Image.open(record.image) as image:
            return fit_size(image.width, image.height, self.inspector.processor.config.vision_config)

    def _encode(self, record: Record) -> Encoded:
        with torch.inference_mode():
            familiar, pixels = self.inspector.familiar, self.inspector.processor.pixels(record.read_image())
            features = self.model.see(pixels, familiar.known if familiar else None)
            half = tuple(level.half() for level in features.levels)
            own = own_maps([level.float() for level in half[1:]])
        turned = features.turned if features.turned is None else features.turned.half()
        return Encoded(half, own, features.grey, features.new, turned, _small_mask(record))

    def _see(self, record: Record) -> Seen:
        with torch.inference_mode():
            return see(self.model, self.inspector.processor.pixels(record.read_image(), self.size))

    def _alone(self, record: Record) -> Alone:
        """`Residuals.alone` of a tested picture."""
        encoded = self.tested(record)
        features = encoded.whole()
        return self.model.alone(features, together(features.levels[1:], encoded.own, (), ()))

    def _pairs(self, reference: Record) -> Callable[[Record], Pair]:
        """Holds tested pictures against a reference, each once."""
        compare = against(self.seen(reference).part)
        return lru_cache(MOST_TESTED)(lambda record: compare(self.tested(record).whole().levels[1:]))

    def held(self, records: Sequence[Record]) -> Held:
        """References as pictures are held against them."""
        seen = [self.seen(record) for record in records]
        with torch.inference_mode():
            numbers = range(1, len(seen) + 1)
            memory = assemble(self.model, seen, self.inspector.calibration, numbers, self.inspector.familiar)
            kept = tuple(records[index] for index in kept_of(self.model, seen))
            return Held(memory, kept, subspace_map(memory.levels))

    def threshold(self, record: Record, memory: References | None, rate: float | None) -> float:
        """The score from which the assistant calls this picture anomalous; see `Inspector.threshold`."""
        features = self.tested(record).whole()
        descriptor = describe(features.tokens[:1], features.grid, self.model.config.visual_grid).cpu()
        return self.inspector.threshold(memory, rate, descriptor)[0]

    def judge(self, record: Record, held: Held | None) -> dict[str, tuple[float, Tensor]]:
        """{way: (calibrated score, or mean of the map's top, and map [h, w])} of one tested picture."""
        encoded = self.tested(record)
        features = encoded.whole()
        kept = held.kept if held is not None else ()
        with torch.inference_mode():
            pairs = [self.pairs(reference)(record) for reference in kept]
            parts = [self.seen(reference).part for reference in kept]
            memory = held.memory if held is not None else None
            differences = together(features.levels[1:], encoded.own, pairs, parts, memory)
            against_turned, found = self.model.under(features, 0, memory)
            if against_turned is not memory:
                differences = self.model.compare(features, memory)
            elif found is not None:
                differences = replace(differences, registered=mirrored(found, len(encoded.own[0])))
            output = self.model.decide(features, replace(differences, alone=self.alone(record) if kept else None))
        normals = memory.normals if memory is not None else None
        score = self.inspector.calibration.score(float(output.score_logit[0]), normals)
        found = {FUSED: (score, output.heatmap_logits[0, 0])}
        if held is not None:
            for way, heat in (
                ("nearest", nearest_of(differences)),
                ("subspace", held.subspace([level[:1] for level in features.levels[1:]])),
            ):
                found[way] = (float(top_mean(heat[None, None], TOP)[0]), heat)
        return found


def _small_mask(record: Record) -> np.ndarray | None:
    """[h, w] bool with the picture's aspect, at most MAP_SIDE; None where the mask is not known."""
    mask = record.read_mask() if record.supervision == "mask" else None
    if mask is None:
        return None
    shrink = min(1.0, MAP_SIDE / max(mask.shape))
    height, width = (max(1, round(side * shrink)) for side in mask.shape)
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX))
    return share > 0.25
