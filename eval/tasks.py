"""The tasks: what each benchmark's folder holds, as one list of samples in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from assistant.errors import RecordError
from data.clips import Clip, read_clips, read_umad
from data.exams import Exam, read_mmad, read_own, read_vane, read_visa_dr
from data.layouts_benchmarks import read_meta, read_mvtec, read_visa
from data.readers import read_folder, read_manifest
from data.schema import Record

EVALUATED = "val,test"
"""Splits of a manifest that nothing is trained or tuned on."""


class Task(StrEnum):
    """Benchmarks and layouts of a labelled set."""

    manifest = "manifest"
    folder = "folder"
    mvtec = "mvtec"
    visa = "visa"
    meta_json = "meta_json"
    visa_dr = "visa_dr"
    mmad = "mmad"
    vane = "vane"
    umad = "umad"
    video = "video"
    questions = "questions"


class Mode(StrEnum):
    """What a look may know besides the picture."""

    zero_shot = "zero_shot"
    reference = "reference"
    batch = "batch"


@dataclass(frozen=True)
class Sample:
    """One line of predictions.jsonl to be: a picture with its truth, or a picture or clip with questions, or a clip.

    Attributes:
        references: normal pictures it is held against; set by `with_references`, or by the benchmark itself.
    """

    record: Record | None = None
    exam: Exam | None = None
    clip: Clip | None = None
    references: tuple[Path, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """(dataset, category, name of the picture or clip)."""
        if self.record is not None:
            return self.record.dataset, self.record.category, self.record.image.name
        if self.clip is not None:
            return self.clip.dataset, self.clip.category, self.clip.name
        media = self.exam.media
        return self.exam.dataset, self.exam.category, media.name


def records_of(task: Task, data: Path, split: str = "", sets: str = "") -> list[Record]:
    """Records of a set of pictures that are evaluated.

    Args:
        task: the layout of `data`: manifest, folder, mvtec, visa or meta_json.
        data: folder of the set.
        split: of a manifest, see `data.schema.Split`, several with commas; EVALUATED when empty. Other layouts have
            one split: their test part.
        sets: names of datasets with commas between them; all when empty.

    Raises:
        RecordError: rows that cannot be used, or a name in `sets` that has no record in the split.
    """
    records = [record for record in _all(task, data) if _evaluated(task, record, split)]
    wanted = {name.strip() for name in sets.split(",") if name.strip()}
    present = sorted({record.dataset for record in records})
    if unknown := wanted - set(present):
        raise RecordError(f"There are no records of the set {min(unknown)!r} here.", f"Sets: {', '.join(present)}.")
    return [record for record in records if not wanted or record.dataset in wanted]


def _all(task: Task, data: Path) -> list[Record]:
    readers: dict[Task, Callable] = {
        Task.manifest: read_manifest, Task.folder: read_folder, Task.mvtec: read_mvtec, Task.visa: read_visa,
        Task.meta_json: read_meta,
    }  # fmt: skip
    return list(readers[task](data))


def _evaluated(task: Task, record: Record, split: str) -> bool:
    if task is Task.manifest:
        return record.split in {name.strip() for name in (split or EVALUATED).split(",")}
    return task is Task.folder or record.part == "test"


def samples_of(task: Task, data: Path, split: str = "", sets: str = "") -> list[Sample]:
    """Everything a task asks, in a fixed order; arguments and errors as `records_of`."""
    if task is Task.visa_dr:
        records, exams = read_visa_dr(data)
        return [Sample(record=record) for record in records] + [Sample(exam=exam) for exam in exams]
    if task in (Task.mmad, Task.vane, Task.questions):
        exams = {Task.mmad: read_mmad, Task.vane: read_vane, Task.questions: read_own}[task](data)
        return [Sample(exam=exam) for exam in exams]
    if task is Task.video:
        return [
            Sample(clip=clip, references=clip.reference)
            for clip in read_clips(data, "" if split == "all" else split or "val")
        ]
    if task is Task.umad:
        return [Sample(record=record, references=normals) for record, normals in read_umad(data)]
    return [Sample(record=record) for record in records_of(task, data, split, sets)]


def limited(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """At most `limit` samples drawn with the seed, in their order; all for 0."""
    if not limit:
        return samples
    order = np.random.default_rng(seed).permutation(len(samples))[:limit]
    return [samples[index] for index in sorted(order)]


def with_references(task: Task, data: Path, samples: Sequence[Sample], shots: int, seed: int) -> list[Sample]:
    """Samples of pictures with `shots` normals of the same product; what serves as a reference is not evaluated.

    References come from the product's training part where it has one, else from its evaluated normals. They are drawn
    with the seed and are the same for all pictures of a product. A product without normals keeps none. Benchmarks that
    bring their own references (mmad, umad) get the first `shots` of those.

    Args:
        shots: references a picture; 0 for all.
    """
    if task in (Task.mmad, Task.umad, Task.vane, Task.video):
        chosen = []
        for sample in samples:
            own = sample.references or (sample.exam.references if sample.exam else ())
            chosen.append(replace(sample, references=own[: shots or None]))
        return chosen
    if task is Task.visa_dr:
        pool = [sample.record for sample in samples if sample.record is not None]
    elif task is Task.questions:
        pool = [sample.exam.record for sample in samples]
    else:
        pool = _all(task, data)
    evaluated = {_file(sample) for sample in samples}
    drawn: dict[tuple[str, str], tuple[Path, ...]] = {}
    for name in sorted({sample.key[:2] for sample in samples}):
        normals = [record for record in pool if record.label == 0 and (record.dataset, record.category) == name]
        free = [record.image for record in normals if record.image not in evaluated]
        files = sorted(free) or sorted(record.image for record in normals)
        if not free and len(files) > 1 and not shots:
            files = files[: len(files) // 2]  # all of them would leave no normal to evaluate
        rng = np.random.default_rng([seed, *(ord(letter) for letter in "/".join(name))])
        order = rng.permutation(len(files))[: shots or None]
        drawn[name] = tuple(files[index] for index in sorted(order))
    used = {file for files in drawn.values() for file in files}
    return [replace(sample, references=drawn[sample.key[:2]]) for sample in samples if _file(sample) not in used]


def _file(sample: Sample) -> Path | None:
    if sample.record is not None:
        return sample.record.image
    media = sample.exam.media if sample.exam is not None else None
    return media if isinstance(media, Path) else None
