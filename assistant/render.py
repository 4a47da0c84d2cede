"""Findings for people: the heatmap drawn on the picture, and verdict, places and warnings as text.

Nothing here needs a model. A colour means the same on all pictures: the heatmap's values are drawn as they are and
never stretched to a picture's own range, so a normal picture stays untouched.
"""

from __future__ import annotations

import html
import os
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from assistant.clip_words import clip_lines
from assistant.errors import MediaError
from assistant.prompts import kind_words, percent
from assistant.types import Finding, Frame, Look, Media, Region

OPACITY = 0.55
"""Of the heatmap's colours where nobody asks for another."""
CLEAR_BELOW, SOLID_FROM = 0.4, 0.85
"""Heatmap values below which nothing is drawn and from which the colour has its full opacity."""
_ANCHORS = (
    (0.0, (40, 11, 84)), (0.25, (101, 21, 110)), (0.45, (159, 42, 99)), (0.6, (212, 72, 66)),
    (0.75, (245, 125, 21)), (0.9, (250, 193, 39)), (1.0, (252, 255, 164)),
)  # fmt: skip
"""(heatmap value, RGB): dark violet over red and orange to light yellow, lightness rising evenly."""
STATES = {
    "loading": "Loading the model …", "waiting": "Waiting for another answer to be finished …",
    "remembering": "Looking at the references …",
    "looking": "First look: the whole picture. Second look: what is odd in it …",
    "watching": "First look: all over the clip …", "closer": "Second look: where something rises in it …",
    "keys": "Looking closely at its key frames …",
    "answering": "Answering …",
    "deciding": "Weighing the verdict …", "adding": "Asking for cause and advice …", "": "",
}  # fmt: skip
"""What the page says while the assistant is at work, by the name of a `session.Stage`."""
SHARES = {
    "remembering": (0.02, 0.1), "looking": (0.25, 0.25), "watching": (0.1, 0.35), "closer": (0.35, 0.45),
    "keys": (0.45, 0.5), "answering": (0.5, 0.5), "deciding": (0.75, 0.75), "adding": (0.85, 0.85),
}  # fmt: skip
"""How far a turn is when these states begin and end, 0..1, as the page's bar shows it; unknown in the others."""
_BOX, _BOX_EDGE = (255, 255, 255), (10, 10, 10)
_MARKS = re.compile(r"[\\`*_\[\]|~$^]")
_STARTS = re.compile(r"^([ \t]*)(?:([#+=-])|(\d+)([.)]))", re.MULTILINE)
_LINKS = re.compile(r"(?<=\w)(:)(?=//)|(?<=www)(\.)|(?<=\w)(@)(?=\w)", re.IGNORECASE)


def colour_table() -> np.ndarray:
    """[256, 3] uint8 RGB: row i is the colour of heatmap value i / 255."""
    at = np.linspace(0, 1, 256)
    values, colours = zip(*_ANCHORS, strict=True)
    return np.stack([np.interp(at, values, channel) for channel in zip(*colours, strict=True)], axis=1).astype(np.uint8)


def overlay(look: Look, opacity: float = OPACITY, boxes: bool = True, focus: int = 0) -> np.ndarray:
    """The look's thumbnail with its heatmap and numbered boxes, [h, w, 3] uint8 RGB, the thumbnail's size.

    Args:
        look: the look to draw; its heatmap may have another size than its thumbnail.
        opacity: of the colour where the heatmap is SOLID_FROM or more, 0..1; below CLEAR_BELOW nothing is drawn.
        boxes: whether the regions' boxes and numbers (1 is the first region) are drawn.
        focus: number of a region whose surroundings are darkened, 0 for none.

    Raises ValueError when `opacity` is outside 0..1.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, but must be in 0..1")
    height, width = look.thumbnail.shape[:2]
    heat = np.asarray(look.heatmap, np.float32)
    if heat.shape != (height, width):
        heat = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    heat = np.nan_to_num(heat).clip(0, 1)
    alpha = opacity * ((heat - CLEAR_BELOW) / (SOLID_FROM - CLEAR_BELOW)).clip(0, 1)[..., None]
    colours = colour_table()[np.rint(255 * heat).astype(np.uint8)]
    drawn = np.rint(look.thumbnail * (1 - alpha) + colours * alpha).astype(np.uint8)
    if 1 <= focus <= len(look.regions):
        _darken_around(drawn, look.regions[focus - 1], look.size)
    return _with_boxes(drawn, look.regions, look.size) if boxes and look.regions else drawn


def _darken_around(pixels: np.ndarray, region: Region, size: tuple[int, int]) -> None:
    """Everything but the region's box and a margin at 40 % brightness, in place."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = region.box
    margin = max(4, round(max(height, width) / 40))
    left, right = round(x1 * width / size[0]) - margin, round(x2 * width / size[0]) + margin
    top, bottom = round(y1 * height / size[1]) - margin, round(y2 * height / size[1]) + margin
    kept = (slice(max(0, top), bottom), slice(max(0, left), right))
    bright = pixels[kept].copy()
    pixels[:] = np.rint(0.4 * pixels).astype(np.uint8)
    pixels[kept] = bright


