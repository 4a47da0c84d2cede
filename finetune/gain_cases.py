"""Pictures of the training folds held against references of their product: what gains are chosen on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from assistant.anyres import Views, stitch
from assistant.configuration import LookTwiceVisionConfig
from assistant.look_model import LookModel
from assistant.memory import Seen, held_out, joined, see, usual_of
from assistant.mirrors import mirror
from assistant.onevision import OneVisionLook
from assistant.processing import fit_size, normalise, resize
from assistant.reference import References, Residuals
from assistant.siglip import ViewFeatures
from assistant.vision import VisionFeatures
from data.products import draw_product
from data.schema import Record
from data.synth import draw_defect
from finetune.dataset import shrink_mask, variants

PICTURES = 20
"""Pictures of a product and label that are judged; those that no weight was fitted on come first."""
MOST = 3
"""Products of a set that are judged."""
LEAST = 10
"""Normal pictures, beside those judged, that a product needs to draw references from."""
DRAWS = ((0,), (1,), (0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 6, 7))
"""Which of the references drawn of a product they are held against, each in turn."""
MOST_REFERENCES = 1 + max(map(max, DRAWS))
DRAWN_FIRST = 4
"""References of a drawn product that are drawn before what is judged; what is judged depends on their number."""
OWN_PRODUCTS = 24
"""Drawn products that are judged: of these, unlike most real ones, two normal pictures hardly differ."""
OWN_PICTURES = 4
"""Pictures of each and label."""
MAP_SIDE = 96
"""Longest side of the maps that are compared."""
SIDE = 384
"""Side of the drawn products, pixels."""
SEED = 77


@dataclass(frozen=True, eq=False)
class Case:
    """A picture held against references of its product, as one judge sees it.

    Attributes:
        group: set, category, number of references, and whether the judge knows the product.
        label: 0 or 1.
        score: fused image logit without the references' gain.
        top, bulk: of `assistant.reference.Residuals`; of a picture in views those of the one whose top is highest.
        usual: of the references, None for a single one.
        logits: [h, w] of the map without the references' gain.
        distance: [h, w] of `Residuals.mean_distance`, of a picture in views stitched as the map is. The look stitches
            sums of both instead, which is never more: normals are no brighter than is chosen here.
        regions: [h, w] int, numbered connected regions of the mask, 0 for normal; None where it is not known.
    """

    group: tuple[str, str, int, bool]
    label: int
    score: float
    top: float
    bulk: float
    usual: float | None
    logits: np.ndarray
    distance: np.ndarray
    regions: np.ndarray | None


class Sight(Protocol):
    """How pictures reach a tower; a profile's processor is one."""

    def pixels(self, picture: np.ndarray, size: tuple[int, int] | None = None) -> Tensor | Views:
        """[H, W, 3] uint8 at `size` = (width, height), the tower's own when None -> what the tower takes."""

    def fit_size(self, width: int, height: int, side: int | None = None) -> tuple[int, int]:
        """(width, height) at which a picture of so many pixels is looked at."""


