"""Checkpoints that survive a kill at any moment.

The library writes a checkpoint file by file, so a folder may be torn. A marker, written last and flushed to disk,
tells a complete one; a run resumes from the newest complete folder and removes torn ones. Where several processes train
each writes files of its own, so the marker waits for all of them.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MARKER = "complete"


class MarkComplete(TrainerCallback):
    """Flushes a checkpoint to disk, then marks it complete."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in folder.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        aside = folder / f"{MARKER}.partial"
        aside.write_text(str(state.global_step), encoding="ascii")
        with aside.open("rb") as handle:
            os.fsync(handle.fileno())
        aside.replace(folder / MARKER)


def last_complete(output: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder, or None; torn checkpoints are removed."""
    best: tuple[int, Path] | None = None
    for folder in sorted(output.glob("checkpoint-*")):
        number = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if number is None:
            continue
        if not (folder / MARKER).is_file():
            shutil.rmtree(folder)
        elif best is None or int(number[1]) > best[0]:
            best = (int(number[1]), folder)
    return best[1] if best else None
