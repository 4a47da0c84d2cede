"""Which real pictures a profile may learn from, and pictures as they are: what a held-out set is judged on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assistant.configuration import LookTwiceVisionConfig
from assistant.processing import fit_size, resize
from assistant.profiles import Profile
from data.layouts import read_records
from data.schema import Record
from data.textile import textile_records
from finetune.dataset import Sample, shrink_mask

TEXTILE = "textile"
"""The one training set that comes as a Python package."""


def training_records(data: Path, profile: Profile) -> list[Record]:
    """Records of a set in any known layout that the profile's weights may learn from, in all splits.

    A profile that names its training sets gets no other picture, whatever the set holds: its licence depends on
    it.

    Raises:
        RecordError: the set cannot be read, or the textile package is named and not installed.
    """
    records = list(read_records(data))
    if profile.training_sets is None:
        return records
    chosen = [record for record in records if record.dataset in profile.training_sets]
    if TEXTILE in profile.training_sets:
        # a global change of the weave is no defect that one picture alone could show
        chosen += [record for record in textile_records() if record.defect != "global"]
    return chosen


def two_sided(records: Sequence[Record]) -> list[int]:
    """Numbers of the records whose set has both labels."""
    labels: dict[str, set[int]] = defaultdict(set)
    for record in records:
        labels[record.dataset].add(record.label)
    return [number for number, record in enumerate(records) if len(labels[record.dataset]) == 2]


class RecordSamples:
    """Records in order at the tower's size for their own aspect, unchanged, without references.

    Attributes:
        batch: 1, for pictures differ in size.
    """

    batch = 1

    def __init__(self, records: list[Record], vision: LookTwiceVisionConfig) -> None:
        self.records, self.vision = records, vision

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, index: int) -> Sample:
        """Record number `index`; the weight is 0 where the truth of a pixel is not known."""
        record = self.records[index]
        pixels = record.read_image()
        size = fit_size(pixels.shape[1], pixels.shape[0], self.vision)
        known = record.supervision == "mask"
        mask = record.read_mask() if known else None
        if mask is None:
            mask = np.zeros(pixels.shape[:2], dtype=bool)
        shrunk = shrink_mask(mask, size)
        weight = np.full(shrunk.shape, float(known), dtype=np.float32)
        return Sample(resize(pixels, size), shrunk, weight, record.label, record.dataset, record.defect, record.dataset)
