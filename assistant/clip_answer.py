"""An answer about a new clip in parts: verdict, when, where, why, camera, what it was held against, and how far to
trust it. All of it was measured over the clip; Markdown whose foreign text is escaped.
"""

from __future__ import annotations

from assistant.answer import where_words, why_unsure
from assistant.chart import span_link, span_times
from assistant.exchange import linked
from assistant.render import escape, plain, verdict_line
from assistant.types import ClipFacts, Finding, Look, Span

SHOWN = 4
"""Spans that an answer names; all of them are in the chart."""


def clip_in_parts(words: str, look: Look, finding: Finding, number: int) -> str:
    """The whole answer as Markdown.

    Args:
        words: the answer, not escaped.
        look, finding: what it is about; the look is one at a clip.
        number: of the exchange whose moments and regions the links show.
    """
    facts = look.clip
    lines = []
    if why := why_unsure(look, finding):
        lines.append(f"- **Why unsure:** {_inline(why)}")
    if facts.spans:
        lines.append(f"- **When:** {_when(facts, number)}")
    if look.regions and finding.verdict != "normal":
        lines.append(f"- **Where:** {where_words(look.regions, number)}, at {look.time:.1f} s")
    if facts.spans:
        lines.append(f"- **Why:** {_why(facts.spans)}")
    lines.append(f"- **Camera:** {facts.camera}. {_inline(facts.motion)}".rstrip())
    if facts.normal and facts.normal not in words:  # the measured sentence says it already
        lines.append(f"- **Held against:** {_inline(facts.normal)}")
    if facts.rules:
        lines.append(f"- **Rules of normality:** {_inline(' '.join(facts.rules))}")
    if look.warnings:
        lines.append(f"- **Note:** {_inline(look.warnings[0])}")
    head = f"**{verdict_line(finding)}.** {linked(escape(words.strip()), look.regions, number)}"
    return f"{head}\n\n" + "\n".join(lines)


def _when(facts: ClipFacts, number: int) -> str:
    named = [
        f"[{span_times(span)}]({span_link(span, number, index)})"
        for index, span in enumerate(facts.spans[:SHOWN], start=1)
    ]
    more = len(facts.spans) - SHOWN
    return "; ".join(named) + (f"; and {more} more" if more > 0 else "")


def _why(spans: tuple[Span, ...]) -> str:
    """What sets the spans apart, each reason once, the strongest first."""
    reasons = dict.fromkeys(span.reason for span in sorted(spans, key=lambda span: -span.score) if span.reason)
    return _inline("; ".join(list(reasons)[:SHOWN]))


def _inline(text: str) -> str:
    """Foreign text escaped that stands behind other words: a number there begins no list."""
    return escape(f":{plain(text)}")[1:]
