"""`python -m assistant FOLDER --batch`: the batch in a terminal."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from assistant.entries import list_entries
from assistant.errors import MediaError
from assistant.media import safe_name
from assistant.profiles import Profile, read_profile
from assistant.tiling import Tiles
from assistant.versions import resolved

SHOWN_ROWS = 20
"""Rows of the table in the terminal; the files have all."""
_COLOURS = {"anomalous": "bold red", "stands out": "bold yellow", "normal": "green", "not read": "magenta"}


class EngineName(StrEnum):
    """Who runs the heavy steps."""

    plain = "plain"
    ray = "ray"


@dataclass(frozen=True)
class Model:
    """What looks at a batch.

    Attributes:
        profile: see `assistant.load`.
        options: further arguments of `assistant.load`.
        tiles: see `Inspector.look`.
    """

    profile: str
    options: dict[str, str]
    tiles: Tiles = None

    def made_of(self) -> Profile:
        """The profile, with the weights that are named as adapter; raises LookTwiceError."""
        profile = read_profile(resolved(self.profile))
        if profile.checkpoint and "adapter" in self.options:
            from assistant.onevision_loading import local_folder

            return replace(profile, weights=local_folder(self.options["adapter"], "adapter"))
        return profile


def run(folder: Path, out: Path | None, model: Model, engine: EngineName, workers: int, as_json: bool) -> None:
    """Looks at all pictures of a folder or zip, writes the reports and prints the list (or the JSON report).

    Raises:
        LookTwiceError: nothing to look at, a folder that cannot be written, no Ray, no model.
    """
    made_of = model.made_of()
    entries, notes = list_entries(folder)
    out = out or Path("runs") / f"batch-{safe_name(folder.resolve().name)}"
    if out.exists() and not out.is_dir():
        raise MediaError("The folder given by --out is a file.", "Name another folder.")
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # a library that prints must not break the JSON
        from assistant.batch import run_batch
        from assistant.batch_report import to_json, write_reports

        with progress, _engine(engine, model, workers) as runs:
            tasks = {step: progress.add_task(step, total=len(entries)) for step in ("looking", "comparing")}

            def told(step: str, done: int, total: int) -> None:
                progress.update(tasks[step], completed=done, total=total)

            batch = run_batch(entries, out, made_of, runs, notes=notes, progress=told)
        files = write_reports(batch, out)
    if as_json:
        sys.stdout.write(to_json(batch) + "\n")
        return
    _print(batch, files)


def _engine(name: EngineName, model: Model, workers: int):  # noqa: ANN202  a context manager of either engine
    from assistant import load
    from assistant.batch import PlainEngine

    if name is EngineName.plain:
        return nullcontext(PlainEngine(load(model.profile, **model.options), tiles=model.tiles))
    from assistant.scale import RayEngine

    return RayEngine(model.profile, workers, model.tiles, model.options)


def _print(batch, files: list[Path]) -> None:  # noqa: ANN001  Batch, whose module is loaded late
    from assistant.batch_report import summary, where

    table = Table("#", "file", "verdict", "suspicion", "score", "where")
    for row in batch.rows[:SHOWN_ROWS]:
        numbers = ["" if value is None else f"{value:.2f}" for value in (row.suspicion, row.score)]
        verdict = Text(row.verdict, style=_COLOURS[row.verdict])
        table.add_row(str(row.rank or ""), Text(row.name), verdict, *numbers, Text(row.problem or where(row)))
    console = Console(highlight=False, markup=False)
    console.print(table)
    if len(batch.rows) > SHOWN_ROWS:
        console.print(f"... and {len(batch.rows) - SHOWN_ROWS} more in the files.")
    console.print(summary(batch))
    for note in batch.notes:
        console.print(Text(f"Note: {note}", style="yellow"))
    console.print(f"{batch.seconds:.0f} s. Wrote {', '.join(str(file) for file in files)}", soft_wrap=True)
