"""Pictures for the look stage: real records, drawn defects and clean normals, mixed so that no set drowns another.

Sample number i is a function of (seed, i) alone: a run that resumes sees just what an uninterrupted one sees.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from assistant.configuration import LookTwiceVisionConfig
from assistant.processing import fit_size, normalise, resize
from data.augment import geometric, hard_normal, photometric
from data.photos import photographs
from data.products import draw_product
from data.schema import Record
from data.synth import draw_defect

BOX_WEIGHT = {"deeppcb": 0.5}
"""Weight of a pixel inside a box: boxes of deeppcb sit tight around the defect; other sets' boxes are loose."""
LOOSE_BOX_WEIGHT = 0.2


ASPECTS = {1.0: 0.61, 2 / 3: 0.13, 3 / 2: 0.13, 2 / 5: 0.13}
"""Width over height of a batch, and how often: one shape a batch, few shapes a run, for speed."""


REFERENCE_COUNTS = (1, 1, 1, 2, 2, 4)
"""How many references a referenced sample gets: one of these."""
MISMATCHED = 0.05
"""Share of the referenced samples with references of another product: a strange reference is no proof of a defect."""
ALIGNED = {"deeppcb": 0.6}
"""Sets whose anomalous picture n has an aligned normal template n + 1, and how often it is the reference."""


@dataclass(frozen=True)
class Mix:
    """Shares of a batch, adding up to 1, and the weight of each source of normals for drawn defects.

    Attributes:
        real: real anomalous pictures with masks, boxes or labels.
        drawn: defects drawn on normals.
        clean: normals, real and drawn, under changes that must not fire.
        own_normals: share of the drawn and clean pictures whose normal is a photograph or drawn product of our own.
        objects: share of the drawn defects that are solid foreign objects, plain to see: a head trained on subtle
            defects alone overlooks what every person sees first.
    """

    real: float = 0.27
    drawn: float = 0.38
    clean: float = 0.35
    own_normals: float = 0.5
    objects: float = 0.25
    referenced: float = 0.4


@dataclass(frozen=True)
class Sample:
    """One training picture.

    Attributes:
        pixels: [H, W, 3] uint8 at the tower's size.
        mask: [H, W] bool, all False for normals and where only a label is known.
        weight: [H, W] float32: how much a pixel of the map counts.
        label: 0 or 1.
        source: set, "photograph", "product" or "drawn:<kind>".
        kind: defect type of the record or kind of the drawn defect, "good" for normals.
        dataset: set the picture comes from, "own" for photographs and drawn products.
        references: normal pictures at the tower's size, [H, W, 3] uint8 each; () for a sample without.
    """

    pixels: np.ndarray
    mask: np.ndarray
    weight: np.ndarray
    label: int
    source: str
    kind: str = "good"
    dataset: str = "own"
    references: tuple[np.ndarray, ...] = ()


