"""Readers of clips: frames in a folder or a video file, with a label a clip or a frame; and UMAD's sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assistant.errors import RecordError
from data.readers import NORMAL_FOLDERS, Row, parse_json
from data.schema import Record, pictures

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg")
ANNOTATIONS = ("annotations.txt", "temporal_annotations.txt", "Temporal_Anomaly_Annotation_for_Testing_Videos.txt")
"""Lists as UCF-Crime has them: name, class, first and last frame of up to two spans, -1 for none."""

HIT = 0.5
"""Overlap of times from which an event in a clip counts as found."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip.

    Attributes:
        name: of the clip in its set.
        files: its frames in time order, or its one video file.
        label: 0 normal, 1 anomalous somewhere.
        spans: (first, last) anomalous frames, last included, when known; () for a normal clip; None when only the
            label is known.
        seconds: the same spans as (start, end) in seconds, for sets that are labelled so; `spans` is then None.
        reference: normal clips of the same place.
    """

    name: str
    files: tuple[Path, ...]
    dataset: str
    category: str
    label: int
    spans: tuple[tuple[int, int], ...] | None = None
    seconds: tuple[tuple[float, float], ...] | None = None
    reference: tuple[Path, ...] = ()

    @property
    def is_video(self) -> bool:
        """Whether it is one video file."""
        return len(self.files) == 1 and self.files[0].suffix.lower() in VIDEOS

    def frame_labels(self, frames: Sequence[int]) -> list[int] | None:
        """0 or 1 of the frames with these numbers; None when only the clip's label is known."""
        if self.spans is None:
            return None
        return [int(any(first <= frame <= last for first, last in self.spans)) for frame in frames]

    def time_labels(self, times: Sequence[float]) -> list[int] | None:
        """0 or 1 at these times in seconds; None when only the clip's label is known, or frames are labelled."""
        if self.seconds is None:
            return None
        return [int(any(start <= time < end for start, end in self.seconds)) for time in times]


