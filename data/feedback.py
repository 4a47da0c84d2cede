"""Corrections that users have kept, for people and for the training.

python -m data.feedback list
python -m data.feedback export DIR      pictures, masks, manifest.jsonl and conversations.json
python -m data.feedback forget 3 4
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from assistant.command import run
from assistant.corrections import Correction, CorrectionStore
from assistant.errors import CorrectionError
from assistant.prompts import DEFAULT_QUESTION
from data.layouts_talks import MARK, llava

DATASET, PRODUCT = "corrections", "corrected"
"""Set, and product where the user named none."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Store = Annotated[Path | None, typer.Option(help="The file of corrections; by default the page's own.")]


def newest(corrections: list[Correction]) -> list[Correction]:
    """Of several corrections that say normal or missed about one picture the last one; all about words."""
    last: dict[bytes, Correction] = {}
    words = []
    for correction in corrections:
        if correction.kind == "words":
            words.append(correction)
        else:
            last[correction.picture.tobytes()] = correction
    return sorted([*last.values(), *words], key=lambda correction: correction.number)


def write_export(store: CorrectionStore, out: Path) -> tuple[int, int]:
    """Writes what the training reads; (labelled pictures, conversations).

    `manifest.jsonl` has the pictures that are normal or where something was missed, with masks where drawn, see
    `readers.read_manifest`; `conversations.json` the corrected words, see `layouts_talks.read_talks`.

    Raises:
        CorrectionError: nothing is kept, the store is damaged, or the folder cannot be written.
    """
    rows: list[dict[str, object]] = []
    talks: list[dict[str, object]] = []
    kept = newest(list(store.read()))
    if not kept:
        raise CorrectionError("No corrections are kept.", "Correct something on the page first.")
    try:
        for folder in (out / "pictures", out / "masks"):
            folder.mkdir(parents=True, exist_ok=True)
        for correction in kept:
            picture = f"pictures/{correction.number:06d}.png"
            Image.fromarray(correction.picture).save(out / picture)
            if correction.kind == "words":
                turns = [(_said(correction.question) or DEFAULT_QUESTION, _said(correction.words))]
                talks.append(llava(str(correction.number), picture, turns))
            else:
                rows.append(_row(correction, picture, out))
        (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (out / "conversations.json").write_text(json.dumps(talks, indent=1) + "\n", encoding="utf-8")
    except OSError:
        raise CorrectionError(f"The folder {out.name} cannot be written.") from None
    return len(rows), len(talks)


def _said(text: str) -> str:
    """A user's words; the picture's mark in them is text."""
    return text.strip().replace(MARK, MARK.replace("<", "‹").replace(">", "›"))


def _row(correction: Correction, picture: str, out: Path) -> dict[str, object]:
    missed = correction.kind == "missed"
    row: dict[str, object] = {
        "image": picture, "label": int(missed), "defect": "unknown" if missed else "good", "dataset": DATASET,
        "category": correction.product or PRODUCT, "fold": "train", "license": "the user's own",
    }  # fmt: skip
    if missed and correction.mask is not None:
        row["mask"] = f"masks/{correction.number:06d}.png"
        Image.fromarray(correction.mask).save(out / str(row["mask"]))
    return row


@app.command()
def export(out: Annotated[Path, typer.Argument(help="The folder to write.")], store: Store = None) -> None:
    """Write the corrections as training records."""
    pictures, talks = write_export(CorrectionStore(store), out)
    typer.echo(f"wrote {out}: {pictures} labelled pictures, {talks} conversations")


@app.command("list")
def show(store: Store = None) -> None:
    """One line for each correction."""
    for kept in CorrectionStore(store).read():
        marked = "" if kept.mask is None else f", {100 * kept.mask.mean():.1f} % marked"
        said = f"{kept.verdict} {kept.score:.2f} by {kept.profile}"
        typer.echo(f"{kept.number}  {kept.made}  {kept.kind}{marked}  {json.dumps(kept.name)}  was {said}")


@app.command()
def forget(
    numbers: Annotated[list[int], typer.Argument(help="Of the corrections, as `list` shows them.")],
    store: Store = None,
) -> None:
    """Delete corrections for good; weights that were trained with them stay."""
    gone = CorrectionStore(store).forget(numbers)
    typer.echo(f"{gone} deleted")
    if gone < len(set(numbers)):
        raise CorrectionError("Some of these numbers are not there.", "python -m data.feedback list shows them.")


if __name__ == "__main__":
    run(app)
