"""One question with everything that belongs to it: what the chat shows of it, the look, the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from assistant.prompts import place_words
from assistant.types import Finding, Look, Media, Region

LINK = "#spot-"
"""How the address of a link to a region begins: "#spot-3-1" is the first region of the third exchange."""

RECORD_SIDE = 480
"""Longest side of the picture and heatmap of a look that is kept for the report, pixels."""


@dataclass(eq=False)
class Exchange:
    """A question and what came of it.

    Attributes:
        number: running number in the conversation, from 1.
        question: the words of the user, "" when there was only a picture.
        media: the picture that came with it; let go of once a newer one is there.
        messages: {"role", "content"} as the chat shows them.
        answer: the words of the answer so far.
        said: further parts of the answer, by name.
        look: what it is about; let go of once the conversation has forgotten it.
        finding: the verdict, None without a picture and after a stop.
        kept: whether the session holds this turn.
        record: the look, small and without tokens: what a report shows of it when `look` has gone.
    """

    number: int
    question: str
    media: Media | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    said: dict[str, str] = field(default_factory=dict)
    look: Look | None = None
    finding: Finding | None = None
    kept: bool = False
    record: Look | None = None


def small_look(look: Look) -> Look:
    """A look to be shown only: picture and heatmap at most RECORD_SIDE pixels long, no tokens; boxes as they were."""
    shrink = min(1.0, RECORD_SIDE / max(look.heatmap.shape))
    size = tuple(max(1, round(side * shrink)) for side in look.heatmap.shape[::-1])
    heatmap = np.asarray(Image.fromarray(look.heatmap).resize(size, Image.Resampling.BOX))
    thumbnail = np.asarray(Image.fromarray(look.thumbnail).resize(size, Image.Resampling.BOX))
    return replace(look, heatmap=heatmap, thumbnail=thumbnail, tokens={})


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

    pieces, done = [], 0
    for start, end, place in place_words(text):
        if place in first:
            pieces += [text[done:start], f"[{text[start:end]}]({LINK}{number}-{first[place]})"]
            done = end
    return "".join([*pieces, text[done:]])
