"""Readers: what all layouts share, our manifest and plain folders. Bad rows are named, never skipped silently."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.errors import RecordError
from data.schema import Record, Split, held_out, pictures

NORMAL_FOLDERS = ("good", "normal", "ok")
EVALUATION_ONLY = ("mvtec",)
"""Sets whose name, or whose pictures' folder, begins so always get the split "test": nothing is trained on them."""


@dataclass(frozen=True)
class Row:
    """One row of a list on disk.

    Attributes:
        where: file and line, or file and key path, as errors name it.
        root: folder that the row's paths are relative to and must stay inside.
    """

    where: str
    root: Path

    def bad(self, reason: str) -> RecordError:
        """The error that names this row."""
        return RecordError(f"{self.where}: {reason}.")

    def picture(self, text: object) -> Path:
        """The file the row names.

        Raises:
            RecordError: not a text, a path that leads out of the root, no such file.
        """
        path = self._inside(text)
        if not _is(path, "file"):
            raise self.bad(f"there is no file {path.name}")
        return path

    def mask(self, text: object) -> Path:
        """The mask the row names: a file, or a folder of mask files.

        Raises:
            RecordError: as `picture`, or a folder without a picture.
        """
        path = self._inside(text)
        return path if _is(path, "folder") and pictures(path) else self.picture(text)

    def _inside(self, text: object) -> Path:
        if not isinstance(text, str):
            raise self.bad("a path has the wrong type")
        # a downloaded list must not be able to pull other files of this machine into a set
        if os.path.isabs(text) or os.path.normpath(text).split(os.sep)[0] == os.pardir:
            raise self.bad(f"the path {text!r} leads out of the set's folder")
        return self.root / text


def _is(path: Path, what: Literal["file", "folder"]) -> bool:
    try:
        return path.is_file() if what == "file" else path.is_dir()
    except OSError:  # a name longer than the disk allows
        return False


def parse_json(data: bytes, where: str) -> Any:
    """The value of UTF-8 JSON; RecordError that names `where` when it is none."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        place = f", line {error.lineno}" if b"\n" in data.strip() else ""
        raise RecordError(f"{where}: not JSON ({error.msg}{place}).") from None
    except UnicodeDecodeError:
        raise RecordError(f"{where}: not UTF-8 text.") from None
    except RecursionError:
        raise RecordError(f"{where}: not JSON (nested too deeply).") from None


def folder_name(folder: Path) -> str:
    """The folder's own name, also for "." and names that end in ".."."""
    return os.path.basename(os.path.abspath(folder))


def split_of(
    part: Literal["train", "val", "test"], dataset: str, category: str, label: int, image: Path, root: Path, number: int
) -> Split:
    """The split of a picture that its layout puts in `part`.

    Args:
        image, root: the picture and the folder of the set; the folders between them are looked at too.
        number: the picture's running number, for names without digits.
    """
    names = (dataset, category, *image.relative_to(root).parts)
    if part == "test" or any(name.lower().startswith(EVALUATION_ONLY) for name in names):
        return "test"
    if part == "val":
        return "val"
    digits = re.findall(r"\d+", image.stem)
    return "calibrate" if held_out(dataset, category, label, int(digits[-1]) if digits else number) else "fit"


def read_manifest(path: Path) -> Iterator[Record]:
    """Records of a `manifest.jsonl` (or of the folder that holds one), pictures only; clips (`frames`) are left out.

    Raises:
        RecordError: no such file, a line that is not JSON, a missing key, a label that is not 0 or 1, an unknown
            fold, a box that is not four rising numbers and a type, a picture or mask that does not exist or lies
            outside the manifest's folder.
    """
    path = path / "manifest.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise RecordError(f"There is no manifest at {path}.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                record = _manifest_row(Row(f"{path.name} line {number}", path.parent), number, line)
                if record is not None:
                    yield record


def _manifest_row(place: Row, number: int, line: bytes) -> Record | None:
    row = parse_json(line, place.where)
    if not isinstance(row, dict):
        raise place.bad("not a JSON object")
    if "frames" in row or "clip" in row:
        return None
    try:
        dataset, category, label = str(row["dataset"]), str(row["category"]), row["label"]
        fold, image = row["fold"], place.picture(row["image"])
        mask = place.mask(row["mask"]) if row.get("mask") else None
        boxes = tuple((int(a), int(b), int(c), int(d), str(kind)) for a, b, c, d, kind in row.get("boxes") or ())
    except KeyError as error:
        raise place.bad(f"the key {error} is missing") from None
    except (TypeError, ValueError, OverflowError):
        raise place.bad("a value has the wrong type") from None
    if label not in (0, 1):
        raise place.bad(f"label is {label!r}, not 0 or 1")
    if fold not in ("train", "val"):
        raise place.bad(f"fold is {fold!r}, not train or val")
    for x1, y1, x2, y2, _ in boxes:
        if not (0 <= x1 < x2 and 0 <= y1 < y2):
            raise place.bad(f"the box {[x1, y1, x2, y2]} is not x1 < x2, y1 < y2 from 0 on")
    return Record(
        image=image, label=int(label), dataset=dataset, category=category, defect=str(row.get("defect", "")),
        mask=mask, boxes=boxes, split=split_of(fold, dataset, category, label, image, place.root, number),
        licence=str(row.get("license", "")),
    )  # fmt: skip


def read_folder(path: Path) -> Iterator[Record]:
    """Records of a plain folder: pictures in `good/`, `normal/` or `ok/` are normal, in any other folder anomalous.

    Raises:
        RecordError: the folder does not exist or holds no picture in a sub-folder.
    """
    if not path.is_dir():
        raise RecordError(f"There is no folder {path}.")
    found, name = False, folder_name(path)
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        label = 0 if folder.name.lower() in NORMAL_FOLDERS else 1
        for file in pictures(folder):
            found = True
            yield Record(
                image=file, label=label, dataset=name, category=name, split="test",
                defect="good" if label == 0 else folder.name,
            )  # fmt: skip
    if not found:
        raise RecordError(f"The folder {path} has no pictures in sub-folders such as good/ and bad/.")
