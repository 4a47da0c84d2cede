"""The tables of a run as Markdown, for a model card.

python -m eval.card RUN

Reads RUN/metrics.json of eval.score; loads no model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant import command
from assistant.errors import LookTwiceError
from eval.tables import Shown, tables_of


def markdown(shown: Shown) -> str:
    """One table as Markdown; means in bold, published lines in italics, right cells in bold."""
    marks = {"": "", "mean": "**", "published": "*"}
    lines = [_line(shown.header), _line(["---"] * len(shown.header))]
    for number, (style, cells) in enumerate(shown.lines):
        drawn = []
        for column, text in enumerate(cells):
            mark = "**" if (number, column) in shown.right else marks[style]
            drawn.append(f"{mark}{_plain(text)}{mark}" if text else "")
        lines.append(_line(drawn))
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text without what Markdown would read as a column, a line or markup."""
    text = " ".join(text.split())
    for sign in "\\|*_`<[":
        text = text.replace(sign, f"\\{sign}")
    return text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def read_metrics(run: Path) -> dict[str, Any]:
    """What eval.score wrote.

    Raises:
        LookTwiceError: there is none, or it is of an older version.
    """
    file = run / "metrics.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = None
    if not isinstance(result, dict) or not {"rows", "mean", "all", "published"} <= set(result):
        raise LookTwiceError(f"There are no figures of this version in {run}.", f"Run: python -m eval.score {run}")
    return result


def main(run: Annotated[Path, typer.Argument(help="Folder of eval.run, scored by eval.score.")]) -> None:
    """Prints the tables as Markdown."""
    for shown in tables_of(read_metrics(run)):
        typer.echo(f"{shown.title[0].upper()}{shown.title[1:]}:\n\n{markdown(shown)}\n")


if __name__ == "__main__":
    command.run(main)