class LookDataset(Dataset):
    """`length` mixed samples for the look stage.

    Args:
        records: training records ("fit"); sets are drawn with equal weight within anomalous and within normal.
        vision: how pictures are brought to the tower.
        length: number of samples (steps times batch size).
        batch: samples of one batch; they share one size.
        seed: everything random follows from it and the sample's number.
    """

    def __init__(
        self,
        records: list[Record],
        vision: LookTwiceVisionConfig,
        length: int,
        batch: int = 16,
        seed: int = 0,
        mix: Mix | None = None,
    ) -> None:
        self.vision, self.length, self.batch, self.seed, self.mix = vision, length, batch, seed, mix or Mix()
        self.anomalous, self.normal = by_set(records, 1), by_set(records, 0)
        self.products: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in records:
            if record.label == 0:
                self.products[record.dataset, record.category].append(record)
        self.photos = photographs()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = self.sample(index)
        return {
            "pixels": normalise(sample.pixels, self.vision),
            "mask": torch.from_numpy(sample.mask).float(),
            "weight": torch.from_numpy(sample.weight),
            "labels": torch.tensor(float(sample.label)),
        }

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) of the batch that holds sample `index`."""
        rng = np.random.default_rng([self.seed, index // self.batch, 1])
        aspect = rng.choice(list(ASPECTS), p=list(ASPECTS.values()))
        return fit_size(round(1000 * aspect), 1000, self.vision)

    def sample(self, index: int) -> Sample:
        """Sample number `index`, the same on every call."""
        rng = np.random.default_rng([self.seed, index])
        draw = rng.random()
        if draw < self.mix.real and self.anomalous:
            return self._real(rng, self.size(index))
        return self._from_normal(rng, self.size(index), drawn=draw < self.mix.real + self.mix.drawn)

    def _real(self, rng: np.random.Generator, size: tuple[int, int]) -> Sample:
        record = pick(self.anomalous, rng)
        references = self._references(record, rng, size)
        pixels, mask = record.read_image(), record.read_mask()
        if mask is None:
            # without a mask a cut could lose the defect, so the whole picture is used and the map is left free
            shape = pixels.shape[:2]
            pixels, mask, weight = resize(pixels, size), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32)
        else:
            inside = BOX_WEIGHT.get(record.dataset, LOOSE_BOX_WEIGHT) if record.supervision == "boxes" else 1.0
            weight = np.where(mask, np.float32(inside), np.float32(1))
            window = cut_window(pixels.shape[:2], size, rng, mask)
            pixels, mask, weight = pixels[window], mask[window], weight[window]
            pixels = resize(pixels, size)
        mask, weight = shrink_mask(mask, size), shrink_weight(weight, size)
        if not references and rng.random() < 0.75:
            # mask and weight must turn together: they travel in one label picture
            packed = mask.astype(np.uint8) + 2 * np.round(weight * 100).astype(np.uint8)
            pixels, packed = geometric(pixels, rng, 0.4, packed)
            mask, weight = packed % 2 == 1, (packed // 2).astype(np.float32) / 100
            pixels, mask, weight = resize(pixels, size), shrink_mask(mask, size), shrink_weight(weight, size)
        if rng.random() < 0.6:
            pixels = photometric(pixels, rng, 0.4)
        return Sample(pixels, mask, weight, 1, record.dataset, record.defect, record.dataset, references)

    def _from_normal(self, rng: np.random.Generator, size: tuple[int, int], drawn: bool) -> Sample:
        pixels, source, record = self._normal(rng, size)
        dataset = record.dataset if record else "own"
        kind = "good"
        references = self._references(record, rng, size) if record else ()
        if references:
            pixels = photometric(pixels, rng, float(rng.uniform(0.1, 0.6)))
        elif rng.random() < 0.7:
            pixels = resize(hard_normal(pixels, rng, float(rng.uniform(0.2, 0.8))), size)
        if record is None and rng.random() < self.mix.referenced:
            references = variants(pixels, rng)
        mask = np.zeros(pixels.shape[:2], dtype=bool)
        if drawn:
            try:
                plain = rng.random() < self.mix.objects
                result = draw_defect(pixels, rng, "foreign_object" if plain else None, 0.8 if plain else None)
            except ValueError:
                drawn = False  # nothing visible could be drawn here: the picture stays a normal
            else:
                pixels, mask, kind, source = result.image, result.mask, result.kind, f"drawn:{result.kind}"
                if rng.random() < 0.3:
                    pixels = photometric(pixels, rng, 0.3)
        weight = np.ones(mask.shape, dtype=np.float32)
        return Sample(pixels, mask, weight, int(drawn), source, kind, dataset, references)

    def _normal(self, rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, str, Record | None]:
        if self.normal and rng.random() >= self.mix.own_normals:
            record = pick(self.normal, rng)
            pixels = record.read_image()
            return resize(pixels[cut_window(pixels.shape[:2], size, rng)], size), record.dataset, record
        if rng.random() < 0.5:
            return draw_product(rng, (size[1], size[0])), "product", None
        pixels = random_crop(self.photos[rng.integers(len(self.photos))], rng)
        return resize(pixels[cut_window(pixels.shape[:2], size, rng)], size), "photograph", None

    def _references(self, record: Record, rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """Normals of the record's product at the tower's size, or of another product, or none."""
        if rng.random() >= self.mix.referenced:
            return ()
        product = (record.dataset, record.category)
        if rng.random() < MISMATCHED:
            names = sorted(self.products)
            product = names[rng.integers(len(names))] if names else product
        known = [other for other in self.products.get(product, ()) if other.image != record.image]
        if not known:
            return ()
        count = min(len(known), int(rng.choice(REFERENCE_COUNTS)))
        chosen = [known[index] for index in rng.choice(len(known), count, replace=False)]
        if record.label and rng.random() < ALIGNED.get(record.dataset, 0.0):
            following = f"{int(record.image.stem) + 1:0{len(record.image.stem)}d}"
            chosen = [other for other in known if other.image.stem == following] or chosen
        pictures = [other.read_image() for other in chosen]
        return tuple(resize(p[cut_window(p.shape[:2], size, rng)], size) for p in pictures)


def variants(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One or two other takes of a normal picture [H, W, 3]: other light, slightly shifted; its own references."""
    height, width = pixels.shape[:2]
    taken = []
    for _ in range(int(rng.integers(1, 3))):
        shift = np.float32([[1, 0, rng.normal(0, 2)], [0, 1, rng.normal(0, 2)]])
        moved = cv2.warpAffine(pixels, shift, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        taken.append(photometric(moved, rng, float(rng.uniform(0.0, 0.4))))
    return tuple(taken)


def cut_window(
    shape: tuple[int, int], size: tuple[int, int], rng: np.random.Generator, mask: np.ndarray | None = None
) -> tuple[slice, slice]:
    """The largest window with the aspect of `size` in a picture of `shape`; a small misfit is squeezed instead.

    Args:
        shape: (height, width) of the picture.
        size: (width, height) wanted.
        rng: chooses the place.
        mask: [H, W] bool; when it has a True pixel, one of them lies inside the window.

    Returns:
        (rows, columns) slices.
    """
    height, width = shape
    aspect = size[0] / size[1]
    misfit = width / height / aspect
    if 0.8 < misfit < 1.25:
        return slice(0, height), slice(0, width)
    h, w = (height, max(1, round(height * aspect))) if misfit > 1 else (max(1, round(width / aspect)), width)
    h, w = min(h, height), min(w, width)
    low, high = np.zeros(2, dtype=int), np.array([height - h, width - w])
    if mask is not None and mask.any():
        rows, columns = np.nonzero(mask)
        chosen = rng.integers(len(rows))
        point = np.array([rows[chosen], columns[chosen]])
        low, high = np.maximum(low, point - [h - 1, w - 1]), np.minimum(high, point)
    y, x = (int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
    return slice(y, y + h), slice(x, x + w)


def shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W] bool to `size` = (w, h); a pixel a quarter full counts, so that thin cracks do not vanish."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)) > 0.25


def mask_at(record: Record, shape: tuple[int, int]) -> np.ndarray | None:
    """The exact mask of an anomalous record at a map's size, [h, w] bool; None where it is not known or empty."""
    if record.label == 0 or record.supervision != "mask":
        return None
    mask = record.read_mask()
    if mask is None:
        return None
    share = shrink_mask(mask, (shape[1], shape[0]))
    return share if share.any() else None


def shrink_weight(weight: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W] float32 to `size` = (w, h), nearest pixel; writable."""
    return np.array(Image.fromarray(weight).resize(size, Image.Resampling.NEAREST))


def random_crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop of [H, W, 3] with 40..100 % of each side, of any place."""
    height, width = pixels.shape[:2]
    share = rng.uniform(0.4, 1.0)
    h, w = max(32, int(height * share)), max(32, int(width * share * rng.uniform(0.8, 1.0)))
    y, x = rng.integers(0, max(1, height - h + 1)), rng.integers(0, max(1, width - w + 1))
    return pixels[y : y + h, x : x + w]


def by_set(records: list[Record], label: int) -> dict[str, list[Record]]:
    """Records of one label grouped by set."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.label == label:
            groups[record.dataset].append(record)
    return dict(groups)


def pick(groups: dict[str, list[Record]], rng: np.random.Generator) -> Record:
    """A record of a set chosen with equal weight."""
    names = sorted(groups)
    group = groups[names[rng.integers(len(names))]]
    return group[rng.integers(len(group))]
