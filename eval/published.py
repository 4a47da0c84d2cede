"""Figures that other systems published, from published.yaml, for a run's own table; each marked and with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "published.yaml"
SETS = {"mvtec": "mvtec", "visa": "visa"}
"""How the name of a run's set begins, and which published figures belong to it."""


def published_for(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows {"system", "set", "mode", "shots", "source", "published": true, figures...} that fit a run's benchmark.

    Detection figures are those of MVTec AD and VisA as a whole; they stand beside a run that has such a set, in any
    mode, for the reader to compare what each was given.
    """
    known = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    task = result.get("task")
    if task in ("visa_dr", "mmad", "video"):
        part = known[task]
        return [{"set": task, "source": part["source"], "published": True} | row for row in part["rows"]]
    present = {
        name for row in result["rows"] for start, name in SETS.items() if row["dataset"].lower().startswith(start)
    }
    present |= {task} & set(SETS)
    rows = []
    for name in sorted(present):
        for row in known["detection"]:
            if name in row:
                told = {key: row.get(key) for key in ("system", "mode", "shots", "source")}
                rows.append(told | {"set": name, "published": True} | row[name])
    return rows
