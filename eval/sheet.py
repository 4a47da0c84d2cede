"""Answers of a run as a contact sheet, for a person to read: picture, heatmap, what is true, what was said.

python -m eval.sheet RUN OUT.png [--count 40] [--seed 0]

Made from the files of `eval.run` alone; loads no model.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from assistant import command
from assistant.errors import LookTwiceError, MediaError
from assistant.render import overlay, plain
from assistant.types import Look, Region
from eval.predictions import read_predictions

COLUMNS, ROWS = 4, 10
"""Cells of a page at most."""
CELL, GAP = 440, 12
"""Width of a cell and space around cells, pixels."""
PANEL = 208
"""Longest side of a picture in a cell, pixels: picture and overlay stand side by side."""
TEXT, LINE, MOST_LINES = 14, 18, 16
"""Height of the letters and of a line, pixels, and lines of an answer at most."""
MARGIN = 8

INK, FAINT, PAPER, TABLE = (20, 20, 20), (110, 110, 110), (255, 255, 255), (205, 208, 212)
RIGHT, WRONG, UNSURE = (43, 138, 62), (201, 42, 42), (200, 120, 0)
"""Of the verdict against the label."""
ANOMALOUS, NORMAL = (112, 48, 160), (28, 100, 180)
"""Of the label itself."""


def drawn_pages(run: Path, count: int, seed: int) -> list[Image.Image]:
    """Pages of randomly chosen predictions with words, in the order of the run, each at most COLUMNS x ROWS cells.

    Args:
        run: folder of `eval.run`.
        count: cells; fewer when the run has fewer answers.
        seed: of the choice.

    Raises:
        LookTwiceError: the run has no predictions, no words, or no thumbnails.
    """
    rows = read_predictions(run)
    spoken = [index for index, row in enumerate(rows) if row.get("explanation")]
    if not spoken:
        raise LookTwiceError(f"The predictions in {run} have no words.", "Run eval.run with --ask into a new folder.")
    kept = {}
    for index in np.random.default_rng(seed).permutation(spoken):
        arrays = kept_arrays(run, int(index))
        if arrays is not None:
            kept[int(index)] = arrays
        if len(kept) == count:
            break
    if not kept:
        raise LookTwiceError(f"The predictions in {run} have no thumbnails.", "Run eval.run anew into a new folder.")
    cells = [draw_cell(rows[index], *kept[index], number=index) for index in sorted(kept)]
    size = COLUMNS * ROWS
    return [draw_page(cells[start : start + size]) for start in range(0, len(cells), size)]


def draw_cell(row: dict[str, Any], heatmap: np.ndarray, thumbnail: np.ndarray, number: int = 0) -> Image.Image:
    """One prediction, CELL pixels wide and as high as its words need.

    Args:
        row: of predictions.jsonl; its "size" and "regions" may be missing, then no boxes are drawn.
        heatmap: [h, w] 0..1.
        thumbnail: [h, w, 3] uint8 RGB.
        number: of the prediction in its run, to find it again.
    """
    font = ImageFont.load_default(size=TEXT)
    lines = wrapped(row["explanation"], font, CELL - 2 * MARGIN)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], "..."]
    scale = PANEL / max(thumbnail.shape[:2])
    width, height = (max(1, round(side * scale)) for side in thumbnail.shape[1::-1])
    top = MARGIN + 3 * LINE + 16
    cell = Image.new("RGB", (CELL, top + height + MARGIN + len(lines) * LINE + MARGIN), PAPER)
    draw = ImageDraw.Draw(cell)
    outcome, colour = _outcome(row)

    source = "/".join(dict.fromkeys(part for part in (row["dataset"], row["category"]) if part))
    heading = _cut(f"#{number} {source}, {row['image']}", font, CELL - 2 * MARGIN)
    draw.text((MARGIN, MARGIN), heading, font=font, fill=FAINT)
    truth = "normal" if row["label"] == 0 else f"anomalous: {row['defect'] or 'kind not known'}"
    said = "unsure" if row["verdict"] == "unsure" else f"{outcome}: says {row['verdict']}"
    y = MARGIN + LINE + 4
    _plate(draw, (MARGIN, y), f"is {truth}", font, ANOMALOUS if row["label"] else NORMAL, CELL - 2 * MARGIN)
    y += LINE + 4
    end = _plate(draw, (MARGIN, y), f"{said}, {100 * row['confidence']:.0f} %", font, colour, CELL - 2 * MARGIN)
    draw.text((end + MARGIN, y), f"score of the look {row['score']:.2f}", font=font, fill=INK)

    picture = Image.fromarray(thumbnail).resize((width, height), Image.Resampling.BICUBIC)
    marked = Image.fromarray(overlay(as_look(row, heatmap, np.asarray(picture))))
    for left, image in ((MARGIN, picture), (CELL - MARGIN - PANEL, marked)):
        cell.paste(image, (left, top))
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=TABLE)  # white pictures need an edge
    for i, line in enumerate(lines):
        draw.text((MARGIN, top + height + MARGIN + i * LINE), line, font=font, fill=INK)
    return cell


def draw_page(cells: list[Image.Image]) -> Image.Image:
    """Cells in reading order, COLUMNS a row; each row as high as its highest cell."""
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    heights = [max(cell.height for cell in row) for row in rows]
    columns = min(COLUMNS, len(cells))
    page = Image.new("RGB", (GAP + columns * (CELL + GAP), GAP + sum(height + GAP for height in heights)), TABLE)
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            x = GAP + column * (CELL + GAP)
            page.paste(PAPER, (x, y, x + CELL, y + height))
            page.paste(cell, (x, y))
        y += height + GAP
    return page


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Text as lines at most `width` pixels long, broken at blanks, within words only where one is too long.

    Always at least one line, which may be empty.
    """
    lines = [""]
    for word in _printable(text).split():
        joined = f"{lines[-1]} {word}".lstrip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text in one line of `width` pixels; what does not fit is dots."""
    text = _printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _printable(text: str) -> str:
    """On one line in letters that Pillow's own font has: accents are dropped, dashes become "-", others "?"."""
    dashes = {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2212"}
    folded = unicodedata.normalize("NFKD", plain(text).translate(dashes))
    return "".join(letter if letter.isascii() else "?" for letter in folded if not unicodedata.combining(letter))


def _plate(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont,
    colour: tuple[int, int, int],
    width: int,
) -> int:
    """White text on a coloured plate, cut to `width` pixels; returns the plate's right edge."""
    text = _cut(text, font, width - 10)
    right = corner[0] + round(font.getlength(text)) + 10
    draw.rectangle((corner[0], corner[1], right, corner[1] + LINE), fill=colour)
    draw.text((corner[0] + 5, corner[1] + 1), text, font=font, fill=PAPER)
    return right


def _outcome(row: dict[str, Any]) -> tuple[str, tuple[int, int, int]]:
    """The verdict against the label, as a word and a colour."""
    if row["verdict"] == "unsure":
        return "unsure", UNSURE
    return ("right", RIGHT) if (row["verdict"] == "anomalous") == (row["label"] == 1) else ("wrong", WRONG)


def as_look(row: dict[str, Any], heatmap: np.ndarray, picture: np.ndarray) -> Look:
    """What `assistant.render` needs of a look, so that sheet and page draw alike."""
    regions = tuple(Region(**{**region, "box": tuple(region["box"])}) for region in row.get("regions", ()))
    size = tuple(row.get("size") or picture.shape[1::-1])
    return Look(size, row["score"], heatmap.astype(np.float32), regions if row.get("size") else (), picture, tokens={})


def kept_arrays(run: Path, index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Heatmap and thumbnail of a prediction; None for one that has no thumbnail."""
    file = run / "maps" / f"{index:06d}.npz"
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        return (arrays["heatmap"], arrays["thumbnail"]) if "thumbnail" in arrays else None


def main(
    run: Annotated[Path, typer.Argument(help="Folder of eval.run.")],
    out: Annotated[Path, typer.Argument(help="PNG to write; with several pages OUT-1.png, OUT-2.png and so on.")],
    count: Annotated[int, typer.Option(min=1, help="Answers to show.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the choice.")] = 0,
) -> None:
    """Draws random answers of a run as a sheet to read."""
    pages = drawn_pages(run, count, seed)
    for number, page in enumerate(pages, start=1):
        file = out if len(pages) == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        try:
            page.save(file)
        except (OSError, ValueError):
            raise MediaError(
                f"The sheet {file.name!r} cannot be written.", "Name a .png in an existing folder."
            ) from None
        typer.echo(f"wrote {file}")


if __name__ == "__main__":
    command.run(main)
