"""Where copies are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LOOKTWICE_CACHE"


def cache_folder() -> Path:
    """$LOOKTWICE_CACHE, else $XDG_CACHE_HOME/looktwice, else ~/.cache/looktwice; not made by this call."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "looktwice"
