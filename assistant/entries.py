"""What is in a folder or a zip of pictures: names and where the bytes are. Nothing is unpacked to disk.

A zip is a stranger's file: its names are only ever shown, its sizes, ratios and numbers are held against limits before
a byte is unpacked, and links in it are not followed.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import MediaError
from assistant.media import MAX_BYTES, read_file, safe_name

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Names of pictures end so; other files are left out and counted."""
MAX_PICTURES = 20_000
"""Pictures of one run."""
MAX_MEMBERS = 2_000
"""Entries of one zip."""
MAX_UNPACKED = 2_000_000_000
"""Bytes of a zip's entries together, unpacked."""
MAX_RATIO = 100
"""How many times larger an entry, or all together, may be unpacked than packed."""
SMALL = 10_000_000
"""Bytes up to which an entry may have any ratio: a plain BMP shrinks a thousandfold."""
MAX_SHOWN = 200
"""Characters of a shown name."""


@dataclass(frozen=True)
class Entry:
    """One picture to look at.

    Attributes:
        name: relative to the folder or zip, "/" between its parts, made harmless; unique in a list of entries.
        file: the picture, or the zip that holds it.
        member: its number in the zip, -1 when the file itself is the picture.
        problem: why it is not looked at, empty when it can be.
    """

    name: str
    file: Path
    member: int = -1
    problem: str = ""

    def read(self) -> bytes:
        """The encoded picture.

        Raises:
            MediaError: it cannot be read, or `problem`.
        """
        if self.problem:
            raise MediaError(self.problem)
        if self.member < 0:
            return read_file(self.file, self.name)
        try:
            with zipfile.ZipFile(self.file) as archive:
                info = archive.infolist()[self.member]
                with archive.open(info) as packed:
                    data = packed.read(min(info.file_size, MAX_BYTES) + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, IndexError):
            raise MediaError(f"'{self.name}' is damaged in the zip.") from None
        if len(data) > info.file_size:
            raise MediaError(f"'{self.name}' is larger than the zip says.")
        return data


def list_entries(source: Path) -> tuple[list[Entry], list[str]]:
    """The pictures of a folder, with its sub-folders, or of a zip, in the order of their names.

    Returns:
        The entries, and sentences about what was left out.

    Raises:
        MediaError: neither a folder nor a zip, no picture in it, or over a limit.
    """
    return list_files([source]) if not source.is_dir() else _checked(*_folder(source), safe_name(source.name))


def list_files(files: Iterable[Path], names: Iterable[str] | None = None) -> tuple[list[Entry], list[str]]:
    """As `list_entries`, for pictures and zips given one by one, in the order given.

    Args:
        files: which files; a folder is refused.
        names: what to show; by default the files' own names.
    """
    files = list(files)
    entries: list[Entry] = []
    left_out = 0
    for file, name in zip(files, names or [file.name for file in files], strict=True):
        if file.is_file() and zipfile.is_zipfile(file):
            inside, others = _zip(file)
            entries += inside
            left_out += others
        elif len(files) == 1 and not name.lower().endswith(SUFFIXES):
            read_file(file, safe_name(name))  # raises with the better sentence when there is no such file
            raise MediaError(f"'{safe_name(name)}' is neither a folder nor a zip of pictures.")
        else:
            entries.append(Entry(_shown(name), file))
    return _checked(entries, left_out, safe_name(files[0].name) if len(files) == 1 else "selection")


def _folder(folder: Path) -> tuple[list[Entry], int]:
    """Pictures below a folder; links to folders are not followed, links to files only inside the folder."""
    root = folder.resolve()
    entries, left_out = [], 0
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(files):
            file = Path(place) / name
            if name[0] == "." or not name.lower().endswith(SUFFIXES):
                left_out += name[0] != "."
                continue
            shown = _shown(str(file.relative_to(root)))
            outside = file.is_symlink() and not file.resolve().is_relative_to(root)
            problem = f"'{shown}' is a link that leads out of the folder." if outside else ""
            entries.append(Entry(shown, file, problem=problem))
    return entries, left_out


def _zip(file: Path) -> tuple[list[Entry], int]:
    """Pictures of a zip and how many other files it has; raises MediaError when the zip as a whole is refused."""
    label = safe_name(file.name)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise MediaError(f"'{label}' is a damaged zip.") from None
    if len(members) > MAX_MEMBERS:
        raise MediaError(f"'{label}' has {len(members)} entries; {MAX_MEMBERS} are allowed.", "Give several zips.")
    unpacked, packed = sum(info.file_size for info in members), file.stat().st_size
    if unpacked > MAX_UNPACKED:
        raise MediaError(f"'{label}' unpacks to more than {MAX_UNPACKED // 1_000_000} MB.", "Give several zips.")
    if unpacked > max(SMALL, MAX_RATIO * packed):
        raise MediaError(f"'{label}' unpacks to more than {MAX_RATIO} times its size: no set of pictures does.")
    entries, left_out = [], 0
    for number, info in enumerate(members):
        name = _shown(info.filename)
        last = name.split("/")[-1]
        if info.is_dir() or last.startswith(".") or name.startswith("__MACOSX/"):
            continue
        if not last.lower().endswith(SUFFIXES):
            left_out += 1
            continue
        entries.append(Entry(name, file, number, _problem(info, name)))
    return entries, left_out


def _problem(info: zipfile.ZipInfo, name: str) -> str:
    """Why an entry of a zip is not unpacked, empty when it may be."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return f"'{name}' is a link or a device in the zip, not a picture."
    if info.flag_bits & 1:
        return f"'{name}' is encrypted."
    if info.file_size > MAX_BYTES:
        return f"'{name}' is larger than the {MAX_BYTES // 1_000_000} MB this program reads."
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        return f"'{name}' unpacks to more than {MAX_RATIO} times its size: no picture does."
    return ""


def _shown(name: str) -> str:
    """A relative name without drives, roots and ways up; every part made harmless."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    shown = "/".join(safe_name(part) for part in parts) or "picture"
    return shown if len(shown) <= MAX_SHOWN else f"…{shown[-MAX_SHOWN + 1 :]}"


def _checked(entries: list[Entry], left_out: int, label: str) -> tuple[list[Entry], list[str]]:
    """Entries with unique names, in the order given; raises MediaError when there are none or too many."""
    if not entries:
        raise MediaError(f"There is no picture in '{label}'.", "Pictures are JPEG, PNG, WebP, BMP or TIFF files.")
    if len(entries) > MAX_PICTURES:
        raise MediaError(f"'{label}' holds {len(entries)} pictures; {MAX_PICTURES} are allowed in one run.")
    seen: dict[str, int] = {}
    unique = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        name = entry.name if seen[entry.name] == 1 else f"{entry.name} ({seen[entry.name]})"
        unique.append(Entry(name, entry.file, entry.member, entry.problem))
    notes = [f"{left_out} other files were left out."] if left_out > 1 else []
    notes += ["1 other file was left out."] if left_out == 1 else []
    return unique, notes
