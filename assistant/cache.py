"""Where things are kept: copies that can be made again, and what cannot."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LOOKTWICE_CACHE"
DATA_VARIABLE = "LOOKTWICE_DATA"


def cache_folder() -> Path:
    """$LOOKTWICE_CACHE, else $XDG_CACHE_HOME/looktwice, else ~/.cache/looktwice; not made by this call."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "looktwice"


def data_folder() -> Path:
    """$LOOKTWICE_DATA, else $XDG_DATA_HOME/looktwice, else ~/.local/share/looktwice; not made by this call.

    Corrections of users and weights trained with them lie here.
    """
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "looktwice"