def time_overlap(called: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two sets of moments, [n] bool each and not both empty; 0..1."""
    return float((called & true).sum() / (called | true).sum())


def read_clips(path: Path, split: str = "") -> Iterator[Clip]:
    """Clips of a set: `manifest.jsonl` with `frames` or `clip`, a UCF-Crime style list, or class folders of clips.

    Rows with `clip` are as `data.event_sets` writes them. In class folders a clip is a video file or a folder of
    frames; `normal`, `good`, `ok` and names that begin with "no" hold normal clips. Frame labels may lie beside a clip
    as `<name>.npy` or `<name>.txt`, one 0 or 1 a frame.

    Args:
        split: fold of a manifest; "" for all.

    Raises:
        RecordError: nothing that reads as clips, a list that names no file, labels that are not 0 and 1.
    """
    if (path / "manifest.jsonl").is_file():
        yield from _manifest(path / "manifest.jsonl", split)
        return
    listed = next((path / name for name in ANNOTATIONS if (path / name).is_file()), None)
    if listed is not None:
        yield from _annotated(path, listed)
        return
    found = False
    folders = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    for folder in folders:
        normal = folder.name.lower() in NORMAL_FOLDERS or folder.name.lower().startswith("no")
        for child in sorted(folder.iterdir()):
            files = _files(child)
            if files:
                found = True
                spans = _beside(child)
                label = int(not normal) if spans is None else int(bool(spans))
                spans = () if spans is None and normal else spans
                yield Clip(f"{folder.name}/{child.name}", files, path.absolute().name, folder.name, label, spans)
    if not found:
        raise RecordError(f"There are no clips in {path}.", "Clips are video files or folders of frames, by class.")


def clip_at(place: Row, name: object, roots: Sequence[Path]) -> Clip:
    """The clip a benchmark's row names, label unknown (1)."""
    if not isinstance(name, str):
        raise place.bad("there is no clip")
    tried = [name, *(f"{name}{suffix}" for suffix in VIDEOS)]
    for root in roots:
        for text in tried:
            target = Row(place.where, root)._inside(text)
            files = (target,) if target.is_file() else _files(target)
            if files:
                return Clip(name, tuple(files), "vane", "vane", 1)
    raise place.bad(f"there is no clip {name}")


def read_umad(path: Path) -> Iterator[tuple[Record, tuple[Path, ...]]]:
    """(query frame, reference frames) of UMAD: scene/sequence/{G1, Q1}/rgb with masks in a folder beside Q1's rgb.

    The reference is the frame of G1 at the same share of its sequence. An empty mask means a normal frame.

    Raises:
        RecordError: no such tree, a query frame without its mask.
    """
    found = False
    for query in sorted(path.rglob("Q1/rgb")):
        sequence = query.parents[1]
        normals = pictures(sequence / "G1" / "rgb") if (sequence / "G1" / "rgb").is_dir() else []
        folder = next((child for child in sorted(query.parent.iterdir()) if "mask" in child.name.lower()), None)
        masks = {mask.stem.removesuffix("_mask"): mask for mask in pictures(folder)} if folder else {}
        files = pictures(query)
        for number, image in enumerate(files):
            mask = masks.get(image.stem)
            if mask is None:
                raise RecordError(f"{image.relative_to(path)}: there is no mask of this frame.")
            found = True
            record = Record(
                image=image, label=1, dataset="umad", category=str(sequence.relative_to(path).parts[0]),
                defect="change", mask=mask, split="test",
            )  # fmt: skip
            if not bool(record.read_mask().any()):
                record = Record(
                    image=image, label=0, dataset="umad", category=record.category, defect="good", split="test"
                )
            nearest = normals[round(number / max(1, len(files) - 1) * (len(normals) - 1))] if normals else None
            yield record, (nearest,) if nearest else ()
    if not found:
        raise RecordError(f"There is no scene/sequence/Q1/rgb in {path}.", "Name the folder of UMAD.")


def _files(child: Path) -> tuple[Path, ...]:
    if child.is_dir():
        return tuple(pictures(child))
    return (child,) if child.is_file() and child.suffix.lower() in VIDEOS else ()


def _manifest(file: Path, split: str) -> Iterator[Clip]:
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        place = Row(f"{file.name} line {number}", file.parent)
        row = parse_json(line, place.where)
        if not isinstance(row, dict) or not {"frames", "clip"} & row.keys():
            continue
        if split and row.get("fold") != split:
            continue
        if "clip" in row:
            yield _video(place, row)
            continue
        files = tuple(place.picture(name) for name in row["frames"])
        label = row.get("label")
        if label not in (0, 1):
            raise place.bad(f"label is {label!r}, not 0 or 1")
        yield Clip(
            str(Path(row["frames"][0]).parent), files, str(row.get("dataset", "clips")), str(row.get("category", "")),
            label, () if label == 0 else None,
        )  # fmt: skip


def _video(place: Row, row: dict) -> Clip:
    """The clip of a row with `clip`, `label`, `spans` in seconds (left out: unknown) and `reference`."""
    label, spans = row.get("label"), row.get("spans")
    if label not in (0, 1):
        raise place.bad(f"label is {label!r}, not 0 or 1")
    if spans is not None and not _are_spans(spans):
        raise place.bad("spans are not pairs of start and end in seconds")
    if spans is not None and bool(spans) != bool(label):
        raise place.bad(f"label is {label}, but there are {len(spans)} spans")
    file, *reference = (place.picture(name) for name in (row["clip"], *row.get("reference", ())))
    return Clip(
        str(row["clip"]), (file,), str(row.get("dataset", "clips")), str(row.get("category", "")), label,
        None, None if spans is None else tuple((float(start), float(end)) for start, end in spans), tuple(reference),
    )  # fmt: skip


def _are_spans(spans: object) -> bool:
    return isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(isinstance(end, (int, float)) for end in span)
        and 0 <= span[0] < span[1]
        for span in spans
    )  # fmt: skip


def _annotated(root: Path, listed: Path) -> Iterator[Clip]:
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        place = Row(f"{listed.name} line {number}", root)
        if len(parts) < 4 or not all(re.fullmatch(r"-?\d+", part) for part in parts[2:]):
            raise place.bad("not a name, a class and frame numbers")
        hits = [found for found in root.rglob(Path(parts[0]).name) if _files(found)]
        hits = hits or [found for found in root.rglob(Path(parts[0]).stem) if _files(found)]
        if not hits:
            raise place.bad(f"there is no clip {parts[0]}")
        ends = [int(part) for part in parts[2:]]
        spans = tuple((a, b) for a, b in zip(ends[::2], ends[1::2], strict=False) if a >= 0 and b >= a)
        yield Clip(parts[0], _files(hits[0]), root.absolute().name, parts[1], int(bool(spans)), spans)


def _beside(clip: Path) -> tuple[tuple[int, int], ...] | None:
    """Spans from a file of frame labels beside a clip; None when there is none."""
    stem = clip.stem if clip.is_file() else clip.name
    array, text = clip.parent / f"{stem}.npy", clip.parent / f"{stem}.txt"
    if array.is_file():
        try:
            values = np.load(array, allow_pickle=False).ravel()
        except (OSError, ValueError):
            raise RecordError(f"{array.name} cannot be read as frame labels.") from None
    elif text.is_file():
        values = np.array(re.findall(r"-?\d+", text.read_text(encoding="utf-8")), dtype=int)
    else:
        return None
    if not np.isin(values, (0, 1)).all():
        raise RecordError(f"The frame labels of {clip.name} are not all 0 or 1.")
    return spans_of(values)


def spans_of(labels: np.ndarray) -> tuple[tuple[int, int], ...]:
    """(first, last) of every run of ones in [n] labels."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
    return tuple((int(first), int(last) - 1) for first, last in edges.reshape(-1, 2))
