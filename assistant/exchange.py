"""One question with everything that belongs to it: what the chat shows of it, the look, the finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant.prompts import places_in
from assistant.types import Finding, Look, Media, Region

LINK = "#spot-"
"""How the address of a link to a region begins: "#spot-3-1" is the first region of the third exchange."""
_WORDS = re.compile(
    r"\b(?:(?:top|upper|bottom|lower|centre|center|middle)(?:[ -]+(?:left|right|centre|center|middle))?"
    r"|(?<=the )(?:left|right)(?:[ -]+side)?)\b",
    re.IGNORECASE,
)


@dataclass(eq=False)
class Exchange:
    """A question and what came of it.

    Attributes:
        number: running number in the conversation, from 1.
        question: the words of the user, "" when there was only a picture.
        media: the picture that came with it; let go of once a newer one is there.
        messages: {"role", "content"} as the chat shows them.
        answer: the words of the answer so far.
        look: what it is about; let go of once the conversation has forgotten it.
        finding: the verdict, None without a picture and after a stop.
        kept: whether the session holds this turn.
    """

    number: int
    question: str
    media: Media | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    look: Look | None = None
    finding: Finding | None = None
    kept: bool = False


def linked(text: str, regions: Sequence[Region], number: int) -> str:
    """Markdown whose place words are links to the regions that they name; places without a region stay words.

    Args:
        text: escaped Markdown, see `render.escape`.
        regions: of the look, in order.
        number: of the exchange whose evidence a link shows.
    """
    first: dict[str, int] = {}
    for index, region in enumerate(regions, start=1):
        first.setdefault(region.place, index)

    def link(match: re.Match[str]) -> str:
        places = places_in(match[0]) or places_in(f"the {match[0]}")
        spot = first.get(places[0]) if places else None
        return match[0] if spot is None else f"[{match[0]}]({LINK}{number}-{spot})"

    return _WORDS.sub(link, text)