@dataclass(frozen=True)
class PlainSight:
    """Of a packaged tower, whose processor would want the language model as well."""

    vision: LookTwiceVisionConfig

    def pixels(self, picture: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """See `Sight`; [1, 3, h, w]."""
        return normalise(resize(picture, size or self.fit_size(picture.shape[1], picture.shape[0])), self.vision)[None]

    def fit_size(self, width: int, height: int, side: int | None = None) -> tuple[int, int]:
        """See `Sight`."""
        return fit_size(width, height, self.vision, side)


class Picture(NamedTuple):
    """A picture [H, W, 3] uint8, its mask [H, W] bool or None where the place is not known, its label 0 or 1."""

    pixels: np.ndarray
    mask: np.ndarray | None
    label: int


def products_of(records: Sequence[Record]) -> dict[tuple[str, str], tuple[list[Record], list[Record]]]:
    """Products that can be judged, at most MOST of a set, by set and category.

    Returns:
        For each the pictures to judge, and other normals to draw references from.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.split in ("fit", "calibrate"):
            groups[record.dataset, record.category].append(record)
    found: dict[tuple[str, str], tuple[list[Record], list[Record]]] = {}
    for product, group in sorted(groups.items()):
        if sum(dataset == product[0] for dataset, _ in found) == MOST:
            continue
        rng = np.random.default_rng(len(group))
        mixed = [group[index] for index in rng.permutation(len(group))]
        mixed.sort(key=lambda record: record.split)  # "calibrate" before "fit"
        normal, anomalous = ([record for record in mixed if record.label == label] for label in (0, 1))
        if anomalous and len(normal) >= PICTURES + LEAST:
            found[product] = (normal[:PICTURES] + anomalous[:PICTURES], normal[PICTURES:])
    return found


def pictured(records: Sequence[Record]) -> Iterator[Picture]:
    """Pictures of records, read one by one; the mask is None where the place of an anomaly is not known."""
    for record in records:
        pixels = record.read_image()
        blank = np.zeros(pixels.shape[:2], bool)
        mask = blank if not record.label else record.read_mask() if record.supervision == "mask" else None
        yield Picture(pixels, mask, record.label)


def own_product(number: int, family: str | None = None) -> tuple[list[Picture], list[np.ndarray]]:
    """A drawn product: pictures to judge, half with a drawn defect, and references.

    Args:
        number: of the product; another number is another product.
        family: of `data.products.PRODUCTS`, any of them when left out.
    """
    rng = np.random.default_rng([SEED, number])
    scene = draw_product(rng, (SIDE, SIDE), family)

    def take() -> np.ndarray:
        return variants(scene, rng)[0]

    known = [take() for _ in range(DRAWN_FIRST)]
    tested = [Picture(normal, np.zeros(normal.shape[:2], bool), 0) for normal in (take() for _ in range(OWN_PICTURES))]
    for index in range(OWN_PICTURES):
        try:
            drawn = draw_defect(take(), rng, None if index else "foreign_object")
        except ValueError:  # nothing visible could be drawn here
            continue
        tested.append(Picture(drawn.image, drawn.mask, 1))
    return tested, known + [take() for _ in range(MOST_REFERENCES - DRAWN_FIRST)]


def cases_of(
    product: tuple[str, str],
    tested: Iterable[Picture],
    known: Sequence[np.ndarray],
    judges: Mapping[bool, Sequence[LookModel | OneVisionLook]],
    sight: Sight,
) -> list[Case]:
    """All cases of a product.

    Args:
        product: set and category.
        tested: pictures to judge.
        known: normal pictures [H, W, 3] uint8, enough for DRAWS.
        judges: by whether they know the product, without gains; their towers are the same.
        sight: of that tower.
    """
    model = next(judge for group in judges.values() for judge in group)
    size = sight.fit_size(known[0].shape[1], known[0].shape[0])
    with torch.inference_mode():
        seen = [see(model, sight.pixels(pixels, size)) for pixels in known]
        memories = [memory_of(model, [seen[index] for index in draw]) for draw in DRAWS]
    cases = []
    for picture in tested:
        with torch.inference_mode():
            features = model.see(sight.pixels(picture.pixels))
            alone = {judge: judge.alone(features) for group in judges.values() for judge in group}
            for memory in memories:
                differences = model.compare(features, memory)
                farthest = int(differences.top.argmax())
                facts = model.top(differences), float(differences.bulk[farthest]), memory.usual
                distance = _whole(features, differences)
                cells = cells_of(distance, features)
                far, regions = _drawn_at(distance, cells), regions_of(picture.mask, cells)
                for familiar, judge in ((known, judge) for known, group in judges.items() for judge in group):
                    output = judge.decide(features, replace(differences, alone=alone[judge]))
                    logits, score = _drawn_at(output.heatmap_logits, cells), float(output.score_logit[0])
                    group = (*product, memory.count, familiar)
                    cases.append(Case(group, picture.label, score, *facts, logits, far, regions))
    return cases


def cells_of(distance: Tensor, features: VisionFeatures) -> tuple[int, int]:
    """(rows, columns) at which maps are compared: those of the look's own map, at most MAP_SIDE."""
    high, wide = distance.shape[-2:] if isinstance(features, ViewFeatures) else features.levels[0].shape[-2:]
    shrink = min(1.0, MAP_SIDE / max(high, wide))
    return max(1, round(high * shrink)), max(1, round(wide * shrink))


def _whole(features: VisionFeatures, differences: Residuals) -> Tensor:
    """`Residuals.mean_distance` of one picture [1, 1, h, w]: the mean over its mirror images, its views stitched."""
    if not isinstance(features, ViewFeatures):
        rows = differences.mean_distance.split(1)
        return torch.stack([mirror(row, number) for number, row in enumerate(rows)]).mean(dim=0)
    return stitch(differences.mean_distance[:, 0], features.views.boxes)[None, None]


def memory_of(model: LookModel | OneVisionLook, seen: Sequence[Seen]) -> References:
    """One memory of pictures of one size, with what is usual of them, as a look holds pictures against."""
    memory = joined([one.part for one in seen], len(seen))
    return replace(memory, usual=usual_of(model, held_out(model, seen, memory, range(len(seen))).values()))


def _drawn_at(drawn: Tensor, cells: tuple[int, int]) -> np.ndarray:
    """A map [1, 1, H, W] at another size, [h, w]."""
    return F.interpolate(drawn, cells, mode="bilinear", align_corners=False)[0, 0].cpu().numpy()


def regions_of(mask: np.ndarray | None, cells: tuple[int, int]) -> np.ndarray | None:
    """Numbered regions [h, w] of a mask [H, W] bool, 0 where it is normal; None for an anomaly of unknown place."""
    return None if mask is None else ndimage.label(shrink_mask(mask, cells[::-1]), np.ones((3, 3)))[0]
