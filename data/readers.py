"""Readers: a benchmark's layout on disk -> records. Bad rows are named with file and line, never skipped silently."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assistant.errors import RecordError
from data.schema import Record, held_out

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
NORMAL_FOLDERS = ("good", "normal", "ok")
EVALUATION_ONLY = ("mvtec",)
"""Sets whose records always get the split "test": nothing is ever trained or tuned on them."""


def read_manifest(path: Path) -> Iterator[Record]:
    """Records of a `manifest.jsonl` (or of the folder that holds one), pictures only; clips (`frames`) are left out.

    Raises:
        RecordError: no such file, a line that is not JSON, a missing key, a label that is not 0 or 1, an unknown
            fold, a box that is not four numbers and a type, a picture or mask that does not exist.
    """
    path = path / "manifest.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise RecordError(f"There is no manifest at {path}.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                record = _manifest_row(path, number, line)
                if record is not None:
                    yield record


def _manifest_row(path: Path, number: int, line: str) -> Record | None:
    def bad(reason: str) -> RecordError:
        return RecordError(f"{path.name} line {number}: {reason}.")

    try:
        row: dict[str, Any] = json.loads(line)
        if not isinstance(row, dict):
            raise bad("not a JSON object")
        if "frames" in row:
            return None
        dataset, category, label = str(row["dataset"]), str(row["category"]), row["label"]
        fold, image = row["fold"], path.parent / row["image"]
        mask = path.parent / row["mask"] if row.get("mask") else None
        boxes = tuple((int(a), int(b), int(c), int(d), str(kind)) for a, b, c, d, kind in row.get("boxes") or ())
    except json.JSONDecodeError as error:
        raise bad(f"not JSON ({error.msg})") from None
    except KeyError as error:
        raise bad(f"the key {error} is missing") from None
    except (TypeError, ValueError):
        raise bad("a value has the wrong type") from None
    if label not in (0, 1):
        raise bad(f"label is {label!r}, not 0 or 1")
    if fold not in ("train", "val"):
        raise bad(f"fold is {fold!r}, not train or val")
    for file in (image, mask):
        if file is not None and not file.is_file():
            raise bad(f"there is no file {file.name}")
    if dataset in EVALUATION_ONLY:
        split = "test"
    elif fold == "val":
        split = "val"
    else:
        digits = re.findall(r"\d+", image.stem)
        split = "calibrate" if held_out(dataset, category, label, int(digits[-1]) if digits else number) else "fit"
    return Record(
        image=image, label=label, dataset=dataset, category=category, defect=str(row.get("defect", "")),
        mask=mask, boxes=boxes, split=split, licence=str(row.get("license", "")),
    )  # fmt: skip


def read_folder(path: Path) -> Iterator[Record]:
    """Records of a plain folder: pictures in `good/`, `normal/` or `ok/` are normal, in any other folder anomalous.

    Raises:
        RecordError: the folder does not exist or holds no picture in a sub-folder.
    """
    if not path.is_dir():
        raise RecordError(f"There is no folder {path}.")
    found = False
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        label = 0 if folder.name.lower() in NORMAL_FOLDERS else 1
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in PICTURES:
                found = True
                yield Record(
                    image=file, label=label, dataset=path.name, category=path.name, split="test",
                    defect="good" if label == 0 else folder.name,
                )  # fmt: skip
    if not found:
        raise RecordError(f"The folder {path} has no pictures in sub-folders such as good/ and bad/.")
