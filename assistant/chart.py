"""The score of a clip over time as a chart: its spans shaded, its threshold as a line, all of it said in words too.

The curve is an SVG that is stretched to the room it gets, so its lines keep their width; whatever is text stands beside
it as HTML and is never stretched. The same lines go into a PDF by `points`.
"""

from __future__ import annotations

import html
import math
from pathlib import Path

from assistant.types import ClipFacts, Span

SPAN_LINK = "#span-"
"""How the address of a link to a moment begins: "#span-3-1-2100" is the first span of the third exchange, which begins
2,100 milliseconds into the clip."""
STYLE = Path(__file__).with_name("chart.css")
"""How `chart_html` looks, in light and dark."""
WIDTH, HEIGHT = 1000, 100
"""Of the curve's own coordinates."""
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds between two marks of the time axis."""
MOST_MARKS = 7


def clock(seconds: float) -> str:
    """A time as players show it, with tenths: "0:02.1", "1:04:09.0"."""
    tenths = round(10 * max(0.0, seconds))
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{lead}:{rest // 10:02d}.{rest % 10}"


def span_times(span: Span) -> str:
    """From when to when: "0:02.1–0:03.4"."""
    return f"{clock(span.start)}–{clock(span.end)}"


def span_link(span: Span, number: int, index: int) -> str:
    """The address that shows a span: `number` is the exchange's, `index` the span's, from 1."""
    return f"{SPAN_LINK}{number}-{index}-{round(1000 * span.start)}"


def points(facts: ClipFacts) -> list[tuple[float, float]]:
    """The curve as (share of the clip's duration, score), both 0..1, from one end of the clip to the other."""
    if not facts.frames:
        return []
    curve = [(min(1.0, max(0.0, one.time / facts.duration)), one.score) for one in facts.frames]
    return [(0.0, curve[0][1]), *curve, (1.0, curve[-1][1])]


def marks(duration: float) -> list[float]:
    """Seconds at which the time axis is marked: at most MOST_MARKS of them, 0.0 the first."""
    step = next((one for one in STEPS if duration / one < MOST_MARKS), duration / (MOST_MARKS - 1))
    return [number * step for number in range(math.floor(duration / step + 1e-9) + 1)]


def mark_text(seconds: float, duration: float) -> str:
    """The words at a mark of the time axis."""
    if duration < 60:
        return f"{seconds:g} s"
    return clock(seconds)[:-2]


def chart_words(facts: ClipFacts, threshold: float) -> str:
    """What the chart shows, for those who do not see it."""
    if not facts.frames:
        return "There is no score over time."
    top = max(facts.frames, key=lambda one: one.score)
    spans = "; ".join(f"{span_times(span)}, {span.reason}" for span in facts.spans) or "never"
    return (
        f"Score over {clock(facts.duration)}: highest {top.score:.2f} at {clock(top.time)}, threshold {threshold:.2f}. "
        f"Over it: {spans}."
    )


def chart_html(facts: ClipFacts, threshold: float, number: int | None = None) -> str:
    """The chart as HTML.

    Args:
        facts: of the clip; scores and threshold are 0..1.
        threshold: from which a score is called anomalous.
        number: of the exchange whose player the spans' links move; None for a chart without links.
    """
    curve = points(facts)
    if not curve:
        return ""
    line = " ".join(f"{WIDTH * x:.1f},{_y(score):.1f}" for x, score in curve)
    shaded = "".join(
        f'<rect class="over" x="{WIDTH * left:.1f}" y="0" width="{WIDTH * wide:.1f}" height="{HEIGHT}"/>'
        for left, wide in (_extent(span, facts.duration) for span in facts.spans)
    )
    level = _y(threshold)
    words = html.escape(chart_words(facts, threshold))
    drawn = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{words}">{shaded}'
        f'<polygon class="under" points="0,{HEIGHT} {line} {WIDTH},{HEIGHT}"/>'
        f'<line class="level" x1="0" x2="{WIDTH}" y1="{level:.1f}" y2="{level:.1f}"/>'
        f'<polyline class="curve" points="{line}"/></svg>'
    )
    links = "" if number is None else "".join(_over(span, facts, number, n) for n, span in enumerate(facts.spans, 1))
    legend = f'score over time<span class="level-name">threshold {threshold:.2f}</span>'
    now = '<i class="now" hidden></i>' if number is not None else ""
    axis = "".join(
        f'<span style="left:{100 * at / facts.duration:.2f}%">{mark_text(at, facts.duration)}</span>'
        for at in marks(facts.duration)
        if at <= 0.97 * facts.duration
    )
    scale = '<span style="bottom:100%">1</span><span style="bottom:0">0</span>'
    return (
        f'<div class="chart"><div class="legend" aria-hidden="true">{legend}</div>'
        f'<div class="scale" aria-hidden="true">{scale}</div><div class="plot">{drawn}{links}{now}</div>'
        f'<div class="axis" aria-hidden="true">{axis}</div></div>'
    )


def spans_html(facts: ClipFacts, number: int | None = None) -> str:
    """The spans as a list, each with a link that shows it where a `number` is given; a sentence when there is none."""
    if not facts.spans:
        return '<p class="spans">Nothing goes over the threshold.</p>'
    rows = []
    for index, span in enumerate(facts.spans, start=1):
        times = span_times(span)
        if number is not None:
            times = f'<a href="{span_link(span, number, index)}">{times}</a>'
        place = f", {html.escape(span.place)}" if span.place else ""
        rows.append(f"<li>{times} {html.escape(span.reason)}{place}</li>")
    return f'<ol class="spans">{"".join(rows)}</ol>'


def _y(score: float) -> float:
    return HEIGHT * (1 - min(1.0, max(0.0, score)))


def _extent(span: Span, duration: float) -> tuple[float, float]:
    """(left, width) as shares of the duration; never so narrow that it cannot be seen or clicked."""
    left, right = (min(1.0, max(0.0, at / duration)) for at in (span.start, span.end))
    wide = max(right - left, 0.012)
    return min(left, 1 - wide), wide


def _over(span: Span, facts: ClipFacts, number: int, index: int) -> str:
    """The link that lies over a span of the curve."""
    left, wide = _extent(span, facts.duration)
    words = html.escape(f"{span_times(span)}: {span.reason}{f', {span.place}' if span.place else ''}")
    room = f"left:{100 * left:.2f}%;width:{100 * wide:.2f}%"
    address = span_link(span, number, index)
    return f'<a class="jump" href="{address}" style="{room}" aria-label="Show {words}" title="{words}"></a>'
