"""A memory of normal references on disk: one safetensors file that says which model made it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from assistant.errors import MemoryFileError
from assistant.reference import References

KIND = "looktwice-references-"
FORMAT = f"{KIND}6"
NEW = "Make it anew from its pictures."


def save_memory(memory: References, file: Path, fingerprint: str) -> None:
    """Writes a memory; the file is complete or not there at all.

    Args:
        memory: of `Inspector.remember`.
        file: any name in an existing folder.
        fingerprint: of the model that made it, see `Inspector.fingerprint`.

    Raises:
        MemoryFileError: the file cannot be written.
    """
    tensors = {f"level{number}": level for number, level in enumerate(memory.levels)}
    tensors |= {"descriptors": memory.descriptors, "normals": torch.tensor(memory.normals, dtype=torch.float64)}
    tensors["peaks"] = torch.tensor(memory.peaks, dtype=torch.float64)
    tensors |= {"fine": memory.fine, "shown": memory.shown, "apart": memory.apart}
    metadata = {
        "format": FORMAT, "fingerprint": fingerprint, "count": str(memory.count), "notes": json.dumps(memory.notes),
        "usual": json.dumps(memory.usual), "known": json.dumps(memory.known), "rows": str(memory.rows),
    }  # fmt: skip
    aside = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name[:40]}.", delete=False) as opened:
            aside = Path(opened.name)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside, metadata)
        aside.chmod(0o644)  # temporary files are private, a result is an ordinary file
        aside.replace(file)
    except (OSError, SafetensorError):
        if aside is not None:
            aside.unlink(missing_ok=True)
        raise MemoryFileError(f"The memory '{file.name}' could not be written.", "Check its folder.") from None


def load_memory(file: Path, fingerprint: str) -> References:
    """Reads a memory of `save_memory`.

    Raises:
        MemoryFileError: missing, torn, no memory of references, or made by another model.
    """
    name = f"'{file.name}'"
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if not metadata.get("format", "").startswith(KIND):
                raise MemoryFileError(f"The file {name} is no memory of references.")
            if (metadata["format"], metadata.get("fingerprint")) != (FORMAT, fingerprint):
                raise MemoryFileError(f"The memory {name} was made by another model or other weights.", NEW)
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  not a dict
        return _checked(tensors, metadata)
    except FileNotFoundError:
        raise MemoryFileError(f"There is no memory {name}.") from None
    except (SafetensorError, OSError):
        raise MemoryFileError(f"The file {name} is damaged, or no memory of references.", NEW) from None
    except (KeyError, ValueError, TypeError):
        raise MemoryFileError(f"The memory {name} does not hold what it should.", NEW) from None


def _checked(tensors: dict[str, Tensor], metadata: dict[str, str]) -> References:
    """The memory of a file's tensors; raises KeyError, TypeError or ValueError when they cannot be one."""
    numbers = sorted(int(key.removeprefix("level")) for key in tensors if key.startswith("level"))
    levels = tuple(tensors[f"level{number}"] for number in numbers)
    descriptors, normals, peaks = tensors["descriptors"], tensors["normals"], tensors["peaks"]
    count, rows, notes = int(metadata["count"]), int(metadata["rows"]), json.loads(metadata["notes"])
    known, usual = float(json.loads(metadata["known"])), json.loads(metadata["usual"])
    usual = None if usual is None else float(usual)
    if not 0 <= known <= 1 or not (usual is None or 0 <= usual <= 2):
        raise ValueError("numbers that cannot be")
    whole = numbers == list(range(len(levels))) and levels and count >= 1 and rows >= 1
    shaped = whole and all(level.ndim == 4 and 1 <= len(level) == len(levels[0]) for level in levels)
    shaped = shaped and len(levels[0]) % rows == 0 and descriptors.ndim == 2
    if not shaped or normals.ndim != 1 or peaks.shape != normals.shape:
        raise ValueError("tensors of another shape")
    if not all(isinstance(note, str) for note in notes):
        raise ValueError("tensors of another shape")
    fine, shown = tensors["fine"], tensors["shown"]
    if (fine.ndim, shown.ndim, shown.dtype) != (4, 4, torch.uint8) or len(fine) != len(shown) or shown.shape[1] != 3:
        raise ValueError("tensors of another shape")
    apart = tensors["apart"]
    if apart.ndim != 4 or apart.shape[0] != apart.shape[1] or (len(apart) and len(apart) != len(fine)):
        raise ValueError("tensors of another shape")
    floats = [*levels, descriptors, normals, peaks, fine, apart]
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in floats):
        raise ValueError("values that are not finite")
    return References(
        tuple(level.float() for level in levels), count, descriptors.float(), tuple(normals.tolist()), tuple(notes),
        usual, known, fine.float(), shown, apart.float(), tuple(peaks.tolist()), rows,
    )  # fmt: skip
