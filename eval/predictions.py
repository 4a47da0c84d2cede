"""The predictions of a run on disk: one JSON line a picture, heatmaps and masks beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.errors import LookTwiceError


def complete_lines(file: Path) -> list[str]:
    """Whole lines of a predictions file; a torn last line is cut off."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return whole.splitlines()


def read_predictions(run: Path) -> list[dict[str, Any]]:
    """Rows of a run in order.

    Raises:
        LookTwiceError: the run has no predictions.
    """
    lines = complete_lines(run / "predictions.jsonl")
    if not lines:
        raise LookTwiceError(f"There are no predictions in {run}.")
    return [json.loads(line) for line in lines]


def keys_of(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What tells each row from every other of its run, and names the same sample in another run.

    Sets number the pictures of each defect anew, so that the defect belongs to it; what is still alike is counted.
    """
    seen: Counter[tuple[Any, ...]] = Counter()
    keys = []
    for row in rows:
        key = tuple(row.get(name) for name in ("dataset", "category", "defect", "image", "kind"))
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys


SETTINGS = "run.json"


def read_settings(run: Path) -> dict[str, Any]:
    """How a run was made: task, mode, shots, model, profile and so on; {} for runs from before it was kept.

    Raises:
        LookTwiceError: the file is not a JSON object.
    """
    file = run / SETTINGS
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise LookTwiceError(f"{file} is not a JSON object.", "Delete it, or run eval.run into a new folder.")
    return values


def write_settings(run: Path, settings: dict[str, Any]) -> None:
    """Keeps how a run is made; the file is complete or not there at all."""
    aside = run / f".{SETTINGS}.partial"
    aside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    aside.replace(run / SETTINGS)
