"""A run as one page that opens offline: tables, curves, calibration, and the best and worst cases with their words."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from assistant.render import overlay, plain
from eval import charts, score
from eval.sheet import as_look, kept_arrays
from eval.tables import KEY, Shown, cell, label, tables_of

Row = dict[str, Any]
CASES = 6
"""Cases of each sort that are shown."""
PANEL = 320
"""Longest side of a shown picture, pixels."""
OUTLINE = (0, 200, 120)
"""Colour of the line around the true place."""
STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:1240px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 10px;padding-top:12px;border-top:1px solid #e3e5e8}
p.note{color:#59636e;margin:4px 0 12px}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:12.5px;margin:8px 0 20px}
caption{text-align:left;font-weight:600;padding:4px 0;font-size:14px}
th,td{padding:4px 6px;border-bottom:1px solid #eceef0;text-align:right;vertical-align:bottom}
th{font-weight:600;color:#424a53;max-width:9em}th:first-child,td:first-child{text-align:left;white-space:nowrap}
tr.mean td{font-weight:650;border-top:2px solid #c8ccd1}tr.published td{color:#656d76;font-style:italic}
.key{display:flex;flex-wrap:wrap;gap:12px;margin:8px 0}.key div{background:#f4f6f8;border-radius:8px;padding:10px 16px}
.key b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.key span{color:#59636e;font-size:12.5px}
td.right{font-weight:700;background:#eaf6ec}
.charts{display:flex;flex-wrap:wrap;gap:18px}.charts figure{margin:0;flex:1 1 480px;min-width:0}
.charts svg{width:100%;height:auto;max-height:380px}figcaption{font-weight:600;font-size:14px}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(360px,1fr));gap:16px}
.case{border:1px solid #d9dde1;border-radius:8px;padding:12px;overflow-wrap:anywhere}
.case .pair{display:flex;gap:6px}
.case img{width:50%;height:auto;border-radius:4px;background:#f2f3f5;align-self:flex-start}
.case h3{font-size:13px;margin:0 0 6px;color:#59636e;font-weight:500}.tags{margin:8px 0 4px}
.tag{display:inline-block;border-radius:4px;padding:1px 7px;font-size:12.5px;margin-right:5px;color:#fff}
.ok{background:#2b8a3e}.bad{background:#c92a2a}.unsure{background:#b35900}.truth{background:#495057}
.words{margin:6px 0 0;white-space:pre-wrap}
"""


def write_report(run: Path, rows: list[Row], result: dict[str, Any]) -> None:
    """RUN/report.html; the file is complete or not there at all."""
    aside = run / ".report.html.partial"
    aside.write_text(page(run, rows, result), encoding="utf-8")
    aside.replace(run / "report.html")


