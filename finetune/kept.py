"""Arrays that a run keeps, as one safetensors file that says what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from assistant.errors import RecordError


def keep_arrays(file: Path, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """Writes arrays whole or not at all; `origin` says of what they are."""
    aside = file.with_suffix(".partial")
    # an array may be laid out by columns, which the library would write as it lies
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, aside, {"origin": origin})
    aside.replace(file)


def kept_arrays(file: Path, origin: str | None = None) -> dict[str, np.ndarray]:
    """Reads what `keep_arrays` has written; raises RecordError when it is damaged, or of another origin than given."""
    try:
        with safe_open(file, "numpy") as opened:
            known = (opened.metadata() or {}).get("origin")
            arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError):
        raise RecordError(f"{file.name} is damaged.", "Remove it: it is made again.") from None
    if origin is not None and known != origin:
        raise RecordError(f"{file.name} is of other clips or other weights.", "Name another folder with --out.")
    return arrays