def save_overlay(look: Look, path: Path, opacity: float = OPACITY, boxes: bool = True) -> None:
    """Write the overlay as a PNG, whatever the name's ending; the file is complete or not there at all.

    Raises MediaError when the folder or file cannot be written.
    """
    image = Image.fromarray(overlay(look, opacity, boxes))
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:40]}.", delete=False) as aside:
            image.save(aside, format="PNG")
        os.chmod(aside.name, 0o644)  # temporary files are private, a result is an ordinary file
        os.replace(aside.name, path)
    except OSError:
        if "aside" in locals():
            Path(aside.name).unlink(missing_ok=True)
        raise MediaError(f"The picture '{plain(path.name)}' could not be written.", "Check its folder.") from None


def verdict_line(finding: Finding) -> str:
    """The verdict and how sure it is, in words: "Anomalous, 93 % sure"."""
    sure = "more than 99 %" if finding.confidence > 0.995 else f"{100 * finding.confidence:.0f} %"
    if finding.verdict == "unsure":
        side = "anomalous" if finding.verdict_probability >= 0.5 else "normal"
        return f"Unsure, {sure} for {side}"
    where = f": view {finding.view}" if finding.view and finding.verdict == "anomalous" else ""
    return f"{finding.verdict.capitalize()}, {sure} sure{where}"


def score_line(finding: Finding) -> str:
    """The score against its threshold in one line."""
    source = f" ({plain(finding.threshold_source)})" if finding.threshold_source else ""
    of = f" of view {finding.view}" if finding.view else ""
    return f"Score {finding.score:.2f}{of}, threshold {finding.threshold:.2f}{source}"


def summary_lines(finding: Finding) -> list[str]:
    """Verdict, score, where, and warnings as plain text without control characters, one line each."""
    lines = [verdict_line(finding), score_line(finding)]
    if finding.clip is not None:
        lines += [plain(line) for line in clip_lines(finding.clip)]
    for number, region in enumerate(finding.regions, start=1):
        lines.append(
            f"{number}. {region.place}: {percent(region.area)} of the picture, peak {region.peak:.2f}, "
            f"{region.tone}, {region.shape}, box {region.box[0]},{region.box[1]} to {region.box[2]},{region.box[3]}"
        )
    if not finding.regions:
        lines.append("Nothing stands out on the map.")
    if line := kinds_line(shown_kinds(finding)):
        lines.append(line)
    return lines + [f"Note: {plain(warning)}" for warning in finding.warnings]


def kinds_line(kinds: Sequence[tuple[str, float]]) -> str:
    """The kinds of defect it could be: "Could be: crack 78 %, scratch 12 %"; "" where none is possible."""
    words = kind_words(kinds)
    return f"Could be: {words}" if words else ""


def shown_kinds(finding: Finding) -> tuple[tuple[str, float], ...]:
    """The kinds of a finding; none beside a verdict of normal."""
    return () if finding.verdict == "normal" else finding.kinds


def evidence_markdown(
    regions: Sequence[Region], warnings: Sequence[str], kinds: Sequence[tuple[str, float]] = ()
) -> str:
    """The table of regions, the likely kinds and the warnings, as Markdown with all foreign text escaped."""
    parts = (regions_markdown(regions), escape(kinds_line(kinds)), warnings_markdown(warnings))
    return "\n\n".join(part for part in parts if part)


def regions_markdown(regions: Sequence[Region]) -> str:
    """A Markdown table of the regions, numbered as in the overlay, or one sentence when there is none."""
    if not regions:
        return "Nothing stands out on the map."
    rows = ["| | Place | Of picture | Peak | Box in pixels |", "| --: | :-- | --: | --: | :-- |"]
    for number, region in enumerate(regions, start=1):
        x1, y1, x2, y2 = region.box
        box = f"{x1}, {y1} – {x2}, {y2}"
        rows.append(f"| {number} | {escape(region.place)} | {percent(region.area)} | {region.peak:.2f} | {box} |")
    return "\n".join(rows)


def warnings_markdown(warnings: Sequence[str]) -> str:
    """The warnings as quoted Markdown lines, escaped; empty when there is none."""
    return "\n>\n".join(f"> ⚠ {escape(plain(warning))}" for warning in warnings)


def status_html(state: str, failure: str = "", ahead: int = 0, frame: int = 0, frames: int = 0) -> str:
    """The line that says what the assistant is doing, one of STATES; screen readers announce it.

    Args:
        state: key of STATES.
        failure: said instead when it is not empty.
        ahead: questions that are answered before this one.
        frame, frames: which frame of a clip is looked at, from 1, out of how many; 0 where none are counted.
    """
    words = STATES[state]
    if ahead:
        words = f"Waiting: {ahead} {'question is' if ahead == 1 else 'questions are'} ahead of yours …"
    value, count = "", ""
    if state in SHARES:
        begin, end = SHARES[state]
        value = f' value="{begin + (end - begin) * frame / max(1, frames):.3g}"'
    if frames:  # not announced: a voice that counts to thirty hides everything else
        count = f' <span class="count" aria-hidden="true">frame {frame} of {frames}</span>'
    bar = f'<progress max="1"{value} aria-label="progress"></progress>' if state and not failure else ""
    said = f'<span role="status" aria-live="polite">{html.escape(failure or words)}</span>'
    return f"<div>{said}{count}</div>{bar}"


