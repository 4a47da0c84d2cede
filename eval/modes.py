"""How a sample is looked at in each mode: alone, against references, or among the other pictures of its product."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.batch import STANDS_OUT, PlainEngine, run_batch
from assistant.calibration import sigmoid
from assistant.entries import Entry
from assistant.errors import LookTwiceError
from assistant.inspector import Inspector
from assistant.types import Look
from eval.predict import Looking
from eval.tasks import Mode, Sample


class Looker:
    """Gives every sample its way of looking; keeps what pictures of one product share.

    Args:
        inspector: looks.
        mode: see Mode.
        samples: all samples of the run, in order, whether predicted already or not: a batch is its whole product.
    """

    def __init__(self, inspector: Inspector, mode: Mode, samples: Sequence[Sample]) -> None:
        self.inspector, self.mode, self.samples = inspector, mode, samples
        self._references: tuple[tuple[Path, ...], Any] | None = None
        self._normal: tuple[tuple[Path, ...], Any] | None = None
        self._batch: tuple[tuple[str, str], Iterator[tuple[Path, Look]]] | None = None

    def of(self, sample: Sample) -> Looking | None:
        """The way of looking; None for the inspector's own."""
        if self.mode is Mode.reference and sample.references:
            if self._references is None or self._references[0] != sample.references:
                self._references = (sample.references, self.inspector.remember(sample.references))
            memory = self._references[1]
            return lambda source: self.inspector.look(source, memory)
        if self.mode is Mode.batch:
            return lambda source: self._among_others(sample, source)
        return None

    def normal_of(self, sample: Sample) -> Any:
        """What is usual where a clip was taken, by its reference clips; () without any and in other modes."""
        if self.mode is not Mode.reference or not sample.references:
            return ()
        if self._normal is None or self._normal[0] != sample.references:
            self._normal = (sample.references, self.inspector.learn_normal(list(sample.references)))
        return self._normal[1]

    def _among_others(self, sample: Sample, source: Path) -> Look:
        """The picture's look out of its product's batch, which is looked at as a whole and handed on in order."""
        name = sample.key[:2]
        for _ in range(2):
            if self._batch is None or self._batch[0] != name:
                files = [other.record.image for other in self.samples if other.record and other.key[:2] == name]
                looks = batch_looks(self.inspector, files)
                self._batch = (name, iter(zip(files, looks, strict=True)))
            for file, look in self._batch[1]:
                if file == source:
                    return look
            self._batch = None  # samples that do not come in the batch's order: once more from its start
        raise LookTwiceError(f"The batch of {'/'.join(name)} has no look of {source.name}.")


def batch_looks(inspector: Inspector, files: Sequence[Path]) -> Iterator[Look]:
    """Looks of all pictures of one product, held against each other without labels, in the order of `files`.

    The score is the picture's suspicion within its batch, brought to 0..1 with STANDS_OUT at 0.5.

    Raises:
        LookTwiceError: a picture cannot be looked at.
    """
    entries = [Entry(f"{number:06d}", file) for number, file in enumerate(files)]
    with tempfile.TemporaryDirectory(prefix="looktwice-batch-") as folder:
        batch = run_batch(entries, Path(folder), inspector.profile, PlainEngine(inspector))
        for row in sorted(batch.rows, key=lambda row: row.name):
            shown = batch.look(row)
            # a kept look cannot be asked about: what the language model gets is looked at again
            own = inspector.look(files[int(row.name)])
            score = sigmoid(row.suspicion - STANDS_OUT)
            yield replace(own, score=score, heatmap=shown.heatmap, regions=shown.regions)
