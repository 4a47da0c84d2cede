"""A conversation as files that stand alone: HTML and PDF for people, JSON, COCO and masks for programs.

Words of users and models, and names of files, are foreign text: they are escaped, and never run or fetch anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from assistant import __version__
from assistant.batch_report import data_uri
from assistant.batch_store import write_whole
from assistant.chart import STYLE as CHART_STYLE
from assistant.chart import chart_html
from assistant.clip_words import clip_lines
from assistant.exchange import Exchange, pictures_in
from assistant.prompts import percent
from assistant.render import kinds_line, overlay, plain, score_line, shown_kinds, verdict_line
from assistant.report_data import coco_json, findings_json, masks_zip
from assistant.types import ClipFacts, Finding, Look
from assistant.versions import split_name

PICTURE_SIDE = 640
"""Longest side of a picture in the report, pixels."""
TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True, eq=False)
class Passage:
    """One question with its answer; look and finding where there was a picture."""

    question: str
    answer: str
    look: Look | None = None
    finding: Finding | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """A conversation to be written down.

    Attributes:
        passages: oldest first.
        profile, weights: the model, and which of its weights answered.
        made: when, ISO 8601 in UTC.
        program: name and version.
    """

    passages: tuple[Passage, ...]
    profile: str
    weights: str
    made: str
    program: str = f"LookTwice {__version__}"

    @property
    def model(self) -> str:
        """What gave the figures, in words."""
        return f"{self.program}, profile {self.profile}, weights {self.weights}"


@dataclass(frozen=True, eq=False)
class Block:
    """A passage as both kinds of page show it: `images` are (title, [h, w, 3] uint8), `lines` plain text.

    `clip` is what was measured over a clip where it is first spoken of, None elsewhere.
    """

    passage: Passage
    images: tuple[tuple[str, np.ndarray], ...]
    verdict: str
    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    clip: ClipFacts | None = None


HEADERS = ("", "Place", "Of picture", "Peak", "Tone and shape", "Box in pixels")


def report_of(exchanges: Sequence[Exchange], model: str) -> Report:
    """The report of a conversation's exchanges; questions without an answer are left out.

    Args:
        exchanges: oldest first.
        model: name of the profile, with the version of its weights unless they are the shipped ones.
    """
    profile, weights = split_name(model)
    passages = tuple(
        Passage(each.question, _whole(each), each.look or each.record, each.finding)
        for each in exchanges
        if each.answer or each.finding
    )
    return Report(passages, profile, weights, datetime.now(UTC).isoformat(timespec="seconds"))


def _whole(exchange: Exchange) -> str:
    """The answer with its further parts, a line each."""
    return "\n".join([exchange.answer, *(f"{name}: {text}" for name, text in exchange.said.items())])


def blocks(report: Report) -> list[Block]:
    """What stands in the report, passage by passage; a picture is shown where it is first spoken of."""
    shown: set[int] = set()
    made = []
    for passage in report.passages:
        look, finding = passage.look, passage.finding
        images: tuple[tuple[str, np.ndarray], ...] = ()
        new = look is not None and id(look) not in shown
        if new:
            shown.add(id(look))
            images = _images(look)
        lines = []
        if look is not None:
            what = "Picture" if look.clip is None else "Clip"
            lines.append(f"{what}: {look.name}, {look.size[0]} x {look.size[1]} pixels")
        if new and look.clip is not None:
            lines += [plain(line) for line in clip_lines(look.clip)]
        if finding is not None:
            held = f", held against {finding.references} normal references" if finding.references else ""
            lines.append(score_line(finding) + held)
            if line := kinds_line(shown_kinds(finding)):
                lines.append(line)
            lines += [f"Note: {warning}" for warning in finding.warnings]
        rows = _rows(finding) if finding is not None and images else ()
        verdict = verdict_line(finding) if finding is not None else ""
        made.append(Block(passage, images, verdict, tuple(lines), rows, look.clip if new else None))
    return made


def _images(look: Look) -> tuple[tuple[str, np.ndarray], ...]:
    """(title, [h, w, 3] uint8) of a picture, of a clip's key frames, or of an object's views."""
    known = pictures_in(look)
    if look.clip is not None:
        return tuple((f"at {one.time:.1f} s, score {one.score:.2f}", overlay(one)) for one in known)
    if len(known) > 1:
        return tuple((f"view {n}, score {one.score:.2f}", overlay(one)) for n, one in enumerate(known, start=1))
    return (("as given", look.thumbnail), ("with heatmap and regions", overlay(look)))


def _rows(finding: Finding) -> tuple[tuple[str, ...], ...]:
    rows = []
    for number, region in enumerate(finding.regions, start=1):
        x1, y1, x2, y2 = region.box
        facts = (region.place, percent(region.area), f"{region.peak:.2f}", f"{region.tone}, {region.shape}")
        rows.append((str(number), *facts, f"{x1}, {y1} to {x2}, {y2}"))
    return tuple(rows)


def to_html(report: Report) -> str:
    """The report as one page with its pictures inside; it asks no other file or site for anything."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    shown: list[dict[str, Any]] = [
        {
            "block": block,
            "images": [(title, data_uri(pixels, PICTURE_SIDE)) for title, pixels in block.images],
            "chart": Markup(chart_html(block.clip, block.passage.look.threshold)) if block.clip is not None else "",
        }
        for block in blocks(report)
    ]
    style = Markup(CHART_STYLE.read_text(encoding="utf-8"))
    return template.render(report=report, shown=shown, headers=HEADERS, chart_style=style)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes report.html, report.pdf, findings.json, coco.json and masks.zip, each whole or not at all; the files.

    Raises:
        LookTwiceError: the folder cannot be written.
    """
    from assistant.report_pdf import to_pdf  # fonts are looked for while it is imported

    made = {
        "report.html": to_html(report).encode("utf-8", "replace"),
        "report.pdf": to_pdf(report),
        "findings.json": findings_json(report).encode("utf-8", "replace"),
        "coco.json": coco_json(report).encode("utf-8", "replace"),
        "masks.zip": masks_zip(report),
    }
    for name, data in made.items():
        write_whole(folder / name, data)
    return [folder / name for name in made]
