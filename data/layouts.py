"""The layouts by name: which one a folder has, and its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from assistant.errors import RecordError
from data.layouts_benchmarks import VISA_SPLITS, folders, is_category, read_meta, read_mvtec, read_visa
from data.layouts_talks import read_llava
from data.readers import NORMAL_FOLDERS, read_folder, read_manifest
from data.schema import Record, pictures

AUTO = "auto"


class Layout(NamedTuple):
    """One way a set lies on disk.

    Attributes:
        sign: what it is known by, for people.
        fits: whether a path shows that sign; opens no more than a file's first bytes.
        read: its records; raises RecordError at the first bad row.
    """

    sign: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Record]]


def _plain(path: Path) -> bool:
    # without a folder of normals it could as well be images/ beside masks/
    return any(child.name.lower() in NORMAL_FOLDERS and pictures(child) for child in folders(path))


def _json(path: Path, opening: bytes) -> bool:
    """Whether a .json file begins with this bracket."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(opening)


LAYOUTS = {
    "manifest": Layout(
        "manifest.jsonl", lambda p: (p / "manifest.jsonl").is_file() or p.suffix == ".jsonl", read_manifest
    ),
    "visa": Layout(
        "split_csv/1cls.csv", lambda p: (p / VISA_SPLITS / "1cls.csv").is_file() or p.suffix == ".csv", read_visa
    ),
    "meta": Layout("meta.json", lambda p: (p / "meta.json").is_file() or _json(p, b"{"), read_meta),
    "llava": Layout("conversations.json", lambda p: (p / "conversations.json").is_file() or _json(p, b"["), read_llava),
    "mvtec": Layout("train/ and test/", lambda p: any(map(is_category, [p, *folders(p)])), read_mvtec),
    "folder": Layout("good/ beside others", _plain, read_folder),
}
"""In the order in which they are tried: a list on disk says more than a tree."""


def read_records(path: Path, layout: str = AUTO) -> Iterator[Record]:
    """Records of a set on disk.

    Args:
        path: folder of the set, or its list (manifest.jsonl, a VisA csv, meta.json, conversations.json).
        layout: a key of LAYOUTS, or "auto" for the first whose sign is there.

    Raises:
        RecordError: an unknown layout, no such path, no layout that fits, or a bad row; the last one while iterating.
    """
    if layout != AUTO and layout not in LAYOUTS:
        raise RecordError(f"There is no layout {layout!r}.", f"Use {AUTO}, {', '.join(LAYOUTS)}.")
    if not path.exists():
        raise RecordError(f"There is nothing at {path}.")
    if layout == AUTO:
        layout = next((name for name, known in LAYOUTS.items() if known.fits(path)), "")
        if not layout:
            tried = ", ".join(f"{name} ({known.sign})" for name, known in LAYOUTS.items())
            raise RecordError(f"No layout fits {path}.", f"Tried: {tried}.")
    return LAYOUTS[layout].read(path)


def root_of(path: Path) -> Path:
    """The folder that holds the pictures of `read_records(path)`: itself, or the folder of a list."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == VISA_SPLITS else path.parent
