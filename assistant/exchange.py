"""One question with everything that belongs to it: what the chat shows of it, the look, the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from assistant.prompts import place_words
from assistant.types import ClipFile, Finding, Look, Media, Region

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
        media: the picture or clip that came with it; let go of once a newer one is there.
        player: of a clip, the file that browsers play; None where there is none.
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
    media: Media | ClipFile | None = None
    player: Path | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    said: dict[str, str] = field(default_factory=dict)
    look: Look | None = None
    finding: Finding | None = None
    kept: bool = False
    record: Look | None = None


def small_look(look: Look) -> Look:
    """A look to be shown only: picture and heatmap at most RECORD_SIDE pixels long, no tokens; boxes as they were.

    The key frames of a clip, and the views of an object, are made small likewise.
    """
    shrink = min(1.0, RECORD_SIDE / max(look.heatmap.shape))
    size = tuple(max(1, round(side * shrink)) for side in look.heatmap.shape[::-1])
    heatmap = np.asarray(Image.fromarray(look.heatmap).resize(size, Image.Resampling.BOX))
    thumbnail = np.asarray(Image.fromarray(look.thumbnail).resize(size, Image.Resampling.BOX))
    clip = look.clip and replace(look.clip, keys=tuple(map(small_look, look.clip.keys)))
    views = tuple(map(small_look, look.views))
    return replace(look, heatmap=heatmap, thumbnail=thumbnail, tokens={}, clip=clip, views=views)


def pictures_in(look: Look) -> tuple[Look, ...]:
    """The single pictures a look is made of: a clip's key frames, an object's views, else the look itself."""
    if look.clip is not None:
        return look.clip.keys
    return look.views or (look,)


def main_picture(look: Look) -> int:
    """Index in `pictures_in` of the one that speaks for the look: the most suspicious frame or view."""
    if look.clip is not None:
        return next((n for n, key in enumerate(look.clip.keys) if key.time == look.time), 0)
    return max(0, look.view - 1)


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
