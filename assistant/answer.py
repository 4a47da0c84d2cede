"""An answer about a new picture in parts: verdict, where, what it looks like, likely cause, what to do.

Where and what it looks like are measured on the map, so they never contradict the panel; cause and advice are asked
for like any other question: where a kind of defect is likely they are the language model's words. Markdown whose
foreign text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assistant.exchange import linked
from assistant.prompts import percent, size_word
from assistant.render import escape, plain, verdict_line
from assistant.types import Finding, Look, Region

QUESTIONS = {"Likely cause": "What may have caused it?", "What to do": "What should I do?"}
"""Parts that the language model words, and what it is asked for them."""
SHOWN = 3
"""Regions that an answer names."""


def wants_parts(finding: Finding) -> bool:
    """Whether there is a cause to ask for: only where something is wrong at a place that can be shown."""
    return finding.verdict == "anomalous" and bool(finding.regions)


def in_parts(words: str, look: Look, finding: Finding, said: Mapping[str, str], number: int) -> str:
    """The whole answer as Markdown.

    Args:
        words: the answer of the language model, not escaped.
        look, finding: what it is about.
        said: the parts of QUESTIONS that there are so far.
        number: of the exchange whose regions the links show.
    """
    answer = linked(escape(words.strip()), look.regions, number)
    lines = []
    if why := why_unsure(look, finding):
        lines.append(f"- **Why unsure:** {linked(escape(plain(why)), look.regions, number)}")
    if finding.verdict != "normal" and look.regions:
        lines.append(f"- **Where:** {where_words(look.regions, number)}")
        lines.append(f"- **Looks:** {_appearance(look.regions[0])}")
    for name, text in said.items():
        lines.append(f"- **{name}:** {linked(escape(plain(text)), look.regions, number)}")
    head = f"**{verdict_line(finding)}.** {answer}"
    return "\n\n".join([head, "\n".join(lines)] if lines else [head])


def why_unsure(look: Look, finding: Finding) -> str:
    """Why the verdict is "unsure", in a sentence; "" for every other verdict."""
    if finding.verdict != "unsure":
        return ""
    if look.doubt:
        return look.doubt
    if look.references and look.regions and finding.verdict_probability < 0.5:
        return f"The score says normal, but the {look.regions[0].place} is unlike the references."
    return "What was seen speaks about as much for normal as for anomalous."


def where_words(regions: Sequence[Region], number: int) -> str:
    """Places and sizes of the first regions, each place a link to its region in the exchange of this number."""
    spots = "; ".join(f"{region.place}, {percent(region.area)} of the picture" for region in regions[:SHOWN])
    more = len(regions) - SHOWN
    return f"{linked(spots, regions, number)}{f'; and {more} more' if more > 0 else ''}"


def _appearance(region: Region) -> str:
    """How the first region differs from what is around it, as measured."""
    tone = region.tone if region.tone == "similar in tone" else f"{region.tone} than around it"
    if region.tone == "differently coloured":
        tone = "differently coloured from what is around it"
    return f"{size_word(region.area)}, {region.shape}, {tone}"
