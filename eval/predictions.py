"""The predictions of a run on disk: one JSON line a picture, heatmaps and masks beside them."""

from __future__ import annotations

import json
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