def page(run: Path, rows: list[Row], result: dict[str, Any]) -> str:
    """The whole page; every text of files and models is escaped, nothing in it is loaded from elsewhere."""
    told = [
        (name, result.get(name))
        for name in ("task", "model", "mode", "shots", "profile")
        if result.get(name) is not None
    ]
    facts = ", ".join(f"{name} {value}" for name, value in told) or "a run from before settings were kept"
    parts = [
        f"<h1>{_text(run.absolute().name)}</h1>",
        f'<p class="note">{_text(facts)}; {len(rows)} samples. Empty cells: the set cannot give that figure. '
        "Rows marked published are other systems' own figures over the whole benchmark, not measured here.</p>",
        key_figures(result["mean"]),
    ]
    groups = [
        ("/".join(part for part in (dataset, category) if part), [rows[index] for index in chosen])
        for dataset, category, chosen in score.groups_of(rows, result["task"], score.is_peer(result))
    ]
    labelled = [row for _, group in groups for row in group]
    if drawn := chart_figures(groups, labelled):
        parts += ["<h2>Curves</h2>", '<div class="charts">', *drawn, "</div>"]
    parts += ["<h2>Figures</h2>", *tables(result)]
    for title, note, indices in cases(rows, run):
        if indices:
            parts += [f"<h2>{title}</h2>", f'<p class="note">{note}</p>', '<div class="cases">']
            parts += [case(run, index, rows[index]) for index in indices]
            parts.append("</div>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(run.absolute().name)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def key_figures(mean: dict[str, float | None]) -> str:
    """The means that a reader looks for first, as large numbers; "" when there are none."""
    shown = "".join(
        f"<div><b>{cell(mean[name])}</b><span>{_text(label(name))}</span></div>"
        for name in KEY
        if mean.get(name) is not None
    )
    return f'<p class="note">Means of the sets:</p><div class="key">{shown}</div>' if shown else ""


def tables(result: dict[str, Any]) -> list[str]:
    """All tables as HTML."""
    parts = [_table(shown) for shown in tables_of(result)]
    sources = sorted({(row["system"], row["source"]) for row in result["published"]})
    if sources:
        named = "; ".join(f"{system}: {source}" for system, source in sources)
        parts.append(f'<p class="note">Sources of the published figures. {_text(named)}.</p>')
    return parts


def chart_figures(groups: Sequence[tuple[str, list[Row]]], rows: list[Row]) -> list[str]:
    """ROC, precision-recall, reliability and histogram, those that the run can give."""
    both = charts.curves(groups)
    drawn = [
        ("ROC of the image score", both and both[0]),
        ("Precision and recall of the image score", both and both[1]),
        ("Calibration of the verdict's stated probability", charts.reliability(rows)),
        ("Scores of normal and anomalous samples", charts.histogram(rows)),
    ]
    return [f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in drawn if svg]


def cases(rows: list[Row], run: Path) -> list[tuple[str, str, list[int]]]:
    """(title, note, indices) of the sections of cases."""
    shown = [
        index for index, row in enumerate(rows)
        if row["label"] is not None and kept_arrays(run, index) is not None
    ]  # fmt: skip

    def ranked(label: int, falling: bool) -> list[int]:
        chosen = [index for index in shown if rows[index]["label"] == label]
        return sorted(chosen, key=lambda index: rows[index]["score"], reverse=falling)[:CASES]

    sections = [
        (
            "Worst: anomalies with the lowest scores",
            "What the look misses; green: where it is, as far as known.",
            ranked(1, False),
        ),
        ("Worst: normal pictures with the highest scores", "What raises false alarms.", ranked(0, True)),
        ("Best: anomalies with the highest scores", "What is found with certainty.", ranked(1, True)),
        ("Best: normal pictures with the lowest scores", "What stays dark.", ranked(0, False)),
    ]
    unfaithful = [
        index for index in shown
        if rows[index].get("explanation") and not score.metrics.faithful(rows[index])
    ][:CASES]  # fmt: skip
    sections.insert(2, ("Words that do not fit their own look", "Yes or no against the score, or a place that the map "
                        "does not show.", unfaithful))  # fmt: skip
    return sections


def case(run: Path, index: int, row: Row) -> str:
    """One sample: picture with the true place outlined, overlay, truth, verdict and words."""
    heatmap, thumbnail = kept_arrays(run, index)
    picture = outlined(thumbnail, kept_mask(run, index))
    if row.get("lit") is None:  # a peer's map: shown on the scale of its own highest value
        heatmap = heatmap.astype(np.float32) / max(float(heatmap.max()), 1e-6)
    marked = overlay(as_look(row, heatmap, thumbnail))
    source = "/".join(dict.fromkeys(part for part in (row["dataset"], row["category"], row["image"]) if part))
    truth = "normal" if row["label"] == 0 else f"anomalous: {row.get('defect') or 'kind not known'}"
    tags = [f'<span class="tag truth">is {_text(truth)}</span>']
    if row.get("verdict"):
        right = (row["verdict"] == "anomalous") == (row["label"] == 1)
        style = "unsure" if row["verdict"] == "unsure" else "ok" if right else "bad"
        sure = f", {100 * row['confidence']:.0f} %" if row.get("confidence") is not None else ""
        tags.append(f'<span class="tag {style}">says {_text(row["verdict"])}{sure}</span>')
    words = row.get("explanation") or "\n".join(
        f"{turn['question']} - {turn['answer']}" for turn in row.get("turns", ())
    )
    lines = "\n".join(plain(line) for line in words.splitlines())
    spoken = f'<p class="words">{html.escape(lines)}</p>' if lines else ""
    return (
        f'<div class="case"><h3>#{index} {_text(source)}, score {row["score"]:.3f}</h3><div class="pair">'
        f'<img alt="picture" src="{_png(picture)}"><img alt="heatmap on the picture" src="{_png(marked)}"></div>'
        f'<div class="tags">{"".join(tags)}</div>{spoken}</div>'
    )


def kept_mask(run: Path, index: int) -> np.ndarray | None:
    """The kept mask [h, w] bool of a sample; None where it is not known."""
    with np.load(run / "maps" / f"{index:06d}.npz") as arrays:
        return arrays["mask"] if "mask" in arrays else None


def outlined(thumbnail: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """A picture [h, w, 3] uint8 with a line around what the mask marks; as it is without a mask."""
    if mask is None or mask.shape != thumbnail.shape[:2] or not mask.any():
        return thumbnail
    around = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_dilation(mask)
    drawn = thumbnail.copy()
    drawn[around] = OUTLINE
    return drawn


def _table(shown: Shown) -> str:
    """HTML of one table."""
    head = "".join(f"<th>{_text(name)}</th>" for name in shown.header)
    body = ""
    for number, (style, cells) in enumerate(shown.lines):
        drawn = (
            f"<td{' class=right' if (number, column) in shown.right else ''}>{_text(text)}</td>"
            for column, text in enumerate(cells)
        )
        body += f'<tr class="{style}">{"".join(drawn)}</tr>'
    return (
        f'<div class="scroll"><table><caption>{_text(shown.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _png(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    if max(image.size) < PANEL:
        scale = PANEL / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _text(text: object) -> str:
    return html.escape(plain(str(text)))
