"""The report of a conversation as a PDF: the same passages as the HTML page, laid out for A4."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from PIL import Image

from assistant.render import plain
from assistant.report import HEADERS, PICTURE_SIDE, Block, Report, blocks

WIDTHS = (1, 4, 3, 2, 6, 6)
"""Relative widths of the columns of the table of regions."""
GAP = 4.0
"""Between two pictures, millimetres."""
VERDICT_COLOURS = {"anomalous": (201, 60, 8), "normal": (35, 112, 51), "unsure": (140, 98, 0)}
for _name in ("fontTools", "fpdf"):  # what a font lacks is shown as a box; nobody need read that in the log
    logging.getLogger(_name).setLevel(logging.ERROR)


@cache
def _fonts() -> tuple[Path, Path]:
    """A plain and a bold font that know Latin, Greek and Cyrillic letters: they come with matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"


class _Page(FPDF):
    """A4 with the page's number at the foot."""

    def footer(self) -> None:
        self.set_y(-12)
        self.set_font("text", size=8)
        self.set_text_color(110)
        self.cell(0, 6, f"{self.page_no()} / {{nb}}", align="R")
        self.set_text_color(0)


def to_pdf(report: Report) -> bytes:
    """The report as PDF bytes; pictures, fonts and text are inside, and it has no links, scripts or forms."""
    page = _Page(format="A4")
    page.set_margin(16)
    page.set_auto_page_break(True, 16)
    regular, bold = _fonts()
    page.add_font("text", fname=regular)
    page.add_font("text", style="B", fname=bold)
    page.set_title("LookTwice: what was found")
    page.set_creator(report.program)
    page.add_page()
    _line(page, "LookTwice: what was found", 16, bold=True)
    _line(page, f"{report.model}. Made {report.made}.", 9)
    if not report.passages:
        _line(page, "Nothing was asked.", 10)
    for block in blocks(report):
        _block(page, block)
    _line(page, "A verdict is advice, not an acceptance test.", 9)
    return bytes(page.output())


def _block(page: FPDF, block: Block) -> None:
    page.ln(4)
    if page.will_page_break(24 if not block.images else 24 + _height(page, block)):
        page.add_page()
    _line(page, block.passage.question or "(picture only)", 11, bold=True)
    _images(page, block)
    if block.verdict:
        page.set_text_color(*VERDICT_COLOURS[block.passage.finding.verdict])
        _line(page, block.verdict, 11, bold=True)
        page.set_text_color(0)
    for paragraph in block.passage.answer.splitlines():
        _line(page, paragraph, 10)
    for line in block.lines:
        _line(page, line, 8.5)
    if block.rows:
        page.set_font("text", size=8.5)
        page.ln(1)
        with page.table(col_widths=WIDTHS, borders_layout="HORIZONTAL_LINES", line_height=5) as table:
            for cells in (HEADERS, *block.rows):
                row = table.row()
                for cell in cells:
                    row.cell(cell)


def _line(page: FPDF, text: str, size: float, *, bold: bool = False) -> None:
    """Wrapped text; a word that is longer than the line is cut."""
    page.set_font("text", style="B" if bold else "", size=size)
    words = plain(text)
    if words:
        page.multi_cell(0, size * 0.5, words, new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode="WORD", align="L")


def _height(page: FPDF, block: Block) -> float:
    """Of the row of pictures, millimetres: as wide as the page allows, at most 90 high."""
    wide = (page.epw - GAP * (len(block.images) - 1)) / len(block.images)
    return min(90.0, max(wide * pixels.shape[0] / pixels.shape[1] for _, pixels in block.images))


def _images(page: FPDF, block: Block) -> None:
    if not block.images:
        return
    high, left, top = _height(page, block), page.l_margin, page.get_y() + 1
    wide = (page.epw - GAP * (len(block.images) - 1)) / len(block.images)
    for title, pixels in block.images:
        image = Image.fromarray(pixels)
        image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        page.image(image, x=left, y=top, w=wide, h=high, keep_aspect_ratio=True, alt_text=f"The picture {title}")
        left += wide + GAP
    page.set_y(top + high + 1)
