"""The list of a batch as CSV, JSON and one HTML file that needs nothing beside it.

Names come from strangers' files: they are escaped in HTML, and in CSV nothing that a spreadsheet would run as a formula
is written as such.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from assistant.batch import STANDS_OUT, Batch, Row
from assistant.batch_store import write_whole
from assistant.prompts import kind_words, percent
from assistant.render import overlay, plain

COLUMNS = (
    "rank", "file", "verdict", "suspicion", "score", "threshold", "mutual", "place", "area", "box", "kinds", "warnings",
    "problem",
)  # fmt: skip
"""Of the CSV; place, area and box are of the first region."""
THUMBNAIL_SIDE, OVERLAY_SIDE = 96, 480
MAX_OVERLAYS = 300
"""Pictures whose heatmap the HTML file holds, the most suspicious ones: about 30 KB each."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
TEMPLATE = Path(__file__).with_name("batch_report.html.j2")


def to_dict(batch: Batch) -> dict[str, Any]:
    """The batch as JSON values; floats rounded to 4 places."""
    return {
        "profile": batch.profile,
        "threshold": _rounded(batch.threshold),
        "threshold_source": batch.threshold_source,
        "stands_out_from": STANDS_OUT,
        "pictures": len(batch.rows),
        "not_read": sum(bool(row.problem) for row in batch.rows),
        "seconds": round(batch.seconds, 1),
        "notes": list(batch.notes),
        "rows": [_row_dict(row) for row in batch.rows],
    }


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "file": row.name,
        "verdict": row.verdict,
        "suspicion": _rounded(row.suspicion),
        "score": _rounded(row.score),
        "threshold": _rounded(row.threshold),
        "mutual": _rounded(row.mutual),
        "regions": [
            {**vars(region), "box": list(region.box)}
            | {name: _rounded(getattr(region, name)) for name in ("area", "peak", "mean")}
            for region in row.regions
        ],
        "kinds": [{"name": name, "probability": _rounded(share)} for name, share in row.kinds],
        "warnings": list(row.warnings),
        "problem": row.problem,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def to_json(batch: Batch) -> str:
    """The batch as JSON text."""
    return json.dumps(to_dict(batch), ensure_ascii=False, indent=1)


def to_csv(batch: Batch) -> str:
    """The batch as CSV text, one line a picture, COLUMNS first."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(COLUMNS)
    for row in batch.rows:
        first = row.regions[0] if row.regions else None
        numbers = (_shown(value) for value in (row.suspicion, row.score, row.threshold, row.mutual))
        lines.writerow([
            row.rank or "", harmless(row.name), row.verdict, *numbers,
            first.place if first else "", _shown(first.area if first else None),
            " ".join(str(side) for side in first.box) if first else "",
            kind_words(row.kinds), harmless(" ".join(row.warnings)), harmless(row.problem),
        ])  # fmt: skip
    return text.getvalue()


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before one (OWASP, CSV injection)."""
    text = plain(text) if not text.startswith(_FORMULA) else f"'{plain(text)}"
    return f"'{text}" if text.startswith(_FORMULA) else text


def to_html(batch: Batch, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """The batch as one HTML page with small pictures and heatmaps inside; it asks no other file or site for anything.

    Args:
        batch: of `run_batch`.
        progress: is told how many rows are drawn, and of how many.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    rows = []
    for number, row in enumerate(batch.rows):
        rows.append(_html_row(batch, row, number < MAX_OVERLAYS))
        progress(number + 1, len(batch.rows))
    return template.render(batch=batch, rows=rows, summary=summary(batch), stands_out=STANDS_OUT, overlays=MAX_OVERLAYS)


def _html_row(batch: Batch, row: Row, large: bool) -> dict[str, Any]:
    small = big = ""
    if row.key:
        look = batch.look(row)
        small = data_uri(look.thumbnail, THUMBNAIL_SIDE)
        big = data_uri(overlay(look), OVERLAY_SIDE) if large else ""
    return {"row": row, "small": small, "big": big, "where": where(row), "kinds": kind_words(row.kinds)}


def where(row: Row) -> str:
    """Where the first places are, in words: "top left (0.7 %), centre (0.2 %)"."""
    return ", ".join(f"{region.place} ({percent(region.area)})" for region in row.regions[:3])


def summary(batch: Batch) -> str:
    """The batch in a sentence."""
    counts = {name: sum(row.verdict == name for row in batch.rows) for name in ("anomalous", "stands out", "not read")}
    words = f"{len(batch.rows)} pictures: {counts['anomalous']} over the threshold {batch.threshold_words}"
    words += f", {counts['stands out']} more stand out of the batch"
    return words + (f", {counts['not read']} could not be read." if counts["not read"] else ".")


def data_uri(pixels: np.ndarray, side: int) -> str:
    """[h, w, 3] uint8 RGB as a JPEG of at most `side` pixels inside an address."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"


def write_reports(batch: Batch, folder: Path) -> list[Path]:
    """Writes report.csv, report.json and report.html, each whole or not at all; the files.

    Raises:
        LookTwiceError: the folder cannot be written.
    """
    made: Iterable[tuple[str, str]] = (
        ("report.csv", "\ufeff" + to_csv(batch)),  # the mark makes spreadsheets read it as UTF-8
        ("report.json", to_json(batch)),
        ("report.html", to_html(batch)),
    )
    files = []
    for name, text in made:
        write_whole(folder / name, text.encode("utf-8", "replace"))
        files.append(folder / name)
    return files
