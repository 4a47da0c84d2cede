"""Uploads and results are gone after an hour: a thread looks for old files and removes them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

KEPT_S = 3600.0
"""Seconds that a file is kept after it was last written."""
EVERY_S = 300.0
"""Seconds between two sweeps."""


def sweep(folder: Path, kept_s: float = KEPT_S) -> int:
    """Removes files below `folder` that are older than `kept_s` seconds, and folders left empty; how many files."""
    now, gone = time.time(), 0
    for file in sorted(folder.rglob("*"), reverse=True):  # what is inside comes before its folder
        try:
            if file.is_dir() and not file.is_symlink():
                if now - file.stat().st_mtime > kept_s:
                    file.rmdir()  # refuses when there is something in it
            elif now - file.lstat().st_mtime > kept_s:
                file.unlink()
                gone += 1
        except OSError:  # somebody else removed it, or it is not empty
            continue
    return gone


def start_sweeping(folder: Path, stop: threading.Event) -> threading.Thread:
    """Sweeps every EVERY_S seconds in a thread of its own until `stop` is set."""

    def work() -> None:
        while not stop.wait(EVERY_S):
            sweep(folder)

    thread = threading.Thread(target=work, name="looktwice-sweep", daemon=True)
    thread.start()
    return thread