def small_copy(media: Media, folder: str, side: int) -> Path:
    """Write a copy of the picture, at most `side` pixels long, to a new file in `folder`.

    Browsers cannot show every kind of file that is read.
    """
    image = Image.fromarray(media.frames[0].pixels)
    image.thumbnail((side, side))
    file = Path(tempfile.mkdtemp(dir=folder)) / "picture.webp"
    image.save(file)
    return file


def with_play_mark(frame: Frame) -> Frame:
    """The frame under a triangle on a round plate, by which a clip is told from a picture."""
    image = Image.fromarray(frame.pixels)
    drawn = Image.new("L", image.size, 0)
    x, y, radius = image.width / 2, image.height / 2, min(image.size) / 7
    draw = ImageDraw.Draw(drawn)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=150)
    image.paste(_BOX_EDGE, mask=drawn)
    corners = [(x + radius * across, y + radius * down) for across, down in ((-0.35, -0.5), (-0.35, 0.5), (0.55, 0.0))]
    ImageDraw.Draw(image).polygon(corners, fill=_BOX)
    return Frame(np.asarray(image), frame.time)


def references_line(count: int, clips: int = 0) -> str:
    """What the page says below the references, of which `clips` are clips."""
    if not count:
        return (
            "With one to eight normal pictures of the same product, or for clips a normal clip of the same scene, "
            "every look is a comparison with them."
        )
    if clips:
        held = f"Every look at a clip is held against {'this clip' if count == 1 else f'these {count} references'}"
        few = count - clips
        pictures = ("this picture" if few == 1 else f"the {few} pictures among them") if few else ""
        return f"{held}, {f'a picture against {pictures} only' if few else 'a picture is looked at by itself'}."
    return f"Every look is held against {'this picture' if count == 1 else f'these {count} pictures'}."


def plain(text: str) -> str:
    """Text on one line without control, bidirectional or invisible characters; terminals and pages show it as it is."""
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join("".join(kept).split())


def escape(text: str) -> str:
    """Text of users and models as Markdown that shows exactly this text: no tags, links, pictures or formatting.

    Line breaks and indentation stay. Ordinary sentences come out unchanged, for those who copy or hear them.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKS.sub(lambda match: "\\" + match[0], text)
    text = _LINKS.sub(lambda match: f"&#{ord(match[0])};", text)  # addresses that Markdown makes links by itself
    text = _STARTS.sub(lambda match: f"{match[1]}{match[3] or ''}\\{match[2] or match[4]}", text)
    return re.sub(r"^[ \t]+", lambda match: "&nbsp;" * len(match[0].expandtabs(4)), text, flags=re.MULTILINE)


def _with_boxes(pixels: np.ndarray, regions: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
    """[h, w, 3] uint8 with numbered boxes; `size` is the (width, height) that the boxes' pixels belong to."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    line = max(1, round(min(width, height) / 250))
    font = ImageFont.load_default(size=max(9, round(min(width, height) / 26)))
    scale_x, scale_y = width / size[0], height / size[1]
    for number, region in reversed(list(enumerate(regions, start=1))):  # the strongest region is drawn on top
        x1, y1, x2, y2 = region.box
        left, top = max(0, round(x1 * scale_x) - line), max(0, round(y1 * scale_y) - line)
        right, bottom = min(width - 1, round(x2 * scale_x) + line), min(height - 1, round(y2 * scale_y) + line)
        right, bottom = max(right, left), max(bottom, top)
        draw.rectangle((left, top, right, bottom), outline=_BOX_EDGE, width=3 * line)
        draw.rectangle(
            (left + line, top + line, max(right - line, left + line), max(bottom - line, top + line)),
            outline=_BOX,
            width=line,
        )
        _label(draw, str(number), (left, top), font, (width, height))
    return np.asarray(image)


def _label(
    draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> None:
    """A number on a dark plate above the box's top left corner, moved inside where there is no room."""
    x1, y1, x2, y2 = draw.textbbox((0, 0), text, font=font)
    margin = max(2, round((y2 - y1) / 3))
    wide, high = round(x2 - x1) + 2 * margin, round(y2 - y1) + 2 * margin
    left = max(0, min(corner[0], size[0] - wide))
    top = corner[1] - high if corner[1] >= high else min(corner[1], max(0, size[1] - high))
    draw.rectangle((left, top, left + wide, top + high), fill=_BOX_EDGE)
    draw.text((left + margin - x1, top + margin - y1), text, font=font, fill=_BOX)
