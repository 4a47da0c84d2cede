"""The report of a conversation as a PDF: the same passages as the HTML page, laid out for A4."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from PIL import Image

from assistant.chart import mark_text, marks, points
from assistant.render import plain
from assistant.report import HEADERS, PICTURE_SIDE, Block, Report, blocks
from assistant.types import ClipFacts

WIDTHS = (1, 4, 3, 2, 6, 6)
"""Relative widths of the columns of the table of regions."""
Images = Sequence[tuple[str, np.ndarray]]
"""(what it shows, [h, w, 3] uint8)"""
IN_A_ROW = 4
GAP = 4.0
"""Between two pictures, millimetres."""
CHART_HIGH = 26.0
"""Of the chart of a clip, millimetres."""
SPAN_COLOUR = (246, 216, 204)
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
    if page.will_page_break(24 if not block.images else 24 + _height(page, block.images[:IN_A_ROW])):
        page.add_page()
    _line(page, block.passage.question or "(picture only)", 11, bold=True)
    _images(page, block.images)
    if block.clip is not None:
        _chart(page, block.clip, block.passage.look.threshold)
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


def _chart(page: FPDF, facts: ClipFacts, threshold: float) -> None:
    """The score over time with the spans shaded and the threshold as a broken line."""
    left, wide, high = page.l_margin + 8, page.epw - 10, CHART_HIGH
    if page.will_page_break(high + 14):
        page.add_page()
    top = page.get_y() + 6

    def at(share: float, score: float) -> tuple[float, float]:
        return left + wide * share, top + high * (1 - score)

    page.set_fill_color(*SPAN_COLOUR)
    for span in facts.spans:
        start, end = span.start / facts.duration, span.end / facts.duration
        page.rect(left + wide * start, top, max(0.4, wide * (end - start)), high, style="F")
    page.set_fill_color(255)
    page.set_draw_color(150)
    page.set_line_width(0.2)
    page.line(left, top + high, left + wide, top + high)
    page.line(left, top, left, top + high)
    page.set_draw_color(*VERDICT_COLOURS["anomalous"])
    page.set_dash_pattern(dash=1.2, gap=0.9)
    page.line(*at(0, threshold), *at(1, threshold))
    page.set_dash_pattern()
    page.set_draw_color(30)
    page.set_line_width(0.4)
    page.polyline([at(share, score) for share, score in points(facts)])
    page.set_draw_color(0)
    page.set_line_width(0.2)
    page.set_font("text", size=7)
    page.set_text_color(90)
    for score, word in ((1.0, "1"), (0.0, "0")):
        page.text(left - 4, top + high * (1 - score) + 1, word)
    page.text(left, top - 1.2, "score over time")
    named = f"threshold {threshold:.2f}"
    page.text(left + wide - page.get_string_width(named), top - 1.2, named)
    for second in marks(facts.duration):
        page.text(left + wide * second / facts.duration, top + high + 3.4, mark_text(second, facts.duration))
    page.set_text_color(0)
    page.set_y(top + high + 6)


def _line(page: FPDF, text: str, size: float, *, bold: bool = False) -> None:
    """Wrapped text; a word that is longer than the line is cut."""
    page.set_font("text", style="B" if bold else "", size=size)
    words = plain(text)
    if words:
        page.multi_cell(0, size * 0.5, words, new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode="WORD", align="L")


def _height(page: FPDF, images: Images) -> float:
    """Of a row of pictures, millimetres: as wide as the page allows, at most 90 high."""
    wide = (page.epw - GAP * (len(images) - 1)) / len(images)
    return min(90.0, max(wide * pixels.shape[0] / pixels.shape[1] for _, pixels in images))


def _images(page: FPDF, images: Images) -> None:
    """Rows of at most IN_A_ROW pictures, what each shows under it."""
    for first in range(0, len(images), IN_A_ROW):
        row = images[first : first + IN_A_ROW]
        high = _height(page, row)
        if first and page.will_page_break(high + 6):
            page.add_page()
        left, top, wide = page.l_margin, page.get_y() + 1, (page.epw - GAP * (len(row) - 1)) / len(row)
        page.set_font("text", size=7)
        page.set_text_color(90)
        for title, pixels in row:
            image = Image.fromarray(pixels)
            image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
            page.image(image, x=left, y=top, w=wide, h=high, keep_aspect_ratio=True, alt_text=f"The picture {title}")
            page.text(left, top + high + 3.4, title)
            left += wide + GAP
        page.set_text_color(0)
        page.set_y(top + high + 5)
